"""Raster files: the one place that opens them, what their headers say, and if they are whole.

GDAL takes a file for what it looks like, whatever it is called, and many of its formats are text
that names other files. Here a file is opened as what its name says, if it begins like that; as
GeoTIFF, or as JPEG 2000 where it is called so.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import numpy as np
import rasterio
from rasterio.errors import RasterioError

from odc_bdc.errors import SceneError, first_line
from odc_bdc.grid import BBox
from odc_bdc.indexing.archive import Member
from odc_bdc.indexing.crs import crs_name
from odc_bdc.indexing.href import Href
from odc_bdc.indexing.sources.access import plain_href

if TYPE_CHECKING:
    from collections.abc import Collection

READ_ONLY = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""How files are opened: a named pipe must not wait. Not all systems have both flags."""

DRIVERS = ("GTiff", "JP2OpenJPEG")
"""Drivers of GDAL that read files from outside."""

_MAGIC = {
    "GTiff": ("GeoTIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    "JP2OpenJPEG": ("JPEG 2000", (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")),
}
_HEAD = 12
_BESIDE, _NOTHING = "GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR"
_JPEG_2000 = (".jp2", ".j2k")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class RasterFile:
    """What is known of a band of a raster file.

    Attributes
    ----------
    href
        Path or address; of a file in an archive, its name for GDAL.
    shape
        Rows and columns.
    transform
        Of the pixel grid, as `affine.Affine` has it.
    crs
        EPSG code, or a text that `odc.geo` reads.
    dtype
        None where nobody opened the file and its item does not tell; likewise `nodata`.
    band
        Number of the band in the file, from 1.
    description
        What the file calls the band.
    """

    href: str
    shape: tuple[int, int]
    transform: tuple[float, float, float, float, float, float]
    crs: str
    dtype: str | None
    nodata: float | None
    band: int = 1
    description: str | None = None

    @property
    def grid(self) -> tuple[tuple[int, int], tuple[float, ...]]:
        """Shape and transform: what makes two files lie on one pixel grid."""
        return self.shape, self.transform

    @property
    def bbox(self) -> BBox:
        """xmin, ymin, xmax, ymax in the file's CRS."""
        (rows, columns), (a, b, c, d, e, f) = self.shape, self.transform
        xs = (c, c + a * columns, c + b * rows, c + a * columns + b * rows)
        ys = (f, f + d * columns, f + e * rows, f + d * columns + e * rows)
        return min(xs), min(ys), max(xs), max(ys)


def is_local(href: str) -> bool:
    """Tell whether a file is on this machine's disks, and not in an archive."""
    return href.startswith("file://") or not ("://" in href or href.startswith("/vsi"))


def local_path(address: str) -> Path | None:
    """Give the path of a file by the address that an index has of it; None if it is not here."""
    parts = urlsplit(address)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def open_raster(
    href: Href,
    *,
    name: str | None = None,
    opener: Callable[..., Any] | None = None,
    head: bytes | None = None,
    overview: int | None = None,
) -> Any:
    """Open a raster file with rasterio; nothing else opens files that others have made.

    Parameters
    ----------
    name, opener
        What the file is called, and what reads it, where GDAL is not to get at it by itself.
    head
        How the file begins, if somebody has read it; else it is read of files on disks. Of others
        GDAL asks, and takes them for nothing but what their names say.
    overview
        Number of the overview that is meant, from 0; None for the image itself.

    Returns
    -------
    rasterio.DatasetReader

    Raises
    ------
    SceneError
        If there is no such file, it begins like another kind, or names other files.
    rasterio.errors.RasterioError
        If GDAL cannot open it.
    """
    if head is None and href.is_local and href.member is None:
        head = read_head(href.path)
    drivers = raster_drivers(href) if head is None else _drivers_by_head(head, href)
    how: dict[str, Any] = {} if overview is None else {"overview_level": overview}
    if opener is not None:
        how["opener"] = opener
    with _looking_at_nothing_else():
        src = _opened_by(drivers, name or str(href), how)
    check_names_no_file(src, href)
    return src


def _looking_at_nothing_else() -> AbstractContextManager[Any]:
    """Let GDAL pass over what lies beside a file: it would believe that more than the file."""
    known = rasterio.env.getenv() if rasterio.env.hasenv() else {}
    # To set it anew for each file would take as long as to read a block.
    if known.get(_BESIDE, os.environ.get(_BESIDE)) == _NOTHING:
        return nullcontext()
    env: AbstractContextManager[Any] = rasterio.Env(**{_BESIDE: _NOTHING})
    return env


def raster_drivers(href: Href) -> tuple[str, ...]:
    """Give the drivers of GDAL that a file is for: one that is called so may be JPEG 2000."""
    called = (href.member or href.path).lower()
    return DRIVERS[::-1] if called.endswith(_JPEG_2000) else DRIVERS[:1]


def _drivers_by_head(head: bytes, href: Href) -> tuple[str, ...]:
    """Give the driver for how a file begins; `SceneError` if it is none of its kind."""
    known = raster_drivers(href)
    for driver in known:
        if head.startswith(_MAGIC[driver][1]):
            return (driver,)
    named = " and no ".join(_MAGIC[driver][0] for driver in known)
    raise SceneError(f"{plain_href(href.whole)}: cannot be read as a raster: it is no {named}")


def _opened_by(drivers: Sequence[str], name: str, how: Mapping[str, Any]) -> Any:
    """Open a file with the first driver that can; rasterio takes one only."""
    for driver in drivers:
        try:
            return rasterio.open(name, driver=driver, sharing=False, **how)
        except RasterioError:
            if driver == drivers[-1]:
                raise
    raise AssertionError


def read_head(path: str) -> bytes:
    """Read how a file on a disk begins.

    Raises
    ------
    SceneError
        If there is none, or it is no file but a device, a pipe or a folder.
    """
    try:
        handle = os.open(path, READ_ONLY)
    except FileNotFoundError as e:
        raise SceneError(f"{path}: no such file") from e
    except OSError as e:
        raise SceneError(f"{path}: cannot be read: {e.strerror}") from e
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise SceneError(f"{path}: cannot be read as a raster: it is no file")
        return os.read(handle, _HEAD)
    finally:
        os.close(handle)


def check_names_no_file(src: Any, href: Href) -> None:
    """Close a file that names another one, which GDAL would read in its place, with `SceneError`.

    A TIFF may name a file of its overviews in its metadata, anywhere and of any format.
    """
    if "OVERVIEW_FILE" in src.tags(ns="OVERVIEWS"):
        src.close()
        raise SceneError(f"{plain_href(href.whole)}: names another file for its overviews")


def read_header(href: str, band: int = 1) -> RasterFile:
    """Read a raster file's header, and see that no pixel block is missing at a local file's end.

    Raises
    ------
    SceneError
        If the file is missing, is no raster, lacks the band, has no CRS, or is truncated.
    """
    with _opened(href) as src:
        if band > src.count:
            raise SceneError(f"{href}: no band {band}; it has {src.count}")
        if src.crs is None:
            raise SceneError(f"{href}: the file has no CRS")
        _check_complete(src, href)
        return RasterFile(
            href,
            (src.height, src.width),
            tuple(src.transform)[:6],
            crs_name(src.crs),
            src.dtypes[band - 1],
            src.nodatavals[band - 1],
            band,
            src.descriptions[band - 1],
        )


def read_pixels(href: str, band: int = 1, *, codes: Collection[int] | None = None) -> None:
    """Read all blocks of a band, and see that they can be read.

    Parameters
    ----------
    codes
        The only values that the band may have; None for any.

    Raises
    ------
    SceneError
        If a block cannot be read, or a pixel has another value than `codes`.
    """
    allowed = None if codes is None else np.array(sorted(codes))
    with _opened(href) as src:
        for _, window in src.block_windows(band):
            pixels = src.read(band, window=window)
            if allowed is None:
                continue
            strange = np.setdiff1d(pixels, allowed)
            if strange.size:
                raise SceneError(
                    f"{href}: holds the value {strange[0]}, which is no code of this quality "
                    f"band ({', '.join(map(str, allowed))}); another band's file, or another coding"
                )


def check_size(href: str, size: int) -> None:
    """Compare the size of a local file with what its item says.

    Raises
    ------
    SceneError
        If they differ, or there is no such file.
    """
    path = _path(href)
    try:
        found = path.stat().st_size
    except OSError as e:
        raise SceneError(f"{href}: no such file") from e
    if found != size:
        kind = "truncated" if found < size else "another file"
        raise SceneError(f"{href}: {kind}: {found} bytes on disk, the item says {size}")


def check_sha256(href: str, digest: str) -> None:
    """Compare a local file's SHA-256 with what its item says; `SceneError` if they differ."""
    found = hashlib.sha256()
    try:
        with _path(href).open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                found.update(chunk)
    except OSError as e:
        raise SceneError(f"{href}: cannot be read: {e.strerror}") from e
    if found.hexdigest() != digest:
        raise SceneError(f"{href}: its checksum is not the item's; the file was changed or swapped")


@contextmanager
def _opened(href: str) -> Iterator[Any]:
    """Open a raster file; what goes wrong while it is open is told as a `SceneError`."""
    try:
        # GDAL would leave a note beside each gzip file that it read to the end.
        with (
            rasterio.Env(CPL_VSIL_GZIP_WRITE_PROPERTIES="NO"),
            open_raster(Href.parse(href)) as src,
        ):
            yield src
    except RasterioError as e:
        raise SceneError(_fault(href, first_line(e))) from e


def _fault(href: str, reason: str) -> str:
    """Say why a raster file cannot be read; of one in an archive, name both."""
    member = Member.from_href(href)
    place = href if member is None else member.archive
    if is_local(place) and not _path(place).exists():
        return f"{place}: no such file"
    if member is None:
        return f"{href}: cannot be read as a raster: {reason}"
    found = member.fault() if is_local(place) else None
    return f"{place}: {found or f'its member {member.name} cannot be read as a raster: {reason}'}"


def _check_complete(src: Any, href: str) -> None:
    """Compare where the TIFF says its blocks end with where the file does: a header opens alone."""
    if src.driver != "GTiff" or not is_local(href):
        return
    end = max((offset + size for offset, size in _blocks(src)), default=0)
    size = _path(href).stat().st_size
    if end > size:
        raise SceneError(f"{href}: truncated: {size} bytes on disk, its pixels need {end}")


def _blocks(src: Any) -> Iterator[tuple[int, int]]:
    """Give where each block of the first band begins, and how long it is."""
    rows, columns = src.block_shapes[0]
    for y in range(-(-src.height // rows)):
        for x in range(-(-src.width // columns)):
            offset = src.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=1)
            size = src.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=1)
            if offset and size:
                yield int(offset), int(size)


def _path(href: str) -> Path:
    return Path(href.removeprefix("file://"))
