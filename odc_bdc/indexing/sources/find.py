"""The items of all sources, one after the other, whatever kind each is of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from odc_bdc.errors import InvalidValueError, OdcBdcError
from odc_bdc.indexing.found import FoundItem
from odc_bdc.indexing.sources.access import AccessToken, Discretion, secrets_in
from odc_bdc.indexing.sources.hosts import Hosts
from odc_bdc.indexing.sources.resume import Place, Resume
from odc_bdc.indexing.sources.search import Search
from odc_bdc.indexing.sources.stac import is_api, is_collection_of_api
from odc_bdc.indexing.sources.stac_api import ApiSearch, Page, endpoint_of
from odc_bdc.indexing.sources.static import Documents, is_table, is_web, static_items
from odc_bdc.indexing.sources.web import Limits, Patience, Web


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search is.

    Attributes
    ----------
    source
        The source that is read now.
    found
        Items given so far, of all sources.
    matched
        Items that this source has for the search, if it says so.
    """

    source: str
    found: int
    matched: int | None = None


def find_items(
    sources: Sequence[str],
    *,
    collection: str,
    search: Search | None = None,
    token: AccessToken | None = None,
    resume: Resume | None = None,
    patience: Patience | None = None,
    progress: Callable[[Progress], None] | None = None,
    hosts: Iterable[str] = (),
    limits: Limits | None = None,
) -> Iterator[FoundItem]:
    """Give the items of a collection that sources hold, as they are found.

    Parameters
    ----------
    sources
        Each a path of a file or folder; an address (http, https, s3) of a catalog, collection,
        item, item collection, ``.ndjson`` or ``.parquet`` file; or the address of a STAC API, or
        of a collection in one.
    collection
        Id of the STAC collection.
    search
        Which items are wanted; all by default.
    token
        Sent to the hosts of `sources`; in none of the items.
    resume
        Where an earlier run stopped. It is for the caller to say what is `Resume.done`.
    patience
        How long servers are waited for.
    progress
        Called when a source begins, and after each page of an API.
    hosts
        Hosts, networks and buckets that links and redirects may lead to, as of `Hosts.of`; those
        of `sources` may always be asked, and no other is.
    limits
        How much is read.

    Yields
    ------
    FoundItem
        A document that cannot be read has an `error`. So has a source that fails when items have
        been given already; it is over then, and the next one follows.

    Raises
    ------
    OdcBdcError
        Before the first item only: a source cannot be reached or read, has no item at all, or has
        no such collection.
    """
    wanted = search or Search()
    places = [str(s) for s in sources]
    asked = Hosts.of([*(place for place in places if "://" in place), *hosts])
    yield from _Finder(
        places,
        collection,
        wanted,
        token,
        resume,
        patience or Patience(),
        asked,
        limits or Limits(),
    ).items(progress or (lambda _: None))


@dataclass(slots=True)
class _Finder:
    sources: list[str]
    collection: str
    search: Search
    token: AccessToken | None
    resume: Resume | None
    patience: Patience
    hosts: Hosts
    limits: Limits
    count: int = 0
    has_failed: bool = False

    def items(self, progress: Callable[[Progress], None]) -> Iterator[FoundItem]:
        plain = [Discretion(self.token).hide(s) for s in self.sources]
        start = Place()
        if self.resume:
            start = self.resume.open(self.search.fingerprint(self.collection, *plain))
        for number in range(min(start.source, len(plain)), len(plain)):
            progress(Progress(plain[number], self.count))
            link = start.link if number == start.source else None
            try:
                for page in self._pages(self.sources[number], plain[number], Place(number, link)):
                    yield from self._handed_out(page, number)
                    if self._is_enough():
                        self._note(None)
                        return
                    progress(Progress(plain[number], self.count, page.matched))
            except OdcBdcError as e:
                if not self.count:
                    raise
                # What comes after it may still be had, but the next run begins here.
                self.has_failed = True
                self.count += 1
                yield FoundItem(plain[number], plain[number], None, str(e))

    def _handed_out(self, page: Page, number: int) -> Iterator[FoundItem]:
        for item in page.items:
            if self._is_enough():
                return
            self.count += 1
            yield item
        is_last = page.following is None and number + 1 == len(self.sources)
        following = Place(number + (page.following is None), page.following)
        self._note(None if is_last else following)

    def _note(self, place: Place | None) -> None:
        if self.resume and not self.has_failed:
            self.resume.reached(self.count, place)

    def _is_enough(self) -> bool:
        return self.search.max_items is not None and self.count >= self.search.max_items

    def _pages(self, source: str, plain: str, start: Place) -> Iterator[Page]:
        # Static documents on a disk may link to servers; those are not meant by the token.
        token = (_token_in(source) or self.token) if is_web(source) else None
        with Web(plain, token, self.patience, hosts=self.hosts, limits=self.limits) as web:
            documents = Documents(web)
            document = documents.peek(plain) if is_web(plain) and not is_table(plain) else None
            if is_api(document) or is_collection_of_api(document):
                found = ApiSearch(web, endpoint_of(document, plain), self.collection, self.search)
                yield from found.pages(start.link, self._restart)
            else:
                yield Page(static_items(documents, plain, self.collection, self.search))

    def _restart(self) -> None:
        if self.resume:
            self.resume.restart()


def _token_in(source: str) -> AccessToken | None:
    """Give the token that somebody has written into an address."""
    try:
        parts = urlsplit(source)
    except ValueError as e:
        raise InvalidValueError(f"{source}: cannot be read as an address: {e}") from e
    if parts.password:
        raise InvalidValueError(
            f"{parts.hostname}: do not write a password into an address; `.netrc` is the place"
        )
    found = list(secrets_in(f"?{parts.query}").items())
    if not found:
        return None
    *beside, (name, value) = found
    return AccessToken(value, "query", name, beside=tuple(beside))
