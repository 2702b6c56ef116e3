"""`RewardModel`: sequence-classification reward models, on this machine or served."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from hf_datamap.data.example import Example, Message
from hf_datamap.engine.batcher import WINDOW, Batcher
from hf_datamap.engine.endpoint import Endpoint
from hf_datamap.engine.task import JSON, Answer, Score, Task
from hf_datamap.errors import ScorerError, Unanswered
from hf_datamap.scorers.base import Scorer, has_text, scores_of_texts
from hf_datamap.scorers.fence import clean

if TYPE_CHECKING:
    from torch import Tensor

_ENTRY: Final = re.compile(r"(\w+)\[(\d+)\]\Z")
_TOO_LONG: Final = "too long for the reward model (long_texts='refuse')"

Pair = tuple[tuple[Message, ...], str]  # a prompt and a response to it


class RewardModel(Scorer):
    """Scores each response with a reward model that has a classification head.

    A model whose tokenizer has a chat template is shown prompt and response as one conversation; an encoder without one
    is shown a pair of texts (the prompt's messages joined by blank lines, and the response). A decoder without one is
    refused, and so is a checkpoint that lacks weights, such as a base model without a head.

    Texts that do not fit the model are cut at the beginning, so that the response's end, where such models are read,
    stays; or get no score.

    Args:
        model: Hub id or local path; for a server, the model's name there.
        output: which number to take, for models with several: an output of the model (``score``), an entry of one
            (``rewards[9]``), or a label of its configuration. With ArmoRM, ``score`` is the gated mean.
        long_texts: ``cut`` or ``refuse``.
        max_length: tokens that are read; as many as the model has positions by default.
        device: for example ``cuda:1``; the best there is by default.
        dtype: ``auto`` (as the weights are), ``float32``, ``bfloat16`` or ``float16``.
        batch_size: texts scored at a time.
        revision: branch, tag or commit of a Hub model.
        trust_remote_code: whether code that comes with the model may run. ArmoRM needs it.
        chat_template: Jinja, for decoders whose tokenizer has none; it is in the model's card or its training code.
        base_url: a server that has the model, for example ``http://localhost:8000``; nothing is loaded here then.
        server: ``vllm`` (``/classify`` with messages) or ``tei`` (``/predict`` with pairs of texts).
        api_key: the server's key, if it has one; never stored.
        text_only: whether prompts with images are judged by their text alone; else such data is refused.
        max_in_flight: greatest number of concurrent requests to a server.
        timeout: seconds until a request to a server counts as lost.

    Raises:
        ScorerError: an option is malformed.
    """

    def __init__(
        self,
        model: str,
        *,
        output: str | None = None,
        long_texts: str = "cut",
        max_length: int | None = None,
        device: str | None = None,
        dtype: str = "auto",
        batch_size: int = 8,
        revision: str | None = None,
        trust_remote_code: bool = False,
        chat_template: str | None = None,
        base_url: str | None = None,
        server: str = "vllm",
        api_key: str | None = None,
        text_only: bool = False,
        max_in_flight: int = 64,
        timeout: float = 300.0,
    ) -> None:
        self.text_only = text_only
        for name, value, allowed in (
            ("long_texts", long_texts, ("cut", "refuse")),
            ("dtype", dtype, ("auto", "float32", "bfloat16", "float16")),
            ("server", server, ("vllm", "tei")),
        ):
            if value not in allowed:
                raise ScorerError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
        if batch_size < 1 or max_in_flight < 1 or (max_length is not None and max_length < 1):
            raise ScorerError("batch_size, max_in_flight and max_length must be at least 1")
        self.model, self.output, self.long_texts = str(model), output, long_texts
        self.loads_weights = base_url is None
        if base_url is None:
            self._source: _Local | _Served = _Local(
                self.model,
                output=output,
                long_texts=long_texts,
                max_length=max_length,
                device=device,
                dtype=dtype,
                batch_size=batch_size,
                revision=revision,
                trust_remote_code=trust_remote_code,
                chat_template=chat_template,
            )
            self.max_in_flight = WINDOW * batch_size
        else:
            endpoint = Endpoint(self.model, base_url=base_url, api_key=api_key, timeout=timeout)
            self._source = (_VLLM if server == "vllm" else _TEI)(endpoint, output, long_texts)
            self.max_in_flight = max_in_flight

    @property
    def identity(self) -> dict[str, JSON]:
        """What a reward depends on."""
        return {"kind": "reward", "output": self.output, "long_texts": self.long_texts, **self._source.identity}

    def tasks(self, example: Example) -> list[Task]:
        """One task per response with text."""
        prompt = [[message["role"], message["content"]] for message in example.prompt]
        texts = [response for response in example.responses if response is not None and has_text(response)]
        return [Task([prompt, text], (example.prompt, text)) for text in texts]

    async def answer(self, task: Task) -> Answer:
        """Score one response.

        Raises:
            Unanswered: it does not fit, or the model gives no number.
            Overloaded: the server asks for patience.
            ScorerError: the model cannot be used at all.
        """
        return await self._source.reward(task.payload)

    def combine(self, example: Example, answers: Sequence[Answer | str]) -> list[Score]:
        """One reward per response."""
        return scores_of_texts(example, answers)

    def check(self) -> None:
        """See `hf_datamap.engine.task.Answerer.check`."""
        self._source.check()

    async def close(self) -> None:
        """Close connections of the running loop."""
        await self._source.close()


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _finite(value: Any) -> float:  # noqa: ANN401 - what a model or a server gives
    if not isinstance(value, int | float) or value - value != 0:
        raise Unanswered(f"the reward model gave no finite number: {str(value)[:60]}")
    return float(value)


class _Local:
    """A model in this process, loaded when it is first needed, in the thread that runs the batches."""

    def __init__(
        self,
        model: str,
        *,
        output: str | None,
        long_texts: str,
        max_length: int | None,
        device: str | None,
        dtype: str,
        batch_size: int,
        revision: str | None,
        trust_remote_code: bool,
        chat_template: str | None,
    ) -> None:
        self.chat_template = chat_template
        self.model, self.output, self.long_texts, self.max_length = model, output, long_texts, max_length
        self.device, self.dtype, self.batch_size = device, dtype, batch_size
        self.revision, self.trust_remote_code = revision, trust_remote_code
        self._begin()

    def _begin(self) -> None:
        self._loaded: tuple[Any, Any, int | None] | None = None
        self._has_padding = False
        self._batcher: Batcher[Pair] = Batcher(self._rewards, self.batch_size)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    @property
    def identity(self) -> dict[str, JSON]:
        identity: dict[str, JSON] = {
            "model": self.model,
            "revision": self.revision,
            "max_length": self.max_length,
            "dtype": self.dtype,
        }
        return identity | ({"chat_template": _digest(self.chat_template)} if self.chat_template is not None else {})

    async def reward(self, pair: Pair) -> Answer:
        length = sum(len(message["content"]) for message in pair[0]) + len(pair[1])
        value = await self._batcher.submit(pair, length)
        if value is None:
            raise Unanswered(_TOO_LONG)
        return Answer(_finite(value))

    def check(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def _rewards(self, pairs: Sequence[Pair]) -> list[float | None]:
        """Rewards of one batch; None for what does not fit and is not to be cut."""
        tokenizer, model, longest = self._model()  # says what to install where torch is missing
        import torch

        encoded = self._encode(tokenizer, pairs, longest)
        fits = [longest is None or len(item["input_ids"]) <= longest for item in encoded]
        kept = [item for item, good in zip(encoded, fits, strict=True) if good]
        if not kept:
            return [None] * len(pairs)
        batch = {name: torch.tensor(rows, device=model.device) for name, rows in self._padded(kept, model).items()}
        with torch.inference_mode():
            values = iter(self._pick(model(**batch), model.config).float().cpu().tolist())
        return [next(values) if good else None for good in fits]

    def _encode(self, tokenizer: Any, pairs: Sequence[Pair], longest: int | None) -> list[dict[str, list[int]]]:  # noqa: ANN401
        """Token ids of each pair, cut where that is wanted."""
        cut = self.long_texts == "cut" and longest is not None
        if not tokenizer.chat_template:
            prompts = ["\n\n".join(clean(message["content"]) for message in prompt) for prompt, _ in pairs]
            side, tokenizer.truncation_side = tokenizer.truncation_side, "left"
            try:
                encoded = tokenizer(
                    prompts,
                    [clean(text) for _, text in pairs],
                    truncation=cut,
                    max_length=longest if cut else None,
                    verbose=False,
                )
            finally:
                tokenizer.truncation_side = side
            return [{name: encoded[name][place] for name in encoded} for place in range(len(pairs))]
        texts = [
            tokenizer.apply_chat_template(
                [
                    {"role": m["role"], "content": clean(m["content"])}
                    for m in (*prompt, Message(role="assistant", content=text))
                ],
                tokenize=False,
            )
            for prompt, text in pairs
        ]
        ids = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]  # the template has them
        ids = [one[-longest:] if cut and longest else one for one in ids]
        return [{"input_ids": one, "attention_mask": [1] * len(one)} for one in ids]

    def _padded(self, items: Sequence[dict[str, list[int]]], model: Any) -> dict[str, list[list[int]]]:  # noqa: ANN401
        """Items of one length.

        Decoders are read at the last token that is no padding. One without a padding token gets one that is not in the
        batch: the usual stand-in, the end-of-text token, often ends a conversation, and would be passed over.
        """
        config = model.config.get_text_config()
        if not self._has_padding:
            used = {token for item in items for token in item["input_ids"]}
            config.pad_token_id = next(token for token in range(config.vocab_size) if token not in used)
        width = max(len(item["input_ids"]) for item in items)
        return {
            name: [
                item[name] + [config.pad_token_id if name == "input_ids" else 0] * (width - len(item[name]))
                for item in items
            ]
            for name in items[0]
        }

    def _pick(self, outputs: Any, config: Any) -> Tensor:  # noqa: ANN401 - a transformers output
        """The numbers that ``output`` names, shape (batch,).

        Raises:
            ScorerError: it names none, or several are left.
        """
        names = [name for name, value in outputs.items() if hasattr(value, "shape") and value.ndim in (1, 2)]
        labels = {str(label): int(place) for place, label in (config.id2label or {}).items()}
        entry = _ENTRY.match(self.output or "")
        if self.output in names or (entry and entry[1] in names):
            value = outputs[entry[1] if entry else self.output]
            if entry and value.ndim == 2 and int(entry[2]) < value.shape[1]:
                return value[:, int(entry[2])]  # type: ignore[no-any-return] # transformers outputs are untyped
        else:
            value = outputs["logits"]
            if self.output is not None and self.output in labels:
                return value[:, labels[self.output]]  # type: ignore[no-any-return]
            if self.output is not None:
                value = None
        if value is not None and (value.ndim == 1 or value.shape[1] == 1):
            return value.reshape(len(value))  # type: ignore[no-any-return]
        shapes = ", ".join(f"{name} {tuple(outputs[name].shape[1:])}" for name in names)
        asked = f"no single number {self.output!r}" if self.output else "several numbers"
        own = (
            ""
            if self.trust_remote_code or not getattr(config, "auto_map", None)
            else (". The model brings code of its own that was not used; trust_remote_code=True runs it")
        )
        raise ScorerError(
            f"{self.model} gives {asked} per response. Name one with output=: an output ({shapes}), an entry of one "
            f"such as 'logits[0]', or a label ({', '.join(map(str, labels))}){own}"
        )

    def _model(self) -> tuple[Any, Any, int | None]:
        """Tokenizer, model, and how many tokens it reads."""
        if self._loaded is not None:
            return self._loaded
        try:
            import torch
            from transformers import AutoModelForSequenceClassification, AutoTokenizer
        except ImportError:
            raise ScorerError(
                "reward models need torch and transformers: pip install 'hf_datamap[reward]' (or a server, base_url=)"
            ) from None
        source: dict[str, Any] = {"revision": self.revision, "trust_remote_code": self.trust_remote_code}
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.model, **source)
            dtype = self.dtype if self.dtype == "auto" else getattr(torch, self.dtype)
            model, loading = AutoModelForSequenceClassification.from_pretrained(
                self.model, dtype=dtype, output_loading_info=True, **source
            )
        except Exception as error:
            more = (
                " It brings code of its own; pass trust_remote_code=True if you trust it."
                if ("trust_remote_code" in str(error))
                else ""
            )
            words = " ".join(str(error).split())[:300]
            raise ScorerError(
                f"cannot load the reward model {self.model}: {type(error).__name__}: {words}{more}"
            ) from error
        self._refuse_unloaded(model, loading)
        self._prepare_template(tokenizer, model.config)
        self._has_padding = model.config.get_text_config().pad_token_id is not None
        device = self.device or (
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
        self._loaded = tokenizer, model.eval().to(device), self._longest(tokenizer, model.config)
        return self._loaded

    def _refuse_unloaded(self, model: Any, loading: Mapping[str, Any]) -> None:  # noqa: ANN401
        """Refuse a model some of whose weights were not in the checkpoint: transformers made them up at random.

        Raises:
            ScorerError: weights are missing, or of another shape.
        """
        weights = {name for name, _ in model.named_parameters()}
        mismatched = [key[0] if isinstance(key, tuple | list) else key for key in loading.get("mismatched_keys") or ()]
        unloaded = sorted(weights & {str(key) for key in (*(loading.get("missing_keys") or ()), *mismatched)})
        if not unloaded:
            return
        unused = sorted(map(str, loading.get("unexpected_keys") or ()))
        beside = f" It has {', '.join(unused[:3])}, which the architecture does not know." if unused else ""
        head = [name for name in unloaded if not name.startswith(f"{model.base_model_prefix}.")]
        what = f"the head of the reward model ({', '.join(head[:3])})" if head else f"{len(unloaded)} of its weights"
        raise ScorerError(
            f"{self.model}: {what} is not in the checkpoint, so its scores would be random.{beside} Is it a base "
            "model, or one whose head has another name? One that brings code of its own needs trust_remote_code=True"
        )

    def _prepare_template(self, tokenizer: Any, config: Any) -> None:  # noqa: ANN401
        """Set the chat template; a decoder without one would read prompt and response as one run of words.

        Raises:
            ScorerError: it is a decoder, and there is no chat template.
        """
        from transformers.models.auto.modeling_auto import (
            MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
            MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        )

        if self.chat_template is not None:
            tokenizer.chat_template = self.chat_template
        kind = config.get_text_config().model_type
        is_decoder = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
        if is_decoder and not tokenizer.chat_template:
            raise ScorerError(
                f"{self.model}: the tokenizer has no chat template, so there is no telling how the model was shown "
                "conversations in training. Pass chat_template= (Jinja, from the model's card)"
            )

    def _longest(self, tokenizer: Any, config: Any) -> int | None:  # noqa: ANN401
        positions = getattr(config.get_text_config(), "max_position_embeddings", None)
        limits = [self.max_length, tokenizer.model_max_length, positions]
        known = [limit for limit in limits if isinstance(limit, int) and 0 < limit < 1 << 30]
        return min(known) if known else None


class _Served:
    """A model behind HTTP."""

    server: str

    def __init__(self, endpoint: Endpoint, output: str | None, long_texts: str) -> None:
        self.endpoint, self.output, self.long_texts = endpoint, output, long_texts

    @property
    def identity(self) -> dict[str, JSON]:
        return {**self.endpoint.identity, "server": self.server}

    async def reward(self, pair: Pair) -> Answer:
        raise NotImplementedError

    def check(self) -> None:
        self.endpoint.check()

    async def close(self) -> None:
        await self.endpoint.close()


class _VLLM(_Served):
    """vLLM's classification API; ``output`` is an entry of its numbers (``probs[1]``) where there are several."""

    server = "vllm"

    async def reward(self, pair: Pair) -> Answer:
        prompt, text = pair
        turns = [*prompt, Message(role="assistant", content=text)]
        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "messages": [{"role": turn["role"], "content": clean(turn["content"])} for turn in turns],
            "use_activation": False,  # the reward itself, not its sigmoid
        }
        if self.long_texts == "cut":
            body["truncate_prompt_tokens"] = -1  # as many as the model reads; vLLM keeps the end
        reply = await self.endpoint.post("//classify", body)
        try:
            numbers = list(reply["data"][0]["probs"])
            sent = int((reply.get("usage") or {}).get("prompt_tokens") or 0)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError):
            raise Unanswered("the reply holds no classification") from None
        entry = _ENTRY.match(self.output or "probs[0]")
        place = int(entry[2]) if entry else -1
        if (self.output is None and len(numbers) != 1) or not 0 <= place < len(numbers):
            raise ScorerError(
                f"{self.endpoint.model} gives {len(numbers)} numbers per response: name one, output='probs[0]'"
            )
        return Answer(_finite(numbers[place]), sent)


class _TEI(_Served):
    """Text Embeddings Inference's ``/predict``; ``output`` is a label where there are several."""

    server = "tei"

    async def reward(self, pair: Pair) -> Answer:
        prompt = "\n\n".join(clean(message["content"]) for message in pair[0])
        body = {"inputs": [[prompt, clean(pair[1])]], "raw_scores": True, "truncate": self.long_texts == "cut"}
        reply = await self.endpoint.post("//predict", body)
        try:
            numbers = {str(item["label"]): item["score"] for item in reply[0]}
        except (KeyError, IndexError, TypeError):
            raise Unanswered("the reply holds no prediction") from None
        return Answer(_finite(self._one(numbers)))

    def _one(self, numbers: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
        label = self.output if self.output is not None else next(iter(numbers)) if len(numbers) == 1 else ""
        if label not in numbers:
            raise ScorerError(f"{self.endpoint.model} gives {', '.join(numbers)}: name one with output=")
        return numbers[label]
