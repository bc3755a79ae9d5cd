"""The wheel and what it requires, nothing else: no extras, no PostgreSQL, nothing of Linux."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sqlalchemy import text

from odc_bdc import database
from odc_bdc.database.index import session, with_database

# Runs at the start of each Python of the environment: what Windows does not have is not there.
ELSEWHERE = """
import os, sys
import asyncio  # Python's own looks for what this system has
sys.modules.update({name: None for name in ("fcntl", "grp", "pwd", "resource", "termios")})
for name in ("fork", "geteuid", "getuid", "preadv", "pread", "sched_getaffinity", "sysconf",
             "posix_fadvise", "sendfile", "O_CLOEXEC", "killpg", "getpgid", "chown"):
    if hasattr(os, name):
        delattr(os, name)
if hasattr(os, "process_cpu_count"):
    os.process_cpu_count = os.cpu_count  # as it is where nobody knows the affinity
"""

LOAD = """
import json, sys, datacube
assert not hasattr(__import__("os"), "preadv")
with datacube.Datacube() as dc:
    ds = dc.load(product="CB4_64_16D_STK_v1", measurements=["red", "nir"],
                 time=("2019-12-19", "2019-12-31"))
print(json.dumps({"sizes": dict(ds.sizes), "seen": int((ds.red != -9999).sum())}))
"""


def needed(name, extra="", found=None):
    """Give the distributions that one needs, by name, itself included."""
    found = {} if found is None else found
    try:
        found[canonicalize_name(name), extra] = there = distribution(name)
    except PackageNotFoundError:  # rfc3987-syntax, which the lock leaves out
        return found
    for line in there.requires or ():
        wish = Requirement(line)
        if wish.marker is None or wish.marker.evaluate({"extra": extra}):
            for part in {"", *wish.extras}:
                if (canonicalize_name(wish.name), part) not in found:
                    needed(wish.name, part, found)
    return found


@pytest.fixture(scope="module")
def alone(wheel, tmp_path_factory):
    """Install the wheel into an empty venv, with links to what it requires: no extras."""
    folder = tmp_path_factory.mktemp("alone")
    venv.create(folder, with_pip=False)
    purelib = next((folder / "lib").glob("python*")) / "site-packages"
    subprocess.run(
        [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--offline",
         "--python", folder / "bin" / "python", wheel], cwd=folder, check=True,
    )  # fmt: skip
    for there in needed("odc_bdc").values():
        for top in {file.parts[0] for file in there.files} - {"..", "__pycache__"}:
            link, found = purelib / top, Path(there.locate_file(top))
            if there.name != "odc_bdc" and not link.exists():
                link.symlink_to(found)
    # By a file of paths: some systems have a `sitecustomize` of their own, which comes first.
    (purelib / "elsewhere.py").write_text(ELSEWHERE)
    (purelib / "elsewhere.pth").write_text("import elsewhere\n")
    return folder


@pytest.fixture
def run(alone, tmp_path):
    """Give a maker of commands of the environment, which see no other program."""

    def run(program, *arguments, code=0, **environ):
        done = subprocess.run(
            [alone / "bin" / program, *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env={"PATH": str(alone / "bin"), "HOME": str(tmp_path), "LANG": "C.UTF-8", **environ},
        )  # fmt: skip
        assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def url():
    """Give the URL of an empty database; the server is on this machine, its programs are not."""
    home = Path(tempfile.mkdtemp(prefix="odc_bdc-test-"))
    home.chmod(0o755)  # so that a server of another user can reach it
    own = ("ODC_", "DATACUBE_", "DB_", "PG", "HOME")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    index = database.bring_up(home, environ=environ)
    with session(index, "postgres") as server:
        server.execute(text("CREATE DATABASE cube"))
    yield with_database(index, "cube")
    database.delete(home)
    shutil.rmtree(home)


def test_extras_are_not_there(run):
    found = "import importlib.util as u; print([n for n in ('datacube_ows', 'matplotlib', 'moto') "
    assert run("python", "-c", found + "if u.find_spec(n)])").stdout == "[]\n"


def test_demo_tells_all_that_is_missing_before_it_does_anything(run, tmp_path):
    told = run("odc-bdc", "demo", "--home", "home", code=2).stderr
    assert "datacube-ows is not installed" in told
    assert "matplotlib is not installed" in told
    assert "-> pip install 'odc_bdc[demo]'" in told
    assert "missing  PostgreSQL" in told
    assert told.splitlines()[-1].endswith("2 missing, see above; nothing was done")
    assert not (tmp_path / "home").exists()


def test_private_database_is_refused_where_it_cannot_be(run):
    told = run("odc-bdc", "db", "up", "--home", "home", code=2).stderr
    assert told == (
        "odc-bdc: A private database needs Linux: set ODC_DEFAULT_DB_URL to a server with PostGIS\n"
    )


def test_from_scenes_to_dc_load_on_a_given_database(run, url):
    index = {"ODC_DEFAULT_DB_URL": url, "ODC_DEFAULT_INDEX_DRIVER": "postgis"}
    cube, days = "CB4_64_16D_STK_v1", ("--start", "2019-12-19", "--end", "2019-12-31")
    run("odc-bdc", "db", "init", **index)
    run("odc-bdc", "scenes", "make", "scenes", "--size", "128", *days, **index)
    run("odc-bdc", "product", "add", "CB4_WFI_L4_SR_1", cube, **index)
    run("odc-bdc", "index", "cb4_wfi_l4_sr", "scenes", **index)
    run(
        "odc-bdc", "cube", "build", cube, "--time", "2019-12-19", "2019-12-31",
        "--clip", "5970432", "9919936", "6035968", "9952704", "--root", "cubes", **index,
    )  # fmt: skip
    loaded = json.loads(run("python", "-c", LOAD, **index).stdout)
    assert loaded["sizes"]["time"] == 1
    assert loaded["seen"] > 10_000
