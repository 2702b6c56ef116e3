"""distilabel's UltraFeedback task over the common rows: ``drive_distilabel.py URL ROWS BATCH REPLICAS``."""

from __future__ import annotations

import sys
import time

import material


def main(url: str, count: int, batch: int, replicas: int) -> None:
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts, StepResources
    from distilabel.steps.tasks import UltraFeedback

    data = [{"instruction": prompt, "generations": responses} for prompt, responses in material.rows(count)]
    with Pipeline(name="benchmark") as pipeline:
        load = LoadDataFromDicts(data=data, batch_size=batch)
        task = UltraFeedback(
            llm=OpenAILLM(model=material.MODEL, base_url=url, api_key="k"),
            input_batch_size=batch,
            resources=StepResources(replicas=replicas),
        )
        load >> task
    start = time.perf_counter()
    done = pipeline.run(use_cache=False)
    took = time.perf_counter() - start
    ratings = done["default"]["train"]["ratings"]
    material.check(list(ratings), count, 1, 5)
    material.report("distilabel", "openai", rows=count, seconds=took)


if __name__ == "__main__":  # distilabel starts processes, which import this file again
    main(sys.argv[1], *map(int, sys.argv[2:]))
