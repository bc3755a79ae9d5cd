"""Notebooks, in the order in which to read them; `odc-bdc lab` copies them for their reader."""
