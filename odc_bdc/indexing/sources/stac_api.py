"""Items of a STAC API, page by page: STAC 1.0 with links, and the BDC's 0.9 with page numbers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit

from pystac_client import ItemSearch

from odc_bdc.errors import SourceError
from odc_bdc.indexing.found import FoundItem
from odc_bdc.indexing.sources.access import plain_href
from odc_bdc.indexing.sources.search import Search
from odc_bdc.indexing.sources.stac import absolute, is_api, links, unknown_collection
from odc_bdc.indexing.sources.web import Web, WebError

Link: TypeAlias = Mapping[str, Any]
"""A link as STAC has it: href, and maybe method, body, headers and merge."""

# A server may not know the query extension, or one of the methods, or take long addresses.
_NOT_SO = {400, 404, 405, 413, 414, 415, 422, 501}
_METHODS = ("GET", "POST")
# Headers that say who asks, or of whom, or how the request is read, are not for a page to set.
_OWN_HEADERS = re.compile(
    r"authorization|cookie2?|host|connection|keep-alive|te|trailer|upgrade|expect|range|forwarded|"
    r"(content|transfer|proxy|sec|if|accept-encoding)(-.*)?|"
    r"(x-)?(api-key|forwarded|real-ip|original|rewrite|http-method|method|aws|amz|goog|ms|metadata|auth)"
    r"(-.*)?|metadata.*",
    re.IGNORECASE,
)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)
_VALUE = re.compile(r"[\x20-\x7e]{0,4096}")
_MOST_HEADERS = 16
_LONGEST_LINK = 1 << 20
# Pages with nothing new, one after the other, before a server is said to go round in circles.
_MOST_STALE = 10
_MOST_NAMELESS = 1000
_MOST_LISTS = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """Items that were found together.

    Attributes
    ----------
    items
        Maybe lazily.
    following
        Link to the next page; None after the last one.
    matched
        Items that the server counts for the whole search, if it says so.
    """

    items: Iterable[FoundItem]
    following: Link | None = None
    matched: int | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an API is searched.

    Attributes
    ----------
    href
        Address of the search, or of the items of one collection.
    collections
        Address of the list of collections.
    methods
        Methods of HTTP to try, the best first.
    numbered
        Pages have numbers, as before STAC 1.0.
    of_collection
        `href` is of one collection, and takes but time and bbox.
    """

    href: str
    collections: str
    methods: Sequence[str] = ("GET",)
    numbered: bool = False
    of_collection: bool = False


def endpoint_of(document: Mapping[str, Any], address: str) -> Endpoint:
    """Read where to search from a landing page, or from a collection that an API gives."""
    numbered = str(document.get("stac_version")).startswith("0.")
    root = next((k["href"] for k in links(document, "root")), address)
    base = f"{absolute(root, address).rstrip('/')}/"
    if not is_api(document):
        items = next(links(document, "items"))
        return Endpoint(
            absolute(items["href"], address), f"{base}collections", ("GET",), numbered, True
        )
    own = f"{address.partition('?')[0].rstrip('/')}/"
    found = list(links(document, "search"))
    data = next((k["href"] for k in links(document, "data")), f"{own}collections")
    methods = {str(link.get("method", "GET")).upper() for link in found}
    # Queries and geometries go best in a body; before 1.0 links did not say what a server takes.
    either = ("POST", "GET") if "POST" in methods or numbered or not found else ("GET", "POST")
    return Endpoint(
        absolute(found[0]["href"] if found else f"{own}search", address),
        absolute(data, address),
        either,
        numbered,
    )


class ApiSearch:
    """A search in a STAC API.

    Parameters
    ----------
    web
        Session with the server.
    """

    def __init__(self, web: Web, endpoint: Endpoint, collection: str, search: Search) -> None:
        self._web = web
        self._endpoint = endpoint
        self._collection = collection
        self._search = search
        self._seen: set[tuple[str, str]] = set()
        self._nameless = 0

    def pages(self, start: Link | None, restart: Callable[[], None]) -> Iterator[Page]:
        """Give the pages, each item once.

        Parameters
        ----------
        start
            Link to the page to start with, of an earlier run; None is the first one.
        restart
            Called if the server does not know `start` any more, and the search begins anew.

        Raises
        ------
        SourceError
            If the server fails for good, or does not speak STAC.
        UnknownNameError
            If the server has no such collection.
        """
        link, document = self._begin(start, restart)
        visited: set[bytes] = set()
        stale = 0
        while True:
            visited.add(_digest(link))
            features = self._features(document, link)
            items = list(self._new(features))
            stale = 0 if items else stale + 1
            following = self._following(document, link, len(features))
            if following and (
                stale > (1 if self._endpoint.numbered else _MOST_STALE)
                or _digest(following) in visited
            ):
                raise SourceError(
                    f"{self._endpoint.href}: the server gives the same page again and again; "
                    "ask for less at once, by time or tile"
                )
            yield Page((i for i in items if self._is_wanted(i)), following, _matched(document))
            if following is None:
                return
            most = self._web.limits.documents
            if len(visited) >= most:
                raise SourceError(
                    f"{self._endpoint.href}: the search has more than {most} pages; ask for less "
                    "at once, or set `documents` of `limits` in the recipe"
                )
            link = following
            document = self._follow(link)

    def _begin(self, start: Link | None, restart: Callable[[], None]) -> tuple[Link, Any]:
        if start is not None:
            try:
                return start, self._follow(start)
            except WebError as e:
                if e.status is None or not 400 <= e.status < 500 or e.status in {401, 403, 429}:
                    raise
                restart()
        link, document = self._ask_first()
        if not document.get("features"):
            self._check_collection()
        return link, document

    def _ask_first(self) -> tuple[Link, Mapping[str, Any]]:
        """Ask for the first page in the best of the ways that the server takes."""
        answer: tuple[Link, Mapping[str, Any]] | None = None
        refusal: WebError | None = None
        for method in self._endpoint.methods:
            for queried in (True, False) if self._conditions else (False,):
                link = self._request(method, queried=queried)
                try:
                    answer = link, self._follow(link)
                except WebError as e:
                    refusal = refusal or e
                    if e.status not in _NOT_SO:
                        raise
                    continue
                # Other servers than the BDC's find no `bdc:tile` where items have `bdc:tiles`.
                if answer[1].get("features") or not (queried and self._search.tile):
                    return answer
            if answer:
                return answer
        self._check_collection()
        raise refusal or SourceError(f"{self._endpoint.href}: no way to ask")

    @property
    def _conditions(self) -> dict[str, Any]:
        return {} if self._endpoint.of_collection else self._search.conditions

    def _request(self, method: str, *, queried: bool) -> Link:
        """Form the request for the first page, as a link to it."""
        search, whole = self._search, not self._endpoint.of_collection
        intersects = search.intersects if whole else None
        asked = ItemSearch(
            self._endpoint.href,
            method=method,
            limit=min(search.limit, search.max_items or search.limit),
            # A server takes one of the two; the other is seen to when the items are here.
            bbox=list(search.bbox) if search.bbox and not intersects else None,
            intersects=intersects,
            datetime=search.datetime,
            collections=[self._collection] if whole else None,
            ids=list(search.ids) or None if whole else None,
            query=self._conditions or None if queried else None,
        )
        if method == "POST":
            body = json.loads(json.dumps(asked.get_parameters()))
            return {"href": self._endpoint.href, "method": "POST", "body": body}
        return {"href": _with_parameters(self._endpoint.href, asked.get_parameters())}

    def _follow(self, link: Link) -> Mapping[str, Any]:
        method = str(link.get("method", "GET")).upper()
        if method not in _METHODS:
            raise SourceError(
                f"{self._endpoint.href}: the link to the next page asks for the method "
                f"{method[:20]!r}; a search is asked by {' or '.join(_METHODS)}"
            )
        document = self._web.json(
            absolute(str(link["href"]), self._endpoint.href),
            method=method,
            headers=_headers(link.get("headers")),
            body=link.get("body"),
        )
        return document if isinstance(document, Mapping) else {}

    def _features(self, document: Mapping[str, Any], link: Link) -> list[Any]:
        features = document.get("features")
        if not isinstance(features, list):
            raise SourceError(
                f"{plain_href(str(link['href']))}: the answer has no features, so this is no "
                "search of a STAC API"
            )
        return features

    def _new(self, features: list[Any]) -> Iterator[FoundItem]:
        """Give the items that no page had before: pages shift when a collection grows."""
        for feature in features:
            if not isinstance(feature, dict) or not isinstance(feature.get("id"), str):
                self._nameless += 1
                if self._nameless > _MOST_NAMELESS:
                    raise SourceError(f"{self._endpoint.href}: too many features have no id")
                yield FoundItem(
                    self._endpoint.href, self._endpoint.href, None, "not a STAC item: it has no id"
                )
                continue
            key = str(feature.get("collection")), feature["id"]
            if key not in self._seen:
                self._seen.add(key)
                yield self._found(feature)

    def _found(self, feature: Mapping[str, Any]) -> FoundItem:
        try:
            href = next(absolute(k["href"], self._endpoint.href) for k in links(feature, "self"))
        except (StopIteration, SourceError):
            return FoundItem(
                f"{self._endpoint.href}: {feature['id']}", self._endpoint.href, feature
            )
        return FoundItem(href, href, feature)

    def _is_wanted(self, item: FoundItem) -> bool:
        return item.document is None or self._search.matches(item.document, from_api=True)

    def _following(self, document: Mapping[str, Any], link: Link, count: int) -> Link | None:
        """Give the link to the page behind the one that `link` led to."""
        for following in links(document, "next"):
            kept = ("href", "method", "body", "headers")
            found = {k: following[k] for k in kept if following.get(k) is not None}
            body = found.get("body", {})
            if following.get("merge") and isinstance(body, dict):
                found["body"] = {**(link.get("body") or {}), **body}
            return found
        told = _context(document)
        if not count or not (self._endpoint.numbered or "page" in told):
            return None
        page, matched = _page_number(link), _matched(document)
        per_page = _whole(told.get("limit")) or self._search.limit
        is_last = count < per_page if matched is None else page * per_page >= matched
        return None if is_last else _numbered(link, page + 1)

    def _check_collection(self) -> None:
        """See that the server has the collection, if it tells which it has."""
        known: list[str] = []
        address: str | None = self._endpoint.collections
        visited: set[str] = set()
        try:
            while address and address not in visited and len(visited) < _MOST_LISTS:
                visited.add(address)
                document = self._web.json(address)
                listed = document.get("collections", []) if isinstance(document, dict) else []
                known += [str(c["id"]) for c in listed if isinstance(c, dict) and "id" in c]
                following = next(links(document, "next"), None) if listed else None
                address = absolute(following["href"], address) if following else None
        except SourceError:
            return
        if known and self._collection not in known:
            raise unknown_collection(self._collection, known, self._endpoint.collections)


def _digest(link: Link) -> bytes:
    """Give what tells a link from others, in little room.

    Raises
    ------
    SourceError
        If it is no link that a server would give.
    """
    try:
        text = json.dumps(link, sort_keys=True)
    except (RecursionError, TypeError):
        text = ""
    if not text or len(text) > _LONGEST_LINK:
        raise SourceError(f"{plain_href(str(link['href']))}: the link to the next page is too long")
    return hashlib.sha256(text.encode()).digest()[:16]


def _headers(given: Any) -> dict[str, str] | None:
    """Give the headers of a link that a server may have sent."""
    if not isinstance(given, Mapping):
        return None
    return {
        name: str(value)
        for name, value in list(given.items())[:_MOST_HEADERS]
        if _HEADER.fullmatch(name)
        and not _OWN_HEADERS.fullmatch(name)
        and _VALUE.fullmatch(str(value))
    }


def _context(document: Mapping[str, Any]) -> Mapping[str, Any]:
    # `meta` before the context extension of STAC 0.9.
    found = document.get("context") or document.get("meta")
    return found if isinstance(found, Mapping) else {}


def _matched(document: Mapping[str, Any]) -> int | None:
    told = _context(document)
    counts = (document.get("numberMatched"), told.get("matched"), told.get("found"))
    return next((n for n in map(_whole, counts) if n is not None), None)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _page_number(link: Link) -> int:
    given = dict(parse_qsl(urlsplit(link["href"]).query)) | (link.get("body") or {})
    return int(given.get("page", 1))


def _numbered(link: Link, page: int) -> Link:
    """Give a link to another page of the search that `link` is."""
    if link.get("method") == "POST":
        return {**link, "body": {**link["body"], "page": page}}
    return {**link, "href": _with_parameters(link["href"], {"page": page})}


def _with_parameters(href: str, parameters: Mapping[str, Any]) -> str:
    parts = urlsplit(href)
    query = {**dict(parse_qsl(parts.query)), **parameters}
    return parts._replace(query=urlencode(query)).geturl()
