"""File formats of datasets, as datacube names them; light, for read drivers import it."""

LIVE_FORMAT = "odc_bdc_live"
"""Of a dataset that holds a recipe instead of pixels."""
