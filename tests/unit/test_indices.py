"""Spectral indices as the BDC stores them, against exact fractions."""

import math
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import spyndex
from hypothesis import given
from hypothesis import strategies as st

from odc_bdc import OdcBdcError
from odc_bdc.cube import Encoding
from odc_bdc.indices import index_band
from odc_bdc.spectral_index import SPECTRAL_INDICES, spectral_index

BDC = Encoding("int16", -9999, 1e-4)
STORED = Encoding("int16", -9999, 1e-4)

# Reflectances in, index out; written down from the papers, not from the table under test.
FORMULAS = {
    "NDVI": lambda nir, red: (nir - red, nir + red),
    "EVI": lambda nir, red, blue: (
        Fraction(5, 2) * (nir - red),
        nir + 6 * red - Fraction(15, 2) * blue + 1,
    ),
    "NBR": lambda nir, swir22: (nir - swir22, nir + swir22),
    "NDWI": lambda green, nir: (green - nir, green + nir),
}


def compute(name, values, encoding=BDC):
    index = spectral_index(name)
    bands = {b: np.array([values[b]], "int16") for b in index.bands}
    return index_band(index, bands, dict.fromkeys(bands, encoding), STORED).item()


def test_every_index_has_an_oracle():
    assert set(FORMULAS) == set(SPECTRAL_INDICES)


@pytest.mark.parametrize(
    ("name", "values", "wanted"),
    [
        # Numbers that cube-builder gives.
        ("NDVI", {"nir": 4000, "red": 1000}, 6000),
        ("EVI", {"nir": 4000, "red": 1000, "blue": 500}, 4615),
        ("EVI", {"nir": 3000, "red": 1, "blue": 1401}, 30008),
        ("NDVI", {"nir": 0, "red": 0}, -9999),
        ("NDVI", {"nir": -9999, "red": 500}, -9999),
        ("NDVI", {"nir": 500, "red": -9999}, -9999),
        ("NDVI", {"nir": 300, "red": 700}, -4000),
        ("NBR", {"nir": 1000, "swir22": 1001}, -4),  # -4.99..., cut toward zero
        ("EVI", {"nir": 10000, "red": 0, "blue": 2666}, 32767),
    ],
)
def test_known_numbers(name, values, wanted):
    assert compute(name, values) == wanted


@given(
    name=st.sampled_from(sorted(FORMULAS)),
    values=st.dictionaries(
        st.sampled_from(["nir", "red", "blue", "green", "swir22"]),
        st.integers(-200, 16000),
        min_size=5,
        max_size=5,
    ),
)
def test_an_index_is_cut_from_the_exact_ratio(name, values):
    used = {b: Fraction(values[b], 10000) for b in spectral_index(name).bands}
    above, below = FORMULAS[name](**used)
    wanted = -9999 if below == 0 else min(max(math.trunc(10000 * above / below), -32768), 32767)
    # An exact whole number of ten-thousandths may not be cut below itself, nor may its neighbours.
    assert compute(name, values) == wanted


def test_other_encodings_are_converted():
    stored = Encoding("uint16", 0, 2.75e-5, -0.2)
    index = spectral_index("NDVI")
    bands = {"nir": np.array([17834, 0], "uint16"), "red": np.array([8275, 8275], "uint16")}
    found = index_band(index, bands, dict.fromkeys(bands, stored), STORED)
    nir, red = 17834 * 2.75e-5 - 0.2, 8275 * 2.75e-5 - 0.2
    assert found.tolist() == [int(10000 * (nir - red) / (nir + red)), -9999]


@pytest.mark.parametrize(
    ("name", "constants", "values", "wanted"),
    [
        # Huete (1988): 1.5 * 0.3 / 1.03
        ("SAVI", {"L": 0.5}, {"nir": 4150, "red": 1150}, 4368),
        ("savi", {"L": 0.5}, {"nir": 1150, "red": 4150}, -4368),
        # spyndex has L = 1: 2 * 0.3 / 1.53
        ("SAVI", None, {"nir": 4150, "red": 1150}, 3921),
        # Jiang et al. (2008): 2.5 * 0.3 / (0.415 + 2.4 * 0.115 + 1)
        ("EVI2", None, {"nir": 4150, "red": 1150}, 4435),
        # Qi et al. (1994): (1.83 - sqrt(1.83 ** 2 - 2.4)) / 2
        ("MSAVI", None, {"nir": 4150, "red": 1150}, 4279),
        # Xu (2006): (0.1 - 0.33) / 0.43
        ("MNDWI", None, {"green": 1000, "swir16": 3300}, -5348),
        # Beyond int16.
        ("SR", None, {"nir": 4000, "red": 1000}, 32767),
        ("DVI", None, {"nir": -9999, "red": 1}, -9999),
        ("SR", None, {"nir": 4000, "red": 0}, -9999),
        ("SR", None, {"nir": 0, "red": 0}, -9999),
        # A root of -0.0003.
        ("AVI", None, {"nir": 1000, "red": 1030}, -9999),
    ],
)
def test_known_numbers_of_spyndex(name, constants, values, wanted):
    index = spectral_index(name, constants)
    bands = {b: np.array([values[b]], "int16") for b in index.bands}
    found = index_band(index, bands, dict.fromkeys(bands, BDC), STORED)
    assert found.dtype == "int16"
    assert found.item() == wanted


def test_unsigned_bands_do_not_wrap():
    index = spectral_index("DVI")
    bands = {"nir": np.array([1], "uint16"), "red": np.array([40001], "uint16")}
    encodings = dict.fromkeys(bands, Encoding("uint16", 0, 1e-4))
    assert index_band(index, bands, encodings, Encoding("float32")).item() == np.float32(-4)
    assert index_band(index, bands, encodings, STORED).item() == -32768


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("NDVI", [0.6, np.nan, np.nan, -0.4]), ("OSAVI", [0.3 / 0.66, np.nan, 0, -0.04 / 0.26])],
)
def test_float_bands_hold_the_index_itself(name, wanted):
    bands = {
        "nir": np.array([4000, -9999, 0, 300], "int16"),
        "red": np.array([1000, 1000, 0, 700], "int16"),
    }
    found = index_band(spectral_index(name), bands, dict.fromkeys(bands, BDC), Encoding("float32"))
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


# What spyndex has no value for: wavelengths of Sentinel-2A in nm, and some radiation.
NO_DEFAULT = {
    "lambdaG": 560, "lambdaR": 665, "lambdaN": 833, "lambdaN2": 865, "lambdaS1": 1610,
    "lambdaS2": 2190, "PAR": 400,
}  # fmt: skip
LETTERS = {
    "A": "coastal", "B": "blue", "G": "green", "G1": "green05", "Y": "yellow", "R": "red",
    "RE1": "rededge1", "RE2": "rededge2", "RE3": "rededge3", "N": "nir", "N2": "nir08",
    "S1": "swir16", "S2": "swir22",
}  # fmt: skip
OPTICAL = [
    name
    for name, index in spyndex.indices.items()
    if name not in SPECTRAL_INDICES and set(index.bands) <= {*LETTERS, *spyndex.constants}
]


@pytest.mark.parametrize("name", OPTICAL)
def test_every_formula_equals_spyndex(name):
    inputs = spyndex.indices[name].bands
    constants = {c: NO_DEFAULT[c] for c in inputs if c in NO_DEFAULT}
    index = spectral_index(name, constants)
    assert sorted(index.bands) == sorted(LETTERS[i] for i in inputs if i in LETTERS)
    rng = np.random.default_rng(7)
    bands = {b: rng.integers(1, 16000, 500).astype("uint16") for b in index.bands}
    stored = dict.fromkeys(bands, Encoding("uint16", 0, 1e-4))
    found = index_band(index, bands, stored, Encoding("float32"))

    defaults = {i: spyndex.constants[i].default for i in inputs if i in spyndex.constants}
    params = {i: (bands[LETTERS[i]] * 1e-4).astype("float32") for i in inputs if i in LETTERS}
    params |= {c: np.float32(value) for c, value in {**defaults, **constants}.items()}
    with np.errstate(all="ignore"):
        wanted = np.asarray(spyndex.computeIndex(name, params=params))
    assert wanted.dtype == "float32"
    assert np.isfinite(wanted).any()
    np.testing.assert_allclose(
        found, np.where(np.isfinite(wanted), wanted, np.nan), rtol=1e-5, atol=1e-6
    )
    whole = index_band(index, bands, stored, STORED)
    # An index of -0.9999 is stored as what means nodata, as it is in the BDC's cubes.
    assert np.array_equal(np.isnan(found) | (np.trunc(found * 10000) == -9999), whole == -9999)
    cut = np.clip(np.trunc(10000.0 * np.nan_to_num(found, nan=-0.9999)), -32768, 32767)
    # The product with 10000 is in float32 there and in float64 here.
    assert np.abs(cut - whole).max() <= 1


def test_enough_formulas_were_compared():
    assert len(OPTICAL) >= 230


@pytest.mark.parametrize(
    ("name", "constants", "message"),
    [
        ("SAVX", None, "'SAVX' is not a spectral index, do you mean one of SAVI, "),
        ("xyzzy", None, "'xyzzy' is not a spectral index; known: NDVI, EVI, NBR, NDWI, and those"),
        ("bai", None, "'bai' may be BAI or BaI: write it as one of them"),
        ("kNDVI", None, r"kNDVI needs kernels of pairs of bands \(kNN, kNR\)"),
        ("NBRT1", None, r"NBRT1 needs temperature \(T\), but bands of a cube are"),
        ("DpRVIVV", None, r"DpRVIVV needs backscatter of a radar \(VH, VV\)"),
        ("NIRvP", None, "NIRvP needs values for PAR: write {name: NIRvP, constants: {PAR: NUMBER}"),
        ("SAVI", {"l": 0.5}, "SAVI has constants L; 'l' is not known"),
        ("OSAVI", {"L": 0.5}, "OSAVI has no constants; 'L' is not known"),
        ("EVI", {"L": 0.5}, "EVI is the BDC's, whose formula has no constants to set"),
    ],
)
def test_what_cannot_be_computed_is_refused(name, constants, message):
    with pytest.raises(OdcBdcError, match=message) as caught:
        spectral_index(name, constants)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("formula", ["__import__('os')", "N.real", "N if R else 1", "f(N)", "N<R"])
def test_a_formula_that_is_no_arithmetic_is_refused(monkeypatch, formula):
    from types import SimpleNamespace

    evil = SimpleNamespace(bands=["N", "R"], formula=formula, long_name="Evil")
    monkeypatch.setattr(spyndex, "indices", {"EVIL": evil})
    with pytest.raises(OdcBdcError, match="EVIL has a formula that is more than arithmetic"):
        spectral_index("EVIL")


def test_cubes_of_the_bdc_are_read_without_spyndex():
    code = (
        "import sys, odc_bdc, odc_bdc.cli, odc_bdc.indices;"
        "odc_bdc.find_cube('CB4_64_16D_STK_v1');"
        "sys.exit('spyndex' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
