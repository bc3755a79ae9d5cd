"""Whether index, configuration and ranges agree, before a client finds out that they do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odc_bdc.errors import DatabaseError
from odc_bdc.ows.extra import require_ows, services_driver
from odc_bdc.ows.image_faults import Found, image_faults, overview_faults
from odc_bdc.ows.inventory import config_of_inventory, inventory
from odc_bdc.ows.parsed import named_layers, parsed_config, products_of
from odc_bdc.ows.ranges import range_states, stored_dates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from datacube import Datacube

UPDATE = "run `odc-bdc ows update`"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a layer (or with the index), and what mends it."""

    subject: str
    problem: str
    cure: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.problem}; {self.cure}"


def find_faults(dc: Datacube, config: Mapping[str, Any] | None = None) -> list[Fault]:
    """Look for faults that would keep layers from clients, or show them wrong.

    Parameters
    ----------
    dc
        The open index.
    config
        Configuration of datacube-ows for this index; if not given, that of all it has to publish.
    """
    require_ows()
    try:
        services_driver(dc.index.environment.index_driver)
    except DatabaseError as e:
        return [Fault("index", *str(e).split("; ", 1))]
    faults: list[Fault] = []
    if config is None:
        found = inventory(dc)
        config = config_of_inventory(dc, found)
        faults += [
            Fault(n, why, "see `load` in the product's file") for n, why in found.left_out.items()
        ]
    layers = list(named_layers(config["layers"]))
    if not layers:
        cure = "build a cube (`odc-bdc cube build`) or index scenes, then `odc-bdc ows update`"
        return [*faults, Fault("index", "no product has datasets, so there is no layer", cure)]
    wrong = [fault for layer in layers for fault in _product_faults(dc, layer)]
    known = {fault.subject for fault in wrong}
    dates = stored_dates(dc)
    return [
        *faults,
        *wrong,
        *(f for f in _parse_faults(config) if f.subject not in known),
        *_range_faults(dc, config),
        *(f for layer in layers for f in _image_faults(dc, layer, dates.get(layer["name"], []))),
    ]


def _image_faults(dc: Datacube, layer: Mapping[str, Any], dates: Sequence[date]) -> Iterator[Fault]:
    found: list[Found] = []
    for name in products_of(layer):
        if dc.index.products.get_by_name(name) is not None:
            found += image_faults(dc, name, dates)
            if layer.get("low_res_product_name"):
                found += overview_faults(dc, name)
    yield from (Fault(layer["name"], problem, cure) for problem, cure in dict.fromkeys(found))


def _product_faults(dc: Datacube, layer: Mapping[str, Any]) -> Iterator[Fault]:
    for name in products_of(layer):
        product = dc.index.products.get_by_name(name)
        if product is None:
            cure = f"add it (`odc-bdc product add {name}`), or take the layer out"
            yield Fault(layer["name"], f"product {name} is not in the index", cure)
            continue
        lacking = [band for band in layer.get("bands") or () if band not in product.measurements]
        if lacking:
            bands = ", ".join(lacking)
            cure = "correct the layer's bands, or update the product (`datacube product update`)"
            yield Fault(layer["name"], f"product {name} has no band {bands}", cure)


def _parse_faults(config: Mapping[str, Any]) -> list[Fault]:
    cure = "correct the layer in the configuration"
    with parsed_config(config) as parsed:
        return [
            Fault(layer["name"], parsed.complaint_about(layer), cure)
            for layer in named_layers(config["layers"])
            if layer["name"] not in parsed.layers
        ]


def _range_faults(dc: Datacube, config: Mapping[str, Any]) -> list[Fault]:
    problems = {
        "missing": "it has no ranges, so clients do not see it",
        "stale": "its ranges are older than its datasets or the published CRSs",
    }
    states = range_states(dc, config)
    return [Fault(n, problems[state], UPDATE) for n, state in states.items() if state != "current"]
