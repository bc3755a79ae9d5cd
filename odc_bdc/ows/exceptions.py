"""What the services answer when they cannot do what is asked, in the protocol's own format.

Formats: WMS 1.1.1 (OGC 01-068r3, annex A.3), WMS 1.3.0 (OGC 06-042, annex E), WCS 1.0.0
(OGC 03-065r6, annex A.6), WMTS 1.0.0 (OWS Common 1.1, OGC 06-121r3) and WCS 2.0.1 (OWS Common 2.0,
OGC 06-121r9).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from odc_bdc.ows.requests import WCS_100, WMS_111, WMS_130, WMTS_100

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from odc_bdc.ows.requests import Protocol

RETRY_AFTER = 30
"""Seconds after which a client may try again what is not to be had for the time being."""

MISSING = "MissingParameterValue"
INVALID = "InvalidParameterValue"
UNSUPPORTED = "OperationNotSupported"

# OGC 06-121r9, table 28.
_NOT_IMPLEMENTED = frozenset({UNSUPPORTED, "OptionNotSupported"})
# OGC 09-110r4, table 18, and the extensions of WCS 2.0: scaling (12-039), range subsetting (12-040)
# and CRS (11-053r1).
_NOT_FOUND = frozenset(
    {
        *("NoSuchCoverage", "emptyCoverageIdList", "InvalidAxisLabel", "InvalidSubsetting"),
        *("InvalidScaleFactor", "InvalidExtent", "ScaleAxisUndefined"),
        *("NoSuchField", "IllegalFieldSequence", "InterpolationMethodNotSupported"),
        *("NotACrs", "CrsMismatch", "SubsettingCrs-NotSupported", "OutputCrs-NotSupported"),
    }
)
# As datacube-ows spells codes of the CRS extension.
_RESPELT = {
    "SubsettingCrsNotSupported": "SubsettingCrs-NotSupported",
    "OutputCrsNotSupported": "OutputCrs-NotSupported",
}
# Codes that WMS 1.1.1 names otherwise.
_WMS_111_CODES = {"InvalidCRS": "InvalidSRS"}
# Codes of WMS that datacube-ows uses in its WMTS as well, which has but one (OGC 07-057r7, 7.1).
_WMTS_CODES = dict.fromkeys(
    ("InvalidFormat", "LayerNotDefined", "StyleNotDefined", "InvalidDimensionValue", "InvalidCRS"),
    INVALID,
)
# XML 1.0 has no way to write these.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONGEST = 400


class Refusal(Exception):  # noqa: N818 (an answer, not a fault of ours)
    """A request is answered with an exception report.

    Attributes
    ----------
    text
        What is wrong and what is allowed, for people.
    code
        Exception code of the standard; empty if none fits.
    locator
        Name of the parameter.
    status
        HTTP status; None for the one that the standard gives to the code.
    headers
        Further headers of the answer.
    """

    def __init__(
        self,
        text: str,
        code: str = "",
        locator: str = "",
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.locator = locator
        self.status = status
        self.headers = dict(headers or {})


class Unavailable(Refusal):
    """What is asked cannot be had now; it may be tried again, and the answer must not be kept."""

    def __init__(self, text: str) -> None:
        headers = {"Retry-After": str(RETRY_AFTER), "Cache-Control": "no-store"}
        super().__init__(text, status=503, headers=headers)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes


def answer(protocol: Protocol, refusals: Sequence[Refusal]) -> Answer:
    """Write the answer to a request that is refused; its status is that of the first refusal."""
    first = refusals[0]
    status = first.status or status_of(protocol, first.code)
    mime, body = report(protocol, refusals)
    headers = {"Content-Type": mime, "Cache-Control": "no-store", **first.headers}
    return Answer(status, headers, body)


def status_of(protocol: Protocol, code: str) -> int:
    """Give the HTTP status of an exception code: the standards of WMS and WCS 1 name none.

    Examples
    --------
    >>> from odc_bdc.ows.requests import WCS_201
    >>> status_of(WCS_201, "NoSuchCoverage")
    404
    """
    if protocol.service == "WMS" or protocol == WCS_100:
        return 400
    if code in _NOT_IMPLEMENTED:
        return 501
    return 404 if _RESPELT.get(code, code) in _NOT_FOUND else 400


def report(protocol: Protocol, refusals: Sequence[Refusal]) -> tuple[str, bytes]:
    """Write an exception report; give its MIME type and its text."""
    if protocol.service == "WMS" or protocol == WCS_100:
        mime = "text/xml" if protocol == WMS_130 else "application/vnd.ogc.se_xml"
        return f"{mime}; charset=utf-8", _service_exceptions(protocol, refusals).encode()
    return "application/xml; charset=utf-8", _ows_exceptions(protocol, refusals).encode()


def _service_exceptions(protocol: Protocol, refusals: Sequence[Refusal]) -> str:
    head, root = _HEADS[protocol]
    lines = [
        f"  <ServiceException{_attribute('code', _code(protocol, r))}"
        # WMS 1.1.1 has no locator.
        f"{'' if protocol == WMS_111 else _attribute('locator', r.locator)}>"
        f"{_text(r.text)}</ServiceException>"
        for r in refusals
    ]
    return "\n".join([*head, root, *lines, "</ServiceExceptionReport>", ""])


def _ows_exceptions(protocol: Protocol, refusals: Sequence[Refusal]) -> str:
    ows = "2.0" if protocol.service == "WCS" else "1.1"
    schema = "owsAll.xsd" if ows == "2.0" else "1.1.0/owsExceptionReport.xsd"
    place = f"http://schemas.opengis.net/ows/{schema if ows == '1.1' else f'2.0/{schema}'}"
    lines = [
        f"  <ows:Exception{_attribute('exceptionCode', _code(protocol, r) or 'NoApplicableCode')}"
        f"{_attribute('locator', r.locator)}>\n"
        f"    <ows:ExceptionText>{_text(r.text)}</ows:ExceptionText>\n  </ows:Exception>"
        for r in refusals
    ]
    root = (
        f'<ows:ExceptionReport xmlns:ows="http://www.opengis.net/ows/{ows}" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="http://www.opengis.net/ows/{ows} {place}" '
        f'version="{protocol.version}" xml:lang="en">'
    )
    return "\n".join([_DECLARATION, root, *lines, "</ows:ExceptionReport>", ""])


_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'


def _ogc_root(version: str, schema: str) -> str:
    return (
        f'<ServiceExceptionReport version="{version}" xmlns="http://www.opengis.net/ogc" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="http://www.opengis.net/ogc http://schemas.opengis.net/{schema}">'
    )


_DOCTYPE = (
    "<!DOCTYPE ServiceExceptionReport SYSTEM "
    '"http://schemas.opengis.net/wms/1.1.1/exception_1_1_1.dtd">'
)
_HEADS: dict[Protocol, tuple[list[str], str]] = {
    WMS_111: ([_DECLARATION, _DOCTYPE], '<ServiceExceptionReport version="1.1.1">'),
    WMS_130: ([_DECLARATION], _ogc_root("1.3.0", "wms/1.3.0/exceptions_1_3_0.xsd")),
    # The report of WCS 1.0.0 has a version of its own.
    WCS_100: ([_DECLARATION], _ogc_root("1.2.0", "wcs/1.0.0/OGC-exception.xsd")),
}


def _code(protocol: Protocol, refusal: Refusal) -> str:
    code = _RESPELT.get(refusal.code, refusal.code)
    if protocol == WMS_111:
        return _WMS_111_CODES.get(code, code)
    return _WMTS_CODES.get(code, code) if protocol == WMTS_100 else code


def _attribute(name: str, value: str) -> str:
    return f" {name}={quoteattr(shown(value))}" if value else ""


def _text(value: str) -> str:
    return escape(shown(value, _LONGEST))


def shown(value: object, longest: int = 80) -> str:
    r"""Write something that a client sent so that it may stand in a document.

    Examples
    --------
    >>> shown("a\x00b" * 99, 8)
    'a?ba?...'
    """
    text = _NOT_XML.sub("?", str(value))
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
