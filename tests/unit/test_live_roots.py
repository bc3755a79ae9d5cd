"""Where recipes are read: what the environment names, what lies below it, and what a home notes."""

from __future__ import annotations

import os

import pytest

from odc_bdc.errors import InvalidValueError, SourceError
from odc_bdc.live import roots as living
from odc_bdc.live.roots import NOTES, Roots, note_root, open_home, process_roots, recipe_roots
from odc_bdc.ows.server import server_environment


class Index:
    """As much of an index as a server's environment follows from."""

    env, driver, url, options = None, "postgis", "postgresql+psycopg2:///x", ()

    def __init__(self, config_path=None):
        self.config_path = config_path


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "datacube.conf").write_text("[default]\n", "utf-8")
    return home


def test_the_variable_names_folders_and_buckets_and_nothing_else_counts(home, tmp_path):
    environ = {
        "ODC_CONFIG_PATH": str(home / "datacube.conf"),
        "ODC_BDC_ROOTS": f"{tmp_path / 'a b'}:s3://bucket/cubes/:s3://other",
    }
    found = recipe_roots(environ, home)
    assert found == Roots((tmp_path / "a b",), ("s3://bucket/cubes/", "s3://other/"))
    assert recipe_roots({"ODC_BDC_ROOTS": str(found)}) == found
    for wrong in ("https://h/cubes", "file:///cubes", "s3://"):
        with pytest.raises(InvalidValueError, match=r"ODC_BDC_ROOTS: .*are read in folders"):
            recipe_roots({"ODC_BDC_ROOTS": wrong})


def test_where_none_is_named_it_is_the_home(home, tmp_path):
    config = str(home / "datacube.conf")
    assert recipe_roots({}) == Roots()
    assert recipe_roots({"ODC_BDC_ROOTS": " ", "ODC_CONFIG_PATH": config}) == Roots((home,))
    assert recipe_roots({"ODC_CONFIG_PATH": f"/none/x.conf:{config}"}) == Roots((home,))
    assert recipe_roots({"DATACUBE_CONFIG_PATH": config}) == Roots((home,))
    assert recipe_roots({"ODC_BDC_HOME": str(home)}) == Roots((home,))
    assert recipe_roots({"ODC_CONFIG_PATH": str(tmp_path / "none.conf")}) == Roots()
    assert recipe_roots({}, home) == Roots((home,))


def test_a_folder_for_everybody_does_not_count_unless_it_is_named(home):
    home.chmod(0o777)
    assert recipe_roots({"ODC_CONFIG_PATH": str(home / "datacube.conf")}, home) == Roots()
    assert recipe_roots({"ODC_BDC_ROOTS": str(home)}) == Roots((home,))
    with pytest.raises(OSError, match="everybody may write there"):
        note_root(home, "s3://bucket")
    assert not living._is_safe(living.Path("/"))


def test_what_a_home_notes_counts_for_all_that_read_by_it(home, tmp_path):
    assert not note_root(home, str(home / "cubes"))
    assert not (home / NOTES).exists()
    assert note_root(home, str(tmp_path / "elsewhere"))
    assert not note_root(home, str(tmp_path / "elsewhere" / "deeper"))
    assert note_root(home, "s3://bucket/cubes")
    assert not note_root(home, "s3://bucket/cubes/deeper")
    wanted = Roots((home, tmp_path / "elsewhere"), ("s3://bucket/cubes/",))
    assert recipe_roots({"ODC_CONFIG_PATH": str(home / "datacube.conf")}) == wanted
    # Services may run as somebody else.
    assert (home / NOTES).stat().st_mode & 0o044 == 0o044


def test_a_process_reads_below_the_homes_that_it_opened(home, monkeypatch):
    for name in [n for n in os.environ if n.startswith(("ODC_", "DATACUBE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(living, "_opened", set())
    assert process_roots() == Roots()
    open_home(home)
    assert process_roots() == Roots((home,))
    monkeypatch.setenv("ODC_BDC_ROOTS", "/elsewhere")
    assert not process_roots().holds(str(home / "x"))


def test_servers_find_the_roots_of_who_starts_them(home, tmp_path):
    config = home / "datacube.conf"

    def of(index, **environ):
        return recipe_roots(server_environment(index, (), environ))

    assert of(Index(config)) == Roots((home,))
    # Not of another configuration, which the server does not see either.
    own = tmp_path / "own.conf"
    own.write_text("", "utf-8")
    assert of(Index(), ODC_CONFIG_PATH=str(own)) == Roots((tmp_path,))
    assert set(of(Index(), ODC_CONFIG_PATH=str(own), ODC_BDC_HOME=str(home)).folders) == {
        home, tmp_path,
    }  # fmt: skip
    assert of(Index(config), ODC_BDC_ROOTS="/data") == Roots((living.Path("/data"),))
    assert of(Index()) == Roots()


def test_paths_are_compared_as_they_are_really(home, tmp_path):
    roots = Roots.of(home, "s3://bucket/cubes")
    (home / "in.json").touch()
    (tmp_path / "out.json").touch()
    (home / "link").symlink_to(tmp_path / "out.json")
    (tmp_path / "back").symlink_to(home)
    inside = str(home / "in.json")
    for href in (inside, (home / "in.json").as_uri(), f"{tmp_path}/back/in.json"):
        assert roots.place(href) == inside
    assert Roots.of(tmp_path / "back").place(inside) == inside
    assert roots.place("s3://bucket/cubes/a.json") == "s3://bucket/cubes/a.json"
    for href in (
        str(tmp_path / "out.json"),
        (home / "link").as_uri(),
        f"{home.as_uri()}/../out.json",
        f"{home.as_uri()}/%2e%2e/out.json",
        f"file://localhost{inside}",
        f"{home.as_uri()}/in.json%00",
        f"{home}-other/in.json",
        "s3://bucket/cubes2/a.json",
        "s3://bucket/cubes/../a.json",
        "s3://bucket2/cubes/a.json",
        "S3://bucket/cubes/a.json",
    ):
        with pytest.raises(SourceError, match=r"recipes are read only below .*ODC_BDC_ROOTS"):
            roots.place(href)
    for href in ("http://h/a.json", "https://h/a.json?sig=abc", "gs://b/a", "memory://a"):
        with pytest.raises(SourceError, match="from disks and buckets only") as told:
            roots.place(href)
        assert "sig" not in str(told.value)
    with pytest.raises(SourceError) as told:
        roots.place("https://h/a\nb\x1b[2J")
    assert str(told.value).isprintable()
