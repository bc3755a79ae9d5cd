"""Signers that come with odc_bdc: entry points of the group ``odc_bdc.signers``."""

from __future__ import annotations

from odc_bdc.errors import MissingDependencyError


def planetary_computer(href: str) -> str:
    """Sign an address of Microsoft's Planetary Computer.

    Raises
    ------
    MissingDependencyError
        If the package planetary-computer is not installed.
    """
    try:
        from planetary_computer import sign  # noqa: PLC0415 (optional, and few need it)
    except ImportError as e:
        raise MissingDependencyError(
            "addresses of the Planetary Computer are signed by another package: "
            "pip install planetary-computer"
        ) from e
    return str(sign(href))
