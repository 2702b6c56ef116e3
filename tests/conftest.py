"""Every test on its own: caches below its own folder, no network, nothing of the developer's environment."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

pytest_plugins = ["tests.chromium"]

# The clients read these at import: caches that outlive a test are those of the session, never the developer's.
_SESSION = tempfile.TemporaryDirectory(prefix="hf_datamap-tests-")
os.environ |= {
    "HF_HOME": _SESSION.name,
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "NO_PROXY": "*",
    "no_proxy": "*",
}
for _name in ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "HF_TOKEN_PATH", "XDG_CACHE_HOME"):
    os.environ.pop(_name, None)


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("OPENAI_", "HF_DATAMAP_", "_HF_DATAMAP_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_DATAMAP_CACHE", str(tmp_path / "datamap-cache"))


@pytest.fixture
def server():
    """A chat-completions server that gives each response the score which the response carries."""
    from tests.rows import graded
    from tests.servers.llm import LLMServer

    with LLMServer(graded) as running:
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """In CI (HF_DATAMAP_NO_SKIPS) nothing may be skipped."""
    skipped = terminalreporter.stats.get("skipped", [])
    if os.environ.get("HF_DATAMAP_NO_SKIPS") and skipped:
        terminalreporter.section("skipped, which is not allowed here", red=True)
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {report.longrepr[-1] if report.longrepr else ''}")
        terminalreporter._session.exitstatus = pytest.ExitCode.TESTS_FAILED
