"""`LocalJudge`: a judge from a GGUF file, served in this process by llama.cpp (``xllamacpp``)."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hf_datamap.engine.endpoint import Endpoint
from hf_datamap.engine.task import JSON
from hf_datamap.errors import ScorerError
from hf_datamap.scorers.gguf import has_token
from hf_datamap.scorers.judge import LLMJudge

_PART: Final = 1 << 20  # bytes at each end of a model file that stand for it


class LocalJudge(LLMJudge):
    """An `LLMJudge` on a GGUF file: no endpoint, no key, nothing leaves the machine.

    The server starts with the first question, on a free port of the loopback interface with a key of its own, and stops
    with `dm.annotate` (in ``map``: with the process).

    Small models are bad judges: measured on human preferences, none below a billion parameters was better than chance
    (``hf-datamap calibrate local:PATH --on FILE`` measures yours), so none is a default.

    Args:
        path: the GGUF file.
        threads: threads that compute; all processors but one by default (threads that wait for each other are slower
            than fewer that do not).
        slots: requests that are worked on at the same time. More than one hides waiting; it makes nothing faster on
            processors.
        context: tokens per request, prompt and answer together; longer prompts fail by themselves.
        gpu_layers: layers put on a GPU.
        timeout: seconds until a request counts as lost.
        judge: other options of `LLMJudge`. ``scale`` is (1, 9) by default for a model whose tokenizer splits "10".

    Raises:
        ScorerError: no such file, no GGUF file, or an option is out of range.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        threads: int | None = None,
        slots: int = 2,
        context: int = 4096,
        gpu_layers: int = 0,
        timeout: float = 900.0,
        **judge: Any,  # noqa: ANN401 - LLMJudge checks them
    ) -> None:
        if {"base_url", "api_key", "max_in_flight"} & judge.keys():
            raise ScorerError("a local judge has no base_url, api_key or max_in_flight: it serves itself (slots=)")
        if slots < 1 or context < 256 or gpu_layers < 0 or (threads is not None and threads < 1):
            raise ScorerError("slots and threads must be at least 1, context at least 256, gpu_layers not negative")
        if "scale" not in judge and judge.get("logprobs", True) and has_token(Path(path), "10") is False:
            judge["scale"] = (1, 9)  # "1" would begin "10": only scores of one token have a distribution to read
        self._server = _LocalEndpoint(
            Path(path),
            threads=threads or _processors(),
            slots=slots,
            context=context,
            gpu_layers=gpu_layers,
            timeout=timeout,
        )
        super().__init__(self._server.model, max_in_flight=slots, timeout=timeout, **judge)

    def _endpoint(self, model: str, base_url: str | None, api_key: str | None, timeout: float) -> Endpoint:  # noqa: ARG002
        return self._server

    def release(self) -> None:
        """Stop the server; the next question starts it again."""
        self._server.stop()


class _LocalEndpoint(Endpoint):
    """The endpoint that a model file is served at."""

    def __init__(self, path: Path, *, threads: int, slots: int, context: int, gpu_layers: int, timeout: float) -> None:
        self.digest = _digest(path)
        self.path, self.model, self.timeout = path.absolute(), path.name, timeout
        self.threads, self.slots, self.context, self.gpu_layers = threads, slots, context, gpu_layers
        self._start()

    def _start(self) -> None:
        self.base_url, self._secret = "", ""  # known once the server is up
        super()._start()
        self._served: Any = None
        self._pid = os.getpid()
        self._starting = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        names = ("digest", "path", "model", "timeout", "threads", "slots", "context", "gpu_layers")
        return {name: getattr(self, name) for name in names}

    @property
    def identity(self) -> dict[str, JSON]:
        """The file, wherever it lies, and how much of a prompt fits."""
        return {"model": self.model, "file": self.digest, "context": self.context}

    async def chat(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send one chat completion request, once the server is up. See `Endpoint.chat`."""
        if self._served is None or self._pid != os.getpid():  # a forked child has no thread to serve it
            await asyncio.to_thread(self.start)
        return await super().chat(body)

    def start(self) -> None:
        """Start the server, if it is not up.

        Raises:
            ScorerError: the extra is missing, or the file cannot be served.
        """
        with self._starting:
            if self._served is not None and self._pid == os.getpid():
                return
            try:
                import xllamacpp
            except ImportError:
                raise ScorerError("a local judge needs xllamacpp: pip install 'hf_datamap[local]'") from None
            self._secret = secrets.token_urlsafe(24)
            options = xllamacpp.CommonParams()
            options.model.path = str(self.path)
            options.model_alias = {self.model}
            options.port, options.api_keys = 0, [self._secret]
            options.n_parallel, options.n_ctx = self.slots, self.context * self.slots
            options.cpuparams.n_threads = options.cpuparams_batch.n_threads = self.threads
            options.n_gpu_layers = self.gpu_layers
            options.cache_ram_mib = 0  # prompts differ; a cache of old ones grows to gigabytes
            options.warmup = options.fit_params = options.ui = False
            options.verbosity = 0
            try:
                self._served = xllamacpp.Server(options)
            except Exception as error:
                words = " ".join(str(error).split())[:200]
                raise ScorerError(f"llama.cpp cannot serve {self.path}: {words}") from error
            self.base_url, self._pid = f"{self._served.listening_address}/v1", os.getpid()

    def stop(self) -> None:
        """Stop the server."""
        with self._starting:
            self._served, self.base_url = None, ""
            gc.collect()  # the server stops when it is no longer referred to

    def check(self) -> None:
        """Nothing to check: it needs no key, and is reached directly."""

    async def close(self) -> None:
        """Close connections, and stop the server."""
        await super().close()
        self.stop()

    def key(self) -> str:
        """Return the key of the server's own, made anew each time it starts."""
        return self._secret or "none"


def _processors() -> int:
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, processors - 1)


def _digest(path: Path) -> str:
    """What stands for a model file: its size, its first and its last MiB.

    Raises:
        ScorerError: there is no such file, or it is no GGUF file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(_PART)
            file.seek(max(0, size - _PART))
            last = file.read(_PART)
    except OSError as error:
        raise ScorerError(f"cannot read the model {path}: {error.strerror}") from None
    if first[:4] != b"GGUF":
        raise ScorerError(f"{path} is no GGUF file")
    return hashlib.blake2b(b"%d\0" % size + first + last, digest_size=16).hexdigest()
