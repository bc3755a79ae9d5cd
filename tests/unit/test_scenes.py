"""Made scenes, seen from outside: through rasterio, pystac and the file system."""

from __future__ import annotations

import errno
import hashlib
import json
from datetime import date
from pathlib import Path

import numpy as np
import pyproj
import pystac
import pystac.validation
import pytest
import rasterio
from click.testing import CliRunner
from rasterio.windows import from_bounds

from odc_bdc.cli.scenes import scenes as command
from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.grid import BDC_CRS, normalise_crs
from odc_bdc.scenes import demo_extent, make_scenes, making

BANDS = ("BAND13", "BAND14", "BAND15", "BAND16")
EDGE = 6003200.0  # shared by tiles 007004 and 008004 (reference/bdc.md, section 3)
TINY = {"size": 48, "end": date(2019, 11, 30), "dates_per_month": 2}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return make_scenes(tmp_path_factory.mktemp("scenes"), size=320, dates_per_month=4)


def digests(folder):
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).digest() for p in files}


def read(item, band, window=None):
    with rasterio.open(item.with_name(f"{item.stem}_{band}.tif")) as file:
        return file.read(1, window=from_bounds(*window, file.transform) if window else None)


def by_date(report):
    dates = {}
    for item in report.items:
        dates.setdefault(item.parent.name, []).append(item)
    return dates


def test_layout_and_names(report):
    assert report.count == report.made == 2 * 4 * 4
    item = report.items[0]
    tile, day = item.parent.parent.name, item.parent.name
    assert item.parts[-5:-3] == ("CB4-WFI-L4-SR-1", "v001")
    assert sorted(p.name for p in item.parent.iterdir()) == sorted(
        [f"CB4-WFI-L4-SR_v001_{tile}_{day}{end}" for end in (".json", "_CMASK.tif")]
        + [f"CB4-WFI-L4-SR_v001_{tile}_{day}_{band}.tif" for band in BANDS]
    )
    top = report.collection.parent
    assert sorted(p.name for p in top.iterdir()) == ["collection.json", "v001"]


def test_same_bytes_whatever_the_workers(tmp_path):
    one = make_scenes(tmp_path / "a", **TINY, workers=1)
    make_scenes(tmp_path / "b", **TINY, workers=3)
    make_scenes(tmp_path / "c", **TINY, seed=1)
    assert one.count == 4
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a") != digests(tmp_path / "c")


def test_windows_agree_where_they_overlap(report, tmp_path):
    small = make_scenes(tmp_path, size=90, dates_per_month=4, end=date(2019, 11, 30))
    same = {p.name: p for p in report.items}
    assert small.count == 8
    for inner in small.items:
        outer = same[inner.name]
        with rasterio.open(inner.with_name(f"{inner.stem}_CMASK.tif")) as file:
            bounds = file.bounds
        for band in (*BANDS, "CMASK"):
            np.testing.assert_array_equal(read(inner, band), read(outer, band, bounds))


def test_no_seam_between_the_tiles(report):
    steps, seen = np.zeros((2, 639))  # between each two columns; the shared edge is number 319
    for west, east in by_date(report).values():
        seconds = [json.loads(p.read_text())["properties"]["datetime"] for p in (west, east)]
        assert seconds[0] == seconds[1]
        for band in (*BANDS, "CMASK"):
            both = np.hstack([read(west, band), read(east, band)]).astype(float)
            both[both == (0 if band == "CMASK" else -9999)] = np.nan
            jumps = np.abs(np.diff(both, axis=1))
            steps += np.nansum(jumps, axis=0)
            seen += np.isfinite(jumps).sum(axis=0)
    mean = steps / seen
    assert mean[319] < np.percentile(mean, 95)


def test_values_and_nodata(report):
    lost = seen = partial = 0
    covers = []
    for item in report.items:
        cmask = read(item, "CMASK")
        bands = np.stack([read(item, band) for band in BANDS])
        assert set(np.unique(cmask)) <= {0, 127, 255}
        assert (bands[:, cmask == 0] == -9999).all()
        values = bands[bands != -9999]
        assert values.min() >= 1
        assert values.max() <= 10000
        gaps = (bands == -9999).sum(axis=0)[cmask != 0]
        assert gaps.max() <= 1
        lost, seen = lost + gaps.sum(), seen + gaps.size
        partial += 0 < (cmask == 0).mean() < 1
        covers.append((cmask == 255).sum() / max(1, (cmask != 0).sum()))
    assert 0 < lost < seen / 5000
    assert partial >= 3
    assert 0.25 < np.mean(covers) < 0.65
    assert min(covers) < 0.1
    assert max(covers) > 0.8


def test_clouds_are_bright_and_water_dark(report):
    judged = 0
    for item in report.items:
        cmask, blue, nir = (read(item, band) for band in ("CMASK", "BAND13", "BAND16"))
        cloud, clear = cmask == 255, cmask == 127
        if cloud.sum() > 10000 and clear.sum() > 30000:
            judged += 1
            assert np.median(blue[cloud]) > 2 * np.median(blue[clear])
            assert np.percentile(nir[clear & (nir > 0)], 0.05) < 1500
    assert judged >= 5


def test_ndvi_follows_the_season(report):
    mean = {}
    for item in report.items:
        cmask, red, nir = (read(item, band).astype(float) for band in ("CMASK", "BAND15", "BAND16"))
        clear = (cmask == 127) & (red > 0) & (nir > 0)
        if clear.sum() > 2000:
            ndvi = ((nir - red) / (nir + red))[clear].mean()
            mean.setdefault(item.parent.name[:7], []).append(ndvi)
    november, january = np.mean(mean["2019-11"]), np.mean(mean["2020-01"])
    assert 0.15 < november < january - 0.2
    assert january < 0.9


def test_rasters_are_cogs_in_the_crs_of_the_bdc(report):
    for item in report.items[:2]:
        for band in (*BANDS, "CMASK"):
            with rasterio.open(item.with_name(f"{item.stem}_{band}.tif")) as file:
                assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                assert file.overviews(1) == [2]
                assert file.block_shapes == [(256, 256)]
                mask = band == "CMASK"
                assert (file.dtypes[0], file.nodata) == (("uint8", 0) if mask else ("int16", -9999))
                assert (file.shape, file.res) == ((320, 320), (64, 64))
                assert normalise_crs(file.crs) == BDC_CRS


def test_extent_meets_at_the_shared_edge(report):
    bounds = []
    for item in report.items:
        with rasterio.open(item.with_name(f"{item.stem}_CMASK.tif")) as file:
            bounds.append(tuple(file.bounds))
    west, east = sorted(set(bounds))
    assert west[2] == east[0] == EDGE
    assert (west[1], west[3]) == (east[1], east[3])
    assert report.extent == (west[0], west[1], east[2], east[3]) == demo_extent(320)
    assert demo_extent(6600) == (5580800.0, 9841600.0, 6425600.0, 10264000.0)
    assert demo_extent(6600, ["007004"]) == (5580800.0, 9841600.0, 6003200.0, 10264000.0)
    north, south = demo_extent(10, ["007004"]), demo_extent(10, ["007005", "007004"])
    assert south[3] - south[1] == 2 * (north[3] - north[1]) == 1280
    assert south[1] + 640 == 9841600.0


def test_items_say_what_the_files_hold(report):
    for path in (report.items[0], report.items[-1]):
        doc = json.loads(path.read_text())
        assert doc["stac_version"] == "1.0.0"
        assert doc["properties"]["proj:epsg"] is None
        assert doc["properties"]["proj:wkt2"] == BDC_CRS.to_wkt()
        assert doc["properties"]["bdc:tiles"] == [path.parent.parent.name]
        with rasterio.open(path.with_name(f"{path.stem}_CMASK.tif")) as file:
            cmask, transform, bounds = file.read(1), file.transform, file.bounds
        assert doc["properties"]["proj:shape"] == list(cmask.shape)
        assert doc["properties"]["proj:transform"] == list(transform)
        cover = 100 * (cmask == 255).sum() / (cmask > 0).sum()
        assert doc["properties"]["eo:cloud_cover"] == pytest.approx(cover, abs=0.01)
        lonlat = pyproj.Proj(BDC_CRS.to_wkt())(bounds.left, bounds.top, inverse=True)
        corners = doc["geometry"]["coordinates"][0]
        assert min(np.hypot(*np.subtract(c, lonlat)) for c in corners) < 1e-6
        assert set(doc["assets"]) == {*BANDS, "CMASK"}
        for name, asset in doc["assets"].items():
            assert (path.parent / asset["href"]).is_file()
            with rasterio.open(path.parent / asset["href"]) as file:
                declared = asset["raster:bands"][0]
                assert (declared["data_type"], declared["nodata"]) == (file.dtypes[0], file.nodata)
            assert asset["eo:bands"][0]["name"] == name
        assert (path.parent / doc["links"][0]["href"]).resolve() == report.collection.resolve()


def test_documents_are_valid_stac_and_honest(report):
    for path in (report.items[0], report.collection):
        stac = pystac.read_file(str(path))
        doc = stac.to_dict(transform_hrefs=False)
        # pystac carries the core schema of its own version only; the others are on the network.
        pystac.validation.validate_dict(doc | {"stac_extensions": []})
        assert not any(
            Path(link["href"]).is_absolute() for link in json.loads(path.read_text())["links"]
        )
    item, collection = (json.loads(p.read_text()) for p in (report.items[0], report.collection))
    assert "made" in item["properties"]["platform"]
    assert "not an observation" in item["properties"]["title"]
    assert "Generated by odc_bdc" in collection["description"]
    assert "seed 0" in collection["description"]
    linked = {link["href"] for link in collection["links"] if link["rel"] == "item"}
    top = report.collection.parent
    assert linked == {f"./{p.relative_to(top).as_posix()}" for p in report.items}


def test_second_run_changes_nothing(tmp_path):
    make_scenes(tmp_path, **TINY)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    assert make_scenes(tmp_path, **TINY).made == 0
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_interrupted_run_is_completed(tmp_path):
    def interrupt(ready, _total):
        if ready == 2:
            raise KeyboardInterrupt

    make_scenes(tmp_path / "whole", **TINY)
    with pytest.raises(KeyboardInterrupt):
        make_scenes(tmp_path / "cut", **TINY, workers=1, progress=interrupt)
    left = tmp_path / "cut" / "CB4-WFI-L4-SR-1"
    assert not (left / "collection.json").exists()
    hidden = left / "v001" / "008004" / ".2019-11-30.partial"
    hidden.mkdir(parents=True)
    (hidden / "half.tif").write_bytes(b"II")
    next(left.rglob("*_BAND15.tif")).unlink()  # a scene that lost a file is made anew
    report = make_scenes(tmp_path / "cut", **TINY)
    assert 1 <= report.made <= 3
    for rest in left.rglob("*.partial"):
        assert rest == hidden  # of a date that is not in this set
    (hidden / "half.tif").unlink()
    assert digests(tmp_path / "cut") == digests(tmp_path / "whole")


def test_full_disk_leaves_no_half_scene(tmp_path, monkeypatch):
    write, written = making.write_cog, []

    def full(path, *args, **how):
        written.append(path)
        if len(written) > 7:  # in the second scene
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, *args, **how)

    monkeypatch.setattr(making, "write_cog", full)
    with pytest.raises(SceneError, match="No space left"):
        make_scenes(tmp_path, **TINY, workers=1)
    assert len(list(tmp_path.rglob("*.tif"))) == 5
    assert len(list(tmp_path.rglob("CB4*.json"))) == 1
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"size": 0}, "size must lie between 1 and 6600"),
        ({"size": 6601}, "size must lie between 1 and 6600"),
        ({"tiles": ["7004"]}, "is not a tile id"),
        ({"tiles": ["007004", "009004"]}, "two that share an edge"),
        ({"tiles": ["007004", "008005"]}, "two that share an edge"),
        ({"tiles": ["007004", "007004"]}, "two that share an edge"),
        ({"tiles": []}, "two that share an edge"),
        ({"start": date(2020, 2, 1), "end": date(2020, 1, 1)}, "lies after"),
        ({"seed": -1}, "seed"),
        ({"dates_per_month": 0}, "dates_per_month"),
        ({"workers": 0}, "workers"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, given, says):
    with pytest.raises(InvalidValueError, match=says):
        make_scenes(tmp_path / "new", **given)
    assert not (tmp_path / "new").exists()


def test_folders_that_cannot_be_used_are_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidValueError, match="cannot write in"):
        make_scenes(tmp_path / "file", **TINY)
    make_scenes(tmp_path / "other", **TINY)
    before = digests(tmp_path)
    with pytest.raises(InvalidValueError, match="holds other scenes"):
        make_scenes(tmp_path / "other", **TINY, seed=5)
    assert digests(tmp_path) == before


def test_command_sums_up_in_one_line_of_json(tmp_path):
    call = ["make", str(tmp_path), "--size", "40", "--dates-per-month", "1", "--tiles", "007004"]
    result = CliRunner().invoke(command, [*call, "--end", "2019-12-31"], catch_exceptions=False)
    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert summary["items"] == 2
    assert summary["extent"] == list(demo_extent(40, ["007004"]))
    assert "2 of 2 scenes" in result.stderr
