"""Code of other packages by name: what is installed as an entry point, and nothing else.

Definitions, rules and recipes are text that may come from anybody. Such text never says what is
imported; it says a name, and who installs packages says what the name stands for.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from odc_bdc.errors import InvalidValueError, UnknownNameError, did_you_mean, first_line

MASKS = "odc_bdc.masks"
"""Group of functions that say where observations may count: a cube's `mask`."""

SIGNERS = "odc_bdc.signers"
"""Group of functions that give the address by which a file is asked for: a rule's `sign`."""


def plugin(group: str, name: str) -> Any:
    """Give what a package has installed under a name.

    Parameters
    ----------
    group
        Of entry points, such as `MASKS`.

    Raises
    ------
    UnknownNameError
        If no package has; the message says how to get it.
    InvalidValueError
        If several have, or it cannot be imported.
    """
    # One that is installed twice, as a checkout may be, is one.
    found = {entry.value: entry for entry in entry_points(group=group, name=name)}
    if not found:
        raise UnknownNameError(f"{name!r} is {_absent(group, name)}")
    if len(found) > 1:
        raise InvalidValueError(
            f"{name!r} is installed more than once as an entry point of {group} "
            f"({', '.join(sorted(found))}): remove all packages that have it but one"
        )
    (entry,) = found.values()
    try:
        return entry.load()
    except Exception as e:
        raise InvalidValueError(
            f"entry point {name!r} ({entry.value}) of {group} cannot be imported: {first_line(e)}"
        ) from e


def _absent(group: str, name: str) -> str:
    if ":" in name:
        return (
            "text, and code is not named by text: let a package of yours have the function as an "
            f'entry point, as `[project.entry-points."{group}"] mine = "{name}"` in its '
            "pyproject.toml, install it, and write `mine`"
        )
    names = sorted({entry.name for entry in entry_points(group=group)})
    return (
        f"no installed entry point of {group}{did_you_mean(name, names)}; there is "
        f"{', '.join(names) or 'none'}: install the package that has it, also where workers and "
        "servers run"
    )
