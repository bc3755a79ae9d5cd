"""The deployment of the map services: one root configuration for datacube-ows."""
