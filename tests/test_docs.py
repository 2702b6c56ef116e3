"""The recipes of the documentation that need what is not here, run with a stand-in for just that."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
from datasets import Dataset

import hf_datamap as dm
from tests.rows import graded, rows

SCALE = Path(__file__).parents[1] / "docs/scale.md"


def test_answers_of_an_engine_inside_ray_are_found_in_the_store(monkeypatch):
    """The recipe for vLLM, word for word, with a processor that writes what the graded server would."""
    ray = pytest.importorskip("ray")

    class Config:
        def __init__(self, **options):
            self.options = options

    def build_processor(config, preprocess, postprocess):
        assert config.options["model_source"] == "Qwen/Qwen2.5-7B-Instruct"

        def answer(row):
            reply = graded({"model": "m", "messages": list(row["messages"])}).json
            return {**row, "generated_text": reply["choices"][0]["message"]["content"]}

        return lambda ds: ds.map(preprocess).map(answer).map(postprocess)

    stand_in = types.ModuleType("ray.data.llm")
    stand_in.build_processor, stand_in.vLLMEngineProcessorConfig = build_processor, Config
    monkeypatch.setitem(sys.modules, "ray.data.llm", stand_in)
    code = re.search(r"<!-- recipe -->\n```python\n(.*?)```", SCALE.read_text(), re.DOTALL)[1]
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        names = {"ds": Dataset.from_list(rows(12))}
        exec(compile(code, str(SCALE), "exec"), names)
    finally:
        ray.shutdown()
    assert isinstance(names["data_map"], dm.DataMap)
    assert names["data_map"].provenance["rows"] == {"ok": 12, "partial": 0, "failed": 0, "skipped": 0}
    assert names["data_map"].provenance["usage"]["requests"] == 0
    assert names["ds"]["datamap_scores"][:] == [[6.0 + i % 5, 1.0 + i % 3] for i in range(12)]
