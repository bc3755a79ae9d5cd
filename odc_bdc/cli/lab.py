"""``odc-bdc lab``: JupyterLab on the shipped notebooks, with the index at hand."""

from __future__ import annotations

import os
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import click

from odc_bdc.cli._options import home_option
from odc_bdc.cli.database import examples
from odc_bdc.errors import MissingDependencyError

_NEEDED = ("jupyterlab", "ipykernel", "ipywidgets", "ipyleaflet")


@click.command(
    epilog=examples(
        "odc-bdc lab",
        "odc-bdc lab --language pt",
        "odc-bdc lab --dir ~/notebooks --port 8890 --no-browser",
    )
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("odc_bdc_notebooks"),
    show_default=True,
    help="Folder of your copies of the notebooks; made if it is not there.",
)
@click.option("--port", default=8888, show_default=True, type=click.IntRange(0, 65535))
@click.option("--browser/--no-browser", default=True, help="Open a browser, or tell the address.")
@click.option(
    "--language",
    type=click.Choice(["en", "pt"]),
    default="en",
    show_default=True,
    help="Of the notebook that is opened first.",
)
@home_option
def lab(folder: Path, *, port: int, browser: bool, language: str, home: Path) -> None:
    """Start JupyterLab on copies of the notebooks, until Ctrl-C.

    It listens at 127.0.0.1 only, and the notebooks find the index of the home or of your own
    configuration. A notebook that you changed is never overwritten.
    """
    from odc_bdc.notebook.copying import copy_notebooks

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"notebooks need {', '.join(missing)}: pip install 'odc_bdc[notebook]'"
        )
    environ = _environ(home)
    copies = copy_notebooks(folder)
    folder = folder.resolve()
    for word, names in (("copied", copies.new), ("updated", copies.updated)):
        if names:
            click.echo(f"{word} to {folder}: {', '.join(names)}")
    for name in copies.kept:
        click.echo(
            f"{name}: yours, which you changed, is kept, though odc_bdc has a newer one; rename "
            "yours and start again to get that"
        )
    sys.stdout.flush()
    command = [sys.executable, "-m", "jupyterlab", *_options(folder, port, language)]
    if not browser:
        command.append("--no-browser")
    # Cells call odc-bdc, also where the environment is not active.
    programs = [str(Path(sys.executable).parent), *filter(None, [environ.get("PATH")])]
    environ["PATH"] = os.pathsep.join(programs)
    environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(
        # It keeps JupyterLab from asking whether it may fetch news.
        [
            str(files("odc_bdc.notebook") / "lab"),
            *filter(None, [environ.get("JUPYTER_CONFIG_PATH")]),
        ]
    )
    os.execve(sys.executable, command, environ)  # noqa: S606 (no shell is wanted)


def _environ(home: Path) -> dict[str, str]:
    """Give the environment in which a notebook in any folder finds the index, which must answer."""
    from odc_bdc.database import find_index, open_datacube
    from odc_bdc.database.configuration import find_user_configuration
    from odc_bdc.live.roots import ROOTS_VARIABLE, recipe_roots

    index = find_index(home, environ=os.environ)
    open_datacube(index).close()
    if index.config_path is not None:
        return {**os.environ, "ODC_CONFIG_PATH": str(index.config_path.resolve())}
    own = find_user_configuration(home, os.environ)
    if own is not None and own.path is not None:
        # It may be named relative to this folder.
        environ = {**os.environ, "ODC_CONFIG_PATH": str(own.path.resolve())}
    else:
        environ = dict(os.environ)
    return {**environ, ROOTS_VARIABLE: str(recipe_roots(environ, home))}


def _options(folder: Path, port: int, language: str) -> list[str]:
    """Give what JupyterLab is started with; it asks no other host for news or extensions."""
    first = _first(folder, language)
    return [
        f"--ServerApp.root_dir={folder}",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        *([] if port else ["--ServerApp.port_retries=0"]),
        # Root may use it as anybody, for it listens at this machine only and asks for a token.
        "--ServerApp.allow_root=True",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        *([f"--LabApp.default_url=/lab/tree/{first}"] if first else []),
    ]


def _first(folder: Path, language: str) -> str:
    """Give the notebook to begin with in a language; empty if there is none."""
    names = sorted(path.name for path in folder.glob("*.ipynb"))
    portuguese = [name for name in names if name.endswith(".pt.ipynb")]
    chosen = portuguese if language == "pt" else [n for n in names if n not in portuguese]
    return next(iter(chosen or names), "")
