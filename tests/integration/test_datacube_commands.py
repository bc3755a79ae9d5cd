"""The plain commands of datacube take our product and dataset documents."""

import json
import os
import subprocess
import sys
from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest

from odc_bdc.indexing import find_recipe, index_collection
from odc_bdc.product import shipped_products
from odc_bdc.scenes import make_scenes

RECIPE = find_recipe("cb4_wfi_l4_sr")


@pytest.fixture(scope="module")
def datacube(index):
    """Give a function that runs the command `datacube` on the index."""
    program = str(Path(sys.executable).with_name("datacube"))

    def run(*arguments):
        done = subprocess.run(
            [program, *arguments],
            env={**os.environ, "ODC_CONFIG_PATH": str(index.config_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def products(datacube):
    """Add all product documents with `datacube product add`."""
    folder = Path(str(files("odc_bdc.product_defs")))
    datacube("product", "add", *map(str, sorted(folder.rglob("*.odc-product.yaml"))))


def test_product_add(products, dc):
    """Each document is taken, and comes back as it was given but for keys, which become text."""
    given = json.loads(json.dumps(shipped_products()))
    held = {p.name: p for p in dc.index.products.get_all()}
    assert set(held) == set(given)
    for name, document in given.items():
        assert json.loads(json.dumps(held[name].definition)) == document
        hints = held[name].load_hints()
        assert bool(hints) == ("load" in document), name


def test_dataset_add_gives_what_our_indexer_gives(products, datacube, dc, tmp_path):
    make_scenes(tmp_path, size=32, tiles=("007004",), start=date(2020, 1, 1), end=date(2020, 1, 9))
    eo3 = tmp_path / "eo3"
    report = index_collection(dc, RECIPE, [tmp_path], out=eo3)
    assert report.added > 0
    ours = {d.id: d for d in dc.find_datasets(product=RECIPE.product)}
    dc.index.datasets.archive(list(ours))
    dc.index.datasets.purge(list(ours))
    assert dc.find_datasets(product=RECIPE.product) == []

    datacube("dataset", "add", *map(str, sorted(eo3.rglob("*.odc-metadata.yaml"))))
    theirs = {d.id: d for d in dc.find_datasets(product=RECIPE.product)}
    assert set(theirs) == set(ours)
    for id_, dataset in theirs.items():
        assert dataset.metadata_doc == ours[id_].metadata_doc
        assert dataset.uri == ours[id_].uri
    # The fingerprint is part of the document: what was added by others is known.
    report = index_collection(dc, RECIPE, [tmp_path], out=eo3)
    assert (report.unchanged, report.failed) == (len(ours), [])
