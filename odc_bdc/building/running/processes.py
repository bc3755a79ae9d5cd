"""Tasks in several processes of this machine."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from odc_bdc.building.work import Fault, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

    from odc_bdc.building.running.runner import Finished
    from odc_bdc.building.work import Job
    from odc_bdc.planning import CompositeTask

# Spawned, not forked: GDAL and the database connection of this process must not be shared.
_SPAWN = get_context("spawn")


class Processes:
    """Runs tasks in `count` processes; one that dies loses its task only, and is replaced.

    An executor of the standard library would give up all tasks when one process dies.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def run(self, job: Job, tasks: Sequence[CompositeTask]) -> Iterator[list[Finished]]:
        """Give tasks with what became of them as they finish; see `Runner`."""
        waiting = list(reversed(tasks))
        workers: dict[Connection[CompositeTask, Outcome], _Worker] = {}
        try:
            while waiting or workers:
                while waiting and len(workers) < self.count:
                    worker = _Worker(job)
                    workers[worker.connection] = worker
                    worker.give(waiting.pop())
                finished = []
                for connection in wait(list(workers)):
                    worker = workers[connection]  # type: ignore[index]  # what was given to it
                    finished.append(worker.result())
                    if worker.dead or not waiting:
                        worker.end()
                        del workers[worker.connection]
                    else:
                        worker.give(waiting.pop())
                yield finished
        finally:
            for worker in workers.values():
                worker.end()


class _Worker:
    """A process, and the task that it has."""

    def __init__(self, job: Job) -> None:
        self.connection, theirs = _SPAWN.Pipe()
        self.dead = False
        self._task: CompositeTask | None = None
        self._process = _SPAWN.Process(target=_serve, args=(theirs, job), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, task: CompositeTask) -> None:
        """Let the process begin a task."""
        self._task = task
        with suppress(OSError):  # it died while it had none: `result` will tell
            self.connection.send(task)

    def result(self) -> Finished:
        """Give what became of the task, once there is something to receive."""
        assert self._task is not None  # noqa: S101 (given before anything is waited for)
        try:
            return self._task, self.connection.recv()
        except (EOFError, OSError):
            self.dead = True
            self._process.join()
            return self._task, Outcome(fault=Fault(_death(self._process.exitcode)))

    def end(self) -> None:
        """End the process, whatever it does; nothing that it has begun is visible."""
        self.connection.close()
        self._process.kill()
        self._process.join()


def _serve(connection: Connection[Outcome, CompositeTask], job: Job) -> None:
    """Do tasks as they come, until there is nobody to give any."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # An interrupt from the terminal reaches all processes; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        while True:
            connection.send(job(connection.recv()))


def _end_with_parent() -> None:
    """End at once when the parent is killed: nobody would take note of the work."""
    if parent := parent_process():
        parent.join()
        os._exit(1)


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"its process was killed by {name}; is there memory for so many --workers?"
    return f"its process ended with exit code {code}"
