"""The file system of a path or address, and what it says when it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import fsspec

from odc_bdc.errors import InvalidValueError, MissingDependencyError, OdcBdcError, SourceError
from odc_bdc.indexing.sources.stac import protocol_of

_T = TypeVar("_T")


def file_system(href: str, **options: Any) -> tuple[Any, str]:
    """Give the file system of a path or address, and the path in it.

    Parameters
    ----------
    options
        For `fsspec`, where it is remote.

    Raises
    ------
    MissingDependencyError
        If the package for such addresses is not installed.
    InvalidValueError
        If nobody knows such addresses.
    SourceError
        If it is an address within another.
    """
    protocol = protocol_of(href)
    if protocol == "file":
        path = unquote(urlsplit(href).path) if "://" in href else href
        return fsspec.filesystem(protocol), path
    if "::" in href:
        raise SourceError(f"{href}: addresses within addresses are not followed")
    try:
        filesystem, path = fsspec.core.url_to_fs(href, **options)
    except ImportError as e:
        raise MissingDependencyError(
            f"{href}: addresses of {protocol} need another package: "
            + ("pip install 'odc_bdc[s3]'" if protocol == "s3" else words(e))
        ) from e
    except ValueError as e:
        raise InvalidValueError(
            f"{href}: {protocol}:// is not known; give a path, or an address of http, https or s3"
        ) from e
    return filesystem, path


def asked(
    href: str,
    ask: Callable[[], _T],
    *,
    doing: str = "read",
    error: type[OdcBdcError] = SourceError,
) -> _T:
    """Ask a file system; whatever its library raises becomes an `error` of one line.

    Parameters
    ----------
    doing
        What could not be done then: ``read`` or ``written``.
    """
    try:
        return ask()
    except FileNotFoundError as e:
        what = "no such file" if doing == "read" else f"cannot be {doing}: there is no such bucket"
        raise error(f"{href}: {what}") from e
    except PermissionError as e:
        raise error(f"{href}: access is denied; {access_advice(href)}") from e
    except Exception as e:  # each library has exceptions of its own
        what = access_advice(href) if type(e).__name__ == "NoCredentialsError" else words(e)
        raise error(f"{href}: cannot be {doing}: {what}") from e


def words(error: BaseException) -> str:
    """Give what an error says on one line that is not too long."""
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


def access_advice(href: str) -> str:
    """Say what to do where access is denied."""
    if not href.startswith("s3://"):
        return "see who may read it"
    return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or FSSPEC_S3_ANON=true if it is open"
