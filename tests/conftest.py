"""The folder of real scenes and recorded documents, which is not part of the project."""

from __future__ import annotations

import json
import os
from pathlib import Path

import hypothesis
import pytest

# How long an example takes says nothing of the code on a busy machine.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# Servers of tests are on loopback, which is private: no document may name it unless this says so.
os.environ["ODC_BDC_HOSTS"] = "127.0.0.0/8,localhost"


def pytest_addoption(parser):
    """Add what `make fuzz`, `make attack`, and who renews pictures, asks for."""
    parser.addoption("--fuzz", type=int, default=300, help="requests that the fuzzer makes")
    parser.addoption("--fuzz-seed", type=int, default=1, help="which requests the fuzzer makes")
    parser.addoption("--attack-table", action="store_true", help="print how each attack ended")
    parser.addoption("--attack-long", action="store_true", help="attacks in their long form")
    parser.addoption("--pictures", type=Path, help="folder for pictures of the documentation")


@pytest.fixture(scope="session")
def pictures(request):
    """Give the folder for pictures of the documentation; None if they are not to be taken."""
    return request.config.getoption("--pictures")


DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data():
    """Give the folder of real scenes; without it the test is skipped."""
    if not DATA.is_dir():
        pytest.skip(f"the folder of real scenes, {DATA.parent.name}/data, is not here")
    return DATA


@pytest.fixture(scope="session")
def stac_documents(real_data):
    """Give the collections and items that were recorded from the BDC's STAC servers."""
    found = [
        json.loads(path.read_text("utf-8"))
        for path in sorted((real_data / "stac_items_bdc").glob("*.json"))
    ]
    assert found
    return found
