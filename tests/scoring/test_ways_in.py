"""The same rows through every way in: the same columns, split names, map and card, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from datasets import Dataset, DatasetDict, load_dataset

import hf_datamap as dm
from hf_datamap.cli import group
from hf_datamap.data import columns
from hf_datamap.publish.card import render
from hf_datamap.publish.folder import write_folder

#: What a way in may say of itself: when, what was found in the store rather than asked, how the data was named.
OWN_PROVENANCE = ("date", "usage", "source")
#: Lines of a card that count bytes: of Arrow buffers in memory, of decoded Parquet pages in parts.
COUNTED_BYTES = ("num_bytes", "dataset_size", "download_size")
ROWS = 300
SOURCE = {"id": "me/pairs", "split": "train_prefs"}


class Noisy(dm.Scorer):
    """A scorer that knows how noisy it is: ties, failures and noise for all that is compared."""

    stored = False

    @property
    def identity(self):
        return {"kind": "noisy"}

    def score(self, example):
        texts = example.responses
        return [None if "?" in text else dm.Score(float(len(text) % 5), noise=0.1 + len(text) % 3) for text in texts]


def some_rows() -> Dataset:
    chance = np.random.default_rng(2)
    texts = [["x" * int(n) + "?" * int(n == 7) for n in row] for row in chance.integers(1, 40, (ROWS, 4))]
    ratings = chance.integers(1, 6, (ROWS, 4)).astype(float).tolist()
    rows = [
        {"prompt": f"p{i}", "responses": text, "rating": rating, "source": "ab"[i % 2]}
        for i, (text, rating) in enumerate(zip(texts, ratings, strict=True))
    ]
    rows[11]["prompt"] = None
    return Dataset(Dataset.from_list(rows).data.table, split="train_prefs")


def written(ds: Dataset, folder: Path) -> list[str]:
    folder.mkdir(parents=True)
    for number in range(3):
        path = folder / f"train_prefs-{number:05d}-of-00003.parquet"
        ds.shard(3, number, contiguous=True).to_parquet(path, batch_size=30)
    return [str(path) for path in sorted(folder.iterdir())]


def of_dataset(ds, folder, options):
    return dm.annotate(ds, Noisy(), source=SOURCE, progress=False, **options)


def of_splits(ds, folder, options):
    mapped, data_map = dm.annotate(DatasetDict(train_prefs=ds), Noisy(), source=SOURCE, progress=False, **options)
    assert list(mapped) == ["train_prefs"]
    return mapped["train_prefs"], data_map


def of_stream(ds, folder, options):
    stream = load_dataset(
        "parquet", data_files={"train_prefs": written(ds, folder / "in")}, split="train_prefs", streaming=True
    )
    return dm.annotate(stream, Noisy(), source=SOURCE, progress=False, **options)


def of_score_fn(ds, folder, options):
    """Scores by `map`; agreement and margin, which take annotations, are what `annotate` adds beside."""
    scored = ds.map(dm.score_fn(Noisy()), batched=True)
    data_map = dm.DataMap.fit(scored, **options)
    return data_map.assign(scored, probability=options.get("correct_noise", False)), data_map


def of_threads(ds, folder, options):
    files = written(ds, folder / "in")
    return dm.annotate_files(
        files, Noisy(), folder / "out", split="train_prefs", source=SOURCE, part_rows=40, progress=False, **options
    )


def of_inline(ds, folder, options):
    files = written(ds, folder / "in")
    return dm.annotate_files(
        files,
        Noisy(),
        folder / "out",
        split="train_prefs",
        source=SOURCE,
        executor=dm.Inline(),
        progress=False,
        **options,
    )


WAYS = {
    "splits": of_splits,
    "stream": of_stream,
    "score_fn": of_score_fn,
    "threads": of_threads,
    "inline": of_inline,
}


@pytest.mark.parametrize("options", [{}, {"correct_noise": True}], ids=["plain", "corrected"])
@pytest.mark.parametrize("way", WAYS)
def test_python(tmp_path, way, options):
    ds = some_rows()
    expected, expected_map = of_dataset(ds, tmp_path, options)
    mapped, data_map = WAYS[way](ds, tmp_path, options)
    assert str(mapped.split) == str(expected.split) == "train_prefs"
    names = expected.column_names
    if way == "score_fn":
        names = [name for name in names if name not in (columns.AGREEMENT, columns.MARGIN)]
        without = [each.model_copy(update={"agreement": None, "margin": None}) for each in expected_map.regions]
        expected_map = expected_map.model_copy(update={"regions": tuple(without), "provenance": {}})
    else:
        assert mapped.column_names == names
        assert mapped.features == expected.features
    assert [{name: row[name] for name in names} for row in mapped] == list(expected.select_columns(names))
    assert bare(data_map) == bare(expected_map)
    if way in ("threads", "inline"):
        write_folder(expected, expected_map, tmp_path / "whole", title=SOURCE["id"])
        same_folders(tmp_path / "whole", tmp_path / "out")
    elif way == "splits":
        assert render(mapped, data_map) == render(expected, expected_map)


def test_ray(tmp_path):
    ray = pytest.importorskip("ray")
    ds = some_rows()
    expected, expected_map = of_dataset(ds, tmp_path, {"correct_noise": True})
    started = not ray.is_initialized()
    if started:
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        blocks = ray.data.from_huggingface(ds).repartition(4)
        out, data_map = dm.ray.annotate(blocks, Noisy(), correct_noise=True, source=SOURCE, batch_size=70, workers=1)
        assert out.take_all() == list(expected)
        assert bare(data_map)[1:] == bare(expected_map)[1:]
        _, files_map = dm.annotate_files(
            written(ds, tmp_path / "in"),
            Noisy(),
            tmp_path / "out",
            split="train_prefs",
            source=SOURCE,
            correct_noise=True,
            executor=dm.ray.RayExecutor(workers=1),
            progress=False,
        )
        assert bare(files_map) == bare(expected_map)
        write_folder(expected, expected_map, tmp_path / "whole", title=SOURCE["id"])
        same_folders(tmp_path / "whole", tmp_path / "out")
    finally:
        if started:
            ray.shutdown()


@pytest.mark.parametrize("way", ["dataset", "stream", "files"])
def test_rows_that_are_mapped_anew_keep_nothing_of_an_older_map(tmp_path, way):
    ds = some_rows()
    older, _ = of_dataset(ds, tmp_path, {"correct_noise": True})
    expected, expected_map = of_dataset(ds, tmp_path, {})
    if way == "dataset":
        mapped, data_map = of_dataset(older, tmp_path, {})
    elif way == "stream":
        mapped, data_map = of_stream(older, tmp_path, {})
    else:
        mapped, data_map = of_inline(older, tmp_path, {})
    assert set(mapped.features) == set(expected.features)
    assert list(mapped) == list(expected)
    assert bare(data_map) == bare(expected_map)
    assert not data_map.corrected


@pytest.mark.parametrize("split", ["test", "train_prefs"])
def test_command_line(tmp_path, split):
    """A folder of one split, named or not: the engines write the same."""
    card = f"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: {split}\n    path: data/{split}-*\n---\n"
    source = tmp_path / "source"
    (source / "data").mkdir(parents=True)
    (source / "README.md").write_text(card)
    some_rows().remove_columns("source").to_parquet(source / f"data/{split}-00000-of-00001.parquet", batch_size=50)
    words = ["map", str(source), "--scorer", "columns:rating", "--json"]
    engines = {"auto": [], "memory": ["--engine", "memory"], "shards": ["--engine", "shards"]}
    engines["named"] = ["--engine", "shards", "--split", split]
    told = {}
    for name, more in engines.items():
        done = CliRunner().invoke(group, [*words, *more, "--out", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
        told[name] = json.loads(done.stdout) | {"out": ""}
        assert {path.name.partition("-")[0] for path in (tmp_path / name / "data").iterdir()} == {split}
        same_folders(tmp_path / "auto", tmp_path / name)
    assert told["auto"] == told["memory"] == told["shards"] == told["named"]


def bare(data_map: dm.DataMap) -> tuple[str, dict[str, object]]:
    """A map as it is written, and what it remembers beside what a way in says of itself."""
    kept = {name: value for name, value in data_map.provenance.items() if name not in OWN_PROVENANCE}
    return data_map.model_copy(update={"provenance": {}}).to_json(), kept


def same_folders(one: Path, two: Path) -> None:
    """Two folders hold the same rows, map, picture and card."""
    tables = [
        Dataset.from_parquet([str(path) for path in sorted((folder / "data").iterdir())]) for folder in (one, two)
    ]
    assert tables[0].features == tables[1].features
    assert list(tables[0]) == list(tables[1])
    assert (one / "map.png").read_bytes() == (two / "map.png").read_bytes()
    maps = [json.loads((folder / "datamap.json").read_text()) for folder in (one, two)]
    for data_map in maps:
        for name in OWN_PROVENANCE:
            data_map["provenance"].pop(name)
    assert maps[0] == maps[1]
    cards = [
        [line for line in (folder / "README.md").read_text().splitlines() if not line.strip().startswith(COUNTED_BYTES)]
        for folder in (one, two)
    ]
    assert cards[0] == cards[1]
