"""Options that say where built images are."""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable


def store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--root`` and ``--layout``; the command gets the `ImageStore` that they mean.

    Below ``home``, an option of the command's own, is what has no place at the root.
    """

    @wraps(command)
    def with_store(
        *given: Any, home: Path, root: str | None, layout: str | None, **others: Any
    ) -> Any:
        from odc_bdc.building.store import ImageStore

        store = ImageStore.open(root or home / "cubes", layout=layout, work=home / "work")
        return command(*given, home=home, store=store, **others)

    decorated: Callable[..., Any] = with_store
    for option in reversed(
        (
            click.option(
                "--root",
                metavar="DIR|s3://BUCKET/PREFIX",
                help="Where the built images are; default is cubes/ below --home.",
            ),
            click.option(
                "--layout",
                metavar="NAME|TEMPLATE",
                help="Folders and names below the root: odc-bdc (default), bdc-v1, bdc-v2, or a "
                "template such as {cube}/{tile}/{year}/{start}/{id8}. A root keeps the one that "
                "it began with.",
            ),
        )
    ):
        decorated = option(decorated)
    return decorated
