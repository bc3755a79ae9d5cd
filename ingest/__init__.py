"""Shipped data of odc_bdc; see the README."""
