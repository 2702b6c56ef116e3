"""What a terminal gets: nothing that steers it, no tracebacks, one line when the process is told to stop."""

from __future__ import annotations

import importlib
import io
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

import hf_datamap.cli
from hf_datamap.cli.terminal import GuardedStream, clean
from hf_datamap.errors import did_you_mean
from tests.cli.test_commands import COMMAND, pairs, run
from tests.servers.llm import LLMServer

__all__ = ["pairs"]
HOSTILE = "a\x1b[31mred\x07\x9b1m\u202egnp\u2066x\u200b\rover\x08\U000e0041"
STEERING = "\x1b\x07\x9b\u202e\u2066\u200b\x08\U000e0041"


def test_every_command_is_listed_with_its_purpose():
    listed = {name for commands in hf_datamap.cli.COMMANDS.values() for name in commands}
    modules = {module.name for module in pkgutil.iter_modules(hf_datamap.cli.__path__) if not module.ispkg}
    commands = {name for name in modules if hasattr(importlib.import_module(f"hf_datamap.cli.{name}"), "command")}
    assert listed == commands
    shown = run("--help").stdout
    assert all(f"  {name} " in shown for name in listed)
    assert max(map(len, shown.partition("Examples:")[0].splitlines())) <= 80


def test_a_mistyped_name_is_answered_with_the_nearest_one(pairs, tmp_path):
    for words, meant in {
        ("mpa", "x"): "Did you mean map?",
        ("adit", "x"): "Did you mean audit?",
        ("map", "x", "--scoer", "auto"): "Did you mean '--scorer'?",
        ("card", "x", "--mrge", "y"): "Did you mean '--merge'?",
        ("map", pairs, "--out", "o", "--scorer", "jugde:gpt-4o"): "Did you mean judge?",
        ("map", pairs, "--out", "o", "--scorer", "judge:m", "-o", "max_token=3"): "Did you mean max_tokens?",
        ("select", pairs, "high_mean_low_varaince"): "Did you mean high_mean_low_variance?",
        ("audit", pairs, "--fail-on", "duplicate>0"): "Did you mean duplicates?",
    }.items():
        done = run(*words, cwd=tmp_path)
        assert (done.returncode, meant in done.stderr) == (2, True), done.stderr
        assert done.stderr.count("Did you mean") == 1
        assert "or '" not in done.stderr
    assert "Did you mean" not in run("frobnicate").stderr
    assert did_you_mean("xyzzy", ["map", "audit"], "all of them") == "all of them"


def test_what_is_printed_cannot_steer_a_terminal():
    sink = io.StringIO()
    stream = GuardedStream(sink)
    print("\r 50 %", end="", file=stream)
    print(HOSTILE, "line\nnext\ttab", file=stream)
    printed = sink.getvalue()
    assert not set(STEERING) & set(printed)
    assert printed.startswith("\r 50 %a\\x1b[31mred\\x07")
    assert printed.endswith("line\nnext\ttab\n")
    assert "\r" not in printed[1:]
    assert clean("نص عربی‌ها 🧑‍🚀 naïve") == "نص عربی‌ها 🧑‍🚀 naïve"


def test_names_of_programs_and_variables_are_no_secrets(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnopqrstuvwxyzabcdefgh")
    sink = io.StringIO()
    text = "next: hf-datamap audit map (hf_datamap 0.1.0; HF_HUB_OFFLINE, HF_TOKEN, key_metrics, hf_hub_download)"
    print(text, "hf_abcdefghijklmnopqrstuvwxyzabcdefgh", file=GuardedStream(sink))
    assert sink.getvalue() == f"{text} ***\n"


def test_a_stream_of_few_characters_gets_escapes():
    raw = io.BytesIO()
    stream = GuardedStream(io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    print("naïve ⏎", file=stream)
    assert raw.getvalue() == b"na\\xefve \\u23ce\n"


def places(pairs):
    """Ways to bring a hostile text to the terminal."""
    path = pairs.parent / "hostile.jsonl"
    row = {"prompt": HOSTILE, "chosen": HOSTILE, "rejected": "no", "score_chosen": 1, "score_rejected": 0, HOSTILE: 1}
    path.write_text("".join(json.dumps(row) + "\n" for _ in range(9)))
    card = pairs.parent / "card.md"
    card.write_text(f'---\nlicense: "{HOSTILE.encode("unicode_escape").decode()}"\n---\n# {HOSTILE}\n')
    word = HOSTILE.replace("\U000e0041", "")
    yield from (
        ("inspect", path),
        ("map", path, "--layout", f"prompt={word},responses=chosen|rejected", "--out", pairs.parent / "o"),
        ("map", path, "--scorer", f"columns:{word}", "--out", pairs.parent / "o"),
        ("map", path, "--out", pairs.parent / "hostile-map"),
        ("audit", pairs.parent / "hostile-map"),
        ("audit", path, "--fail-on", word),
        ("select", path, word),
        ("inspect", word),
        (word,),
        ("card", card),
        ("map", pairs, f"--{word}"),
        ("map", pairs, "--scorer", "judge:m", "--base-url", "http://127.0.0.1:9/", "--out", word),
        ("push", pairs.parent / "hostile-map", word),
    )


def test_no_command_prints_what_steers_a_terminal(pairs):
    for words in places(pairs):
        done = run(*words, OPENAI_API_KEY="k", HF_TOKEN="hf_x", cwd=pairs.parent)
        assert not set(STEERING) & set(done.stdout + done.stderr), words
        assert "Traceback" not in done.stderr, words


@pytest.mark.parametrize("option", ["--out", "--report", "--fixes", "--static"])
def test_places_that_cannot_be_written_are_refused_before_work(option, pairs, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    places = ["/proc/x/y", "/dev/null/x", tmp_path / "file" / "x", tmp_path / ("n" * 300), tmp_path / "loop" / "x"]
    places += ["/dev/full/x", "/sys/x"]
    if option == "--fixes":
        places.append(tmp_path / "file")
    commands = {
        "--out": [
            ("map", pairs),
            ("select", pairs),
            ("pairs", pairs),
            ("demo",),
            ("sample", pairs, "--model", "m"),
            ("prompts", "--offline"),
        ],
        "--report": [("audit", pairs)],
        "--fixes": [("audit", pairs)],
        "--static": [("space", "preview", tmp_path)],
    }
    for place in places:
        path = f"{place}.md" if option == "--report" and place != tmp_path / "folder" else place
        for words in commands[option]:
            done = CliRunner().invoke(hf_datamap.cli.group, [*map(str, words), option, str(path)])
            assert done.exit_code == 2, (words, place, done.output)
            assert f"Invalid value for '{option}'" in done.output, (words, place)  # nothing was read
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["file", "folder", "loop", pairs.name])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_loses_nothing_that_was_paid_for(number, pairs, tmp_path):
    with LLMServer(latency=0.3) as server:
        words = ["map", pairs, "--scorer", "judge:m", "--base-url", server.url, "--out", tmp_path / "out"]
        process = subprocess.Popen(
            [COMMAND, *map(str, words), "--max-in-flight", "4"], stderr=subprocess.PIPE, text=True, env=os.environ
        )
        while len(server.requests) < 8:
            time.sleep(0.05)
            assert process.poll() is None, process.stderr.read()
        process.send_signal(number)
        errors = process.communicate(timeout=30)[1]
        assert process.returncode == 128 + number
        assert "Stopped. Answers already paid for are kept" in errors
        assert "Traceback" not in errors
        asked = len(server.requests)
        assert run(*words).returncode == 0
        assert len(server.requests) - 60 <= 0  # nothing is asked twice
        assert asked < 60


def test_a_signal_that_is_ignored_stays_ignored():
    code = (
        "import os, signal, sys\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from hf_datamap.cli.signals import stopped_like_ctrl_c\n"
        "with stopped_like_ctrl_c():\n    os.kill(os.getpid(), signal.SIGHUP)\nprint('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "alive\n"
