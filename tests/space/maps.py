"""Maps to look at: real ones made by the command line, and large ones made up for speed."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hf_datamap.data import columns

ROOT = Path(__file__).parents[2]


def annotated_folder(folder: Path, source: Path, scorer) -> Path:
    """Map a file of real rows with a real scorer; the folder is as ``hf-datamap map`` leaves it."""
    from datasets import Dataset

    from hf_datamap import annotate

    kind = "from_parquet" if source.suffix == ".parquet" else "from_json"
    ds, data_map = annotate(getattr(Dataset, kind)(str(source), cache_dir=str(folder.parent / "cache")), scorer)
    (folder / "data").mkdir(parents=True)
    ds.to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    data_map.save(folder / "datamap.json")
    return folder


def pairs_table(rows: int, seed: int = 0, *, prompts=None, chosen=None, rejected=None, sources=None) -> pa.Table:
    """Preference pairs with every column of a map but the region; scores made up, texts given or made up."""
    rng = np.random.default_rng(seed)
    mean = rng.beta(3, 2, rows) * 10
    half = np.sqrt(rng.gamma(1.2, 1.5, rows) * (1 - np.abs(mean - 5) / 8))
    right = rng.random(rows) < 0.9
    scores = np.stack([mean + np.where(right, half, -half), mean - np.where(right, half, -half)], axis=1)
    mean, variance = columns.moments(scores)
    names = np.array(["evol", "flan", "sharegpt", "truthful"], object)[rng.choice(4, rows, p=[0.6, 0.3, 0.09, 0.01])]
    flat = pa.array(scores.astype(np.float32).ravel())
    return pa.table(
        {
            "prompt": pa.array(prompts or [f"What is the word for {i}?" for i in range(rows)]),
            "chosen": pa.array(chosen or [f"The quick answer {i} is clearly this one." for i in range(rows)]),
            "rejected": pa.array(rejected or [f"The quick answer {i} is not that, sorry." for i in range(rows)]),
            "source": pa.array(sources if sources is not None else names, pa.string()),
            columns.SCORES: pa.ListArray.from_arrays(pa.array(range(0, 2 * rows + 1, 2), pa.int32()), flat),
            columns.MEAN: mean,
            columns.VARIANCE: variance,
            columns.MARGIN: (scores[:, 0] - scores[:, 1]).astype(np.float32),
            columns.AGREEMENT: columns.agreement(scores, np.tile([1.0, 0.0], (rows, 1))),
            columns.SUSPECT: ~right & (half > 0.8),
        }
    )


def write_folder(folder: Path, splits: dict[str, pa.Table], *, group: int = 1000, shards: int = 1) -> Path:
    """Write tables as a folder of a map, without index and map file: the app computes both."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name, table in splits.items():
        step = -(-len(table) // shards)
        for k in range(shards):
            path = folder / "data" / f"{name}-{k:05d}-of-{shards:05d}.parquet"
            pq.write_table(table.slice(k * step, step), path, row_group_size=group)
    return folder


def large_folder(folder: Path, rows: int) -> Path:
    """Write a map of many rows with its index and map file, as published."""
    from datasets import Dataset

    from hf_datamap.datamap.datamap import DataMap
    from hf_datamap.datamap.index import build_index

    table = pairs_table(rows)
    ds = Dataset(table.select([name for name in table.column_names if name.startswith("datamap_") or name == "source"]))
    data_map = DataMap.fit(ds)
    index = build_index(data_map.assign(ds))
    write_folder(folder, {"train": table.append_column(columns.REGION, index["region"].cast(pa.string()))})
    (folder / "datamap").mkdir()
    pq.write_table(index, folder / "datamap" / "index.parquet", row_group_size=16_384)
    data_map.save(folder / "datamap.json")
    return folder
