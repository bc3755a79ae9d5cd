"""Tasks one after the other, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from odc_bdc.building.running.runner import Finished
    from odc_bdc.building.work import Job
    from odc_bdc.planning import CompositeTask


class Here:
    """Runs tasks in this process."""

    def run(self, job: Job, tasks: Sequence[CompositeTask]) -> Iterator[list[Finished]]:
        """Give each task with what became of it; see `Runner`."""
        for task in tasks:
            yield [(task, job(task))]
