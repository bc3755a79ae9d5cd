"""What our services have that datacube-ows lacks, around its application.

`add_content` is the one call: it gives the application its Portuguese texts, and puts the
middleware of times, tiles, capabilities and the page for people around it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from odc_bdc.errors import first_line
from odc_bdc.ows.capabilities import Capabilities
from odc_bdc.ows.config import OWN
from odc_bdc.ows.feature_info import install_page
from odc_bdc.ows.grid_view import grid_view
from odc_bdc.ows.landing import Landing, catalogue
from odc_bdc.ows.languages import Languages, install_translations
from odc_bdc.ows.ranges import layer_contents
from odc_bdc.ows.restful import RestfulTiles
from odc_bdc.ows.time_axis import TimeAxis
from odc_bdc.ows.times import periods_from
from odc_bdc.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from odc_bdc.ows.ranges import Contents
    from odc_bdc.timeline import Period

_LOG = logging.getLogger(__name__)


def add_content(app: Any, version: Callable[[], str | None] = lambda: "") -> Any:
    """Put our content into an application of datacube-ows.

    Parameters
    ----------
    app
        The Flask application that `datacube_ows.startup_utils.create_app` made, whose
        configuration is loaded.
    version
        Tells what documents are made of, see `odc_bdc.ows.freshness.Freshness.of_documents`.

    Returns
    -------
    flask.Flask
        The same application.
    """
    from odc_bdc.ows import upstream  # noqa: PLC0415 (an extra)
    from odc_bdc.ows.services import services  # noqa: PLC0415 (needs the extra)

    cfg = upstream.get_config()
    own = upstream.read_config().get(OWN) or {}
    portuguese: Mapping[str, str] = own.get("portuguese") or {}
    labels = {m.id: m.string for m in cfg.export_metadata() if m.id}
    install_translations(app, labels, portuguese)
    timelines = {name: Timeline.from_dict(d) for name, d in (own.get("timelines") or {}).items()}
    periods = _periods_of(cfg, timelines)
    install_page(app)
    app.before_request(grid_view(cfg))
    app.before_request(services(cfg))
    timed = TimeAxis(app.wsgi_app, periods)

    def latitude_first(crs: str) -> bool:
        return crs in cfg.published_CRSs and upstream.latitude_first(cfg, crs)

    completed = Capabilities(timed, portuguese, periods, latitude_first)
    restful = RestfulTiles(Languages(completed))

    def describe(language: str) -> tuple[dict[str, Any], bool]:
        contents, known = _contents(cfg)
        document = catalogue(
            cfg, language=language, portuguese=portuguese, periods=periods, contents=contents
        )
        return document, known and is_settled(cfg)

    def title(language: str) -> tuple[str, str]:
        texts = portuguese if language == "pt" else {}
        name, about = (labels.get(f"global.{field}", "") for field in ("title", "abstract"))
        return texts.get(name, name), texts.get(about, about)

    documentation = str(own.get("documentation") or "")
    app.wsgi_app = Landing(restful, describe, title, documentation, version)
    return app


def is_settled(cfg: Any) -> bool:
    """Tell whether the layers of datacube-ows stay as they are while the process lives."""
    return bool(cfg.ready) and not any(layer.dynamic for layer in cfg.layer_index.values())


def _contents(cfg: Any) -> tuple[dict[str, Contents], bool]:
    """Count what the indexes of a configuration hold, and tell whether all could be asked."""
    found: dict[str, Contents] = {}
    try:
        for dc in cfg.all_dcs.values():
            found |= layer_contents(dc)
    except SQLAlchemyError as e:
        _LOG.warning("The page cannot count tiles: %s", first_line(e))
        return found, False
    return found, True


def _periods_of(
    cfg: Any, timelines: Mapping[str, Timeline]
) -> Callable[[str], Sequence[Period] | None]:
    remembered: dict[str, tuple[Sequence[date], list[Period]]] = {}

    def periods(name: str) -> Sequence[Period] | None:
        layer = cfg.layer_index.get(name)
        if layer is None or layer.hide or not layer.ready or layer.time_resolution.is_subday():
            return None
        times = layer.ranges.times
        if name not in remembered or remembered[name][0] is not times:
            summary = layer.time_resolution.is_summary()
            found = periods_from(times, timelines.get(name), composites=summary)
            remembered[name] = (times, found)
        return remembered[name][1]

    return periods
