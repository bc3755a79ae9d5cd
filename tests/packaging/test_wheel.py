"""The wheel, built and installed away from the checkout, is whole."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

COMPOSITE = """
import json, sys
import numpy as np, xarray as xr
import odc_bdc
assert "site-packages" in odc_bdc.__file__, odc_bdc.__file__
times = np.array(["2019-01-08", "2019-01-18", "2019-01-23"], dtype="datetime64[ns]")
bands = {
    "red": (("time", "y", "x"), np.array([2900, 3150, 3100], "int16").reshape(3, 1, 1),
            {"nodata": -9999}),
    "CMASK": (("time", "y", "x"), np.full((3, 1, 1), 127, "uint8")),
}
cube = odc_bdc.find_cube("CB4_64_16D_STK_v1")
made = {f: odc_bdc.composite(xr.Dataset(bands, coords={"time": times}), function=f,
                             quality=cube.quality, order=[1, 2, 0]).red.item()
        for f in ("AVG", "MED", "STK")}
print(json.dumps(made))
"""


def run(*command, cwd, **environ):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "ODC_", "VIRTUAL"))}
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={**clean, **environ}
    )


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """Install the wheel alone into an empty venv, which borrows the dependencies of this one."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    purelib = next((folder / "lib").glob("python*")) / "site-packages"
    installed = run(
        sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--offline",
        "--python", str(folder / "bin" / "python"), str(wheel), cwd=folder,
    )  # fmt: skip
    assert installed.returncode == 0, installed.stderr
    borrowed = [p for p in sys.path if p.endswith("site-packages")]
    # A .pth line that runs code of an editable install would lead back to the checkout.
    (purelib / "borrowed.pth").write_text("\n".join(borrowed), "utf-8")
    return folder


def test_wheel_holds_what_the_tree_holds(wheel):
    packed = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    moved = {"product_defs": "odc_bdc/product_defs", "ows_cfg": "odc_bdc/ows_cfg"}
    moved |= {"ingest": "odc_bdc/ingest", "notebooks": "odc_bdc/notebooks"}
    wanted = {
        str(path.relative_to(ROOT)) for path in (ROOT / "odc_bdc").rglob("*") if path.is_file()
    }
    for top, inside in moved.items():
        wanted |= {
            f"{inside}/{p.relative_to(ROOT / top)}" for p in (ROOT / top).rglob("*") if p.is_file()
        }
    # What a file of the page was made of is not needed by those who have it.
    left_out = ("__pycache__", "odc_bdc/ows/landing/parts/")
    wanted = {name for name in wanted if not any(part in name for part in left_out)}
    assert packed == wanted


def test_composite_from_the_wheel(environment, tmp_path):
    done = run(str(environment / "bin" / "python"), "-c", COMPOSITE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"AVG": 3050, "MED": 3100, "STK": 3150}


def test_doctor_from_the_wheel(environment, tmp_path):
    done = run(str(environment / "bin" / "odc-bdc"), "doctor", cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    assert "odc_bdc" in done.stdout or "Python" in done.stdout


def test_products_from_the_wheel(environment, tmp_path):
    done = run(str(environment / "bin" / "odc-bdc"), "product", "render", "--check", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
