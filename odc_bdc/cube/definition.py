"""The YAML form of a cube: read, and checked against the schema with a message for each fault."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from odc_bdc.errors import InvalidValueError

if TYPE_CHECKING:
    import jsonschema

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and positions that lead to a value in a document."""


@dataclass(slots=True)
class Faults:
    """What is wrong with a document, each fault with file, line, key and what is allowed.

    Attributes
    ----------
    where
        Name of the document, usually its file.
    lines
        Line of each key, as far as they are known.
    messages
        One for each fault so far.
    """

    where: str
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def add(self, path: KeyPath, message: str) -> None:
        """Note a fault at a key; an empty path is the document as a whole."""
        known = (path[:n] for n in range(len(path), 0, -1) if path[:n] in self.lines)
        line = next((f":{self.lines[p]}" for p in known), "")
        key = ".".join(str(part) for part in path) or "(top level)"
        self.messages.append(f"{self.where}{line}: {key}: {message}")

    def check(self) -> None:
        """Raise `InvalidValueError` with all faults, a line each, if there are any."""
        if self.messages:
            raise InvalidValueError("\n".join(self.messages))


def read_definition(path: Path) -> tuple[Any, Faults]:
    """Read a YAML file; give its content, and a list for its faults that knows its lines.

    Raises
    ------
    InvalidValueError
        If the file cannot be read as YAML, or a key stands twice in one mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        doc = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise InvalidValueError(f"{path}: cannot be read as YAML: {_one_line(e)}") from e
    faults = Faults(str(path))
    lines: dict[KeyPath, int] = {}
    for at, line in _positions(node, ()):
        if at in lines:
            faults.lines = {at: line}
            faults.add(at, f"stands twice, first on line {lines[at]}")
        lines[at] = line
    faults.check()
    faults.lines = lines
    return doc, faults


def check_against_schema(doc: Any, faults: Faults) -> None:
    """Note every difference between a cube's YAML form and ``cube.schema.yaml``."""
    found = _validator().iter_errors(doc)
    for error in sorted(found, key=lambda e: [str(part) for part in e.absolute_path]):
        for path, message in _explain(error):
            faults.add(path, message)


def unknown_name(name: str, known: Sequence[str]) -> str:
    """Say that a key is not known, which ones are, and which one may be meant."""
    near = difflib.get_close_matches(name, known, n=1)
    guess = f"; do you mean {near[0]}?" if near else ""
    return f"unknown key {name!r}{guess} Known: {', '.join(known)}"


def _positions(node: yaml.Node | None, at: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, key.value)
            yield here, key.start_mark.line + 1
            yield from _positions(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            here = (*at, number)
            yield here, value.start_mark.line + 1
            yield from _positions(value, here)


def _explain(error: Any) -> Iterator[tuple[KeyPath, str]]:
    """Say what a validation error means, as one or more faults."""
    path = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        for name in error.instance:
            if name not in known:
                yield (*path, name), unknown_name(str(name), known)
    elif error.validator in {"oneOf", "anyOf"}:
        yield path, f"{_short(error.instance)} is not {error.schema['description']}"
    else:
        about = error.schema.get("description") if isinstance(error.schema, Mapping) else None
        yield path, f"{error.message} ({about})" if about else error.message


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


@cache
def _validator() -> jsonschema.Draft202012Validator:
    import jsonschema  # noqa: PLC0415 (takes seconds to import, most of them for formats of URIs)

    text = (files("odc_bdc.cube") / "cube.schema.yaml").read_text(encoding="utf-8")
    return jsonschema.Draft202012Validator(yaml.safe_load(text))
