"""Observations of a tile: the scenes of one pass joined, in the cube's terms."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from odc_bdc.compositing import (
    CLASSES,
    CompositeBlock,
    classify_block,
    clear_unseen,
    convert_encoding,
    has_data,
    join_scenes,
    load_mask,
    needs_classes,
    recode_quality,
)
from odc_bdc.errors import ReplacedFileError, SceneError, UnreadableSceneError
from odc_bdc.quality import CLEAR, NODATA, dilate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from odc.geo.geobox import GeoBox

    from odc_bdc.building.reading import SourceReader
    from odc_bdc.cog import Window
    from odc_bdc.cube import CubeSpec
    from odc_bdc.planning import SceneRef

Bands = dict[str, npt.NDArray[Any]]


def how_to_composite(cube: CubeSpec) -> CompositeBlock:
    """Give what `composite_block` has to know of a cube."""
    scales = {m.name: (m.scale or 1.0, m.offset or 0.0) for m in cube.measurements}
    return CompositeBlock(
        cube.function,
        cube.quality,
        {m.name: m.nodata for m in cube.measurements},
        cube.rounding,
        cube.common,
        scales,
        load_mask(cube.mask),
    )


@dataclass(slots=True)
class Look:
    """A window of an observation as its quality shows it.

    Attributes
    ----------
    scenes
        Those that have data in the window; the first one if none has.
    quality
        (y, x), in the cube's codes and dtype.
    classes
        uint8 (y, x), where codes alone do not say what pixels are, else None.
    codes
        uint8 (y, x): NODATA, SEEN or CLEAR, by quality, and by gaps of bands where they are known.
    n_clear
        Number of CLEAR pixels by quality.
    any_seen
        Whether there is a pixel that is not NODATA.
    bands
        Arrays (y, x) by name, if joining the scenes took them; else empty.
    shown
        `codes` by quality alone, of an observation of several scenes: there bands are nodata where
        the quality is. None of a single scene.
    """

    scenes: tuple[SceneRef, ...]
    window: Window
    quality: npt.NDArray[Any]
    classes: npt.NDArray[np.uint8] | None
    codes: npt.NDArray[np.uint8]
    n_clear: int
    any_seen: bool
    bands: Bands = field(default_factory=dict)
    shown: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class _Part:
    """The quality of one scene of an observation."""

    scene: SceneRef
    quality: npt.NDArray[Any]
    classes: npt.NDArray[np.uint8] | None


class ObservationReader:
    """Reads windows of observations. Not for use by several threads at once."""

    def __init__(self, cube: CubeSpec, geobox: GeoBox, reader: SourceReader) -> None:
        self._cube, self._reader = cube, reader
        self._shape: tuple[int, ...] = tuple(geobox.shape)
        self._quality = cube.quality_measurement
        self._sources = {source.product: source for source in cube.sources}
        self._margin = max(source.quality.margin for source in cube.sources)
        self._needs_classes = needs_classes(cube)

    def look(self, group: Sequence[SceneRef], window: Window) -> Look:
        """Look at the quality of an observation.

        Of several scenes later ones overwrite earlier ones where they have data in all bands, so
        where more than one has data the bands are read too.

        Raises
        ------
        UnreadableSceneError
            If a file cannot be read.
        """
        wide, inner = _widened(window, self._margin, self._shape)
        parts = [self._part(scene, wide) for scene in group]
        if len(parts) > 1:
            parts = [p for p in parts if (self._codes(p) != NODATA).any()] or parts[:1]
        joined, bands = (parts[0], {}) if len(parts) == 1 else self._joined(parts, wide)
        classes = joined.classes
        if classes is not None:
            margin = max(self._sources[scene.product].quality.margin for scene in group)
            classes = dilate(classes, margin)[inner]
        quality = joined.quality[inner]
        codes = classify_block(quality, self._cube.quality) if classes is None else classes
        return Look(
            tuple(part.scene for part in parts),
            window,
            quality,
            classes,
            codes,
            int(np.count_nonzero(codes == CLEAR)),
            bool((codes != NODATA).any()),
            {name: band[inner] for name, band in bands.items()},
            codes if len(group) > 1 else None,
        )

    def decode(self, look: Look, out: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write the bands of an observation into arrays (y, x), and let go of what it holds.

        Raises
        ------
        UnreadableSceneError
            If a file cannot be read.
        """
        for name, array in out.items():
            held = look.bands.pop(name, None)
            found = self._band(look.scenes[0], name, look.window, array) if held is None else held
            if found is not array:
                array[:] = found
        if look.shown is not None:
            clear_unseen(dict(out), look.shown, self._cube)

    def has_data(self, look: Look, bands: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
        """Tell where an observation has data in every band; bool (y, x)."""
        return has_data({**bands, **self._told(look.quality, look.classes)}, self._cube)

    def scene(self, scene: SceneRef, window: Window) -> Bands:
        """Give all bands of a scene in the cube's terms, as `join_scenes` takes them.

        Raises
        ------
        UnreadableSceneError
            If a file cannot be read.
        """
        return self._with_bands(self._part(scene, window), window)

    def _codes(self, part: _Part) -> npt.NDArray[np.uint8]:
        if part.classes is not None:
            return part.classes
        return classify_block(part.quality, self._cube.quality)

    def _joined(self, parts: Sequence[_Part], window: Window) -> tuple[_Part, Bands]:
        """Join scenes: later ones overwrite earlier ones where they are seen."""
        bands = join_scenes((self._with_bands(part, window) for part in parts), self._cube)
        quality, classes = bands.pop(self._quality.name), bands.pop(CLASSES, None)
        return _Part(parts[0].scene, quality, classes), bands

    def _with_bands(self, part: _Part, window: Window) -> Bands:
        bands = {m.name: self._band(part.scene, m.name, window) for m in self._cube.bands}
        return bands | self._told(part.quality, part.classes)

    def _told(self, quality: npt.NDArray[Any], classes: npt.NDArray[np.uint8] | None) -> Bands:
        """Give what the quality tells, by name."""
        told = {self._quality.name: quality}
        return told if classes is None else told | {CLASSES: classes}

    def _part(self, scene: SceneRef, window: Window) -> _Part:
        """Read the quality of a scene, each of its bands once."""

        def read(band: str, resampling: str) -> npt.NDArray[Any]:
            with blaming(scene):
                return self._reader.read(scene.source(band), resampling, window)

        cube, source = self._cube, self._sources[scene.product]
        stored = read(self._quality.name, self._quality.resampling)
        encoding = scene.source(self._quality.name).encoding
        quality = recode_quality(stored, source, cube, encoding)
        if not self._needs_classes:
            return _Part(scene, quality, None)
        if cube.is_masked_by_gaps(source):
            return _Part(scene, quality, cube.quality.by_code.classify(quality))
        more = (read(band, "nearest") for band in source.quality.bands[1:])
        return _Part(scene, quality, source.quality.classify(stored, *more))

    def _band(
        self,
        scene: SceneRef,
        name: str,
        window: Window,
        out: npt.NDArray[Any] | None = None,
    ) -> npt.NDArray[Any]:
        """Read a band of a scene as the cube stores it."""
        stored, measurement = scene.source(name), self._cube.measurement(name)
        with blaming(scene):
            pixels = self._reader.read(stored, measurement.resampling, window, out)
        return convert_encoding(pixels, stored.encoding, measurement.encoding)


@contextmanager
def blaming(scene: SceneRef) -> Iterator[None]:
    """Say of which scene a file cannot be read.

    Raises
    ------
    UnreadableSceneError
        For each `SceneError`, but not where a file was replaced: the scene can be read.
    """
    try:
        yield
    except ReplacedFileError:
        raise
    except SceneError as e:
        raise UnreadableSceneError(str(e), scene.id) from e


def _widened(window: Window, margin: int, shape: tuple[int, ...]) -> tuple[Window, Window]:
    """Give a window widened within the tile, and where in that the window lies."""
    wide, inner = [], []
    for part, size in zip(window, shape, strict=True):
        start, stop = max(0, part.start - margin), min(size, part.stop + margin)
        wide.append(slice(start, stop))
        inner.append(slice(part.start - start, part.stop - start))
    return (wide[0], wide[1]), (inner[0], inner[1])
