"""What of a source's values cannot become a cube's is refused, and what can is told once."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest
import xarray as xr

from odc_bdc import CubeSpec, OdcBdcError, composite_cube, harmonise
from odc_bdc.cube import Encoding, Measurement, conversion_fault, find_cube, source_encodings

SOURCE = find_cube("LC8_30_16D_MED_v1")


def my_cube(measurement, product="mine", quality="none", function="MED"):
    return CubeSpec.from_dict(
        {
            "name": "my_cube",
            "title": {"en": "Mine"},
            "description": {"en": "Mine"},
            "license": "CC-BY-4.0",
            "sources": [{"product": product}],
            "grid": "BDC_SM_V2",
            "resolution": 30,
            "timeline": "p1m",
            "function": function,
            "quality": quality,
            "measurements": [measurement],
        }
    )


@pytest.mark.parametrize(
    ("stored", "wanted", "message"),
    [
        (
            Encoding("float32"),
            Measurement("b", "int16", -9999),
            "would be rounded to whole numbers",
        ),
        (
            Encoding("uint16", 0, 2.75e-5, -0.2),
            Measurement("b", "int16", -9999),
            "scale 2.75e-05 and offset -0.2, which would be lost",
        ),
        (
            Encoding("uint16", 0, 1e-4),
            Measurement("b", "uint8", 0, scale=1e-4),
            "uint8 with scale 0.0001 and offset 0 holds 0 to 0.0255, and the product can have",
        ),
        (
            Encoding("float32"),
            Measurement("b", "int8", 0, scale=1e-3),
            "holds -0.128 to 0.127, and the product can have values up to 1",
        ),
        (
            Encoding("uint16", 0, 0.01, 273.15),
            Measurement("b", "int16", -9999, scale=0.001, units="kelvin"),
            "holds -32.768 to 32.767, and the product's values are 273.15 to 928.5",
        ),
        (Encoding("int16", -9999), Measurement("b", "float32"), "does not say the scale"),
        (
            Encoding("int16", -9999),
            Measurement("b", "int16", -9999, scale=1e-4, offset=-0.1),
            "does not say the scale",
        ),
        (Encoding("int16", -9999), Measurement("b", "int16", -9999, scale=1e-4), None),
        (Encoding("uint16", 0, 1e-4), Measurement("b", "int16", -9999), None),
        (Encoding("uint8", 0, 1), Measurement("b", "int16", -9999), None),
        (Encoding("uint16", 0, 1e-4, -0.1), Measurement("b", "int16", -9999, scale=1e-4), None),
        (Encoding("uint16", 0, 1e-4, -0.1), Measurement("b", "float32"), None),
        (Encoding("float64", -9999), Measurement("b", "float32"), None),
        (Encoding("float32"), Measurement("b", "int16", 0, scale=0.01, units="dB"), None),
    ],
)
def test_what_cannot_be_right_is_told(stored, wanted, message):
    found = conversion_fault(stored, wanted)
    assert (found is None) if message is None else (message in found)


def test_a_definition_over_a_shipped_product_is_refused_with_its_line(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(
        textwrap.dedent(
            """\
            name: my_cube
            title: {en: Mine}
            description: {en: Mine}
            license: CC-BY-4.0
            sources: [{product: landsat_2_oli}]
            grid: BDC_SM_V2
            resolution: 30
            timeline: p1m
            function: MED
            quality: none
            measurements:
              - {name: OLI_B4, dtype: int16, nodata: -9999, scale: 0.0001, offset: 0}
              - {name: OLI_B5, dtype: uint8, nodata: 0, scale: 0.0001, offset: 0}
            """
        ),
        "utf-8",
    )
    with pytest.raises(OdcBdcError) as caught:
        CubeSpec.from_yaml(path)
    (told,) = str(caught.value).splitlines()
    assert told.startswith(f"{path}:13: measurements.1: landsat_2_oli: uint8 with scale 0.0001")


def test_scale_and_offset_are_both_inherited():
    cube = my_cube({"name": "OLI_B4"}, "landsat_2_oli")
    assert cube.bands[0].encoding == Encoding("uint16", 0, 2.75e-5, -0.2)
    # As floating point it holds reflectances.
    cube = my_cube({"name": "OLI_B4", "dtype": "float32"}, "landsat_2_oli")
    assert cube.bands[0].encoding == Encoding("float32")


def test_a_product_that_is_not_shipped_is_refused_when_it_is_known():
    cube = my_cube({"name": "red", "dtype": "int16", "nodata": -9999})
    told = {"name": "red", "dtype": "uint16", "nodata": 0, "scale_factor": 1e-4, "add_offset": -0.1}
    with pytest.raises(OdcBdcError, match="cube my_cube: measurement red of mine: the product has"):
        source_encodings(cube, cube.sources[0], {"name": "mine", "measurements": [told]})
    attrs = {"nodata": 0, "scale_factor": 1e-4, "add_offset": -0.1}
    band = (("time", "y", "x"), np.ones((1, 2, 2), "uint16"), attrs)
    with pytest.raises(
        OdcBdcError, match=r"band red: the product has scale 0\.0001 and offset -0\.1"
    ):
        harmonise(xr.Dataset({"red": band}, {"time": [np.datetime64("2020-01-01", "ns")]}), cube)


@pytest.mark.parametrize("nodata", [-9999, 1.5])
def test_floating_bands_have_no_number_for_nodata(nodata):
    with pytest.raises(OdcBdcError, match="NaN where there is no data: leave `nodata` out"):
        my_cube({"name": "vv", "dtype": "float32", "nodata": nodata})
    with pytest.raises(OdcBdcError, match=r"1\.5 does not fit int16"):
        my_cube({"name": "vv", "dtype": "int16", "nodata": 1.5})


def scenes(values, **attrs):
    times = np.array([f"2020-01-{n + 1:02d}" for n in range(len(values))], "datetime64[ns]")
    band = (("time", "y", "x"), np.array(values, "float32").reshape(-1, 1, 1), attrs)
    return xr.Dataset({"red": band}, coords={"time": times})


def test_scenes_of_floats_become_ten_thousandths():
    cube = my_cube({"name": "red", "dtype": "int16", "nodata": -9999, "scale": 0.0001})
    out = composite_cube(scenes([0.1234, np.nan, 0.1236, np.inf]), cube)
    assert (out.red.item(), out.CLEAROB.item(), out.TOTALOB.item()) == (1235, 2, 2)
    out = composite_cube(scenes([np.nan, -9999], nodata=-9999), cube)
    assert (out.red.item(), out.CLEAROB.item()) == (-9999, 0)


@pytest.mark.parametrize("function", ["MED", "AVG", "LCF", "MAX", "P50", "IDT"])
def test_cubes_of_floats(function):
    cube = my_cube({"name": "red", "dtype": "float32", "units": "dB"}, function=function)
    assert np.isnan(cube.to_product()["measurements"][0]["nodata"])
    assert CubeSpec.from_dict(cube.to_dict()) == cube
    out = composite_cube(scenes([-12.5, np.nan, -12.5, np.inf]), cube)
    assert out.red.dtype == "float32"
    assert (out.red.item(), out.CLEAROB.item()) == (-12.5, 2)
    out = composite_cube(scenes([np.nan, -9999], nodata=-9999), cube)
    assert np.isnan(out.red.item())
    assert (out.CLEAROB.item(), out.TOTALOB.item()) == (0, 0)


def test_indices_of_floats_are_of_the_values_themselves():
    cube = my_cube({"name": "red", "dtype": "float32"})
    doc = cube.to_dict()
    doc["measurements"].insert(1, {"name": "nir", "dtype": "float32"})
    doc["outputs"]["indices"] = ["NDVI", {"name": "EVI2", "dtype": "float32"}]
    cube = CubeSpec.from_dict(doc)
    ds = scenes([0.05])
    out = composite_cube(ds.assign(nir=ds.red.copy(data=np.float32([[[0.3]]]))), cube)
    assert out.NDVI.item() == 7142  # .7142857, cut as the BDC does
    assert out.EVI2.item() == pytest.approx(2.5 * 0.25 / (0.3 + 2.4 * 0.05 + 1), rel=1e-6)


def test_a_quality_band_of_floats_is_refused():
    quality = {"band": "q", "clear": [1], "nodata": 0}
    cube = my_cube({"name": "red", "dtype": "float32"}, "mine", "none")
    doc = {**cube.to_dict(), "quality": quality}
    doc["sources"][0]["quality"] = quality
    doc["measurements"] = [doc["measurements"][0], {"name": "q", "dtype": "uint8", "nodata": 0}]
    cube = CubeSpec.from_dict(doc)
    told = [{"name": n, "dtype": "float32", "nodata": "NaN"} for n in ("red", "q")]
    with pytest.raises(OdcBdcError, match="quality band q: is float32; a quality band holds whole"):
        source_encodings(cube, cube.sources[0], {"name": "mine", "measurements": told})


def test_codes_of_quality_are_not_cut():
    quality = {"band": "QA_PIXEL", "clear": [6, 7], "not_clear": [1, 3], "nodata": 1, "bits": True}
    doc = my_cube({"name": "OLI_B4"}, "landsat_2_oli").to_dict()
    doc |= {"quality": quality}
    doc["sources"] = [{"product": "landsat_2_oli"}]
    doc["measurements"] = ["OLI_B4", {"name": "QA_PIXEL", "dtype": "uint8", "nodata": 1}]
    with pytest.raises(
        OdcBdcError, match="is uint8, and the product's codes are uint16: take that"
    ):
        CubeSpec.from_dict(doc)
    doc["measurements"][1] = {"name": "QA_PIXEL", "dtype": "float32"}
    with pytest.raises(OdcBdcError, match="is float32; a quality band holds whole numbers"):
        CubeSpec.from_dict(doc)
    doc["measurements"][1] = "QA_PIXEL"
    cube = CubeSpec.from_dict(doc).patch(
        measurements=(Measurement("OLI_B4", "uint16", 0), Measurement("QA_PIXEL", "uint8", 1))
    )
    told = [{"name": n, "dtype": "uint16", "nodata": 0} for n in ("OLI_B4", "QA_PIXEL")]
    with pytest.raises(OdcBdcError, match="quality band QA_PIXEL: is uint8, and the product's"):
        source_encodings(cube, cube.sources[0], {"name": "landsat_2_oli", "measurements": told})


def test_a_geometric_median_of_bands_of_different_kinds_is_refused():
    doc = my_cube({"name": "red", "dtype": "float32"}).to_dict() | {"function": "GEOMED"}
    doc["measurements"].insert(1, {"name": "nir", "dtype": "int16", "nodata": 0, "scale": 0.0001})
    with pytest.raises(
        OdcBdcError, match="function: GEOMED takes bands of one type, scale and off"
    ):
        CubeSpec.from_dict(doc)


def test_a_scale_without_an_offset_has_none():
    given = {"name": "OLI_B4", "dtype": "int16", "nodata": -9999, "scale": 0.0001}
    assert my_cube(given, "landsat_2_oli").bands[0].encoding == Encoding("int16", -9999, 0.0001)


def test_a_quality_band_that_is_no_measurement_is_told():
    doc = SOURCE.to_dict()
    doc["measurements"] = [m for m in doc["measurements"] if m["name"] != doc["quality"]["band"]]
    with pytest.raises(
        OdcBdcError, match=r"quality\.band: 'QA_PIXEL' is not in measurements: band1"
    ):
        CubeSpec.from_dict(doc)
