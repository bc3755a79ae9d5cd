"""Scenes of other pixel grids, against plain loops over exact coordinates, and against GDAL."""

import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from affine import Affine
from made_tasks import TILE, cube_at, utm_grid
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from shapely import Point, Polygon, box

from odc_bdc import find_cube
from odc_bdc.building.positions import positions
from odc_bdc.building.reading import SourceFiles, SourceReader
from odc_bdc.building.warping import resample
from odc_bdc.cog import write_cog
from odc_bdc.grid import BDC_CRS, find_grid
from odc_bdc.planning import BandSource

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
    "like": utm_grid(cube_at(90, 110), 64.0, 900.0),
    "finer": grid_in("EPSG:32723", 700),
    "coarser": grid_in("EPSG:32723", 25),
    "lonlat": grid_in("EPSG:4326", 130),
    "sinusoidal": grid_in(SINUSOIDAL, 100),
    "shifted": GeoBox(
        TARGET.shape, TARGET.affine * TARGET.affine.translation(0.5, 0.25), TARGET.crs
    ),
    "turned": GeoBox(
        (150, 150), TARGET.affine * Affine.rotation(37) * Affine.scale(0.8), TARGET.crs
    ),
    "part": utm_grid(cube_at(90, 110), 64.0, -1500.0),
}


def exact(source, across=0.5, down=0.5):
    """Give where places within the target's pixels, their middles for one, lie in a source."""
    rows, columns = TARGET.shape
    column, row = np.meshgrid(np.arange(columns) + across, np.arange(rows) + down)
    x, y = TARGET.affine * (column, row)
    move = Transformer.from_crs(TARGET.crs.to_wkt(), source.crs.to_wkt(), always_xy=True)
    return np.array(~source.affine * move.transform(x, y))


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
    resample(pixels, (0, 0), where, out, resampling, nodata=nodata)
    return out


def width(ratio):
    """Give how far a filter reaches: one pixel up to 1.06, the ratio from 2 on."""
    return 1.0 if ratio <= 1.06 else min(ratio, 1 + (ratio - 1.06) / 0.94)


def weights(resampling, at, scale, size):
    """Give the weight of each pixel along one axis."""
    d = np.abs(np.arange(size) + 0.5 - at) / scale
    if resampling == "bilinear":
        return np.maximum(0, 1 - d)
    return np.where(
        d < 1, 1.5 * d**3 - 2.5 * d**2 + 1, np.where(d < 2, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2, 0)
    )


def weighed(pixels, x, y, resampling, scale, valid):
    wx = weights(resampling, x, scale[0], pixels.shape[1])
    wy = weights(resampling, y, scale[1], pixels.shape[0])
    weight = np.outer(wy, wx)
    return (weight * valid * pixels).sum() / (weight * valid).sum(), weight


def filtered(pixels, x, y, resampling, scale, valid):
    found, weight = weighed(pixels, x, y, resampling, scale, valid)
    if resampling == "cubic":
        whole = not (weight[~valid] != 0).any() and _reaches(x, y, scale, pixels.shape)
        if not whole:
            found, _ = weighed(pixels, x, y, "bilinear", scale, valid)
        elif scale == (1.0, 1.0):
            assert weight.sum() == pytest.approx(1)
    return found


def cells(footprint, shape):
    """Give the pixels that a polygon touches."""
    left, top, right, bottom = footprint.bounds
    for r in range(max(0, math.floor(top)), min(shape[0], math.ceil(bottom))):
        for c in range(max(0, math.floor(left)), min(shape[1], math.ceil(right))):
            yield r, c


def mean(pixels, footprint, valid):
    """Give the mean of pixels by the area that they share with a footprint."""
    total = weights = 0.0
    for r, c in cells(footprint, pixels.shape):
        if valid[r, c]:
            area = footprint.intersection(box(c, r, c + 1, r + 1)).area
            total, weights = total + area * pixels[r, c], weights + area
    return total / weights


def most_frequent(pixels, footprint, valid):
    """Give the most frequent value of the pixels whose centres lie in a footprint, or None."""
    held = [
        pixels[r, c]
        for r, c in cells(footprint, pixels.shape)
        if valid[r, c] and footprint.contains(Point(c + 0.5, r + 0.5))
    ]
    counts = Counter(held)  # in order of rows, which is that of equal counts
    return counts.most_common(1)[0][0] if counts else None


def oracle(pixels, source, part, resampling, nodata, fill=-9999):
    """Resample pixel by pixel, each projected, and its corners too."""
    centres = exact(source)[:, *part]
    # A centre that is a millionth short of the next target pixel counts as in it.
    low, high = (-1e-6, 1 - 1e-6) if resampling == "mode" else (0, 1)
    around = (low, low), (high, low), (high, high), (low, high)
    corners = [exact(source, *at)[:, *part] for at in around]
    moves = [
        exact(source, *a)[:, *part] - exact(source, *b)[:, *part]
        for a, b in (((1, 0.5), (0, 0.5)), ((0.5, 1), (0.5, 0)))
    ]
    out = np.full(centres.shape[1:], fill, pixels.dtype)
    valid = np.ones(pixels.shape, bool) if nodata is None else pixels != nodata
    for i, j in np.ndindex(out.shape):
        x, y = centres[:, i, j]
        r, c = math.floor(y + 1e-6), math.floor(x + 1e-6)
        inside = 0 <= r < pixels.shape[0] and 0 <= c < pixels.shape[1]
        if not (inside and valid[r, c]):
            continue
        footprint = Polygon([corner[:, i, j] for corner in corners])
        if resampling == "nearest":
            out[i, j] = pixels[r, c]
        elif resampling == "mode":
            found = most_frequent(pixels, footprint, valid)
            out[i, j] = pixels[r, c] if found is None else found
        elif resampling == "average":
            out[i, j] = np.floor(mean(pixels, footprint, valid) + 0.5)
        else:
            scale = tuple(width(math.hypot(*(m[n, i, j] for m in moves))) for n in (0, 1))
            found = filtered(pixels, x, y, resampling, scale, valid)
            out[i, j] = np.floor(found + 0.5)
    return out


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
@pytest.mark.parametrize("name", ["utm", "finer", "coarser", "shifted", "part", "turned"])
def test_pixels_are_those_of_a_plain_loop(name, resampling, nodata):
    source = GRIDS[name]
    pixels = source_pixels(source, nodata)
    if resampling == "mode":
        pixels = np.where(pixels == -9999, -9999, pixels // 1000).astype("int16")
    part = slice(20, 44), slice(30, 60)
    where = positions(source, TARGET, WHOLE).part(part)
    found = warped(pixels, where, resampling, nodata)
    wanted = oracle(pixels, source, part, resampling, nodata)
    np.testing.assert_array_equal(found == -9999, wanted == -9999)
    if resampling == "nearest":
        np.testing.assert_array_equal(found, wanted)
    elif resampling == "mode":
        # A centre may lie on the edge of a footprint.
        assert (found == wanted).mean() > 0.997
    else:
        # A position and a width that are a little off may lie on the other side of a half.
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1)
        assert (found == wanted).mean() > 0.98


def by_gdal(pixels, source, target, resampling, widths=(1.0, 1.0)):
    """Warp with GDAL, each position projected (as ``gdalwarp -et 0`` does)."""
    rows, columns = source.shape
    like = {"height": rows, "width": columns, "count": 1, "dtype": pixels.dtype}
    here = {"crs": source.crs.to_wkt(), "transform": source.affine}
    with MemoryFile() as file:
        with file.open(driver="GTiff", **like, **here) as out:
            out.write(pixels, 1)
        with (
            file.open() as src,
            WarpedVRT(
                src,
                crs=target.crs.to_wkt(),
                transform=target.affine,
                height=target.shape[0],
                width=target.shape[1],
                nodata=-9999,
                resampling=Resampling[resampling],
                tolerance=1e-10,  # none is refused
                XSCALE=1 / widths[0],
                YSCALE=1 / widths[1],
            ) as vrt,
        ):
            return vrt.read(1)


@pytest.mark.parametrize("name", ["like", "utm", "finer", "coarser", "lonlat", "sinusoidal"])
def test_nearest_pixels_are_those_of_gdal(name):
    source = GRIDS[name]
    pixels = np.random.default_rng(5).integers(0, 9000, tuple(source.shape)).astype("int16")
    found = warped(pixels, positions(source, TARGET, WHOLE), "nearest", None)
    np.testing.assert_array_equal(found, by_gdal(pixels, source, TARGET, "nearest"))


@pytest.mark.parametrize("resampling", ["bilinear", "cubic"])
@pytest.mark.parametrize("name", ["like", "finer", "lonlat", "sinusoidal"])
def test_pixels_are_those_of_gdal_where_filters_are_as_wide(name, resampling):
    source = GRIDS[name]
    pixels = source_pixels(source, None)
    found = warped(pixels, positions(source, TARGET, WHOLE), resampling, None)
    # GDAL has one width for all: that of the middle. In this part it varies by a ten-thousandth.
    # (GDAL takes a width of less than 1 / 0.95 for 1, and does not end as we do at edges.)
    middle = TARGET.shape[0] // 2, TARGET.shape[1] // 2
    across = [exact(source, *at)[:, *middle] for at in ((1, 0.5), (0, 0.5))]
    down = [exact(source, *at)[:, *middle] for at in ((0.5, 1), (0.5, 0))]
    moves = np.array([across[0] - across[1], down[0] - down[1]])
    widths = [width(math.hypot(*moves[:, n])) for n in (0, 1)]
    assert (name in {"like", "sinusoidal"}) == (max(widths) == 1)
    wanted = by_gdal(pixels, source, TARGET, resampling, widths)
    np.testing.assert_array_equal(found == -9999, wanted == -9999)
    inner = slice(3, -3), slice(3, -3)
    np.testing.assert_allclose(found[inner], wanted[inner], rtol=0, atol=1)
    assert (found == wanted)[inner].mean() > 0.98


def aligned(name, resolutions, dtype):
    """Give random pixels of one grid, and another grid that shares its origin, in the BDC's CRS."""
    grids = [find_grid(name).geobox("029019", resolution) for resolution in resolutions]
    # A part that the source ends in.
    rows, columns = (round(at * resolutions[0] / resolutions[1]) for at in (40, 80))
    source, target = grids[0][40:74, 80:110], grids[1][rows - 2 :, columns - 2 :][:33, :30]
    limits = np.iinfo(dtype)
    shape = tuple(source.shape)
    pixels = np.random.default_rng(2).integers(limits.min + 1, limits.max, shape, dtype)
    return source, target, pixels


def exact_means(pixels, source, target, valid):
    """Give means by area, in fractions; None where the pixel of the centre is no data."""
    size, step = (Fraction(round(g.affine.a)) for g in (source, target))
    left, top = (
        (Fraction(b) - Fraction(a))
        for a, b in ((source.affine.c, target.affine.c), (target.affine.f, source.affine.f))
    )

    def shares(first, n, count):
        edges = [(first + k * step) / size for k in range(n + 1)]
        return [
            {
                p: min(p + 1, b) - max(p, a)
                for p in range(max(0, math.floor(a)), min(count, math.ceil(b)))
            }
            for a, b in itertools.pairwise(edges)
        ], [math.floor((a + b) / 2) for a, b in itertools.pairwise(edges)]

    rows, middles = shares(top, target.shape[0], pixels.shape[0])
    columns, centres = shares(left, target.shape[1], pixels.shape[1])
    out = np.full(tuple(target.shape), None)
    for i, j in np.ndindex(out.shape):
        r, c = middles[i], centres[j]
        if not (0 <= r < pixels.shape[0] and 0 <= c < pixels.shape[1] and valid[r, c]):
            continue
        held = [
            (a * b, int(pixels[r, c]))
            for r, a in rows[i].items()
            for c, b in columns[j].items()
            if valid[r, c]
        ]
        out[i, j] = sum(a * v for a, v in held) / sum(a for a, _ in held)
    return out


@pytest.mark.parametrize("gaps", [0, 0.15])
@pytest.mark.parametrize("dtype", ["int16", "uint16", "uint8"])
@pytest.mark.parametrize(
    "resolutions", [(30, 40), (20, 30), (10, 64), (10, 20), (30, 20), (64, 30)]
)
def test_means_on_aligned_grids_are_exact(resolutions, dtype, gaps):
    source, target, pixels = aligned("BDC_SM_V2", resolutions, dtype)
    nodata = np.iinfo(dtype).min
    valid = np.random.default_rng(4).random(pixels.shape) >= gaps
    pixels[~valid] = nodata
    wanted = exact_means(pixels, source, target, valid)
    known = np.array([v is not None for v in wanted.flat]).reshape(wanted.shape)
    assert known.sum() > 15
    halves = [math.floor(v + Fraction(1, 2)) for v in wanted[known]]
    where = positions(source, target, tuple(slice(0, n) for n in target.shape))
    found = warped(pixels, where, "average", nodata if gaps else None, fill=nodata)
    np.testing.assert_array_equal(found[known], halves)
    np.testing.assert_array_equal(found == nodata, ~known)


def landscape(x, y):
    """Give reflectance at places of the BDC's CRS, in ten-thousandths: waves of 1.1 and 1.4 km."""
    return 3000 + 1000 * np.sin(x / 170) * np.cos(y / 230)


@pytest.mark.parametrize("place", [(1228.0, 1330.0), (1420.0, 1234.0), (1290.0, 1270.0)])
@pytest.mark.parametrize("resampling", ["bilinear", "cubic", "average"])
def test_nothing_leaps_where_pixels_become_coarser(resampling, place):
    x, y, side = 5_000_010.0, 10_000_020.0, 90
    source = GeoBox((side, side), Affine(30, 0, x, 0, -30, y + 30 * side), BDC_CRS)
    centres = (np.arange(side) + 0.5) * 30
    pixels = np.round(landscape(x + centres, (y + centres)[::-1, np.newaxis])).astype("int16")
    found = []
    for hundredths in range(100, 301):
        size = 0.3 * hundredths
        # A pixel about the same place, whatever its size.
        corner = Affine.translation(x + place[0] - 20.5 * size, y + place[1] + 20.5 * size)
        target = GeoBox((41, 41), corner * Affine.scale(size, -size), BDC_CRS)
        where = positions(source, target, (slice(20, 21), slice(20, 21)))
        found.append(int(warped(pixels, where, resampling, None)[0, 0]))
    assert min(found) != -9999
    assert np.abs(np.diff(found)).max() <= 2


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
    middle = type(where)(np.array([[1.0]]), np.array([[0.5]]), where.corners, (0, 0))
    assert warped(pixels, middle, "bilinear", -9999) == -9998
    assert warped(pixels, middle, "bilinear", None, fill=-32768) == -9999


def test_means_on_an_aligned_grid_are_those_of_gdal():
    source, target, pixels = aligned("BDC_SM_V2", (30, 40), "int16")
    target = target[2:22, 2:18]  # lies in the source
    where = positions(source, target, tuple(slice(0, n) for n in target.shape))
    found = warped(pixels, where, "average", None, fill=-32768)
    wanted = by_gdal(pixels, source, target, "average")
    # By the last bit of its weights GDAL rounds a half up or down.
    means = exact_means(pixels, source, target, np.ones(pixels.shape, bool))
    halves = np.array([v.denominator == 2 for v in means.flat]).reshape(means.shape)
    assert 0 < halves.mean() < 0.2
    np.testing.assert_array_equal(found[~halves], wanted[~halves])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1)


@pytest.mark.parametrize("resampling", ["bilinear", "cubic", "average"])
@pytest.mark.parametrize("name", ["like", "finer", "coarser"])
def test_numbers_beyond_int16_are_rounded_and_cut_as_any(name, resampling):
    source = GRIDS[name]
    pixels = np.random.default_rng(8).integers(0, 65536, tuple(source.shape)).astype("uint16")
    where = positions(source, TARGET, WHOLE)
    found = warped(pixels, where, resampling, 0, fill=0)
    real = warped(pixels.astype("float64"), where, resampling, 0, fill=np.nan)
    known = ~np.isnan(real)
    # A mean that is 2e-5 short of a half counts as one; what comes to nodata is moved.
    wanted = np.clip(np.floor(real[known] + 0.5 + 2e-5), 1, 65535)
    np.testing.assert_array_equal(found[known], wanted)
    assert found.max() > 40000
    assert (real[known] > 65535).any() == (resampling == "cubic" and name != "finer")


def test_scenes_of_20_m_have_no_seams_between_tiles_of_30_m(tmp_path):
    cube = find_cube("S2LC8_30_16D_STK_v1")
    one, other = (cube.grid.geobox(tile, cube.resolution) for tile in ("014009", "015009"))
    columns, margin = one.shape[1], 60
    edge = one.pad(margin)[3000:3100, columns : columns + 2 * margin]
    edges = edge.extent.to_crs("EPSG:32723").boundingbox.buffered(300, 300)
    grid = GeoBox.from_bbox(edges, "EPSG:32723", resolution=20)
    pixels = source_pixels(grid, -9999)
    write_cog(tmp_path / "red.tif", pixels, grid, nodata=-9999)
    encoding = cube.measurement("red").encoding
    red = BandSource((tmp_path / "red.tif").as_uri(), encoding)
    for resampling in ("nearest", "bilinear", "cubic", "average", "mode"):
        found = []
        for box_, left in ((one.pad(margin), columns), (other.pad(margin), 0)):
            with SourceReader(SourceFiles(box_)) as reader:
                window = slice(3000, 3100), slice(left, left + 2 * margin)
                found.append(reader.read(red, resampling, window))
        np.testing.assert_array_equal(*found)
        assert (found[0] != -9999).mean() > 0.85
        assert (found[0] == -9999).any()
