"""`odc-bdc lab` and the copies of notebooks that it makes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from odc_bdc.cli import lab as lab_command
from odc_bdc.cli import main
from odc_bdc.errors import InvalidValueError
from odc_bdc.notebook.copying import KEPT, copy_notebooks


@pytest.fixture
def shipped(tmp_path):
    folder = tmp_path / "shipped"
    folder.mkdir()
    for name in (
        "01_first.ipynb",
        "01_first.pt.ipynb",
        "02_next.ipynb",
        "01_first.py",
        "README.md",
    ):
        (folder / name).write_text(f"{name}, version 1", "utf-8")
    return folder


def test_notebooks_are_copied_once_and_replaced_only_if_nobody_changed_them(shipped, tmp_path):
    mine = tmp_path / "deep" / "mine"
    first = copy_notebooks(mine, shipped)
    assert first.new == ("01_first.ipynb", "01_first.pt.ipynb", "02_next.ipynb")
    assert sorted(p.name for p in mine.iterdir()) == sorted([*first.new, KEPT])
    assert copy_notebooks(mine, shipped).unchanged == first.new

    (mine / "01_first.ipynb").write_text("changed by me")
    (mine / "02_next.ipynb").unlink()
    again = copy_notebooks(mine, shipped)
    assert (again.new, again.updated, again.kept) == (("02_next.ipynb",), (), ())
    assert (mine / "01_first.ipynb").read_text() == "changed by me"

    for name in first.new:
        (shipped / name).write_text(f"{name}, version 2", "utf-8")
    (mine / "mine.ipynb").write_text("my own")
    newer = copy_notebooks(mine, shipped)
    assert newer.kept == ("01_first.ipynb",)
    assert newer.updated == ("01_first.pt.ipynb", "02_next.ipynb")
    assert (mine / "01_first.ipynb").read_text() == "changed by me"
    assert (mine / "02_next.ipynb").read_text() == "02_next.ipynb, version 2"
    # It is told each time, until the reader takes the newer one.
    assert copy_notebooks(mine, shipped).kept == ("01_first.ipynb",)
    (mine / "01_first.ipynb").rename(mine / "kept.ipynb")
    assert copy_notebooks(mine, shipped).new == ("01_first.ipynb",)


@pytest.mark.parametrize("damaged", ["", "[]", "{"])
def test_without_the_list_of_copies_no_notebook_is_replaced(shipped, tmp_path, damaged):
    mine = tmp_path / "mine"
    copy_notebooks(mine, shipped)
    (mine / KEPT).write_text(damaged)
    (mine / "02_next.ipynb").write_text("changed by me")
    assert copy_notebooks(mine, shipped).kept == ("02_next.ipynb",)
    assert json.loads((mine / KEPT).read_text()).keys() == {"01_first.ipynb", "01_first.pt.ipynb"}


def test_a_folder_that_cannot_be_written_is_told(shipped, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidValueError, match="notebooks cannot be copied to it"):
        copy_notebooks(tmp_path / "file" / "mine", shipped)


def test_the_shipped_notebooks_are_those_of_the_project(tmp_path):
    top = Path(__file__).parents[2] / "notebooks"
    assert set(copy_notebooks(tmp_path).new) == {p.name for p in top.glob("*.ipynb")}


@pytest.fixture
def invoke(monkeypatch, tmp_path):
    """Run the command in an empty folder, without an index of this machine's."""
    for name in (
        "ODC_CONFIG_PATH",
        "ODC_CONFIG",
        "ODC_DEFAULT_DB_URL",
        "DB_HOSTNAME",
        "DB_DATABASE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, ["lab", *words])


def test_a_missing_index_is_told_in_a_sentence_with_the_command(invoke, tmp_path):
    done = invoke()
    assert done.exit_code == 2
    assert done.output.count("\n") == 1
    assert "run `odc-bdc db up`" in done.output
    assert not (tmp_path / "odc_bdc_notebooks").exists()


def test_a_missing_extra_is_told_in_a_sentence_with_the_command(invoke, monkeypatch):
    monkeypatch.setattr(lab_command, "find_spec", lambda name: None if "lab" in name else name)
    done = invoke()
    assert done.exit_code == 2
    assert done.output == "odc-bdc: notebooks need jupyterlab: pip install 'odc_bdc[notebook]'\n"


def test_notebooks_find_the_command_of_the_environment_that_started_them(invoke, monkeypatch):
    started = []
    monkeypatch.setattr(lab_command, "_environ", lambda _home: {"PATH": "/usr/bin", "X": "1"})
    monkeypatch.setattr(lab_command.os, "execve", lambda *given: started.append(given))
    assert invoke("--no-browser").exit_code == 0
    ((program, words, environ),) = started
    assert words[0] == program == sys.executable
    assert environ["PATH"] == f"{Path(sys.executable).parent}:/usr/bin"
    assert environ["X"] == "1"


def test_the_first_notebook_is_in_the_language_asked_for(shipped):
    assert lab_command._first(shipped, "en") == "01_first.ipynb"
    assert lab_command._first(shipped, "pt") == "01_first.pt.ipynb"
    (shipped / "01_first.pt.ipynb").unlink()
    assert lab_command._first(shipped, "pt") == "01_first.ipynb"
