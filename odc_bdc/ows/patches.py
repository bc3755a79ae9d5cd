"""What must be changed in other packages. Nothing else of odc_bdc patches anything.

Each patch is for the versions that it was tried with; with others it is left out, with a warning
in the log, and the services still work: slower, with tracebacks in their error messages, or with
an error instead of an extent.
"""

from __future__ import annotations

import logging
import math
import sys
from copy import copy
from functools import lru_cache, partial, wraps
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from odc.geo.crs import CRS

from odc_bdc.ows.describe import (
    coverage_crss,
    crs_uri,
    describe_1,
    describe_2,
    described,
)
from odc_bdc.ows.exceptions import answer
from odc_bdc.ows.guard import OUTAGE, protocol_in
from odc_bdc.ows.tiles import asked_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOG = logging.getLogger(__name__)
_applied: set[str] = set()


class Patch(NamedTuple):
    """A change of another package: name, the package, beginnings of versions, and what does it."""

    name: str
    package: str
    versions: tuple[str, ...]
    apply: Callable[[], None]


def apply_patches() -> set[str]:
    """Apply all patches that fit the installed versions, once; give their names."""
    for patch in PATCHES:
        if patch.name in _applied:
            continue
        installed = version(patch.package)
        if installed.startswith(patch.versions):
            patch.apply()
            _applied.add(patch.name)
        else:
            _LOG.warning("%s %s is not known: %s left out", patch.package, installed, patch.name)
    return set(_applied)


def remember_epsg() -> None:
    """Look up the EPSG code of a CRS once per process instead of once per object.

    For a CRS without a code, as the BDC's, PROJ searches its whole database: some 75 ms, in each
    request, since datacube-ows makes a new object each time.
    """
    CRS.to_epsg = memoised(CRS.to_epsg)


def memoised(to_epsg: Callable[[CRS], int | None]) -> Callable[[CRS], int | None]:
    """Wrap `CRS.to_epsg` with a memory of 256 CRSs, told apart by their text."""

    @lru_cache(maxsize=256)
    def of_text(text: str) -> int | None:
        return to_epsg(CRS(text))

    @wraps(to_epsg)
    def remembered(self: CRS) -> int | None:
        return of_text(str(self))

    return remembered


def search_completely() -> None:
    """Use `odc_bdc.ows.search.CompleteIndex` in the place of datacube-ows's own index."""
    from datacube_ows.index.postgis.api import OWSPostgisIndexDriver  # noqa: PLC0415 (an extra)

    from odc_bdc.ows.search import CompleteIndex  # noqa: PLC0415 (imports an extra)

    OWSPostgisIndexDriver._driver = CompleteIndex()  # noqa: SLF001 (a class of its own has it)


def measure_wide_views() -> None:
    """Take a view whose scale cannot be computed for the widest that there is.

    datacube-ows compares the scale with limits. Of a map that is zoomed out beyond what its CRS
    shows it computes none, and answers with an error.
    """
    from datacube_ows import resource_limits, wms_utils  # noqa: PLC0415 (an extra)

    wms_utils.zoom_factor = or_else(wms_utils.zoom_factor, 0.0)
    scale = resource_limits.RequestScale
    scale.base_zoom_level = property(or_else(scale.base_zoom_level.fget, -math.inf))
    scale.load_adjusted_zoom_level = property(
        or_else(scale.load_adjusted_zoom_level.fget, -math.inf)
    )


def or_else(measure: Callable[..., float], widest: float) -> Callable[..., float]:
    """Wrap a measure of a view so that it is `widest` where it cannot be computed."""

    @wraps(measure)
    def measured(*args: Any, **kwargs: Any) -> float:
        try:
            return measure(*args, **kwargs)
        except (ArithmeticError, ValueError):
            return widest

    return measured


def draw_from_overviews() -> None:
    """Draw maps that are zoomed out from overviews, see `odc_bdc.ows.overviews`.

    datacube-ows parses the name of a product for that, and passes it over when it looks for the
    datasets of a map with a style.
    """
    from datacube_ows.loading import DataStacker  # noqa: PLC0415 (an extra)

    from odc_bdc.ows.overviews import overview_datasets  # noqa: PLC0415 (imports an extra)

    count, find = DataStacker.n_datasets, DataStacker.datasets

    @wraps(count)
    def count_fewer(self: Any) -> int:
        self.odc_bdc_overviews = overview_datasets(self)
        if self.odc_bdc_overviews is None:
            return int(count(self))
        return sum(len(group) for d in self.odc_bdc_overviews.values() for group in d.values)

    @wraps(find)
    def find_fewer(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = getattr(self, "odc_bdc_overviews", None)
        if found is None and self.resource_limited:
            found = overview_datasets(self, outdated=True)
        return find(self, *args, **kwargs) if found is None else found

    DataStacker.n_datasets, DataStacker.datasets = count_fewer, find_fewer


def tell_read_errors() -> None:
    """Let a file that cannot be read fail the request, see `odc_bdc.ows.failures`."""
    from datacube_ows.loading import DataStacker  # noqa: PLC0415 (an extra)

    from odc_bdc.ows.failures import read_or_fail  # noqa: PLC0415 (imports datacube)

    read_data = DataStacker.read_data

    @wraps(read_data)
    def read_all(*args: Any, **kwargs: Any) -> Any:
        return read_or_fail(read_data, *args, **kwargs)

    DataStacker.read_data = read_all


def describe_grids() -> None:
    """Describe coverages with `odc_bdc.ows.describe` instead of datacube-ows."""
    from datacube_ows import wcs1, wcs2  # noqa: PLC0415 (an extra)
    from datacube_ows.ogc_exceptions import WCS1Exception, WCS2Exception  # noqa: PLC0415 (an extra)

    unknown = {
        "coverage": WCS1Exception.COVERAGE_NOT_DEFINED,
        "coverageid": WCS2Exception.NO_SUCH_COVERAGE,
    }

    def describing(
        parameter: str, write: Callable[..., bytes], error: type[Exception]
    ) -> Callable[..., tuple[bytes, int, dict[str, str]]]:
        def desc_coverages(cfg: Any, args: Any) -> tuple[bytes, int, dict[str, str]]:
            served = {name: la for name, la in cfg.layer_index.items() if la.ready and la.wcs}
            names = [name for name in (args.get(parameter) or "").split(",") if name]
            for name in names:
                if name not in served:
                    raise error(f"no coverage {name}", unknown[parameter], parameter)
            layers = [served[name] for name in names or served]
            headers = {"Content-Type": "application/xml", "Cache-Control": "no-cache"}
            body = write([described(cfg, layer) for layer in layers])
            return body, 200, cfg.response_headers(headers)

        return desc_coverages

    wcs1.desc_coverages = describing("coverage", describe_1, WCS1Exception)
    wcs2.desc_coverages = describing("coverageid", describe_2, WCS2Exception)


def serve_latest_coverage() -> None:
    """Serve the latest date of a WCS 2.0 coverage to a request without one, as WCS 1.0 does.

    datacube-ows refuses it, and clients such as GDAL ask for no date unless told to.
    """
    from datacube_ows import wcs2  # noqa: PLC0415 (an extra)
    from ows.wcs.v20 import Slice  # noqa: PLC0415 (a dependency of the extra)

    get_coverage_data = wcs2.get_coverage_data

    @wraps(get_coverage_data)
    def of_one_date(cfg: Any, request: Any, *args: Any) -> Any:
        layer = cfg.layer_index.get(request.coverage_id)
        dated = any(subset.dimension.lower() == "time" for subset in request.subsets)
        if layer is not None and layer.ready and not dated:
            latest = Slice("time", layer.ranges.times[-1].isoformat())
            request.subsets = [*request.subsets, latest]
        return get_coverage_data(cfg, request, *args)

    wcs2.get_coverage_data = of_one_date


def expand_intervals() -> None:
    """Expand intervals of bands before datacube-ows does, which gets those of one band wrong."""
    from datacube_ows import wcs2  # noqa: PLC0415 (an extra)

    from odc_bdc.ows.coverage import expanded  # noqa: PLC0415 (slow to import)

    get_coverage_data = wcs2.get_coverage_data

    @wraps(get_coverage_data)
    def of_named_bands(cfg: Any, request: Any, *args: Any) -> Any:
        layer = cfg.layer_index.get(request.coverage_id)
        if layer is not None and layer.ready and request.range_subset:
            request.range_subset = expanded(layer, request.range_subset)
        return get_coverage_data(cfg, request, *args)

    wcs2.get_coverage_data = of_named_bands


def write_valid_capabilities() -> None:
    """Make capabilities of WCS 2 valid: OWS Common 2.0, and CRSs as URIs (OGC 11-053r1)."""
    from datacube_ows import wcs2  # noqa: PLC0415 (an extra)
    from ows.wcs.v20 import encoders  # noqa: PLC0415 (a dependency of the extra)

    class ValidCapabilities(wcs2.ServiceCapabilities):
        @classmethod
        def with_defaults_v20(cls, *args: Any, **kwargs: Any) -> Any:
            kwargs["provider_name"] = kwargs["provider_name"] or kwargs["organisation_name"]
            kwargs["crss_supported"] = [
                crs_uri(name) for name in coverage_crss(kwargs["crss_supported"])
            ]
            return super().with_defaults_v20(*args, **kwargs)

    encode = encoders.encode_wgs84_bounding_box

    @wraps(encode)
    def without_dimension(box: Any) -> Any:
        element = encode(box)
        # There is none but that of two.
        element.attrib.pop("dimension", None)
        return element

    wcs2.ServiceCapabilities = ValidCapabilities
    encoders.encode_wgs84_bounding_box = without_dimension


def order_keywords() -> None:
    """Let keywords have an order, which sets have not: documents differ with each start else."""
    from datacube_ows.config_utils import OWSMetadataConfig  # noqa: PLC0415 (an extra)

    OWSMetadataConfig.keywords = property(lambda self: InOrder(self._keywords))


class InOrder(set[str]):
    """A set of texts that is gone through in alphabetical order.

    Examples
    --------
    >>> list(InOrder({"b", "c", "a"}))
    ['a', 'b', 'c']
    """

    def __iter__(self) -> Iterator[str]:
        """Give the texts in order."""
        return iter(sorted(super().__iter__()))


def write_png_quickly() -> None:
    """Write images with `odc_bdc.ows.images` instead of datacube-ows."""
    from datacube_ows import data  # noqa: PLC0415 (an extra)

    from odc_bdc.ows.images import dataset_to_png  # noqa: PLC0415 (imports an extra)

    data.xarray_image_as_png = dataset_to_png


def read_one_field() -> None:
    """Read the field of a dataset's document that is asked for, and not all others as well."""
    from datacube.utils.documents import DocReader  # noqa: PLC0415 (slow to import)

    DocReader.__getattr__ = one_field(DocReader.__getattr__)


def one_field(every: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """Wrap `DocReader.__getattr__`, which reads all fields to give one of them."""
    from datacube.utils.documents import get_doc_offset  # noqa: PLC0415 (slow to import)

    @wraps(every)
    def read(self: Any, name: str) -> Any:
        known = self.__dict__
        if name in known["_system_offsets"]:
            return get_doc_offset(known["_system_offsets"][name], known["_doc"])
        field = known["_search_fields"].get(name)
        if field is not None and field.can_extract:
            return field.extract(known["_doc"])
        return every(self, name)  # which raises

    return read


def keep_products(cfg: Any) -> None:
    """Let the indexes of a configuration of datacube-ows read their products once.

    Each search reads all of them anew, which costs more the more there are. The layers of
    datacube-ows keep the products of its start as well.
    """
    for dc in cfg.all_dcs.values():
        known = list(dc.index.products.get_all())
        if known:
            dc.index.products.get_all = partial(iter, known)


def remember_geometry() -> None:
    """Compute once how the pixels of a file lie in an image, and not anew for each of its bands."""
    from datacube.storage import _read  # noqa: PLC0415 (slow to import)

    _read.compute_reproject_roi = remembered_roi(_read.compute_reproject_roi)


def remembered_roi(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `compute_reproject_roi` with a memory of 64 pairs of pixel grids."""
    known = lru_cache(maxsize=64)(compute)

    @wraps(compute)
    def roi(*args: Any, **kwargs: Any) -> Any:
        # datacube changes what it gets.
        return copy(known(*args, **kwargs))

    return roi


def make_tiles_of_their_size() -> None:
    """Make tiles of the size that their tile matrix set says, where datacube-ows makes 256."""
    from datacube_ows import wmts  # noqa: PLC0415 (an extra)

    wmts.wmts_args_to_wms = asked_size(wmts.wmts_args_to_wms)


def hide_internals() -> None:
    """Answer with exceptions in the request's own format, and keep the server's inside out of them.

    datacube-ows writes WMS 1.1.1 and WMTS exceptions as WMS 1.3.0, codes and tracebacks of WCS 2
    not at all, and paths of the server into messages. What is hidden is in the log.
    """
    from datacube_ows import feature_info  # noqa: PLC0415 (an extra)
    from datacube_ows.ogc_exceptions import OGCException, WCS2Exception  # noqa: PLC0415 (an extra)

    feature_info.get_s3_browser_uris = public_links(feature_info.get_s3_browser_uris)
    for cls in (OGCException, WCS2Exception):
        cls.exception_response = respond


def respond(error: Any, cfg: Any, traceback: Any = None) -> tuple[bytes, int, dict[str, str]]:  # noqa: ARG001 (its interface)
    """Write the answer to an `OGCException` of datacube-ows (its interface)."""
    from flask import request  # noqa: PLC0415 (an extra)

    from odc_bdc.ows.failures import causes, is_outage, refusals_of  # noqa: PLC0415 (imports an extra)

    if any(map(is_outage, causes(sys.exc_info()[1]))):
        request.environ[OUTAGE] = True
    sent = answer(protocol_in(request.environ), refusals_of(error.errors, error.http_response))
    return sent.body, sent.status, cfg.response_headers(sent.headers)


def public_links(links: Callable[..., set[str]]) -> Callable[..., set[str]]:
    """Wrap what gives a feature info its links to data: files of the server are of no use there."""

    @wraps(links)
    def without_files(*args: Any, **kwargs: Any) -> set[str]:
        return {link for link in links(*args, **kwargs) if not link.startswith("file:")}

    return without_files


_OWS = ("datacube-ows", ("1.9.14",))
_DATACUBE = ("datacube", ("1.9.20",))
PATCHES = (
    Patch("epsg_memo", "odc-geo", ("0.5.",), remember_epsg),
    Patch("one_field", *_DATACUBE, read_one_field),
    Patch("one_geometry", *_DATACUBE, remember_geometry),
    Patch("quiet_errors", *_OWS, hide_internals),
    Patch("complete_search", *_OWS, search_completely),
    Patch("wide_views", *_OWS, measure_wide_views),
    Patch("overviews", *_OWS, draw_from_overviews),
    Patch("read_errors", *_OWS, tell_read_errors),
    Patch("describe_grids", *_OWS, describe_grids),
    Patch("latest_coverage", *_OWS, serve_latest_coverage),
    Patch("band_intervals", *_OWS, expand_intervals),
    Patch("keyword_order", *_OWS, order_keywords),
    Patch("valid_wcs_2", *_OWS, write_valid_capabilities),
    Patch("quick_png", *_OWS, write_png_quickly),
    Patch("tile_size", *_OWS, make_tiles_of_their_size),
)
"""What is changed of others."""
