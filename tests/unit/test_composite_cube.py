"""A cube's definition applied to scenes, against a loop over pixels and decimal numbers."""

import importlib.util
import math
from decimal import ROUND_DOWN, Decimal
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from odc_bdc import CubeSpec, OdcBdcError, composite_cube, find_cube, harmonise

_spec = importlib.util.spec_from_file_location(
    "composite_oracle", Path(__file__).with_name("composite_oracle.py")
)
oracle = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(oracle)

DEFINITIONS = Path(str(files("odc_bdc.product_defs"))) / "cubes"
COMBINED = find_cube("S2LC8_30_16D_STK_v1")
BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
# By product: bands in that order, quality band, its codes, scale and offset, number of satellite.
SENTINEL_2 = ("B02", "B03", "B04", "B8A", "B11", "B12")
LANDSAT = ("OLI_B2", "OLI_B3", "OLI_B4", "OLI_B5", "OLI_B6", "OLI_B7")
CLEAR_BITS, CLOUD_BITS = (21824, 21952), (22280, 24088, 54596, 21826)
SOURCES = {
    "S2_L2A_1": (SENTINEL_2, "SCL", range(12), ("0.0001", None), 0),
    "S2_L2A_1_N0400": (SENTINEL_2, "SCL", range(12), ("0.0001", "-0.1"), 0),
    "landsat_2_oli": (LANDSAT, "QA_PIXEL", (1, *CLEAR_BITS, *CLOUD_BITS), ("0.0000275", "-0.2"), 1),
}
SHAPE = (5, 7)


def scenes(product, days, seed):
    """Make random scenes as `dc.load` gives them, nodata among them."""
    bands, quality, codes, (scale, offset), _ = SOURCES[product]
    rng = np.random.default_rng(seed)
    shape, dims = (len(days), *SHAPE), ("time", "y", "x")
    attrs = {"nodata": 0, "units": "1", "scale_factor": float(scale), "crs": "EPSG:32723"}
    if offset:
        attrs["add_offset"] = float(offset)
    data = {}
    for name in bands:
        values = rng.integers(1, 20000, shape, dtype="uint16")
        data[name] = (dims, np.where(rng.random(shape) < 0.05, 0, values).astype("uint16"), attrs)
    dtype = "uint8" if quality == "SCL" else "uint16"
    picked = rng.choice(np.array(list(codes), dtype), shape)
    data[quality] = (dims, picked, {"nodata": 0 if quality == "SCL" else 1})
    times = np.array([f"2020-01-{d:02d}T13:30" for d in days], "datetime64[ns]")
    return xr.Dataset(data, coords={"time": times}, attrs={"crs": "EPSG:32723"})


def said(quality, code):
    """Say in CMASK's values what a code means, as the tables of ESA and USGS have it."""
    if quality == "SCL":
        return 0 if code == 0 else 127 if code in (4, 5, 6) else 255
    return 0 if code == 1 else 127 if code in CLEAR_BITS else 255


def converted(value, scale, offset):
    if value == 0:
        return -9999
    exact = (value * Decimal(scale) + Decimal(offset or 0)) * 10000
    return min(int(exact.to_integral_value(ROUND_DOWN)), 32767)


def observations(stacks):
    """Give the observations of all products as plain lists, sorted by time."""
    out = []
    for product, ds in stacks.items():
        bands, quality, _, (scale, offset), number = SOURCES[product]
        for t, when in enumerate(ds.time.values):
            pixels = {
                ours: [converted(int(v), scale, offset) for v in ds[name].values[t].flat]
                for ours, name in zip(BANDS, bands, strict=True)
            }
            mask = [said(quality, int(v)) for v in ds[quality].values[t].flat]
            out.append((when, number, pixels, mask))
    return sorted(out, key=lambda o: o[0])


@pytest.fixture(scope="module")
def stacks():
    return {
        "S2_L2A_1": scenes("S2_L2A_1", (2, 7, 12), 1),
        "S2_L2A_1_N0400": scenes("S2_L2A_1_N0400", (3, 8), 2),
        "landsat_2_oli": scenes("landsat_2_oli", (1, 9), 3),
    }


@pytest.fixture(scope="module")
def joined(stacks):
    parts = [harmonise(ds, COMBINED, product) for product, ds in stacks.items()]
    return xr.concat(parts, "time").sortby("time")


def test_combined_cube_equals_a_loop_over_pixels(stacks, joined):
    image = composite_cube(joined, COMBINED)
    assert list(image.data_vars) == [m.name for m in COMBINED.outputs]
    seen = observations(stacks)
    n = SHAPE[0] * SHAPE[1]
    shares = [round(100 * mask.count(127) / n, 2) for *_, mask in seen]
    order = oracle.best_first(shares, [when for when, *_ in seen])
    numbers = set()
    for i in range(n):
        wanted = oracle.composite_pixel(
            "LCF",
            {b: [pixels[b][i] for *_, pixels, _ in seen] for b in BANDS},
            [mask[i] for *_, mask in seen],
            nodata=dict.fromkeys(BANDS, -9999),
            clear=(127,),
            quality_nodata=0,
            order=order,
            days=list(range(len(seen))),
        )
        chosen = wanted.pop("PROVENANCE")
        wanted["CMASK"] = wanted.pop("quality")
        day = -1 if chosen < 0 else int(str(seen[chosen][0])[8:10])
        wanted |= {"PROVENANCE": day, "DATASOURCE": 255 if chosen < 0 else seen[chosen][1]}
        found = {name: image[name].values.flat[i] for name in wanted}
        assert found == wanted
        numbers.add(wanted["DATASOURCE"])
        red, nir = wanted["red"], wanted["nir"]
        ndvi = (
            -9999
            if red == -9999 or red + nir == 0
            else math.trunc(10000 * (nir - red) / (nir + red))
        )
        assert image.NDVI.values.flat[i] == max(min(ndvi, 32767), -32768)
    assert {0, 1} <= numbers


@pytest.mark.parametrize("chunks", [{"time": 1, "y": 2, "x": 3}, {"time": -1, "y": 5, "x": 7}])
def test_chunks_and_windows_do_not_change_the_result(stacks, joined, chunks):
    whole = composite_cube(joined, COMBINED)
    parts = [harmonise(ds.chunk(chunks), COMBINED, product) for product, ds in stacks.items()]
    lazy = composite_cube(xr.concat(parts, "time").sortby("time"), COMBINED)
    assert lazy.red.chunks
    xr.testing.assert_identical(lazy.compute(), whole)


def test_order_of_joining_does_not_matter(stacks, joined):
    parts = [harmonise(ds, COMBINED, product) for product, ds in reversed(stacks.items())]
    again = composite_cube(xr.concat(parts, "time").sortby("time"), COMBINED)
    xr.testing.assert_identical(again, composite_cube(joined, COMBINED))


@pytest.mark.parametrize("name", ["LC8_30_16D_MED_v1", "LC8_30_1M_AVG_v1"])
def test_scenes_of_an_only_source_may_come_as_they_are(name):
    cube = find_cube(name)
    ds = scenes("landsat_2_oli", (1, 5, 9, 17), 4)
    ds = ds.assign(dict.fromkeys(("OLI_B1",), ds.OLI_B2))
    image = composite_cube(ds, cube)
    xr.testing.assert_identical(image, composite_cube(harmonise(ds, cube), cube))
    assert image.sizes["time"] == len(
        cube.timeline.periods(*map(_day, ("2020-01-01", "2020-01-17")))
    )
    assert image.band4.attrs["scale_factor"] == 0.0001
    assert image.band4.attrs["crs"] == "EPSG:32723"
    assert "harmonised_for" not in image.attrs
    # The scenes keep their own terms.
    assert ds.OLI_B4.dtype == "uint16"


def _day(text):
    return np.datetime64(text).astype(object)


def test_values_are_converted_before_they_are_composited():
    cube = find_cube("LC8_30_16D_MED_v1")
    ds = scenes("landsat_2_oli", (1,), 5).isel(y=[0], x=[0])
    ds = ds.assign(OLI_B1=ds.OLI_B2)
    for name in ds.data_vars:
        ds[name].values[:] = 17834
    ds.QA_PIXEL.values[:] = 21824
    assert composite_cube(ds, cube).band4.item() == 2904


@pytest.mark.parametrize("chunks", [None, {"time": 1, "y": 2, "x": 3}])
def test_float_index_is_nan_where_there_is_no_data(chunks):
    savi = {"name": "SAVI", "constants": {"L": 0.5}, "dtype": "float32"}
    doc = yaml.safe_load((DEFINITIONS / "CB4_64_16D_MED_v1.yaml").read_text("utf-8"))
    cube = CubeSpec.from_dict(doc | {"outputs": {"indices": ["NDVI", savi, "OSAVI"]}})
    # The second period has no scene.
    times = np.array(["2020-01-02", "2020-02-05"], "datetime64[ns]")
    rng = np.random.default_rng(8)
    data = {}
    for name in ("BAND13", "BAND14", "BAND15", "BAND16"):
        values = rng.integers(1, 10000, (2, *SHAPE)).astype("int16")
        values[:, 0, 0] = -9999
        data[name] = (("time", "y", "x"), values, {"nodata": -9999, "crs": "EPSG:32723"})
    data["CMASK"] = (("time", "y", "x"), np.full((2, *SHAPE), 127, "uint8"), {"nodata": 0})
    ds = xr.Dataset(data, coords={"time": times})
    image = composite_cube(ds.chunk(chunks) if chunks else ds, cube)
    assert bool(image.SAVI.chunks) == bool(chunks)
    image = image.compute()
    assert image.SAVI.dtype == "float32"
    assert image.OSAVI.dtype == "int16"
    assert np.isnan(image.SAVI.attrs["nodata"])
    assert image.SAVI.attrs["crs"] == "EPSG:32723"
    assert "scale_factor" not in image.SAVI.attrs
    assert image.sizes["time"] == 3
    assert np.isnan(image.SAVI.values[1]).all()
    assert (image.OSAVI.values[1] == -9999).all()
    red, nir = (ds[b].values / 10000 for b in ("BAND15", "BAND16"))
    for at, scene in ((0, 0), (2, 1)):
        wanted = (1.5 * (nir - red) / (nir + red + 0.5))[scene]
        wanted[0, 0] = np.nan
        np.testing.assert_allclose(image.SAVI.values[at], wanted, rtol=1e-5, atol=1e-6)
        osavi = ((nir - red) / (nir + red + 0.16))[scene] * 10000
        osavi[0, 0] = -9999
        assert np.abs(image.OSAVI.values[at] - osavi).max() <= 1


def test_what_is_missing_is_named(stacks, joined):
    with pytest.raises(OdcBdcError, match="has no source 'S2_L1C_1'; it has S2_L2A_1, S2_L2A_1_N0"):
        harmonise(stacks["S2_L2A_1"], COMBINED, "S2_L1C_1")
    with pytest.raises(OdcBdcError, match="lack band 'B12' of product S2_L2A_1; they have B02"):
        harmonise(stacks["S2_L2A_1"].drop_vars("B12"), COMBINED, "S2_L2A_1")
    with pytest.raises(OdcBdcError, match=r"has several sources .* give each one's scenes to"):
        composite_cube(stacks["S2_L2A_1"], COMBINED)
