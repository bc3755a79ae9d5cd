"""The accessor ``.bdc`` of `xarray.Dataset`: a thin skin over the other rooms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from odc_bdc.errors import InvalidValueError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from odc_bdc.cube import CubeSpec
    from odc_bdc.quality import QualityPolicy


@xr.register_dataset_accessor("bdc")  # type: ignore[no-untyped-call]
class BdcAccessor:
    """What a cube's bands are good for; bands go by their names, aliases or common names."""

    def __init__(self, ds: xr.Dataset) -> None:
        self._ds = ds

    def mask(self, quality: QualityPolicy | CubeSpec | str | None = None) -> xr.Dataset:
        """Give the dataset without what is not clear.

        Parameters
        ----------
        quality
            A `QualityPolicy`, or a cube, or a cube's name, for the one of its source; by default
            that of the shipped cube that the product is, or is a source of.

        Returns
        -------
        xarray.Dataset
            Bands are nodata, NaN in floating ones, where the quality is not clear; those that tell
            the quality stay as they are. Lazy if it was.

        Raises
        ------
        InvalidValueError
            If the quality cannot be known, or a band has no nodata value.
        UnknownNameError
            If there is no such cube, or no quality band.
        """
        from odc_bdc.notebook.clearing import masked  # noqa: PLC0415 (light until used)

        return masked(self._ds, quality)

    def composite(self, cube: CubeSpec | str | None = None, **how: Any) -> xr.Dataset:
        """Composite scenes over time.

        Parameters
        ----------
        cube
            A definition or its name: the composite is the cube's, from one of its sources.
        **how
            Of `odc_bdc.composite_cube` with a cube, else of `odc_bdc.composite`: ``function``,
            ``quality``, ``timeline`` and so on.
        """
        from odc_bdc.compositing import composite, composite_cube  # noqa: PLC0415 (light until used)
        from odc_bdc.cube import find_cube  # noqa: PLC0415 (light until used)

        if cube is None:
            missing = [name for name in ("function", "quality") if name not in how]
            if missing:
                raise InvalidValueError(f"give a cube, or {' and '.join(missing)}")
            return composite(self._ds, **how)
        return composite_cube(self._ds, find_cube(cube) if isinstance(cube, str) else cube, **how)

    def index(self, name: str, constants: Mapping[str, float] | None = None) -> xr.DataArray:
        """Compute a spectral index from reflectance.

        Parameters
        ----------
        name, constants
            As of `odc_bdc.spectral_index.spectral_index`.

        Returns
        -------
        xarray.DataArray
            float32, NaN where there is no data; lazy if the dataset is.

        Raises
        ------
        UnknownNameError
            If there is no such index, or no such band.
        """
        from odc_bdc.notebook.optics import index_of  # noqa: PLC0415 (light until used)

        return index_of(self._ds, name, constants)

    def to_reflectance(self) -> xr.Dataset:
        """Give the dataset with bands that have a scale as reflectance.

        Returns
        -------
        xarray.Dataset
            ``stored * scale_factor + add_offset`` as float32, NaN where the band was nodata. Bands
            without a scale, such as those of quality, stay as they are.
        """
        from odc_bdc.notebook.optics import reflectances  # noqa: PLC0415 (light until used)

        return reflectances(self._ds)

    def compute(self) -> xr.Dataset:
        """Compute a lazy dataset, and show how far it is once it takes more than a second."""
        from tqdm.dask import TqdmCallback  # noqa: PLC0415 (asks for widgets)

        with TqdmCallback(delay=1, leave=False):
            return self._ds.compute()

    def plot_rgb(
        self,
        time: Any = None,
        bands: Sequence[str] = ("red", "green", "blue"),
        *,
        limits: tuple[float, float] | None = None,
        ax: Axes | None = None,
        language: str = "en",
    ) -> Axes:
        """Draw three bands as red, green and blue.

        Parameters
        ----------
        time
            Which, nearest; by default the first.
        limits
            Reflectances that are black and full; by default so that 2 in 100 values are beyond
            each.
        ax
            Of matplotlib; by default one of its own.
        language
            Of the labels, ``en`` or ``pt``.
        """
        from odc_bdc.notebook.plotting import plot_rgb  # noqa: PLC0415 (matplotlib)

        return plot_rgb(self._ds, time, bands, limits=limits, ax=ax, language=language)

    def plot(
        self,
        name: str | None = None,
        time: Any = None,
        *,
        ax: Axes | None = None,
        language: str = "en",
        **how: Any,
    ) -> Axes:
        """Draw a band or a spectral index: an image, or lines over time where there is none.

        Parameters
        ----------
        name
            Of a band, or of an index, which is computed; by default the first band.
        time
            Which image, nearest; by default the first.
        ax, language
            As of `plot_rgb`.
        **how
            What `xarray.DataArray.plot` takes, such as ``cmap``, ``vmin`` and ``vmax``.
        """
        from odc_bdc.notebook.plotting import plot  # noqa: PLC0415 (matplotlib)

        return plot(self._ds, name, time, ax=ax, language=language, **how)


def at_time(ds: xr.Dataset, time: Any) -> xr.Dataset:
    """Give one time of a dataset, the nearest; the first if none is said."""
    if "time" not in ds.dims:
        return ds
    if time is None:
        return ds.isel(time=0)
    try:
        moment = np.datetime64(time, "ns")
    except (TypeError, ValueError) as e:
        raise InvalidValueError(f"time {time!r} cannot be read: give 2020-07-11") from e
    order: npt.NDArray[np.intp] = np.abs(ds["time"].values.astype("datetime64[ns]") - moment)
    return ds.isel(time=int(np.argmin(order)))
