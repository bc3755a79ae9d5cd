"""What is kept: entries without end, wrong ones, and ones that are out of date."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from itertools import product
from urllib.parse import urlencode

import pytest
from answers import fetched
from test_bad_requests import INFO, STK, WCS1, WCS2, WMS, WMTS

from odc_bdc.ows import update_ranges
from odc_bdc.ows.store import Store

pytestmark = pytest.mark.integration

CAPABILITIES = tuple(
    (service, {"service": service.upper(), "request": "GetCapabilities"})
    for service in ("wms", "wmts", "wcs")
)
NEW = "2020-01-01"


def entries(folder) -> int:
    """Count the answers that all workers keep."""
    return Store(folder, 2**21).usage().answers


def test_headers_and_parameters_that_mean_nothing_make_no_entries(
    services, kept_in, record_property
):
    """Documents and maps with 40 hosts, forwarded hosts, languages and unknown parameters each."""
    asked = [*CAPABILITIES, ("wms", WMS), ("wmts", WMTS)]
    for path, query in asked:
        for language in ("en", "pt"):
            fetched(services.url, path, query, **{"Accept-Language": language})
    before = entries(kept_in)
    for number, (path, query) in product(range(40), asked):
        text = urlencode(query).replace("request=Get", ("REQUEST=gEt", "request=GET")[number % 2])
        answer = fetched(
            services.url,
            path,
            f"{text}&x{number}={number}&coverageid={number}",
            **{
                "Host": f"host{number}.example",
                "X-Forwarded-Host": f"host{number}.example",
                "X-Forwarded-Proto": f"evilproto{number}",
                "X-Forwarded-Prefix": f"/evilprefix{number}",
                "Accept-Language": ("pt", "en", "de")[number % 3] + f",x{number};q=0.1",
                "Accept": f"x/{number}",
                "Accept-Encoding": f"x{number}",
            },
        )
        assert answer.status == 200, answer.body
        for word in (b".example", b"evilproto", b"evilprefix"):
            assert word not in answer.body
    after = entries(kept_in)
    record_property("answer", f"200 requests, {after - before} entries more")
    assert after == before


def test_a_host_of_the_client_is_never_advertised(services, record_property):
    """Capabilities for a foreign host, and then for the right one: the addresses in them."""
    for path, query in CAPABILITIES:
        theirs = fetched(services.url, path, query, Host="evil.example")
        ours = fetched(services.url, path, query)
        assert theirs.status == ours.status == 200
        assert b"evil.example" not in theirs.body + ours.body
        assert services.url.encode() in ours.body
        # One document, so there is nothing to be poisoned.
        assert theirs.headers["ETag"] == ours.headers["ETag"]
    record_property("answer", "those that are configured")


@contextmanager
def new_date(dc):
    """Take a date out of the index, and bring it back by the call of what is given."""
    found = [ds for ds in dc.index.datasets.search(product=STK) if str(ds.time.begin.date()) == NEW]
    ids = [ds.id for ds in found]
    dc.index.datasets.archive(ids)
    # datacube-ows counts the dates of archived datasets too.
    dc.index.datasets.purge(ids)
    update_ranges(dc)

    def bring_back() -> None:
        for ds in found:
            dc.index.datasets.add(ds, with_lineage=False)
        update_ranges(dc)

    try:
        yield bring_back
    finally:
        bring_back()


def settled(condition) -> None:
    """Wait until all workers have looked at the index anew."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the answers stay as they were"
        time.sleep(0.2)


@pytest.mark.parametrize("kind", ["coverage", "coverage 2", "feature info", "page"])
def test_no_answer_is_older_than_the_index(kind, services, attacked, record_property):
    """A date that comes while the services run, asked for by nobody else."""
    asked = {
        "coverage": ("wcs", WCS1 | {"time": NEW}),
        "coverage 2": ("wcs", WCS2),
        "feature info": ("wms", INFO | {"time": f"2019-12-01/{NEW}"}),
        "page": ("page/layers.en.json", {}),
    }
    path, query = asked[kind]

    def answers() -> set[str]:
        """Ask often enough for both workers, at nothing else."""
        found = (fetched(services.url, path, query) for _ in range(8))
        return {_told(kind, answer) for answer in found}

    with new_date(attacked[1]) as bring_back:
        settled(lambda: answers() == {"without"})
        bring_back()
        settled(lambda: answers() == {"with"})
    record_property("answer", "the new date, without a restart")


def _told(kind: str, answer) -> str:
    """Tell whether an answer knows of the new date."""
    if kind in {"coverage", "coverage 2"}:
        return "with" if answer.status == 200 else "without"
    assert answer.status == 200, answer.body
    if kind == "feature info":
        found = json.loads(answer.body)["features"][0]["properties"]["data"]
        dates = {str(part.get("time", ""))[:10] for part in found}
        return "with" if NEW in dates else "without"
    periods = json.loads(answer.body)["layers"][STK]["periods"]
    return "with" if NEW in {begin for begin, _ in periods} else "without"
