"""The score store: exact keys, several processes, damage."""

import math
import multiprocessing
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_datamap.engine import config
from hf_datamap.engine.store import Keys, Store, canonical
from hf_datamap.engine.task import Answer
from hf_datamap.errors import DataMapError, StoreError

ROOT = Path(__file__).parents[2]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def test_what_is_put_comes_back(tmp_path):
    store = Store(tmp_path)
    keys = Keys({"kind": "test"})
    answers = {keys.of([i, "text \ud800 \x00"]): Answer({"score": i / 3, "noise": None}, i, 1) for i in range(1200)}
    for key, answer in answers.items():
        store.put(key, answer)
    assert store.get([*answers, b"unknown"]) == answers
    assert len(store) == 1200
    store.put(next(iter(answers)), Answer(2.0))
    assert len(store) == 1200
    assert store.get([next(iter(answers))])[next(iter(answers))] == Answer(2.0)
    store.close()
    assert len(Store(tmp_path)) == 1200


@given(json_values, json_values)
def test_keys_differ_exactly_when_the_content_does(one, other):
    keys = Keys({"kind": "test"})
    assert (keys.of(one) == keys.of(other)) == (canonical(one) == canonical(other))


def test_keys_depend_on_the_identity_and_not_on_its_order():
    assert Keys({"a": 1, "b": [2]}).of("x") == Keys({"b": [2], "a": 1}).of("x")
    different = [Keys({"a": 1}), Keys({"a": 2}), Keys({"a": "1"}), Keys({"a": 1, "b": None}), Keys({})]
    assert len({keys.of("x") for keys in different}) == len(different)
    assert Keys({"a": 1}).of(["x", "y"]) != Keys({"a": 1}).of(["xy"])


def test_keys_stay_as_they_are():
    """A changed key loses what users have paid for."""
    identity = {"kind": "judge", "model": "m", "scale": [1, 10]}
    assert Keys(identity).of([[["user", "Hi"]], "there \ud800", 0]).hex() == "35c0b1821aa4373d9e3dc337aeec5300baa5e90a"


@pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}, object(), b"bytes"])
def test_what_is_no_json_is_no_key(value):
    with pytest.raises((TypeError, ValueError)):
        Keys({"kind": "test"}).of(value)


def test_no_text_is_kept(tmp_path):
    store = Store(tmp_path)
    store.put(Keys({"kind": "test"}).of(["a private prompt", "a private response"]), Answer({"score": 3.0}))
    store.close()
    assert not any(b"private" in path.read_bytes() for path in tmp_path.iterdir())


def test_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATAMAP_CACHE", str(tmp_path / "named"))
    assert Store().path == tmp_path / "named" / "scores.sqlite3"
    monkeypatch.delenv("HF_DATAMAP_CACHE")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    assert config.cache_dir() == tmp_path / "home" / "datamap"
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert config.cache_dir() == tmp_path / "xdg" / "huggingface" / "datamap"


def test_a_file_that_is_no_database_is_set_aside(tmp_path, caplog):
    content = b"not a database, but long enough to look at" * 100
    (tmp_path / "scores.sqlite3").write_bytes(content)
    store = Store(tmp_path)
    store.put(b"key", Answer(1.0))
    assert store.get([b"key"]) == {b"key": Answer(1.0)}
    assert (tmp_path / "scores.sqlite3.damaged").read_bytes() == content
    assert "scores.sqlite3.damaged" in caplog.text


def filled(folder, count):
    """A store of so many answers, closed, and their keys."""
    keys = [Keys({"kind": "test"}).of([number]) for number in range(count)]
    store = Store(folder)
    for number, key in enumerate(keys):
        store.put(key, Answer({"score": float(number)}, 1, 1))
    store.close()
    return keys


def damage(folder, pages):
    """Overwrite pages in the middle of the file."""
    path = folder / "scores.sqlite3"
    with path.open("r+b") as file:
        for page in pages:
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)


@pytest.mark.parametrize("pages", [[5], [7, 8, 9], [30]])
def test_answers_outside_of_damaged_pages_are_saved(tmp_path, pages, caplog):
    keys = filled(tmp_path, 3_000)
    damage(tmp_path, pages)
    store = Store(tmp_path)
    stored = store.get(keys)
    assert len(stored) >= 2_700, "one page holds some fifty answers"
    assert all(stored[key] == Answer({"score": float(n)}, 1, 1) for n, key in enumerate(keys) if key in stored)
    lost = next(key for key in keys if key not in stored)
    store.put(lost, Answer(1.0))
    assert store.get([lost]) == {lost: Answer(1.0)}
    assert "was damaged" in caplog.text
    assert (tmp_path / "scores.sqlite3.damaged").exists()


def test_a_store_that_is_damaged_while_it_is_open(tmp_path):
    keys = filled(tmp_path, 3_000)
    store = Store(tmp_path)
    damage(tmp_path, range(2, 40))
    stored = store.get(keys)
    assert len(stored) < len(keys)
    store.put(keys[0], Answer(7.0))
    assert store.get(keys[:1]) == {keys[0]: Answer(7.0)}


def test_the_file_of_another_program_is_left_alone(tmp_path):
    database = sqlite3.connect(tmp_path / "scores.sqlite3")
    database.execute("CREATE TABLE bookmarks (url TEXT)")
    database.close()
    before = (tmp_path / "scores.sqlite3").read_bytes()
    with pytest.raises(StoreError, match=r"another program \(bookmarks\).*HF_DATAMAP_CACHE"):
        Store(tmp_path)
    assert (tmp_path / "scores.sqlite3").read_bytes() == before


@pytest.mark.parametrize(
    "value", ["", "{", "1e400", "[1, -1e999]", "NaN", '{"score": Infinity}', b"\x00\x01", "null and void", "[" * 9999]
)
def test_what_no_answer_can_look_like_is_bought_again(tmp_path, value):
    store = Store(tmp_path)
    store.put(b"key", Answer(1.0))
    database = sqlite3.connect(store.path)
    database.execute("UPDATE answers SET value = ?", (value,))
    database.commit()
    assert store.get([b"key"]) == {}
    assert b"key" in store.claim([b"key"]).granted


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_full_disk_is_named_and_keeps_what_there_is(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("mount -t tmpfs is not allowed here")
    try:
        store = Store(disk)
        kept = []

        def fill():
            for number in range(10_000):
                key = Keys({"kind": "full"}).of([number])
                store.put(key, Answer("x" * 100))
                kept.append(key)

        with pytest.raises(StoreError, match=r"cannot write the score store .*full.*HF_DATAMAP_CACHE"):
            fill()
        assert len(kept) > 50
        assert len(store.get(kept)) == len(kept)
    finally:
        store.close()
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataMapError, match="HF_DATAMAP_CACHE"):
        Store(tmp_path / "file" / "below")


def test_a_store_of_the_future(tmp_path):
    Store(tmp_path).close()
    database = sqlite3.connect(tmp_path / "scores.sqlite3")
    database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(DataMapError, match="newer hf_datamap"):
        Store(tmp_path)


_WRITER = """
import sys
from pathlib import Path
from hf_datamap.scorers.base import Answer
from hf_datamap.engine.store import Keys, Store
keys = Keys({"kind": "many"})
for round in range(10):  # opening at the same time is the hard part
    store = Store(Path(sys.argv[1]))
    for i in range(20):
        store.put(keys.of([int(sys.argv[2]), round, i]), Answer(1.0))
    store.close()
"""


def test_many_processes_at_once(tmp_path):
    command = [sys.executable, "-c", _WRITER, str(tmp_path)]
    running = [subprocess.Popen([*command, str(i)], cwd=ROOT, stderr=subprocess.PIPE, text=True) for i in range(6)]
    assert [process.communicate(timeout=60)[1] for process in running] == [""] * 6
    assert len(Store(tmp_path)) == 6 * 10 * 20


def opened(folder, barrier, told):
    barrier.wait()
    try:
        Store(folder).close()
        told.put("")
    except Exception as error:
        told.put(str(error))


def test_processes_that_open_a_new_store_at_the_same_moment(tmp_path):
    """SQLite refuses a switch to WAL that meets another one at once, whatever the timeout."""
    context = multiprocessing.get_context("fork")
    for round_ in range(25):
        barrier, told = context.Barrier(6), context.SimpleQueue()
        folder = tmp_path / str(round_)
        processes = [context.Process(target=opened, args=(folder, barrier, told)) for _ in range(6)]
        for process in processes:
            process.start()
        assert [told.get() for _ in processes] == [""] * 6
        for process in processes:
            process.join()
