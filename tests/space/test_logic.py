"""The Space's rooms without a page: reading rows, filters, areas, code, limits."""

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("gradio", reason="the Space needs gradio: pip install -e '.[space,browser]'")

from hf_datamap.data import columns
from hf_datamap.datamap.datamap import DataMap
from tests.space.conftest import SPACE
from tests.space.maps import pairs_table, write_folder

sys.path.insert(0, str(SPACE))
from mapspace import compare, export, points, reader, recut, sources, statistics, strategies, texts
from mapspace.errors import SpaceError
from mapspace.hub_errors import check_id
from mapspace.sessions import Filters, Limits, Session, Sessions


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    splits = {"train": pairs_table(2500, 1), "test": pairs_table(700, 2)}
    return write_folder(tmp_path_factory.mktemp("maps") / "logic", splits, group=300, shards=3)


@pytest.fixture(scope="module")
def files():
    made = points.BrowserFiles()
    yield made
    made.close()


@pytest.fixture
def session(folder, files):
    return Session(sources.open_folder(folder), files)


@pytest.fixture(scope="module")
def tables(folder):
    return {split: pq.read_table([*sorted((folder / "data").glob(f"{split}-*"))]) for split in ("test", "train")}


def test_an_index_computed_from_columns_is_the_cut_of_the_data(session, tables):
    index = session.map.index
    assert index.split.names == ("train", "test")
    mean = np.concatenate([t[columns.MEAN].to_numpy() for t in tables.values()])
    assert np.array_equal(index.mean, mean)
    assert np.array_equal(np.concatenate([np.arange(700), np.arange(2500)]), index.row)
    counts = dict(zip(columns.REGIONS, np.bincount(index.region, minlength=4), strict=True))
    assert counts == session.map.data_map.counts
    assert np.isfinite(index.length).all()


@pytest.mark.parametrize("row", [0, 299, 300, 833, 834, 1667, 2499])
def test_rows_are_found_across_shards_and_row_groups(session, tables, row):
    assert session.map.texts("train").row(row) == tables["train"].slice(row, 1).to_pylist()[0]


def test_a_row_beyond_the_end_is_refused(session):
    with pytest.raises(SpaceError, match="2,500 rows"):
        session.map.texts("train").row(2500)


def test_only_the_row_group_of_a_row_is_read(folder, monkeypatch):
    opened = sources.open_folder(folder)
    read = []
    original = pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda s, i, **k: read.append(i) or original(s, i, **k))
    texts.SplitRows(opened.splits["train"], "fresh").row(850)
    assert read == [0]


def test_large_row_groups_are_streamed(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "GROUP_BYTES", 1000)
    folder = write_folder(tmp_path / "one", {"train": pairs_table(500)}, group=500)
    table = pq.read_table(folder / "data")
    for row in (0, 63, 64, 499):
        assert sources.open_folder(folder).texts("train").row(row) == table.slice(row, 1).to_pylist()[0]


def test_search_finds_what_a_scan_finds_and_stays_within_the_filters(session, tables):
    session.filter(Filters(split="train"))
    places, note = session.search("ANSWER 12")
    want = [i for i, row in enumerate(tables["train"]["chosen"].to_pylist()) if "answer 12" in row]
    assert [session.map.index.place(i) for i in places] == [("train", i) for i in want]
    assert note == ""


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "s": st.one_of(st.none(), st.text(max_size=8)),
                "l": st.one_of(st.none(), st.lists(st.one_of(st.none(), st.text(max_size=6)), max_size=3)),
                "d": st.one_of(st.none(), st.lists(st.fixed_dictionaries({"c": st.text(max_size=6)}), max_size=3)),
            }
        ),
        min_size=1,
        max_size=8,
    ),
    needle=st.text(alphabet="abAB x.", min_size=1, max_size=2),
)
def test_contains_looks_into_every_string_at_any_depth(rows, needle):
    kind = pa.schema(
        [("s", pa.string()), ("l", pa.list_(pa.string())), ("d", pa.list_(pa.struct([("c", pa.string())])))]
    )
    table = pa.Table.from_pylist(rows, schema=kind)

    def strings(value):
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            for inner in value.values():
                yield from strings(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from strings(inner)

    want = [any(needle.lower() in text.lower() for text in strings(row)) for row in rows]
    assert texts.contains(table.slice(0), needle).tolist() == want
    if len(rows) > 1:
        assert texts.contains(table.slice(1), needle).tolist() == want[1:]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=3, max_size=9), st.integers(0, 1000))
def test_inside_is_the_even_odd_rule(corners, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 61, 80).astype(np.uint16), rng.integers(0, 61, 80).astype(np.uint16)
    extent = points.Extent((0, 1), (0, 1))
    positions = points.Positions(x, y, np.ones(80, bool), extent, 0.0, (1.0, 1.0))
    got = positions.inside(np.array(corners, float))
    for i in range(80):
        odd = False
        for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
            if (y0 > y[i]) != (y1 > y[i]) and x[i] < (x1 - x0) * (int(y[i]) - y0) / (y1 - y0) + x0:
                odd = not odd
        assert got[i] == odd


def test_spreading_ties_moves_only_ties_and_not_far():
    x = np.array([0, 100, 100, 100, 65534, 65535], np.uint16)
    y = np.array([0, 100, 100, 100, 65534, 65535], np.uint16)
    drawn = np.array([True] * 5 + [False])
    extent = points.Extent((0, 1), (0, 1))
    spread = points.Positions(x, y, drawn, extent, 0.5, (300.0, 300.0)).spread
    assert (spread.x[[0, 1, 4, 5]] == x[[0, 1, 4, 5]]).all()
    assert len({(int(a), int(b)) for a, b in zip(spread.x, spread.y, strict=True)}) == 6
    assert np.abs(spread.x[:5].astype(int) - x[:5]).max() <= 301


FILTERS = [
    Filters(),
    Filters(hidden={"region": frozenset({2, 3})}),
    Filters(mean=(4.0, 7.5), variance=(None, 1.0)),
    Filters(suspects=True, split="train"),
    Filters(hidden={"region": frozenset({0}), "margin": frozenset({1})}),
    Filters(polygon=((0, 20_000), (30_000, 20_000), (30_000, 60_000), (0, 60_000))),
    Filters(sources=("sharegpt", "truthful")),
]


@pytest.mark.parametrize("filters", FILTERS)
def test_python_code_gives_exactly_the_selection(session, tables, filters, tmp_path):
    session.filter(filters)
    code = export.code(session).python
    wanted = {split: [r for s, r in _selected(session) if s == split] for split in tables}
    # The code leaves the rows of each split in `ds`: note them before the next split is loaded, and at the end.
    note = "if 'ds' in dir(): ROWS[str(ds.split)] = ds['prompt'][:]\n"
    script = "ROWS = {}\n" + code.replace("ds = load_dataset", note + "ds = load_dataset") + note + "print(ROWS)"
    export.write(session, "rows", tmp_path)
    env = {"PATH": os.environ["PATH"], "HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    got = eval(done.stdout.strip().splitlines()[-1])
    for split, table in tables.items():
        prompts = table["prompt"].to_pylist()
        assert got.get(split, []) == [prompts[r] for r in wanted[split]]


@pytest.mark.parametrize("filters", FILTERS)
def test_sql_gives_exactly_the_selection(session, tables, filters, tmp_path, monkeypatch):
    duckdb = pytest.importorskip("duckdb", reason="duckdb runs the SQL: pip install -e '.[browser]'")
    monkeypatch.chdir(tmp_path)
    session.filter(filters)
    export.write(session, "rows", tmp_path)
    got = []
    for statement in export.code(session).sql.split(";")[:-1]:
        got.extend(duckdb.sql(statement).to_arrow_table()["prompt"].to_pylist())
    want = [tables[split]["prompt"][row].as_py() for split, row in _selected(session)]
    assert sorted(got) == sorted(want)


def _selected(session):
    return [session.map.index.place(i) for i in np.flatnonzero(session.selected())]


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_files_hold_exactly_the_selection(session, tables, tmp_path, kind):
    session.filter(Filters(mean=(6.0, None)))
    path = export.write(session, kind, tmp_path)
    rows = (
        pq.read_table(path).to_pylist()
        if kind == "parquet"
        else [eval(line, {"true": True, "false": False, "null": None}) for line in path.read_text().splitlines()]
    )
    order = sorted(_selected(session), key=lambda place: place[0] != "train")  # the greatest split comes first
    want = [tables[split].slice(row, 1).to_pylist()[0] for split, row in order]
    assert [row["prompt"] for row in rows] == [row["prompt"] for row in want]
    assert rows[0] == want[0]


def test_downloads_are_bounded(session, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "MAX_ROWS", 10)
    with pytest.raises(SpaceError, match="up to 10"):
        export.write(session, "parquet", tmp_path)
    monkeypatch.setattr(export, "MAX_ROWS", 10**6)
    monkeypatch.setattr(export, "MAX_BYTES", 1 << 10)
    with pytest.raises(SpaceError, match="narrow"):
        export.write(session, "jsonl", tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.stat().st_size]


def test_statistics_are_those_of_the_selection(session):
    session.filter(Filters(hidden={"region": frozenset({1})}))
    index, mask = session.map.index, session.selected()
    lines = statistics.summary(session)
    assert [line[0] for line in lines] == ["high mean low variance", "high variance", "all selected"]
    assert lines[-1][1] == f"{mask.sum():,}"
    assert lines[-1][4] == f"{index.variance[mask].mean(dtype=float):.4g}"
    assert lines[0][7] == f"{index.suspect[mask & (index.region == 0)].sum():,}"


def test_a_live_cut_is_the_packages_cut(session):
    recut.attempt(session, 0.4, 0.7)
    from datasets import Dataset

    ds = Dataset(session.map.index.numbers())
    want = DataMap.fit(ds, low_variance=0.4, low_mean=0.7)
    assert dict(zip(columns.REGIONS, session.cut.counts, strict=True)) == want.counts


def test_strategies_keep_what_select_keeps(session, folder):
    from datasets import load_dataset

    from hf_datamap.curate.select import select

    files = {split: sorted(map(str, (folder / "data").glob(f"{split}-*"))) for split in ("test", "train")}
    ds = load_dataset("parquet", data_files=files, cache_dir=str(folder / "cache"))
    ds = session.map.data_map.assign(ds)
    for name in ("high_mean_low_variance", "high_margin"):
        want = select(ds, name, 0.25)
        places = strategies.kept(session, name, 0.25)
        got = [session.map.index.place(i) for i in places]
        for split in ds:
            prompts = ds[split]["prompt"][:]
            assert [prompts[row] for s, row in got if s == split] == want[split]["prompt"][:]


def test_comparing_counts_every_shared_row_once(session, tmp_path, files):
    other = sources.open_folder(write_folder(tmp_path / "other", {"train": pairs_table(2000, 9)}))
    found = compare.against(session, other)
    assert found.shared == found.table.sum() == 2000
    here, there = session.map.index, other.index
    for i in found.changed[:50]:
        j = session.other.places[i]
        assert here.place(i) == there.place(j)
        assert here.region[i] != there.region[j]
    assert len(found.changed) == 2000 - np.trace(found.table)
    with pytest.raises(SpaceError, match="in common"):
        compare.against(session, sources.open_folder(write_folder(tmp_path / "no", {"dev": pairs_table(20)})))


def test_difference_puts_both_texts_back_together():
    one, other = "The quick brown fox jumps over it.", "The quick red fox leaps over  it. Yes"
    got = reader.difference(one, other)
    assert got["prefix"] == "The quick"
    assert got["prefix"] + "".join(t for kind, t in got["segments"] if kind != "other") == one
    assert got["prefix"] + "".join(t for kind, t in got["segments"] if kind != "one") == other
    assert reader.difference("a", None) is None


@pytest.mark.timeout(60)  # a comparison of all with all would take hours
def test_a_long_difference_stays_quick():
    assert reader.difference("a b c " * 50_000, "c b a " * 50_000)["cut"]


def test_equal_responses_prefer_none():
    assert reader._preferred([1.0, 1.0]) is None
    assert reader._preferred([0.0, 2.0, 1.0]) == 1
    assert reader._preferred([None, 2.0]) is None


@pytest.mark.parametrize(
    "name", ["", "a", "/a/b", "a/b/c", "../b", "a/..", "a/b.git", "a--b/c", "https://x/y", "a/b?c", "a/b\n", "é/b"]
)
def test_what_is_no_dataset_id(name):
    if name == "a/b\n":
        assert check_id(name) == "a/b"
    else:
        with pytest.raises(SpaceError, match="not a dataset id"):
            check_id(name)


def test_limits_refill():
    limits = Limits({"row": (2, 60_000)})
    limits.take("row", "one")
    limits.take("row", "one")
    limits.take("row", "other")
    with pytest.raises(SpaceError, match="too many"):
        [limits.take("row", "one") for _ in range(1000)]
    import time

    time.sleep(0.01)
    limits.take("row", "one")


def test_made_up_addresses_share_one_limit():
    limits = Limits({"open": (2, 1)})
    with pytest.raises(SpaceError, match="too many"):
        [limits.take("open", f"made-up-{k}") for k in range(100)]


def test_sessions_are_bounded_and_their_files_go(session, files):
    kept = Sessions(files, size=2)
    first = kept.start(session.map)
    name = first.publish(b"x")
    for _ in range(2):
        kept.start(session.map)
    assert not (files.folder / name).exists()
    with pytest.raises(SpaceError, match="ended"):
        kept.get(first.handle)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pa.table({"split": ["a"], "row": [0]}), "no column mean, variance"),
        (pa.table({"split": ["a"], "row": ["x"], "mean": [1.0], "variance": [1.0]}), "broken"),
        (pa.table({"split": [], "row": [], "mean": [], "variance": []}), "0 rows"),
    ],
)
def test_broken_indexes_are_refused(table, words):
    from mapspace.index import from_table

    with pytest.raises(SpaceError, match=words):
        from_table(table)


def test_broken_folders_are_refused(tmp_path):
    with pytest.raises(SpaceError, match="no folder"):
        sources.open_folder(tmp_path / "nothing")
    (tmp_path / "data").mkdir()
    with pytest.raises(SpaceError, match="no Alignment Data Map"):
        sources.open_folder(tmp_path)
    (tmp_path / "data" / "train-00000-of-00001.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(SpaceError, match="not a readable parquet"):
        sources.open_folder(tmp_path)


def test_plain_shows_what_is_hidden():
    assert texts.plain("a\u202eb\x00c\u200dd\ttab\r\nline") == "a⟨U+202E⟩b⟨U+0000⟩c\u200dd\ttab\nline"
    assert texts.plain("x" * 30, 10) == "x" * 10 + "\n… 20 more characters"
