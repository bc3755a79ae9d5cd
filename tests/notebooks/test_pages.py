"""Pages of notebooks in the documentation."""

import base64
import importlib.util
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

HOOK = Path(__file__).parents[2] / "docs" / "notebook_pages.py"
PIXEL = base64.b64encode(b"\x89PNG and more").decode()


@pytest.fixture(scope="module")
def pages():
    """Import the hook of mkdocs."""
    spec = importlib.util.spec_from_file_location("notebook_pages", HOOK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_page_shows_tables_pictures_and_text_but_no_bars(pages):
    bar = {"text/plain": "CB4:  69%|######8   | 44/64 [00:01<00:00]", pages.WIDGET: {}}
    outputs = [
        new_output("stream", name="stdout", text="nine scenes\n"),
        new_output("stream", name="stderr", text="a warning\n"),
        new_output("display_data", data=bar),
        new_output("display_data", data={"image/png": PIXEL, "text/plain": "<Figure>"}),
        new_output("display_data", data={"text/plain": "Map(...)", pages.WIDGET: {}}),
        new_output(
            "execute_result",
            data={"text/html": '<table class="dataframe">7</table>', "text/plain": "plain 7"},
        ),
        new_output("execute_result", data={"text/html": "<style>long", "text/plain": "Dataset: y"}),
    ]
    book = new_notebook(
        cells=[new_markdown_cell("# 1. A"), new_code_cell("x = 1", outputs=outputs)]
    )
    text, pictures = pages.page(book, "01_a")
    assert text.startswith("# 1. A\n")
    assert "nine scenes" in text
    assert '<table class="dataframe">7</table>' in text
    assert "Dataset: y" in text
    assert "In JupyterLab a map is here" in text
    for hidden in ("a warning", "44/64", "plain 7", "<style>", "Map(", "not executed"):
        assert hidden not in text
    ((name, body),) = pictures.items()
    assert f"]({name})" in text
    assert body == b"\x89PNG and more"


def test_outputs_of_another_notebook_are_not_shown(pages, tmp_path):
    source, copy = tmp_path / "01_a.ipynb", tmp_path / "done.ipynb"
    cells = [new_markdown_cell("# 1. A"), new_code_cell("x = 1\nx")]
    nbformat.write(new_notebook(cells=cells), source)
    told = new_output("stream", name="stdout", text="made by x = 1")
    for code, wanted in (("x = 1\nx", True), ("x = 2\nx", False)):
        done = [cells[0], new_code_cell(code, outputs=[told])]
        nbformat.write(new_notebook(cells=done), copy)
        text, _ = pages.page(pages._executed(source, copy), "01_a")
        assert ("made by" in text) == wanted
        assert ("was not executed" in text) != wanted
