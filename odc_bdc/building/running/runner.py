"""What a way to run tasks must do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from odc_bdc.building.work import Job, Outcome
    from odc_bdc.planning import CompositeTask

Finished: TypeAlias = "tuple[CompositeTask, Outcome]"
"""A task with what became of it."""


class Runner(Protocol):
    """Runs a job for each of some tasks."""

    def run(self, job: Job, tasks: Sequence[CompositeTask]) -> Iterator[list[Finished]]:
        """Give tasks with what became of them as they finish, in any order: those of now at once.

        A worker that dies is the fault of the task that it had. If the generator is closed before
        its end, what is under way is given up.

        Raises
        ------
        ClusterError
            If there is nobody left who could run tasks.
        """
        ...
