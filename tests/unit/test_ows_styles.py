"""Which styles there are, and what the functions that draw them compute."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import xarray as xr

from odc_bdc.cube import shipped_cubes
from odc_bdc.function import composite_function
from odc_bdc.ows import rendering
from odc_bdc.ows.bands import BRIGHTEST, by_common_name, stretch
from odc_bdc.ows.feature_info import date_chosen, period, quality
from odc_bdc.ows.languages import Text
from odc_bdc.ows.layers import cube_layer
from odc_bdc.ows.legends import class_legend, ramp_legend
from odc_bdc.ows.styles import Look, styles
from odc_bdc.product import product_document
from odc_bdc.quality import QualityPolicy

CUBES = shipped_cubes()


def names(found):
    return [s["name"] for s in found]


def bands(*aliases):
    return [{"name": a.upper(), "dtype": "int16", "aliases": [a], "nodata": -9999} for a in aliases]


def of_cube(name):
    cube = CUBES[name]
    quality = cube.quality if cube.function.picks_date else None
    return styles([m.to_odc() for m in cube.outputs], Look(cube.mission, quality, 16))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (bands("red", "nir"), ["ndvi", "ndvi_animation"]),
        (bands("red", "green", "blue"), ["true_colour"]),
        (bands("elevation"), ["grey"]),
        (bands("swir1", "nir08", "red"), ["shortwave", "ndvi", "ndvi_animation"]),
        (bands("swir22", "nir", "red"), ["shortwave", "ndvi", "ndvi_animation", "nbr"]),
        (bands("ndvi"), ["ndvi", "ndvi_animation"]),
    ],
    ids=str,
)
def test_styles_need_their_bands(given, expected):
    assert names(styles(given)) == expected


def test_a_stack_of_sentinel_2_has_every_style_but_that_of_several_satellites():
    assert names(of_cube("S2_10_16D_STK_v1")) == [
        *("true_colour", "false_colour", "shortwave"),
        *("ndvi", "ndvi_animation", "evi", "ndwi", "nbr"),
        *("clearob", "totalob", "provenance", "quality", "stubble_burning"),
    ]
    assert "datasource" in names(of_cube("S2LC8_30_16D_STK_v1"))
    assert "quality" not in names(of_cube("S2_10_16D_MED_v1"))


def test_an_index_that_is_stored_is_drawn_from_its_band_so_that_wcs_agrees():
    drawn = {s["name"]: s for s in of_cube("S2_10_16D_STK_v1")}
    assert drawn["ndvi"]["needed_bands"] == ["NDVI"]
    assert drawn["ndwi"]["needed_bands"] == ["B03", "B08"]


@pytest.mark.parametrize(
    ("band", "name", "mission", "expected"),
    [
        ({"dtype": "int16", "scale_factor": 0.0001}, "red", "", (0, 3000)),
        ({"dtype": "int16", "scale_factor": 0.0001}, "nir", "", (0, 5000)),
        ({"dtype": "int16", "scale_factor": 0.0001}, "red", "cbers4", (0, 2220)),
        ({"dtype": "int16", "scale_factor": 0.0001}, "swir16", "cbers4", (0, 4000)),
        ({"dtype": "uint16", "scale_factor": 0.0001, "add_offset": -0.1}, "red", "", (1000, 4000)),
        ({"dtype": "uint16", "scale_factor": 2e-5, "add_offset": -0.1}, "green", "", (5000, 20000)),
        ({"dtype": "uint16"}, "green", "", (0, 3000)),
        ({"dtype": "float32"}, "green", "", (0, 0.3)),
        ({"dtype": "uint8"}, "grey", "cbers4", (0, 255)),
    ],
)
def test_a_stretch_covers_the_same_reflectances_whatever_the_scale(band, name, mission, expected):
    assert stretch(band, name, mission) == pytest.approx(expected)


@pytest.mark.real
def test_measured_ranges_are_the_percentiles_of_real_images(real_data):
    rasterio = pytest.importorskip("rasterio")
    pandas = pytest.importorskip("pandas")

    def read(path):
        with rasterio.open(path) as src:
            return src.read(1)

    def clear(pattern, mask, band, codes, nodata):
        found = []
        for path in sorted(real_data.glob(pattern)):
            values = read(path.with_name(path.name.replace(mask, band)))
            found.append(values[np.isin(read(path), codes) & (values != nodata)])
        return np.concatenate(found) * 1e-4

    brazil = {}
    for name, band in zip(("blue", "green", "red", "nir"), (13, 14, 15, 16), strict=True):
        values = clear("CB4_64_16D_STK-1/**/*_CMASK.tif", "CMASK", f"BAND{band}", [0], -9999)
        brazil[name] = np.percentile(values, 98)
        assert BRIGHTEST["cbers4"][name] == pytest.approx(brazil[name], abs=6e-4)
    belgium = {}
    for name, band in zip(("blue", "green", "red", "nir"), (2, 3, 4, 8), strict=True):
        values = clear("S2_L2A_31UES-1/**/*_SCL.tif", "SCL", f"B0{band}", [4, 5, 6], 65535)
        belgium[name] = np.percentile(values, 98)
    assert BRIGHTEST["sentinel2"]["nir"] == pytest.approx(belgium["nir"], abs=6e-4)
    for name in ("blue", "green", "red"):
        assert BRIGHTEST["sentinel2"][name] == pytest.approx(brazil["red"], abs=6e-4)
        assert BRIGHTEST["sentinel2"][name] > belgium[name]
    table = pandas.read_csv(real_data / "samples" / "br_mt_1_8K_9classes_6bands.csv.gz")
    for name, column in (("blue", "BLUE"), ("red", "RED"), ("nir", "NIR"), ("swir22", "MIR")):
        brightest = np.percentile(table[column], 98)
        assert BRIGHTEST["modis"][name] == pytest.approx(brightest, abs=6e-4)


def test_names_of_one_band_in_catalogues_of_different_years_are_one():
    found = by_common_name(product_document("LC8_L1TP_NY_1")["measurements"])
    assert found["swir16"]["name"] == found["swir1"]["name"] == "B6"
    both = by_common_name(bands("nir", "nir08"))
    assert (both["nir"]["name"], both["nir08"]["name"]) == ("NIR", "NIR08")


def dataset(**arrays):
    found = {}
    for name, (values, nodata) in arrays.items():
        dims = ("time", "y", "x")[3 - np.ndim(values) :]
        found[name] = (dims, np.asarray(values), {"nodata": nodata})
    return xr.Dataset(found)


def encoding(label, dtype="int16", nodata=-9999, scale=1e-4, offset=None):
    return {"label": label, "dtype": dtype, "nodata": nodata, "scale": scale, "offset": offset}


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_an_index_neither_wraps_around_nor_invents_values(dtype):
    red = np.array([[3000, 30000, 0, 200, 9]], dtype)
    nir = np.array([[1000, 32000, 0, 2, 300]], dtype)
    data = dataset(B04=(red, 9), B08=(nir, 9))
    got = rendering.index_values(
        data,
        index="NDVI",
        bands={b: encoding(b, dtype, nodata=9) for b in ("red", "nir")},
        band_mapper={"red": "B04", "nir": "B08"}.__getitem__,
    )
    assert got.dtype == "float32"
    expected = np.array([[-0.5, 2 / 62, np.nan, -198 / 202, np.nan]])
    np.testing.assert_allclose(got.values, expected, rtol=1e-6)


def test_an_index_takes_the_offset_of_a_band_into_account():
    data = dataset(r=(np.array([[6000]], "u2"), 0), n=(np.array([[12000]], "u2"), 0))
    known = {b: encoding(b[0], "uint16", 0, 2e-5, -0.1) for b in ("red", "nir")}
    got = rendering.index_values(data, index="NDVI", bands=known, band_mapper=str)
    assert got.values[0] == pytest.approx([(0.14 - 0.02) / (0.14 + 0.02)])


def test_stored_values_are_scaled_and_have_gaps_where_the_band_has_none():
    data = dataset(NDVI=(np.array([[-9999, 0, 7312]], "i2"), -9999))
    got = rendering.stored_values(data, band=encoding("NDVI"), band_mapper=str)
    np.testing.assert_allclose(got.values, [[np.nan, 0, 0.7312]], rtol=1e-6)


def test_difference_is_in_the_order_asked_for_and_amplitude_spares_gaps():
    nan = np.nan
    values = xr.DataArray(
        [[[0.2, nan, 0.5]], [[0.7, nan, nan]], [[0.4, 0.1, nan]]],
        dims=("time", "y", "x"),
        coords={"time": [3, 1, 2]},
    )
    np.testing.assert_allclose(
        rendering.difference(values.isel(time=[0, 1])), [[0.5, nan, nan]], rtol=1e-6
    )
    np.testing.assert_allclose(rendering.amplitude(values), [[0.5, nan, nan]], rtol=1e-6)


# The rule of the seed: B04 < 1000, B06 < 1200, B08 < 1200, 500 < B11 < 1600; borders are not burnt.
STUBBLE = [
    ((999, 1199, 1199, 501), 1),
    ((999, 1199, 1199, 1599), 1),
    ((1000, 1199, 1199, 1000), 0),
    ((999, 1200, 1199, 1000), 0),
    ((999, 1199, 1200, 1000), 0),
    ((999, 1199, 1199, 500), 0),
    ((999, 1199, 1199, 1600), 0),
    ((-9999, 1199, 1199, 1000), 0),
    ((999, -9999, 1199, 1000), 0),
    ((999, 1199, -9999, 1000), 0),
    ((999, 1199, 1199, -9999), 0),
    ((0, 0, 0, 1000), 1),
]


@pytest.mark.parametrize(("scale", "offset"), [(1e-4, None), (1e-4, -0.1), (2.75e-5, -0.2)])
def test_stubble_burning_is_the_rule_with_its_borders(scale, offset):
    pixels = np.array([bands for bands, _ in STUBBLE], dtype=float)
    stored = np.rint((pixels * 1e-4 - (offset or 0)) / scale)
    if scale != 1e-4:  # not every ten-thousandth has a code of its own
        stored = stored[[0, 1, 11]]
    stored = np.where(pixels[: len(stored)] == -9999, -9999, stored).astype("int32")
    labels = ("red", "rededge2", "nir", "swir16")
    data = dataset(**{n: (stored[None, :, i], -9999) for i, n in enumerate(labels)})
    known = {n: encoding(n, "int32", -9999, scale, offset) for n in labels}
    got = rendering.stubble_burning(data, bands=known, band_mapper=str)
    expected = [burnt for _, burnt in STUBBLE]
    assert got.values[0].tolist() == (expected if scale == 1e-4 else [1, 1, 1])


@pytest.mark.parametrize(
    ("policy", "codes", "dtype", "expected"),
    [
        (
            QualityPolicy("Q", clear=[127], not_clear=[255], nodata=0),
            [0, 127, 255, 9],
            "u1",
            "0211",
        ),
        (
            QualityPolicy("Q", clear=[6], not_clear=[3], nodata=1, bits=True),
            [1, 64, 72],
            "u2",
            "021",
        ),
    ],
    ids=["values", "bits"],
)
def test_quality_classes_are_those_of_the_policy(policy, codes, dtype, expected):
    data = dataset(Q=(np.array([codes], dtype), 0))
    got = rendering.quality_classes(data, policy=policy.to_dict(), band_mapper=str)
    assert "".join(map(str, got.values[0])) == expected


@pytest.mark.parametrize("nodata", [np.nan, -9999])
def test_nan_may_be_nodata(nodata):
    data = dataset(v=(np.array([[nodata, 1.0]], "float32"), nodata))
    assert rendering.has_data(data, "v").values.tolist() == [[False, True]]


class Dataset:
    def __init__(self, begin, end):
        from datetime import datetime
        from types import SimpleNamespace

        instants = (datetime.fromisoformat(t) for t in (f"{begin}T00:00:00Z", f"{end}T23:59:59Z"))
        self.time = SimpleNamespace(**dict(zip(("begin", "end"), instants, strict=True)))


@pytest.mark.parametrize(
    ("day", "begin", "end", "expected"),
    [
        (5, "2020-01-01", "2020-01-16", "2020-01-05"),
        (366, "2020-12-18", "2020-12-31", "2020-12-31"),
        (60, "2019-03-01", "2019-03-31", "2019-03-01"),
        (60, "2020-02-02", "2020-03-01", "2020-02-29"),
        (355, "2019-12-21", "2020-03-20", "2019-12-21"),  # a summer
        (20, "2019-12-21", "2020-03-20", "2020-01-20"),
        (200, "2020-01-01", "2020-01-16", "n/a"),
        (-1, "2020-01-01", "2020-01-16", "n/a"),
    ],
)
def test_the_day_of_the_year_is_a_date_of_the_period(day, begin, end, expected):
    pixel = dataset(PROVENANCE=(np.array(day, "int16"), -1))
    found = Dataset(begin, end)
    assert date_chosen(pixel, found) == expected
    assert period(pixel, found) == f"{begin}/{end}"


def test_the_quality_of_a_pixel_is_told_in_words():
    policy = QualityPolicy("Q", clear=[127], not_clear=[255], nodata=0).to_dict()
    told = [quality(dataset(Q=(np.array(c, "u1"), 0)), None, policy=policy) for c in (0, 127, 255)]
    assert told == ["no data", "clear", "not clear"]


def test_legends_show_their_colours_and_leave_texts_out_that_would_touch():
    box = np.asarray(class_legend("Quality", [("#2da44e", "limpo"), ("#bf8700", "não limpo")]))
    assert (box == (0x2D, 0xA4, 0x4E)).all(axis=-1).sum() > 100
    assert (box == (0xBF, 0x87, 0x00)).all(axis=-1).sum() > 100
    ramp = [(0.0, (0, 0, 0)), (1.0, (250, 0, 0))]
    strip = np.asarray(ramp_legend("NDVI", ramp, [(0.0, "0"), (1.0, "1")]))
    reds = strip[40, 20:-20, 0].astype(int)
    assert (np.diff(reds) >= 0).all()
    assert reds[0] < 15
    assert reds[-1] > 235
    crowded = ramp_legend("NDVI", ramp, [(0.0, "0"), (0.01, "0.01"), (1.0, "1")])
    roomy = ramp_legend("NDVI", ramp, [(0.0, "0"), (1.0, "1")])
    below = slice(54, None)
    assert (np.asarray(crowded)[below] == np.asarray(roomy)[below]).all()


def test_a_long_text_widens_a_legend():
    assert class_legend("a", [("#000000", "x" * 100)]).width > class_legend("a", []).width


def of_function(function, **changes):
    """Give a cube of CBERS-4 as another function would make it."""
    cube = shipped_cubes()["CB4_64_16D_AVG_v1"].patch(
        function=composite_function(function), indices=(), **changes
    )
    return {s["name"]: s for s in cube_layer(cube)["styling"]["styles"]}


@pytest.mark.parametrize(("function", "share"), [("STD", 0.25), ("RANGE", 0.75), ("MED", 1)])
def test_differences_have_ranges_of_their_own_and_no_indices(function, share):
    found = of_function(function)
    red = found["true_colour"]["components"]["red"]
    assert red["scale_range"] == pytest.approx([0, share * BRIGHTEST["cbers4"]["red"] / 1e-4])
    assert ("ndvi" in found) == (function == "MED")


def test_each_of_several_percentiles_has_its_styles_those_in_the_middle_first():
    found = of_function("P25,P50,P75")
    assert next(iter(found)) == "true_colour_p50"
    assert {"true_colour_p25", "false_colour_p75", "ndvi_p50", "ndvi_p75"} <= set(found)
    light = found["true_colour_p25"]["components"]["red"]
    assert light == {"BAND15_P25": 1.0, "scale_range": [0.0, pytest.approx(2220)]}
    assert found["ndvi_p75"]["needed_bands"] == ["BAND16_P75", "BAND15_P75"]
    assert found["ndvi_p75"]["title"] == Text("NDVI, P75", "NDVI, P75")


def test_a_count_is_drawn_as_one():
    found = of_function("COUNT", auxiliary=())
    assert list(found) == ["count"]
    assert found["count"]["color_ramp"][0]["value"] == 1.0


@pytest.mark.parametrize(("function", "ends"), [("STD", (0.2, 0.4)), ("RANGE", (0.55, 1.1))])
def test_the_ranges_of_differences_are_those_of_real_images(real_data, function, ends):
    paths = sorted((real_data / "CB4_64_16D_STK-1" / "v001" / "022024").iterdir())

    def stack(name):
        return np.stack([rasterio.open(next(p.glob(f"*{name}.tif"))).read(1) for p in paths])

    clear = stack("CMASK") == 0
    for band, number in (("blue", 13), ("green", 14), ("red", 15), ("nir", 16)):
        values = stack(f"BAND{number}")
        seen = np.where(clear & (values != -9999), values * 1e-4, np.nan)
        spreads = []
        for six in np.split(seen, 4):
            several = six[:, np.isfinite(six).sum(axis=0) > 1]
            wide = np.nanmax(several, 0) - np.nanmin(several, 0)
            spreads.append(np.nanstd(several, 0) if function == "STD" else wide)
        share = np.percentile(np.concatenate(spreads), 98) / BRIGHTEST["cbers4"][band]
        assert ends[0] <= round(share, 2) <= ends[1]
