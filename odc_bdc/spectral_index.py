"""The spectral indices by name: what each is, before anybody computes."""

from __future__ import annotations

from dataclasses import dataclass

from odc_bdc.errors import UnknownNameError, did_you_mean


@dataclass(frozen=True, slots=True)
class SpectralIndex:
    """What is known of a spectral index from its name alone.

    Attributes
    ----------
    name
        As the band is called.
    title
        In words.
    bands
        Common names of the bands that enter.
    numerator, denominator
        In these names, for reflectances times `REFLECTANCE_ONE`.
    """

    name: str
    title: str
    bands: tuple[str, ...]
    numerator: str
    denominator: str


REFLECTANCE_ONE = 10000
"""What a reflectance of 1 is in the formulas: the BDC stores reflectances as ten-thousandths."""


def _difference(name: str, title: str, high: str, low: str) -> SpectralIndex:
    return SpectralIndex(name, title, (high, low), f"{high} - {low}", f"{high} + {low}")


_INDICES = {
    index.name: index
    for index in (
        # Rouse et al. (1974).
        _difference("NDVI", "Normalised difference vegetation index", "nir", "red"),
        # Huete et al. (2002), doi:10.1016/S0034-4257(02)00096-2; with the numbers of MODIS.
        SpectralIndex(
            "EVI",
            "Enhanced vegetation index",
            ("nir", "red", "blue"),
            "2.5 * (nir - red)",
            f"nir + 6 * red - 7.5 * blue + {REFLECTANCE_ONE}",
        ),
        # Key and Benson (2006), as in the BDC's S2-16D-2.
        _difference("NBR", "Normalised burn ratio", "nir", "swir22"),
        # McFeeters (1996), doi:10.1080/01431169608948714.
        _difference("NDWI", "Normalised difference water index", "green", "nir"),
    )
}

SPECTRAL_INDICES = tuple(_INDICES)
"""The names that `spectral_index` knows."""


def spectral_index(name: str) -> SpectralIndex:
    """Give a spectral index by name, in any case.

    Raises
    ------
    UnknownNameError
        If there is no such index; the message lists the known ones.

    Examples
    --------
    >>> spectral_index("ndvi").bands
    ('nir', 'red')
    """
    found = _INDICES.get(str(name).upper())
    if found is None:
        known = ", ".join(SPECTRAL_INDICES)
        guess = did_you_mean(str(name).upper(), SPECTRAL_INDICES)
        raise UnknownNameError(f"{name!r} is not a spectral index{guess}; known: {known}")
    return found
