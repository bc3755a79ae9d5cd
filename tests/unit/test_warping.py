"""Scenes of other pixel grids, against plain loops over exact coordinates, and against GDAL."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tasks import TILE, cube_at, utm_grid
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.warp import reproject

from odc_bdc.building.warping import positions, resample

TARGET = cube_at(90, 110).geobox(TILE)
WHOLE = tuple(slice(0, n) for n in TARGET.shape)
SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"


def grid_in(crs, pixels):
    """Give a grid of another CRS that the target lies wholly in, of so many pixels along x."""
    box = TARGET.extent.to_crs(crs).boundingbox
    size = (box.right - box.left) / pixels
    edges = (box.left - size, box.bottom - size, box.right + size, box.top + size)
    return GeoBox.from_bbox(edges, crs, resolution=size)


GRIDS = {
    "utm": grid_in("EPSG:32723", 120),
    "finer": grid_in("EPSG:32723", 700),
    "coarser": grid_in("EPSG:32723", 25),
    "lonlat": grid_in("EPSG:4326", 130),
    "sinusoidal": grid_in(SINUSOIDAL, 100),
    "shifted": GeoBox(
        TARGET.shape, TARGET.affine * TARGET.affine.translation(0.5, 0.25), TARGET.crs
    ),
    "part": utm_grid(cube_at(90, 110), 64.0, -1500.0),
}


def exact(source):
    """Give source pixels of the centres of the target's, without a mesh."""
    column, row = np.meshgrid(np.arange(TARGET.shape[1]) + 0.5, np.arange(TARGET.shape[0]) + 0.5)
    x, y = TARGET.affine * (column, row)
    move = Transformer.from_crs(TARGET.crs.to_wkt(), source.crs.to_wkt(), always_xy=True)
    return ~source.affine * move.transform(x, y)


@pytest.mark.parametrize("name", GRIDS)
def test_positions_are_near_the_exact_ones(name):
    where = positions(GRIDS[name], TARGET, WHOLE)
    for found, wanted in zip((where.x, where.y), exact(GRIDS[name]), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


@settings(max_examples=60)
@given(data=st.data(), name=st.sampled_from(sorted(GRIDS)))
def test_a_window_is_a_part_of_the_whole(data, name):
    window = []
    for size in TARGET.shape:
        start = data.draw(st.integers(0, size - 1))
        window.append(slice(start, data.draw(st.integers(start + 1, size))))
    whole = positions(GRIDS[name], TARGET, WHOLE).part(tuple(window))
    part = positions(GRIDS[name], TARGET, tuple(window))
    np.testing.assert_array_equal(part.x, whole.x)
    np.testing.assert_array_equal(part.y, whole.y)
    assert part.scale == whole.scale


def source_pixels(grid, nodata, dtype="int16"):
    """Give smooth pixels with holes."""
    rng = np.random.default_rng(3)
    rows, columns = np.indices(tuple(grid.shape))
    pixels = 3000 + 2000 * np.sin(rows / 9) * np.cos(columns / 7) + rng.normal(0, 20, rows.shape)
    pixels = pixels.astype(dtype)
    if nodata is not None:
        pixels[rng.random(pixels.shape) < 0.1] = nodata
    return pixels


def warped(pixels, where, resampling, nodata, fill=-9999):
    out = np.full(where.x.shape, fill, pixels.dtype)
    resample(pixels, (0, 0), where, out, resampling, nodata=nodata, fill=fill)
    return out


def weights(resampling, at, scale, size):
    """Give the weight of each pixel along one axis."""
    d = np.abs(np.arange(size) + 0.5 - at) / scale
    if resampling == "bilinear":
        return np.maximum(0, 1 - d)
    if resampling == "average":
        low, high = at - scale / 2, at + scale / 2
        return np.maximum(
            0, np.minimum(np.arange(size) + 1, high) - np.maximum(np.arange(size), low)
        )
    return np.where(
        d < 1, 1.5 * d**3 - 2.5 * d**2 + 1, np.where(d < 2, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2, 0)
    )


def weighed(pixels, x, y, resampling, scale, valid):
    wx = weights(resampling, x, scale[0], pixels.shape[1])
    wy = weights(resampling, y, scale[1], pixels.shape[0])
    weight = np.outer(wy, wx)
    return (weight * valid * pixels).sum() / (weight * valid).sum(), weight


def oracle(pixels, where, resampling, nodata, fill=-9999):
    """Resample pixel by pixel, over the whole source each time."""
    out = np.full(where.x.shape, fill, pixels.dtype)
    valid = np.ones(pixels.shape, bool) if nodata is None else pixels != nodata
    for i, j in np.ndindex(out.shape):
        x, y = where.x[i, j], where.y[i, j]
        r, c = math.floor(y + 1e-6), math.floor(x + 1e-6)
        inside = 0 <= r < pixels.shape[0] and 0 <= c < pixels.shape[1]
        if not (inside and valid[r, c]):
            continue
        if resampling == "nearest":
            out[i, j] = pixels[r, c]
            continue
        if resampling == "mode":
            rows = np.flatnonzero(_centres(y, where.scale[1], pixels.shape[0]))
            columns = np.flatnonzero(_centres(x, where.scale[0], pixels.shape[1]))
            part = pixels[np.ix_(rows, columns)][valid[np.ix_(rows, columns)]]
            values, first, count = np.unique(part, return_index=True, return_counts=True)
            order = np.lexsort((first, -count)) if len(values) else []
            out[i, j] = values[order[0]] if len(values) else pixels[r, c]
            continue
        found, weight = weighed(pixels, x, y, resampling, where.scale, valid)
        if resampling == "cubic":
            total = 1.0 if where.scale == (1.0, 1.0) else None
            whole = not (weight[~valid] != 0).any() and _reaches(x, y, where.scale, pixels.shape)
            if not whole:
                found, _ = weighed(pixels, x, y, "bilinear", where.scale, valid)
            elif total:
                assert weight.sum() == pytest.approx(total)
        out[i, j] = np.floor(found + 0.5)
    return out


def _centres(at, scale, size):
    centres = np.arange(size) + 0.5
    return (centres >= at - scale / 2) & (centres < at + scale / 2)


def _reaches(x, y, scale, shape):
    """Tell whether all that a cubic filter weighs lies within the source."""
    for at, s, size in ((x, scale[0], shape[1]), (y, scale[1], shape[0])):
        around = np.arange(-20, size + 20)
        d = np.abs(around + 0.5 - at) / s
        used = around[(d < 2) & (d != 1)]
        if used.min() < 0 or used.max() >= size:
            return False
    return True


@pytest.mark.parametrize("nodata", [None, -9999])
@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "average", "mode"])
@pytest.mark.parametrize("name", ["utm", "finer", "coarser", "shifted", "part"])
def test_pixels_are_those_of_a_plain_loop(name, resampling, nodata):
    source = GRIDS[name]
    pixels = source_pixels(source, nodata)
    if resampling == "mode":
        pixels = np.where(pixels == -9999, -9999, pixels // 1000).astype("int16")
    where = positions(source, TARGET, WHOLE).part((slice(20, 44), slice(30, 60)))
    found = warped(pixels, where, resampling, nodata)
    wanted = oracle(pixels, where, resampling, nodata)
    if resampling in ("nearest", "mode"):
        np.testing.assert_array_equal(found, wanted)
    else:
        # Sums in another order may lie on the other side of a half.
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1)
        assert (found == wanted).mean() > 0.995
    np.testing.assert_array_equal(found == -9999, wanted == -9999)


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic"])
@pytest.mark.parametrize("name", ["utm", "lonlat", "sinusoidal"])
def test_pixels_are_nearly_those_of_gdal(name, resampling):
    source = GRIDS[name]
    pixels = source_pixels(source, None)
    where = positions(source, TARGET, WHOLE)
    found = warped(pixels, where, resampling, None)
    wanted = np.full(tuple(TARGET.shape), -9999, "int16")
    reproject(
        pixels,
        wanted,
        src_transform=source.affine,
        src_crs=source.crs.to_wkt(),
        dst_transform=TARGET.affine,
        dst_crs=TARGET.crs.to_wkt(),
        dst_nodata=-9999,
        resampling=Resampling[resampling],
        XSCALE=1,
        YSCALE=1,
    )
    np.testing.assert_array_equal(found == -9999, wanted == -9999)
    if resampling == "nearest":
        assert (found == wanted).mean() > 0.995
    else:
        # GDAL interpolates positions along lines; of so few pixels that is good to a thousandth.
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1)


def test_floats_keep_their_fractions_and_nan_takes_no_part():
    source = GRIDS["utm"]
    pixels = source_pixels(source, None, "float32") / np.float32(7)
    holes = np.random.default_rng(1).random(pixels.shape) < 0.2
    pixels[holes] = np.nan
    where = positions(source, TARGET, WHOLE)
    found = warped(pixels, where, "bilinear", None, fill=np.nan)
    near = np.floor(where.y + 1e-6).astype(int), np.floor(where.x + 1e-6).astype(int)
    np.testing.assert_array_equal(np.isnan(found), holes[near])
    known = found[~np.isnan(found)]
    assert known.min() >= np.nanmin(pixels)
    assert known.max() <= np.nanmax(pixels)


def test_a_result_never_becomes_nodata():
    pixels = np.array([[-10000, -9998]], "int16")
    where = positions(GRIDS["utm"], TARGET, WHOLE).part((slice(0, 1), slice(0, 1)))
    middle = type(where)(np.array([[1.0]]), np.array([[0.5]]), (1.0, 1.0))
    assert warped(pixels, middle, "bilinear", -9999) == -9998
    assert warped(pixels, middle, "bilinear", None, fill=-32768) == -9999


def test_places_that_a_crs_does_not_know_stay_empty():
    # Beside the globe as it is seen from afar.
    globe = "+proj=ortho +lat_0=0 +lon_0=0 +R=6371007.181 +units=m +no_defs"
    nowhere = GeoBox.from_bbox((7.0e6, 1.0e6, 7.01e6, 1.01e6), globe, resolution=1000)
    source = GeoBox.from_bbox((-180, -90, 180, 90), "EPSG:4326", resolution=1)
    window = tuple(slice(0, n) for n in nowhere.shape)
    where = positions(source, nowhere, window)
    assert not np.isfinite(where.x).any()
    assert where.touched("bilinear", (slice(0, 9), slice(0, 9))) == (slice(0, 0), slice(0, 0))
