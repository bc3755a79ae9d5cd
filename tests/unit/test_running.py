"""Whatever runs tasks: each gets what became of it, and the dead take nobody along."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dask_cluster import started_cluster
from jobs import EchoJob, NamedTask

from odc_bdc.building.running import Cluster, Here, Processes
from odc_bdc.building.running import cluster as cluster_module
from odc_bdc.errors import ClusterError, MissingDependencyError


def gone(pid):
    """Wait until a process has ended; one that nobody has waited for is as good."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(("runner", "processes"), [(Here(), 1), (Processes(2), 2)])
def test_each_task_once(runner, processes):
    tasks = [f"task {n}" for n in range(7)]
    finished = [pair for some in runner.run(EchoJob(), tasks) for pair in some]
    assert sorted(task for task, _ in finished) == tasks
    assert all(outcome.document == task for task, outcome in finished)
    assert len({outcome.host for _, outcome in finished}) <= processes
    assert list(runner.run(EchoJob(), [])) == []


def test_a_worker_that_dies_loses_its_task_only():
    tasks = ["a", "killed", "b", "ended", "c", "d"]
    outcomes = dict(pair for some in Processes(2).run(EchoJob(), tasks) for pair in some)
    assert sorted(outcomes) == sorted(tasks)
    assert "killed by SIGKILL; is there memory" in outcomes["killed"].fault.reason
    assert "exit code 3" in outcomes["ended"].fault.reason
    assert not outcomes["killed"].fault.lasting
    assert all(outcomes[name].fault is None for name in "abcd")


def test_closing_ends_what_is_under_way(tmp_path):
    run = Processes(2).run(EchoJob(tmp_path), ["sleeps", "a"])
    assert [task for task, _ in next(run)] == ["a"]
    while not (begun := list(tmp_path.iterdir())):
        time.sleep(0.01)
    run.close()
    assert gone(begun[0].suffix[1:])


PROGRAM = """
import sys
from pathlib import Path
from dask_cluster import started_cluster
from jobs import EchoJob, NamedTask
from odc_bdc.building.running import Processes

if __name__ == "__main__":
    list(Processes(2).run(EchoJob(Path(sys.argv[1])), ["sleeps 1", "sleeps 2"]))
"""


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    (program := tmp_path / "program.py").write_text(PROGRAM)
    (folder := tmp_path / "begun").mkdir()
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    parent = subprocess.Popen([sys.executable, "-W", "ignore", program, folder], env=environ)
    while len(begun := list(folder.iterdir())) < 2:
        assert parent.poll() is None
        time.sleep(0.01)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert all(gone(path.suffix[1:]) for path in begun)


def test_cluster_without_its_package_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'odc_bdc\[cluster\]'"):
        Cluster("tcp://127.0.0.1:1")


def test_cluster_that_does_not_answer_is_told(monkeypatch):
    monkeypatch.setattr(cluster_module, "_TIMEOUT", "1s")
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        with pytest.raises(ClusterError, match=f"no Dask scheduler answers at {address}"):
            list(Cluster(address).run(EchoJob(), ["a"]))


def test_scheduler_that_ends_in_the_middle_is_told(tmp_path, caplog):
    tasks = [NamedTask("a"), NamedTask("sleeps")]
    with started_cluster(tmp_path, 1) as (address, scheduler, _):
        run = Cluster(address).run(EchoJob(tmp_path), tasks)
        assert [task for task, _ in next(run)] == ["a"]
        scheduler.kill()
        with pytest.raises(ClusterError, match="does not answer any more; start it"):
            next(run)
