"""What the services must change in other packages; for all programs it is `odc_bdc.plain_datacube`.

Each patch mends one fault, for which `docs/upstream` has a change ready to be sent. It is applied
only to what it was tried with: the source of what it changes has a known digest. Where it has not,
nothing is served (`UnpatchedError`), for the services would go on with wrong answers.
"""

from __future__ import annotations

import logging
import math
import sys
from dataclasses import dataclass
from functools import lru_cache, wraps
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from odc.geo.crs import CRS

from odc_bdc.errors import UnpatchedError
from odc_bdc.patching import Change, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ACCEPT_VARIABLE = "ODC_BDC_OWS_ACCEPT_UNPATCHED"
"""Environment variable by which `odc-bdc ows serve --accept-unpatched` tells its workers."""

_OLD = sys.version_info < (3, 12)
INSTALL = {
    "datacube-ows": "1.9.14" if _OLD else "1.9.19",
    "odc-geo": "0.5.3",
}
"""Versions that all patches are known to fit, for this Python."""

_LOG = logging.getLogger(__name__)
_applied: set[str] = set()


@dataclass(frozen=True, slots=True)
class Patch:
    """A fault of another package, mended.

    Attributes
    ----------
    name
        As in the name of its page in `docs/upstream`.
    package
        As pip knows it.
    changes
        The fewest that mend it.
    without
        What is wrong without it, for people.
    """

    name: str
    package: str
    changes: tuple[Change, ...]
    without: str


def unknown_patches(patches: Sequence[Patch] | None = None) -> list[Patch]:
    """Give the patches that do not fit what is installed, and are not applied yet."""
    return [
        patch
        for patch in (PATCHES if patches is None else patches)
        if patch.name not in _applied and not all(change.is_known() for change in patch.changes)
    ]


def complaint(unknown: Sequence[Patch]) -> str:
    """Say in one line what is not known, what to install instead, and what is wrong without."""
    packages = dict.fromkeys(patch.package for patch in unknown)
    found = " and ".join(f"{name} {version(name)}" for name in packages)
    wanted = " ".join(f"'{name}=={INSTALL[name]}'" for name in packages)
    wrong = "; ".join(f"{patch.without} ({patch.name})" for patch in unknown)
    differ = ", ".join(c.target for p in unknown for c in p.changes if not c.is_known())
    return (
        f"{found} cannot be served: {differ} is not what odc_bdc knows; pip install {wanted}, or "
        f"serve with --accept-unpatched ({ACCEPT_VARIABLE}=1), and then {wrong}"
    )


def unpatched_accepted(environ: Mapping[str, str]) -> bool:
    """Tell whether an environment allows to serve what is not known; see `ACCEPT_VARIABLE`."""
    return environ.get(ACCEPT_VARIABLE, "").strip().lower() in {"1", "true", "yes"}


def check_patches(*, accept_unpatched: bool = False) -> None:
    """Raise `UnpatchedError` if a patch does not fit what is installed, unless that is accepted."""
    unknown = unknown_patches()
    if unknown and not accept_unpatched:
        raise UnpatchedError(complaint(unknown))


def apply_patches(*, accept_unpatched: bool = False) -> set[str]:
    """Apply all patches that fit what is installed, once; give their names.

    Raises
    ------
    UnpatchedError
        If one does not fit, unless that is accepted.
    """
    check_patches(accept_unpatched=accept_unpatched)
    unknown = unknown_patches()
    for patch in PATCHES:
        if patch in unknown:
            _LOG.warning("%s is not patched: %s", patch.package, patch.without)
        elif patch.name not in _applied:
            for change in patch.changes:
                change.apply()
            _applied.add(patch.name)
    return set(_applied)


def memoised(to_epsg: Callable[[CRS], int | None]) -> Callable[[CRS], int | None]:
    """Wrap `CRS.to_epsg` with a memory of 256 CRSs, told apart by their text.

    For a CRS without a code, as the BDC's, PROJ searches its whole database: some 75 ms, in each
    request, since datacube-ows makes a new object each time.
    """

    @lru_cache(maxsize=256)
    def of_text(text: str) -> int | None:
        return to_epsg(CRS(text))

    @wraps(to_epsg)
    def remembered(self: CRS) -> int | None:
        return of_text(str(self))

    return remembered


def or_else(measure: Callable[..., float], widest: float) -> Callable[..., float]:
    """Wrap a measure of a view so that it is `widest` where it cannot be computed.

    datacube-ows compares the scale of a view with limits. Of a map that is zoomed out beyond what
    its CRS shows it computes none, and answers with an error.
    """

    @wraps(measure)
    def measured(*args: Any, **kwargs: Any) -> float:
        try:
            return measure(*args, **kwargs)
        except (ArithmeticError, ValueError):
            return widest

    return measured


def reading_all(read_data: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `DataStacker.read_data`: a file that cannot be read fails the request."""

    @wraps(read_data)
    def read_all(*args: Any, **kwargs: Any) -> Any:
        from odc_bdc.ows.failures import read_or_fail  # noqa: PLC0415 (imports an extra)

        return read_or_fail(read_data, *args, **kwargs)

    return read_all


def quick_png(xarray_image_as_png: Callable[..., Any]) -> Callable[..., Any]:
    """Give what writes images with `odc_bdc.ows.images` in the place of datacube-ows."""

    @wraps(xarray_image_as_png)
    def quick(*args: Any, **kwargs: Any) -> Any:
        from odc_bdc.ows.images import dataset_to_png  # noqa: PLC0415 (imports an extra)

        return dataset_to_png(*args, **kwargs)

    return quick


def _zoom_level(prop: property) -> property:
    return property(or_else(prop.fget, -math.inf))  # type: ignore[arg-type]


def all_digests() -> Iterator[tuple[str, str]]:
    """Give each target with the digest of what is there now; for whoever knows a new version."""
    for patch in PATCHES:
        for change in patch.changes:
            yield change.target, digest_of(getattr(*change.owner()))


PATCHES = (
    Patch(
        "epsg_memo",
        "odc-geo",
        (Change("odc.geo.crs:CRS.to_epsg", ("a1df7ec2762b87b7",), memoised),),
        "each map in the BDC's projection takes several times as long",
    ),
    Patch(
        "wide_views",
        "datacube-ows",
        (
            Change(
                "datacube_ows.wms_utils:zoom_factor",
                ("b810ed92b4bef3ce", "5e4c8b75f7dd62ed"),  # of 1.9.14, of 1.9.19
                lambda measure: or_else(measure, 0.0),
            ),
            Change(
                "datacube_ows.resource_limits:RequestScale.base_zoom_level",
                ("1f8f5e55e6a8aa52",),
                _zoom_level,
            ),
        ),
        "maps that are zoomed out beyond the edge of their projection are refused",
    ),
    Patch(
        "read_errors",
        "datacube-ows",
        (Change("datacube_ows.loading:DataStacker.read_data", ("6d49cab4485adff6",), reading_all),),
        "a file that cannot be read is shown as if it had no data, and caches keep that",
    ),
    Patch(
        "quick_png",
        "datacube-ows",
        (Change("datacube_ows.data:xarray_image_as_png", ("bed2bae1eb5c443b",), quick_png),),
        "images are larger and slower",
    ),
)
"""What is changed of others."""
