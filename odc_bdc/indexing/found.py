"""What the sources of scenes give: an item as it was found, or why it could not be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
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
    """

    source: str
    href: str
    document: Mapping[str, Any] | None
    error: str | None = None
