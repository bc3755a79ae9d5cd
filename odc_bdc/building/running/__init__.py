"""Three ways to run tasks, which differ in nothing but where that happens."""

from odc_bdc.building.running.cluster import Cluster
from odc_bdc.building.running.here import Here
from odc_bdc.building.running.processes import Processes
from odc_bdc.building.running.runner import Runner

__all__ = ["Cluster", "Here", "Processes", "Runner"]
