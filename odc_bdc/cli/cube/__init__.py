"""`odc-bdc cube`: plan and build cubes."""

from __future__ import annotations

import click

from odc_bdc.cli.cube.build import build
from odc_bdc.cli.cube.check import check
from odc_bdc.cli.cube.declare import declare, unbuild
from odc_bdc.cli.cube.overview import overview
from odc_bdc.cli.cube.plan import plan
from odc_bdc.cli.cube.prune import prune
from odc_bdc.cli.cube.show import show
from odc_bdc.cli.cube.status import status


@click.group(commands=[show, plan, declare, build, unbuild, status, check, overview, prune])
def cube() -> None:
    """Look at cube definitions; plan, declare and build cubes; see what there is.

    CUBE is the name of a shipped cube (`odc-bdc product list`) or a YAML file of your own.

    \b
    odc-bdc cube plan CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29
    odc-bdc cube declare CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29
    odc-bdc cube build CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29 --tile 007004
    odc-bdc cube status CB4_64_16D_STK_v1 --time 2019-11-01 2020-02-29
    """
