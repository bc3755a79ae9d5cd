"""Areas and times that the services search the index for."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from odc.geo import geom
from odc.geo.crs import CRS
from pyproj import Transformer
from shapely.geometry import Point

from odc_bdc.grid import BDC_CRS
from odc_bdc.ows.search import CompleteIndex, search_area, time_range

CRSS = {
    "BDC": (str(BDC_CRS), (2e6, 8e6, 8e6, 1.3e7)),
    "web": ("EPSG:3857", (-2.2e7, -2.2e7, 2.2e7, 2.2e7)),
    "degrees": ("EPSG:4326", (-200, -95, 200, 95)),
    "UTM": ("EPSG:32722", (-5e6, -5e6, 6e6, 1.5e7)),
}


@given(
    st.sampled_from(sorted(CRSS)),
    st.tuples(*[st.floats(0, 1)] * 4),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=5, max_size=5),
)
def test_whatever_of_the_earth_a_view_shows_lies_in_its_area(name, corners, places):
    crs, (west, south, east, north) = CRSS[name]
    x = sorted(west + (east - west) * v for v in corners[:2])
    y = sorted(south + (north - south) * v for v in corners[2:])
    assume(x[1] - x[0] > (east - west) / 1e4)
    assume(y[1] - y[0] > (north - south) / 1e4)
    area = search_area(geom.box(x[0], y[0], x[1], y[1], crs))
    to_degrees = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    back = Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
    for u, v in places:
        px, py = x[0] + (x[1] - x[0]) * u, y[0] + (y[1] - y[0]) * v
        lon, lat = to_degrees.transform(px, py)
        if not np.isfinite([lon, lat]).all() or abs(lat) > 90 or abs(lon) > 180:
            continue
        # Only what the CRS shows there: Mercator repeats the Earth beyond its edges.
        if not np.allclose(back.transform(lon, lat), (px, py), rtol=1e-6, atol=1e-3):
            continue
        assert area is not None
        assert area.geom.buffer(0.05).contains(Point(lon, lat)), (name, x, y, lon, lat)


def test_a_view_beside_the_earth_has_no_area():
    assert search_area(geom.box(200, 0, 300, 10, "EPSG:4326")) is None
    assert search_area(geom.box(1e8, 1e8, 2e8, 2e8, str(BDC_CRS))) is None


def test_small_views_are_not_enlarged():
    area = search_area(geom.box(5.9e6, 1e7, 5.91e6, 1.001e7, str(BDC_CRS)))
    assert area.crs == CRS("EPSG:4326")
    exact = geom.box(5.9e6, 1e7, 5.91e6, 1.001e7, BDC_CRS).to_crs("EPSG:4326", resolution=100)
    assert area.geom.symmetric_difference(exact.geom).area < exact.geom.area / 1e4


@pytest.mark.parametrize(
    ("time", "begin", "end"),
    [
        (date(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC)),
        (
            datetime(2020, 1, 1, 5, tzinfo=UTC),
            datetime(2020, 1, 1, 5, tzinfo=UTC),
            datetime(2020, 1, 1, 5, 0, 1, tzinfo=UTC),
        ),
        (
            (datetime(2020, 1, 1), datetime(2020, 2, 1)),  # noqa: DTZ001 (as datacube-ows has them)
            datetime(2020, 1, 1, tzinfo=UTC),
            datetime(2020, 2, 1, tzinfo=UTC),
        ),
    ],
)
def test_ranges_of_times(time, begin, end):
    found = time_range(time)
    assert (found.begin, found.end) == (begin, end)


class Datasets:
    """An index of periods that lasts as long as the real one's: both ends count."""

    def __init__(self, starts, days):
        self.all = [
            SimpleNamespace(
                id=n, time=SimpleNamespace(begin=start, end=start + timedelta(days=days))
            )
            for n, start in enumerate(starts)
        ]
        self.searches = 0

    def search(self, *, time=None, limit=None, **_):
        self.searches += 1
        found = [
            d
            for d in self.all
            if time is None or (d.time.begin <= time.end and d.time.end >= time.begin)
        ]
        return iter(found[:limit])

    def count(self, **query):
        return len(list(self.search(**query)))


def layer_of(datasets, *, summary=True):
    return SimpleNamespace(
        name="layer",
        dc=SimpleNamespace(index=SimpleNamespace(datasets=datasets)),
        time_resolution=SimpleNamespace(is_summary=lambda: summary),
        mosaic_date_func=None,
    )


STARTS = [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=16 * n) for n in range(5)]


def test_each_of_several_dates_is_found_once():
    layer = layer_of(Datasets(STARTS, 16))
    found = list(CompleteIndex().ds_search(layer, times=[STARTS[3], STARTS[1], STARTS[3]]))
    assert sorted(d.id for d in found) == [1, 3]


def test_periods_that_end_when_another_begins_are_not_taken_for_it():
    layer = layer_of(Datasets(STARTS, 16))
    (found,) = CompleteIndex().ds_search(layer, times=[STARTS[2]])
    assert found.id == 2


def test_scenes_of_a_day_are_found_by_the_day():
    layer = layer_of(Datasets([s + timedelta(hours=13) for s in STARTS], 0), summary=False)
    (found,) = CompleteIndex().ds_search(layer, times=[(STARTS[2], STARTS[2] + timedelta(days=1))])
    assert found.id == 2


def test_a_count_of_few_is_the_search_that_follows():
    from flask import Flask

    datasets = Datasets(STARTS, 15)
    layer, index = layer_of(datasets), CompleteIndex()
    with Flask("test").test_request_context():
        assert index.count(layer, times=STARTS[:2]) == 2
        searches = datasets.searches
        assert [d.id for d in index.ds_search(layer, times=STARTS[:2])] == [0, 1]
        assert datasets.searches == searches
        assert [d.id for d in index.ds_search(layer, times=STARTS[2:3])] == [2]
    with Flask("test").test_request_context():
        index.ds_search(layer, times=STARTS[:2])
        assert datasets.searches > searches + 1


def test_many_are_counted_by_the_database():
    datasets = Datasets([STARTS[0]] * 50, 15)
    assert CompleteIndex().count(layer_of(datasets), times=[STARTS[0]]) == 50
