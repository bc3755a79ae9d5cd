"""JPEG and WebP for those who ask for them: datacube-ows draws PNG only.

`Formats` asks for PNG in their place, and writes the pixels of the answer anew. It stands inside of
what keeps images, so that this is done once for each.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from odc_bdc.ows.requests import operation_of, query_if_readable
from odc_bdc.ows.whole import whole_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from PIL import Image

    from odc_bdc.ows.requests import WSGI

PNG, JPEG, WEBP = "image/png", "image/jpeg", "image/webp"
FORMATS = {PNG: "png", JPEG: "jpg", WEBP: "webp"}
"""What maps and tiles come as, with the suffix of a RESTful tile."""

QUALITY = {JPEG: 85, WEBP: 80}
"""Of 100; beyond these, images of the Earth grow quickly and look no better."""

WHITE = "0xFFFFFF"
_OPERATIONS = frozenset({"getmap", "gettile"})


class Formats:
    """WSGI middleware that serves maps and tiles as JPEG and WebP, made of PNG."""

    def __init__(self, application: WSGI) -> None:
        self.application = application

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Pass the request on; an image that is to be JPEG or WebP is written as that."""
        asked = query_if_readable(environ)
        mime = asked.get("format").lower() if asked else ""
        if asked is None or mime not in QUALITY or operation_of(asked) not in _OPERATIONS:
            return self.application(environ, start_response)
        inner = {**environ, "QUERY_STRING": asked.replace({"format": PNG}).encode()}
        status, headers, body = answer = whole_answer(self.application, inner)
        if answer.good and answer.get("content-type") == PNG:
            body = converted(body, mime, asked.get("bgcolor") or WHITE) if body else body
            headers = answer.without("content-type", "content-length")
            headers += [("Content-Type", mime), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [body]


def converted(png: bytes, mime: str, background: str = WHITE) -> bytes:
    """Write a PNG in another format.

    Parameters
    ----------
    png
        An image, or an animation, which stays one as WebP; JPEG shows its first frame.
    mime
        `JPEG` or `WEBP`.
    background
        What a JPEG, which knows no transparency, shows where the PNG is transparent: ``0xRRGGBB``.

    Returns
    -------
    bytes
        A PNG with a palette, whose colours mean classes, becomes WebP without loss.
    """
    from PIL import Image, ImageSequence  # noqa: PLC0415 (an extra)

    image = Image.open(BytesIO(png))
    buffer = BytesIO()
    if mime == JPEG:
        _on(background, image).save(buffer, "JPEG", quality=QUALITY[JPEG])
        return buffer.getvalue()
    how: dict[str, Any] = {"quality": QUALITY[WEBP], "method": 2, "lossless": image.mode == "P"}
    frames = [frame.convert("RGBA") for frame in ImageSequence.Iterator(image)]
    if len(frames) > 1:
        # What a viewer without animation shows of a PNG comes before its frames.
        first, *others = frames[1:]
        how |= {"save_all": True, "append_images": others, "loop": 0}
        how["duration"] = int(image.info.get("duration", 1000))
        first.save(buffer, "WEBP", **how)
    else:
        frames[0].save(buffer, "WEBP", **how)
    return buffer.getvalue()


def _on(background: str, image: Image.Image) -> Image.Image:
    from PIL import Image  # noqa: PLC0415 (an extra)

    colour = "#" + background[2:]
    paper = Image.new("RGBA", image.size, colour)
    return Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")
