"""What is known of an observation on a tile, so that it need not be read for it again.

Two things are worth keeping. How many pixels are clear, over the whole tile: it makes the order of
scenes, and takes a look at all of the quality band. And where the quality band alone says which
pixels have data: an observation only counts where every band has data, so without this all bands
must be decoded to count it, though no pixel is taken from it.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

_VERSION = 1


@dataclass(slots=True, eq=False)
class Known:
    """What is known of one observation of a tile.

    Attributes
    ----------
    n_clear
        Clear pixels of the whole tile, by quality; None if they were not counted.
    complete
        bool (rows, columns) of cells of `CELL` pixels: where each pixel that has data in the
        quality band has it in every band. False says nothing.
    """

    n_clear: int | None
    complete: npt.NDArray[np.bool_]

    @classmethod
    def nothing(cls, geobox: GeoBox) -> Known:
        """Give what is known of an observation that was never looked at."""
        return cls(None, np.zeros(tuple(-(-size // CELL) for size in geobox.shape), np.bool_))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Known)
            and self.n_clear == other.n_clear
            and np.array_equal(self.complete, other.complete)
        )

    __hash__ = None  # type: ignore[assignment]  # it changes

    def is_complete(self, window: Window) -> bool:
        """Tell whether all cells that a window touches are complete."""
        rows, columns = (slice(w.start // CELL, -(-w.stop // CELL)) for w in window)
        return bool(self.complete[rows, columns].all())

    def learn(self, window: Window, shape: tuple[int, ...], *, complete: bool) -> None:
        """Note what a window tells of the cells that lie wholly in it."""
        if complete:
            rows, columns = (
                slice(-(-w.start // CELL), -(-w.stop // CELL) if w.stop == size else w.stop // CELL)
                for w, size in zip(window, shape, strict=True)
            )
            self.complete[rows, columns] = True


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

    def get(self, key: str, geobox: GeoBox) -> Known:
        """Give what is known, from `observation_key`."""
        known = Known.nothing(geobox)
        with suppress(OSError, ValueError, KeyError, TypeError):
            doc = json.loads(self._path(key).read_text("utf-8"))
            bits = np.frombuffer(bytes.fromhex(doc["complete"]), np.uint8)
            n_clear = doc["n_clear"]
            counted = n_clear is None or (type(n_clear) is int and n_clear >= 0)
            size = known.complete.size
            if doc["key"] == key and counted and bits.size == -(-size // 8):
                complete = np.unpackbits(bits, count=size).astype(np.bool_)
                return Known(n_clear, complete.reshape(known.complete.shape))
        return known

    def put(self, key: str, known: Known) -> None:
        """Keep what is known.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        doc = {
            "key": key,
            "n_clear": known.n_clear,
            "complete": np.packbits(known.complete).tobytes().hex(),
        }
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
        self._known = [store.get(key, geobox) for key in self._keys] if store else []
        self._before = deepcopy(self._known)
        self._known = self._known or [Known.nothing(geobox) for _ in passes]

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
