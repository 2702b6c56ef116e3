"""Cards and maps that somebody else wrote: read within bounds, confined to their folder, kept as written."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

import hf_datamap as dm
from hf_datamap.data.card_yaml import parse_yaml
from hf_datamap.data.load import load_source
from hf_datamap.errors import CardError, MapError, SourceError
from hf_datamap.publish.card import card_problems
from hf_datamap.publish.card.frontmatter import FrontMatter
from hf_datamap.publish.folder import check_folder, write_folder
from tests.publish.test_folder import JOB, mapped

ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
MERGES = "a0: &a0 {k0: 1}\n" + "".join(
    f"a{i}: &a{i}\n  <<: [*a{i - 1}, *a{i - 1}, *a{i - 1}]\n  k{i}: 1\n" for i in range(1, 30)
)
BROKEN = {
    "bomb": ALIASES,
    "merge bomb": MERGES,
    "itself": "a: &a\n  b: *a\n",
    "a list in itself": "tags: &t [*t]\n",
    "deep": "a: " + "[" * 5_000 + "]" * 5_000,
    "deep blocks": "".join(" " * i + "a:\n" for i in range(3_000)),
    "a date that is none": "date: 2024-13-45\n",
    "a time that is none": "date: 2024-02-30 25:61:61\n",
    "a number of many digits": "n: " + "9" * 10_000,
    "an unknown anchor": "a: *b\n",
    "python": "a: !!python/object/apply:os.system [x]\n",
    "long": "a: " + "x" * 9_000_000,
    "keys that cannot be keys": "? [a]\n: b\n",
    "a list": "- a\n",
    "configs 5": "configs: 5\n",
    "configs text": "configs: [a]\n",
    "configs deep": "configs:\n- config_name: {a: b}\n",
    "info 5": "dataset_info: 5\nconfigs: x\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_hostile_card_is_refused_before_work_and_in_no_time(name, tmp_path):
    card = f"---\n{BROKEN[name]}\n---\nbody\n"
    began = time.monotonic()
    assert card_problems(card)
    ds, data_map = mapped()
    out = tmp_path / "m"
    write_folder(ds, data_map, out)
    (out / "README.md").write_text(card)
    with pytest.raises(SourceError, match="card"):
        check_folder(out, JOB)
    with pytest.raises(CardError):
        write_folder(ds, data_map, out)
    with contextlib.suppress(SourceError):  # or it is read as if there were no card
        assert load_source(str(out))["prompt"] == ds["prompt"]
    assert time.monotonic() - began < 30  # 40 s and more for the bombs when unbounded


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="&*<>{}[]:-?,!|'\"#%@ \nabno019~.", max_size=200))
def test_any_text_is_parsed_or_refused(text):
    try:
        parse_yaml(text)
    except CardError:
        return
    for key in ("tags", "configs"):
        try:
            front = FrontMatter(f"---\n{text}\n---\n")
            front.set_items(key, ["datamap"], str)
        except (CardError, TypeError):
            continue
        assert "datamap" in FrontMatter(front.text()).data[key]


@pytest.mark.parametrize(
    "written",
    ["tags: [a, on, yes]", "tags: [a, on, yes,]", "tags:\n- a\n- on\n- yes", "tags: [ 'a', on , yes ] # mine",
     "tags:\n  - a\n  - on\n  - 'yes'"],
)  # fmt: skip
def test_a_publishers_tags_stay_as_written(written, tmp_path):
    ds, data_map = mapped()
    out = tmp_path / "m"
    write_folder(ds, data_map, out)
    (out / "README.md").write_text(f"---\nlicense: mit\n{written}\nother: off\n---\n# Mine\n")
    for _ in range(2):
        write_folder(ds, data_map, out)
        text = (out / "README.md").read_text()
        assert text.startswith(f"---\nlicense: mit\n{written.partition(' # ')[0].removesuffix(']').rstrip(', ')}")
        assert FrontMatter(text).data["tags"][:4] == ["a", "on", "yes", "datamap"]
        assert "other: off\n" in text
        assert not [line for line in card_problems(text) if "tags" in line]


@pytest.mark.parametrize(
    "pattern",
    ["../secret.csv", "/etc/passwd", "https://example.org/x.csv", "data/../../secret.csv", "hf://datasets/a/b/x.csv",
     "file:///etc/passwd", "~/x.csv", "zip://*.csv::../secret.zip", "..\\secret.csv"],
)  # fmt: skip
@pytest.mark.parametrize(
    "form",
    ["data_files: {}", "data_files: [{}]", "data_files: [{{split: train, path: {}}}]",
     "data_files: [{{split: train, path: [x.csv, {}]}}]",
     "data_files: {{train: {}}}", "data_dir: {}\n  data_files: x.csv"],
)  # fmt: skip
def test_a_folders_card_names_files_of_the_folder_only(pattern, form, tmp_path):
    (tmp_path / "secret.csv").write_text("prompt,chosen,rejected\ntop,secret,x\n")
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "x.csv").write_text("prompt,chosen,rejected\na,b,c\n")
    (folder / "README.md").write_text(
        f"---\nconfigs:\n- config_name: default\n  {form.format(json.dumps(pattern))}\n---\n"
    )
    with pytest.raises(SourceError, match="outside of its folder"):
        load_source(str(folder))


@pytest.mark.parametrize("depth", [100, 2_000, 100_000])
@pytest.mark.parametrize("shape", ['{"provenance": %s}', "%s"])
def test_a_deep_map_is_refused(depth, shape, tmp_path):
    path = tmp_path / "datamap.json"
    for opening, closing in (('{"a":', "}"), ("[", "]")):
        path.write_text(shape % (opening * depth + "1" + closing * depth))
        with pytest.raises(MapError, match="nested"):
            dm.DataMap.load(path)


@pytest.mark.parametrize("column", ["datamap_suspect", "datamap_margin", "datamap_agreement"])
def test_a_column_of_the_source_with_the_name_of_one_of_ours(column, tmp_path):
    ds, data_map = mapped()
    rows: Dataset = ds.remove_columns([column] if column in ds.column_names else [])
    rows = rows.add_column(column, ["maybe"] * len(rows))
    with pytest.raises(MapError, match=f"column {column} of type string"):
        write_folder(rows, data_map, tmp_path / "m")
    assert not Path(tmp_path / "m").exists()
