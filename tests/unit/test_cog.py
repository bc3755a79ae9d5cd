"""Bands as Cloud Optimized GeoTIFFs."""

import errno
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pyproj
import pytest
import rasterio
import rasterio.crs
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.io import MemoryFile
from rio_cogeo import cog_validate

from odc_bdc.cog import DEFLATE, ZSTD, CogWriter, Compression, Pyramid, write_cog
from odc_bdc.cog.tiff import Directory, layout, read_directory
from odc_bdc.errors import InvalidValueError
from odc_bdc.grid import BDC_CRS, BDC_PROJ, normalise_crs

TYPES = [("float32", np.nan), ("int16", -9999), ("uint8", None), ("uint16", 0)]


def grid(rows, columns):
    return GeoBox.from_bbox((0, 0, columns, rows), "EPSG:32723", resolution=1)


def image(rows, columns, dtype, nodata):
    pixels = np.linspace(-2 if dtype == "int16" else 0, 30000, rows * columns)
    pixels = pixels.reshape(rows, columns).astype(dtype)
    if nodata is not None:
        pixels[:, : columns // 6] = nodata
    return pixels


@pytest.mark.parametrize(("dtype", "nodata"), TYPES)
@pytest.mark.parametrize("compression", [ZSTD, DEFLATE], ids=lambda c: c.name)
def test_pixels_and_nodata_come_back(tmp_path, dtype, nodata, compression):
    pixels = image(1301, 523, dtype, nodata)
    path = tmp_path / "band.tif"
    write_cog(
        path, pixels, grid(1301, 523), nodata=nodata, blocksize=256, compression=compression,
        description="SAVI",
    )  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["band.tif"]
    assert cog_validate(str(path), strict=True, quiet=True) == (True, [], [])
    with rasterio.open(path) as src:
        assert src.dtypes == (dtype,)
        assert src.descriptions == ("SAVI",)
        assert src.crs.to_epsg() == 32723
        assert src.transform == grid(1301, 523).affine
        np.testing.assert_equal(src.nodata, nodata)
        structure = src.tags(ns="IMAGE_STRUCTURE")
        assert structure["PREDICTOR"] == ("3" if dtype == "float32" else "2")
        assert (structure["LAYOUT"], structure["COMPRESSION"]) == ("COG", compression.name)
        assert src.overviews(1) == [2, 4, 8]
        np.testing.assert_array_equal(src.read(1), pixels)
        if nodata is not None:
            assert src.read(1, masked=True).mask[:, :80].all()
    for level in range(3):
        with rasterio.open(path, overview_level=level) as src:
            np.testing.assert_equal(src.nodata, nodata)
            np.testing.assert_array_equal(src.read(1), gdal_overview(pixels, level))


def gdal_overview(pixels, level, blocksize=256):
    """Give what GDAL's COG driver makes of nearest pixels."""
    rows, columns = pixels.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="COG",
            width=columns,
            height=rows,
            count=1,
            dtype=pixels.dtype.name,
            blocksize=blocksize,
            overview_resampling="NEAREST",
            crs="EPSG:32723",
            transform=grid(rows, columns).affine,
        ) as file:
            file.write(pixels, 1)
        with memory.open(overview_level=level) as src:
            return src.read(1)


@pytest.mark.parametrize("nodata", [None, 0, -9999, 255, np.nan])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_blocks_of_one_value_are_not_taken_for_others(tmp_path, dtype, nodata):
    """A block that a file leaves out is nodata to readers, and zero only where there is none."""
    if dtype == "uint8" and nodata is not None and not 0 <= nodata <= 255:
        nodata = 4
    if dtype == "int16" and nodata is not None and np.isnan(nodata):
        nodata = 1
    values = [0, 255, 7 if nodata is None else nodata]
    pixels = np.zeros((300, 520), dtype)
    for number, value in enumerate(values):
        pixels[:, 100 * number : 100 * number + 100] = value
        pixels[:, 320 + 64 * number : 384 + 64 * number] = value
    path = tmp_path / "band.tif"
    write_cog(path, pixels, grid(300, 520), nodata=nodata, blocksize=64)
    for level, step in ((None, 1), (0, 2), (1, 4)):
        options = {} if level is None else {"overview_level": level}
        with rasterio.open(path, **options) as src:
            np.testing.assert_array_equal(src.read(1), pixels[::step, ::step])
    for value in values:  # all of it one value
        whole = np.full((70, 130), value, dtype)
        write_cog(path, whole, grid(70, 130), nodata=nodata, blocksize=64)
        with rasterio.open(path) as src:
            np.testing.assert_array_equal(src.read(1), whole)
        assert cog_validate(str(path), strict=True, quiet=True)[0]


@settings(max_examples=25)
@given(rows=st.integers(16, 900), columns=st.integers(16, 900))
def test_overviews_take_the_pixels_that_gdal_takes(rows, columns):
    levels = Pyramid.of((rows, columns), 128).levels
    number = np.arange(rows * columns, dtype="int32").reshape(rows, columns)
    for k, level in enumerate(levels[1:]):
        wanted = gdal_overview(number, k, 128)
        np.testing.assert_array_equal(number[np.ix_(level.rows, level.columns)], wanted)
    assert max(levels[-1].shape) <= 128


@st.composite
def cuts(draw, size):
    inner = draw(st.lists(st.integers(1, size - 1), max_size=5, unique=True))
    edges = [0, *sorted(inner), size]
    return [slice(a, b) for a, b in pairwise(edges)]


@settings(max_examples=30)
@given(data=st.data(), rows=st.integers(2, 300), columns=st.integers(2, 300))
def test_windows_of_any_shape_and_order_give_the_same_file(tmp_path_factory, data, rows, columns):
    folder = tmp_path_factory.mktemp("cog")
    pixels = np.random.default_rng(rows).integers(0, 99, (rows, columns)).astype("int16")
    write_cog(folder / "whole.tif", pixels, grid(rows, columns), nodata=-1, blocksize=64)
    # Each strip of rows is cut into columns of its own.
    windows = [(r, c) for r in data.draw(cuts(rows)) for c in data.draw(cuts(columns))]
    shuffled = data.draw(st.permutations(windows))
    with (
        CogWriter(
            folder / "parts.tif", grid(rows, columns), "int16", nodata=-1, blocksize=64
        ) as writer,
        ThreadPoolExecutor(3) as pool,
    ):
        list(pool.map(lambda w: writer.write(w, pixels[w]), shuffled))
    assert (folder / "parts.tif").read_bytes() == (folder / "whole.tif").read_bytes()


def test_the_crs_of_the_bdc_has_a_name(tmp_path):
    geobox = GeoBox.from_bbox((5_000_000, 10_000_000, 5_000_640, 10_000_640), BDC_CRS, shape=10)
    write_cog(tmp_path / "band.tif", np.ones((10, 10), "int16"), geobox, nodata=0)
    with rasterio.open(tmp_path / "band.tif") as src:
        assert pyproj.CRS(src.crs.to_wkt()).name == "SIRGAS 2000 / Brazil Albers"
        assert normalise_crs(src.crs) == BDC_CRS
        assert src.crs.to_dict() == rasterio.crs.CRS.from_string(BDC_PROJ).to_dict()


def test_a_file_that_lacks_pixels_is_not_left(tmp_path):
    writer = CogWriter(tmp_path / "a.tif", grid(100, 100), "uint8", nodata=None, blocksize=64)
    with pytest.raises(ValueError, match=r"a\.tif: \d blocks lack pixels"), writer:
        writer.write((slice(0, 100), slice(0, 99)), np.zeros((100, 99), "uint8"))
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_nothing(tmp_path):
    writer = CogWriter(tmp_path / "a.tif", grid(100, 100), "uint8", nodata=None)
    whole = slice(0, 100), slice(0, 100)

    def fail():
        with writer:
            writer.write(whole, np.zeros((100, 100), "uint8"))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "level"), [("LZW", 1), ("ZSTD", 23), ("DEFLATE", 0)])
def test_compressions_that_there_are_not(name, level):
    with pytest.raises(InvalidValueError, match=r"LZW|level"):
        Compression(name, level)


NO_ROOM = """
    import numpy as np, resource, signal, sys
    from pathlib import Path
    from odc.geo.geobox import GeoBox
    from odc_bdc.cog import write_cog
    if sys.argv[2] != "0":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
    pixels = np.random.default_rng(0).integers(0, 30000, (1024, 1024)).astype("int16")
    grid = GeoBox.from_bbox((0, 0, 1024, 1024), "EPSG:32723", resolution=1)
    try:
        write_cog(Path(sys.argv[1]) / "a.tif", pixels, grid, nodata=-1)
    except OSError as e:
        print(e.errno, sorted(p.name for p in Path(sys.argv[1]).iterdir()))
"""


def write_where_there_is_no_room(folder, limit):
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(NO_ROOM), str(folder), str(limit)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    return run.stdout.strip()


@pytest.mark.parametrize("limit", [100, 1_000_000, 2_500_000])
def test_a_limit_of_file_size_is_an_error_and_leaves_nothing(tmp_path, limit):
    assert write_where_there_is_no_room(tmp_path, limit) == f"{errno.EFBIG} []"


@pytest.mark.parametrize("size", ["1m", "3m"])  # too small for the blocks, and for both files
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, size):
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        assert write_where_there_is_no_room(tmp_path, 0) == f"{errno.ENOSPC} []"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_files_beyond_four_gigabytes_are_bigtiff():
    tags = {256: (4, (2048).to_bytes(4, "little")), 257: (4, (1024).to_bytes(4, "little"))}
    directory = Directory({**tags, 322: (3, b"\x00\x02"), 323: (3, b"\x00\x02")})
    small, large = ([[n] * 8, [n] * 2] for n in (1000, 600_000_000))
    for sizes, big in ((small, False), (large, True)):
        head, offsets = layout([directory, directory], sizes)
        assert head[2] == (43 if big else 42)
        first = read_directory(head)
        assert list(first.numbers(324)) == offsets[0]
        assert list(first.numbers(325)) == sizes[0]
        # Overviews lie first, then the image; each block between its leader and its trailer.
        flat = [*zip(offsets[1], sizes[1], strict=True), *zip(offsets[0], sizes[0], strict=True)]
        assert flat[0][0] == len(head) + 4
        assert all(b[0] - a[0] - a[1] == 8 for a, b in pairwise(flat))
