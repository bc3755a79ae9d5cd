"""What lies in the folder of a built image, where that is, and that it is there whole or not."""

import hashlib
import json
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial

import jsonschema
import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
import shapely
import yaml
from click.testing import CliRunner
from eodatasets3.validate import validate_dataset
from eodatasets3.verify import PackageChecksum
from pystac.stac_object import STACObjectType
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from odc_bdc import OdcBdcError, find_cube
from odc_bdc.building import build_cube
from odc_bdc.building.storage import Bucket
from odc_bdc.building.store import ImageStore
from odc_bdc.building.writing import write_image
from odc_bdc.cli import main
from odc_bdc.errors import InvalidValueError, SceneError, UnreadableSceneError
from odc_bdc.indexing import add_products, find_recipe, index_collection
from odc_bdc.planning import plan_cube
from odc_bdc.product import shipped_products
from odc_bdc.scenes import demo_extent, make_scenes

SIZE = 48
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RECIPE = find_recipe("cb4_wfi_l4_sr")
NAMES = ("CB4_64_16D_STK_v1", "CB4_64_16D_MED_v1")
V1 = "CB4_64_16D_STK/v001/007004/2019-12-19_2019-12-31"
V1_ITEM = "CB4_64_16D_STK_v001_007004_2019-12-19_2019-12-31"


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Give a folder of small scenes of one tile and one period."""
    folder = tmp_path_factory.mktemp("scenes")
    make_scenes(
        folder, size=SIZE, tiles=("007004",), start=date(2019, 12, 19), end=date(2019, 12, 31)
    )
    return folder


@pytest.fixture(scope="module")
def indexed(dc, made):
    """Give the index with all products and the scenes."""
    add_products(dc, shipped_products().values())
    assert index_collection(dc, RECIPE, [made]).failed == []
    return dc


@pytest.fixture(scope="module")
def tasks(indexed):
    """Give one task of each cube."""
    cubes = [find_cube(name).patch(extent=demo_extent(SIZE, ("007004",))) for name in NAMES]
    found = [plan_cube(indexed, c, date(2019, 12, 19), date(2019, 12, 31)) for c in cubes]
    assert [len(some) for some in found] == [1, 1]
    return [task for (task,) in found]


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """Give a root that the tests of both drivers share: images do not depend on the index."""
    return tmp_path_factory.mktemp("cubes")


@pytest.fixture(scope="module")
def images(indexed, tasks, root):
    """Build the tasks; give the folder of each one's image, by task."""
    assert build_cube(indexed, tasks, root, now=now).failed == []
    store = ImageStore.open(root)
    return [(task, root / store.folder(task)) for task in tasks]


@pytest.fixture
def build(indexed, images):
    """Give a function that builds and indexes; what it adds is forgotten at the end."""
    ours = {task.id for task, _ in images}
    added = set()

    def build(tasks, root, workers=1):
        added.update({task.id for task in tasks} - ours)
        # Other processes find this clock, but no function of a test.
        clock = partial(datetime.now, UTC)
        report = build_cube(indexed, tasks, root, now=clock, workers=workers)
        assert report.failed == []
        return report

    yield build
    ids = sorted(added, key=str)
    indexed.index.datasets.archive(ids)
    indexed.index.datasets.purge(ids)
    indexed.index.datasets.restore([i for i in ours if indexed.index.datasets.get(i).is_archived])


def now():
    return NOW


def newer(task):
    """Give another version of an image: of fewer scenes."""
    return replace(task, scenes=task.scenes[1:])


def item_of(task, folder):
    return pystac.Item.from_file(folder / f"{task.item_id}.json")


def files(folder):
    """Give what each visible file below a folder holds."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {".partial", ".efficacy"} & {*path.parts}
    }


# Documents


def test_stac_is_valid(images, root):
    core = JsonSchemaSTACValidator()
    for task, folder in images:
        item = json.loads((folder / f"{task.item_id}.json").read_text("utf-8"))
        core.validate_core(item, STACObjectType.ITEM, "1.1.0")
        (link,) = [x for x in item["links"] if x["rel"] == "collection"]
        path = folder / link["href"]
        assert path.resolve() == root / f"{task.cube.name}.collection.json"
        collection = json.loads(path.read_text("utf-8"))
        core.validate_core(collection, STACObjectType.COLLECTION, "1.1.0")
        assert collection["id"] == item["collection"] == task.cube.name
        ((start, end),) = collection["extent"]["temporal"]["interval"]
        assert start <= item["properties"]["start_datetime"]
        assert item["properties"]["end_datetime"] <= end
        links = {link["rel"]: link["href"] for link in collection["links"]}
        assert (path.parent / links["root"]).resolve() == path.resolve()
        assert links["license"] == f"https://spdx.org/licenses/{task.cube.license}.html"
        around = shapely.box(*collection["extent"]["spatial"]["bbox"][0])
        assert around.contains(shapely.box(*item["bbox"]).centroid)


# What the schemas of the extensions ask for, which are not at hand without a network.
NUMBER, INTEGER, TEXT = {"type": "number"}, {"type": "integer", "minimum": 0}, {"type": "string"}
MULTIHASH = {"type": "string", "pattern": "^[a-f0-9]+$"}
RASTER_BAND = {
    "properties": {
        "nodata": {"oneOf": [NUMBER, {"enum": ["nan", "inf", "-inf"]}]},
        "sampling": {"enum": ["area", "point"]},
        "data_type": {"enum": ["int8", "int16", "uint8", "uint16", "float32"]},
        "spatial_resolution": NUMBER,
        "scale": NUMBER,
        "offset": NUMBER,
    },
    "additionalProperties": False,
}
COMMON = [
    "coastal", "blue", "green", "red", "rededge", "yellow", "pan", "nir", "nir08", "nir09",
    "cirrus", "swir16", "swir22", "lwir", "lwir11", "lwir12",
]  # fmt: skip
EXTENSIONS = {
    "required": ["stac_extensions", "properties", "assets"],
    "properties": {
        "stac_extensions": {
            "const": [
                "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
                "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
                "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
                "https://stac-extensions.github.io/file/v2.1.0/schema.json",
                "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
            ]
        },
        "properties": {
            "required": [
                "proj:code", "proj:wkt2", "proj:shape", "proj:transform", "eo:cloud_cover",
                "processing:software", "processing:lineage", "processing:level",
                "processing:version", "processing:datetime", "created", "license",
            ],
            "properties": {
                "proj:code": {"type": ["string", "null"], "pattern": "^[^:]+:.+"},
                "proj:wkt2": TEXT,
                "proj:shape": {"type": "array", "items": INTEGER, "minItems": 2, "maxItems": 2},
                "proj:transform": {"type": "array", "items": NUMBER, "minItems": 6},
                "eo:cloud_cover": {"type": "number", "minimum": 0, "maximum": 100},
                "processing:software": {"type": "object", "additionalProperties": TEXT},
                "processing:lineage": TEXT,
                "processing:level": {"pattern": "^L[0-4]"},
                "processing:version": TEXT,
                "processing:datetime": {"pattern": r"^[\d-]+T[\d:.]+(Z|[+-]\d\d:\d\d)$"},
                "bdc:tiles": {"type": "array", "items": TEXT},
            },
        },
        "assets": {
            "additionalProperties": {
                "required": ["href", "type", "roles", "file:size", "file:checksum"],
                "properties": {
                    "file:size": INTEGER,
                    "file:checksum": MULTIHASH,
                    "raster:bands": {"minItems": 1, "items": RASTER_BAND},
                    "eo:bands": {
                        "minItems": 1,
                        "items": {"properties": {"name": TEXT, "common_name": {"enum": COMMON}}},
                    },
                },
            }
        },
    },
}  # fmt: skip


def test_stac_keeps_the_rules_of_its_extensions(images):
    jsonschema.Draft202012Validator.check_schema(EXTENSIONS)
    for task, folder in images:
        item = json.loads((folder / f"{task.item_id}.json").read_text("utf-8"))
        jsonschema.validate(item, EXTENSIONS)
        assert item["properties"]["bdc:tiles"] == ["007004"]
        assert item["properties"]["bdc:grs"] == "BDC_LG_V2"
        asset = item["assets"]["BAND15"]
        assert asset["bdc:raster_size"] == {"x": SIZE, "y": SIZE}
        assert asset["eo:bands"] == [{"name": "BAND15", "common_name": "red"}]
        with rasterio.open(folder / asset["href"]) as src:
            rows, columns = src.block_shapes[0]
            assert asset["bdc:chunk_size"] == {"x": columns, "y": rows}
            assert list(src.transform)[:6] == item["properties"]["proj:transform"]
            assert list(src.shape) == item["properties"]["proj:shape"]
            (band,) = asset["raster:bands"]
            assert (band["data_type"], band["nodata"]) == (src.dtypes[0], src.nodata)
        assert "nodata" not in item["assets"]["CLEAROB"]["raster:bands"][0]


def test_sizes_and_checksums_are_those_of_the_files(images):
    for task, folder in images:
        for asset in item_of(task, folder).assets.values():
            content = (folder / asset.href).read_bytes()
            assert asset.extra_fields["file:size"] == len(content)
            sha256 = hashlib.sha256(content).hexdigest()
            assert asset.extra_fields["file:checksum"] == f"1220{sha256}"
        checksums = PackageChecksum()
        checksums.read(folder / f"{task.item_id}.sha1")
        checked = dict(checksums.iteratively_verify())
        assert all(checked.values())
        assert {p.name for p in checked} == {
            p.name for p in folder.iterdir() if p.suffix != ".sha1"
        }


def test_eo3_is_valid_and_names_its_files(images):
    for task, folder in images:
        doc = yaml.safe_load((folder / f"{task.item_id}.odc-metadata.yaml").read_text("utf-8"))
        messages = validate_dataset(doc, product_definition=task.cube.to_product())
        errors = [m.reason for m in messages if m.level.name == "error"]
        # datacube takes the BDC's names, which are not in lower case.
        assert [e for e in errors if not e.startswith("(product.name)")] == []
        assert set(doc["accessories"]) == {"checksum:sha1", "metadata:stac", "thumbnail"}
        assert all((folder / a["path"]).is_file() for a in doc["accessories"].values())
        assert doc["lineage"]["scenes"] == [str(s.id) for s in task.scenes]


def test_shares_of_clear_pixels_are_those_of_the_counts(images):
    for task, folder in images:
        counts = {}
        for name in ("CLEAROB", "TOTALOB"):
            with rasterio.open(folder / f"{task.item_id}_{name}.tif") as src:
                counts[name] = src.read(1) > 0
        seen, clear = counts["TOTALOB"].sum(), counts["CLEAROB"].sum()
        doc = yaml.safe_load((folder / f"{task.item_id}.odc-metadata.yaml").read_text("utf-8"))
        for told in (doc["properties"], item_of(task, folder).properties):
            assert told["eo:cloud_cover"] == pytest.approx(100 - 100 * clear / seen, abs=0.01)
            assert told["odc_bdc:clear_percent"] == pytest.approx(clear / SIZE**2 * 100, abs=0.01)
            assert told["odc_bdc:valid_percent"] == pytest.approx(seen / SIZE**2 * 100, abs=0.01)
            assert told["odc_bdc:scenes"] == len(task.scenes) > 1
            assert told["odc_bdc:observations"] == len({s.datetime.date() for s in task.scenes})
        assert clear > 0


def test_items_lead_to_the_items_of_their_scenes(images, made):
    for task, folder in images:
        links = item_of(task, folder).get_links("derived_from")
        found = {pystac.Item.from_file(link.href.removeprefix("file://")).id for link in links}
        items = [p for p in made.rglob("*.json") if p.name != "collection.json"]
        assert found == {json.loads(p.read_text("utf-8"))["id"] for p in items}
        assert len(links) == len(task.scenes)


def test_stac_gives_the_same_pixels_as_the_index(indexed, images):
    for task, folder in images:
        loaded = indexed.load(datasets=[indexed.index.datasets.get(task.id)])
        item = item_of(task, folder)
        item.make_asset_hrefs_absolute()
        stac = odc.stac.load([item])
        assert set(stac.data_vars) == {m.name for m in task.cube.outputs}
        assert stac.odc.geobox.crs == loaded.odc.geobox.crs
        np.testing.assert_allclose(
            list(stac.odc.geobox.affine), list(loaded.odc.geobox.affine), rtol=1e-12
        )
        for name in loaded.data_vars:
            np.testing.assert_array_equal(stac[name].values, loaded[name].values, name)
            assert stac[name].dtype == loaded[name].dtype
        assert "red" not in stac
        assert set(odc.stac.load([item], bands=["red", "nir"]).data_vars) == {"red", "nir"}


def test_picture_shows_the_image(images):
    for task, folder in images:
        asset = item_of(task, folder).assets["thumbnail"]
        assert (asset.media_type, asset.roles) == ("image/png", ["thumbnail"])
        with (
            pytest.warns(rasterio.errors.NotGeoreferencedWarning),
            rasterio.open(folder / asset.href) as src,
        ):
            picture = src.read()
        bands = []
        for name in ("BAND15", "BAND14", "BAND13"):
            with rasterio.open(folder / f"{task.item_id}_{name}.tif") as src:
                bands.append(src.read(1))
        valid = np.all([b != -9999 for b in bands], axis=0)
        np.testing.assert_array_equal(picture[3], np.where(valid, 255, 0))
        for layer, band in zip(picture, bands, strict=False):
            ranks = np.argsort(band[valid], kind="stable")
            assert (np.diff(layer[valid][ranks].astype(int)) >= 0).all()


def test_same_task_gives_the_same_bytes(images, root, tmp_path):
    for task, _ in images:
        write_image(task, tmp_path, processed=NOW)
    elsewhere, here = files(tmp_path), files(root)
    assert elsewhere.keys() == here.keys() - {".layout.json"}
    assert all(here[name] == content for name, content in elsewhere.items())


def test_more_properties_are_in_both_documents(tasks, tmp_path):
    more = {"odc_bdc:task": str(tasks[0].id), "odc_bdc:skipped_scenes": ["a", "b"]}
    write_image(tasks[0], tmp_path, processed=NOW, properties=more)
    folder = tmp_path / ImageStore.open(tmp_path).folder(tasks[0])
    doc = yaml.safe_load(next(folder.glob("*.yaml")).read_text("utf-8"))
    assert doc["properties"].items() >= more.items()
    assert item_of(tasks[0], folder).properties.items() >= more.items()


@pytest.mark.real
def test_images_of_real_scenes(dc, real_data, tmp_path):
    """Sentinel-2 over Belgium, in a CRS that has a code."""
    add_products(dc, shipped_products().values())
    folder = real_data / "S2_L2A_31UES-1"
    assert index_collection(dc, find_recipe("S2_L2A_31UES-1"), [folder]).failed == []
    cube = find_cube("S2_31UES_10_16D_STK_v1")
    tasks = plan_cube(dc, cube, date(2023, 10, 16), date(2023, 10, 31))
    store = ImageStore.open(tmp_path, layout="bdc-v1")
    assert build_cube(dc, tasks, store, now=now).failed == []
    (task,) = tasks
    name = f"S2_31UES_10_16D_STK_v001_{task.tile_id}_2023-10-16_2023-10-31"
    assert store.layout.item_id(task) == name
    image = tmp_path / store.folder(task)
    document = json.loads((image / f"{name}.json").read_text("utf-8"))
    jsonschema.validate(document, EXTENSIONS)
    JsonSchemaSTACValidator().validate_core(document, STACObjectType.ITEM, "1.1.0")
    assert document["properties"]["proj:code"] == "EPSG:32631"
    # EXPECTED.json of the scenes: all 2392 pixels are clear on one day of this period.
    assert document["properties"]["odc_bdc:clear_percent"] == 100
    assert document["properties"]["eo:cloud_cover"] == 0
    links = [x["href"] for x in document["links"] if x["rel"] == "derived_from"]
    assert len(links) == len(task.scenes) == document["properties"]["odc_bdc:scenes"]
    item = pystac.Item.from_file(image / f"{name}.json")
    item.make_asset_hrefs_absolute()
    stac, loaded = odc.stac.load([item]), dc.load(datasets=[dc.index.datasets.get(task.id)])
    assert stac.odc.geobox == loaded.odc.geobox
    for band in loaded.data_vars:
        np.testing.assert_array_equal(stac[band].values, loaded[band].values, band)
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(image / f"{name}.png") as src,
    ):
        picture = src.read()
    assert (picture[3] == 255).all()
    assert all(np.unique(layer).size > 100 for layer in picture[:3])
    values = np.stack([loaded[band].values[0].astype(float) for band in ("B04", "B03", "B02")])
    low, high = np.percentile(values, [2, 98])
    wanted = np.clip((values - low) / (high - low), 0, 1) * 255
    assert np.abs(picture[:3] - wanted).max() <= 0.5 + 1e-9


# Layouts


@pytest.mark.parametrize(
    ("layout", "folder", "item"),
    [
        ("bdc-v1", V1, V1_ITEM),
        (
            "bdc-v2",
            "cb4_64_16d_stk/v1/007/004/2019/12/19",
            "CB4_64_16D_STK_V1_007004_20191219",
        ),
        (
            "{year}/{tile}/{cube}.{start}",
            "2019/007004/CB4_64_16D_STK_v1.2019-12-19",
            "CB4_64_16D_STK_v1_007004_2019-12-19_2019-12-31",
        ),
    ],
)
def test_layouts_without_versions(indexed, build, tasks, tmp_path, layout, folder, item):
    task, second, third = tasks[0], newer(tasks[0]), newer(newer(tasks[0]))
    store = ImageStore.open(tmp_path, layout=layout)
    build([task], store)
    assert (tmp_path / folder / f"{item}_BAND13.tif").is_file()
    assert store.document_uri(task) == (tmp_path / folder / f"{item}.odc-metadata.yaml").as_uri()
    before = files(tmp_path)
    # The layout is known without being told, and nothing is made twice.
    again = build([task], tmp_path)
    assert (again.built, again.unchanged) == (0, 1)
    assert files(tmp_path) == before

    build([second], tmp_path)
    build([third], tmp_path)
    assert files(tmp_path).items() >= before.items()
    for version in (second, third):
        beside = f"{folder}.{str(version.id)[:8]}"
        assert store.folder(version) == beside
        assert (tmp_path / beside / f"{item}_BAND13.tif").is_file()
        assert store.is_written(version)
        doc = yaml.safe_load((tmp_path / store.document(version)).read_text("utf-8"))
        assert doc["id"] == str(version.id)
        item_doc = json.loads((tmp_path / beside / f"{item}.json").read_text("utf-8"))
        (link,) = [x for x in item_doc["links"] if x["rel"] == "collection"]
        assert (tmp_path / beside / link["href"]).is_file()
    assert store.folder(task) == folder
    assert len(store.documents(task.cube.name)) == 3
    assert store.documents("OTHER_v1") == []
    seen = indexed.index.datasets.get(third.id)
    assert seen.uri == store.document_uri(third)
    np.testing.assert_array_equal(
        indexed.load(datasets=[seen]).CLEAROB.values[0],
        rasterio.open(tmp_path / store.folder(third) / f"{item}_CLEAROB.tif").read(1),
    )


def test_root_has_one_layout(tasks, tmp_path):
    ImageStore.open(tmp_path, layout="bdc-v1").prepare([NAMES[0]])
    assert ImageStore.open(tmp_path).layout.name == "bdc-v1"
    for other in ("odc-bdc", "bdc-v2", "{cube}/{tile}/{start}"):
        with pytest.raises(InvalidValueError) as raised:
            ImageStore.open(tmp_path, layout=other)
        assert str(raised.value) == (
            f"{tmp_path.as_uri()}: has images in layout bdc-v1, so {other} cannot be written "
            "there; leave --layout out, or give another --root"
        )
    # One that was opened before another run noted its own.
    late = replace(ImageStore.open(tmp_path), layout=ImageStore.open(tmp_path / "x").layout)
    with pytest.raises(InvalidValueError, match="has images in layout bdc-v1"):
        late.prepare([NAMES[0]])
    with pytest.raises(InvalidValueError, match="needs the version of a cube, and 'OWN'"):
        ImageStore.open(tmp_path).prepare(["OWN"])
    escape = {"name": "x", "folder_template": "../{cube}/{tile}/{start}"}
    for spoilt in ("{}", "[", "[1]", json.dumps(escape)):
        (tmp_path / ".layout.json").write_text(spoilt, "utf-8")
        with pytest.raises(InvalidValueError, match="holds no layout"):
            ImageStore.open(tmp_path)


def test_versions_that_are_published_at_once_do_not_mix(tasks, tmp_path):
    """Twelve versions of an image at one moment: each whole, one of them in the layout's place."""
    store = ImageStore.open(tmp_path, layout="bdc-v1")
    versions = [replace(tasks[0], scenes=tasks[0].scenes[n:]) for n in range(6)]
    starting = threading.Barrier(12)

    def publish(number):
        task = versions[number % 6]
        folder = tmp_path / f"made-{number}"
        folder.mkdir()
        for name in (f"{V1_ITEM}_A.tif", f"{V1_ITEM}.odc-metadata.yaml"):
            (folder / name).write_text(str(task.id), "utf-8")
        starting.wait()
        store.publish(task, folder)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(publish, range(12)))
    folders = {store.folder(task) for task in versions}
    assert len(folders) == 6
    assert V1 in folders
    for task in versions:
        content = {p.read_text("utf-8") for p in (tmp_path / store.folder(task)).iterdir()}
        assert content == {str(task.id)}


def test_folder_of_others_is_left_alone(tasks, tmp_path):
    """A root that holds the BDC's own images."""
    theirs = tmp_path / V1 / f"{V1_ITEM}_BAND13.tif"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    store = ImageStore.open(tmp_path, layout="bdc-v1")
    write_image(tasks[0], store, processed=NOW)
    assert theirs.read_bytes() == b"theirs"
    assert list(theirs.parent.iterdir()) == [theirs]
    assert store.folder(tasks[0]) == f"{V1}.{str(tasks[0].id)[:8]}"
    assert store.is_written(tasks[0])


def test_command_takes_root_and_layout(index, images, tmp_path):
    extent = [str(x) for x in demo_extent(SIZE, ("007004",))]
    words = ["cube", "build", NAMES[0], "--time", "2019-12-19", "2019-12-31", "--clip", *extent]
    words += ["--home", str(index.config_path.parent), "--root", str(tmp_path)]
    for options in (["--layout", "bdc-v1", "--compress", "deflate"], []):
        done = CliRunner().invoke(main, [*words, *options])
        assert done.exit_code == 0, done.output
        assert [p.name for p in tmp_path.rglob("*.odc-metadata.yaml")] == [
            f"{V1_ITEM}.odc-metadata.yaml"
        ]
    for path in tmp_path.rglob("*.tif"):
        with rasterio.open(path) as src:
            assert src.compression.name == "deflate"
    before = files(tmp_path)
    for layout, message in (
        ("bdc-v2", f"{tmp_path.as_uri()}: has images in layout bdc-v1"),
        ("bdc-v3", "layout 'bdc-v3' is not known, do you mean bdc-v"),
        ("{cube}/{tile}/{yeer}", "no field {yeer}, do you mean year?"),
    ):
        done = CliRunner().invoke(main, [*words, "--layout", layout])
        assert done.exit_code == 2
        (line,) = done.stderr.splitlines()
        assert message in line
    assert files(tmp_path) == before


# Faults


def test_unreadable_scene_is_told_as_such(tasks, tmp_path):
    scene = tasks[0].scenes[0]
    gone = tuple((m, replace(s, href=f"file://{tmp_path}/none.tif")) for m, s in scene.sources)
    broken = replace(tasks[0], scenes=(replace(scene, sources=gone), *tasks[0].scenes[1:]))
    with pytest.raises(UnreadableSceneError, match=r"none.tif: cannot be read") as raised:
        write_image(broken, tmp_path / "cubes", processed=NOW)
    assert raised.value.scene == scene.id
    assert files(tmp_path) == {}


# Files may not grow beyond a size: to a process this is a disk that is full.
_FULL = """
import pickle, resource, signal, sys
from datetime import UTC, datetime
from odc_bdc.building.writing import write_image
from odc_bdc.cli import main
from odc_bdc.errors import SceneError
task, root, limit = pickle.load(sys.stdin.buffer)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    write_image(task, root, processed=datetime(2026, 1, 1, tzinfo=UTC))
except SceneError as e:
    print(e)
"""


@pytest.mark.parametrize("limit", [0, 900, 3000])
def test_full_disk_leaves_nothing(tasks, images, tmp_path, limit):
    sizes = sorted(p.stat().st_size for p in images[0][1].iterdir())
    assert limit < sizes[-1]
    done = subprocess.run(
        [sys.executable, "-c", _FULL],
        input=pickle.dumps((tasks[0], tmp_path / "cubes", limit)),
        capture_output=True,
        check=True,
    )
    (line,) = done.stdout.decode().splitlines()
    assert line.startswith(f"{tmp_path}/cubes: ")
    assert "cannot be written: " in line
    assert files(tmp_path) == {}
    assert list((tmp_path / "cubes" / ".partial").glob("*")) == []


def test_root_that_is_a_file_is_named(tasks, tmp_path):
    (tmp_path / "file").write_text("", "utf-8")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OdcBdcError) as raised:
            build_cube(None, tasks, place, now=now)
        assert str(place) in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("address", ["https://host/cubes", "gs://bucket/a", "s3://", "s3:///a"])
def test_roots_elsewhere_are_refused(address):
    with pytest.raises(OdcBdcError, match="images are written to a folder, or to s3://BUCKET"):
        ImageStore.open(address)


# A bucket


def test_bucket_holds_the_same_as_a_disk(images, bucket, tmp_path):
    address, s3 = bucket
    store = ImageStore.open(address, work=tmp_path)
    for task, folder in images:
        for version in (newer(task), task):
            write_image(version, store, processed=NOW)
        there = f"{address}/{store.folder(task)}"
        for path in folder.iterdir():
            if path.suffix in {".tif", ".png", ".yaml"}:
                assert s3.cat_file(f"{there}/{path.name}") == path.read_bytes()
        item = json.loads(s3.cat_file(f"{there}/{task.item_id}.json"))
        # Scenes of this machine are nothing to those who read the bucket.
        assert not [x for x in item["links"] if x["rel"] == "derived_from"]
        JsonSchemaSTACValidator().validate_core(item, STACObjectType.ITEM, "1.1.0")
        assert store.is_written(task)
        assert len(store.documents(task.cube.name)) == 2
    assert list(tmp_path.rglob("*.tif")) == []


@pytest.mark.parametrize("layout", ["odc-bdc", "bdc-v1"])
def test_images_in_a_bucket_are_loaded(indexed, build, tasks, bucket, tmp_path, layout):
    address, _ = bucket
    store = ImageStore.open(address, layout=layout, work=tmp_path)
    task = newer(tasks[0])
    build([task], store)
    dataset = indexed.index.datasets.get(task.id)
    assert dataset.uri == store.document_uri(task)
    assert dataset.uri.startswith(f"{address}/CB4_64_16D_STK")
    loaded = indexed.load(datasets=[dataset])
    write_image(task, tmp_path / "here", processed=NOW)
    here = tmp_path / "here" / ImageStore.open(tmp_path / "here").folder(task)
    for name in loaded.data_vars:
        with rasterio.open(here / f"{task.item_id}_{name}.tif") as src:
            np.testing.assert_array_equal(loaded[name].values[0], src.read(1), name)
    again = build([task], ImageStore.open(address, work=tmp_path))
    assert (again.built, again.unchanged) == (0, 1)


def test_worker_processes_write_to_a_bucket(indexed, build, tasks, bucket, tmp_path):
    address, _ = bucket
    store = ImageStore.open(address, layout="bdc-v1", work=tmp_path)
    versions = [newer(newer(task)) for task in tasks]
    build(versions, store, workers=2)
    assert all(store.is_written(version) for version in versions)
    assert files(tmp_path) == {}


@pytest.mark.parametrize("layout", ["odc-bdc", "bdc-v1"])
def test_killed_upload_is_seen_by_nobody_and_finished_later(
    tasks, bucket, tmp_path, monkeypatch, layout
):
    address, s3 = bucket
    store = ImageStore.open(address, layout=layout, work=tmp_path)
    task, upload = tasks[0], Bucket._upload
    seen = []

    class Killed(BaseException):
        pass

    for until in range(1, 8, 3):
        left = iter([None] * until)

        def until_killed(self, file, to, left=left):
            if next(left, "end"):
                # Half of the file is there, as of a machine that lost its power.
                s3.pipe_file(self.uri(to).removeprefix("s3://"), file.read_bytes()[:50])
                raise Killed
            upload(self, file, to)
            seen.append(to)

        monkeypatch.setattr(Bucket, "_upload", until_killed)
        with pytest.raises(Killed):
            write_image(task, store, processed=NOW)
        assert not store.is_written(task)
        assert store.documents(task.cube.name) == []
        assert list(tmp_path.rglob("*.tif")) == []
    monkeypatch.setattr(Bucket, "_upload", upload)
    # A version that came by meanwhile took nobody's place.
    write_image(newer(task), store, processed=NOW)
    write_image(task, store, processed=NOW)
    for version in (task, newer(task)):
        assert store.is_written(version)
        folder = f"{address}/{store.folder(version)}"
        write_image(version, tmp_path / layout, processed=NOW)
        here = ImageStore.open(tmp_path / layout)
        for path in (tmp_path / layout / here.folder(version)).glob("*.tif"):
            name = path.name.replace(version.item_id, store.layout.item_id(version))
            assert s3.cat_file(f"{folder}/{name}") == path.read_bytes()
    assert store.folder(task) != store.folder(newer(task))
    assert seen


def test_faults_of_a_bucket_are_told(tasks, s3, tmp_path, monkeypatch):
    store = ImageStore.open("s3://no-such-bucket/a", work=tmp_path)
    with pytest.raises(SceneError) as raised:
        store.prepare([NAMES[0]])
    assert str(raised.value).startswith("s3://no-such-bucket/a/.layout.json: ")
    assert "\n" not in str(raised.value)
    with pytest.raises(SceneError, match="s3://no-such-bucket/a"):
        write_image(tasks[0], store, processed=NOW)
    assert list(tmp_path.rglob("*.tif")) == []
