"""Names of collections, items, files and folders of the Brazil Data Cube, and ids of datasets.

`parse` reads a name and `str` writes it, and each undoes the other exactly: what would be written
otherwise is refused. Three generations of names are in use, and odc_bdc's own:

- 2020: collection ``CB4A_55_1M_STK``, item ``CB4A_55_1M_STK_022024_2020-07-01_2020-07-31``
- V1: ``CB4_64_16D_STK-1``, ``CB4_64_16D_STK_v001_021027_2020-07-11_2020-07-26``
- V2: ``S2-16D-2``, ``S2-16D_V2_020020_20211219``
- ODC: ``CB4_64_16D_STK_v1``, ``CB4_64_16D_STK_v1_020024_2020-07-11_2020-07-26``

The rules follow from names in the BDC's STAC catalogues: 2020 from those of STAC 0.8, V1 of 0.9, V2
of 1.0.
"""

from odc_bdc.naming.collection import CollectionName, Generation, product_name
from odc_bdc.naming.ids import ODC_BDC_NAMESPACE, cube_item_id, dataset_id, period_folder
from odc_bdc.naming.item import FileName, ItemName

__all__ = [
    "ODC_BDC_NAMESPACE",
    "CollectionName",
    "FileName",
    "Generation",
    "ItemName",
    "cube_item_id",
    "dataset_id",
    "period_folder",
    "product_name",
]
