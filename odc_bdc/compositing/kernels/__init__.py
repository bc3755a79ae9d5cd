"""Kernels of temporal compositing: numpy arrays in, numpy arrays out.

They know no xarray, no datacube and no cube. A stack is an array (time, y, x) in the band's own
dtype, one of `DTYPES`; results are (y, x). Stacks in C order are used as they are; others are
copied once, for a kernel over strided memory would be several times slower. A list of images (y, x)
is a stack, too; `composites`, `observe`, `count_clear` and `gather` do not join it.

Two ways lead to a composite:

- `composites` takes quality and bands of one dtype, and gives counts, medians, means and the first
  clear observation in one pass. It is the quickest, and needs no memory besides its results.
- `observe` says once which observations are clear, as a mask. Every other function reduces one
  band over what a mask, from there or from elsewhere, calls clear.

What picks an observation (`first`, `best`) gives its position along time; `gather` takes any band
at these positions, `of_time` what belongs to a time (day of the year, number of the satellite).

================ ==================================================
`observe`        masks, and numbers of observations
`count_clear`    of each time, by the quality band alone
`classify`       what each pixel is, by the quality band alone
`composites`     several composites in one pass
`median`         `percentiles`, `mean`, `minimum`, `maximum`,
                 `value_range`, `std`, `count`
`first`, `best`  pick an observation; `gather`, `of_time` take it
`geomedian`      geometric median of several bands, and its MADs
`warm`           compile ahead
================ ==================================================

Whatever the integer type, results are exact: they are rounded once, at the end, as asked. NaN is
never clear. A pixel without a clear observation becomes `nodata`; without one given, 0 or NaN.
No time at all is a stack like any other: nodata, and counts of 0.

The functions may be called from several threads and after a fork. They start threads only if told
to (`threads`), and those end with the call. Machine code is made when a function first meets a
dtype, and kept on disk (`odc_bdc.compositing.kernels.jit`).

How it works: medians are taken by a sorting network over the rows of a strip of pixels, whose
comparators are vector instructions, in the band's own type; see `strips`, `network` and `blocks`.
"""

from odc_bdc.compositing.kernels.arrays import DTYPES, over_pixels
from odc_bdc.compositing.kernels.geometric import Geomedian, geomedian
from odc_bdc.compositing.kernels.images import Stack
from odc_bdc.compositing.kernels.moments import (
    count,
    maximum,
    mean,
    minimum,
    std,
    value_range,
)
from odc_bdc.compositing.kernels.observing import Observed, classify, count_clear, observe
from odc_bdc.compositing.kernels.onepass import Composites, composites
from odc_bdc.compositing.kernels.ordering import median, percentiles
from odc_bdc.compositing.kernels.picking import best, first, gather, of_time
from odc_bdc.compositing.kernels.warming import warm

__all__ = [
    "DTYPES",
    "Composites",
    "Geomedian",
    "Observed",
    "Stack",
    "best",
    "classify",
    "composites",
    "count",
    "count_clear",
    "first",
    "gather",
    "geomedian",
    "maximum",
    "mean",
    "median",
    "minimum",
    "observe",
    "of_time",
    "over_pixels",
    "percentiles",
    "std",
    "value_range",
    "warm",
]
