"""What is known of an observation on a tile, so that it need not be read for it again.

Two things are worth keeping. How many pixels are clear, over the whole tile: it makes the order of
scenes, and takes a look at all of the quality band. And where the quality band alone says which
pixels have data: an observation only counts where every band has data, so without this all bands
must be decoded to count it, though no pixel is taken from it.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from base64 import b64decode, b64encode
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from odc_bdc.files import Versions, plain_href, scene_files
from odc_bdc.indexing.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from odc.geo.geobox import GeoBox

    from odc_bdc.cog import Window
    from odc_bdc.cube import CubeSpec
    from odc_bdc.files import FileVersion
    from odc_bdc.planning import BandSource, SceneRef

FOLDER = ".efficacy"
"""Below the folder of the cubes."""

CELL = 512
"""Side of the parts of a tile of which it is known by themselves whether bands have gaps."""

_VERSION = 3
_LARGEST = 8192
"""Bytes of the gaps of a cell that are worth keeping; bands that differ everywhere take more."""

Cell: TypeAlias = tuple[int, int]


@dataclass(slots=True)
class Known:
    """What is known of one observation of a tile.

    A gap is a pixel that has data in the quality band, and lacks it in some other band.

    Attributes
    ----------
    n_clear
        Clear pixels of the whole tile, by quality; None if they were not counted.
    gaps
        The gaps of cells of `CELL` pixels, by row and column of the cell: bits of its pixels,
        compressed; nothing where there are none. Cells that are not in it are not known.
    """

    n_clear: int | None = None
    gaps: dict[Cell, bytes] = field(default_factory=dict)

    def gaps_in(self, window: Window) -> npt.NDArray[np.bool_] | None:
        """Give the gaps of a window of the tile.

        Returns
        -------
        numpy.ndarray or None
            bool (y, x). None if a cell that the window touches is not known.
        """
        first = [part.start // CELL for part in window]
        counts = [-(-part.stop // CELL) - n for part, n in zip(window, first, strict=True)]
        out = np.zeros([n * CELL for n in counts], np.bool_)
        for y, x in product(*map(range, counts)):
            packed = self.gaps.get((first[0] + y, first[1] + x))
            if packed is None:
                return None
            if packed:
                out[y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL] = _unpacked(packed)
        rows, columns = (
            slice(part.start - n * CELL, part.stop - n * CELL)
            for part, n in zip(window, first, strict=True)
        )
        return out[rows, columns]

    def learn(
        self, window: Window, shape: tuple[int, ...], gaps: npt.NDArray[np.bool_] | None
    ) -> None:
        """Note what a window tells of the cells that lie wholly in it.

        Parameters
        ----------
        shape
            Rows and columns of the tile.
        gaps
            bool (y, x); None if there are none.
        """
        whole = (
            range(-(-w.start // CELL), -(-w.stop // CELL) if w.stop == size else w.stop // CELL)
            for w, size in zip(window, shape, strict=True)
        )
        for y, x in product(*whole):
            top, left = y * CELL - window[0].start, x * CELL - window[1].start
            part = None if gaps is None else gaps[top : top + CELL, left : left + CELL]
            packed = b"" if part is None or not part.any() else _packed(part)
            if len(packed) <= _LARGEST:
                self.gaps[y, x] = packed

    def to_dict(self) -> dict[str, Any]:
        """Give what a file holds."""
        gaps = {f"{y},{x}": b64encode(g).decode("ascii") for (y, x), g in self.gaps.items()}
        return {"n_clear": self.n_clear, "gaps": gaps}

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any]) -> Known:
        """Read what `to_dict` gave.

        Raises
        ------
        ValueError, KeyError, TypeError, AttributeError
            If it is something else.
        """
        n_clear, gaps = doc["n_clear"], {}
        if not (n_clear is None or (type(n_clear) is int and n_clear >= 0)):
            raise ValueError(n_clear)
        for name, text in doc["gaps"].items():
            y, x = name.split(",")
            gaps[int(y), int(x)] = packed = b64decode(text, validate=True)
            if packed:
                _unpacked(packed)
        return cls(n_clear, gaps)


def _packed(gaps: npt.NDArray[np.bool_]) -> bytes:
    cell = np.zeros((CELL, CELL), np.bool_)
    cell[: gaps.shape[0], : gaps.shape[1]] = gaps
    return zlib.compress(np.packbits(cell).tobytes(), 1)


def _unpacked(packed: bytes) -> npt.NDArray[np.bool_]:
    try:
        bits = np.frombuffer(zlib.decompress(packed), np.uint8)
    except zlib.error as e:
        raise ValueError(str(e)) from e
    return np.unpackbits(bits).astype(np.bool_).reshape(CELL, CELL)


@dataclass(frozen=True, slots=True)
class EfficacyStore:
    """Keeps what is `Known` in small files below a folder, one for each observation and tile.

    Files are written whole. One that is broken, or was made for something else, is as good as none.

    Attributes
    ----------
    folder
        Made when something is kept.
    """

    folder: Path

    @classmethod
    def below(cls, root: Path) -> EfficacyStore:
        """Give the store of a folder of cubes."""
        return cls(root / FOLDER)

    def get(self, key: str) -> Known:
        """Give what is known, from `observation_key`."""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            doc = json.loads(self._path(key).read_text("utf-8"))
            if doc["key"] == key:
                return Known.from_dict(doc)
        return Known()

    def put(self, key: str, known: Known) -> None:
        """Keep what is known.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        doc = {"key": key} | known.to_dict()
        with whole_file(self._path(key)) as stream:
            json.dump(doc, stream)

    def _path(self, key: str) -> Path:
        digest = hashlib.sha256(key.encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest[2:34]}.json"


class TileKnowledge:
    """What is known of all observations of a tile, looked up once and kept at the end.

    Parameters
    ----------
    passes
        The observations, each of one scene or several.
    store
        None: nothing is known, and nothing is kept.
    versions
        Of the files of the scenes.
    """

    def __init__(
        self,
        cube: CubeSpec,
        geobox: GeoBox,
        passes: Sequence[Sequence[SceneRef]],
        store: EfficacyStore | None,
        versions: Versions | None = None,
    ) -> None:
        self._store = store
        self._keys = []
        if store:
            versions = versions or Versions(scene_files())
            hrefs = (b.href for group in passes for s in group for _, b in s.sources)
            stamps = versions.known(hrefs)
            self._keys = [observation_key(cube, geobox, group, stamps) for group in passes]
        self._known = [store.get(key) for key in self._keys] if store else []
        self._before = deepcopy(self._known)
        self._known = self._known or [Known() for _ in passes]

    def __getitem__(self, position: int) -> Known:
        return self._known[position]

    @property
    def is_kept(self) -> bool:
        """Whether it is worth while to learn more than is needed now."""
        return self._store is not None

    def keep(self) -> None:
        """Keep what is new.

        Raises
        ------
        OSError
            If the store cannot be written.
        """
        if self._store is not None:
            for key, known, before in zip(self._keys, self._known, self._before, strict=True):
                if known != before:
                    self._store.put(key, known)


def observation_key(
    cube: CubeSpec,
    geobox: GeoBox,
    group: Sequence[SceneRef],
    stamps: Mapping[str, FileVersion | None],
) -> str:
    """Give the text that all depends on which is known of an observation.

    It holds the versions of files (`odc_bdc.files.Versions.known`), so that a scene that is written
    anew under its id is looked at anew. The cube's function, period and name are not in it: cubes
    share what is known.
    """
    policies = {source.product: source.quality.to_dict() for source in cube.sources}
    doc: dict[str, Any] = {
        "version": _VERSION,
        "scenes": [
            [str(s.id), s.product, [[n, *_file(b, stamps)] for n, b in s.sources]] for s in group
        ],
        "quality": [cube.quality.to_dict(), {s.product: policies[s.product] for s in group}],
        "bands": [[m.name, str(m.encoding), m.resampling] for m in cube.measurements],
        "grid": [tuple(geobox.shape), tuple(geobox.affine)[:6], str(geobox.crs)],
    }
    return json.dumps(doc, sort_keys=True)


def _file(source: BandSource, stamps: Mapping[str, FileVersion | None]) -> tuple[Any, ...]:
    version = stamps[source.href]
    # Signatures, which are secret, come and go.
    named = str(replace(source, href=plain_href(source.href)))
    return (named,) if version is None else (named, version.size, version.mark)
