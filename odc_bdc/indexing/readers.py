"""Whether datacube finds a reader for a dataset's files in this installation."""

from __future__ import annotations

from datacube.drivers.readers import rdr_cache


def has_reader(protocol: str, file_format: str) -> bool:
    """Tell whether files of a format can be read by a protocol, such as ``file`` or ``s3``."""
    try:
        rdr_cache()(protocol, file_format)
    except KeyError:
        return False
    return True
