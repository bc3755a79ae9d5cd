"""Tasks on a Dask cluster that runs already."""

from __future__ import annotations

import uuid
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from odc_bdc.building.work import Fault, Outcome
from odc_bdc.errors import ClusterError, MissingDependencyError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from odc_bdc.building.running.runner import Finished
    from odc_bdc.building.work import Job
    from odc_bdc.planning import CompositeTask

_AHEAD = 1000
"""Tasks that the scheduler has at once: it sees work for many workers, and keeps little."""

_TIMEOUT = "20s"


class Cluster:
    """Runs tasks on the workers of a Dask scheduler, by its `address`.

    A task whose worker dies is given to another by the scheduler, some times.

    Raises
    ------
    MissingDependencyError
        If the package ``distributed`` is not installed.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._distributed = _distributed()

    def run(self, job: Job, tasks: Sequence[CompositeTask]) -> Iterator[list[Finished]]:
        """Give tasks with what became of them as they finish; see `Runner`."""
        with self._client() as client:
            run = uuid.uuid4().hex[:8]  # another run of the same task is not the same computation
            known: dict[str, CompositeTask] = {}

            def submit(some: Sequence[CompositeTask]) -> list[Any]:
                futures = []
                for task in some:
                    known[key := f"odc_bdc-{task.id}-{run}"] = task
                    futures.append(client.submit(job, task, key=key, pure=False))
                return futures

            waiting = list(tasks)
            first = submit(waiting[:_AHEAD])
            finishing = self._distributed.as_completed(first, loop=client.loop)
            del waiting[:_AHEAD]
            for batch in finishing.batches():
                finished = [(known.pop(f.key), self._outcome(f)) for f in batch]
                if waiting:
                    finishing.update(submit(waiting[: len(batch)]))
                    del waiting[: len(batch)]
                yield finished

    def _client(self) -> Any:
        try:
            return self._distributed.Client(self.address, timeout=_TIMEOUT, set_as_default=False)
        except (OSError, ValueError) as e:
            raise ClusterError(
                f"no Dask scheduler answers at {self.address}: start one (`dask scheduler`), or "
                f"give the address that it prints ({first_line(e)})"
            ) from e

    def _outcome(self, future: Any) -> Outcome:
        """Give what a worker said of a task, or why none did."""
        try:
            outcome: Outcome = future.result(timeout=_TIMEOUT)
        except (CancelledError, self._distributed.CancelledError, TimeoutError, OSError) as e:
            raise ClusterError(
                f"the Dask scheduler at {self.address} does not answer any more; start it, then "
                "run the command again: what is built is left alone"
            ) from e
        except self._distributed.KilledWorker as e:
            workers = e.last_worker.address if e.last_worker else "several"
            return Outcome(
                fault=Fault(f"its Dask workers died (last {workers}); have they memory enough?")
            )
        except Exception as e:  # noqa: BLE001 (such as a worker that lacks odc_bdc)
            reason = (
                f"Dask cannot do it: {type(e).__name__}: {first_line(e.__cause__ or e)}; its "
                "scheduler and workers need the same packages as this machine"
            )
            return Outcome(fault=Fault(reason, lasting=True))
        return outcome


def _distributed() -> Any:
    try:
        import distributed  # noqa: PLC0415 (an extra)
    except ImportError as e:
        raise MissingDependencyError(
            "--scheduler needs the package distributed: pip install 'odc_bdc[cluster]'"
        ) from e
    return distributed
