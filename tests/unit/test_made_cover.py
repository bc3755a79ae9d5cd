"""The land cover of made scenes is what they show."""

from datetime import date

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox

from odc_bdc import notebook as nb
from odc_bdc.errors import DatabaseError, InvalidValueError
from odc_bdc.grid import BDC_CRS
from odc_bdc.scenes import COVERS, made_cover, make_scenes


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Make the clearest scene of a tile's window; give bands by name, mask and geobox."""
    folder = tmp_path_factory.mktemp("scenes")
    days = date(2020, 1, 10), date(2020, 1, 31)
    report = make_scenes(folder, size=256, tiles=("007004",), start=days[0], end=days[1])
    best = {}
    for item in report.items:
        with rasterio.open(next(item.parent.glob("*_CMASK.tif"))) as file:
            mask = file.read(1) == 127
            box = GeoBox(file.shape, file.transform, BDC_CRS)
        if mask.sum() > best.get("clear", np.zeros(1)).sum():
            best = {"clear": mask, "folder": item.parent, "geobox": box}
    for band in ("BAND15", "BAND16"):
        with rasterio.open(next(best["folder"].glob(f"*_{band}.tif"))) as file:
            best[band] = file.read(1).astype(float)
    return best


def test_covers_look_as_such_covers_do(scene):
    cover = made_cover(scene["geobox"]).values
    red, nir = scene["BAND15"], scene["BAND16"]
    ndvi = (nir - red) / (nir + red)
    mean = {name: ndvi[scene["clear"] & (cover == code)].mean() for code, name in COVERS.items()}
    # In January water is darker in the near infrared than in red, and wood is denser than savanna.
    assert mean["Water"] < 0.1
    assert mean["Pasture"] > 0.5
    assert mean["Pasture"] < mean["Savanna"] < mean["Forest"]
    spread = {name: ndvi[scene["clear"] & (cover == c)].std() for c, name in COVERS.items()}
    assert spread["Cropland"] > 2 * spread["Savanna"]  # some fields are bare, others green


def test_a_part_has_the_cover_of_the_whole(scene):
    box = scene["geobox"]
    whole = made_cover(box)
    part = made_cover(box[40:90, 100:256])
    np.testing.assert_array_equal(part.values, whole.values[40:90, 100:256])
    np.testing.assert_array_equal(part.x.values, whole.x.values[100:256])
    assert part.odc.geobox == box[40:90, 100:256]
    assert set(np.unique(whole)) == set(COVERS)
    assert (made_cover(box, seed=1).values != whole.values).any()


@pytest.mark.parametrize(
    "change", [lambda b: b.pad(1).zoom_out(2), lambda b: b.translate_pix(0.5, 0)]
)
def test_other_pixels_are_refused(scene, change):
    with pytest.raises(InvalidValueError, match="not those of made scenes"):
        made_cover(change(scene["geobox"]))


def test_the_home_is_found_by_variables_or_beside_the_notebook(tmp_path, monkeypatch):
    own, other, folder = tmp_path / ".odc_bdc", tmp_path / "other", tmp_path / "deep" / "er"
    for home in (own, other):
        home.mkdir()
        (home / "datacube.conf").touch()
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert nb.find_home(environ={}) == own
    assert nb.find_home(environ={"ODC_BDC_HOME": str(other)}) == other
    assert nb.find_home(environ={"ODC_CONFIG_PATH": str(other / "datacube.conf")}) == other
    # A configuration elsewhere is no home; the one above still is.
    assert nb.find_home(environ={"ODC_CONFIG_PATH": "/etc/odc.conf"}) == own
    with pytest.raises(DatabaseError, match="make demo"):
        nb.find_home(environ={"ODC_BDC_HOME": str(tmp_path / "none")})
