"""STAC items become EO3 documents and datasets of an ODC index."""

from odc_bdc.indexing.added import MadeDocument, add_documents
from odc_bdc.indexing.conversion import Conversion, ItemKey
from odc_bdc.indexing.coverage import Coverage
from odc_bdc.indexing.documents import dataset_document, write_document
from odc_bdc.indexing.folders import folder_items
from odc_bdc.indexing.found import FoundItem
from odc_bdc.indexing.index import (
    Failure,
    IndexReport,
    Record,
    archive,
    index_items,
)
from odc_bdc.indexing.ingest import index_collection
from odc_bdc.indexing.items import Verify, item_document
from odc_bdc.indexing.normalise import ItemFile, NormalisedItem, belongs_to, normalise_item
from odc_bdc.indexing.products import StaleDocument, add_products, find_product, write_documents
from odc_bdc.indexing.raster import RasterFile, read_header
from odc_bdc.indexing.recipe import IngestRecipe, find_recipe, shipped_recipes
from odc_bdc.indexing.sources import AccessToken, Search, find_items

__all__ = [
    "AccessToken",
    "Conversion",
    "Coverage",
    "Failure",
    "FoundItem",
    "IndexReport",
    "IngestRecipe",
    "ItemFile",
    "ItemKey",
    "MadeDocument",
    "NormalisedItem",
    "RasterFile",
    "Record",
    "Search",
    "StaleDocument",
    "Verify",
    "add_documents",
    "add_products",
    "archive",
    "belongs_to",
    "dataset_document",
    "find_items",
    "find_product",
    "find_recipe",
    "folder_items",
    "index_collection",
    "index_items",
    "item_document",
    "normalise_item",
    "read_header",
    "shipped_recipes",
    "write_document",
    "write_documents",
]
