"""A running local Hub, for tests: start it, ask it, hurt it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
WRITE, READ, BOB = "hf_alicewritetoken0001", "hf_alicereadtoken00001", "hf_bobwritetoken000001"


class MiniHub:
    """A Hub process of its own; users alice (organisation acme) and bob.

    Use as a context manager. ``env()`` is what a client process needs: the real clients read it at import.
    """

    def __init__(self, root: Path):
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.listener = socket.create_server(("127.0.0.1", 0))  # handed on as it is: nobody else can get the port
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.warm: dict[tuple[str, str], subprocess.Popen] = {}

    def __enter__(self) -> MiniHub:
        tokens = [f"{WRITE}=alice:write", f"{READ}=alice:read", f"{BOB}=bob:write"]
        fd = self.listener.fileno()
        command = [sys.executable, "-m", "tests.minihub", "--fd", str(fd), "--root", str(self.root / "hub")]
        command += [part for token in tokens for part in ("--token", token)] + ["--org", "acme=alice"]
        self.log = self.root / "server.log"
        with self.log.open("a") as log, self.listener:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=REPOSITORY, pass_fds=[fd])
        try:
            self.admin("GET", "health", timeout=120)  # waits in the socket's queue until the server is up
        except OSError as error:
            self.process.kill()
            raise RuntimeError(f"the local Hub did not start: {self.log.read_text()[-2000:]}") from error
        return self

    def __exit__(self, *_):
        for process in self.warm.values():
            with process:
                process.stdin.close()
        self.process.kill()
        self.process.wait()
        assert not re.search("Traceback|ERROR", self.log.read_text()), self.log.read_text()[-4000:]

    def env(self, *, token: str | None = WRITE, xet: bool = False, home: str = "home") -> dict[str, str]:
        keep = ("PATH", "LANG", "TMPDIR", "COVERAGE_PROCESS_START")
        env = {key: os.environ[key] for key in keep if key in os.environ}
        env |= {
            "HOME": str(self.root),
            "HF_HOME": str(self.root / home),
            "HF_DATAMAP_CACHE": str(self.root / "datamap-cache"),
            "HF_ENDPOINT": self.url,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_XET": "0" if xet else "1",
            "HF_XET_CLIENT_RETRY_BASE_DELAY": "20ms",
            "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "2",
            "NO_PROXY": "*",
            "no_proxy": "*",
            "PYTHONPATH": str(REPOSITORY),
        }
        return env if token is None else env | {"HF_TOKEN": token}

    def run(self, code: str, *args: str, check: bool = True, **env) -> subprocess.CompletedProcess:
        """Run Python code in a client process of its own, forked from one that has imported the clients."""
        environment = self.env(**env)
        warm = self._warm(environment)
        out = self.root / "client.out"
        job = {"code": code, "argv": args, "env": environment, "cwd": str(self.root), "out": str(out)}
        warm.stdin.write(json.dumps(job) + "\n")
        warm.stdin.flush()
        status = int(warm.stdout.readline())
        done = subprocess.CompletedProcess(args, status, out.read_text(), Path(f"{out}.err").read_text())
        assert not check or status == 0, f"exit {status}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
        return done

    def _warm(self, environment: dict[str, str]) -> subprocess.Popen:
        read_at_import = (environment["HF_HUB_DISABLE_XET"], environment["HF_HOME"])
        if read_at_import not in self.warm:
            command = [sys.executable, "-m", "tests.publish.warm"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self.warm[read_at_import] = subprocess.Popen(command, env=environment, cwd=REPOSITORY, **pipes)
        return self.warm[read_at_import]

    def admin(self, method: str, path: str, body=None, timeout: float = 30):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_admin/{path}", method=method, data=data)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=timeout) as answer:
            return json.load(answer)

    def requests(self, since: int = 0) -> list[dict]:
        return self.admin("GET", f"requests?since={since}")

    def mark(self) -> int:
        return max((r["n"] for r in self.requests()), default=0)

    @contextlib.contextmanager
    def fault(self, **spec):
        self.admin("POST", "faults", spec)
        try:
            yield
        finally:
            self.admin("DELETE", "faults")

    def settle(self) -> None:
        """Wait until the server has done all that clients which are gone had asked of it."""
        self.admin("POST", "settle")

    def search(self, needle: str) -> list[dict]:
        return self.admin("GET", f"search?needle={urllib.parse.quote(needle)}")

    def repo(self, repo_id: str, kind: str = "datasets") -> dict:
        return json.loads((self.root / "hub/repos" / kind / repo_id / "repo.json").read_text())

    def history(self, repo_id: str, ref: str = "refs/heads/main", kind: str = "datasets") -> list[dict]:
        """Commits of a ref, newest first, straight from the server's storage."""
        folder = self.root / "hub/repos" / kind / repo_id
        oid, found = self.repo(repo_id, kind)["refs"].get(ref), []
        while oid:
            commit = json.loads((folder / "commits" / f"{oid}.json").read_text())
            found.append(commit)
            oid = commit["parents"][0] if commit["parents"] else None
        return found

    def file(self, repo_id: str, path: str, ref: str = "refs/heads/main", kind: str = "datasets") -> bytes:
        entry = self.history(repo_id, ref, kind)[0]["tree"][path]
        oid, area = (entry["lfs"]["sha256"], "lfs") if "lfs" in entry else (entry["oid"], "blobs")
        return (self.root / "hub" / area / oid[:2] / oid).read_bytes()

    def files(self, repo_id: str, ref: str = "refs/heads/main", kind: str = "datasets") -> set[str]:
        return set(self.history(repo_id, ref, kind)[0]["tree"])

    def calls(self, since: int, pattern: str = ".") -> list[str]:
        return [f"{r['method']} {r['path']}" for r in self.requests(since) if re.search(pattern, r["path"])]
