"""Parts of the work for several commands: each task in one of them, whatever numbers them."""

from datetime import date
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odc_bdc.building.shards import Shard
from odc_bdc.errors import InvalidValueError
from odc_bdc.timeline import find_timeline

PERIODS = list(find_timeline("p16d").covering(date(2019, 1, 1), date(2020, 12, 31)))


def tasks_of(places):
    return [
        SimpleNamespace(tile_id=f"{h:03}{v:03}", period=PERIODS[period]) for h, v, period in places
    ]


PLACES = st.tuples(st.integers(0, 999), st.integers(0, 999), st.integers(0, len(PERIODS) - 1))


@given(places=st.lists(PLACES, unique=True), count=st.integers(1, 40))
def test_each_task_is_in_one_part(places, count):
    tasks = tasks_of(places)
    parts = [Shard(number, count).take(tasks, PERIODS) for number in range(1, count + 1)]
    for task in tasks:
        assert sum(task in part for part in parts) == 1
    for part in parts:  # in the order of the plan
        assert part == [task for task in tasks if task in part]


@pytest.mark.parametrize(
    ("tiles", "periods", "count"), [(2, 7, 2), (2, 7, 8), (12, 23, 16), (1, 46, 16)]
)
def test_parts_of_neighbouring_tiles_and_periods_are_about_as_large(tiles, periods, count):
    """Two parts of 14 images had 5 and 9, and of eight some none: ids are no way to share work."""
    tasks = tasks_of((7 + h, 4, period) for h in range(tiles) for period in range(periods))
    sizes = [len(Shard(n, count).take(tasks, PERIODS[:periods])) for n in range(1, count + 1)]
    mean = tiles * periods / count
    assert 0.8 * mean - 1 <= min(sizes) <= max(sizes) <= 1.2 * mean + 1
    assert min(sizes) >= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "1", "a/b", "-1/3", "1/3/5", "", "1/²"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(InvalidValueError, match="I/N"):
        Shard.parse(text)


@given(
    first=st.integers(0, 1000),
    step=st.integers(1, 9),
    count=st.integers(1, 50),
    data=st.data(),
)
def test_tasks_of_an_array_are_numbered_from_one(first, step, count, data):
    number = data.draw(st.integers(1, count))
    environ = {
        "SLURM_ARRAY_TASK_ID": str(first + (number - 1) * step),
        "SLURM_ARRAY_TASK_MIN": str(first),
        "SLURM_ARRAY_TASK_MAX": str(first + (count - 1) * step),
        "SLURM_ARRAY_TASK_STEP": str(step),
        "SLURM_ARRAY_TASK_COUNT": str(count),
    }
    assert Shard.of_slurm(environ) == Shard(number, count)
    del environ["SLURM_ARRAY_TASK_MAX"]
    assert Shard.of_slurm(environ) == Shard(number, count)


ARRAY = {
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_ARRAY_TASK_MIN": "1",
    "SLURM_ARRAY_TASK_MAX": "7",
    "SLURM_ARRAY_TASK_COUNT": "3",
}


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "SLURM_ARRAY_TASK_ID is not set.*sbatch --array"),
        ({**ARRAY, "SLURM_ARRAY_TASK_COUNT": "x"}, "SLURM_ARRAY_TASK_COUNT is 'x'"),
        (ARRAY, "array has gaps .3 tasks from 1 to 7.*--shard I/N"),
    ],
)
def test_arrays_that_cannot_be_numbered_are_refused(environ, words):
    with pytest.raises(InvalidValueError, match=words):
        Shard.of_slurm(environ)
