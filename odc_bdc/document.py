"""Documents in YAML: read, and checked against a JSON schema with a message for each fault.

A schema lies beside the code that reads such documents. Its `description`s are printed with a
fault, so they say what is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from odc_bdc.errors import InvalidValueError, did_you_mean

if TYPE_CHECKING:
    import jsonschema

MOST_BYTES = 8 << 20
"""Bytes of a document that are read."""

MOST_VALUES = 100_000
"""Values that a document holds; what an alias stands for counts wherever it stands."""

DEEPEST = 64
"""Lists and mappings in each other."""

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
    found
        Line (0 if unknown) and message of each so far.
    """

    where: str
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, path: KeyPath, message: str) -> None:
        """Note a fault at a key; an empty path is the document as a whole."""
        known = (path[:n] for n in range(len(path), 0, -1) if path[:n] in self.lines)
        line = next((self.lines[p] for p in known), 0)
        key = ".".join(str(part) for part in path) or "(top level)"
        at = f"{self.where}:{line}" if line else self.where
        self.found.append((line, f"{at}: {key}: {message}"))

    def check(self) -> None:
        """Raise `InvalidValueError` with all faults, a line each, if there are any."""
        if self.found:
            in_order = sorted(self.found, key=lambda fault: fault[0])
            raise InvalidValueError("\n".join(message for _, message in in_order))


def read_document(path: Path) -> tuple[Any, Faults]:
    """Read a YAML file; give its content, and a list for its faults that knows its lines.

    Raises
    ------
    InvalidValueError
        If the file cannot be read as YAML, is too large, or a key stands twice in one mapping.
    """
    try:
        text = _text(Path(path))
        composed = yaml.compose(text, Loader=yaml.SafeLoader)
        _check(excess(composed, _nodes_in), path)
        positions = list(_positions(composed, ()))
        doc = yaml.safe_load(text)
    except RecursionError as e:
        raise InvalidValueError(f"{path}: cannot be read as YAML: it is nested too deeply") from e
    except InvalidValueError:
        raise
    # ValueError: of dates and numbers that cannot be.
    except (OSError, ValueError, yaml.YAMLError) as e:
        raise InvalidValueError(f"{path}: cannot be read as YAML: {_one_line(e)}") from e
    faults = Faults(str(path))
    lines: dict[KeyPath, int] = {}
    for at, line in positions:
        if at in lines:
            faults.lines = {at: line}
            faults.add(at, f"stands twice, first on line {lines[at]}")
        lines[at] = line
    faults.check()
    faults.lines = lines
    return doc, faults


def _values_in(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def excess(root: Any, parts: Callable[[Any], Iterable[Any]] = _values_in) -> str | None:
    """Say what of a document is too much; None if nothing is.

    Some lines with aliases of aliases stand for more values than any memory holds.
    """
    todo, count = [(root, 0)], 0
    while todo:
        value, depth = todo.pop()
        count += 1
        if depth > DEEPEST:
            return f"is nested more than {DEEPEST} deep, or an alias holds itself"
        if count > MOST_VALUES:
            return f"holds more than {MOST_VALUES} values; are aliases in it made of aliases?"
        todo.extend((part, depth + 1) for part in parts(value))
    return None


def check_against_schema(doc: Any, package: str, schema: str, faults: Faults) -> None:
    """Note every difference between a document and a schema.

    Parameters
    ----------
    package, schema
        Package and name of the schema's file.
    """
    validator = _validator(package, schema)
    for path in _not_finite(doc, ()):
        faults.add(path, "not a finite number")
    found = validator.iter_errors(doc)
    for error in sorted(found, key=lambda e: [str(part) for part in e.absolute_path]):
        for path, message in _explain(error, _allowed(error, validator.schema)):
            faults.add(path, message)


def _check(reason: str | None, path: Path) -> None:
    if reason:
        raise InvalidValueError(f"{path}: cannot be read as YAML: it {reason}")


def _text(path: Path) -> str:
    # A pipe or a device may have no end.
    _check("is no file" if path.exists() and not path.is_file() else None, path)
    with path.open("rb") as file:
        found = file.read(MOST_BYTES + 1)
    _check(f"is longer than {MOST_BYTES >> 20} MB" if len(found) > MOST_BYTES else None, path)
    return found.decode("utf-8")


def _nodes_in(node: yaml.Node | None) -> Iterable[Any]:
    if isinstance(node, yaml.MappingNode):
        return (part for pair in node.value for part in pair)
    return node.value if isinstance(node, yaml.SequenceNode) else ()


def _positions(node: yaml.Node | None, at: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            # What is no text can be no key, which is said when it is read.
            here = (*at, str(key.value))
            yield here, key.start_mark.line + 1
            yield from _positions(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            here = (*at, number)
            yield here, value.start_mark.line + 1
            yield from _positions(value, here)


def _explain(error: Any, allowed: str | None) -> Iterator[tuple[KeyPath, str]]:
    """Say what a validation error means, as one or more faults."""
    path = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        for name in error.instance:
            if name not in known:
                guess = did_you_mean(str(name), known)
                yield (*path, name), f"{name!r} is no key here{guess}; keys: {', '.join(known)}"
    elif error.validator in {"oneOf", "anyOf"}:
        yield path, f"{_short(error.instance)} is not {allowed}"
    else:
        yield path, f"{error.message} ({allowed})" if allowed else error.message


def _allowed(error: Any, schema: Any) -> str | None:
    """Give the description nearest to a validation error: that of its property, or of its items."""
    node, said = schema, None
    for part in error.absolute_schema_path:
        # The path steps over references.
        if "$ref" in node and part not in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
            said = node.get("description", said)
        node = node[part]
        if part == "properties":
            said = None
        elif isinstance(node, Mapping):
            said = node.get("description", said)
    return said or (schema.get("description") if not error.absolute_path else None)


def _not_finite(value: Any, at: KeyPath) -> Iterator[KeyPath]:
    if isinstance(value, float) and not math.isfinite(value):
        yield at
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _not_finite(item, (*at, key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _not_finite(item, (*at, number))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


@cache
def _validator(package: str, schema: str) -> jsonschema.Draft202012Validator:
    import jsonschema  # noqa: PLC0415 (takes seconds to import, most of them for formats of URIs)

    text = (files(package) / schema).read_text(encoding="utf-8")
    return jsonschema.Draft202012Validator(yaml.safe_load(text))
