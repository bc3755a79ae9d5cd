"""Where the files of an image lie below a root, and what they are called."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from odc_bdc.errors import InvalidValueError, UnknownNameError, did_you_mean
from odc_bdc.naming import CollectionName, period_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from odc_bdc.planning import CompositeTask

FIELDS = {
    "cube": "name of the cube, CB4_64_16D_STK_v1",
    "name": "the same without version, as the BDC writes it: CB4_64_16D_STK, S2-16D",
    "version": "version of the cube, 1",
    "tile": "id of the tile, 007004",
    "column": "its first three digits, 007",
    "row": "its last three digits, 004",
    "period": "first and last day, 2020-07-11_2020-07-26",
    "start": "first day, 2020-07-11",
    "end": "last day, 2020-07-26",
    "year": "of the first day, 2020",
    "month": "of the first day, 07",
    "day": "of the first day, 11",
    "id": "id of the image",
    "id8": "its first eight characters",
}
"""What a template may hold, by name."""

HOLDER = ".image"
"""File that says by an id whose image a folder holds, where its name does not tell."""

_MEMBER = "{cube}_{tile}_{period}"
_TEMPLATES = {
    # Folder and names of files. The BDC's are those of cube-builder.
    "odc-bdc": ("{cube}/{tile}/{period}/{id8}", _MEMBER),
    "bdc-v1": (
        "{name}/v{version:03}/{tile}/{period}",
        "{name}_v{version:03}_{tile}_{period}",
    ),
    "bdc-v2": (
        "{name:lower}/v{version}/{column}/{row}/{year}/{month}/{day}",
        "{name:upper}_V{version}_{tile}_{year}{month}{day}",
    ),
}
LAYOUTS = tuple(_TEMPLATES)
"""Names of the layouts."""

_NEEDED = (
    (("cube",), ("name", "version")),
    (("tile",), ("column", "row")),
    (("period",), ("start",), ("year", "month", "day")),
)
_LITERAL = re.compile(r"[\w.+=@/-]*", re.ASCII)
_CASE = re.compile(r"lower|upper|")
_DIGITS = re.compile(r"0[1-9]|")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the files of an image lie below a root, and what they are called.

    Attributes
    ----------
    name
        ``odc-bdc``, ``bdc-v1`` or ``bdc-v2``; that of a user is its own template.
    folder_template, item_template
        Templates with `FIELDS` in braces; ``:lower`` and ``:upper`` change the case of one, ``:03``
        fills a number with zeros.

    Raises
    ------
    InvalidValueError
        If a template has a fault, or two cubes, tiles or periods would share a folder.

    Examples
    --------
    >>> Layout.named("{cube}/{year}/{tile}/{start}/{id8}").has_versions
    True
    """

    name: str
    folder_template: str
    item_template: str = _MEMBER

    def __post_init__(self) -> None:
        for template in (self.folder_template, self.item_template):
            _check_template(template)
        if "/" in self.item_template:
            raise InvalidValueError(f"layout {self.item_template!r}: a file's name holds no /")

    @classmethod
    def named(cls, text: str) -> Self:
        """Give a layout by name, or make one of the template of an image's folder.

        Raises
        ------
        UnknownNameError
            If it is neither.
        InvalidValueError
            If the template has a fault, or two cubes, tiles or periods would share a folder.
        """
        if text in _TEMPLATES:
            return cls(text, *_TEMPLATES[text])
        if not set(text) & set("{}/"):
            raise UnknownNameError(
                f"layout {text!r} is not known{did_you_mean(text, LAYOUTS)}; there are "
                f"{', '.join(LAYOUTS)}, and templates such as {_TEMPLATES['odc-bdc'][0]}"
            )
        return cls(text, text)

    @property
    def has_versions(self) -> bool:
        """Whether images of one tile and period have folders of their own by their ids."""
        return not {"id", "id8"}.isdisjoint(f for f, _ in _parsed(self.folder_template))

    def check(self, cube: str) -> None:
        """See that a cube's images can be written so.

        Raises
        ------
        InvalidValueError
            If the layout needs a version and the cube's name has none.
        """
        used = {f for t in (self.folder_template, self.item_template) for f, _ in _parsed(t)}
        if used & {"name", "version"} and _versioned(cube) is None:
            raise InvalidValueError(
                f"layout {self.name} needs the version of a cube, and {cube!r} does not end in "
                "_v<version>; name the cube so, or take another --layout"
            )

    def folder(self, task: CompositeTask) -> str:
        """Give the folder of a task's image below the root, without ``/`` at its ends.

        Where the layout does not tell versions apart this is the first one's.
        """
        return _filled(self.folder_template, task)

    def beside(self, task: CompositeTask) -> str:
        """Give the folder of an image whose folder another version of it has."""
        return f"{self.folder(task)}.{_id8(task)}"

    def item_id(self, task: CompositeTask) -> str:
        """Name a task's image, as its files are called."""
        return _filled(self.item_template, task)

    def above(self, cube: str) -> str:
        """Give the innermost folder that all images of a cube lie below; empty for the root."""
        return _glob(self.folder_template, cube).partition("*")[0].rpartition("/")[0]

    def holds(self, path: str, cube: str) -> bool:
        """Tell whether a file lies and is called as one of an image of a cube.

        Versions beside others are such images, and the file that says whose a folder is belongs to
        one.

        Parameters
        ----------
        path
            Relative to the root.
        """
        try:
            self.check(cube)
        except InvalidValueError:
            return False
        named = f"{_glob(self.folder_template, cube)}/{_glob(self.item_template, cube)}"
        return matches(path, named) or matches(path, f"{named.rpartition('/')[0]}/{HOLDER}")


def matches(path: str, pattern: str) -> bool:
    """Tell whether a glob matches a path as a whole; its * does not go beyond a /."""
    return path.count("/") == pattern.count("/") and PurePosixPath(path).match(pattern)


class _Text(str):
    """A text that formats as ``lower`` or ``upper``."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return getattr(self, spec)() if spec in {"lower", "upper"} else super().__format__(spec)


def _filled(template: str, task: CompositeTask) -> str:
    period, tile = task.period, task.tile_id
    start = period.start.isoformat()
    year, month, day = start.split("-")
    fields = {
        "tile": tile,
        "column": tile[:3],
        "row": tile[3:],
        "period": period_folder(period),
        "start": start,
        "end": period.end.isoformat(),
        "year": year,
        "month": month,
        "day": day,
    }
    texts = {name: _Text(value) for name, value in fields.items()}
    if "{id" in template:  # it takes longer than all others
        texts |= {"id": _Text(task.id), "id8": _Text(_id8(task))}
    return template.format(**texts, **_cube_fields(task.cube.name))


def _glob(template: str, cube: str) -> str:
    """Give what begins as a template filled for a cube, whatever its other fields are."""
    fixed = _cube_fields(cube)
    parts = []
    for literal, field, spec in _pieces(template):
        parts.append(literal)
        if field is not None:
            parts.append(format(fixed[field], spec) if field in fixed else "*")
    return re.sub(r"\*+", "*", "".join(parts) + "*")


@cache
def _cube_fields(cube: str) -> Mapping[str, Any]:
    found = _versioned(cube)
    fields: dict[str, Any] = {"cube": _Text(cube)}
    if found is not None:
        fields |= {"name": _Text(_bdc_name(found)), "version": int(found.version or 0)}
    return fields


def _bdc_name(cube: CollectionName) -> str:
    """Give the name of V2, whose hyphens a product of the ODC may not have, if it is one."""
    hyphens = cube.name.replace("_", "-")
    try:
        as_v2 = CollectionName(hyphens, cube.version).generation == "V2"
    except InvalidValueError:
        as_v2 = False
    return hyphens if as_v2 else cube.name


def _versioned(cube: str) -> CollectionName | None:
    try:
        found = CollectionName.parse(cube)
    except InvalidValueError:
        return None
    return found if found.odc else None


def _id8(task: CompositeTask) -> str:
    return str(task.id)[:8]


def _pieces(template: str) -> Iterator[tuple[str, str | None, str]]:
    """Give the literals of a template, each with the field behind it and its format."""
    for literal, field, spec, _ in string.Formatter().parse(template):
        yield literal, field, spec or ""


def _parsed(template: str) -> list[tuple[str, str]]:
    return [(field, spec) for _, field, spec in _pieces(template) if field is not None]


def _check_template(text: str) -> None:
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError as e:
        raise InvalidValueError(f"layout {text!r}: {e}") from e
    for literal, field, spec, conversion in pieces:
        if not _LITERAL.fullmatch(literal):
            raise InvalidValueError(
                f"layout {text!r}: {literal!r} holds more than letters, digits and _ . + = @ - /"
            )
        if field is not None:
            _check_field(text, field, f"!{conversion}" if conversion else spec or "")
    for part in text.split("/"):
        if not part or part.startswith("."):
            raise InvalidValueError(
                f"layout {text!r}: each part between / has a name, which does not begin with a dot"
            )
    used = {field for _, field, _, _ in pieces if field}
    for alternatives in _NEEDED:
        if not any(used.issuperset(fields) for fields in alternatives):
            either = " or ".join("".join(f"{{{f}}}" for f in fields) for fields in alternatives)
            raise InvalidValueError(
                f"layout {text!r}: images would overwrite each other; it lacks {either}"
            )


def _check_field(text: str, field: str, spec: str) -> None:
    if field not in FIELDS:
        raise InvalidValueError(
            f"layout {text!r}: no field {{{field}}}{did_you_mean(field, FIELDS)}; there are "
            f"{', '.join(FIELDS)}"
        )
    is_number = field == "version"
    if not (_DIGITS if is_number else _CASE).fullmatch(spec):
        how = ":01 to :09" if is_number else ":lower or :upper"
        raise InvalidValueError(f"layout {text!r}: {{{field}}} may be written with {how} only")
