"""Live cubes: images that are composited when somebody reads them.

Nothing is imported here: read drivers lie in this package, and every program that loads data
imports those.
"""
