"""Make ``hf_datamap/data/demo_sample/ifeval_sample.parquet`` from the published M-IFEval evaluations.

Run from the repository root: ``python tests/data/make_demo_sample.py PATH/verifiable_ifeval_en_17models.parquet``.
The same input gives the same bytes (with the same pyarrow). What goes in and why is in
``hf_datamap/data/demo_sample/README.md``.
"""

from __future__ import annotations

import hashlib
import sys
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

MODELS = [
    "Qwen/Qwen2.5-0.5B-Instruct-GPTQ-Int4",
    "Qwen/Qwen2.5-1.5B-Instruct-GPTQ-Int4",
    "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4",
    "Qwen/Qwen2.5-14B-Instruct-GPTQ-Int4",
    "Qwen/Qwen2.5-32B-Instruct-GPTQ-Int4",
    "mistralai/Mistral-7B-Instruct-v0.3",
]
MOST_BYTES = 600_000
TARGET = Path(__file__).parents[2] / "hf_datamap" / "data" / "demo_sample" / "ifeval_sample.parquet"
SCHEMA = pa.schema(
    [
        ("key", pa.int64()),
        ("prompt", pa.string()),
        ("responses", pa.list_(pa.string())),
        ("models", pa.list_(pa.string())),
        ("instruction_id_list", pa.list_(pa.string())),
        ("kwargs", pa.string()),
        ("strict", pa.list_(pa.list_(pa.bool_()))),
        ("loose", pa.list_(pa.list_(pa.bool_()))),
    ]
)


def rows_by_prompt(source: Path) -> list[dict[str, object]]:
    """One row per prompt that all six models answered, in the order of a hash of its key."""
    answers: dict[int, dict[str, dict[str, object]]] = defaultdict(dict)
    for row in pq.read_table(source).to_pylist():
        if row["model"] in MODELS:
            answers[row["key"]][row["model"]] = row
    rows = []
    for key, by_model in answers.items():
        if len(by_model) == len(MODELS):
            of = [by_model[model] for model in MODELS]
            rows.append(
                {
                    "key": key,
                    "prompt": of[0]["prompt"],
                    "responses": [row["response"] for row in of],
                    "models": MODELS,
                    "instruction_id_list": of[0]["instruction_id_list"],
                    "kwargs": of[0]["kwargs"],
                    "strict": [row["follow_instruction_list"] for row in of],
                    "loose": [row["follow_instruction_list_loose"] for row in of],
                }
            )
    return sorted(rows, key=lambda row: hashlib.sha256(str(row["key"]).encode()).digest())


def write(rows: list[dict[str, object]], target: pa.NativeFile | str) -> None:
    """Write rows, by key, in one row group."""
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: row["key"]), schema=SCHEMA)
    pq.write_table(
        table,
        target,
        compression="zstd",
        compression_level=22,
        use_dictionary=["models", "instruction_id_list"],
        write_statistics=False,
    )


def size(rows: list[dict[str, object]]) -> int:
    sink = pa.BufferOutputStream()
    write(rows, sink)
    return sink.getvalue().size


def main(source: str) -> None:
    rows = rows_by_prompt(Path(source))
    least, most = 0, len(rows)  # the longest prefix that fits
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if size(rows[:middle]) <= MOST_BYTES else (least, middle - 1)
    write(rows[:least], str(TARGET))
    print(f"{least} of {len(rows)} prompts, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
