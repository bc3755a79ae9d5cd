"""Items of static STAC: documents that lie on disk, on an HTTP server or in a bucket."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import orjson
from fsspec.compression import compr
from fsspec.utils import infer_compression

from odc_bdc.errors import (
    InvalidValueError,
    MissingDependencyError,
    OdcBdcError,
    SourceError,
)
from odc_bdc.indexing.found import FoundItem
from odc_bdc.indexing.sources.access import plain_href
from odc_bdc.indexing.sources.files import asked, file_system, words
from odc_bdc.indexing.sources.search import Search
from odc_bdc.indexing.sources.stac import (
    absolute,
    is_collection,
    kind_of,
    links,
    unknown_collection,
)
from odc_bdc.indexing.sources.web import Limits, Web

_LINES = (".ndjson", ".jsonl", ".geojsonl", ".ndgeojson")
_PARQUET = (".parquet", ".geoparquet")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_ROWS = 500
# Documents one after the other without an item that is new, before a source is said to go on so.
_MOST_STALE = 10_000
_SET = "; set `{}` of `limits` in the recipe if that is right"
_NO_ITEM = "not a STAC item"


class Documents:
    """Reads documents wherever they lie, without tokens in them.

    Parameters
    ----------
    web
        Session for addresses of http and https.
    """

    def __init__(self, web: Web) -> None:
        self._web = web
        self._peeked: dict[str, Any] = {}

    def json(self, href: str) -> Any:
        """Give the JSON at a path or address.

        Raises
        ------
        SourceError
            If it cannot be read.
        """
        if href in self._peeked:
            return self._peeked.pop(href)
        if is_web(href):
            return self._web.json(href)
        with self.file(href) as file:
            return self.parsed(self.bounded(file.read(self.limits.document + 1), href), href)

    @property
    def limits(self) -> Limits:
        """How much is read."""
        return self._web.limits

    def bounded(self, text: bytes, where: str) -> bytes:
        """Give a text that was read as far as it may go.

        Raises
        ------
        SourceError
            If it goes on.
        """
        if len(text) > self.limits.document:
            raise SourceError(
                f"{where}: is longer than {self.limits.document_mb} MB; set `document_mb` of "
                "`limits` in the recipe if that is right"
            )
        return text

    def peek(self, href: str) -> Any:
        """Give the JSON at a path or address, and keep it for when it is asked for."""
        self._peeked[href] = self.json(href)
        return self._peeked[href]

    def parsed(self, text: bytes, where: str) -> Any:
        """Give the content of a JSON text."""
        try:
            document = _loads(text)
        except (ValueError, RecursionError) as e:
            more = f"; call it *{_LINES[0]} if it has an item on each line" if _is_more(e) else ""
            raise SourceError(f"{where}: cannot be read as JSON: {e}{more}") from e
        return self.hidden(document) if self._web.discretion.may_be_in(text) else document

    def hidden(self, document: Any) -> Any:
        """Give a document without tokens."""
        try:
            return self._web.discretion.hide(document)
        except RecursionError as e:
            raise SourceError("is nested too deeply") from e

    @contextmanager
    def file(self, href: str) -> Iterator[IO[bytes]]:
        """Open a file for reading; one that is compressed is unpacked.

        Raises
        ------
        SourceError
            If it cannot be opened, or reading it fails.
        MissingDependencyError
            If the package for such addresses is not installed.
        """
        name = urlsplit(href).path if "://" in href else href
        unpacked = compr[infer_compression(name)]
        try:
            with self._opened(href) as raw, unpacked(raw, mode="rb") as file:
                yield file
        except OdcBdcError:
            raise
        except (OSError, EOFError, zlib.error) as e:
            raise SourceError(f"{href}: cannot be read: {words(e)}") from e

    @contextmanager
    def _opened(self, href: str) -> Iterator[IO[bytes]]:
        if is_web(href):
            with self._web.download(href) as file:
                yield file
        else:
            self._web.hosts.check(href)
            filesystem, path = file_system(href)
            file = asked(href, lambda: filesystem.open(path, "rb"))
            with file:
                yield file


def is_table(href: str) -> bool:
    """Tell files that have an item on each line or row, by their names."""
    return _has_suffix(href, (*_LINES, *_PARQUET))


def is_web(href: str) -> bool:
    """Tell addresses that are asked by HTTP."""
    return href.lower().startswith(("http://", "https://"))


def static_items(
    documents: Documents, source: str, collection: str, search: Search
) -> Iterator[FoundItem]:
    """Give the items that a file, folder, catalog, collection or table leads to.

    Links are followed when it is their turn; each document is read once. One that cannot be read
    is given as an item with an error, and the rest go on.

    Parameters
    ----------
    source
        Path or address.
    collection
        Collections of another id are passed over, with all below them.

    Raises
    ------
    SourceError
        If `source` itself cannot be read.
    InvalidValueError
        If there is no item at all.
    UnknownNameError
        If there are collections, but not this one.
    """
    if source.startswith("file:"):
        source = unquote(urlsplit(source).path)
    start = source if "://" in source else os.path.abspath(source)  # noqa: PTH100 (without ..)
    found = (
        _folder_items(documents, source)
        if _is_folder(source)
        else _Walk(documents, source, start, collection).items()
    )
    for item in found:
        if search.takes_all or item.document is None or search.matches(item.document):
            yield item


class _Walk:
    """A walk along links."""

    def __init__(self, documents: Documents, source: str, start: str, collection: str) -> None:
        self._documents = documents
        self._source = source
        self._start = start
        self._collection = collection
        self._others: set[str] = set()
        # Each with the number of links that led there.
        self._todo = [(start, 0)]
        self._visited = {start}
        self._seen: set[int] = set()
        self._stale = 0
        self._count = 0

    def items(self) -> Iterator[FoundItem]:
        while self._todo:
            href, depth = self._todo.pop()
            shown = self._source if href == self._start else plain_href(href)
            known = len(self._seen)
            try:
                for item in self._items_at(href, shown, depth):
                    self._count += 1
                    yield item
            except OdcBdcError as e:
                if href == self._start and not self._count:
                    raise
                self._count += 1
                yield FoundItem(shown, href, None, str(e))
            is_new = len(self._seen) > known or is_table(href)
            self._stale = 0 if is_new else self._stale + 1
            if self._stale > _MOST_STALE:
                raise SourceError(
                    f"{self._source}: leads to {_MOST_STALE} documents without a new item, one "
                    "after the other; give the catalogs below it that are meant"
                )
        if not self._count and self._others:
            raise unknown_collection(self._collection, self._others, self._source)
        if not self._count:
            raise InvalidValueError(f"{self._source}: no STAC item")

    def _items_at(self, href: str, shown: str, depth: int) -> Iterator[FoundItem]:
        if _has_suffix(href, _LINES):
            yield from _line_items(self._documents, href, shown)
        elif _has_suffix(href, _PARQUET):
            yield from _table_items(self._documents, href, shown)
        else:
            document = self._documents.json(href)
            kind = kind_of(document)
            if kind is None:
                raise SourceError(f"{shown}: not a STAC item, catalog or collection")
            if kind == "catalog":
                yield from self._follow(document, href, ("child", "item", "items"), depth + 1)
            else:
                for item in _items_in(document, href, shown):
                    self._seen.add(hash(str(item.document and item.document.get("id"))))
                    yield item
                yield from self._follow(document, href, ("next",) if kind == "items" else (), depth)

    def _follow(
        self, document: Mapping[str, Any], href: str, rels: tuple[str, ...], depth: int
    ) -> Iterator[FoundItem]:
        """Note where a document leads; give the links that lead nowhere."""
        if is_collection(document) and document.get("id") != self._collection:
            self._others.add(str(document.get("id")))
            return
        ahead = []
        limits = self._documents.limits
        for link in links(document, *rels):
            try:
                to = absolute(link["href"], href)
            except SourceError as e:
                yield FoundItem(href, href, None, str(e))
                continue
            if to in self._visited:
                continue
            if depth > limits.depth:
                raise SourceError(
                    f"catalogs lie more than {limits.depth} deep{_SET.format('depth')}"
                )
            if len(self._visited) >= limits.documents:
                raise SourceError(
                    f"leads to more than {limits.documents} documents{_SET.format('documents')}"
                )
            self._visited.add(to)
            ahead.append((to, depth))
        self._todo += reversed(ahead)


def _loads(text: bytes) -> Any:
    """Parse JSON; what only Python's own parser takes, NaN for example, by that."""
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)


def _items_in(document: Mapping[str, Any], href: str, shown: str) -> Iterator[FoundItem]:
    if document.get("type") == "Feature":
        yield FoundItem(shown, href, document)
        return
    for number, feature in enumerate(document["features"]):
        name = feature.get("id", number) if isinstance(feature, dict) else number
        yield _item(feature, f"{shown}: {name}", href)


def _line_items(documents: Documents, href: str, shown: str) -> Iterator[FoundItem]:
    """Give the items of a file that has one on each line; no more than one is in memory."""

    def parse(text: bytes, where: str) -> Mapping[str, Any]:
        document: Mapping[str, Any] = documents.parsed(text, where)
        if kind_of(document) != "item":
            raise SourceError(_NO_ITEM)
        return document

    with documents.file(href) as file:
        lines = iter(lambda: file.readline(documents.limits.document + 1), b"")
        for number, line in enumerate(lines, 1):
            documents.bounded(line, f"{shown}:{number}")
            # GeoJSON text sequences (RFC 8142) begin each with this mark.
            text = line.strip(b"\x1e \t\r\n")
            if not text:
                continue
            yield FoundItem.unread(f"{shown}:{number}", href, text, parse)


def _table_items(documents: Documents, href: str, shown: str) -> Iterator[FoundItem]:
    """Give the items of a table of stac-geoparquet, some rows at a time."""
    try:
        import pyarrow as pa  # noqa: PLC0415 (an extra)
        from pyarrow import parquet  # noqa: PLC0415
        from stac_geoparquet.arrow import stac_table_to_items  # noqa: PLC0415
    except ImportError as e:
        raise MissingDependencyError(
            f"{shown}: reading GeoParquet needs more packages: pip install 'odc_bdc[geoparquet]'"
        ) from e
    with documents.file(href) as file:
        try:
            table = parquet.ParquetFile(file)
            row = 0
            for batch in table.iter_batches(_ROWS):
                for document in stac_table_to_items(pa.Table.from_batches([batch])):
                    row += 1
                    yield _item(documents.hidden(document), f"{shown}: row {row}", href)
        except (pa.ArrowException, KeyError, ValueError, TypeError) as e:
            raise SourceError(f"{shown}: not a table of STAC items: {words(e)}") from e


def _item(document: Any, source: str, href: str) -> FoundItem:
    if kind_of(document) != "item":
        return FoundItem(source, href, None, _NO_ITEM)
    return FoundItem(source, href, document)


def _folder_items(documents: Documents, folder: str) -> Iterator[FoundItem]:
    """Give the items of all JSON files below a folder; other JSON is passed over."""
    count = 0
    for path in _files(folder):
        href = path if "://" in path else str(Path(path).absolute())
        try:
            document = documents.json(href)
        except SourceError as e:
            count += 1
            yield FoundItem(path, href, None, str(e).removeprefix(f"{href}: "))
            continue
        if kind_of(document) == "item" or _holds_items(document):
            for item in _items_in(document, href, path):
                count += 1
                yield item
    if not count:
        raise InvalidValueError(f"{folder}: no STAC item (*.json) in this folder")


def _holds_items(document: Any) -> bool:
    """Tell a collection of STAC items from other GeoJSON."""
    if kind_of(document) != "items":
        return False
    features = document["features"]
    return any(isinstance(f, dict) and "assets" in f for f in features[:1])


def _is_folder(source: str) -> bool:
    if is_web(source):
        return False
    filesystem, path = file_system(source)
    is_folder, exists = asked(source, lambda: (filesystem.isdir(path), filesystem.exists(path)))
    if not exists:
        raise InvalidValueError(f"{source}: no such file or folder")
    return bool(is_folder)


def _files(folder: str) -> Iterator[str]:
    """Give the JSON files below a folder, in order."""
    if "://" in folder:
        filesystem, path = file_system(folder)
        for name in sorted(asked(folder, lambda: filesystem.find(path))):
            if name.endswith(".json"):
                yield filesystem.unstrip_protocol(name)
        return
    for here, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.endswith(".json"):
                yield str(Path(here) / name)


def _has_suffix(href: str, suffixes: tuple[str, ...]) -> bool:
    name = (urlsplit(href).path if "://" in href else href).lower()
    for packed in _COMPRESSED:
        name = name.removesuffix(packed)
    return name.endswith(suffixes)


def _is_more(error: Exception) -> bool:
    return isinstance(error, json.JSONDecodeError) and error.msg == "Extra data"
