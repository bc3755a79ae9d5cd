"""Scenes of one pass, a day (UTC) and a satellite, as one observation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from odc_bdc.compositing.block import CompositeBlock, classify_block, observe_block
from odc_bdc.compositing.checking import CLASSES
from odc_bdc.quality import NODATA

if TYPE_CHECKING:
    from odc_bdc.cube import CubeSpec

Bands = dict[str, npt.NDArray[Any]]

DILATION = "dilation"
"""Coordinate along time: by how many pixels what is not clear is still to be widened."""


def join_scenes(scenes: Iterable[Bands], cube: CubeSpec) -> Bands:
    """Join scenes of one pass: later ones overwrite earlier ones wherever they are seen.

    A pixel is seen where every band has data and the quality is not nodata; no rule of clouds
    enters. Where none of the scenes is seen, the pixel is that of the first whose quality has data;
    where no quality has, it is nodata. So the image does not depend on the window that is joined.

    Parameters
    ----------
    scenes
        Arrays (y, x) in the cube's terms by name, the quality band among them, and what it means
        under `CLASSES` where codes alone do not say it; in order of time, then as they are given.
        They are looked at one after the other, and the first is written into.
    """
    given = iter(scenes)
    out = next(given)
    for scene in given:
        here, there = (_codes(one, cube) != NODATA for one in (scene, out))
        taken = here & (has_data(scene, cube) | ~there)
        for name, array in out.items():
            np.copyto(array, scene[name], where=taken)
    clear_unseen(out, _codes(out, cube), cube)
    return out


def clear_unseen(bands: Bands, codes: npt.NDArray[np.uint8], cube: CubeSpec) -> None:
    """Let bands be nodata where the quality is, as `join_scenes` does."""
    unseen = codes == NODATA
    if unseen.any():
        for m in cube.bands:
            if m.name in bands:
                bands[m.name][unseen] = m.encoding.missing


def has_data(scene: Mapping[str, npt.NDArray[Any]], cube: CubeSpec) -> npt.NDArray[np.bool_]:
    """Tell where every band of a scene has data; bool (y, x).

    Parameters
    ----------
    scene
        As of `join_scenes`.
    """
    nodata = {m.name: m.nodata for m in cube.measurements}
    how = CompositeBlock(cube.function, cube.quality, nodata)
    stacks = {m.name: np.ascontiguousarray(scene[m.name])[np.newaxis] for m in cube.bands}
    codes = _codes(scene, cube)[np.newaxis]
    found: npt.NDArray[np.bool_] = observe_block(stacks, codes, how, classes=codes).has_data[0]
    return found


def _codes(scene: Mapping[str, npt.NDArray[Any]], cube: CubeSpec) -> npt.NDArray[np.uint8]:
    if CLASSES in scene:
        return np.ascontiguousarray(scene[CLASSES])
    return classify_block(np.ascontiguousarray(scene[cube.quality.band]), cube.quality)


def join_passes(ds: xr.Dataset, cube: CubeSpec) -> xr.Dataset:
    """Join the scenes of each day (UTC) and satellite; eager or lazy, as they are.

    Parameters
    ----------
    ds
        Scenes from `odc_bdc.harmonise`, dims (time, y, x).

    Returns
    -------
    xarray.Dataset
        The same where no two are of one pass; else one time for each pass, that of its first scene,
        sorted.
    """
    passes = _passes(ds)
    if len(passes) == ds.sizes.get("time", 0):
        return ds
    parts = [_joined(ds, p, cube) if len(p) > 1 else ds.isel(time=p) for p in passes]
    return xr.concat(parts, "time", combine_attrs="override").assign_attrs(ds.attrs)


def _passes(ds: xr.Dataset) -> list[list[int]]:
    """Give the positions along time of each pass, in order of time, then as they are given."""
    times = np.asarray(ds["time"].values)
    satellites = ds.coords["datasource"].values if "datasource" in ds.coords else [0] * len(times)
    found: dict[Any, list[int]] = {}
    for at in np.argsort(times, kind="stable").tolist():
        found.setdefault((times[at].astype("datetime64[D]"), int(satellites[at])), []).append(at)
    return list(found.values())


def _joined(ds: xr.Dataset, positions: Sequence[int], cube: CubeSpec) -> xr.Dataset:
    names = [str(name) for name in ds.data_vars]

    def run(*arrays: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
        scenes = [
            dict(zip(names, arrays[at : at + len(names)], strict=True))
            for at in range(0, len(arrays), len(names))
        ]
        scenes[0] = {name: array.copy() for name, array in scenes[0].items()}
        made = join_scenes(scenes, cube)
        return tuple(made[name] for name in names)

    found = xr.apply_ufunc(
        run,
        *(ds[name].isel(time=at, drop=True) for at in positions for name in names),
        dask="parallelized",
        output_core_dims=[[] for _ in names],
        output_dtypes=[ds[name].dtype for name in names],
    )
    first = ds.isel(time=positions[:1])
    out = first.copy(
        data={name: array.data[np.newaxis] for name, array in zip(names, found, strict=True)}
    )
    if DILATION in ds.coords:
        widest = ds.coords[DILATION].values[list(positions)].max()
        out = out.assign_coords({DILATION: ("time", [widest])})
    return out
