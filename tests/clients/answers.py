"""What an answer of the services must be, whatever was asked: the tests' own reading of it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image
from rasterio.io import MemoryFile

OGC = "{http://www.opengis.net/ogc}"
REPORTS = {
    # service and version: root element, version of the report, content type
    ("WMS", "1.1.1"): ("ServiceExceptionReport", "1.1.1", "application/vnd.ogc.se_xml"),
    ("WMS", "1.3.0"): (f"{OGC}ServiceExceptionReport", "1.3.0", "text/xml"),
    ("WCS", "1.0.0"): (f"{OGC}ServiceExceptionReport", "1.2.0", "application/vnd.ogc.se_xml"),
    ("WMTS", "1.0.0"): (
        "{http://www.opengis.net/ows/1.1}ExceptionReport",
        "1.0.0",
        "application/xml",
    ),
    ("WCS", "2.0.1"): (
        "{http://www.opengis.net/ows/2.0}ExceptionReport",
        "2.0.1",
        "application/xml",
    ),
}
SECRETS = (
    b"Traceback",
    b"site-packages",
    b"/tmp",
    b"/home",
    bytes(Path(__file__).resolve().parents[2]),
    b".py",
    b"file:",
    b"psycopg",
)


@dataclass(frozen=True)
class Answered:
    """An answer over HTTP."""

    status: int
    mime: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Report:
    """An exception report: its codes, locators and texts."""

    codes: tuple[str, ...]
    locators: tuple[str, ...]
    texts: tuple[str, ...]


def fetched(
    base: str, path: str, query: dict | str, method: str = "GET", **headers: str
) -> Answered:
    """Request something, whatever the status of the answer."""
    text = query if isinstance(query, str) else urlencode(query, doseq=True)
    request = urllib.request.Request(f"{base}/{path}?{text}", method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=180) as got:
            status, found, body = got.status, got.headers, got.read()
    except urllib.error.HTTPError as e:
        status, found, body = e.code, e.headers, e.read()
    return Answered(status, found.get_content_type(), dict(found), body)


def read_report(answer: Answered, service: str, version: str) -> Report:
    """Read an exception report, which must be in the format of this version."""
    root_name, report_version, mime = REPORTS[service, version]
    root = ET.fromstring(answer.body)
    assert root.tag == root_name, (root.tag, service, version)
    assert root.get("version") == report_version
    assert answer.mime == mime, (answer.mime, mime)
    if service == "WMTS" or version == "2.0.1":
        space = root.tag.rpartition("}")[0] + "}"
        found = root.findall(f"{space}Exception")
        codes = tuple(e.get("exceptionCode", "") for e in found)
        texts = tuple(e.findtext(f"{space}ExceptionText", "") for e in found)
    else:
        found = list(root)
        codes = tuple(e.get("code", "") for e in found)
        texts = tuple(e.text or "" for e in found)
    assert found, "an empty report"
    assert all(text.strip() for text in texts), "a report that says nothing"
    return Report(codes, tuple(e.get("locator", "") for e in found), texts)


def pixels(png: bytes) -> np.ndarray:
    """Decode an image into (4, y, x) of uint8: red, green, blue, opacity."""
    return np.moveaxis(np.asarray(Image.open(BytesIO(png)).convert("RGBA")), 2, 0)


def leaks(answer: Answered) -> list[bytes]:
    """Give what an answer in text tells of the server's inside."""
    if answer.mime.startswith("image/"):
        return []
    return [secret for secret in SECRETS if secret in answer.body]


def check_content(answer: Answered) -> None:
    """Check that an answer with status 200 is what its content type says."""
    if answer.mime in {"image/png", "image/jpeg", "image/webp"}:
        assert pixels(answer.body).size
        assert Image.open(BytesIO(answer.body)).get_format_mimetype() in {answer.mime, "image/apng"}
    elif answer.mime == "image/geotiff":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with MemoryFile(answer.body) as memory, memory.open() as file:
                assert file.count >= 1
    elif answer.mime.endswith("json"):
        json.loads(answer.body)
    elif "xml" in answer.mime:
        root = ET.fromstring(answer.body)
        assert "Exception" not in root.tag, "an exception with status 200"
    else:
        assert answer.mime in {"text/html", "text/plain"}, answer.mime
