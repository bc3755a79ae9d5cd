"""What a STAC document is, of any version, and where it leads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Literal, TypeAlias, TypeGuard
from urllib.parse import urlsplit

from pystac.utils import make_absolute_href

from odc_bdc.errors import SourceError, UnknownNameError
from odc_bdc.indexing.sources.access import plain_href

Kind: TypeAlias = Literal["item", "items", "catalog"]

_MOST_NAMES = 12
# fsspec knows more, some of which lead to files of this machine.
_REMOTE = ("http", "https", "s3", "gs", "az", "abfs")


def kind_of(document: Any) -> Kind | None:
    """Tell an item, a collection of items, and a catalog or collection; None is no STAC."""
    if not isinstance(document, Mapping):
        return None
    kind = document.get("type")
    if kind == "Feature":
        return "item"
    if isinstance(document.get("features"), list):
        return "items"
    # Before STAC 1.0 catalogs and collections had no type.
    if kind in ("Catalog", "Collection") or ("stac_version" in document and "links" in document):
        return "catalog"
    return None


def is_api(document: Any) -> TypeGuard[Mapping[str, Any]]:
    """Tell the landing page of a STAC API from a static catalog."""
    if kind_of(document) != "catalog" or is_collection(document):
        return False
    return bool(document.get("conformsTo") or any(links(document, "search", "data")))


def is_collection_of_api(document: Any) -> TypeGuard[Mapping[str, Any]]:
    """Tell a collection whose items an API gives, page by page."""
    found = links(document, "items") if is_collection(document) else ()
    # In a static catalog such a link leads to a file.
    return any("." not in urlsplit(link["href"]).path.rpartition("/")[2] for link in found)


def is_collection(document: Any) -> bool:
    """Tell a collection from a catalog."""
    if kind_of(document) != "catalog":
        return False
    return bool(document.get("type") == "Collection" or "extent" in document)


def links(document: Mapping[str, Any], *rels: str) -> Iterator[dict[str, Any]]:
    """Give the links of these relations that lead somewhere."""
    found = document.get("links")
    for link in found if isinstance(found, list) else ():
        if isinstance(link, dict) and link.get("rel") in rels and isinstance(link.get("href"), str):
            yield link


def absolute(href: str, start: str) -> str:
    """Give where a link in the document at `start` leads.

    Raises
    ------
    SourceError
        If it cannot be read, or leads from a remote document to a file of this machine.
    """
    try:
        found: str = make_absolute_href(href, start)
    except ValueError as e:
        raise SourceError(f"{plain_href(start)}: a link cannot be read as an address") from e
    protocol, own = protocol_of(found), protocol_of(start)
    if own != "file" and protocol not in {own, *_REMOTE}:
        raise SourceError(
            f"{plain_href(start)}: the link {plain_href(href)!r} leads to no place that a server "
            "may link to"
        )
    return found


def protocol_of(href: str) -> str:
    """Give how an address is asked; ``file`` for a path."""
    return href.partition("://")[0].lower() if "://" in href else "file"


def unknown_collection(name: str, known: Iterable[str], where: str) -> UnknownNameError:
    """Make the error that a source has no collection of this name; it lists the nearest first."""
    names = sorted(set(known))
    near = get_close_matches(name, names, n=_MOST_NAMES, cutoff=0.0)
    more = f" and {len(names) - len(near)} more" if len(names) > len(near) else ""
    return UnknownNameError(
        f"{where}: no collection {name!r}; it has: {', '.join(near) or 'none'}{more}"
    )
