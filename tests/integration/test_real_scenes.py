"""Real satellite scenes to cubes; numbers computed by others with plain numpy."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio

from odc_bdc import find_cube
from odc_bdc.building import build_cube
from odc_bdc.compositing import composite_cube
from odc_bdc.grid import BDC_CRS, find_grid
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.live import LIVE_FORMAT
from odc_bdc.live.declaring import declare_cube
from odc_bdc.planning import plan_cube
from odc_bdc.product import shipped_products

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
NOW = datetime(2026, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the folder of real scenes, {DATA.parent.name}/data, is not here"
)


@pytest.fixture(scope="module")
def expected():
    return json.loads((DATA / "EXPECTED.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def real(dc, tmp_path_factory):
    """Give a function that builds a cube from a real collection and gives its tasks."""
    out, root = tmp_path_factory.mktemp("eo3"), tmp_path_factory.mktemp("cubes")
    add_products(dc, shipped_products().values())

    def build(collection, cube, start, end):
        report = index_collection(dc, find_recipe(collection), [DATA / collection], out=out)
        assert report.failed == []
        tasks = plan_cube(dc, find_cube(cube), date.fromisoformat(start), date.fromisoformat(end))
        built = build_cube(dc, tasks, root, now=lambda: NOW)
        assert built.failed == []
        return tasks

    return build


def load(dc, task):
    return dc.load(datasets=[dc.index.datasets.get(task.id)]).isel(time=0)


@pytest.mark.parametrize(
    ("cube", "key", "start"),
    [
        ("S2_31UES_10_16D_MED_v1", "16day", "2023-09-30"),
        ("S2_31UES_10_1M_MED_v1", "month", "2023-10-01"),
    ],
)
def test_sentinel_2_median(dc, real, expected, cube, key, start):
    tasks = real("S2_L2A_31UES-1", cube, start, "2023-12-31")
    numbers = expected["S2_L2A_31UES-1"]["composites_SCL4567_median"][key]
    assert len(tasks) == len(numbers)
    for task, (label, wanted) in zip(tasks, sorted(numbers.items()), strict=True):
        assert task.period.start.isoformat().startswith(label)
        assert len(task.scenes) == wanted["scenes"]
        image = load(dc, task)
        clear = image.CLEAROB.values > 0
        assert np.count_nonzero(clear) == wanted["px_with_clear_obs"]
        for band in ("B04", "B08"):
            values = image[band].values
            if wanted[f"{band}_median_mean"] is None:
                assert (values == 65535).all()
            else:
                # The mean of medians that were cut to integers is at most half a count below.
                got = values[clear].mean()
                assert got <= wanted[f"{band}_median_mean"] + 1e-3
                assert got >= wanted[f"{band}_median_mean"] - 0.5
                if key == "16day":
                    assert got == pytest.approx(wanted[f"{band}_median_mean"], abs=1e-3)


@pytest.mark.parametrize(
    ("cube", "statistic"), [("CB4_64_2Y_MED_v1", "median"), ("CB4_64_2Y_AVG_v1", "mean")]
)
def test_cbers_4_over_all_dates(dc, real, expected, cube, statistic):
    (task,) = real("CB4_64_16D_STK-1", cube, "2017-01-01", "2018-12-31")
    numbers = expected["CB4_64_16D_STK-1"]["all_dates_CMASK0"]
    image = load(dc, task)
    assert image.CLEAROB.values.sum() == numbers["clear_obs_per_px"]["sum"]
    assert image.CLEAROB.values.min() == numbers["clear_obs_per_px"]["min"]
    for band in ("BAND13", "BAND14", "BAND15", "BAND16"):
        wanted, values = numbers[band][statistic], image[band].values
        assert values.size == wanted["valid_px"]
        # The median is cut toward zero (half of them end in .5), the mean rounded.
        low, high = (-0.5, 0) if statistic == "median" else (-0.02, 0.02)
        assert low <= values.mean() - wanted["mean"] <= high
        assert abs(values.min() - wanted["min"]) <= 0.5
        assert abs(values.max() - wanted["max"]) <= 0.5
    # The grid of BDC's own tile, though its pixels are not square and its CRS has no EPSG code.
    with rasterio.open(next((DATA / "CB4_64_16D_STK-1").rglob("*_BAND13.tif"))) as src:
        assert tuple(image.odc.geobox.shape) == src.shape
        np.testing.assert_allclose(
            tuple(image.odc.geobox.affine), tuple(src.transform), rtol=0, atol=1e-6
        )
    assert image.odc.geobox.crs == BDC_CRS


def test_cbers_4_median_is_that_of_the_files(dc, real):
    (task,) = real("CB4_64_16D_STK-1", "CB4_64_2Y_MED_v1", "2017-01-01", "2018-12-31")
    image = load(dc, task)
    folder = DATA / "CB4_64_16D_STK-1"
    masks = np.stack([rasterio.open(p).read(1) for p in sorted(folder.rglob("*_CMASK.tif"))])
    for band in ("BAND13", "BAND16"):
        stack = [rasterio.open(p).read(1) for p in sorted(folder.rglob(f"*_{band}.tif"))]
        median = np.ma.median(np.ma.masked_array(stack, mask=masks != 0), axis=0)
        np.testing.assert_array_equal(image[band].values, median.filled(-9999).astype("int16"))


def test_landsat_8_of_three_path_rows_on_one_grid(dc, real):
    """Scenes on grids of their own are warped, those of a day are one observation."""
    tasks = real("LC8_L1TP_NY-1", "LC8_NY_3000_1M_STK_v1", "2018-01-01", "2018-12-31")
    assert sum(len(t.scenes) for t in tasks) == 19
    mosaicked = [t for t in tasks if len(t.observations) < len(t.scenes)]
    assert mosaicked
    for task in tasks:
        image = load(dc, task)
        assert tuple(image.odc.geobox.shape) == (133, 124)
        data = image.B4.values != 0
        assert 0.2 < data.mean() < 0.9
        assert ((image.CLEAROB.values > 0) <= data).all()
        assert image.TOTALOB.values.max() <= len(task.observations)
        days = {group[0].datetime.timetuple().tm_yday for group in task.observations}
        assert set(np.unique(image.PROVENANCE.values)) - {-1} <= days
        # Bit 4 of the quality band is cloud: no pixel that was called clear has it.
        chosen_clear = image.CLEAROB.values > 0
        assert not (image.BQA.values[chosen_clear] & (1 << 4)).any()


def test_landsat_8_warp_keeps_values_and_place(dc, real):
    """A scene's mean over its footprint survives the warp to another grid."""
    tasks = real("LC8_L1TP_NY-1", "LC8_NY_3000_1M_MED_v1", "2018-01-01", "2018-12-31")
    task = next(t for t in tasks if len(t.scenes) == 1)
    image = load(dc, task)
    with (
        rasterio.open(task.scenes[0].source("B4").href.removeprefix("file://")) as src,
        rasterio.open(task.scenes[0].source("BQA").href.removeprefix("file://")) as bqa,
    ):
        pixels, quality = src.read(1), bqa.read(1)
        clear = (pixels != 0) & (quality != 1) & (quality & 16 == 0)
        rows, columns = np.nonzero(clear)
        easting, northing = src.transform * (columns.mean() + 0.5, rows.mean() + 0.5)
    got = image.B4.values != 0
    assert image.B4.values[got].mean() == pytest.approx(pixels[clear].mean(), rel=0.02)
    rows, columns = np.nonzero(got)
    centre = image.odc.geobox.affine * (columns.mean() + 0.5, rows.mean() + 0.5)
    assert centre == pytest.approx((easting, northing), abs=1500)


def bilinear(pixels, column, row):
    """Interpolate between pixel centres; NaN where one of the four neighbours is missing."""
    c, r = np.floor(column - 0.5).astype(int), np.floor(row - 0.5).astype(int)
    fc, fr = column - 0.5 - c, row - 0.5 - r
    height, width = pixels.shape
    inside = (c >= 0) & (r >= 0) & (c + 1 < width) & (r + 1 < height)
    c, r = np.where(inside, c, 0), np.where(inside, r, 0)
    top = pixels[r, c] * (1 - fc) + pixels[r, c + 1] * fc
    below = pixels[r + 1, c] * (1 - fc) + pixels[r + 1, c + 1] * fc
    return np.where(inside, top * (1 - fr) + below * fr, np.nan)


def test_scenes_in_utm_become_a_cube_on_the_dutch_grid(dc, real, tmp_path):
    # December 2023 has one scene that is clear, all of it; the others are cloud all over.
    real("S2_L2A_31UES-1", "S2_31UES_10_1M_MED_v1", "2023-12-01", "2023-12-31")
    cube = find_cube("S2_31UES_10_1M_MED_v1").patch(
        name="S2_RD_10_1M_MED_v1", grid=find_grid("RD_NEW_10KM"), extent=None
    )
    add_products(dc, [cube.to_product()])
    tasks = plan_cube(dc, cube, date(2023, 12, 1), date(2023, 12, 31))
    assert build_cube(dc, tasks, tmp_path, now=lambda: NOW).failed == []
    (path,) = (DATA / "S2_L2A_31UES-1").rglob("*20231226*_B04.tif")
    with rasterio.open(path) as src:
        pixels, inverse = src.read(1).astype(float), ~src.transform
    from_rd = pyproj.Transformer.from_crs("EPSG:28992", "EPSG:32631", always_xy=True)
    seen = 0
    for task in tasks:
        image = load(dc, task)
        assert image.odc.geobox.crs.epsg == 28992
        assert tuple(image.odc.geobox.shape) == (1000, 1000)
        assert image.odc.geobox.boundingbox.bbox == tuple(cube.grid.bbox(task.tile_id))
        rows, columns = np.nonzero(image.CLEAROB.values)
        x, y = image.odc.geobox.affine * (columns + 0.5, rows + 0.5)
        wanted = bilinear(pixels, *(inverse * from_rd.transform(x, y)))
        difference = np.abs(image.B04.values[rows, columns] - wanted)
        difference = difference[~np.isnan(difference)]
        # GDAL warps to an eighth of a pixel.
        assert difference.mean() < 0.03 * pixels.mean()
        seen += difference.size
    # The window of 460 by 520 m, less its rim, in pixels of 10 m.
    assert 2150 < seen < 2392


LIVE = [
    ("CB4_64_16D_STK-1", "CB4_64_2Y_MED_v1", "2017-01-01", "2018-12-31"),
    ("CB4_64_16D_STK-1", "CB4_64_2Y_STK_v1", "2017-01-01", "2018-12-31"),
    ("S2_L2A_31UES-1", "S2_31UES_10_16D_STK_v1", "2023-10-01", "2023-12-31"),
    ("S2_L2A_31UES-1", "S2_31UES_10_1M_MED_v1", "2023-10-01", "2023-12-31"),
    ("LC8_L1TP_NY-1", "LC8_NY_3000_1M_STK_v1", "2018-01-01", "2018-12-31"),
]


@pytest.mark.parametrize(
    ("collection", "cube", "start", "end"), LIVE, ids=[n for _, n, _, _ in LIVE]
)
def test_live_images_are_the_built_ones(
    dc, real, tmp_path, monkeypatch, collection, cube, start, end
):
    monkeypatch.setenv("ODC_BDC_ROOTS", str(tmp_path))
    tasks = real(collection, cube, start, end)
    built = [load(dc, task) for task in tasks]
    report = declare_cube(dc, tasks, tmp_path, now=lambda: NOW, replace_built="all")
    assert report.counts == {"declared": len(tasks)}
    visible = {d.time.begin.date(): d for d in dc.index.datasets.search(product=cube)}
    assert len(visible) == len(tasks)
    for task, wanted in zip(tasks, built, strict=True):
        dataset = visible[task.period.start]
        assert dataset.metadata_doc["properties"]["odc:file_format"] == LIVE_FORMAT
        for driver in (None, "odc_bdc.live.Driver"):
            found = dc.load(datasets=[dataset], like=task.geobox, driver=driver).isel(time=0)
            assert list(found) == list(wanted)
            for name, band in found.items():
                np.testing.assert_array_equal(band.values, wanted[name].values, name)
        if collection != "LC8_L1TP_NY-1":  # datacube warps by chunks, so pixels are only near
            scenes = [dc.index.datasets.get(scene.id) for scene in task.scenes]
            stack = dc.load(datasets=scenes, like=task.geobox, group_by="time")
            # datacube tells the middle of a scene's days where a cube takes its `datetime`.
            days = [scene.datetime.replace(tzinfo=None) for scene in task.scenes]
            composite = composite_cube(stack.assign_coords(time=days), task.cube)
            for name in wanted:
                np.testing.assert_array_equal(composite[name].values[0], wanted[name].values, name)
    assert any((image.CLEAROB.values > 0).any() for image in built)
