"""Access tokens, and how they are kept out of all that is shown or stored."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, quote_plus

from odc_bdc.errors import InvalidValueError

TOKEN_VARIABLE = "ODC_BDC_STAC_TOKEN"  # noqa: S105 (the name of the variable, not a token)
"""Environment variable that the command line takes a token from; errors name it."""

HEADER = "x-api-key"
PARAMETER = "access_token"

_SHORTEST = 8
_PARAMETER = re.compile(rf"(?<=[?&])(?:{PARAMETER}|{HEADER})=[^&#\s\"']*&?", re.IGNORECASE)
_DANGLING = re.compile(r"[?&](?=#|\s|$)")
_QUERY = re.compile(r"\?[^\s\"'?]*=[^\s\"']*")
_HINT = re.compile(rf"{PARAMETER}|{HEADER}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a server wants to see before it answers.

    Attributes
    ----------
    value
        The token; never shown.
    sent_as
        ``header`` is ``x-api-key``, ``query`` the parameter ``access_token`` of the address.
    name
        Of another header or parameter.
    scheme
        Word before the token in a header.
    variable
        Of the environment, that the token is from; errors name it.

    Raises
    ------
    InvalidValueError
        If it cannot be a token; the message does not show it.
    """

    value: str = field(repr=False)
    sent_as: Literal["header", "query"] = "header"
    name: str | None = None
    scheme: str | None = None
    variable: str = TOKEN_VARIABLE

    @property
    def headers(self) -> dict[str, str]:
        """What is sent as headers."""
        if self.sent_as != "header":
            return {}
        return {self.name or HEADER: f"{self.scheme} {self.value}" if self.scheme else self.value}

    @property
    def parameters(self) -> dict[str, str]:
        """What is sent as parameters of the address."""
        return {self.name or PARAMETER: self.value} if self.sent_as == "query" else {}

    def __post_init__(self) -> None:
        if len(self.value) < _SHORTEST:
            raise InvalidValueError(f"an access token has {_SHORTEST} characters or more")
        if not re.fullmatch(r"[!-~]+", self.value):
            raise InvalidValueError("an access token is of printable ASCII, without spaces")
        if self.sent_as not in {"header", "query"}:
            raise InvalidValueError("an access token is sent as header or query")


class Discretion(logging.Filter):
    """Hides a token, and any that an address holds; as a filter of logs in their records too.

    Parameters
    ----------
    queries
        Hide all that follows the path of an address, which may be a signature.
    """

    def __init__(self, token: AccessToken | None, *, queries: bool = False) -> None:
        super().__init__()
        self._queries = queries
        value = token.value if token else ""
        spellings = {value, quote(value), quote(value, safe=""), quote_plus(value)} - {""}
        # Hexadecimal digits of escapes may be of either case.
        alternatives = "|".join(re.escape(s) for s in sorted(spellings, key=len, reverse=True))
        self._token = re.compile(alternatives, re.IGNORECASE) if alternatives else None
        # Escapes may hide a token in JSON that is not parsed yet; that of a quote, which WKT is
        # full of, only hides a token which holds one.
        self._escapes = re.compile(rb"\\" if any(c in value for c in '"\\') else rb"\\[uU/]")
        self._marks = [mark.lower().encode() for mark in (HEADER, PARAMETER, *spellings)]

    def hide(self, value: Any) -> Any:
        """Give a JSON value, or a text, without the token and without parameters that hold one."""
        if isinstance(value, str):
            return self._hide_in_text(value)
        if isinstance(value, list):
            return [self.hide(v) for v in value]
        if isinstance(value, dict):
            return {
                self._hide_in_text(str(k)): self.hide(v)
                for k, v in value.items()
                if str(k).lower() not in {HEADER, PARAMETER}
            }
        return value

    def may_be_in(self, text: bytes) -> bool:
        """Tell if JSON could hold a token; quick, so that most of a large file is not walked."""
        if self._escapes.search(text):
            return True
        lowered = text.lower()
        return any(mark in lowered for mark in self._marks)

    def filter(self, record: logging.LogRecord) -> bool:
        """Hide the token in a record of a log."""
        record.msg, record.args = self.hide(record.getMessage()), ()
        record.exc_info = record.exc_text = None
        return True

    def _hide_in_text(self, text: str) -> str:
        # First the token: unescaped it may reach into the parameters behind it.
        text = self._token.sub("REDACTED", text) if self._token else text
        if "=" in text and _HINT.search(text):
            without = _PARAMETER.sub("", text)
            text = _DANGLING.sub("", without) if without != text else text
        return _QUERY.sub("", text) if self._queries else text


def plain_href(href: str) -> str:
    """Give an address without its query, which may hold a signature.

    Examples
    --------
    >>> plain_href("https://example.org/B04.tif?sig=abc"), plain_href("/data/a?b.tif")
    ('https://example.org/B04.tif', '/data/a?b.tif')
    """
    if "://" not in href:
        return href
    scheme, _, rest = href.partition("://")
    host, slash, path = rest.partition("?")[0].partition("#")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
