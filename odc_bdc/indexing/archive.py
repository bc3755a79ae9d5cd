"""Files in archives, by the names that GDAL reads them under without unpacking."""

from __future__ import annotations

import re
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import unquote

from odc_bdc.errors import SceneError, did_you_mean, first_line

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
"""How the names of archives end that can be read in place."""

_GZIP = "/vsigzip/"
_PREFIXES = {
    "https://": "/vsicurl/https://",
    "http://": "/vsicurl/http://",
    "s3://": "/vsis3/",
    "gs://": "/vsigs/",
}
# Without the braces GDAL takes the first folder for the archive that is called like one.
_HREF = re.compile(r"/vsi(?:zip|tar)/\{(?P<archive>.*?)\}/(?P<name>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Attributes
    ----------
    archive
        Path or address.
    name
        Of the file inside, folders included.

    Examples
    --------
    >>> member = Member("https://example.org/LC08.tar.gz", "LC08_B4.TIF")
    >>> member.href
    '/vsitar/{/vsigzip//vsicurl/https://example.org/LC08.tar.gz}/LC08_B4.TIF'
    >>> Member.from_href(member.href) == member
    True
    """

    archive: str
    name: str

    @property
    def href(self) -> str:
        """Name of the file for GDAL, and so for rasterio and datacube; a path in it is absolute.

        Raises
        ------
        SceneError
            If the archive is of a kind, or at a place, that GDAL does not read.
        """
        ending = archive_suffix(self.archive)
        if ending is None:
            raise SceneError(f"{self.archive}: is no archive that is read ({', '.join(SUFFIXES)})")
        if ending == ".zip":
            return f"/vsizip/{{{_readable(self.archive)}}}/{self.name}"
        packed = _GZIP if ending.endswith("gz") else ""
        return f"/vsitar/{{{packed}{_readable(self.archive)}}}/{self.name}"

    @classmethod
    def from_href(cls, href: str) -> Self | None:
        """Give the member that a file's name for GDAL means; None if it is not in an archive."""
        found = _HREF.fullmatch(href)
        if found is None:
            return None
        archive = found["archive"].removeprefix(_GZIP)
        for scheme, prefix in _PREFIXES.items():
            if archive.startswith(prefix):
                archive = scheme + archive.removeprefix(prefix)
        return cls(archive, found["name"])

    def fault(self) -> str | None:
        """Say why the member cannot be had from an archive on disk; None if it is there."""
        path = Path(_readable(self.archive))
        try:
            names = _names(path)
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError) as e:
            return f"cannot be read as an archive: {first_line(e)}; is it truncated?"
        if self.name in names:
            return None
        return f"has no member {self.name}{did_you_mean(self.name, names)}"


def archive_suffix(href: str) -> str | None:
    """Give the suffix of an archive, by its name; None if it is none that can be read in place.

    Examples
    --------
    >>> archive_suffix("https://example.org/S2A.SAFE.ZIP?signature=x")
    '.zip'
    >>> archive_suffix("/data/B04.tif")
    """
    path = href.partition("?")[0].partition("#")[0] if "://" in href else href
    return next((suffix for suffix in SUFFIXES if path.lower().endswith(suffix)), None)


def _readable(archive: str) -> str:
    """Give the name of an archive as GDAL wants it."""
    if archive.startswith("file://"):
        return unquote(archive.removeprefix("file://"))
    for scheme, prefix in _PREFIXES.items():
        if archive.startswith(scheme):
            return prefix + archive.removeprefix(scheme)
    if "://" in archive:
        known = ", ".join(("file://", *_PREFIXES))
        raise SceneError(f"{archive}: archives are read from paths and from {known}")
    return str(Path(archive).absolute())


def _names(path: Path) -> set[str]:
    if archive_suffix(path.name) == ".zip":
        with zipfile.ZipFile(path) as opened:
            return set(opened.namelist())
    with tarfile.open(path) as opened:
        return {name.removeprefix("./") for name in opened.getnames()}
