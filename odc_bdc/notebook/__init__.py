"""What analysts do every day in Jupyter, thin over kept libraries; needs the extra ``[notebook]``.

``from odc_bdc import notebook as nb`` registers the accessor ``.bdc`` of `xarray.Dataset`. All else
is imported when it is asked for: a time series needs no widgets.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from odc_bdc.errors import MissingDependencyError
from odc_bdc.notebook import accessor as _accessor  # noqa: F401 (registers `.bdc`)

if TYPE_CHECKING:
    from odc_bdc.notebook.animating import animate, overlay
    from odc_bdc.notebook.applying import apply, test_execute
    from odc_bdc.notebook.classifying import classify, features, fill_gaps, spatial_blocks
    from odc_bdc.notebook.connecting import connect, find_home
    from odc_bdc.notebook.drawing import draw
    from odc_bdc.notebook.exporting import export_html
    from odc_bdc.notebook.footprints import bdc_plot_datasets
    from odc_bdc.notebook.loading import load
    from odc_bdc.notebook.sampling import timeseries
    from odc_bdc.notebook.showing import show
    from odc_bdc.notebook.smoothing import smooth
    from odc_bdc.notebook.tables import datasets_table

__all__ = [
    "animate",
    "apply",
    "bdc_plot_datasets",
    "classify",
    "connect",
    "datasets_table",
    "draw",
    "export_html",
    "features",
    "fill_gaps",
    "find_home",
    "load",
    "overlay",
    "show",
    "smooth",
    "spatial_blocks",
    "test_execute",
    "timeseries",
]

# A module has never the name of what it holds: it would stand in its place once imported.
_HOMES = {
    "animate": "animating",
    "apply": "applying",
    "bdc_plot_datasets": "footprints",
    "classify": "classifying",
    "connect": "connecting",
    "datasets_table": "tables",
    "draw": "drawing",
    "export_html": "exporting",
    "features": "classifying",
    "fill_gaps": "classifying",
    "find_home": "connecting",
    "load": "loading",
    "overlay": "animating",
    "show": "showing",
    "smooth": "smoothing",
    "spatial_blocks": "classifying",
    "test_execute": "applying",
    "timeseries": "sampling",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] == "odc_bdc":
            raise
        raise MissingDependencyError(
            f"{name} needs the package {e.name}, which is not installed: "
            "pip install 'odc_bdc[notebook]'"
        ) from e
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
