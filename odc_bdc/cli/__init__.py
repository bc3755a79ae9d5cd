"""The command `odc-bdc`: thin commands over the Python API."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from odc_bdc.errors import OdcBdcError

_COMMANDS = {
    "cube": "odc_bdc.cli.cube:cube",
    "db": "odc_bdc.cli.database:db",
    "demo": "odc_bdc.cli.demo:demo",
    "doctor": "odc_bdc.cli.doctor:doctor",
    "grid": "odc_bdc.cli.grid:grid",
    "index": "odc_bdc.cli.index:index",
    "lab": "odc_bdc.cli.lab:lab",
    "ows": "odc_bdc.cli.ows:ows",
    "product": "odc_bdc.cli.product:product",
    "scenes": "odc_bdc.cli.scenes:scenes",
}


class LazyGroup(click.Group):
    """Imports a command's module when the command is asked for, so that ``--help`` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names of all commands."""
        return sorted({*super().list_commands(ctx), *_COMMANDS})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in _COMMANDS:
            return super().get_command(ctx, name)
        module, attribute = _COMMANDS[name].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error becomes one line and exit code 2, unless ``--debug``."""
        debug = ctx.params.get("debug", False)
        try:
            return super().invoke(ctx)
        except OdcBdcError as e:
            if debug:
                raise
            click.echo(f"odc-bdc: {e}", err=True)
            sys.exit(2)
        except BrokenPipeError:
            # The reader of our output has gone (`odc-bdc ... | head`): nothing is wrong.
            sys.stderr.close()
            sys.exit(0)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as e:
            if debug:
                raise
            reason = (str(e).strip() or "no message").splitlines()[0]
            click.echo(
                f"odc-bdc: unexpected {type(e).__name__}: {reason} (`odc-bdc --debug ...` says "
                "where; please report it)",
                err=True,
            )
            sys.exit(2)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="odc_bdc", prog_name="odc-bdc")
@click.option("--debug", is_flag=True, help="Show where an error comes from.")
def main(*, debug: bool) -> None:
    """Put the Brazil Data Cube on the Open Data Cube.

    Index scenes, composite them to cubes, publish the cubes as WMS, WMTS and WCS.

    \b
    All of it, with made scenes:    odc-bdc demo
    Step by step:
        odc-bdc db up
        odc-bdc scenes make scenes
        odc-bdc product add --all
        odc-bdc index cb4_wfi_l4_sr scenes
        odc-bdc cube build CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29 \\
            --clip 5970432 9919936 6035968 9952704
        odc-bdc ows update
        odc-bdc ows serve
    What is missing on this machine:    odc-bdc doctor
    """
