"""Directories of TIFF files: read from one that GDAL wrote, and written for another.

After the TIFF 6.0 specification (Adobe, 1992), the BigTIFF proposal of libtiff, and GDAL's
description of the layout of its COGs (structural metadata, leaders and trailers of blocks).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SUBFILE_TYPE, WIDTH, HEIGHT, TILE_OFFSETS, TILE_SIZES = 254, 256, 257, 324, 325
TILE_WIDTH, TILE_HEIGHT = 322, 323
OF_THE_WHOLE = (33550, 33922, 34264, 34735, 34736, 34737, 42112)
"""Georeferencing and metadata, which stand in the directory of the image and in no overview's."""

_LONG, _LONG8 = 4, 16
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}

# What a reader may rely on; GDAL's words. Blocks come with their size before, and with their last
# four bytes again behind.
_STRUCTURE = (
    b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
)
_MARK = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(_STRUCTURE) + _STRUCTURE
LEADER, TRAILER = 4, 4
_CLASSIC_LIMIT = 2**32 - 2**16


@dataclass(frozen=True, slots=True)
class Directory:
    """An image file directory: type and bytes (little-endian) of each tag's values, by tag."""

    tags: Mapping[int, tuple[int, bytes]] = field(default_factory=dict)

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Give the values of a tag of whole numbers."""
        kind, raw = self.tags[tag]
        code = {1: "B", 3: "H", 4: "I", 16: "Q"}[kind]
        return struct.unpack(f"<{len(raw) // _SIZES[kind]}{code}", raw)

    def having(self, tags: Mapping[int, Sequence[int]]) -> Directory:
        """Give a directory with other whole numbers (32 bits) in some tags."""
        changed = {tag: (_LONG, struct.pack(f"<{len(v)}I", *v)) for tag, v in tags.items()}
        return replace(self, tags={**self.tags, **changed})

    def without(self, tags: Sequence[int]) -> Directory:
        """Give a directory that lacks some tags."""
        return replace(self, tags={k: v for k, v in self.tags.items() if k not in tags})

    def blocks(self, file: memoryview | bytes) -> Iterator[memoryview]:
        """Give the encoded blocks of the file that the directory was read from."""
        whole = memoryview(file)
        for at, size in zip(self.numbers(TILE_OFFSETS), self.numbers(TILE_SIZES), strict=True):
            yield whole[at : at + size]


def read_directory(file: memoryview | bytes) -> Directory:
    """Read the first directory of a little-endian TIFF or BigTIFF file in memory."""
    big = struct.unpack_from("<H", file, 2)[0] == 43
    at = struct.unpack_from("<Q", file, 8)[0] if big else struct.unpack_from("<I", file, 4)[0]
    count = struct.unpack_from("<Q" if big else "<H", file, at)[0]
    at += 8 if big else 2
    entry = struct.Struct("<HHQ8s" if big else "<HHI4s")
    tags = {}
    for tag, kind, number, inline in entry.iter_unpack(file[at : at + count * entry.size]):
        size = number * _SIZES[kind]
        if size > len(inline):
            (place,) = struct.unpack("<Q" if big else "<I", inline)
            raw = bytes(file[place : place + size])
        else:
            raw = inline[:size]
        tags[tag] = kind, raw
    return Directory(tags)


def layout(
    directories: Sequence[Directory], sizes: Sequence[Sequence[int]]
) -> tuple[bytes, list[list[int]]]:
    """Lay out a COG: all directories first, then the blocks, those of the last image first.

    Parameters
    ----------
    directories
        Of the image and its overviews; what they say of their blocks is written anew.
    sizes
        Bytes of each one's blocks, in order of rows.

    Returns
    -------
    tuple
        All that comes before the blocks, and where each block begins; its leader lies before.
    """
    body = sum(LEADER + TRAILER + size for level in sizes for size in level)
    # A directory takes its tags' bytes, offsets and sizes of blocks, and its entries.
    heads = sum(len(raw) + 40 for d in directories for _, raw in d.tags.values())
    heads += sum(24 * len(level) for level in sizes) + 4096
    big = body + heads > _CLASSIC_LIMIT
    empty = [[0] * len(level) for level in sizes]
    at = len(_head(directories, empty, sizes, big=big))
    offsets: list[list[int]] = [[] for _ in sizes]
    for number in reversed(range(len(sizes))):
        for size in sizes[number]:
            offsets[number].append(at + LEADER)
            at += LEADER + size + TRAILER
    return _head(directories, offsets, sizes, big=big), offsets


def framed(block: memoryview | bytes) -> bytes:
    """Give a block with its leader and its trailer."""
    return struct.pack("<I", len(block)) + bytes(block) + bytes(block[-TRAILER:]).rjust(TRAILER)


def _head(
    directories: Sequence[Directory],
    offsets: Sequence[Sequence[int]],
    sizes: Sequence[Sequence[int]],
    *,
    big: bool,
) -> bytes:
    """Write header, mark and directories; the result is as long whatever the offsets are."""
    start = 16 if big else 8
    out = bytearray(struct.pack("<HHHHQ", 0x4949, 43, 8, 0, 0) if big else b"II*\0\0\0\0\0")
    out += _MARK
    link = start - (8 if big else 4)  # where the place of the next directory is written
    kind, code = (_LONG8, "Q") if big else (_LONG, "I")
    for directory, at, size in zip(directories, offsets, sizes, strict=True):
        tags = dict(directory.tags)
        tags[TILE_OFFSETS] = kind, struct.pack(f"<{len(at)}{code}", *at)
        tags[TILE_SIZES] = _LONG, struct.pack(f"<{len(size)}I", *size)
        out += b"\0" * (len(out) % 2)
        struct.pack_into(f"<{code}", out, link, len(out))
        link = _append(out, tags, big=big)
    return bytes(out)


def _append(out: bytearray, tags: Mapping[int, tuple[int, bytes]], *, big: bool) -> int:
    """Append a directory, and what does not fit into its entries; give where its link lies."""
    word, code = (8, "Q") if big else (4, "I")
    entry = struct.Struct(f"<HH{code}{word}s")
    begin = len(out) + (8 if big else 2)
    link = begin + len(tags) * entry.size
    place = link + word
    entries, values = bytearray(), bytearray()
    for tag, (kind, raw) in sorted(tags.items()):
        inline = raw.ljust(word, b"\0")
        if len(raw) > word:
            inline = struct.pack(f"<{code}", place + len(values))
            values += raw + b"\0" * (len(raw) % 2)
        entries += entry.pack(tag, kind, len(raw) // _SIZES[kind], inline)
    out += struct.pack("<Q" if big else "<H", len(tags)) + entries + b"\0" * word + values
    return link
