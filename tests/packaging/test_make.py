"""What `make` does with several Pythons."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What `make test` tells the tests is not for another make.
OUTSIDE = {
    name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
}

# Tests that fail on one Python; `make matrix` starts the real ones in the same way.
TESTS = """
test:
\t@echo tests on $(PYTHON); test $(PYTHON) != python3.13
versions:
\t@echo $(PYTHON).7, datacube 1.9
"""


@pytest.fixture
def matrix(tmp_path):
    """Give the program of `make matrix`, beside other tests."""
    (tmp_path / "Makefile").write_text(TESTS)
    (tmp_path / ".ci").mkdir()
    program = shutil.copy(ROOT / ".ci" / "matrix", tmp_path / ".ci" / "matrix")

    def run(*pythons):
        done = subprocess.run(
            [program, *pythons], capture_output=True, text=True, check=False, env=OUTSIDE
        )
        return done.returncode, done.stdout.splitlines()

    return run


def test_matrix_tells_what_ran_and_what_was_missing(matrix):
    code, lines = matrix("python3.11", "missing:python3.12")
    assert code == 0
    assert lines[0] == "tests on python3.11"
    assert lines[-2:] == ["passed   python3.11.7, datacube 1.9", "missing  python3.12"]


def test_matrix_goes_on_after_a_failure_and_ends_with_1(matrix):
    code, lines = matrix("python3.13", "python3.11")
    assert code == 1
    assert lines[-2:] == [
        "FAILED   python3.13.7, datacube 1.9", "passed   python3.11.7, datacube 1.9",
    ]  # fmt: skip


def test_matrix_without_any_python_is_no_success(matrix):
    assert matrix("missing:python3.11", "missing:python3.13")[0] == 1


def test_a_python_that_is_not_here_is_told():
    done = subprocess.run(
        ["make", "--dry-run", "test", "PYTHON=python3.99"],
        cwd=ROOT, capture_output=True, text=True, check=False, env=OUTSIDE,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no python3.99 that runs is here" in done.stderr
