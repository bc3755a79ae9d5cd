"""`odc-bdc index`: what it is told, and what it hands on."""

from __future__ import annotations

import json
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import shapely
from click.testing import CliRunner

from odc_bdc import OdcBdcError
from odc_bdc.cli import index as command
from odc_bdc.cli import main
from odc_bdc.indexing import (
    AccessToken,
    Failure,
    IndexReport,
    Record,
    Search,
    find_recipe,
    index_collection,
)

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}
ID = uuid.UUID(int=7)


@pytest.fixture
def called(monkeypatch):
    """Put a stand-in for the engine behind the command; give what it was called with."""
    seen = {"records": [Record("added", "a.json", "A", ID)]}

    def engine(dc, recipe, sources, search, *, report, **options):
        seen.update(options, recipe=recipe.name, sources=sources, search=search)
        result = IndexReport(not_archived=seen.get("note"))
        for record in seen["records"]:
            result.note(record)
            report(record)
        return result

    @contextmanager
    def opened(home):
        yield None

    monkeypatch.setattr("odc_bdc.indexing.index_collection", engine)
    monkeypatch.setattr(command, "opened_index", opened)
    return seen


def run(*arguments):
    return CliRunner().invoke(main, ["index", "cb4_wfi_l4_sr", *map(str, arguments)])


def test_a_line_for_each_item_and_a_summary(called):
    called["records"] += [
        Record("unchanged", "b.json", "B", ID),
        Record("failed", "c.json", reason="c.json: no STAC item"),
    ]
    done = run("here")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"status": "added", "item": "A", "id": str(ID), "source": "a.json"},
        {"status": "unchanged", "item": "B", "id": str(ID), "source": "b.json"},
        {"status": "failed", "source": "c.json", "reason": "c.json: no STAC item"},
    ]
    assert done.stderr == "1 added, 1 unchanged, 1 failed\n"
    assert done.exit_code == 1


def test_options_are_handed_on(called, tmp_path):
    area = tmp_path / "area.geojson"
    area.write_text(json.dumps({"type": "Feature", "geometry": SQUARE}), "utf-8")
    called["note"] = "the source gave no item at all"
    done = run(
        *("one", "https://data.inpe.br/bdc/stac/v1", "--bbox", -50, -10, -49, -9, "--tile"),
        *("007004", "--time", "2020-01-01", "2020-01-31", "--limit", 5, "--ids", "A, B"),
        *("--query", '{"eo:cloud_cover": {"lt": 50}}', "--intersects", area, "--dry-run"),
        *("--archive-missing", "--verify", "pixels", "--batch", 9, "--out", tmp_path / "eo3"),
        *("--resume", tmp_path / "state"),
    )
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines() == [
        "would be: 1 added",
        "nothing is archived: the source gave no item at all",
    ]
    last = datetime(2020, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)
    assert called["search"] == Search(
        bbox=(-50, -10, -49, -9),
        geometry=shapely.geometry.shape(SQUARE),
        tile="007004",
        time=(datetime(2020, 1, 1, tzinfo=UTC), last),
        query={"eo:cloud_cover": {"lt": 50}},
        max_items=5,
        ids=("A", "B"),
    )
    assert called["token"] is None
    assert called["sources"] == ("one", "https://data.inpe.br/bdc/stac/v1")
    assert (called["dry_run"], called["archive_missing"]) == (True, True)
    assert (called["verify"], called["batch"]) == ("pixels", 9)
    assert (called["out"], called["resume"]) == (tmp_path / "eo3", tmp_path / "state")


@pytest.mark.parametrize("sent_as", ["header", "query"])
def test_the_token_is_read_at_the_edge(called, monkeypatch, sent_as):
    monkeypatch.setenv("ODC_BDC_STAC_TOKEN", "secret-token")
    done = run("https://data.inpe.br/bdc/stac/v1", "--token-as", sent_as)
    assert called["token"] == AccessToken("secret-token", sent_as)
    assert "secret" not in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--time", "2020-02-01", "2020-01-01"], "--time ends on 2020-01-01, before 2020-02-01"),
        (["--query", "eo:cloud_cover < 50"], "--query: cannot be read as JSON"),
        (["--query", "[1]"], "--query: needs a JSON object"),
        (["--intersects", "nowhere.geojson"], "nowhere.geojson: cannot be read"),
        (["--intersects", "point.geojson"], "needs a polygon or multipolygon"),
    ],
)
def test_what_cannot_be_meant_is_one_line(called, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "point.geojson").write_text('{"type": "Point", "coordinates": [0, 0]}', "utf-8")
    done = run("here", *arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "search" not in called


@pytest.mark.parametrize(
    "search", [Search(max_items=1), Search(query={"eo:cloud_cover": {"lt": 5}})]
)
def test_what_a_search_leaves_out_is_not_taken_for_gone(search):
    recipe = find_recipe("cb4_wfi_l4_sr")
    with pytest.raises(OdcBdcError, match="--archive-missing cannot tell"):
        index_collection(None, recipe, ["here"], search, archive_missing=True)
    with pytest.raises(OdcBdcError, match="leave out --resume"):
        index_collection(None, recipe, ["here"], archive_missing=True, resume="state")


def test_a_line_can_hold_whatever_a_source_says():
    record = Record("failed", "a\ud800.json", reason='"\u2028\x00\n')
    line = record.to_json()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["source"] == "a\ud800.json"


def test_counts_are_by_status():
    report = IndexReport()
    for status in ("added", "updated", "updated", "restored", "archived"):
        report.note(Record(status, "x.json"))
    report.note(Record("failed", "y.json", reason="no date"))
    assert (report.added, report.updated, report.restored, report.archived) == (1, 2, 1, 1)
    assert report.failed == [Failure("y.json", "no date")]
