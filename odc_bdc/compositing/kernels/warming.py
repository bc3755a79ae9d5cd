"""Compile ahead, so that nobody waits for it later."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from odc_bdc.compositing.kernels.geometric import geomedian
from odc_bdc.compositing.kernels.moments import maximum, mean, std, value_range
from odc_bdc.compositing.kernels.observing import classify, observe
from odc_bdc.compositing.kernels.onepass import composites
from odc_bdc.compositing.kernels.ordering import median, percentiles
from odc_bdc.compositing.kernels.picking import best, first, gather

USUAL = ("int16", "uint16", "float32")


def warm(
    dtypes: Sequence[str] = USUAL, qualities: Sequence[str] = ("uint8", "uint16")
) -> dict[str, float]:
    """Call every function once, so that its machine code is made, or found on disk.

    Parameters
    ----------
    dtypes
        Of bands.
    qualities
        Of quality bands. `gather` takes these from their own observations, too.

    Returns
    -------
    dict
        Seconds by dtype: a minute in all if nothing has been compiled, next to nothing after that.
    """
    spent = {}
    for dtype in dict.fromkeys([*dtypes, *qualities]):
        begun = time.perf_counter()
        calls = _reducers(dtype) if dtype in dtypes else [_gather(dtype)]
        for call in calls:
            call()
        for quality in qualities if dtype in dtypes else ():
            _onepass(dtype, quality)
        spent[dtype] = time.perf_counter() - begun
    return spent


def _gather(dtype: str) -> Callable[[], Any]:
    return lambda: gather(np.ones((1, 1, 1), dtype), np.zeros((1, 1), np.int16))


def _reducers(dtype: str) -> list[Callable[[], Any]]:
    band, clear = np.ones((2, 1, 1), dtype), np.ones((2, 1, 1), np.bool_)
    return [
        _gather(dtype),
        lambda: median(band, clear),
        lambda: percentiles(band, clear, [50]),
        lambda: mean(band, clear),
        lambda: std(band, clear),
        lambda: maximum(band, clear),
        lambda: value_range(band, clear),
        lambda: first(clear, [0, 1]),
        lambda: best(band, clear, [0, 1]),
        lambda: geomedian([band], clear),
    ]


def _onepass(dtype: str, quality: str) -> None:
    band, codes = np.ones((2, 1, 1), dtype), np.ones((2, 1, 1), quality)
    table = np.full(256**codes.dtype.itemsize, 2, np.uint8)
    observe(codes, table, [band], [None])
    classify(codes, table)
    composites(codes, table, [band], [None], median="trunc", mean="half_even", order=[0, 1])
