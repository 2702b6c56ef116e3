"""Other packages, measured in environments of their own: their dependencies and ours do not go together.

``make bench`` makes the environments; ``HF_DATAMAP_PEERS`` names the folder that holds them. Every driver here is run
as a script by such an environment's Python and prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PATIENCE = 600.0  # seconds for one driver


class PeerMissing(Exception):
    """A peer's environment is not there; the message says which, and what makes it."""


def python_of(peer: str) -> str:
    """The Python of a peer's environment; ours for ``hf_datamap``.

    Raises:
        PeerMissing: there is none.
    """
    if peer == "hf_datamap":
        return sys.executable
    folder = Path(os.environ.get("HF_DATAMAP_PEERS") or ROOT / ".venv-peers") / peer
    if not (folder / ".ready").exists():
        needs = f"tests/benchmarks/peers/{peer}.txt"
        raise PeerMissing(f"{peer} is not installed in {folder}: `make bench` installs {needs}, if the index has it")
    return str(folder.absolute() / "bin" / "python")


def drive(peer: str, script: str, *words: object) -> dict[str, Any]:
    """Run a driver and return what it tells.

    Raises:
        PeerMissing: the peer has no environment.
        RuntimeError: the driver failed; the end of what it said.
    """
    command = [python_of(peer), str(HERE / script), *map(str, words)]
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=PATIENCE, env=_environment(home)
        )
    if done.returncode:
        said = (done.stderr or done.stdout)[-2000:]
        raise RuntimeError(f"{script} ended with {done.returncode}: {said}")
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def _environment(home: str) -> dict[str, str]:
    """Ours, with caches that are empty and a Hub that nobody asks."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "OPENAI_", "DISTILABEL_"))}
    paths = os.pathsep.join([str(ROOT), *filter(None, [kept.get("PYTHONPATH")])])
    return kept | {"HOME": home, "HF_HOME": home, "HF_DATAMAP_CACHE": home, "HF_HUB_OFFLINE": "1", "PYTHONPATH": paths}
