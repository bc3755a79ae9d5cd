"""Composites by the slowest, plainest reading of the rules: a loop over pixels."""

import math
from fractions import Fraction


def observations(bands, quality, nodata, clear, quality_nodata):
    """Give (has_data, is_clear, counted) of each observation of one pixel, as lists."""
    out = []
    for t, q in enumerate(quality):
        data = all(nodata[b] is None or values[t] != nodata[b] for b, values in bands.items())
        out.append((data, data and q in clear, data and q != quality_nodata))
    return out


def best_first(efficacies, times):
    """Order scenes by efficacy, best first, ties to the later."""
    return sorted(range(len(times)), key=lambda i: (efficacies[i], times[i]), reverse=True)


def round_fraction(value, rounding):
    """Round an exact fraction."""
    if rounding == "trunc":
        return math.trunc(value)
    return math.floor(value) if rounding == "floor" else round(value)


def composite_pixel(function, bands, quality, *, nodata, clear, quality_nodata, order, days, **how):
    """Composite one pixel; `bands` maps names to lists over time. Gives a dict of numbers."""
    seen = observations(bands, quality, nodata, clear, quality_nodata)
    out = {
        "CLEAROB": min(255, sum(c for _, c, _ in seen)),
        "TOTALOB": min(255, sum(n for _, _, n in seen)),
    }
    at = [t for t, (_, is_clear, _) in enumerate(seen) if is_clear]
    if function == "LCF":
        chosen = next((t for t in order if t in at), None)
        if chosen is None:
            chosen = next((t for t in order if seen[t][0]), None)
        for name, values in {**bands, "quality": quality}.items():
            empty = quality_nodata if name == "quality" else nodata[name]
            out[name] = (empty or 0) if chosen is None else values[chosen]
        out["PROVENANCE"] = -1 if chosen is None else days[chosen]
        return out
    for name, values in bands.items():
        ordered = sorted(Fraction(int(values[t])) for t in at)
        n = len(ordered)
        if not n:
            out[name] = nodata[name] or 0
        elif function == "AVG":
            out[name] = round_fraction(sum(ordered) / n, how["rounding"])
        else:
            middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
            out[name] = round_fraction(middle, how["rounding"])
    return out
