"""Never half a release: a fault at every request of a push, in both ways of uploading."""

import json
import os
import subprocess
import sys

import pytest

from tests.minihub.client import REPOSITORY
from tests.publish.sweep import KINDS

# By default every request is killed and either refused or answered unheard, and the commit takes every kind of fault.
# HF_DATAMAP_SWEEP=all: every kind at every request, in both ways of uploading (many minutes).
DEFAULT = {"xet": ["503", "kill"], "lfs": ["lost", "kill"]}
EVERYTHING = os.environ.get("HF_DATAMAP_SWEEP") == "all"
WORKERS = 2


def sweep(folder, mode, scenario, kinds):
    command = [sys.executable, "-m", "tests.publish.sweep"]
    drivers = []
    for number in range(WORKERS):
        args = [str(folder / f"{scenario}-{number}"), mode, scenario, ",".join(kinds), str(number), str(WORKERS)]
        drivers.append(subprocess.Popen([*command, *args], cwd=REPOSITORY, stdout=-1, stderr=-1, text=True))
    reports = []
    for driver in drivers:
        out, err = driver.communicate(timeout=3000)
        assert driver.returncode == 0, err[-8000:]
        reports.append(json.loads(out.splitlines()[-1]))
    return reports


@pytest.mark.timeout(3000 if EVERYTHING else 900)
@pytest.mark.parametrize("mode", ["xet", "lfs"])
def test_a_fault_at_every_request_of_an_update_leaves_the_old_release_or_the_new(tmp_path, mode):
    everywhere = list(KINDS) if EVERYTHING else DEFAULT[mode]
    kinds = [*everywhere, *(f"{kind}@commit" for kind in KINDS if kind not in everywhere)]
    reports = sweep(tmp_path, mode, "update", kinds)
    assert [wrong for report in reports for wrong in report["wrong"]] == []
    # the sweep has covered the way it was meant for, up to the one commit
    requests = reports[0]["requests"]
    assert any("/_cas/v1/shards" in call for call in requests) == (mode == "xet"), requests
    assert any("/_lfs/object/" in call for call in requests) == (mode == "lfs"), requests
    assert sum("/commit/" in call for call in requests) == 1, requests
    assert sum(report["trials"] for report in reports) >= 2 * len(requests) + 6


@pytest.mark.timeout(3000 if EVERYTHING else 900)
@pytest.mark.parametrize("mode", ["xet", "lfs"] if EVERYTHING else ["lfs"])
def test_a_fault_at_every_request_of_a_first_push_leaves_nothing_or_everything(tmp_path, mode):
    reports = sweep(tmp_path, mode, "new", KINDS if EVERYTHING else ["lost"])
    assert [wrong for report in reports for wrong in report["wrong"]] == []
    assert any("/api/repos/create" in call for call in reports[0]["requests"])
