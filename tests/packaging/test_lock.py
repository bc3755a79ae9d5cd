"""What `make setup` installs: one lock for all Pythons, by hashes."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text("utf-8")

# The pairs that Debian 12 and 13 get.
PAIRS = {"3.11": ("1.9.20", "1.9.14"), "3.12": ("1.9.22", "1.9.19"), "3.13": ("1.9.22", "1.9.19")}


def locked():
    """Give each requirement of the lock with the hashes of its files."""
    for line in re.findall(r"^\w.*", LOCK.replace("\\\n", ""), re.MULTILINE):
        requirement, *hashes = line.split(" --hash=")
        yield Requirement(requirement), [text.strip() for text in hashes]


def test_every_file_has_its_hash():
    without = [
        str(requirement)
        for requirement, hashes in locked()
        if not hashes or not all(re.fullmatch(r"sha256:[0-9a-f]{64}", h) for h in hashes)
    ]
    assert without == []
    assert len([*locked()]) > 300


def test_no_registry_is_named():
    assert "://" not in LOCK
    assert "--" not in re.sub("--hash=", "", LOCK)


@pytest.mark.parametrize("python", PAIRS)
def test_each_python_gets_one_version_of_each_package(python):
    environment = {"python_version": python, "python_full_version": f"{python}.9"}
    chosen = [
        requirement
        for requirement, _ in locked()
        if requirement.marker is None or requirement.marker.evaluate(environment)
    ]
    names = [requirement.name for requirement in chosen]
    assert len(names) == len(set(names))
    versions = {requirement.name: str(requirement.specifier)[2:] for requirement in chosen}
    assert (versions["datacube"], versions["datacube-ows"]) == PAIRS[python]
    assert {"uv", "setuptools"} <= versions.keys()  # what installs the others comes from here too
