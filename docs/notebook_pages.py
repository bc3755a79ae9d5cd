"""Pages of the notebooks, for `make docs`.

Where `make notebooks` has executed them, the pages show the outputs, else the cells alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from mkdocs.structure.files import File
from nbconvert import MarkdownExporter
from traitlets.config import Config

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 4_000_000  # of an animation that a page holds
SHOWN = ["image/png", "text/html", "text/plain"]
WIDGET = "application/vnd.jupyter.widget-view+json"
NOTE = "*This page is a notebook; it was not executed where these pages were made.*"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each notebook, and its pictures."""
    home = Path(os.environ.get("HOME_DIR", ".odc_bdc"))
    for source in sorted((ROOT / "notebooks").glob("*.ipynb")):
        book = _executed(source, ROOT / home / "notebooks" / source.name)
        text, pictures = page(book, source.stem)
        files.append(File.generated(config, f"notebooks/{source.stem}.md", content=text))
        for name, body in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=body))
    return files


def _executed(source: Path, copy: Path) -> Any:
    """Give the copy with outputs, if it is one of the notebook as it is now."""
    book = nbformat.read(source, 4)
    if copy.is_file():
        done = nbformat.read(copy, 4)
        if [cell.source for cell in done.cells] == [cell.source for cell in book.cells]:
            return done
    return book


def page(book: Any, name: str) -> tuple[str, dict[str, bytes]]:
    """Give a notebook as Markdown, and its pictures by file name."""
    outputs = 0
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = [shown for o in cell.outputs if (shown := _shown(o)) is not None]
            outputs += len(cell.outputs)
    exporter = MarkdownExporter(config=Config({"NbConvertBase": {"display_data_priority": SHOWN}}))
    text, resources = exporter.from_notebook_node(book, {"unique_key": name})
    if not outputs:
        heading, _, rest = text.partition("\n")
        text = f"{heading}\n\n{NOTE}\n{rest}"
    return text, dict(resources["outputs"])


def _shown(output: Any) -> Any:
    """Give an output as a page shows it; None for bars of progress and what programs tell aside."""
    if output.output_type == "stream":
        return output if output.name == "stdout" and "%|" not in output.text else None
    data = output.data
    plain, html = data.get("text/plain", ""), data.get("text/html", "")
    if "%|" in plain or "files/s" in plain:
        return None
    if WIDGET in data:
        data.clear()
        data["text/html"] = "<p><em>In JupyterLab a map is here.</em></p>"
    elif "image/png" not in data and "dataframe" not in html and not _is_small_image(html):
        data.pop("text/html", None)
    return output


def _is_small_image(html: str) -> bool:
    return html.startswith("<img") and len(html) < MOST_BYTES
