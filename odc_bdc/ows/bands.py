"""What the bands of a product show: their common names, their reflectances, and usual ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from odc_bdc.cube import Encoding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Names of one band in catalogues of different years; the first is that of STAC's eo extension.
_SYNONYMS = (
    ("nir", "nir08"),
    ("swir16", "swir1"),
    ("swir22", "swir2"),
    ("rededge1", "redge1"),
    ("rededge2", "redge2"),
    ("rededge3", "redge3"),
)

BRIGHTEST: Mapping[str, Mapping[str, float]] = {
    "cbers4": {"blue": 0.118, "green": 0.172, "red": 0.222, "nir": 0.477},
    "sentinel2": {"blue": 0.222, "green": 0.222, "red": 0.222, "nir": 0.517},
    "modis": {"blue": 0.201, "red": 0.244, "nir": 0.622, "swir22": 0.340},
}
"""Reflectances shown as full brightness, by mission and common name; no reflectance is black.

They are percentile 98 of real images, to three digits: of CBERS-4 AWFI, the clear pixels of 24
composites of 2017 and 2018 in the west of Bahia (59,547 pixels); of Terra MODIS, 43,516
observations of nine land uses in Mato Grosso, cloudy ones among them. The Sentinel-2 images at
hand are of an autumn in Belgium (5,778 clear pixels), where no soil is as bright as Brazil's: the
near infrared is their own, and the visible bands have the red's of CBERS-4, one for all of them,
for theirs (0.101, 0.126 and 0.123) hardly differ.

Black is not a percentile as well, for then the forest, which is dark in all visible bands, would
be black all over. Of Landsat there are no surface reflectances at hand; see `DEFAULT`.
"""

DEFAULT: Mapping[str, float] = {"nir": 0.5, "nir08": 0.5, "swir16": 0.4, "swir22": 0.3}
"""Full brightness where nothing was measured; of other bands it is `VISIBLE`."""

VISIBLE = 0.3

SPREAD: Mapping[str, float] = {"STD": 0.25, "RANGE": 0.75}
"""Share of full brightness that is full brightness in cubes of differences, by their function.

After percentile 98 of the same images of CBERS-4, six in a row: of the standard deviation it is
0.045, 0.049, 0.063 and 0.096 (blue, green, red, near infrared), of the range 0.12, 0.13, 0.19 and
0.28, which is 0.20 to 0.38 and 0.59 to 1.05 of `BRIGHTEST`.
"""


def by_common_name(
    measurements: Sequence[Mapping[str, Any]], suffix: str = ""
) -> dict[str, Mapping[str, Any]]:
    """Index measurements (as ODC product documents have them) by name and by common name.

    Of bands with one alias it means the first; ``nir08`` stands for ``nir`` where there is no other
    near infrared band, and likewise for other names of one band.

    Parameters
    ----------
    suffix
        Only bands of which a name ends so, without it: ``_P50`` of a cube of several percentiles.
    """
    found = {
        label.removesuffix(suffix): m
        for m in reversed(measurements)
        for label in (*(m.get("aliases") or ()), m["name"])
        if label.endswith(suffix)
    }
    for names in _SYNONYMS:
        known = next((found[name] for name in names if name in found), None)
        if known is not None:
            found.update({name: known for name in names if name not in found})
    return found


def reflectance_encoding(measurement: Mapping[str, Any]) -> Encoding:
    """Tell how a band stores reflectance: without a scale, integers are ten-thousandths."""
    known = Encoding.from_odc(measurement)
    if known.scale:
        return known
    scale = 1e-4 if "int" in known.dtype else 1.0
    return Encoding(known.dtype, known.nodata, scale, known.offset)


def stretch(
    measurement: Mapping[str, Any], common_name: str, mission: str = "", share: float = 1.0
) -> tuple[float, float]:
    """Give the pixel values of a band that are shown as black and as full brightness.

    Parameters
    ----------
    measurement
        As the ODC product document has it; ``scale_factor`` and ``add_offset`` turn pixel values
        into reflectance.
    common_name
        Such as ``red``.
    mission
        As in `BRIGHTEST`; for others the ranges are those of `DEFAULT`.
    share
        Of these ranges, see `SPREAD`.

    Examples
    --------
    >>> stretch({"dtype": "int16", "scale_factor": 0.0001}, "swir16")
    (0.0, 4000.0)
    """
    if measurement["dtype"] == "uint8":
        return 0.0, 255.0
    known = reflectance_encoding(measurement)
    measured = BRIGHTEST.get(mission, {})
    brightest = measured.get(common_name) or DEFAULT.get(common_name, VISIBLE)
    scale, offset = known.scale or 1.0, known.offset or 0.0
    return (0.0 - offset) / scale, (share * brightest - offset) / scale
