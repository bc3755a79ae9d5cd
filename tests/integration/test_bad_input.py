"""Broken scenes and impossible requests: named, and without harm to the rest."""

import json
from datetime import UTC, date, datetime

import pytest
import rasterio

from odc_bdc import OdcBdcError, find_cube
from odc_bdc.building import build_cube
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.planning import plan_cube
from odc_bdc.product import shipped_products
from odc_bdc.scenes import demo_extent, make_scenes

RECIPE = find_recipe("cb4_wfi_l4_sr")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Give the folders of eight scenes of one tile."""
    root = tmp_path_factory.mktemp("bad")
    report = make_scenes(
        root,
        size=32,
        tiles=("007004",),
        start=date(2020, 1, 1),
        end=date(2020, 1, 31),
        dates_per_month=9,
    )
    return [item.parent for item in sorted(report.items)]


def edit(scene, change):
    path = next(scene.glob("*.json"))
    doc = json.loads(path.read_text("utf-8"))
    change(doc)
    path.write_text(json.dumps(doc), "utf-8")


def rewrite(path, **changes):
    with rasterio.open(path) as src:
        profile, pixels = src.profile, src.read()
    profile = {
        k: v
        for k, v in profile.items()
        if k in ("count", "width", "height", "crs", "transform", "dtype", "nodata")
    }
    with rasterio.open(path, "w", driver="GTiff", **{**profile, **changes}) as out:
        out.write(pixels.astype(changes.get("dtype", profile["dtype"])))


@pytest.fixture(scope="module")
def spoilt(folder):
    """Spoil all scenes but one; give the words that each one's reason must hold."""
    edit(folder[0], lambda d: d["assets"].pop("BAND15"))
    edit(folder[1], lambda d: d["properties"].update(datetime=None, start_datetime=None))
    band = next(folder[2].glob("*_BAND16.tif"))
    band.write_bytes(band.read_bytes()[:-200])
    rewrite(next(folder[3].glob("*_BAND13.tif")), crs="EPSG:32722")
    next(folder[4].glob("*_CMASK.tif")).unlink()
    next(folder[5].glob("*.json")).write_text("{", "utf-8")
    edit(folder[6], lambda d: d.update(collection="S2_L2A-1"))
    rewrite(next(folder[7].glob("*_BAND14.tif")), dtype="int32")
    words = [
        "no asset 'BAND15'",
        "no datetime",
        "truncated",
        "wrong CRS EPSG:32722",
        "no such file",
        "cannot be read as JSON",
        "is of collection 'S2_L2A-1'",
        "dtype int32",
    ]
    return dict(zip([f.name for f in folder[:8]], words, strict=True))


@pytest.fixture(scope="module")
def report(dc, folder, spoilt):
    add_products(dc, shipped_products().values())
    return index_collection(dc, RECIPE, [folder[0].parent])


def test_each_broken_item_is_reported_and_the_rest_goes_in(dc, report, spoilt):
    assert report.added == 1
    assert dc.index.datasets.count(product=RECIPE.product) == 1
    assert len(report.failed) == len(spoilt)
    for failure in report.failed:
        day = next(d for d in spoilt if d in failure.source)
        assert spoilt[day] in failure.reason


def test_no_document_is_left_of_a_broken_item(dc, report, folder, tmp_path):
    assert not [f for f in folder if list(f.glob("*.odc-metadata.yaml")) or list(f.glob(".*"))]
    assert len(index_collection(dc, RECIPE, [folder[0].parent], out=tmp_path).failed) == 8
    (written,) = tmp_path.rglob("*.*")
    assert written.name == next(folder[8].glob("*.json")).stem + ".odc-metadata.yaml"


def test_folder_without_items_is_named(dc, report, tmp_path):
    with pytest.raises(OdcBdcError, match="no STAC item"):
        index_collection(dc, RECIPE, [tmp_path])
    with pytest.raises(OdcBdcError, match="no such file or folder"):
        index_collection(dc, RECIPE, [tmp_path / "none"])


def test_product_that_is_not_in_the_index_is_named(dc, report, folder, tmp_path):
    recipe = tmp_path / "own.yaml"
    recipe.write_text("collection: A-1\nproduct: A_1\nassets: [B]\n", "utf-8")
    with pytest.raises(OdcBdcError, match="no product A_1; add it with `odc-bdc product add A_1`"):
        index_collection(dc, find_recipe(str(recipe)), folder[:1])


def test_impossible_plans_are_named(dc, report):
    cube = find_cube("CB4_64_16D_STK_v1")
    with pytest.raises(OdcBdcError, match="2020-01-01 to 2020-01-16"):
        plan_cube(dc, cube, date(2020, 1, 2), date(2020, 1, 10))
    with pytest.raises(OdcBdcError, match="before it starts"):
        plan_cube(dc, cube, date(2020, 1, 2), date(2020, 1, 1))
    small = cube.patch(extent=demo_extent(32, ("007004",)))
    with pytest.raises(OdcBdcError, match="tile 001001 lies outside of the extent"):
        plan_cube(dc, small, date(2020, 1, 1), date(2020, 1, 31), tiles=["001001"])
    assert plan_cube(dc, cube, date(2010, 1, 1), date(2010, 1, 31)) == []


def test_scene_that_breaks_after_indexing_fails_its_image_only(dc, report, folder, tmp_path):
    cube = find_cube("CB4_64_16D_MED_v1").patch(extent=demo_extent(32, ("007004",)))
    tasks = plan_cube(dc, cube, date(2020, 1, 1), date(2020, 2, 1))
    assert len(tasks) == 1
    band = next(folder[8].glob("*_BAND13.tif"))
    kept = band.read_bytes()
    band.write_bytes(b"no raster")
    result = build_cube(dc, tasks, tmp_path, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    assert result.built == 0
    assert "cannot be read" in result.failed[0].reason
    assert list(tmp_path.rglob("*.*")) == [] or not list(tmp_path.rglob("*.tif"))
    assert dc.index.datasets.count(product=cube.name) == 0
    band.write_bytes(kept)
    result = build_cube(dc, tasks, tmp_path, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    assert result.built == 1
