"""STAC items become EO3 documents and datasets of an ODC index."""

from odc_bdc.indexing.documents import dataset_document, write_document
from odc_bdc.indexing.folders import folder_items
from odc_bdc.indexing.found import FoundItem
from odc_bdc.indexing.index import Failure, IndexReport, add_document, archive, index_items
from odc_bdc.indexing.items import Verify, document_path, item_document
from odc_bdc.indexing.normalise import ItemFile, NormalisedItem, belongs_to, normalise_item
from odc_bdc.indexing.products import StaleDocument, add_products, write_documents
from odc_bdc.indexing.raster import RasterFile, read_header
from odc_bdc.indexing.recipe import IngestRecipe, find_recipe, shipped_recipes

__all__ = [
    "Failure",
    "FoundItem",
    "IndexReport",
    "IngestRecipe",
    "ItemFile",
    "NormalisedItem",
    "RasterFile",
    "StaleDocument",
    "Verify",
    "add_document",
    "add_products",
    "archive",
    "belongs_to",
    "dataset_document",
    "document_path",
    "find_recipe",
    "folder_items",
    "index_items",
    "item_document",
    "normalise_item",
    "read_header",
    "shipped_recipes",
    "write_document",
    "write_documents",
]
