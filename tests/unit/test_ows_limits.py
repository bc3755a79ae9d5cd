"""What a request costs, and how many costly ones are let in."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import pytest

from odc_bdc.errors import InvalidValueError
from odc_bdc.function import composite_function
from odc_bdc.ows import limits, times
from odc_bdc.ows.cost import (
    BLOCK,
    Cost,
    built_work,
    coverage_memory,
    live_work,
    map_memory,
    overlap,
)
from odc_bdc.ows.exceptions import Refusal
from odc_bdc.ows.limits import CostLimits, Gate
from odc_bdc.timeline import NAMED_TIMELINES

SETTINGS = (limits.WORK_VARIABLE, limits.MEMORY_VARIABLE, limits.HEAVY_VARIABLE)
IMAGE = (0.0, 0.0, 1000.0, 1000.0)


def seen(view, shape, image_shape=(1000, 1000)):
    return overlap(view, shape, IMAGE, image_shape)


def test_what_lies_beside_a_view_costs_nothing():
    assert seen((2000, 0, 3000, 1000), (10, 10)) is None
    assert seen((1000, 0, 2000, 1000), (10, 10)) is None


def test_a_built_image_is_read_as_far_as_it_is_seen():
    half = seen((500, 0, 1500, 1000), (100, 200))
    assert built_work(half, (100, 200), 3) == pytest.approx(3 * 100 * 100)
    # A map that is enlarged reads each pixel once.
    near = seen((0, 0, 10, 10), (400, 400))
    assert built_work(near, (400, 400), 2) == pytest.approx(2 * 10 * 10)


def test_a_live_image_is_computed_in_whole_blocks_of_the_level_that_is_seen():
    how = {"scenes": 6, "bands": 5, "function": 0.0}
    point = seen((10, 10, 11, 11), (1, 1))
    assert live_work(point, **how) == BLOCK**2 * 30
    whole = seen(IMAGE, (1000, 1000))
    assert live_work(whole, **how) == 4 * BLOCK**2 * 30
    coarse = seen(IMAGE, (250, 250))
    assert live_work(coarse, **how) == BLOCK**2 * 30


def test_the_function_counts_as_often_as_it_is_slower_than_reading():
    whole = seen(IMAGE, (1000, 1000))
    work = {
        name: live_work(whole, scenes=6, bands=5, function=composite_function(name).cost)
        for name in ("MED", "P25,P50,P75", "MAXNDI", "GEOMED")
    }
    assert work["MED"] < work["P25,P50,P75"] < work["MAXNDI"] < work["GEOMED"]
    assert work["GEOMED"] > 8 * work["MED"]


def test_a_cost_that_is_too_much_is_refused_by_the_name_of_its_limit():
    bound = CostLimits(work=100, memory=2**20)
    bound.check(Cost(100e6, 2**20), "all")
    with pytest.raises(Refusal, match=r"all, 101 million values; 100 million .*MAX_WORK\)"):
        bound.check(Cost(101e6), "all")
    with pytest.raises(Refusal, match=r"all, 2 MB; 1 MB are the limit \(ODC_BDC_OWS_MAX_MEMORY"):
        bound.check(Cost(0, 2**21), "all")
    assert not bound.is_heavy(Cost(25e6, 2**18))
    assert bound.is_heavy(Cost(26e6))
    assert bound.is_heavy(Cost(0, 2**19))


def test_the_largest_map_and_coverage_of_before_may_be_asked_for():
    bound = CostLimits()
    bound.check(Cost(3 * 4096**2, map_memory(4096**2, 1, (2, 2, 2))), "the largest map")
    bound.check(Cost(0, coverage_memory(2**25, 1, (2,) * 4)), "a coverage of 256 MB")


def test_limits_come_from_the_environment():
    given = {"ODC_BDC_OWS_MAX_WORK": "7", "ODC_BDC_OWS_MAX_MEMORY": "2G", "ODC_BDC_OWS_HEAVY": "3"}
    assert CostLimits.of_environment(given) == CostLimits(7, 2**31, 3)


@pytest.mark.parametrize(
    "name", [limits.WORK_VARIABLE, limits.MEMORY_VARIABLE, limits.HEAVY_VARIABLE]
)
@pytest.mark.parametrize("text", ["many", "-1"])
def test_what_is_no_limit_is_refused(name, text):
    with pytest.raises(InvalidValueError, match=text):
        CostLimits.of_environment({name: text})


def test_each_process_has_one_heavy_request(tmp_path):
    gate = Gate(tmp_path, 2, 100, patience=0)
    place = gate.enter(10, heavy=True)
    assert place is not None
    assert gate.enter(10, heavy=True) is None
    assert gate.enter(10, heavy=False) is not None
    gate.leave(place)
    assert gate.enter(10, heavy=True) is not None


def test_requests_share_the_memory_of_their_process():
    gate = Gate(None, 1, 100, patience=0)
    large = gate.enter(200, heavy=False)
    assert gate.enter(1, heavy=False) is None
    gate.leave(large)
    assert gate.enter(60, heavy=False)
    assert gate.enter(60, heavy=False) is None
    assert gate.enter(40, heavy=False)


def test_one_request_waits_for_another_to_end():
    gate = Gate(None, 1, 100, patience=600)
    place = gate.enter(100, heavy=True)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(gate.enter, 100, heavy=True)
        while not gate._waiting.locked():
            pass
        assert gate.enter(100, heavy=True) is None
        gate.leave(place)
        assert waiting.result() is not None


def test_all_processes_have_no_more_than_there_are_places(tmp_path):
    gate = Gate(tmp_path, 1, 100, patience=0)
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom odc_bdc.ows.limits import Gate\n"
        "assert Gate(Path(sys.argv[1]), 1, 100).enter(1, heavy=True)\nprint('in', flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline().strip() == b"in"
        assert gate.enter(1, heavy=True) is None
        other.kill()  # as a worker that took too long is
        other.wait()
    assert gate.enter(1, heavy=True) is not None


def test_a_range_of_many_steps_is_refused_before_they_are_counted(monkeypatch):
    periods = list(NAMED_TIMELINES["p16d"].periods(date(2018, 1, 1), date(2020, 12, 31)))
    reckoned = []
    real = times._duration

    class Counted:
        def __init__(self, text):
            self.real = real(text)

        def __rmul__(self, number):
            reckoned.append(number)
            return number * self.real

    monkeypatch.setattr(times, "_duration", Counted)
    with pytest.raises(InvalidValueError, match="more than 1000 steps, which are the limit"):
        times.choose(periods, "1900-01-01/2100-01-01/PT1S")
    assert reckoned == [times.MAX_STEPS]


def test_the_steps_of_all_ranges_count_together():
    periods = list(NAMED_TIMELINES["p16d"].periods(date(2018, 1, 1), date(2020, 12, 31)))
    once = "2018-01-01/2019-12-31/P1D"
    assert len(times.choose(periods, once)) == 46
    with pytest.raises(InvalidValueError, match="more than 1000 steps together"):
        times.choose(periods, f"{once},{once}")


def test_a_list_of_times_has_an_end():
    periods = list(NAMED_TIMELINES["p1m"].periods(date(2018, 1, 1), date(2018, 12, 31)))
    with pytest.raises(InvalidValueError, match="a list of 300 times is too long: 250"):
        times.choose_all(periods, ",".join(["2018-01-01"] * 300))


def test_steps_are_those_that_counting_gives():
    periods = list(NAMED_TIMELINES["p16d"].periods(date(2018, 1, 1), date(2018, 12, 31)))
    for step, delta in (("P10D", 10), ("P40D", 40)):
        low, high = datetime(2017, 11, 5, tzinfo=UTC), datetime(2018, 11, 6, tzinfo=UTC)
        counted = {
            p
            for p in periods
            for n in range(400)
            if low.toordinal() + n * delta < high.toordinal()
            and p.start.toordinal() <= low.toordinal() + n * delta <= p.end.toordinal()
        }
        found = times.choose(periods, f"2017-11-05/2018-11-05/{step}")
        assert {c.period for c in found} == counted
