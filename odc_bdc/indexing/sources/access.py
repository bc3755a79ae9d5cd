"""Access tokens, and how they are kept out of all that is shown or stored."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, quote_plus

from odc_bdc.errors import InvalidValueError

TOKEN_VARIABLE = "ODC_BDC_STAC_TOKEN"  # noqa: S105 (the name of the variable, not a token)
"""Environment variable that the command line takes a token from; errors name it."""

HEADER = "x-api-key"
PARAMETER = "access_token"

_SHORTEST = 8
# Tokens and signatures in addresses, and what is of no use without them.
_SECRET = rf"{PARAMETER}|{HEADER}|api_?key|sig|(?:x-(?:amz|goog)-)?signature|x-amz-security-token"
_BESIDE = (
    r"x-(?:amz|goog)-[a-z-]+|s[eprstv]|spr|sip|srt|sk(?:oid|tid|t|e|s|v)|expires|policy|"
    r"awsaccesskeyid|googleaccessid|key-pair-id"
)
_VALUE = r"=[^&#\s\"']*&?"
_PARAMETER = re.compile(rf"(?<=[?&])(?:{_SECRET}){_VALUE}", re.IGNORECASE)
_SIGNED = re.compile(rf"(?<=[?&])(?:{_SECRET}|{_BESIDE}){_VALUE}", re.IGNORECASE)
_DANGLING = re.compile(r"[?&](?=#|\s|$)")
_QUERY = re.compile(r"\?[^\s\"'?]*=[^\s\"']*")
_MARKS = (HEADER, PARAMETER, "api_key", "apikey", "sig=", "signature=", "security-token=")
_HINT = re.compile("|".join(_MARKS), re.IGNORECASE)


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
    beside
        Parameters of the address that go with it: those of a signature.

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
    beside: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What is sent as headers."""
        if self.sent_as != "header":
            return {}
        return {self.name or HEADER: f"{self.scheme} {self.value}" if self.scheme else self.value}

    @property
    def parameters(self) -> dict[str, str]:
        """What is sent as parameters of the address."""
        if self.sent_as != "query":
            return {}
        return {**dict(self.beside), self.name or PARAMETER: self.value}

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
        self._marks = [mark.lower().encode() for mark in (*_MARKS, *spellings)]

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
            text = without_secrets(text)
        return _QUERY.sub("", text) if self._queries else text


def without_secrets(text: str) -> str:
    """Give a text without the tokens and signatures that addresses in it hold.

    Examples
    --------
    >>> without_secrets("https://h/a.tif?se=2026-01-01&sig=x%2F&v=1"), without_secrets("h?se=1")
    ('https://h/a.tif?v=1', 'h?se=1')
    """
    if not _PARAMETER.search(text):
        return text
    return _DANGLING.sub("", _SIGNED.sub("", text))


def secrets_in(address: str) -> dict[str, str]:
    """Give the parameters of an address that open it: a token, or all that is of a signature."""
    if not _PARAMETER.search(address):
        return {}
    pairs = parse_qsl("&".join(found.rstrip("&") for found in _SIGNED.findall(address)))
    # The secret itself is the last one.
    return dict(sorted(pairs, key=lambda pair: bool(_PARAMETER.search(f"?{pair[0]}="))))


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
