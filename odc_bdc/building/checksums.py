"""Checksums of the files of an image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_CHUNK = 1 << 20
_SHA256 = "1220"
"""How a multihash of SHA-256 begins: its code, and its 32 bytes."""


@dataclass(frozen=True, slots=True)
class FileDigest:
    """What identifies the bytes of a file.

    Attributes
    ----------
    size
        In bytes.
    sha1, sha256
        In hexadecimal digits.
    """

    size: int
    sha1: str
    sha256: str

    @property
    def multihash(self) -> str:
        """SHA-256 as multihash, in the form of STAC's file extension and of the BDC's items."""
        return _SHA256 + self.sha256


def digest_file(path: Path) -> FileDigest:
    """Read a file once for all of its checksums; `OSError` if it cannot be read."""
    # SHA-1 is what files of checksums in the Open Data Cube hold; it guards nobody against intent.
    sha1, sha256, size = hashlib.sha1(usedforsecurity=False), hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            sha1.update(chunk)
            sha256.update(chunk)
            size += len(chunk)
    return FileDigest(size, sha1.hexdigest(), sha256.hexdigest())


def sha1_lines(files: Iterable[tuple[str, FileDigest]]) -> str:
    """Write the file of checksums that `eodatasets3` reads: digest, tab, name, sorted by name."""
    return "".join(f"{digest.sha1}\t{name}\n" for name, digest in sorted(files))
