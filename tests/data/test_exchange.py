"""Files of a folder are replaced in one step: whenever the writer dies, a reader sees the old ones or the new ones."""

import errno
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from hf_datamap.data.exchange import is_vacant, remove_leftovers, replaced_together, settle
from hf_datamap.errors import SourceError
from tests.killing import killed_at


def write(folder, state):
    with replaced_together(folder) as new:
        (new / "data").mkdir()
        for number in range(state):
            (new / "data" / str(number)).write_text(str(state))
        (new / "map").write_text(str(state))


def read(folder: Path) -> tuple[str, list[str]] | None:
    settle(folder)
    if is_vacant(folder):
        return None
    return (folder / "map").read_text(), sorted(path.read_text() for path in (folder / "data").iterdir())


@pytest.mark.parametrize("before", [None, 3])
def test_a_writer_that_dies_at_any_file_operation(tmp_path, before):
    states = [None if before is None else (str(before), [str(before)] * before), ("2", ["2", "2"])]
    seen = []
    for last in range(60):
        folder = tmp_path / str(last) / "out"
        folder.parent.mkdir()
        if before:
            write(folder, before)
            (folder / "notes").write_text("mine")
        finished = killed_at(last, folder.parent, lambda folder=folder: write(folder, 2))
        state = read(folder)
        assert state in states
        seen.append(states.index(state))
        write(folder, 2)  # any rerun finishes
        assert read(folder) == states[1]
        assert not list(folder.glob(".*"))
        assert {path.name for path in folder.iterdir()} == {"data", "map", *(["notes"] if before else [])}
        if finished:
            break
    else:
        pytest.fail("the writer never finished")
    assert seen == sorted(seen)
    assert {0, 1} == set(seen)


def test_an_error_leaves_the_old_state(tmp_path):
    folder = tmp_path / "out"
    with pytest.raises(ValueError), replaced_together(folder):
        raise ValueError
    assert not folder.exists()
    with replaced_together(folder) as new:
        (new / "map").write_text("1")
    expected = pytest.raises(SourceError, match=r"disk of .*out is full: .* needs up to 2.0 GB, .* are free")
    with expected, replaced_together(folder, needed_bytes=2 * 10**9) as new:
        (new / "map").write_text("2")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("map", "1")]


def test_what_a_living_writer_prepares_is_left_alone(tmp_path):
    code = textwrap.dedent("""
        import sys, pathlib
        from hf_datamap.data.exchange import replaced_together
        with replaced_together(pathlib.Path(sys.argv[1])) as new:
            (new / "map").write_text("slow")
            print("ready", flush=True)
            sys.stdin.readline()
    """)
    folder = tmp_path / "out"
    slow = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert slow.stdout.readline() == "ready\n"
    remove_leftovers(folder)
    with replaced_together(folder) as new:
        (new / "map").write_text("quick")
    assert (folder / "map").read_text() == "quick"
    slow.communicate("\n")
    assert slow.returncode == 0
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("map", "slow")]


def test_readers_wait_for_a_writer_that_moves_files(tmp_path):
    folder = tmp_path / "out"
    with replaced_together(folder) as new:
        (new / "map").write_text("1")
    (folder / ".datamap-next").mkdir()
    (folder / ".datamap-next" / "map").write_text("2")
    descriptor = os.open(folder, os.O_RDONLY)
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX)
    code = "import sys, pathlib; from hf_datamap.data.exchange import settle; settle(pathlib.Path(sys.argv[1]))"
    reader = subprocess.Popen([sys.executable, "-c", code, str(folder)])
    time.sleep(0.5)
    assert (folder / "map").read_text() == "1"
    os.close(descriptor)
    assert reader.wait() == 0
    assert (folder / "map").read_text() == "2"
