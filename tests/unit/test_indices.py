"""Spectral indices as the BDC stores them, against exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
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


def test_unknown_index_lists_the_known():
    with pytest.raises(OdcBdcError, match="'SAVI' is not a spectral index; known: NDVI, EVI"):
        spectral_index("SAVI")
