"""STAC items become EO3 documents and datasets of an ODC index."""

from odc_bdc.indexing.conversion import Conversion, ItemKey
from odc_bdc.indexing.coverage import Coverage
from odc_bdc.indexing.documents import (
    RasterFile,
    dataset_document,
    read_header,
    write_document,
)
from odc_bdc.indexing.found import FoundItem
from odc_bdc.indexing.index import (
    Failure,
    IndexReport,
    Record,
    add_document,
    archive,
    index_items,
)
from odc_bdc.indexing.ingest import Search, index_collection
from odc_bdc.indexing.products import StaleDocument, add_products, find_product, write_documents
from odc_bdc.indexing.recipe import IngestRecipe, find_recipe, shipped_recipes

__all__ = [
    "Conversion",
    "Coverage",
    "Failure",
    "FoundItem",
    "IndexReport",
    "IngestRecipe",
    "ItemKey",
    "RasterFile",
    "Record",
    "Search",
    "StaleDocument",
    "add_document",
    "add_products",
    "archive",
    "dataset_document",
    "find_product",
    "find_recipe",
    "index_collection",
    "index_items",
    "read_header",
    "shipped_recipes",
    "write_document",
    "write_documents",
]
