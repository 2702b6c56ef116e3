"""The publishing commands as a person uses them, without a network."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
import zipfile
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest
from huggingface_hub.cli._uv_script_header import parse_uv_script_header
from huggingface_hub.cli.extensions import ExtensionManifest

from hf_datamap.engine.config import __version__
from hf_datamap.publish import card
from hf_datamap.publish.space_app import space_files
from tests.publish.data import mapped, plain

REPOSITORY = Path(__file__).parents[2]
COMMAND = Path(sys.executable).parent / "hf-datamap"
JOB = REPOSITORY / "hf_datamap/cli/jobs/map_and_push.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("my-map")
    ds, data_map = mapped(24)
    (out / "data").mkdir()
    ds.to_parquet(out / "data/train-00000-of-00001.parquet")
    data_map.save(out / "datamap.json")
    return out


def offline(home):
    """An environment in which no request can succeed."""
    keep = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    return keep | {"HOME": str(home), "HF_HOME": str(home / "hf"), "HF_ENDPOINT": "http://127.0.0.1:9", "NO_PROXY": "*"}


def run(home, *args, **options):
    command = [str(arg) for arg in args]
    return subprocess.run(
        command, env=offline(home), capture_output=True, text=True, timeout=120, check=False, **options
    )


def test_card_previews_offline_and_checks(folder, tmp_path):
    done = run(tmp_path, COMMAND, "card", folder, "--repo", "me/my-map")
    assert done.returncode == 0, done.stderr
    assert card.card_problems(done.stdout) == []
    assert "https://huggingface.co/datasets/me/my-map/viewer/default/train?sql_console=true" in done.stdout
    existing = tmp_path / "README.md"
    existing.write_bytes(b"---\r\nlicense: mit\r\n---\r\nMine\r\n")
    merged = subprocess.run(
        [COMMAND, "card", folder, "--merge", existing], env=offline(tmp_path), capture_output=True, check=True
    )
    assert merged.stdout.startswith(b"---\r\nlicense: mit\r\n")
    assert b"\r\nMine\r\n" in merged.stdout
    existing.write_text("---\nlicense: Apache 2.0\n---\n")
    refused = run(tmp_path, COMMAND, "card", existing)
    assert refused.returncode == 1
    assert "license 'Apache 2.0'" in refused.stderr
    as_json = json.loads(run(tmp_path, COMMAND, "card", folder, "--json").stdout)
    assert as_json["problems"] == []
    assert "Alignment Data Map" in as_json["card"]


def test_pushing_without_a_token_says_how_to_log_in(folder, tmp_path):
    done = run(tmp_path, COMMAND, "push", folder, "me/my-map")
    assert done.returncode == 2
    assert "hf auth login" in done.stderr
    assert "Traceback" not in done.stderr
    done = run(tmp_path, COMMAND, "push", tmp_path, "me/my-map")
    assert done.returncode == 2
    assert "datamap.json" in done.stderr


def test_an_unreachable_hub_is_one_clear_message(folder, tmp_path):
    environment = offline(tmp_path) | {"HF_TOKEN": "hf_sometokenofmine00001"}
    command = [
        sys.executable,
        "-c",
        "import hf_datamap.publish.commit as c; c._WAITS = (0.01,)\nfrom hf_datamap.cli import main; main()",
    ]
    command += ["push", str(folder), "me/my-map"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "me/my-map" in done.stderr
    assert "run the same again" in done.stderr
    assert "Traceback" not in done.stderr
    assert "sometoken" not in done.stderr


def test_preview_writes_one_file(folder, tmp_path):
    out = tmp_path / "map.html"
    done = run(tmp_path, COMMAND, "space", "preview", folder, "--static", out)
    assert done.returncode == 0, done.stderr
    assert "question 0/7" in out.read_text()  # the prompts are in it


@pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed (extra: space)")
def test_preview_serves_the_app_and_ends_with_its_process(folder, tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [COMMAND, "space", "preview", folder, "--port", str(port)]
    environment = offline(tmp_path) | {"GRADIO_ANALYTICS_ENABLED": "False"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        page, deadline = b"", time.monotonic() + 90
        while not page and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.2)
            try:
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read()
            except OSError:
                continue
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=30)[1].decode()
    assert b"gradio" in page.lower(), errors
    assert f"http://127.0.0.1:{port}" in errors


def test_hf_dispatches_to_the_extension(tmp_path):
    """Laid out on disk as ``hf extensions install OWNER/hf-datamap`` does: a manifest that names a console script."""
    installed = tmp_path / ".local/share/hf/extensions/hf-datamap"
    ExtensionManifest(
        owner="someone",
        repo="hf-datamap",
        repo_id="someone/hf-datamap",
        short_name="datamap",
        executable_path=str(COMMAND),
        type="python",
        installed_at=datetime(2026, 11, 22, tzinfo=UTC),
        description="maps",
    ).save(installed)
    hf = Path(sys.executable).parent / "hf"
    environment = offline(tmp_path) | {"HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_OFFLINE": "1"}

    def call(*args):
        return subprocess.run([hf, *args], env=environment, capture_output=True, text=True, timeout=120, check=False)

    version = call("datamap", "--version")
    assert version.returncode == 0, version.stderr
    assert __version__ in version.stdout
    card_file = tmp_path / "README.md"
    card_file.write_text("---\nlicense: Apache 2.0\n---\n")
    assert call("datamap", "card", str(card_file)).returncode == 1  # arguments and exit status go through
    assert "someone/hf-datamap" in call("--help").stdout


def test_the_repository_is_what_the_extension_installer_asks_for():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["hf-datamap"] == "hf_datamap.cli:main"
    assert project["description"]
    assert not (REPOSITORY / "hf-datamap").exists()  # a file of this name would be taken for a shell extension


def test_the_job_script_is_one_that_hf_jobs_reads():
    text = JOB.read_text()
    header = parse_uv_script_header(text)
    assert header.secrets == ["HF_TOKEN"]
    assert header.flavor == "cpu-basic"
    assert 'dependencies = ["hf_datamap"]' in text


def test_the_job_maps_and_pushes(hub, tmp_path):
    rows = plain(30).map(
        lambda row: {"score_chosen": float(len(row["chosen"])), "score_rejected": float(len(row["rejected"]))}
    )
    rows.to_json(tmp_path / "pairs.jsonl")
    code = f"import runpy, sys\nrunpy.run_path({str(JOB)!r}, run_name='__main__')"
    columns = "columns:score_chosen,score_rejected"
    done = hub.run(code, str(tmp_path / "pairs.jsonl"), "alice/job", "--private", "--scorer", columns)
    assert "alice/job" in done.stdout
    assert hub.repo("alice/job")["private"] is True
    hub.run(
        "from hf_datamap.publish import load\nds, m = load('alice/job', split='train')\nassert len(ds) == m.rows == 30"
    )
    text = hub.file("alice/job", "README.md").decode()
    assert str(tmp_path) not in text
    assert str(tmp_path) not in hub.file("alice/job", "datamap/datamap.json").decode()


def test_a_selection_goes_to_a_repository_of_its_own(hub, folder, tmp_path):
    code = "from hf_datamap.cli import main\nmain()"
    hub.run(code, "select", str(folder), "--out", str(tmp_path / "good"))
    hub.run(code, "push", str(tmp_path / "good"), "alice/good")
    hub.run(
        """
from hf_datamap.publish import load
from tests.publish.data import mapped
whole, data_map = mapped(24)
ds, same_map = load("alice/good", split="train")
best = whole.filter(lambda region: region == "high_mean_low_variance", input_columns="datamap_region")
assert same_map == data_map and ds.to_list() == best.to_list() and len(best) == 8
"""
    )
    refused = hub.run(code, "push", str(tmp_path), "alice/good", check=False)
    assert refused.returncode == 2
    assert "holds no datamap.json: name a folder that `hf-datamap map` wrote" in refused.stderr


@pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling is not installed here (pip builds in isolation)")
def test_the_wheel_carries_template_and_space(tmp_path):
    build = "from hatchling.build import build_wheel; print(build_wheel(__import__('sys').argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, tmp_path], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    names = set(zipfile.ZipFile(tmp_path / done.stdout.split()[-1]).namelist())
    assert "hf_datamap/model_card_template.md" in names
    assert "hf_datamap/publish/static_map.html" in names
    assert {f"hf_datamap/_space/{path}" for path in space_files()} <= names
