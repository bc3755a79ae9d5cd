"""Hrefs of files: a type that is parsed once, and which of them a document may name.

What came from outside is text that GDAL would follow anywhere: into files of this machine, into
files that name other files, to servers that only this machine can reach. So every href becomes an
`Href` before anything is opened, and `Reach` says whether it may be followed.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl, unquote, urlencode, urljoin, urlsplit, urlunsplit

from odc_bdc.errors import InvalidValueError, SceneError
from odc_bdc.indexing.archive import Member
from odc_bdc.indexing.sources.access import HEADER, PARAMETER, plain_href
from odc_bdc.indexing.sources.hosts import Hosts, RefusedError

FILES_VARIABLE = "ODC_BDC_FILES"
"""Environment variable that names the folders and buckets that files are read from, separated by
commas; of a kind of which it names none, all are."""

WEB = ("http", "https")
BUCKETS = ("s3", "gs", "az")

_SECRETS = frozenset({HEADER, PARAMETER, "api_key", "apikey"})
# An address without query and without anything that could be wrong with it.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[\w./~%+:=@,-]+", re.ASCII)
# GDAL's spellings of addresses; datacube and rasterio take the addresses.
_VIRTUAL = {"/vsicurl/": "", "/vsis3/": "s3://", "/vsigs/": "gs://"}
# With the underscore that names of GDAL have.
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9_+.-]*):(?P<slashes>/*)(?P<rest>.*)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHOWN = 120
_NOT_FROM_ELSEWHERE = "is a file of this machine, which no document from elsewhere may name"


@dataclass(frozen=True, slots=True)
class Href:
    """Where a file lies: on a disk of this machine, on a server or in a bucket.

    Attributes
    ----------
    scheme
        ``file``, ``http``, ``https``, ``s3``, ``gs`` or ``az``.
    authority
        Host with its port, or bucket; empty for a disk.
    path
        On a disk as its file system has it, absolute; else as the address has it.
    query
        Of an address, as it is: signatures hold only so.
    member
        Name of the file in an archive, which the rest names; None if it is none.

    Examples
    --------
    >>> Href.parse("https://example.org/a/B04.tif?sig=x")
    Href(scheme='https', authority='example.org', path='/a/B04.tif', query='sig=x', member=None)
    >>> str(Href.parse("file:///data/a%20b.tif"))
    '/data/a b.tif'
    """

    scheme: str
    authority: str
    path: str
    query: str = ""
    member: str | None = None

    @classmethod
    def parse(cls, text: str) -> Href:
        """Read a path, an address, or the name that GDAL has for a file in an archive.

        Raises
        ------
        SceneError
            If it is none of these: GDAL knows many more names, which nobody may use.
        """
        if not text.startswith(("/", "<")) and ":" not in text:
            text = os.path.join(os.getcwd(), text)  # noqa: PTH109, PTH118 (keeps ..)
        return _parsed(text)

    @property
    def is_local(self) -> bool:
        """Whether it lies on a disk of this machine, in an archive or not."""
        return self.scheme == "file"

    @property
    def whole(self) -> str:
        """Path or address of the file, or of the archive that it is in."""
        if self.is_local:
            return self.path
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{self.authority}{self.path}{query}"

    def __str__(self) -> str:
        """Give what rasterio, and so GDAL, opens it by."""
        return self.whole if self.member is None else Member(self.whole, self.member).href


@dataclass(frozen=True, slots=True)
class Reach:
    """Which files may be read.

    Attributes
    ----------
    folders
        Real paths that files on disks must be below; None for any, empty for none.
    buckets
        What files in buckets must be below; None for any.
    hosts
        Which servers may be asked; by default all at public addresses.
    """

    folders: tuple[str, ...] | None = None
    buckets: tuple[Href, ...] | None = None
    hosts: Hosts = field(default_factory=Hosts)

    @classmethod
    def named(cls, files: str | None, hosts: Iterable[str] = ()) -> Self:
        """Read what the administrator names: folders and buckets as `FILES_VARIABLE`, and hosts.

        Raises
        ------
        InvalidValueError
            If it cannot be read.
        """
        names = [name.strip() for name in (files or "").split(",") if name.strip()]
        try:
            hrefs = [Href.parse(name) for name in names]
        except SceneError as e:
            raise InvalidValueError(f"{FILES_VARIABLE}: {e}") from e
        if web := [str(h) for h in hrefs if h.scheme in WEB]:
            raise InvalidValueError(
                f"{FILES_VARIABLE}: {web[0]}: names folders and buckets; for hosts see "
                f"ODC_BDC_HOSTS"
            )
        return cls(
            tuple(os.path.realpath(h.path) for h in hrefs if h.is_local) or None,
            tuple(h for h in hrefs if not h.is_local) or None,
            Hosts.of(hosts, only=False),
        )

    def of_sources(self, sources: Iterable[str], hosts: Iterable[str] = ()) -> Reach:
        """Give what documents may name that are found by paths and addresses.

        Below folders they may name files, and servers may be private that somebody asks by name.
        """
        asked = [href for source in sources if (href := _parsed_or_none(source))]
        web = [href.whole for href in asked if href.scheme in WEB]
        return replace(
            self,
            folders=(*(self.folders or ()), *(_folder(h.path) for h in asked if h.is_local)),
            hosts=Hosts.of([*web, *hosts], only=False),
        )

    def of_document(self, document: str) -> Reach:
        """Give what a document at a path or address may name.

        One that came over the network names nothing on a disk of this machine; one on a disk names
        what lies in its folder too.

        Raises
        ------
        SceneError
            If that is no path or address.
        """
        mine = Href.parse(document)
        if not mine.is_local:
            return replace(self, folders=())
        if self.folders is None:
            return self
        return replace(self, folders=(*self.folders, _folder(posixpath.dirname(mine.path))))

    def check(self, href: Href, where: str = "") -> None:
        """See that a file may be read.

        Raises
        ------
        SceneError
            If not; `where` begins the message.
        """
        if reason := self._forbids(href):
            begin = f"{where}: " if where else ""
            raise SceneError(f"{begin}{_shown(href.whole)}: {reason}")

    def _forbids(self, href: Href) -> str | None:
        if href.is_local:
            return self._forbids_path(href.path)
        if href.scheme in WEB:
            return self._forbids_address(href)
        if self.buckets is None or any(_is_below(href, one) for one in self.buckets):
            return None
        return f"is in no bucket that {FILES_VARIABLE} names"

    def _forbids_address(self, href: Href) -> str | None:
        # GDAL looks into archives by itself, and does not see where the name of a host leads.
        looks_up = href.member is not None
        return _unasked(self.hosts, f"{href.scheme}://{href.authority}/", looks_up=looks_up)

    def _forbids_path(self, path: str) -> str | None:
        if self.folders is None:
            return None
        if not self.folders:
            return _NOT_FROM_ELSEWHERE
        real = _real(path)
        if any(real == one or real.startswith(f"{one.rstrip('/')}/") for one in self.folders):
            return None
        return (
            "lies outside of the folder that was given, or a link leads there; name its folder in "
            f"{FILES_VARIABLE}, or by `files` in the recipe, if it is meant"
        )


ANYWHERE = Reach()
"""All files whose hrefs can be read, but for those at private addresses."""


def absolute_href(href: str, base: str) -> str:
    """Give an asset's href as path or address, seen from the item's own.

    A document that is indexed is read by many, so access tokens in addresses are left out.

    Raises
    ------
    SceneError
        If the href is no path or address of a file.

    Examples
    --------
    >>> absolute_href("./B04.tif", "https://example.org/a/item.json")
    'https://example.org/a/B04.tif'
    >>> absolute_href("https://example.org/B04.tif?access_token=x", "/data/item.json")
    'https://example.org/B04.tif'
    """
    found = _absolute(href, base)
    # To be read by `Href` is what makes it one.
    Href.parse(found)
    return found


def _absolute(href: str, base: str) -> str:
    for virtual, scheme in _VIRTUAL.items():
        if href.startswith(virtual):
            href = scheme + href.removeprefix(virtual)
    is_remote = "://" in base and not base.startswith("file:")
    if href[:5].lower() == "file:" and is_remote:
        raise SceneError(f"{_shown(href)}: {_NOT_FROM_ELSEWHERE}")
    if href[:5].lower() == "file:":
        # rasterio does not decode such addresses; a path needs no decoding.
        return Href.parse(href).path
    if "://" in href:
        return href if _PLAIN.fullmatch(href) else _without_secrets(href)
    if _SCHEME.match(href) or href.lower().startswith("/vsi"):
        raise _unknown(href)
    if href.startswith("/") and "://" not in base:
        return href
    if base.startswith(("http://", "https://")):
        return _without_secrets(_joined(href, base))
    scheme, found, path = base.rpartition("://")
    return scheme + found + posixpath.normpath(posixpath.join(posixpath.dirname(path), href))


# Every band of every scene is parsed for each of its readers.
@lru_cache(maxsize=16384)
def _parsed(text: str) -> Href:
    if _CONTROL.search(text):
        raise SceneError(f"{_shown(text)}: holds a control character")
    member = Member.from_href(text)
    if member is not None:
        _check_member(member.name, text)
        return replace(_parsed(member.archive), member=member.name)
    for virtual, begin in _VIRTUAL.items():
        if text.startswith(virtual):
            text = begin + text.removeprefix(virtual)
    if text.lower().startswith("/vsi"):
        raise _unknown(text)
    found = _SCHEME.fullmatch(text)
    if found is None and text.startswith("/"):
        return Href("file", "", text)
    if found is None:
        raise _unknown(text)
    return _address(text, found)


def _address(text: str, found: re.Match[str]) -> Href:
    scheme = found["scheme"].lower()
    if scheme == "file" and len(found["slashes"]) in {1, 3}:
        return Href("file", "", unquote(urlsplit(f"/{found['rest']}").path))
    if scheme not in (*WEB, *BUCKETS) or len(found["slashes"]) != 2:
        raise _unknown(text)
    rest, _, query = found["rest"].partition("?")
    authority, slash, path = rest.partition("/")
    try:
        parts = urlsplit(f"//{authority}")
        known = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        known = False
    if not known or "#" in authority or "\\" in authority:
        raise SceneError(f"{_shown(text)}: is not an address: it has no host")
    if scheme in BUCKETS and ".." in unquote(path).split("/"):
        raise SceneError(f"{_shown(text)}: leads out of its bucket")
    return Href(scheme, authority, f"{slash}{path}", query)


def _parsed_or_none(text: str) -> Href | None:
    try:
        return Href.parse(text)
    except SceneError:
        return None


def _check_member(name: str, text: str) -> None:
    """See that the name of a member names one, and nothing else to GDAL."""
    parts = name.split("/")
    if not name or ".." in parts or name.startswith("/") or name.lower().startswith("vsi"):
        raise SceneError(f"{_shown(text)}: names no file in an archive")


def _unknown(text: str) -> SceneError:
    known = ", ".join(f"{scheme}://" for scheme in ("file", *WEB, *BUCKETS))
    return SceneError(f"{_shown(text)}: is no path and no address of a file ({known})")


def _shown(text: str) -> str:
    """Give an href as messages have it: without a query, which may be signed, and not too long."""
    plain = plain_href(text)
    plain = plain if plain.isprintable() else ascii(plain)
    return plain if len(plain) <= _SHOWN else f"{plain[: _SHOWN - 3]}..."


# The files of a scene are of one host, and of one folder.
@lru_cache(maxsize=256)
def _unasked(hosts: Hosts, server: str, *, looks_up: bool) -> str | None:
    """Say why a server is not asked."""
    try:
        hosts.check(server)
        if looks_up:
            parts = urlsplit(server)
            hosts.addresses(parts.hostname or "", parts.port or (443 if server[4] == "s" else 80))
    except RefusedError as e:
        return str(e)
    except OSError as e:
        return f"its host is not known: {e}"
    return None


_real_folder = lru_cache(maxsize=4096)(os.path.realpath)


def _real(path: str) -> str:
    folder, name = posixpath.split(path)
    if name in {"", ".", ".."} or Path(path).is_symlink():
        return os.path.realpath(path)
    return posixpath.join(_real_folder(folder), name)


# The items of a file are all of one.
@lru_cache(maxsize=256)
def _folder(path: str) -> str:
    """Give the folder that a source is, or lies in."""
    real = os.path.realpath(path)
    return real if Path(real).is_dir() else posixpath.dirname(real)


def _is_below(href: Href, place: Href) -> bool:
    if (href.scheme, href.authority) != (place.scheme, place.authority):
        return False
    path = place.path.rstrip("/")
    return href.path == path or href.path.startswith(f"{path}/")


def _joined(href: str, base: str) -> str:
    try:
        return urljoin(base, href)
    except ValueError as e:
        raise SceneError(f"{href!r} is not an address: {e}") from e


def _without_secrets(href: str) -> str:
    try:
        parts = urlsplit(href)
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError as e:
        raise SceneError(f"{href!r} is not an address: {e}") from e
    kept = [(name, value) for name, value in query if name.lower() not in _SECRETS]
    # Others, as signatures, are left exactly as they are: they hold only so.
    return href if len(kept) == len(query) else urlunsplit(parts._replace(query=urlencode(kept)))
