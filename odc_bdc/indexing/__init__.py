"""STAC items become EO3 documents and datasets of an ODC index."""

from odc_bdc.indexing.documents import (
    RasterFile,
    dataset_document,
    read_header,
    write_document,
)
from odc_bdc.indexing.index import Failure, IndexReport, add_document, archive, index_items
from odc_bdc.indexing.products import StaleDocument, add_products, write_documents
from odc_bdc.indexing.recipe import IngestRecipe, find_recipe, shipped_recipes

__all__ = [
    "Failure",
    "IndexReport",
    "IngestRecipe",
    "RasterFile",
    "StaleDocument",
    "add_document",
    "add_products",
    "archive",
    "dataset_document",
    "find_recipe",
    "index_items",
    "read_header",
    "shipped_recipes",
    "write_document",
    "write_documents",
]
