"""Cubes of a landscape that is known everywhere: the short form of `make truth`."""

from __future__ import annotations

import proving
import pytest

from odc_bdc import database

CASES = proving.cases(short=True)


@pytest.fixture(scope="module", params=["postgis", "postgres"])
def index(request, fresh_index):
    """Give an open index, and the folder that its recipes are read from."""
    known = fresh_index(request.param)
    with database.open_datacube(known, app="test") as dc:
        yield dc


def test_no_pixel_is_unexplained(index, tmp_path, monkeypatch):
    monkeypatch.setenv("ODC_BDC_ROOTS", str(tmp_path / "cubes"))
    driver = index.index.name
    # Each driver has half of them: pixels do not depend on it.
    cases = CASES[:: 2 if driver == "postgis" else -2]
    found = [proving.prove(index, case, n, tmp_path) for n, case in enumerate(cases)]
    bad = [proving.line(one) for one in found if one.differing or one.unexplained]
    assert not bad, "\n".join([proving.HEAD, *bad])
    assert sum(one.pixels for one in found) > 40_000
