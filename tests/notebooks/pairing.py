"""Notebooks of their scripts: `make format` writes each `.ipynb` beside its script."""

from __future__ import annotations

from hashlib import sha1
from pathlib import Path

import jupytext
import nbformat
from executing import FOLDER, sources

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def paired(source: Path) -> str:
    """Give the text of the notebook of a script: without outputs, the same for the same script."""
    book = jupytext.read(source)
    book.metadata = nbformat.from_dict(METADATA)
    book.nbformat, book.nbformat_minor = 4, 5
    for number, cell in enumerate(book.cells):
        cell.metadata = nbformat.from_dict({})
        # By chance, as nbformat chooses them, all would change whenever one cell does.
        cell.id = sha1(f"{number} {cell.source}".encode(), usedforsecurity=False).hexdigest()[:8]
    nbformat.validate(book)
    return nbformat.writes(book) + "\n"


def main() -> None:
    """Write all."""
    for source in sources(FOLDER):
        source.with_suffix(".ipynb").write_text(paired(source), encoding="utf-8")


if __name__ == "__main__":
    main()
