"""The accessor ``.bdc`` of `xarray.Dataset`."""
