"""Folders and names of images: the BDC's own, and those of a user's template."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odc_bdc import find_cube
from odc_bdc.building.layout import FIELDS, LAYOUTS, Layout
from odc_bdc.errors import InvalidValueError, OdcBdcError, UnknownNameError
from odc_bdc.naming import CollectionName, ItemName
from odc_bdc.planning import CompositeTask
from odc_bdc.timeline import Period

CUBE = find_cube("CB4_64_16D_STK_v1")
PERIOD = Period(date(2020, 7, 11), date(2020, 7, 26))


def task_of(name="CB4_64_16D_STK_v1", tile="021027", period=PERIOD):
    return CompositeTask(CUBE.patch(name=name), tile, period, ())


tiles = st.builds("{:03d}{:03d}".format, st.integers(0, 24), st.integers(0, 20))
periods = st.builds(
    lambda start, days: Period(start, start + timedelta(days)),
    st.dates(date(1999, 1, 1), date(2030, 1, 1)),
    st.integers(0, 400),
)
satellites = st.from_regex(r"[A-Z][A-Z0-9]{0,5}", fullmatch=True)
versions = st.integers(0, 99)


@pytest.mark.parametrize(
    ("layout", "name", "folder", "item"),
    [
        (
            "bdc-v1",
            "CB4_64_16D_STK_v1",
            "CB4_64_16D_STK/v001/021027/2020-07-11_2020-07-26",
            "CB4_64_16D_STK_v001_021027_2020-07-11_2020-07-26",
        ),
        ("bdc-v2", "S2_16D_v2", "s2-16d/v2/021/027/2020/07/11", "S2-16D_V2_021027_20200711"),
        (
            "bdc-v2",
            "CB4_64_16D_STK_v1",
            "cb4_64_16d_stk/v1/021/027/2020/07/11",
            "CB4_64_16D_STK_V1_021027_20200711",
        ),
        (
            "{name:lower}/{version:02}/{year}{month}/{start}/{tile}",
            "CB4_64_16D_STK_v1",
            "cb4_64_16d_stk/01/202007/2020-07-11/021027",
            "CB4_64_16D_STK_v1_021027_2020-07-11_2020-07-26",
        ),
        (
            "{cube}/{end}={start}+{column}.{row}@x",
            "CB4_64_16D_STK_v1",
            "CB4_64_16D_STK_v1/2020-07-26=2020-07-11+021.027@x",
            "CB4_64_16D_STK_v1_021027_2020-07-11_2020-07-26",
        ),
    ],
)
def test_folders_and_names(layout, name, folder, item):
    made = Layout.named(layout)
    assert made.folder(task_of(name)) == folder
    assert made.item_id(task_of(name)) == item
    assert made.beside(task_of(name)) == f"{folder}.{str(task_of(name).id)[:8]}"
    assert not made.has_versions


def test_layout_of_its_own_is_that_of_the_names():
    task, made = task_of(), Layout.named("odc-bdc")
    period, id8 = "2020-07-11_2020-07-26", str(task.id)[:8]
    assert made.folder(task) == f"CB4_64_16D_STK_v1/021027/{period}/{id8}"
    assert made.item_id(task) == task.item_id
    assert made.has_versions


@given(satellites, versions, tiles, periods)
def test_layout_v1_has_the_names_of_v1(satellite, version, tile, period):
    item = ItemName(
        CollectionName(f"{satellite}_64_16D_STK", str(version)), tile, period.start, period.end
    )
    task = task_of(f"{satellite}_64_16D_STK_v{version}", tile, period)
    assert Layout.named("bdc-v1").folder(task) == item.folder
    assert Layout.named("bdc-v1").item_id(task) == str(item)


@given(satellites, versions, tiles, periods)
def test_layout_v2_has_the_names_of_v2(satellite, version, tile, period):
    item = ItemName(CollectionName(f"{satellite}-16D", str(version)), tile, period.start)
    task = task_of(f"{satellite}_16D_v{version}", tile, period)
    assert Layout.named("bdc-v2").folder(task) == item.folder
    assert Layout.named("bdc-v2").item_id(task) == str(item)


@given(
    st.sampled_from([*LAYOUTS, "{tile}/{cube}_{start}/x{id}", "{year}/{month}{day}.{cube}{tile}"]),
    st.lists(st.tuples(satellites, tiles, periods), min_size=2, max_size=2),
)
def test_images_do_not_share_a_folder(layout, two):
    made = Layout.named(layout)
    one, other = (task_of(f"{s}_64_16D_STK_v1", tile, period) for s, tile, period in two)
    key = lambda t: (t.cube.name, t.tile_id, t.period.start)  # noqa: E731
    if key(one) != key(other):
        assert made.folder(one) != made.folder(other)
    # None lies in another's either: all are equally deep.
    assert made.folder(one).count("/") == made.beside(other).count("/")
    for task in (one, other):
        for folder in (made.folder(task), made.beside(task)):
            assert made.holds(f"{folder}/{made.item_id(task)}", task.cube.name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bdc-v3", "there are odc-bdc, bdc-v1, bdc-v2"),
        ("bdc-v", "do you mean bdc-v"),
        ("{cube}/{tile}", "lacks {period} or {start} or {year}{month}{day}"),
        ("{cube}/{year}{month}/{end}/{tile}", "lacks {period} or {start} or {year}{month}{day}"),
        ("{tile}/{start}", "lacks {cube} or {name}{version}"),
        ("{name}/{tile}/{start}", "lacks {cube} or {name}{version}"),
        ("{cube}/{row}/{start}", "lacks {tile} or {column}{row}"),
        ("{cube}/{til}/{start}", "no field {til}, do you mean tile?"),
        ("{cube}/{tile.x}/{start}", "no field {tile.x}"),
        ("{cube}/{tile[0]}/{start}", "no field {tile[0]}"),
        ("{cube}/{}/{tile}/{start}", "no field {}"),
        ("{cube}/{tile!r}/{start}", "{tile} may be written with :lower or :upper only"),
        ("{cube}/{tile:>99}/{start}", "{tile} may be written with :lower or :upper only"),
        ("{name}/{version:lower}/{tile}/{start}", "{version} may be written with :01 to :09 only"),
        ("/{cube}/{tile}/{start}", "each part between / has a name"),
        ("{cube}//{tile}/{start}", "each part between / has a name"),
        ("../{cube}/{tile}/{start}", "does not begin with a dot"),
        ("{cube}/{tile}/.{start}", "does not begin with a dot"),
        ("{cube}/{tile}/{start} *", "more than letters, digits"),
        ("{cube/{tile}/{start}", "layout '{cube/{tile}/{start}'"),
    ],
)
def test_faults_of_layouts_are_told(text, words):
    with pytest.raises((InvalidValueError, UnknownNameError)) as raised:
        Layout.named(text)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@given(st.text("{}/:!.[]0ab" + "cubetilsr", max_size=30))
def test_any_text_is_a_layout_or_refused(text):
    try:
        made = Layout.named(text)
    except OdcBdcError:
        return
    assert not made.folder(task_of()).startswith(("/", "."))


@pytest.mark.parametrize("name", ["OWN_CUBE", "CB4_64_16D_STK", "x__y_v1"])
def test_cube_without_version_has_no_name_of_the_bdc(name):
    for layout in ("bdc-v1", "bdc-v2"):
        with pytest.raises(InvalidValueError, match=r"does not end in _v<version>"):
            Layout.named(layout).check(name)
    Layout.named("odc-bdc").check(name)


def test_every_field_is_filled():
    layout = Layout.named("/".join(f"{{{field}}}" for field in FIELDS))
    assert layout.folder(task_of()).split("/")[:13] == [
        "CB4_64_16D_STK_v1", "CB4_64_16D_STK", "1", "021027", "021", "027",
        "2020-07-11_2020-07-26", "2020-07-11", "2020-07-26", "2020", "07", "11",
        str(task_of().id),
    ]  # fmt: skip
