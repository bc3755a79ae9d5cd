"""Live cubes in the services: whether their reader is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from odc_bdc.formats import LIVE_FORMAT
from odc_bdc.indexing.readers import has_reader

if TYPE_CHECKING:
    from collections.abc import Iterator

LEGACY = "legacy"
"""The loader of datacube-ows that finds readers by the format of datasets."""

_PROTOCOLS = ("file", "http", "https", "s3")


def unreadable_live_layers(cfg: Any) -> Iterator[str]:
    """Tell the layers whose live images no reader is found for, each with its cure.

    Layers of built images only are not told: they can be read all the same.

    Parameters
    ----------
    cfg
        The configuration of datacube-ows, ready.
    """
    lacking = not has_live_reader()
    for layer in cfg.layer_index.values():
        if not layer.ready or not (lacking or layer.load_driver != LEGACY):
            continue
        live = sorted({p.name for p in layer.products if _is_live(cfg.dc, p.name)})
        if live:
            yield (
                f"layer {layer.name}: has live images ({', '.join(live)}), and "
                + (
                    "this installation has no reader for them: install odc_bdc anew"
                    if lacking
                    else f"load_driver {layer.load_driver!r} cannot read them: set {LEGACY!r}"
                )
            )


def prepare_live_layers(cfg: Any) -> None:
    """Let this process load ahead what reading live images takes, if a layer has any."""
    products = {p.name for layer in cfg.layer_index.values() if layer.ready for p in layer.products}
    if any(_is_live(cfg.dc, name) for name in sorted(products)):
        from odc_bdc.live.preparing import prepare  # noqa: PLC0415 (few servers have live layers)

        prepare()


def has_live_reader() -> bool:
    """Tell whether datacube finds the reader of live images in this installation."""
    return all(has_reader(protocol, LIVE_FORMAT) for protocol in _PROTOCOLS)


def _is_live(dc: Any, product: str) -> bool:
    """Tell whether a product has a live image."""
    found = dc.index.datasets.search(product=product, format=LIVE_FORMAT, limit=1)
    return next(iter(found), None) is not None
