"""Parts of the work for several commands: each task in one of them, whatever numbers them."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odc_bdc.building.shards import Shard
from odc_bdc.errors import InvalidValueError


@given(ids=st.lists(st.uuids(), unique=True), count=st.integers(1, 40))
def test_each_task_is_in_one_part(ids, count):
    tasks = [SimpleNamespace(id=i) for i in ids]
    parts = [Shard(number, count).take(tasks) for number in range(1, count + 1)]
    together = [task.id for part in parts for task in part]
    assert sorted(together) == sorted(ids)
    for part in parts:  # in the order of the plan
        assert part == [task for task in tasks if task in part]


@given(ids=st.lists(st.uuids(version=5), min_size=300, max_size=300, unique=True))
def test_parts_are_about_as_large(ids):
    tasks = [SimpleNamespace(id=i) for i in ids]
    assert all(Shard(n, 3).take(tasks) for n in (1, 2, 3))


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
