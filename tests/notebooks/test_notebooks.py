"""What must be so of notebooks as they lie in git; `make notebooks` executes them."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from importlib.resources import files

import claimed
import executing
import jupytext
import nbformat
import pytest
from pairing import paired

SOURCES = executing.sources()
TRANSLATED = [s for s in SOURCES if s.stem.endswith(".pt")]
NAMES = [source.stem for source in SOURCES]


def code(source):
    return [cell.source for cell in jupytext.read(source).cells if cell.cell_type == "code"]


def test_there_are_eight_and_the_first_three_in_portuguese_too():
    assert [name[:2] for name in NAMES if not name.endswith(".pt")] == [
        f"{n:02}" for n in range(1, 9)
    ]
    assert [name[:2] for name in NAMES if name.endswith(".pt")] == ["01", "02", "03"]


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_a_notebook_is_that_of_its_script_and_holds_no_output(source):
    text = source.with_suffix(".ipynb").read_text("utf-8")
    assert text == paired(source), "make format writes it anew"
    book = json.loads(text)
    nbformat.validate(nbformat.from_dict(book))
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_a_notebook_opens_with_what_one_learns_and_what_must_be_there(source):
    (opening, *_) = jupytext.read(source).cells
    lines = [line for line in opening.source.splitlines() if line]
    assert re.fullmatch(rf"# {int(source.stem[:2])}\. .+", lines[0])
    words = (
        ("Você aprende", "O que é preciso") if source in TRANSLATED else ("You learn", "must be")
    )
    assert all(word in opening.source for word in words)
    # No number of a made scene is to be taken for one of Bahia.
    assert re.search(r"made, not observed|feitas, não observadas", opening.source)


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_each_figure_of_the_text_has_an_expression(source):
    figures = claimed.FIGURES[executing.base_name(source)]
    assert set(executing.claims(source)) == {text for text, _ in figures}
    for _, expression in figures:
        ast.parse(expression, mode="eval")


@pytest.mark.parametrize("source", TRANSLATED, ids=[s.stem for s in TRANSLATED])
def test_a_translation_runs_the_same_code(source):
    """Texts of pictures, printed words and comments aside."""

    def bare(cell):
        # Commands of the shell are no Python.
        shell = re.sub(r"^!(.*)$", lambda m: f"shell({m[1]!r})", cell, flags=re.MULTILINE)
        tree = ast.parse(shell)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                node.keywords = [word for word in node.keywords if word.arg != "language"]
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                # Words differ, names of products, bands and files do not.
                node.value = "words" if " " in node.value or node.value.isalpha() else node.value
        return ast.dump(tree)

    original = source.with_stem(source.stem.removesuffix(".pt"))
    assert [bare(cell) for cell in code(source)] == [bare(cell) for cell in code(original)]


def test_notebooks_are_shipped():
    shipped = {p.name for p in files("odc_bdc.notebooks").iterdir()}
    assert {f"{name}.ipynb" for name in NAMES} <= shipped


def test_no_notebook_names_a_host():
    for source in SOURCES:
        hosts = re.findall(r"https?://([\w.:-]+)", source.read_text("utf-8"))
        assert set(hosts) <= {"doi.org", "127.0.0.1"} | {h for h in hosts if h.startswith("127.")}


@pytest.fixture
def home(tmp_path):
    """Give a folder that passes for a demo's home; its notebooks ask for no index."""
    (tmp_path / "datacube.conf").touch()
    return tmp_path


def run(monkeypatch, home, folder, *names):
    monkeypatch.setattr(executing, "FOLDER", folder)
    monkeypatch.setattr(executing, "sources", lambda: sorted(folder.glob("*.py")))
    monkeypatch.setattr(sys, "argv", ["executing.py", "--home", str(home), *names])
    return executing.main()


def notebook(folder, name, *cells):
    folder.mkdir(exist_ok=True)
    text = "".join(
        f"# %% [markdown]\n# {c[1:]}\n\n" if c[0] == "#" else f"# %%\n{c}\n\n" for c in cells
    )
    (folder / f"{name}.py").write_text(text, "utf-8")


def test_a_failing_cell_and_a_wrong_figure_are_told_in_a_line(home, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "sources"
    notebook(folder, "01_right", "#It is **4**, and **5,5** in all.", "n = 4")
    notebook(folder, "02_wrong", "#It is **5**.", "n = 4")
    notebook(folder, "03_fails", "n = 4", "n += 1\n1 / 0", "n = 7")
    notebook(folder, "04_unknown", "#It is **6**.", "n = 6")
    notebook(
        folder, "05_online", "import socket\nsocket.create_connection(('192.0.2.1', 80), timeout=1)"
    )
    monkeypatch.setattr(executing, "FIGURES", {
        "01_right": [("4", "n"), ("5,5", "'5,5'")], "02_wrong": [("5", "n")],
    })  # fmt: skip
    assert run(monkeypatch, home, folder) == 1
    told = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert told["01_right"].endswith("s  as claimed")
    assert told["02_wrong"].endswith("s  **5** is 4")
    assert told["03_fails"].endswith("cell 2 (n += 1): ZeroDivisionError: division by zero")
    assert "without an expression" in told["04_unknown"]
    assert "without network" in told["05_online"]
    assert "4 failed" in told["5"]
    book = nbformat.read(home / "notebooks" / "01_right.ipynb", 4)
    assert [cell.source for cell in book.cells if cell.cell_type == "code"] == ["n = 4"]
    assert run(monkeypatch, home, folder, "01") == 0


def test_without_a_demo_the_command_that_helps_is_told(tmp_path):
    done = subprocess.run(
        [sys.executable, executing.__file__, "--home", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "make demo" in done.stderr
    assert done.stdout == ""
