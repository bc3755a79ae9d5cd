"""What the sources of scenes give: an item as it was found, or why it could not be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from odc_bdc.errors import SourceError
from odc_bdc.indexing.faults import unexpected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class FoundItem:
    """A STAC item of any version, not yet looked into.

    Attributes
    ----------
    source
        Where it is from, for people: a path, an address, ``items.ndjson:17``. Never holds a token.
    href
        Path or address that relative hrefs of assets start from; never holds a token.
    document
        The parsed JSON as it is; None if it could not be read.
    error
        Why it could not be read.
    text
        What the document is parsed from, where each item has a text of its own; it may hold tokens
        that the document does not.
    """

    __slots__ = ("_document", "_error", "_parse", "href", "source", "text")

    def __init__(
        self,
        source: str,
        href: str,
        document: Mapping[str, Any] | None,
        error: str | None = None,
    ) -> None:
        self.source = source
        self.href = href
        self.text: bytes | None = None
        self._document = document
        self._error = error
        self._parse: Callable[[bytes, str], Mapping[str, Any]] | None = None

    @classmethod
    def unread(
        cls, source: str, href: str, text: bytes, parse: Callable[[bytes, str], Mapping[str, Any]]
    ) -> Self:
        """Give an item that is parsed when somebody looks into it, which may be never.

        Parameters
        ----------
        parse
            Gives the document of a text, for the place where it is from; raises `SourceError`.
        """
        found = cls(source, href, None)
        found.text, found._parse = text, parse
        return found

    @property
    def document(self) -> Mapping[str, Any] | None:
        """The parsed JSON."""
        self._read()
        return self._document

    @property
    def error(self) -> str | None:
        """Why it could not be read."""
        self._read()
        return self._error

    def _read(self) -> None:
        if self._parse is None or self.text is None:
            return
        try:
            self._document = self._parse(self.text, self.source)
        except SourceError as e:
            self._error = str(e).removeprefix(f"{self.source}: ")
        except Exception as e:  # noqa: BLE001 (whatever an item does to what reads it)
            self._error = f"cannot be read: {unexpected(e)}"
        self._parse = None
