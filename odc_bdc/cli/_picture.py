"""Pictures that commands draw: matplotlib is there or asked for, files are written whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from odc_bdc.errors import InvalidValueError, MissingDependencyError
from odc_bdc.indexing.whole_file import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure


def new_figure(width: float, height: float, **options: Any) -> Figure:
    """Give an empty figure.

    Parameters
    ----------
    width, height
        In inches.
    **options
        As of `matplotlib.figure.Figure`.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    try:
        import matplotlib.figure as mpl_figure
    except ImportError as e:
        raise MissingDependencyError(
            "a picture needs matplotlib: pip install 'odc_bdc[demo]'"
        ) from e
    figure: Figure = mpl_figure.Figure(figsize=(width, height), **options)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all; the same figure gives the same bytes.

    Raises
    ------
    InvalidValueError
        If the file cannot be written.
    """
    try:
        with whole_file(path, binary=True) as stream:
            figure.savefig(stream, format="png", metadata={"Software": None})
            os.fchmod(stream.fileno(), 0o644)
    except OSError as e:
        raise InvalidValueError(f"{path}: cannot be written: {e.strerror}") from e
