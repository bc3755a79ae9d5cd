"""What could not be done for a reason that is not the client's, and may be mended.

A file that cannot be read makes an answer that says so. Stock datacube-ows gives a transparent
image or a coverage without values instead, which clients and caches keep.
"""

from __future__ import annotations

import logging
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import flask
from datacube import Datacube
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from odc_bdc.errors import OdcBdcError, first_line
from odc_bdc.formats import LIVE_FORMAT
from odc_bdc.ows.caching import MAX_AGE
from odc_bdc.ows.exceptions import INVALID, Refusal, Unavailable
from odc_bdc.ows.guard import internal_error
from odc_bdc.ows.limits import admit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import xarray as xr
    from datacube.model import Dataset

_LOG = logging.getLogger(__name__)


class UnreadableDataError(Exception):
    """Files of datasets cannot be read; the log names them."""


def read_or_fail(load: Callable[..., xr.Dataset], *args: Any, **kwargs: Any) -> xr.Dataset:
    """Read pixels, every one of them.

    Parameters
    ----------
    load
        `DataStacker.read_data` of datacube-ows, which is called with the other arguments.

    Raises
    ------
    Refusal
        If it is too much (`odc_bdc.ows.limits`), before anything is read.
    UnreadableDataError
        If a file cannot be read; the log names the datasets whose files cannot.
    """
    datasets = args[1] if len(args) > 1 else kwargs["datasets"]
    if len(args) > 3:
        admit(*args[:4])
    is_live = any(d.format == LIVE_FORMAT for group in datasets.values for d in group)
    if is_live:
        # A scene may be replaced in place, of which the index knows nothing: servers, which keep
        # images under what the index says, must not keep this one.
        flask.after_this_request(_for_the_client_only)
    try:
        return load(*args, **{**kwargs, "skip_broken": False})
    except Exception as e:
        live = next((c for c in causes(e) if isinstance(c, OdcBdcError)), None)
        if is_live and live is not None:
            # It names the file. To try each dataset by itself would keep everybody waiting for a
            # server of scenes that does not answer.
            names = sorted({d.product.name for group in datasets.values for d in group})
            _LOG.error("cannot read a live image of %s: %s", ", ".join(names), first_line(live))
            raise UnreadableDataError(str(e)) from e
        for scene, reason in _unreadable(load, datasets, args, kwargs):
            _LOG.error("cannot read dataset %s (%s): %s", scene.id, scene.uri, reason)
        raise UnreadableDataError(str(e)) from e


def _for_the_client_only(response: flask.Response) -> flask.Response:
    if response.status_code == HTTPStatus.OK:
        response.headers["Cache-Control"] = f"private, max-age={MAX_AGE}"
    return response


def _unreadable(
    load: Callable[..., xr.Dataset],
    datasets: xr.DataArray,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Iterator[tuple[Dataset, Exception]]:
    """Read the datasets one by one, and give those that cannot be."""
    group = Datacube.group_datasets
    for scene in (dataset for group_ in datasets.values for dataset in group_):
        alone = group([scene], "time")
        try:
            if len(args) > 1:
                load(args[0], alone, *args[2:], **{**kwargs, "skip_broken": False})
            else:
                load(*args, **{**kwargs, "datasets": alone, "skip_broken": False})
        except Exception as e:  # noqa: BLE001 (whatever a driver raises)
            yield scene, e


def refusals_of(errors: Sequence[Mapping[str, Any]], status: int) -> list[Refusal]:
    """Say what an exception of datacube-ows means, from its errors and what caused it.

    Parameters
    ----------
    errors
        As in `OGCException.errors` of datacube-ows: ``msg``, ``code``, ``locator``, ``valid_keys``.
    status
        The HTTP status that datacube-ows would answer with.
    """
    known = _known_cause(sys.exc_info()[1])
    if known is not None:
        return [known]
    if status >= 500:
        return [internal_error()]
    return [
        Refusal(
            _message(error),
            error["code"] or "",
            _locator(error["locator"]),
            status=status if status not in {200, 400} else None,
        )
        for error in errors
    ]


def _message(error: Mapping[str, Any]) -> str:
    allowed = [str(key) for key in error.get("valid_keys") or ()]
    message = str(error["msg"]).rstrip(".")
    return f"{message}: {', '.join(allowed)} are known" if allowed else f"{message}."


def _locator(text: object) -> str:
    """Give the name of the parameter of which datacube-ows writes, such as ``Layer parameter``."""
    return str(text or "").removesuffix(" parameters").removesuffix(" parameter").lower()


def _known_cause(error: BaseException | None) -> Refusal | None:
    for cause in causes(error):
        if isinstance(cause, Refusal):
            return cause
        if isinstance(cause, UnreadableDataError):
            return Unavailable("A file of the images that this is made of cannot be read.")
        if is_outage(cause):
            _LOG.warning("the index cannot be reached: %s", type(cause).__name__)
            return Unavailable("The index cannot be reached; try again.")
        if isinstance(cause, MemoryError):
            return Unavailable("There is not enough memory for this now; ask for less.")
        known = _of_client(cause)
        if known is not None:
            return known
    return None


def is_outage(error: BaseException) -> bool:
    """Tell whether an error means that the database is away, or too busy."""
    if isinstance(error, DBAPIError):
        return isinstance(error, OperationalError) or error.connection_invalidated
    return isinstance(error, (DisconnectionError, PoolTimeoutError))


def _of_client(error: BaseException) -> Refusal | None:
    """Recognise what the libraries of WCS 2 raise over wrong parameters."""
    from odc_bdc.ows import upstream  # noqa: PLC0415 (an extra)

    if isinstance(error, upstream.ResourceLimited):
        limit = "max_image_size" if error.wcs_hard else "max_datasets"
        return Refusal(
            f"too much for one request: {', '.join(error.reasons)}; the limit is {limit} of the "
            "layer's resource_limits: ask for fewer pixels or bands, or a smaller area",
            INVALID,
        )

    if isinstance(error, upstream.WCSScalerUnknownDimension):
        return Refusal(f"the coverage has no axis {error.dim}", "InvalidAxisLabel", error.dim)
    if isinstance(error, upstream.WCSScalerException):
        return Refusal("an axis is scaled twice, or to nothing", "InvalidScaleFactor", "scale")
    if type(error).__module__.startswith("ows."):
        code = getattr(error, "code", None) or INVALID
        return Refusal(str(error), code, str(getattr(error, "locator", None) or ""))
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error and those that led to it, the last first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
