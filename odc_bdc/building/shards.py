"""One part of the work for each of several commands that know nothing of each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from odc_bdc.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from odc_bdc.planning import CompositeTask
    from odc_bdc.timeline import Period


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number`, from 1, of `count` parts.

    Examples
    --------
    >>> Shard.parse("2/3")
    Shard(number=2, count=3)

    Raises
    ------
    InvalidValueError
        If there is no such part.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InvalidValueError(
                f"there is no shard {self.number} of {self.count}: give I/N with I from 1 to N"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``I/N``."""
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
        if not found:
            raise InvalidValueError(f"shard {text!r} is not I/N, such as 1/8")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of_slurm(cls, environ: Mapping[str, str]) -> Shard:
        """Give the part of a task of a Slurm job array, by the variables that Slurm sets.

        Raises
        ------
        InvalidValueError
            If they are missing, or the array has gaps, so that nobody would do some of the parts.
        """
        number, first, step, count = (
            _variable(environ, name, default)
            for name, default in (
                ("SLURM_ARRAY_TASK_ID", None),
                ("SLURM_ARRAY_TASK_MIN", None),
                ("SLURM_ARRAY_TASK_STEP", 1),
                ("SLURM_ARRAY_TASK_COUNT", None),
            )
        )
        last = _variable(environ, "SLURM_ARRAY_TASK_MAX", first + (count - 1) * step)
        if step < 1 or (number - first) % step or last != first + (count - 1) * step:
            raise InvalidValueError(
                f"the Slurm array has gaps ({count} tasks from {first} to {last}): its parts "
                "cannot be numbered; give --shard I/N"
            )
        return cls((number - first) // step + 1, count)

    def take(
        self, tasks: Iterable[CompositeTask], periods: Sequence[Period]
    ) -> list[CompositeTask]:
        """Give this part of some tasks: each is in one part, and neighbours are in different ones.

        It follows from tile and period alone, so that commands agree which see other scenes, and
        all parts have about as many.

        Parameters
        ----------
        periods
            All that were asked for, in order, those without a task too.
        """
        places = {period: place for place, period in enumerate(periods)}
        return [
            task
            for task in tasks
            if (sum(divmod(int(task.tile_id), 1000)) + places[task.period]) % self.count
            == self.number - 1
        ]

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def _variable(environ: Mapping[str, str], name: str, default: int | None) -> int:
    text = environ.get(name, "")
    if not text and default is not None:
        return default
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        said = f"is {text!r}" if text else "is not set"
        raise InvalidValueError(
            f"{name} {said}: --shard slurm is for tasks of a job array (sbatch --array=1-8)"
        )
    return int(text)
