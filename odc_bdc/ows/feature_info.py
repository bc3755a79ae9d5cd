"""What a GetFeatureInfo tells of a pixel besides its values: datacube-ows calls these functions."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from odc_bdc.ows import rendering
from odc_bdc.ows.languages import Text, language_of
from odc_bdc.quality import CLEAR, NODATA, SEEN

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import xarray as xr
    from datacube.model import Dataset

    from odc_bdc.quality import QualityPolicy

NONE = "n/a"
"""As datacube-ows writes what has no value."""

_CLASSES = {NODATA: "no data", SEEN: "not clear", CLEAR: "clear"}


_WORDS = {
    "title": Text("Values of a pixel", "Valores de um pixel"),
    "place": Text("Latitude, longitude", "Latitude, longitude"),
    "time": Text("Time", "Data"),
    "period": Text("Period", "Período"),
    "date_chosen": Text("Observed on", "Observado em"),
    "quality": Text("Quality", "Qualidade"),
    "computed": Text("computed", "calculado"),
    "nothing": Text("There is no image here.", "Não há imagem aqui."),
    "no data": Text("no data", "sem dados"),
    "not clear": Text("not clear", "não limpo"),
    "clear": Text("clear", "limpo"),
}
"""Texts of the page ``templates/html_feature_info.html``."""


def install_page(app: Any) -> None:
    """Put our page of a feature info before that of datacube-ows, which lacks half of it.

    Parameters
    ----------
    app
        The Flask application of datacube-ows.
    """
    from flask import request  # noqa: PLC0415 (an extra)
    from jinja2 import ChoiceLoader, PackageLoader  # noqa: PLC0415 (an extra)

    app.jinja_loader = ChoiceLoader([PackageLoader("odc_bdc.ows"), app.jinja_loader])

    @app.context_processor  # type: ignore[untyped-decorator]
    def words() -> dict[str, Any]:
        language = language_of(request.environ)
        return {
            "language": language,
            "words": {key: getattr(text, language) for key, text in _WORDS.items()},
        }


def includes(bands: Collection[str], quality: QualityPolicy | None) -> dict[str, Any]:
    """Give what a layer with these bands tells, as its configuration has it."""
    found: dict[str, Any] = {"period": f"{__name__}.period"}
    if "PROVENANCE" in bands:
        found["date_chosen"] = f"{__name__}.date_chosen"
    if quality and quality.band in bands:
        given = {"policy": quality.to_dict()}
        found["quality"] = {"function": f"{__name__}.quality", "kwargs": given}
    return found


def period(pixel: xr.Dataset, dataset: Dataset) -> str:  # noqa: ARG001 (the interface)
    """Give first and last day of what a dataset is made of, or its one day."""
    first, last = dataset.time.begin.date(), dataset.time.end.date()
    return str(first) if first == last else f"{first}/{last}"


def date_chosen(pixel: xr.Dataset, dataset: Dataset) -> str:
    """Give the day on which a composite's pixel was observed.

    Parameters
    ----------
    pixel
        One pixel of all bands; PROVENANCE is a day of the year, 1 to 366, or its nodata value.
    dataset
        Its period says in which year; a period that runs into the next year has two.
    """
    day = int(pixel["PROVENANCE"].item())
    if day == pixel["PROVENANCE"].attrs.get("nodata") or day < 1:
        return NONE
    first = dataset.time.begin.date()
    for year in (first.year, first.year + 1):
        found = first.replace(year=year, month=1, day=1) + timedelta(days=day - 1)
        if first <= found <= dataset.time.end.date():
            return str(found)
    return NONE


def quality(
    pixel: xr.Dataset,
    dataset: Dataset,  # noqa: ARG001 (the interface)
    *,
    policy: Mapping[str, Any],
) -> str:
    """Say what the quality band means: ``clear``, ``not clear`` or ``no data``."""
    found = rendering.quality_classes(pixel, policy=policy, band_mapper=str)
    return _CLASSES[int(found.item())]
