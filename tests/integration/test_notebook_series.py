"""Time series of points and polygons: pixels of `dc.load`, and statistics by numpy."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from builders import CLOCK, CUBE, SPAN, cube, fill, make_small_scenes, tasks_of
from datacube.index.hl import Doc2Dataset
from file_server import FileServer
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from small_index import write_dataset

from odc_bdc import database, find_cube
from odc_bdc import notebook as nb
from odc_bdc.building import blocks, build_cube
from odc_bdc.errors import InvalidValueError, NothingFoundError, SceneError, UnknownNameError
from odc_bdc.grid import BDC_CRS
from odc_bdc.indexing import add_products
from odc_bdc.live.declaring import declare_cube
from odc_bdc.notebook import pixels
from odc_bdc.planning import plan_cube
from odc_bdc.product import product_document
from odc_bdc.scenes import demo_extent

LIVE = "CB4_64_16D_MED_v1"
SCENES = cube().products[0]
UTM, OWN = "scenes_in_utm", "scenes_without_grid"
BANDS = {UTM: ["BAND15", "CMASK"]}  # all of the others
EXTENT = demo_extent(48)  # both tiles
BORDER = (EXTENT[0] + EXTENT[2]) / 2
TO_DEGREES = Transformer.from_crs(BDC_CRS, "EPSG:4326", always_xy=True)
TO_METRES = Transformer.from_crs("EPSG:4326", BDC_CRS, always_xy=True)


@pytest.fixture(scope="module")
def dc(fresh_index, tmp_path_factory):
    """Give an index of a built and a live cube of two tiles, and of scenes in UTM that overlap."""
    folder = tmp_path_factory.mktemp("series")
    make_small_scenes(folder / "scenes")
    with (
        database.open_datacube(fresh_index("postgis")) as dc,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("ODC_BDC_ROOTS", str(folder))
        fill(dc, folder / "scenes")
        assert build_cube(dc, tasks_of(dc), folder / "cubes", now=CLOCK).failed == []
        live = find_cube(LIVE).patch(extent=EXTENT)
        add_products(dc, [live.to_product()])
        declare_cube(dc, plan_cube(dc, live, *SPAN), folder / "cubes", now=CLOCK)
        for name in (UTM, OWN):
            add_utm_scenes(dc, name, folder)
        yield dc


def add_utm_scenes(dc, name, folder, server=None):
    """Index two scenes of one day that overlap, in two zones of UTM, and one of another day."""
    product = {**product_document(SCENES), "name": name}
    product["metadata"] = {"product": {"name": name}}
    if name == OWN:
        del product["load"]
    dc.index.products.add_document(product)
    resolve = Doc2Dataset(dc.index, skip_lineage=True, eo3=True)
    zones = [("32723", "05T13:40:00"), ("32724", "05T13:40:20"), ("32723", "09T13:40:00")]
    west, south, east, north = EXTENT
    for n, (code, time) in enumerate(zones):
        # The second begins 20 pixels east of the first.
        edges = shapely.box(west - 640 + n % 2 * 1280, south - 640, east + 640, north + 640)
        box = shapely.transform(
            edges,
            Transformer.from_crs(BDC_CRS, int(code), always_xy=True).transform,
            interleaved=False,
        ).bounds
        geobox = GeoBox.from_bbox(box, f"EPSG:{code}", resolution=60)
        path, document = write_dataset(
            product, code, geobox, (f"2019-12-{time}Z",) * 2, folder / name
        )
        remote = server and f"{server.url}/{path.relative_to(folder).as_posix()}"
        dataset, problem = resolve(document, remote or path.as_uri())
        assert dataset is not None, problem
        dc.index.datasets.add(dataset, with_lineage=False)


WHOLE = GeoBox.from_bbox(
    (EXTENT[0] - 640, EXTENT[1] - 640, EXTENT[2] + 640, EXTENT[3] + 640), BDC_CRS, resolution=64
)


def cells(x, y):
    """Give row and column in `WHOLE` of the pixel that holds a point; others by rounding."""
    found = {}
    for dx, dy in ((0, 0), (1e-4, 0), (-1e-4, 0), (0, 1e-4), (0, -1e-4)):
        row, column = (EXTENT[3] + 640 - y - dy) // 64, (x + dx - EXTENT[0] + 640) // 64
        found[int(row), int(column)] = None
    return list(found)


def floats(ds):
    """Give the bands of `dc.load` as float64, NaN where they are nodata."""
    return {
        str(name): np.where(band.values == band.nodata, np.nan, band.values.astype(float))
        for name, band in ds.data_vars.items()
    }


@pytest.fixture(scope="module")
def pixel(dc):
    """Give a maker of the series of a pixel of `WHOLE` by `dc.load`, and of its times."""
    whole = {}

    def get(product, row, column):
        datasets = dc.find_datasets(product=product)
        if product == UTM:  # warps of single pixels are exact, those of many are nearly so
            ds = dc.load(datasets=datasets, like=WHOLE[row : row + 1, column : column + 1],
                         measurements=BANDS[UTM], group_by="solar_day")  # fmt: skip
            return {n: v[:, 0, 0] for n, v in floats(ds).items()}, ds.time.values
        if product not in whole:
            ds = dc.load(datasets=datasets, like=WHOLE, group_by="solar_day")
            whole[product] = floats(ds), ds.time.values
        bands, times = whole[product]
        return {n: v[:, row, column] for n, v in bands.items()}, times

    return get


@st.composite
def places(draw):
    """Draw a point in metres: anywhere about the tiles, or on a border of pixels or tiles."""
    west, south, east, north = EXTENT
    x = draw(st.one_of(
        st.floats(west - 200, east + 200),
        st.integers(-3, 3).map(lambda n: BORDER + 32 * n),
        st.sampled_from([west, east]),
    ))  # fmt: skip
    y = draw(st.one_of(st.floats(south - 200, north + 200), st.sampled_from([south, north])))
    return x, y


@pytest.mark.parametrize("product", [CUBE, LIVE, SCENES, UTM])
@settings(max_examples=15)
@given(asked=st.lists(places(), min_size=1, max_size=6))
def test_points_have_the_pixels_of_dc_load(dc, pixel, product, asked):
    lonlat = [TO_DEGREES.transform(x, y) for x, y in [*asked, (BORDER - 999, EXTENT[1] + 999)]]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\d+ of \d+ points lie in no dataset", UserWarning)
        found = nb.timeseries(dc, product, lonlat, measurements=BANDS.get(product), progress=False)
    names = [n for n in found.columns if n not in {"point", "longitude", "latitude", "time"}]
    every = list(dc.index.products.get_by_name(product).measurements)
    assert names == BANDS.get(product, every)
    assert found["point"].unique().tolist() == list(range(len(lonlat)))
    for number, (lon, lat) in enumerate(lonlat):
        ours = found[found["point"] == number]
        assert (ours["longitude"].iloc[0], ours["latitude"].iloc[0]) == (lon, lat)
        for row, column in cells(*TO_METRES.transform(lon, lat)):
            wanted, times = pixel(product, row, column)
            same = [np.array_equal(ours[n], wanted[n], equal_nan=True) for n in names]
            if all(same):
                break
        else:
            pytest.fail(f"point {lon}, {lat}: {ours} is not {wanted}")
        assert ours["time"].tolist() == pd.DatetimeIndex(times).tolist()


def test_the_oracle_sees_data_and_gaps(dc):
    west, south, east, north = EXTENT
    rng = np.random.default_rng(1)
    xy = rng.uniform((west, south), (east, north), (200, 2))
    lonlat = np.column_stack(TO_DEGREES.transform(*xy.T))
    for product in (CUBE, LIVE, SCENES, UTM, OWN):
        found = nb.timeseries(dc, product, lonlat, measurements="red", progress=False)
        share = found["red"].isna().mean()
        assert 0 <= share < 0.8, product
        assert found["red"].nunique() > 50, product
        if product in {UTM, OWN}:
            # The second scene fills what the first lacks on its day, not on the other.
            gaps = found["red"].isna().groupby(found["time"]).mean()
            assert len(gaps) == 2
            assert gaps.iloc[0] < gaps.iloc[1]


@pytest.mark.parametrize("zone", ["32723", "32724"])
def test_without_a_grid_pixels_are_those_of_the_files(dc, zone):
    datasets = [d for d in dc.find_datasets(product=OWN) if d.metadata.region_code == zone]
    dataset = min(datasets, key=lambda d: d.center_time)
    known = dataset.metadata_doc["grids"]["default"]
    rng = np.random.default_rng(3)
    rows, columns = (rng.integers(0, n, 30) for n in known["shape"])
    box = GeoBox(known["shape"], pixels.Affine(*known["transform"][:6]), dataset.crs)
    x, y = box.affine * (columns + rng.uniform(0.02, 0.98, 30), rows + rng.uniform(0.02, 0.98, 30))
    lonlat = np.column_stack(Transformer.from_crs(int(zone), 4326, always_xy=True).transform(x, y))
    red = dc.load(datasets=[dataset], measurements=["red"], like=box).red[0].values[rows, columns]
    found = nb.timeseries(
        dc, OWN, lonlat, measurements=["red"], group_by="time", as_xarray=True, progress=False
    )
    moment = np.datetime64(dataset.center_time.replace(tzinfo=None), "ns")
    np.testing.assert_array_equal(
        found.red.sel(time=moment), np.where(red == -9999, np.nan, red.astype(float))
    )
    with pytest.raises(InvalidValueError, match="names no pixel grid"):
        nb.timeseries(dc, OWN, polygons=shapely.MultiPoint(lonlat).convex_hull, progress=False)


def test_files_are_opened_once_and_only_needed_blocks_are_decoded(dc, monkeypatch):
    west, south, _, north = EXTENT
    lonlat = np.column_stack(TO_DEGREES.transform(*np.random.default_rng(2).uniform(
        (west + 320, south), (BORDER - 320, north), (100, 2)).T))  # fmt: skip
    opened, decoded = [], []
    block, dataset = blocks.BlockFile._block, pixels.SceneFiles.get

    def get(self, href, *args):
        opened.append(href)
        return dataset(self, href, *args)

    def one(self, file, by, bx, *args):
        decoded.append((self.file.href, by, bx))
        return block(self, file, by, bx, *args)

    monkeypatch.setattr(pixels.SceneFiles, "get", get)
    monkeypatch.setattr(blocks.BlockFile, "_block", one)
    plain = nb.timeseries(dc, CUBE, lonlat, measurements=["red", "nir"], indices=["NDVI"],
                          progress=False)  # fmt: skip
    times = plain["time"].nunique()
    assert len(opened) == len(set(opened)) == 2 * times  # of one tile, red and nir
    assert "007004" in opened[0]
    # GDAL reads the first, which tells where the pixels of the others lie too.
    assert 0 < len(decoded) == len(set(decoded)) < len(opened)
    monkeypatch.setattr(pixels, "block_file", lambda *_: None)
    pd.testing.assert_frame_equal(
        nb.timeseries(dc, CUBE, lonlat, measurements=["red", "nir"], indices=["NDVI"],
                      progress=False),
        plain,
    )  # fmt: skip


def test_indices_are_computed_from_reflectance(dc):
    x, y = BORDER - 640, (EXTENT[1] + EXTENT[3]) / 2
    found = nb.timeseries(
        dc, CUBE, TO_DEGREES.transform(x, y), measurements=["red", "nir"], indices=["NDVI", "SAVI"],
        progress=False,
    )  # fmt: skip
    red, nir = found["red"] / 10000, found["nir"] / 10000
    np.testing.assert_allclose(found["NDVI"], (nir - red) / (nir + red), rtol=1e-6)
    np.testing.assert_allclose(found["SAVI"], 2 * (nir - red) / (nir + red + 1), rtol=1e-5)
    alone = nb.timeseries(dc, CUBE, [TO_DEGREES.transform(x, y)], indices="NDVI", progress=False)
    assert list(alone.columns) == ["point", "longitude", "latitude", "time", "NDVI"]
    stored = nb.timeseries(dc, CUBE, [TO_DEGREES.transform(x, y)], measurements="NDVI",
                           progress=False)  # fmt: skip
    np.testing.assert_allclose(stored["NDVI"] / 10000, alone["NDVI"], atol=1e-4)


def test_points_keep_their_ids_and_order_and_may_lie_outside(dc):
    y = (EXTENT[1] + EXTENT[3]) / 2
    lonlat = [TO_DEGREES.transform(x, y) for x in (BORDER + 500, BORDER + 9e5, BORDER - 500)]
    frame = pd.DataFrame(lonlat, columns=["lon", "lat"], index=["b", "far", "a"])
    with pytest.warns(UserWarning, match="1 of 3 points lie in no dataset"):
        found = nb.timeseries(dc, CUBE, frame, measurements=["red"], progress=False)
    assert found["point"].unique().tolist() == ["b", "far", "a"]
    assert found[found["point"] == "far"]["red"].isna().all()
    assert found[found["point"] != "far"]["red"].notna().any()
    assert found.groupby("point").size().nunique() == 1
    with pytest.warns(UserWarning, match="1 of 3"):
        cube = nb.timeseries(dc, CUBE, frame, measurements=["red"], as_xarray=True, progress=False)
    assert cube.red.dims == ("point", "time")
    np.testing.assert_array_equal(cube.red.values.reshape(-1), found["red"])
    assert cube.point.values.tolist() == ["b", "far", "a"]
    assert cube.red.attrs["scale_factor"] == 0.0001


def test_polygons_weigh_pixels_by_what_lies_within(dc):
    # Half of the first pixel, then three whole ones, and a quarter of the last row below.
    x, top = BORDER - 10 * 64, EXTENT[3] - 20 * 64
    polygon = shapely.box(x + 32, top - 64 - 16, x + 4 * 64, top)
    weights = np.array([[0.5, 1, 1, 1], [0.125, 0.25, 0.25, 0.25]])
    ring = shapely.transform(
        shapely.segmentize(polygon, 1), TO_DEGREES.transform, interleaved=False
    )
    box = GeoBox.from_bbox((x, top - 128, x + 256, top), BDC_CRS, shape=(2, 4))
    ds = dc.load(datasets=dc.find_datasets(product=CUBE), like=box, measurements=["red", "CMASK"])
    found = nb.timeseries(dc, CUBE, polygons=[ring], measurements=["red", "CMASK"], progress=False)
    assert list(found.columns) == [
        "polygon", "time", "variable", "mean", "std", "count", "valid_fraction",
    ]  # fmt: skip
    assert len(found) == 2 * ds.sizes["time"]
    for name in ("red", "CMASK"):
        ours = found[found["variable"] == name].reset_index(drop=True)
        for n, values in enumerate(ds[name].values.astype(float)):
            w = np.where(values == ds[name].nodata, 0, weights)
            mean = (w * values).sum() / w.sum()
            std = np.sqrt((w * (values - mean) ** 2).sum() / w.sum())
            got = ours.loc[n, ["mean", "std", "count", "valid_fraction"]].to_numpy(float)
            wanted = [mean, std, w.sum(), w.sum() / weights.sum()]
            np.testing.assert_allclose(got, wanted, rtol=1e-4)


def test_polygons_of_live_cubes_and_of_several_tiles(dc):
    ring = shapely.box(*TO_DEGREES.transform(BORDER - 700, EXTENT[1] + 500),
                       *TO_DEGREES.transform(BORDER + 900, EXTENT[3] - 600))  # fmt: skip
    collection = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "id": "field", "properties": {}, "geometry": ring},
            {"type": "Feature", "id": "far", "properties": {}, "geometry": shapely.box(0, 0, 1, 1)},
        ],
    }
    found = nb.timeseries(
        dc, LIVE, polygons=collection, indices=["NDVI"], as_xarray=True, progress=False
    )
    assert found.polygon.values.tolist() == ["field", "far"]
    assert found["mean"].dims == ("polygon", "time", "variable")
    assert (found["count"].sel(polygon="field") > 500).any()
    assert np.isnan(found["mean"].sel(polygon="far")).all()
    assert (found["count"].sel(polygon="far") == 0).all()
    # The same of the single pixels, by their middles.
    x, y = np.meshgrid(
        np.arange(BORDER - 700, BORDER + 900, 64), np.arange(EXTENT[1], EXTENT[3], 64)
    )
    lonlat = np.column_stack(TO_DEGREES.transform(x.ravel(), y.ravel()))
    lonlat = lonlat[shapely.contains_xy(ring, *lonlat.T)]
    points = nb.timeseries(dc, LIVE, lonlat, indices=["NDVI"], as_xarray=True, progress=False)
    np.testing.assert_allclose(
        found["mean"].sel(polygon="field", variable="NDVI"), points.NDVI.mean("point"), atol=0.02
    )


def test_what_there_is_is_told(dc):
    inside = [TO_DEGREES.transform(BORDER, (EXTENT[1] + EXTENT[3]) / 2)]
    with pytest.raises(UnknownNameError, match=rf"do you mean {CUBE}\?.*the index holds"):
        nb.timeseries(dc, CUBE[:-3], inside)
    with pytest.raises(UnknownNameError, match=r"do you mean red\?.*BAND13"):
        nb.timeseries(dc, CUBE, inside, measurements=["reed"])
    with pytest.raises(UnknownNameError, match=r"swir22.*NBR needs nir, swir22"):
        nb.timeseries(dc, CUBE, inside, indices=["NBR"])
    with pytest.raises(
        NothingFoundError, match=r"time='1999'.*2019-12-03 to .*tiles 007004, 008004"
    ):
        nb.timeseries(dc, CUBE, inside, time="1999")
    with pytest.raises(NothingFoundError, match="at any of these places"):
        nb.timeseries(dc, CUBE, [(0, 0)])
    with pytest.raises(InvalidValueError, match="time 'soon'"):
        nb.timeseries(dc, CUBE, inside, time="soon")
    with pytest.raises(InvalidValueError, match="either points or polygons"):
        nb.timeseries(dc, CUBE)
    with pytest.raises(InvalidValueError, match="group_by 'day' is neither"):
        nb.timeseries(dc, CUBE, inside, group_by="day")
    brazil = shapely.box(-70, -30, -36, 4)
    with pytest.raises(InvalidValueError, match="more than 100,000,000 pixels"):
        nb.timeseries(dc, CUBE, polygons=brazil)
    with pytest.raises(InvalidValueError, match="NDVI is asked for as a measurement"):
        nb.timeseries(dc, CUBE, inside, measurements=["NDVI"], indices=["ndvi"])


def test_a_file_that_is_broken_is_named(dc, tmp_path):
    dataset = dc.find_datasets(product=UTM)[0]
    path = pixels.uri_resolve(dataset.uri, "BAND15.tif").removeprefix("file://")
    path = Path(path)
    x, y = (EXTENT[0] + EXTENT[2]) / 2, (EXTENT[1] + EXTENT[3]) / 2
    kept = tmp_path / "kept.tif"
    path.rename(kept)
    try:
        with pytest.raises(SceneError, match=r"BAND15\.tif: cannot be read"):
            nb.timeseries(dc, UTM, [TO_DEGREES.transform(x, y)], measurements="red")
    finally:
        kept.rename(path)


def test_load_is_dc_load_and_tells_what_there_is(dc, capsys):
    box = GeoBox.from_bbox(EXTENT, BDC_CRS, resolution=64)
    ds = nb.load(dc, CUBE, measurements=["red", "BAND16"], like=box, time="2019-12")
    datasets = dc.find_datasets(product=CUBE, time="2019-12")
    wanted = dc.load(datasets=datasets, measurements=["red", "BAND16"], like=box)
    xr.testing.assert_equal(ds, wanted)
    assert ds.attrs["product"] == CUBE
    assert (ds.red.attrs["aliases"], ds.BAND16.attrs["aliases"]) == (["BAND15"], ["nir"])
    lazy = nb.load(dc, CUBE, measurements=["red"], like=box, time="2019-12", dask_chunks={"x": 40})
    assert lazy.chunks
    xr.testing.assert_equal(lazy.bdc.compute(), wanted[["red"]])
    with pytest.raises(UnknownNameError, match="do you mean"):
        nb.load(dc, CUBE.lower())
    with pytest.raises(UnknownNameError, match="do you mean nir"):
        nb.load(dc, CUBE, measurements=["nirr"])
    with pytest.raises(
        NothingFoundError, match=r"for time='1999'; its \d+ datasets are of 2019-12"
    ):
        nb.load(dc, CUBE, time="1999")
    with pytest.raises(InvalidValueError, match="cannot be loaded so"):
        nb.load(dc, CUBE, time="soon")
    add_products(dc, [find_cube("CB4_64_1M_STK_v1").to_product(), product_document("S2_L2A_1")])
    with pytest.raises(NothingFoundError, match=r"odc-bdc cube declare CB4_64_1M_STK_v1"):
        nb.load(dc, "CB4_64_1M_STK_v1")
    with pytest.raises(NothingFoundError, match=r"`odc-bdc index s2\w+ SOURCE`"):
        nb.load(dc, "S2_L2A_1")


def test_the_resolution_of_old_notebooks_is_understood(dc):
    west, south = TO_DEGREES.transform(EXTENT[0], EXTENT[1])
    east, north = TO_DEGREES.transform(EXTENT[2], EXTENT[3])
    where = {"x": (west, east), "y": (south, north), "time": "2019-12"}
    with pytest.warns(UserWarning, match="upside down"):
        ds = nb.load(dc, CUBE, measurements=["red"], resolution=(64, -64), **where)
    xr.testing.assert_equal(ds, dc.load(product=CUBE, measurements=["red"], **where))


def test_connect_finds_the_index_above_the_notebook(fresh_index, monkeypatch, tmp_path, homes):
    index = fresh_index("postgis")
    home = index.config_path.parent
    with nb.connect(home) as dc:
        assert dc.index.products.get_by_name(CUBE) is None
        with pytest.raises(UnknownNameError, match="holds none; `odc-bdc product add --all`"):
            nb.load(dc, CUBE)
    folder = tmp_path / "project" / "notebooks"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    clean = {"PATH": os.environ["PATH"]}
    with pytest.raises(database.DatabaseError, match="`make demo` makes one"):
        nb.connect(environ=clean)
    (tmp_path / "project" / ".odc_bdc").symlink_to(home)
    with nb.connect(environ=clean) as dc:
        assert dc.index.url.endswith(home.name)
    with pytest.raises(database.DatabaseError, match="odc-bdc db up --home"):
        nb.connect(tmp_path / "nothing")
    missing = clean | {"ODC_DEFAULT_DB_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    with pytest.raises(
        database.DatabaseError, match=r"127\.0\.0\.1:1/nothing.*`odc-bdc db status`"
    ):
        nb.connect(environ=missing)


@pytest.fixture(scope="module")
def postgres(fresh_index, tmp_path_factory):
    folder = tmp_path_factory.mktemp("postgres")
    with (
        pytest.MonkeyPatch.context() as patch,
        database.open_datacube(fresh_index("postgres")) as dc,
        FileServer(folder) as server,
    ):
        patch.setenv("ODC_BDC_HOSTS", "127.0.0.0/8")
        add_utm_scenes(dc, UTM, folder, server)
        yield dc


def test_scenes_on_a_server_and_the_other_index_driver_give_the_same(dc, postgres):
    west, south, east, north = EXTENT
    xy = np.random.default_rng(5).uniform((west, south), (east, north), (20, 2))
    lonlat = np.column_stack(TO_DEGREES.transform(*xy.T))
    pd.testing.assert_frame_equal(
        nb.timeseries(postgres, UTM, lonlat, progress=False),
        nb.timeseries(dc, UTM, lonlat, progress=False),
    )
    with pytest.raises(NothingFoundError, match=r"its 3 datasets are of 2019-12-05 to 2019-12-09"):
        nb.timeseries(postgres, UTM, [(0, 0)])
