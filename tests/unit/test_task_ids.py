"""Ids of images, pinned: what a release does not compute otherwise keeps its id."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import NamedTuple

import pytest
from made_tasks import cube_at, for_function

from odc_bdc.cube import Encoding, find_cube
from odc_bdc.errors import SceneError
from odc_bdc.function import composite_function
from odc_bdc.grid import BDC_CRS
from odc_bdc.planning import BandSource, CompositeTask, SceneRef
from odc_bdc.planning.scenes import scene_ref

BDC_WKT = BDC_CRS.to_wkt()
DAYS = (3, 8, 8)
GOLDEN = {
    # As 1e02a18 gave them.
    "LCF": "6763ca95-6031-5909-849e-729d26df2a60",
    "MED": "7b72134c-3079-594c-8396-93bc36126d97",
    "AVG": "ccb00275-67eb-518e-bf9c-970a34530d06",
    "MEDSTK": "61192129-ca74-5d8f-acf9-2c003ad6b1f3",
    "MAXNDVI": "3e214284-bca1-5fd1-9887-94c7286ef3ac",
    "MAXNDI": "ab8285be-da72-5be9-8fcf-4e0b961b0a74",
    "GEOMED": "82e0ab3b-5fe5-5c21-8829-a8b35d455fe8",
    "IDT": "b6118b03-82b6-5bce-adfc-a5f400929d12",
    "P25,P50": "2e9268d9-dbce-5d8b-9dd8-0d2d47bcb2cc",
    "Landsat": "83adb694-9d89-5ba9-b4fe-fc2fa52ac010",
    "several": "b3e7da43-763c-5800-a6c3-0e357f7b25ae",
    "clipped": "373e9f47-abbd-5ce9-9560-2b9866dd8cc4",
}


def scene(cube, number, day, encodings=None, **source):
    """Give a scene of a cube's products in turn; no file of it is there."""
    product = cube.products[number % len(cube.products)]
    bands = tuple(
        (m.name, BandSource(f"/{number}/{m.name}.tif", (encodings or {}).get(m.name, m.encoding)))
        for m in cube.measurements
    )
    return SceneRef(
        uuid.uuid5(uuid.NAMESPACE_URL, f"scene {number}"),
        f"scene {number}",
        datetime(2020, 1, day, 13, number, tzinfo=UTC),
        "cbers-4",
        product,
        tuple((name, replace(band, **source)) for name, band in bands),
    )


def task_of(cube, encodings=None, tile="007004", **source):
    scenes = tuple(scene(cube, n, day, encodings, **source) for n, day in enumerate(DAYS))
    return CompositeTask(cube, tile, cube.timeline.period_of(date(2020, 1, 3)), scenes)


def with_function(name):
    return for_function(find_cube("CB4_64_1M_STK_v1"), composite_function(name))


def landsat():
    """Scenes that store reflectance with an offset, which are converted."""
    stored = Encoding("uint16", 0, 2.75e-5, -0.2)
    cube = find_cube("LC8_30_16D_STK_v1")
    return task_of(cube, {m.name: stored for m in cube.bands}, tile="011009")


TASKS = {
    **{
        name: lambda name=name: task_of(with_function(name))
        for name in ("LCF", "MED", "AVG", "MEDSTK", "MAXNDVI", "MAXNDI", "GEOMED", "IDT", "P25,P50")
    },
    "Landsat": landsat,
    "several": lambda: task_of(find_cube("S2LC8_30_16D_STK_v1"), tile="011009"),
    "clipped": lambda: task_of(cube_at(40, 56)),
}


@pytest.mark.parametrize("name", TASKS)
def test_images_of_integers_on_the_grid_of_their_cube_keep_their_ids(name):
    assert str(TASKS[name]().id) == GOLDEN[name]


def warped_of(task):
    """Give the task with one band of one scene on another pixel grid."""
    first, *others = task.scenes
    (name, band), *bands = first.sources
    scene = replace(first, sources=((name, replace(band, warped=True)), *bands))
    return replace(task, scenes=(scene, *others))


def floating():
    cube = with_function("MED")
    return task_of(cube, {"BAND13": Encoding("float32", None, 1.0)})


def ranked(function, **encoding):
    """Give a task whose cube stores all bands, or one, with an offset or another scale."""
    cube = with_function(function)
    bands = tuple(
        replace(m, **encoding) if m.name in cube.common.values() else m for m in cube.measurements
    )
    return task_of(cube.patch(measurements=bands))


def uneven():
    cube = with_function("MAXNDVI")
    first = cube.common["red"]
    bands = tuple(replace(m, scale=0.0002) if m.name == first else m for m in cube.measurements)
    return task_of(cube.patch(measurements=bands))


RULED = {
    "warped": (lambda: warped_of(TASKS["MED"]()), ("warp 2",)),
    "float": (floating, ("float 1",)),
    "offset": (lambda: ranked("MAXNDVI", scale=2.75e-5, offset=-0.2), ("physical ranking 1",)),
    "offset of MAXNDI": (lambda: ranked("MAXNDI", offset=-0.1), ("physical ranking 1",)),
    "other scales": (uneven, ("physical ranking 1",)),
    "all": (
        lambda: warped_of(
            task_of(ranked("MAXNDVI", offset=-0.1).cube, {"BAND13": Encoding("float64")})
        ),
        ("warp 2", "float 1", "physical ranking 1"),
    ),
}
GOLDEN_RULED = {
    "warped": "9dbd8851-d015-59dc-aaf5-75319bdd6754",
    "float": "a7867746-8fb3-509f-a125-726524921892",
    "offset": "93b6415f-8875-5e55-9b70-b29b6d95b2da",
    "offset of MAXNDI": "38c6ab9c-1943-5e1b-bdfb-4a9f028256dd",
    "other scales": "d1306942-aebc-557a-824b-eb45dbc6248d",
    "all": "b7f19fb3-aae8-55b1-9bf9-c9ea2fd1e8fd",
}


@pytest.mark.parametrize("name", RULED)
def test_rules_enter_the_id_where_they_apply(name):
    make, rules = RULED[name]
    task = make()
    assert task.rules == rules
    assert str(task.id) == GOLDEN_RULED[name]


@pytest.mark.parametrize("name", TASKS)
def test_no_rule_applies_to_integers_on_the_grid(name):
    assert TASKS[name]().rules == ()


def test_a_common_scale_ranks_as_reflectances_do():
    assert ranked("MAXNDVI", scale=0.0002).rules == ()
    # Other functions compare no bands, or those in reflectances already.
    assert ranked("MED", offset=-0.1).rules == ranked("GEOMED", offset=-0.1).rules == ()


class Document(NamedTuple):
    """A dataset, as far as planning looks at it."""

    metadata_doc: dict
    uri: str = "file:///scene.yaml"


def document(cube, grids, crs=BDC_WKT, named=None):
    """Give a dataset of a cube's source; `named` gives the grid of some of its bands."""
    bands = {m.name: {"path": f"{m.name}.tif"} for m in cube.measurements}
    for name, grid in (named or {}).items():
        bands[name]["grid"] = grid
    return Document(
        {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, "scene")),
            "crs": crs,
            "grids": {
                name: {"shape": [40, 56], "transform": [*transform, 0.0, 0.0, 1.0]}
                for name, transform in grids.items()
            },
            "measurements": bands,
            "properties": {"datetime": "2020-01-03T13:00:00Z"},
        }
    )


def warped_bands(cube, *given, **told):
    (source,) = cube.sources
    encodings = {m.name: m.encoding for m in cube.measurements}
    ref = scene_ref(document(cube, *given, **told), cube, source, encodings)
    return {name for name, band in ref.sources if band.warped}


def test_documents_tell_which_bands_are_warped():
    cube = find_cube("CB4_64_1M_STK_v1")
    names = {m.name for m in cube.measurements}
    x, y = cube.grid.bbox("007004")[0], cube.grid.bbox("007004")[3]
    here = (64.0, 0.0, x, 0.0, -64.0, y)
    beside = (64.0, 0.0, x - 64 * 1000, 0.0, -64.0, y + 64 * 7)
    for grid in (here, beside, (64.0, 0.0, x + 1e-4, 0.0, -64.0, y)):
        assert warped_bands(cube, {"default": grid}) == set()
    foreign = [
        (64.0, 0.0, x + 32, 0.0, -64.0, y),
        (32.0, 0.0, x, 0.0, -32.0, y),
        (64.0, 1.0, x, 1.0, -64.0, y),
        (64.0, 0.0, x, 0.0, 64.0, y),
        (64.01, 0.0, x, 0.0, -64.0, y),
    ]
    for grid in foreign:
        assert warped_bands(cube, {"default": grid}) == names
    assert warped_bands(cube, {"default": here}, crs="EPSG:32722") == names
    # Each band has its own grid.
    grids = {"default": here, "coarse": (128.0, 0.0, x, 0.0, -128.0, y)}
    assert warped_bands(cube, grids, named={"CMASK": "coarse"}) == {"CMASK"}


def test_a_document_without_a_usable_grid_is_named():
    cube = find_cube("CB4_64_1M_STK_v1")
    with pytest.raises(SceneError, match="does not say on which pixels it lies"):
        warped_bands(cube, {"default": (64.0,)})
