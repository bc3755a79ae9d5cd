"""Maps as pages that hold all they need, and open from a disk."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from odc.geo.geom import box

from odc_bdc import __version__
from odc_bdc.errors import InvalidValueError
from odc_bdc.indexing.whole_file import whole_file
from odc_bdc.notebook.outlines import outlines
from odc_bdc.notebook.pictures import WEB, data_url
from odc_bdc.notebook.sources import Asked, Drawn, find_sides
from odc_bdc.notebook.words import say
from odc_bdc.ows.landing.page import static_files
from odc_bdc.ows.landing.words import words_in

if TYPE_CHECKING:
    from datetime import date

    from datacube import Datacube

    from odc_bdc.notebook.moments import TimeLike
    from odc_bdc.notebook.sources import Bounds, Images, Shown, Sides
    from odc_bdc.notebook.styling import ProductLike

MOST_PIXELS = 20_000_000
"""Pixels of all images of a page together, some 40 MB; what has more is shown coarser."""

_ONE_IMAGE = 1_500_000


def export_html(
    what: Shown,
    path: str | Path,
    style: str | tuple[str, str] = "true_colour",
    *,
    title: str | None = None,
    about: str = "",
    dc: Datacube | None = None,
    server: str | None = None,
    time: TimeLike | None = None,
    swipe: Shown | date | bool | None = None,
    opacity: float = 1.0,
    language: str = "en",
    product: ProductLike | None = None,
    most_pixels: int = MOST_PIXELS,
) -> Path:
    """Write images as one page with a map, sliders of dates, opacity, legend and, if wished, swipe.

    The page holds its images, the map library and outlines of countries: it opens from a disk, and
    asks no host for anything. If `server` is given, it holds addresses of that map server instead
    of images, and asks that one.

    Parameters
    ----------
    what, style, dc, server, time, swipe, opacity, product
        As of `odc_bdc.notebook.show`.
    path
        File to write; it ends in ``.html``.
    title, about
        Heading and a sentence below it, plain text.
    language
        ``en`` or ``pt``.
    most_pixels
        Of all images together: what has more is shown coarser, and the page says so.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    InvalidValueError
        If the path ends otherwise or cannot be written, arrays have no CRS, nothing has a time
        asked for, or a parameter makes no sense.
    UnknownNameError
        If there is no such style, product or layer.
    SourceError
        If the server cannot be reached.
    """
    target = Path(path)
    if target.suffix.lower() not in {".html", ".htm"}:
        raise InvalidValueError(f"{target}: a page ends in .html")
    if not 0 <= opacity <= 1:
        raise InvalidValueError(f"opacity={opacity}: give 0 to 1")
    say("map", language)  # knows the language, or says which there are
    asked = Asked(dc, server, time, product, language, _ONE_IMAGE)
    sides = find_sides(what, style, swipe, asked)
    drawn = {id(i): i for i in sides.images if isinstance(i, Drawn)}
    total = sum(len(i.labels) for i in drawn.values())
    if total * _ONE_IMAGE > most_pixels:
        asked = Asked(dc, server, time, product, language, max(1, most_pixels // total))
        sides = find_sides(what, style, swipe, asked)
    try:
        with whole_file(target) as stream:
            os.fchmod(stream.fileno(), 0o644)
            stream.write(_page(sides, title, about, opacity, language))
    except OSError as e:
        raise InvalidValueError(f"{target}: cannot be written: {e.strerror or e}") from e
    return target


def _page(sides: Sides, title: str | None, about: str, opacity: float, language: str) -> str:
    script = f"const ol = {_library()};\n{_own('page.js')}"
    names = ["time"] if len(sides.images) == 1 else ["left", "right"]
    forms = [
        {
            "name": say(name, language),
            "title": images.title,
            "labels": images.labels,
            "start": start,
            "legend": data_url(images.legend) if images.legend else "",
        }
        for images, start, name in zip(sides.images, sides.starts, names, strict=True)
    ]
    if len(forms) == 2 and forms[0]["legend"] == forms[1]["legend"]:
        forms[1]["legend"] = ""
    text: str = _template().render(
        language=language,
        title=title or " | ".join(dict.fromkeys(i.title for i in sides.images)),
        about=about,
        words=_words(language),
        sides=forms,
        several=sum(bool(form["legend"]) for form in forms) > 1,
        opacity=round(100 * opacity),
        notes=[note for note in dict.fromkeys(i.note for i in sides.images) if note],
        policy=_policy(sides, script),
        css=_safe(_css()),
        data=_safe(_json(_data(sides, language))),
        script=_safe(script),
        licences=static_files()["LICENCES.txt"].decode(),
        version=__version__,
    )
    return text


def _data(sides: Sides, language: str) -> dict[str, Any]:
    images: list[str] = []
    first: dict[int, int] = {}  # number of the first image of a series
    for series in sides.images:
        if isinstance(series, Drawn) and id(series) not in first:
            first[id(series)] = len(images)
            images += [data_url(series.pictures.png(i)) for i in range(len(series.labels))]
    return {
        "extent": _web(sides.bounds),
        "zoomIn": say("zoom_in", language),
        "zoomOut": say("zoom_out", language),
        "countries": outlines(sides.bounds),
        "images": images,
        "sides": [
            {
                "title": series.title,
                "labels": series.labels,
                "start": start,
                "extent": _web(series.bounds),
                **_how(series, first.get(id(series), 0), language),
            }
            for series, start in zip(sides.images, sides.starts, strict=True)
        ],
    }


def _how(series: Images, first: int, language: str) -> dict[str, Any]:
    """Say where the images are: in the page, or on a map server."""
    if isinstance(series, Drawn):
        return {"images": [first + i for i in range(len(series.labels))]}
    layer = series.layer
    return {
        "wms": {
            "url": layer.url,
            "layer": layer.name,
            "style": layer.style,
            "times": layer.times,
            "silent": say("no_images", language, server=layer.url),
        }
    }


def _web(bounds: Bounds) -> list[float]:
    found = box(*bounds, "EPSG:4326").to_crs(WEB).boundingbox
    return [found.left, found.bottom, found.right, found.top]


def _policy(sides: Sides, script: str) -> str:
    """Give the page's Content-Security-Policy: its own script, and no host but the map server's."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    servers = {
        "{0.scheme}://{0.netloc}".format(urlsplit(i.layer.url))
        for i in sides.images
        if not isinstance(i, Drawn)
    }
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        f"img-src {' '.join(['data:', *sorted(servers)])}; base-uri 'none'; form-action 'none'"
    )


def _words(language: str) -> dict[str, str]:
    keys = ("skip", "needs_script", "map", "swipe", "previous", "next", "play", "opacity", "legend")
    own = {key: say(key, language) for key in (*keys, "outlines", "whole")}
    return own | {"licences": words_in(language)["licences"]}


def _json(document: Any) -> str:
    # No text in it can end the element that holds it.
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


@cache
def _library() -> str:
    """Give OpenLayers as an expression: from a disk, a page cannot load a module."""
    text = static_files()["map_library.js"].decode().strip()
    found = re.search(r"export\s*\{([^{}]*)\};?$", text)
    if found is None or "</script" in text:
        raise InvalidValueError("map_library.js is no module that a page can hold")
    names = [part.split(" as ") for part in found[1].split(",")]
    given = ",".join(f"{name[-1].strip()}:{name[0].strip()}" for name in names)
    return f"(()=>{{{text[: found.start()]};return{{{given}}}}})()"


def _css() -> str:
    shared = static_files()
    return "\n".join(
        [shared["map_library.css"].decode(), shared["page.css"].decode(), _own("page.css")]
    )


def _own(name: str) -> str:
    return (files("odc_bdc.notebook") / "page" / name).read_text("utf-8")


def _safe(text: str) -> Any:
    """Mark what is no text of a user's, so that it is put in as it is."""
    from markupsafe import Markup  # noqa: PLC0415 (an extra)

    return Markup(text)  # noqa: S704 (ours, or JSON without <)


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 (an extra)

    env = Environment(autoescape=True, undefined=StrictUndefined)
    return env.from_string(_own("page.html"))
