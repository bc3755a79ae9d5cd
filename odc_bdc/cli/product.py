"""`odc-bdc product`: the product documents that come with odc_bdc."""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path

import click

from odc_bdc.cli._options import home_option, opened_index


@click.group()
def product() -> None:
    """List, show, add and render product documents.

    \b
    odc-bdc product list
    odc-bdc product show CB4_64_16D_STK_v1
    odc-bdc product add CB4_WFI_L4_SR_1 CB4_64_16D_STK_v1
    odc-bdc product render --check
    """


@product.command("list")
def list_() -> None:
    """List the products that come with odc_bdc, a line each.

    \b
    odc-bdc product list
    """
    from odc_bdc.product import shipped_products

    for name, doc in sorted(shipped_products().items()):
        click.echo(f"{name:26} {doc['description']}")


@product.command()
@click.argument("name", metavar="NAME")
def show(name: str) -> None:
    """Print a product document that comes with odc_bdc, as `datacube product add` takes it.

    \b
    odc-bdc product show CB4_WFI_L4_SR_1
    odc-bdc product show CB4_WFI_L4_SR_1 > CB4_WFI_L4_SR_1.odc-product.yaml
    """
    from odc_bdc.product import product_text

    click.echo(product_text(name), nl=False)


@product.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "every", is_flag=True, help="Add all that come with odc_bdc.")
@home_option
def add(names: tuple[str, ...], every: bool, home: Path) -> None:  # noqa: FBT001 (a click flag)
    """Add products to the index; those that are there already are left alone.

    \b
    odc-bdc product add CB4_WFI_L4_SR_1
    odc-bdc product add --all
    """
    from odc_bdc.indexing import add_products
    from odc_bdc.product import product_document, shipped_products

    if not names and not every:
        raise click.UsageError("give the names of products, or --all")
    known = list(shipped_products().values()) if every else [product_document(n) for n in names]
    with opened_index(home) as dc:
        added = add_products(dc, known)
    click.echo(json.dumps({"added": added, "unchanged": len(known) - len(added)}))


@product.command()
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a document is stale.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of definitions, with cubes/*.yaml; default is product_defs itself.",
)
def render(check: bool, folder: Path | None) -> None:  # noqa: FBT001 (a click flag)
    """Render what follows from the cube definitions: product documents, virtual catalogue.

    \b
    odc-bdc product render
    odc-bdc product render --check
    """
    from odc_bdc.indexing import write_documents

    stale = write_documents(folder or Path(str(files("odc_bdc.product_defs"))), check=check)
    for document in stale:
        click.echo(f"{document.name}: {document.state if check else 'rendered'}")
        for line in document.changes if check else ():
            click.echo(f"    {line}")
    if check and stale:
        click.echo("run `odc-bdc product render`, look at the changes, and commit them")
        sys.exit(1)
