"""The read driver of datacube, found by entry point: plain `dc.load` and datacube-ows use it.

It reads live images, and of the map services all else: see `odc_bdc.live.guarded`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from datacube.drivers.datasource import DataSource, GeoRasterReader

from odc_bdc.live import LIVE_FORMAT
from odc_bdc.live.guarded import FORMATS, GUARDED, GuardedDataSource, plain_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    from affine import Affine
    from datacube.storage import BandInfo
    from odc.geo import CRS

    from odc_bdc.cog import Window
    from odc_bdc.live.image import LiveImage


class LiveBand(GeoRasterReader):  # type: ignore[misc]  # datacube has no types
    """A band of a live image, as datacube reads files."""

    def __init__(self, image: LiveImage, name: str) -> None:
        self._image, self._measurement = image, image.output(name)

    @property
    def crs(self) -> CRS:
        """CRS of the image."""
        return self._image.geobox.crs

    @property
    def transform(self) -> Affine:
        """Pixels to coordinates."""
        return self._image.geobox.affine

    @property
    def dtype(self) -> str:
        """Name of the type of its pixels."""
        return self._measurement.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self._image.geobox.shape
        return rows, columns

    @property
    def nodata(self) -> float | None:
        """What stands where there is no data."""
        return self._measurement.missing

    def read(
        self, window: Any = None, out_shape: tuple[int, int] | None = None
    ) -> npt.NDArray[Any]:
        """Read a window; see `LiveImage.read`."""
        return self._image.read(self._measurement.name, _window(window), out_shape)


class LiveDataSource(DataSource):  # type: ignore[misc]  # datacube has no types
    """What opens a band; it can be pickled."""

    def __init__(self, band: BandInfo) -> None:
        # The name is the one that was asked for, which may be an alias.
        self._uri, self._name = plain_url(band.uri), band.layer or band.name

    @contextmanager
    def open(self) -> Iterator[LiveBand]:
        """Open the image of the recipe."""
        # Every program that loads data imports this module.
        from odc_bdc.live.opening import open_image  # noqa: PLC0415

        yield LiveBand(open_image(self._uri), self._name)


class LiveReaderDriver:
    """The driver of the entry point ``datacube.plugins.io.read``."""

    name = LIVE_FORMAT
    protocols = ("file", "http", "https", "s3", GUARDED)
    formats = (LIVE_FORMAT, *FORMATS)

    def supports(self, protocol: str, fmt: str) -> bool:
        """Tell whether datasets of a file format are read by it."""
        return fmt == LIVE_FORMAT or (protocol == GUARDED and fmt in FORMATS)

    def new_datasource(self, band: BandInfo) -> LiveDataSource | GuardedDataSource:
        """Give what opens a band."""
        return LiveDataSource(band) if band.format == LIVE_FORMAT else GuardedDataSource(band)


def reader_driver() -> LiveReaderDriver:
    """Make the driver."""
    return LiveReaderDriver()


def _window(window: Any) -> Window | None:
    """Give a window as slices, which may be pairs of numbers."""
    if window is None:
        return None
    rows, columns = (part if isinstance(part, slice) else slice(*part) for part in window)
    return rows, columns
