"""Answers on disk: bounded, shared, and forgotten rather than failed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odc_bdc.errors import InvalidValueError
from odc_bdc.ows.store import FILE, Store, named_store, parse_size

LIMIT = 2**20


def test_what_is_put_is_found_until_it_is_cleared(tmp_path):
    store = Store(tmp_path, LIMIT)
    assert store.get(b"a") is None
    assert store.put(b"a", b"one")
    assert store.put(b"a", b"two")
    assert store.get(b"a") == b"two"
    assert store.usage().answers == 1
    assert store.clear() == 1
    assert store.get(b"a") is None


@settings(max_examples=15)
@given(sizes=st.lists(st.integers(0, 120_000), min_size=20, max_size=60), seed=st.integers(0, 99))
def test_it_never_grows_beyond_its_limit(tmp_path_factory, sizes, seed):
    folder = tmp_path_factory.mktemp("store")
    store, rng = Store(folder, LIMIT), np.random.default_rng(seed)
    kept = {}
    for number, size in enumerate(sizes):
        content = rng.bytes(size)
        if store.put(b"%d" % number, content):
            kept[b"%d" % number] = content
        assert store.usage().size <= LIMIT
    assert (folder / FILE).stat().st_size <= LIMIT * 1.1
    found = {key: store.get(key) for key in kept}
    assert all(value in (None, kept[key]) for key, value in found.items())
    # The newest are there; if all fit, all are.
    newest = list(kept)[-1]
    assert found[newest] == kept[newest]
    if sum(size + 2 * 8192 for size in sizes) < LIMIT * 0.9:
        assert None not in found.values()


def test_what_is_used_stays_and_what_is_not_goes(tmp_path):
    store = Store(tmp_path, LIMIT)
    store.put(b"used", b"x" * 1000)
    store.put(b"unused", b"y" * 1000)
    for number in range(3000):
        store.put(b"%d" % number, b"z" * 1000)
        if number % 100 == 0:
            assert store.get(b"used") is not None
    assert store.get(b"unused") is None


def test_what_is_too_large_is_not_kept(tmp_path):
    store = Store(tmp_path, LIMIT)
    assert not store.put(b"a", bytes(LIMIT // 4))
    assert store.get(b"a") is None


def test_processes_and_threads_share_it(tmp_path):
    program = (
        "import sys; from pathlib import Path; from odc_bdc.ows.store import Store\n"
        "store = Store(Path(sys.argv[1]), 2**22)\n"
        "for n in range(150):\n"
        "    key = b'%d' % (n % 40)\n"
        "    found = store.get(key)\n"
        "    assert found in (None, key * 3000), found[:20]\n"
        "    store.put(key, key * 3000)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    store, wrong = Store(tmp_path, 2**22), []

    def work():
        for number in range(150):
            key = b"%d" % (number % 40)
            store.put(key, key * 3000)
            if store.get(key) != key * 3000:
                wrong.append(key)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ends = [(p.communicate()[1], p.returncode) for p in processes]
    assert ends == [(b"", 0)] * 2
    assert wrong == []
    assert store.usage().answers == 40


def test_a_child_opens_it_anew(tmp_path):
    store = Store(tmp_path, LIMIT)
    store.put(b"a", b"one")
    before = store._local.connection
    child = os.fork()
    if child == 0:
        right = store.get(b"a") == b"one" and store._local.connection is not before
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("spoil", ["no database", "cut", "garbage inside"])
def test_a_broken_file_is_begun_anew(tmp_path, spoil, caplog):
    store = Store(tmp_path, LIMIT)
    for number in range(30):
        store.put(b"%d" % number, bytes(20_000))
    store._local.connection.close()
    store._local.process = None
    path = tmp_path / FILE
    content = bytearray(path.read_bytes())
    if spoil == "no database":
        content[:] = b"nothing of the kind" * 1000
    elif spoil == "cut":
        del content[len(content) // 3 :]
    else:
        content[100:60_000] = os.urandom(59_900)
    path.write_bytes(content)
    again = Store(tmp_path, LIMIT)
    # The first may only find out that it is broken.
    for _ in range(2):
        for number in range(30):
            assert again.get(b"%d" % number) in (None, bytes(20_000), b"new")
            again.put(b"%d" % number, b"new")
    assert all(again.get(b"%d" % number) == b"new" for number in range(30))


@pytest.mark.parametrize("gone", ["file", "folder"])
def test_what_somebody_removes_is_begun_anew(tmp_path, gone):
    """Those that have it open do not go on with a file that nobody sees."""
    folder = tmp_path / "kept"
    one, other = Store(folder, LIMIT), Store(folder, LIMIT)
    assert one.put(b"a", b"old")
    if gone == "folder":
        shutil.rmtree(folder)
    else:
        for path in folder.iterdir():
            path.unlink()
    assert other.get(b"a") is None
    assert one.get(b"a") is None
    assert one.put(b"a", b"new")
    assert other.get(b"a") == b"new"
    assert (one.usage().answers, other.clear(), one.usage().answers) == (1, 1, 0)


def test_a_folder_that_cannot_be_used_is_said_so(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidValueError, match=r"file cannot be used: .*choose another folder"):
        Store(tmp_path / "file", LIMIT)
    with pytest.raises(InvalidValueError, match="a cache of 5 bytes is too small"):
        Store(tmp_path, 5)


def test_the_environment_names_it(tmp_path):
    assert named_store({}) is None
    named = {"ODC_BDC_OWS_CACHE": str(tmp_path / "a")}
    assert named_store({**named, "ODC_BDC_OWS_CACHE_SIZE": "0"}) is None
    assert not (tmp_path / "a").exists()
    store = named_store(named)
    assert store is not None
    assert (store.limit, store.path.parent) == (2 * 2**30, tmp_path / "a")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "many", "-1", "2 X", "1e9"])
def test_what_is_no_size_is_said_so(text):
    with pytest.raises(InvalidValueError, match="is no size such as 500M or 2G"):
        parse_size(text)
