"""The screens that `map` and `audit` end in: short, narrow, without colours where nobody sees them."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess

import pytest

from tests.cli.test_commands import COMMAND, pairs, run

__all__ = ["pairs"]
LONG = "a-very-long-name-" * 8


def check(text: str, *, paths: tuple[str, ...] = ()) -> list[str]:
    lines = text.splitlines()
    assert len(lines) <= 25, text
    # Lines that hold a path or a command are whole, so that they can be copied.
    assert all(len(line) <= 80 for line in lines if not re.match(r"  (picture|data|card|next|in full) ", line)), text
    assert "\x1b" not in text
    return lines


def test_a_map_ends_in_one_screen(pairs, tmp_path):
    done = run("map", pairs, "--out", tmp_path / LONG / "m")
    lines = check(done.stdout)
    for region in ("high_mean_low_variance", "low_mean_low_variance", "high_variance", "unmapped"):
        assert sum(region in line for line in lines) == 1
    assert lines[-1].strip() == f"next     hf-datamap audit {tmp_path / LONG / 'm'}"
    assert "30 rows ok" in done.stdout


def test_many_failures_do_not_push_the_map_off_the_screen(tmp_path):
    source = tmp_path / "s.jsonl"
    rows = [
        {"prompt": f"q{i}", "chosen": "a", "rejected": "b", "score_chosen": i % 7, "score_rejected": i % 5}
        for i in range(40)
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("map", source, "--out", tmp_path / "m")
    from hf_datamap import DataMap
    from hf_datamap.cli.screen import files_of, map_screen

    notes = [f"responses without a score - {', '.join(f'reason number {i}: {i}' for i in range(200))}"]
    screen = map_screen(DataMap.load(tmp_path / "m/datamap.json"), notes, files_of(tmp_path / "m", "next"))
    assert "more lines" in "\n".join(check("\n".join(screen)))


@pytest.mark.parametrize(
    "gates", [None, "suspect_rate>0.5,identical,duplicates>1%,empty,truncated,repetitive,refused,scale,leaks"]
)
def test_an_audit_ends_in_one_screen(gates, tmp_path):
    source = tmp_path / f"{LONG}.jsonl"
    row = {"prompt": "Same?" + "word " * 400, "chosen": "", "rejected": "I'm sorry, but I can't help with that. " * 3}
    rows = [{**row, "score_chosen": i % 3, "score_rejected": 9} for i in range(300)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run("audit", source, *(["--fail-on", gates] if gates else []))
    lines = check(done.stdout)
    assert lines[0].endswith("FAILED")
    assert lines[0].startswith("audit of ")
    full = run("audit", source, "--markdown").stdout
    assert full.startswith("# Audit")
    assert len(full.splitlines()) > 25
    if gates:
        assert re.search(r"\d of 9 gates held", done.stdout)


def test_colours_in_a_terminal_alone(pairs, tmp_path):
    main, side = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    words = [COMMAND, "map", str(pairs), "--out", str(tmp_path / "m")]
    with subprocess.Popen(words, stdout=side, stderr=subprocess.DEVNULL, env=environment):
        os.close(side)
        shown = b""
        while b"next" not in shown:
            shown += os.read(main, 65_536)
    os.close(main)
    assert b"\x1b[34m" in shown
