"""Cubes of a landscape that is known everywhere, made all four ways, against what they must be.

Run by `make truth`; `tests/integration/test_truth.py` has a short form. Prints, case by case: the
pixels, those that differ between the four ways (none may), those that differ from the oracle (each
must be explained by a bound that is written in docs/why/how-exact.md), the largest difference, in
units of the band, and how far composites are from the landscape itself.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import product
from pathlib import Path

import numpy as np
from landscape import ALBERS, Landscape, converted_all, stored
from odc.geo.geobox import GeoBox
from resampling import HAIR, resampled

from odc_bdc import CubeSpec, composite_cube, database, load_scenes
from odc_bdc.building import build_cube
from odc_bdc.cog import write_cog
from odc_bdc.cube import Encoding
from odc_bdc.indexing import MadeDocument, RasterFile, add_documents, add_products, dataset_document
from odc_bdc.live.declaring import declare_cube
from odc_bdc.planning import plan_cube
from odc_bdc.virtual import cube_product

DAYS = (3, 9, 20)
PERIOD = (date(2020, 1, 1), date(2020, 1, 31))
SIDE = 72
SOUTH, NORTH = "007004", "004000"
POSITION = 1e-3
"""By how much of a source pixel positions may be off (docs/why/how-exact.md)."""


INT = Encoding("int16", -9999, 1e-4)


@dataclass(frozen=True)
class Case:
    """One product and one cube of it."""

    name: str
    source: Encoding
    target: Encoding = INT
    crs: str = "cube"
    ratio: float = 1.0
    resampling: str = "bilinear"
    tile: str = SOUTH
    resolution: float = 64.0
    function: str = "MED"


TYPES = {
    "int8": Encoding("int8", -128, 0.01),
    "uint8": Encoding("uint8", 0, 0.005),
    "int16": INT,
    "uint16 C2": Encoding("uint16", 0, 2.75e-5, -0.2),
    "uint16 high": Encoding("uint16", 65535, 1e-5),
    "int32": Encoding("int32", -(2**31), 1e-7),
    "uint32": Encoding("uint32", 0, 1e-8, -0.1),
    "float32 NaN": Encoding("float32"),
    "float32 -9999": Encoding("float32", -9999),
    "float64": Encoding("float64", None, 0.01),
}
TARGETS = {
    "int16": INT,
    "uint8": Encoding("uint8", 255, 0.01),
    "int32": Encoding("int32", 0, 1e-6, -0.5),
    "uint32": Encoding("uint32", 2**32 - 1, 1e-9, -0.5),
    "float32": Encoding("float32"),
    "float64": Encoding("float64"),
}
PROJECTIONS = {
    "UTM 23S": ("EPSG:32723", SOUTH),
    "UTM 22S": ("EPSG:32722", SOUTH),
    "UTM 20N": ("EPSG:32620", NORTH),
    "degrees": ("EPSG:4326", SOUTH),
    "degrees north": ("EPSG:4326", NORTH),
    "Mercator": ("EPSG:3857", SOUTH),
    "sinusoidal": ("+proj=sinu +R=6371007.181 +units=m +no_defs", SOUTH),
    "shifted": ("shifted", SOUTH),
}
RESAMPLINGS = ("nearest", "bilinear", "cubic", "average", "mode")


def cases(*, short: bool) -> list[Case]:
    """Give the cases: each type into each, and each grid by each resampling."""
    found, utm = [], "EPSG:32723"
    for at, ((a, source), (b, target)) in enumerate(product(TYPES.items(), TARGETS.items())):
        case = Case(f"{a} to {b}", source, target)
        each = [case, replace(case, crs=utm, ratio=1.4), replace(case, crs=utm, ratio=0.7)]
        each += [replace(case, crs=utm, resampling="nearest"), replace(case, function="AVG")]
        # Each type, and each kind of warping, though not all of them together.
        found += each[at % 5 :][: (at + at // len(TARGETS)) % 2] if short else each
    for at, ((name, (crs, tile)), how) in enumerate(product(PROJECTIONS.items(), RESAMPLINGS)):
        ratios, functions = (0.4, 1.0, 1.3, 1.5, 2.6), ("MED", "AVG", "LCF")
        for ratio, function in [(1.0, "MED")][at % 2 :] if short else product(ratios, functions):
            found.append(Case(name, INT, INT, crs, ratio, how, tile, function=function))
    if not short:
        for resolution in (10.0, 30.0, 231.0, 1100.0):
            for how in ("nearest", "bilinear"):
                crs, tile = PROJECTIONS["sinusoidal"]
                found.append(Case("sinusoidal", INT, INT, crs, 1.2, how, tile, resolution))
    return found


def cube_of(case: Case, product: str) -> CubeSpec:
    """Define the cube of a case, cut to a few pixels in the middle of a tile."""
    told = {"name": "b", "dtype": case.target.dtype, "resampling": case.resampling}
    for key in ("nodata", "scale", "offset"):
        if (value := getattr(case.target, key)) is not None:
            told[key] = value
    cube = CubeSpec.from_dict(
        {
            "name": f"{product}_cube",
            "title": {"en": case.name},
            "description": {"en": case.name},
            "license": "CC0-1.0",
            "sources": [{"product": product}],
            "grid": "BDC_LG_V2",
            "resolution": case.resolution,
            "timeline": "p1m",
            "function": case.function,
            "quality": "none",
            "measurements": [told],
        }
    )
    xmin, ymin, xmax, ymax = cube.grid.bbox(case.tile)
    size = case.resolution
    left = xmin + (xmax - xmin) // 2 // size * size
    top = ymax - (ymax - ymin) // 2 // size * size
    return cube.patch(extent=(left, top - SIDE * size, left + SIDE * size, top))


def product_of(case: Case, name: str) -> dict:
    """Give the ODC product document of the scenes of a case."""
    source = case.source
    told = {"name": "b", "dtype": source.dtype, "nodata": source.missing, "units": "1"}
    if source.scale:
        told |= {"scale_factor": source.scale, "add_offset": source.offset or 0}
    return {
        "name": name,
        "description": case.name,
        "metadata_type": "eo3",
        "metadata": {"product": {"name": name}},
        "measurements": [told],
    }


def grid_of(case: Case, target: GeoBox) -> GeoBox:
    """Give the pixel grid of the scenes of a case, some pixels wider than the cube's."""
    if case.crs == "cube":
        return target.pad(3)
    size = case.resolution / case.ratio
    if case.crs == "shifted":
        box = target.pad(8).extent.boundingbox
        west, south = box.left + 0.3 * size, box.bottom + 0.45 * size
        return GeoBox.from_bbox(
            (west, south, box.right, box.top), target.crs, resolution=size, tight=True
        )
    box = target.pad(8).extent.to_crs(case.crs).boundingbox
    if case.crs == "EPSG:4326":
        size /= 111320
    return GeoBox.from_bbox(tuple(box), case.crs, resolution=size, tight=True)


@dataclass(frozen=True)
class Scene:
    """A scene of the landscape: what its file holds, and where it is missing."""

    day: int
    pixels: np.ndarray
    missing: np.ndarray


def make_scenes(case: Case, grid: GeoBox, land: Landscape, seed: int) -> list[Scene]:
    """Make a scene for each day, each with holes of its own."""
    rng, out = np.random.default_rng(seed), []
    for number, day in enumerate(DAYS):
        values = land.on(grid, day)
        rows, columns = values.shape
        for _ in range(2 + number):
            r, c = rng.integers(0, rows), rng.integers(0, columns)
            values[r : r + rows // 6, c : c + columns // 5] = np.nan
        out.append(Scene(day, stored(values, case.source), np.isnan(values)))
    return out


def index_scenes(dc, case: Case, name: str, grid: GeoBox, scenes, folder: Path) -> None:
    """Write the scenes as COGs, and index them."""
    add_products(dc, [product_of(case, name)])
    made = []
    for scene in scenes:
        label = f"{name}_{scene.day:02d}"
        path = folder / f"{label}.tif"
        write_cog(path, scene.pixels, grid, nodata=case.source.missing)
        crs = f"EPSG:{grid.crs.epsg}" if grid.crs.epsg and grid.crs != ALBERS else grid.crs.to_wkt()
        file = RasterFile(
            path.as_uri(), tuple(grid.shape), tuple(grid.affine)[:6], crs, case.source.dtype, None
        )
        document = dataset_document(
            dataset_id=uuid.uuid5(uuid.NAMESPACE_URL, label),
            product=name,
            label=label,
            files={"b": file},
            properties={
                "datetime": datetime(2020, 1, scene.day, 13, tzinfo=UTC).isoformat(),
                "odc:processing_datetime": datetime(2020, 2, 1, tzinfo=UTC).isoformat(),
                "odc:file_format": "GeoTIFF",
            },
            location=None,
        )
        made.append(MadeDocument(f"{path.as_uri()}.odc-metadata.yaml", document))
    for record in add_documents(dc, made):
        assert record.status == "added", record


def four_ways(dc, cube: CubeSpec, tile: str, root: Path) -> dict[str, np.ndarray]:
    """Give the band of the cube's one image by each way."""
    geobox = cube.geobox(tile)
    add_products(dc, [cube.to_product()])
    (task,) = plan_cube(dc, cube, *PERIOD, tiles=[tile])
    asked = {"product": cube.name, "like": geobox, "time": tuple(map(str, PERIOD))}
    now = lambda: datetime(2020, 2, 2, tzinfo=UTC)  # noqa: E731 (a clock that stands)
    report = declare_cube(dc, [task], root, now=now)
    assert not report.failed, report.failed
    live = dc.load(**asked)
    report = build_cube(dc, [task], root, now=now)
    assert not report.failed, report.failed
    built = dc.load(**asked)
    time = tuple(map(str, PERIOD))
    ways = {
        "function": composite_cube(load_scenes(dc, cube, geobox=geobox, time=time), cube),
        "virtual": cube_product(cube).load(dc, like=geobox, time=time),
        "live": live,
        "built": built,
    }
    return {way: ds["b"].values.squeeze() for way, ds in ways.items()}


def oracle(case: Case, scenes, grid: GeoBox, target: GeoBox):
    """Give the number of each pixel, and the lowest and highest that it may have; NaN for no data.

    These differ where a thousandth of a source pixel decides which of two neighbours is right.
    """
    by_place = case.crs == "cube" or case.resampling in ("nearest", "mode")
    images, seen = [], []
    for scene in scenes:
        how = "nearest" if case.crs == "cube" else case.resampling
        found = resampled(scene.pixels, grid, target, how, scene.missing)
        slack = 0.0 if by_place else POSITION * spread(scene.pixels.astype(np.float64))
        three = [found, found - slack, found + slack]
        if how == "mode":  # a centre near an edge may be in either pixel
            ways = [(a, b) for a in (-POSITION, 0.0, POSITION) for b in (-POSITION, 0.0, POSITION)]
            near = [resampled(scene.pixels, grid, target, how, scene.missing, at) for at in ways]
            three[1:] = [
                np.where(np.isnan(found), found, f(near, 0))
                for f in (np.fmin.reduce, np.fmax.reduce)
            ]
        if case.source.is_float:
            three = [numbers.astype(case.source.dtype) for numbers in three]
        elif not by_place:
            three = [whole(numbers, case.source) for numbers in three]
        known = replace(case.source, nodata=None)
        images.append([converted_all(numbers, known, case.target) for numbers in three])
        seen.append(int((~np.isnan(found)).sum()))
    order = best_first(seen)
    return [composed(case, list(each), order) for each in zip(*images, strict=True)]


def whole(numbers, source: Encoding):
    """Round halves up, keep to the type, and move what came to equal nodata by one."""
    info = np.iinfo(source.dtype)
    found = np.clip(np.floor(numbers + 0.5 + HAIR), info.min, info.max)
    if source.nodata is None:
        return found
    beside = 1 if source.nodata < info.max else -1
    return np.where(found == source.nodata, source.nodata + beside, found)


def spread(pixels):
    """Give by how much neighbouring pixels differ at most."""
    return max(float(np.nanmax(np.abs(np.diff(pixels, axis=axis)))) for axis in (0, 1))


def best_first(clear):
    """Order observations by their clear pixels, of equals the later first."""
    return sorted(range(len(clear)), key=lambda n: (-clear[n], -n))


def composed(case: Case, images, order):
    """Composite converted numbers by the plainest reading of the rules."""
    stack, whole = np.stack(images), not case.target.is_float
    none = np.isnan(stack).all(0)
    if case.function == "LCF":
        out = np.full(none.shape, np.nan)
        for number in reversed(order):
            out = np.where(np.isnan(stack[number]), out, stack[number])
        return out
    filled = np.where(none, 0, stack)
    if case.function == "MED":
        found = np.nanmedian(filled, 0)
        return np.where(none, np.nan, np.trunc(found) if whole else found)
    found = np.nanmean(filled, 0)
    return np.where(none, np.nan, np.rint(found) if whole else found)


@dataclass(frozen=True)
class Finding:
    """What came of a case.

    Attributes
    ----------
    pixels
        Of the image.
    differing
        Pixels that are not the same in all four ways.
    inexact, unexplained
        Pixels that are not the oracle's, and those of them that no bound allows.
    largest
        Largest difference from the oracle, in units of the band.
    from_land
        Median difference from the landscape itself, in reflectance.
    """

    case: Case
    pixels: int
    differing: int
    inexact: int
    unexplained: int
    largest: float
    from_land: float


def prove(dc, case: Case, number: int, folder: Path) -> Finding:
    """Make the cube of a case in all ways, and compare."""
    name = f"truth_{number}"
    cube = cube_of(case, name)
    target = cube.geobox(case.tile)
    grid, land = grid_of(case, target), Landscape(case.resolution)
    scenes = make_scenes(case, grid, land, number)
    index_scenes(dc, case, name, grid, scenes, folder)
    ways = four_ways(dc, cube, case.tile, folder / "cubes")
    built = ways["built"]
    same = [np.array_equal(a, built, equal_nan=built.dtype.kind == "f") for a in ways.values()]
    differing = (
        0
        if all(same)
        else int(
            np.logical_or.reduce(
                [(a != built) & ~((a != a) & (built != built)) for a in ways.values()]
            ).sum()
        )
    )
    found = built.astype(np.float64)
    if case.target.nodata is not None:
        found = np.where(built == case.target.nodata, np.nan, found)
    exact, low, high = oracle(case, scenes, grid, target)
    last = np.spacing(np.abs(built)) * 2 if case.target.is_float else 0
    inside = (found >= low - last) & (found <= high + last)
    both_none = np.isnan(found) & np.isnan(exact)
    truth = physical(found, case.target) - land.on(target, DAYS[1])
    return Finding(
        case,
        built.size,
        differing,
        int((~both_none & (found != exact)).sum()),
        int((~both_none & ~inside).sum()),
        float(np.nanmax(np.abs(found - exact), initial=0)),
        float(np.nanmedian(np.abs(truth))),
    )


def physical(numbers, encoding: Encoding):
    """Give what stored numbers mean."""
    return numbers * float(encoding.scale or 1) + float(encoding.offset or 0)


HEAD = (
    f"{'case':26}{'function':>9}{'resampling':>11}{'ratio':>6}{'m':>6}{'pixels':>8}{'ways':>6}"
    f"{'inexact':>9}{'unexplained':>12}{'largest':>10}{'from land':>11}"
)


def line(one: Finding) -> str:
    """Write a finding as a line of the table."""
    case = one.case
    return (
        f"{case.name:26}{case.function:>9}{case.resampling:>11}{case.ratio:>6g}"
        f"{case.resolution:>6g}{one.pixels:>8}{one.differing:>6}{one.inexact:>9}"
        f"{one.unexplained:>12}{one.largest:>10.3g}{one.from_land:>11.5f}"
    )


def main() -> int:
    """Prove all cases on an index of their own; 1 if a pixel is not explained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    bad = pixels = 0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o755)
        index = database.bring_up(home, environ={"PATH": os.environ["PATH"]})
        os.environ["ODC_BDC_ROOTS"] = str(home / "cubes")
        try:
            database.initialise(index)
            with database.open_datacube(index, app="truth") as dc:
                print(HEAD)
                for number, case in enumerate(cases(short=options.short)):
                    found = prove(dc, case, number, home)
                    print(line(found), flush=True)
                    pixels += found.pixels
                    bad += found.differing + found.unexplained
        finally:
            database.delete(home)
    print(f"{pixels} pixels, {bad} of them not explained")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
