"""`make notebooks`: executes the notebooks, and looks if what their text claims is so.

The notebooks run on the home of a demo, without any other host, and are written with their outputs
to a folder of the home's. A figure that a notebook's text claims stands in it in bold; an
expression of `FIGURES` gives it out of the notebook's own variables, once all cells have run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jupytext
import nbformat
from claimed import FIGURES
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks"
SAMPLES = ROOT.parent / "shared" / "data" / "samples"
TIMEOUT = 600

# Before the first cell: a connection to any other machine is an error of the cell that asks for it.
ALONE = """
import sys as _sys

def _stay(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        if not str(args[1][0]).startswith(("127.", "localhost", "::1")):
            raise ConnectionRefusedError(f"notebooks run without network, not with {args[1][0]}")

_sys.addaudithook(_stay)
"""
MARK = "figures: "
_ASKED = """
import json as _json

def percent(share):
    return f"{100 * float(share):.0f} %"
"""


@dataclass(frozen=True)
class Executed:
    """What became of a notebook: seconds, and in one line what is wrong, if anything is."""

    name: str
    seconds: float
    fault: str | None
    figures: dict[str, str]


def sources(folder: Path = FOLDER) -> list[Path]:
    """Give the notebooks, as scripts, in their order."""
    return sorted(path for path in folder.glob("*.py") if re.match(r"\d\d_", path.name))


def claims(source: Path) -> list[str]:
    """Give the figures that the text of a notebook claims: what stands in bold and has a digit.

    Those of a text in Portuguese are given as English writes them.
    """
    cells = jupytext.read(source).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    found = [bold for bold in re.findall(r"\*\*([^*]+)\*\*", text) if re.search(r"\d", bold)]
    if source.stem == base_name(source):
        return found
    return [bold.translate(str.maketrans(",.", ".,")) for bold in found]


def execute(source: Path, out: Path, environ: dict[str, str]) -> Executed:
    """Execute a notebook in the folder `out`, and write it there with its outputs."""
    expressions = FIGURES.get(base_name(source), [])
    book = jupytext.read(source)
    first, last = nbformat.v4.new_code_cell(ALONE), nbformat.v4.new_code_cell(_asking(expressions))
    book.cells = [first, *book.cells, last]
    begun = time.monotonic()
    fault = _run(book, out, {**os.environ, **environ})
    seconds = time.monotonic() - begun
    figures = {} if fault else _told(book.cells[-1])
    book.cells = book.cells[1:-1]
    nbformat.write(book, out / f"{source.stem}.ipynb")
    wrong = fault or _compared(claims(source), expressions, figures)
    return Executed(source.stem, seconds, wrong, figures)


def _run(book: Any, folder: Path, environ: dict[str, str]) -> str | None:
    """Run all cells in a kernel of their own; say what is wrong, None if nothing is."""
    with TemporaryDirectory(prefix="kernel-") as sockets:
        client = NotebookClient(
            book,
            timeout=TIMEOUT,
            startup_timeout=TIMEOUT,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
        )
        manager = client.create_kernel_manager()
        # Sockets in a folder of this user's, not ports that everybody on the machine may reach.
        manager.transport, manager.ip = "ipc", f"{sockets}/kernel"
        try:
            asyncio.run(client.async_execute(env=environ))
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as e:
            return _fault(book, e)
    return None


def base_name(source: Path) -> str:
    """Give the name of a notebook without its language."""
    return source.stem.removesuffix(".pt")


def _asking(expressions: list[tuple[str, str]]) -> str:
    """Give a cell that prints what the expressions give."""
    asked = ", ".join(f"{text!r}: str({code})" for text, code in expressions)
    return f"{_ASKED}\nprint({MARK!r} + _json.dumps({{{asked}}}))"


def _told(cell: Any) -> dict[str, str]:
    text = "".join(o.get("text", "") for o in cell.outputs if o.output_type == "stream")
    (line,) = [line for line in text.splitlines() if line.startswith(MARK)]
    return json.loads(line.removeprefix(MARK))


def _compared(
    claimed: list[str], expressions: list[tuple[str, str]], figures: dict[str, str]
) -> str | None:
    """Compare what is claimed with what was found; None if all is so."""
    known = [text for text, _ in expressions]
    if set(claimed) != set(known):
        odd = sorted(set(claimed) ^ set(known))
        return f"figures in bold without an expression in claimed.py, or the reverse: {odd}"
    wrong = [f"**{t}** is {f}" for t, f in figures.items() if f not in (t, "True")]
    return "; ".join(wrong) or None


def _fault(book: Any, error: Exception) -> str:
    """Say in one line which cell failed, and how."""
    code = [cell for cell in book.cells if cell.cell_type == "code"][1:]
    for number, cell in enumerate(code, 1):
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                begins = next(iter(cell.source.splitlines()), "")
                said = (str(output.evalue).splitlines() or [""])[0]
                return f"cell {number} ({begins}): {output.ename}: {said}"
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[-1]}"


def _in_turn(chosen: list[Path]) -> list[Path]:
    """Put translations last."""
    return sorted(chosen, key=lambda source: (source.stem != base_name(source), source.stem))


def environment(home: Path, samples: Path | None) -> dict[str, str]:
    """Give the variables by which the notebooks find the demo's index, and the samples."""
    return {
        "ODC_CONFIG_PATH": str((home / "datacube.conf").resolve()),
        "ODC_BDC_HOME": str(home.resolve()),
        "ODC_BDC_SAMPLES": "" if samples is None else str(samples),
        # As where an environment is active: cells call odc-bdc.
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        # Threads of products of small matrices wait for each other more than they compute.
        "OPENBLAS_NUM_THREADS": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def main() -> int:
    """Execute all, tell the time of each; 1 if a cell fails or a figure is not as claimed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path(".odc_bdc"), help="home of `make demo`")
    parser.add_argument("--samples", type=Path, default=SAMPLES, help="folder of real time series")
    parser.add_argument("--at-once", type=int, default=min(os.cpu_count() or 1, 3))
    parser.add_argument("names", nargs="*", help="such as 03, or 01_first_steps.pt; default: all")
    given = parser.parse_args()
    if not (given.home / "datacube.conf").is_file():
        print(f"{given.home} is no home of a demo: make demo SERVE=0", file=sys.stderr)
        return 1
    chosen = [s for s in sources() if not given.names or s.stem.startswith(tuple(given.names))]
    out = given.home / "notebooks"
    out.mkdir(exist_ok=True)
    samples = given.samples.resolve() if given.samples.is_dir() else None
    environ = environment(given.home, samples)
    begun = time.monotonic()
    failed = 0
    # Most of a notebook waits for one core. Two of a pair never run at once: they write the same.
    with ThreadPoolExecutor(given.at_once) as pool:
        running = [pool.submit(execute, source, out, environ) for source in _in_turn(chosen)]
        for done in (future.result() for future in as_completed(running)):
            failed += done.fault is not None
            print(f"{done.name:28} {done.seconds:6.1f} s  {done.fault or 'as claimed'}", flush=True)
    print(
        f"{len(chosen)} notebooks in {time.monotonic() - begun:.0f} s, {failed or 'none'} failed; "
        f"with their outputs they are in {out}"
    )
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
