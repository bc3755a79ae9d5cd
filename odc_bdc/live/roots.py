"""Where recipes are read: below the folders and buckets that the administrator names.

A dataset's document may come from anybody, and says where its recipe is. What it says is compared
with `Roots` before anything is opened.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from odc_bdc.errors import InvalidValueError, SourceError
from odc_bdc.files import plain_href
from odc_bdc.indexing.whole_file import whole_file

ROOTS_VARIABLE = "ODC_BDC_ROOTS"
"""Environment variable of folders and ``s3://BUCKET/PREFIX``, with ``:`` between them."""

HOME_VARIABLE = "ODC_BDC_HOME"
"""Environment variable of the folder of a private index, whose cubes lie below it."""

NOTES = "recipe-roots"
"""File beside a home's configuration: further roots, one a line, that `note_root` writes."""

_CONFIGURATIONS = ("ODC_CONFIG_PATH", "DATACUBE_CONFIG_PATH")
_BETWEEN = re.compile(rf"{re.escape(os.pathsep)}(?!//)")
_opened: set[Path] = set()
"""Homes that were opened in this process."""


@dataclass(frozen=True, slots=True)
class Roots:
    """Folders, and prefixes of buckets, below which recipes are read.

    Attributes
    ----------
    folders
        Their real paths.
    prefixes
        ``s3://BUCKET/`` or ``s3://BUCKET/PREFIX/``.
    """

    folders: tuple[Path, ...] = ()
    prefixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, *places: str | Path) -> Self:
        """Make it of folders and addresses of s3.

        Raises
        ------
        InvalidValueError
            If a place is neither.
        """
        folders, prefixes = [], []
        for place in map(str, places):
            if place.startswith("s3://") and urlsplit(place).netloc:
                prefixes.append(place.rstrip("/") + "/")
            elif "://" in place:
                raise InvalidValueError(
                    f"{ROOTS_VARIABLE}: {place}: recipes are read in folders and below "
                    "s3://BUCKET/PREFIX"
                )
            else:
                folders.append(Path(place).expanduser().resolve())
        return cls(tuple(dict.fromkeys(folders)), tuple(dict.fromkeys(prefixes)))

    def __str__(self) -> str:
        """Write it as `ROOTS_VARIABLE` has it."""
        return os.pathsep.join([*map(str, self.folders), *self.prefixes])

    def holds(self, place: str) -> bool:
        """Tell if a real path, or an address of s3, lies below a root."""
        if place.startswith("s3://"):
            return not {".", ".."} & set(place.split("/")) and place.startswith(self.prefixes)
        return any(map(Path(place).is_relative_to, self.folders))

    def place(self, href: str) -> str:
        """Give where a recipe is opened: its real path, or its address in a bucket.

        Raises
        ------
        SourceError
            If that is not below the roots; the message names the setting.
        """
        scheme = href.partition("://")[0].lower() if "://" in href else ""
        if scheme not in {"", "file", "s3"}:
            raise SourceError(f"{shown(href)}: recipes are read from disks and buckets only")
        found = href if scheme == "s3" else _local(href)
        if found is None or not self.holds(found):
            below = str(self) or "no folder so far"
            raise SourceError(
                f"{shown(href)}: recipes are read only below {below}: declare the cube there, or "
                f"let who runs this program (each worker too) set {ROOTS_VARIABLE}"
            )
        return found


def recipe_roots(environ: Mapping[str, str], *homes: Path) -> Roots:
    """Give the roots of an environment.

    They are those that ``ODC_BDC_ROOTS`` names and no others. Where it is not set, they are the
    homes (that of ``ODC_BDC_HOME`` too), the folder of the file that ``ODC_CONFIG_PATH`` names, and
    what `note_root` noted in these; but no folder into which everybody may write.

    Parameters
    ----------
    homes
        Folders of private indexes that a program is started for.

    Raises
    ------
    InvalidValueError
        If a root is neither a folder nor an address of s3.
    """
    if named := environ.get(ROOTS_VARIABLE, "").strip():
        return Roots.of(*filter(None, _BETWEEN.split(named)))
    home, configured = environ.get(HOME_VARIABLE), _configured(environ)
    return _beside([*homes, *([Path(home)] if home else []), *([configured] if configured else [])])


def open_home(home: Path) -> None:
    """Let this process read below a home too, where nobody names roots: its user has opened it."""
    _opened.add(home.resolve())


def process_roots() -> Roots:
    """Give the roots of this process."""
    return recipe_roots(os.environ, *sorted(_opened))


def with_roots(home: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Give an environment in which programs find the roots of a home, or else its own.

    What is noted in a home while they run is known to them.
    """
    if home is not None:
        return {**environ, HOME_VARIABLE: str(home.absolute())}
    return {**environ, ROOTS_VARIABLE: str(recipe_roots(environ))}


def note_root(home: Path, root: str) -> bool:
    """Note a root in a home, for all who read by its configuration; True if it was not known.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    new = Roots.of(root)
    if all(map(_beside([home]).holds, [*map(str, new.folders), *new.prefixes])):
        return False
    if home.exists() and not _is_safe(home):
        raise PermissionError(errno.EPERM, "everybody may write there")
    lines = [*_noted(home), str(new)]
    with whole_file(home / NOTES) as stream:
        # Services run as other users.
        os.fchmod(stream.fileno(), 0o644)
        stream.write("# Below these recipes of live images are read too; by `odc-bdc`.\n")
        stream.write("".join(f"{line}\n" for line in lines))
    return True


def _beside(folders: Iterable[Path]) -> Roots:
    safe = [folder for folder in folders if _is_safe(folder)]
    return Roots.of(*safe, *(root for folder in safe for root in _noted(folder)))


def _configured(environ: Mapping[str, str]) -> Path | None:
    """Give the folder of the configuration that datacube reads, if a variable names its file."""
    for name in _CONFIGURATIONS:
        if paths := [Path(part) for part in environ.get(name, "").split(os.pathsep) if part]:
            return next((path.absolute().parent for path in paths if path.is_file()), None)
    return None


def _is_safe(folder: Path) -> bool:
    """Tell if a folder that nobody named is one in which not everybody may put files."""
    try:
        real = folder.resolve()
        return real != real.parent and not real.stat().st_mode & stat.S_IWOTH
    except OSError:
        return False


def _noted(folder: Path) -> list[str]:
    try:
        lines = (folder / NOTES).read_text("utf-8").splitlines()
    except OSError:
        return []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _local(href: str) -> str | None:
    """Give the real path of a file; None if there is none that could be meant."""
    path = href
    if "://" in href:
        parts = urlsplit(href)
        if parts.netloc or parts.query:
            return None
        path = unquote(parts.path)
    return None if "\0" in path else str(Path(path).resolve())


def shown(href: str) -> str:
    """Give what a line may show of an address that comes from anybody."""
    plain = plain_href(href)
    return plain if plain.isprintable() else ascii(plain)[1:-1]
