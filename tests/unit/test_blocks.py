"""Blocks that are decoded without GDAL have the pixels that GDAL reads."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from odc_bdc.building.blocks import block_file
from odc_bdc.errors import ReplacedFileError, SceneError
from odc_bdc.files import scene_files

pytest.importorskip("imagecodecs")
pytest.importorskip("tifffile")
SHAPE = (300, 421)


def write(path, pixels, **how):
    profile = {"tiled": True, "blockxsize": 128, "blockysize": 64, "compress": "DEFLATE"} | how
    bands = pixels if pixels.ndim == 3 else pixels[np.newaxis]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(bands),
        height=bands.shape[1],
        width=bands.shape[2],
        dtype=bands.dtype.name,
        transform=Affine.translation(1, 1),
        **profile,
    ) as out:
        out.write(bands)


def random(dtype, shape=SHAPE):
    info = np.iinfo(dtype)
    return np.random.default_rng(0).integers(info.min, info.max, shape).astype(dtype)


@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("compress", ["DEFLATE", "ZSTD", "LZW"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32"])
def test_pixels_are_those_of_gdal(tmp_path, dtype, compress, predictor):
    path = tmp_path / "a.tif"
    write(path, random(dtype), compress=compress, predictor=predictor)
    with rasterio.open(path) as src:
        known = block_file(scene_files().get(str(src.name)), 1)
        out = np.empty(SHAPE, dtype)
        known.read((slice(0, 300), slice(0, 421)), out)
        np.testing.assert_array_equal(out, src.read(1))


@settings(max_examples=60)
@given(data=st.data())
def test_any_window(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "window.tif"
    pixels = random("int16")
    if not path.exists():
        write(path, pixels, predictor=2)
    window = []
    for size in SHAPE:
        start = data.draw(st.integers(0, size - 1))
        window.append(slice(start, data.draw(st.integers(start + 1, size))))
    wanted = pixels[tuple(window)]
    room = np.zeros((wanted.shape[0], wanted.shape[1] + 3), "int16")
    with rasterio.open(path) as src:
        block_file(scene_files().get(str(src.name)), 1).read(tuple(window), room[:, 1:-2])
    np.testing.assert_array_equal(room[:, 1:-2], wanted)
    assert not room[:, 0].any()
    assert not room[:, -2:].any()


@settings(max_examples=30)
@given(
    where=st.lists(st.tuples(st.integers(0, 299), st.integers(0, 420)), max_size=40),
    predictor=st.sampled_from([1, 2]),
)
def test_single_pixels_take_only_their_blocks(tmp_path_factory, where, predictor):
    path = tmp_path_factory.getbasetemp() / f"single_{predictor}.tif"
    pixels = random("int16")
    if not path.exists():
        write(path, pixels, predictor=predictor)
    known, decoded = block_file(scene_files().get(str(path)), 1), []

    class Counted(type(known)):
        def _block(self, opened, by, bx, *rest):
            decoded.append((by, bx))
            super()._block(opened, by, bx, *rest)

    rows, columns = np.array(where, int).reshape(-1, 2).T
    counted = Counted(**{name: getattr(known, name) for name in known.__dataclass_fields__})
    np.testing.assert_array_equal(counted.pixels(rows, columns), pixels[rows, columns])
    assert sorted(decoded) == sorted({(r // 64, c // 128) for r, c in where})


@pytest.mark.parametrize("nodata", [None, -9999])
def test_blocks_that_are_left_out(tmp_path, nodata):
    pixels = np.full(SHAPE, nodata or 0, "int16")
    pixels[:70, :130] = 5
    write(tmp_path / "a.tif", pixels, sparse_ok=True, nodata=nodata)
    with rasterio.open(tmp_path / "a.tif") as src:
        known = block_file(scene_files().get(str(src.name)), 1)
        assert (known.places[..., 1] == 0).any()
        out = np.empty(SHAPE, "int16")
        known.read((slice(0, 300), slice(0, 421)), out)
        np.testing.assert_array_equal(out, pixels)
        np.testing.assert_array_equal(out, src.read(1))


@pytest.mark.parametrize("interleave", ["band", "pixel"])
def test_a_band_of_several(tmp_path, interleave):
    pixels = random("uint16", (3, *SHAPE))
    write(tmp_path / "a.tif", pixels, interleave=interleave, predictor=2)
    with rasterio.open(tmp_path / "a.tif") as src:
        known = block_file(scene_files().get(str(src.name)), 2)
        if interleave == "pixel":
            assert known is None
            return
        out = np.empty(SHAPE, "uint16")
        known.read((slice(0, 300), slice(0, 421)), out)
        np.testing.assert_array_equal(out, pixels[1])


@pytest.mark.parametrize(
    "how",
    [
        {"tiled": False, "blockxsize": 421, "blockysize": 1},
        {"compress": "NONE"},
        {"compress": "PACKBITS"},
        {"endianness": "BIG"},
        {"nbits": 12},
        {"dtype": "float32", "predictor": 3},
    ],
    ids=str,
)
def test_what_is_not_plain_is_left_to_gdal(tmp_path, how):
    pixels = random("uint16").astype(how.pop("dtype", "uint16"))
    write(tmp_path / "a.tif", pixels & 0xFFF if "nbits" in how else pixels, **how)
    with rasterio.open(tmp_path / "a.tif") as src:
        assert block_file(scene_files().get(str(src.name)), 1) is None


def opened(path):
    return block_file(scene_files().get(str(path)), 1)


@pytest.mark.parametrize("compress", ["DEFLATE", "ZSTD", "LZW"])
def test_a_broken_block_is_told(tmp_path, compress):
    path = tmp_path / "a.tif"
    write(path, random("int16"), compress=compress)
    offset, size = opened(path).places[2, 1].tolist()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * size)
    known = opened(path)
    out = np.empty(SHAPE, "int16")
    with pytest.raises(SceneError, match=r"a\.tif: cannot be read: block 2, 1 is broken"):
        known.read((slice(0, 300), slice(0, 421)), out)
    path.write_bytes(path.read_bytes()[: offset + size // 2])
    with pytest.raises(ReplacedFileError):
        known.read((slice(128, 192), slice(128, 256)), out[:64, :128])
    cut = replace(known, file=scene_files().get(str(path)))
    with pytest.raises(SceneError, match=r"a\.tif: cannot be read: block 2, 1 is broken"):
        cut.read((slice(128, 192), slice(128, 256)), out[:64, :128])
    path.unlink()
    with pytest.raises(SceneError, match="No such file"):
        known.read((slice(0, 1), slice(0, 1)), out[:1, :1])
