"""What can go wrong, said so that the reader knows what, where and what to do.

Every error is also the builtin that a caller would expect, so `except ValueError` works.
"""

from __future__ import annotations

import sysconfig
import traceback
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID


class OdcBdcError(Exception):
    """Root of all errors that odc_bdc raises on purpose."""

    def _render_traceback_(self, *_: object) -> list[str]:
        """Tell Jupyter what to show: the reader's line, and what is wrong, but none of our lines.

        `traceback.print_exc()` shows them all.
        """
        return [line for line in (users_line(self), f"{type(self).__name__}: {self}") if line]


class InvalidValueError(OdcBdcError, ValueError):
    """A value given by the user is not allowed; the message says which and what is."""


class UnknownNameError(OdcBdcError, LookupError):
    """A name is not known; the message lists the known ones."""


class NothingFoundError(OdcBdcError, LookupError):
    """The index holds nothing of what was asked for; the message says what there is."""


class SceneError(OdcBdcError, OSError):
    """A scene or one of its files cannot be used; the message names it and the reason."""


class ReplacedFileError(SceneError):
    """A file was replaced while it was read; reading anew gives all of the new one."""


class UnreadableSceneError(SceneError):
    """A file of a scene cannot be read; an image may be made without the scene.

    Attributes
    ----------
    scene
        Id of the scene's dataset.
    """

    def __init__(self, message: str, scene: UUID) -> None:
        super().__init__(message)
        self.scene = scene

    def __reduce__(self) -> tuple[type[Self], tuple[str, UUID]]:
        return type(self), (str(self), self.scene)


class SourceError(OdcBdcError, OSError):
    """A source of items cannot be reached or read; the message names it and says what to do."""


class DatabaseError(OdcBdcError, ConnectionError):
    """The index cannot be reached, made or used; the message says what to do."""


class ClusterError(OdcBdcError, ConnectionError):
    """The cluster that should run tasks cannot be reached; the message says what to do."""


class MissingDependencyError(OdcBdcError, ImportError):
    """An optional package or a program of the system is missing; the message says how to get it."""


class UnpatchedError(OdcBdcError, RuntimeError):
    """A version of another package is not known well enough to be served with."""


class LoadedByDatacubeWarning(UserWarning):
    """Scenes of a cube are loaded by datacube, so warped pixels are not those of the built cube."""


def first_line(error: BaseException) -> str:
    r"""Give the first line of what an error says; its type, if it says nothing.

    Examples
    --------
    >>> first_line(OSError("cut off\nat byte 7")), first_line(MemoryError())
    ('cut off', 'MemoryError')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def users_line(error: BaseException) -> str:
    """Say which line, of those that went wrong, was not of odc_bdc, a package or Python itself.

    Returns
    -------
    str
        ``line 3: x = 1 / 0``; empty if there is none, or its text is not known.
    """
    paths = [str(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    others = tuple(str(Path(path).resolve()) for path in (str(Path(__file__).parent), *paths))
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.line and not str(Path(frame.filename).resolve()).startswith(others)
    ]
    return f"line {own[-1].lineno}: {(own[-1].line or '').strip()}" if own else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Give ``", do you mean X?"`` for a message about an unknown name; empty if none is near.

    Small and capital letters are taken as equal.

    Examples
    --------
    >>> did_you_mean("LFC", ["AVG", "MED", "LCF"])
    ', do you mean LCF?'
    """
    by_lower = {one.lower(): one for one in known}
    near = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.65)
    return f", do you mean {by_lower[near[0]]}?" if near else ""
