"""What workers of tests do: by name, so that processes of their own can import it."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from odc_bdc.building.work import Outcome


class NamedTask(str):
    """A task that is nothing but its id."""

    __slots__ = ()

    @property
    def id(self):
        return str(self)


@dataclass(frozen=True)
class EchoJob:
    """Tells a task's name and the process; some tasks kill it, some sleep."""

    folder: Path | None = None

    def __call__(self, task):
        if task == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if task == "ended":
            os._exit(3)
        if task.startswith("sleeps"):
            (self.folder / f"{task}.{os.getpid()}").touch()
            time.sleep(600)
        return Outcome(document=task, host=str(os.getpid()))
