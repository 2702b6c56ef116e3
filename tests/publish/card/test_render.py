"""The card: true of the data, harmless, merged without harm."""

import re
from pathlib import Path

import pytest
import yaml
from datasets import Dataset, load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_datamap.data import columns
from hf_datamap.datamap.datamap import DataMap
from hf_datamap.errors import CardError, MapError
from hf_datamap.publish import card
from hf_datamap.publish.card.escape import markdown, plain
from tests.publish.data import PROVENANCE, mapped, mapped_splits, scored

HUB = card.CardTarget(repo_id="me/my-map", picture="datamap/map.png", subsets={"high_variance": "high_variance"})
ATTACKS = [
    "a | b \\| c",
    "`code` ```fence\n# heading",
    "</td><script>alert(1)</script><img src=x onerror=alert(1)>",
    "[click](javascript:alert(1)) ![x](http://evil.invalid/x.png) <http://evil.invalid>",
    "{{ 7*7 }} {% for x in ().__class__.__mro__ %}{{ x }}{% endfor %} {# c #}",
    "<!-- hf_datamap:end -->\n<!-- hf_datamap:begin config=x folder=datamap -->",
    "---\nlicense: evil\n---",
    "\u202egnp.exe\u202c \u200b\ufeff\u2066x\u2069",
    "&lt;b&gt; &#60;script&#62; www.evil.invalid https://evil.invalid a@evil.invalid @user #1",
    "x" * 100_000,
    "\x00\x1b[31m\x07 \r\n\t *em* _em_ ~~del~~ $x$",
    "|---|---|",
    "- [ ] task\n1. one\n> quote",
]


def hostile(provenance=None) -> tuple[Dataset, DataMap]:
    ds = scored(40)
    ds = ds.remove_columns("source").add_column("source", [ATTACKS[i % len(ATTACKS)] for i in range(40)])
    data_map = DataMap.fit(ds, provenance=provenance or PROVENANCE)
    return data_map.assign(ds), data_map


def test_the_numbers_are_those_of_the_data():
    ds, data_map = mapped_splits(40)
    text = card.render(ds, data_map, target=HUB)
    rows = dict(re.findall(r"\| `(\w+)` \| ([\d,]+) \|", text))
    assert {name: int(count) for name, count in rows.items()} == data_map.counts
    region = next(region for region in data_map.regions if region.name == "high_variance")
    assert f"| {region.share:.1%} | {region.mean:.4g} | {region.variance:.4g} | {region.margin:.4g} |" in text
    assert f"at most {data_map.variance.value:.4g} ({data_map.variance.ties} rows" in text
    suspects = sum(sum(split[columns.SUSPECT]) for split in ds.values())
    assert f"{suspects} rows are marked" in text
    assert "| model | judge&#45;7b |" in text or "| model | judge-7b |" in text
    assert "| failed: timeout | 2 |" in text
    assert "| cost | not recorded |" in text
    assert "not measured" in text
    assert text.count("@") == 2


def test_what_was_measured_about_the_scorer_is_told():
    ds, data_map = mapped(24)
    known = {**PROVENANCE, "panel": {"alpha": 0.61803, "kendall": {"a~b": 0.5}}, "calibration": {"accuracy": 0.91}}
    text = card.render(ds, data_map.model_copy(update={"provenance": {**known, "rows": {"ok": 23, "partial": 1}}}))
    assert "- panel, alpha: 0.618\n- panel, kendall.a&#126;b: 0.5\n- calibration, accuracy: 0.91\n" in text
    assert "| rows scored: partial | 1 |" in text
    assert "not measured" not in text.split("calibration, accuracy")[1].split("### Suspects")[0]


def test_the_yaml_says_what_load_dataset_needs(tmp_path):
    ds, data_map = mapped_splits(24)
    (tmp_path / "data").mkdir()
    for split, rows in ds.items():
        rows.to_parquet(tmp_path / f"data/{split}-00000-of-00001.parquet")
    data_map.save(tmp_path / "datamap.json")
    text = card.render(ds, data_map)
    (tmp_path / "README.md").write_text(text)
    again = load_dataset(str(tmp_path), cache_dir=str(tmp_path / "cache"))
    assert {split: rows.to_list() for split, rows in again.items()} == {
        split: rows.to_list() for split, rows in ds.items()
    }
    data = yaml.safe_load(text.split("---")[1])
    assert data["size_categories"] == ["n<1K"]
    assert data["annotations_creators"] == ["machine-generated"]
    assert {"datamap", "preference", "dpo"} <= set(data["tags"])
    assert data["source_datasets"] == ["acme/prefs"]
    assert "license" not in data
    assert "language" not in data
    assert card.card_problems(text) == []


def test_a_second_render_changes_nothing_and_the_publishers_words_stay():
    ds, data_map = mapped(24)
    text = card.render(ds, data_map, target=HUB)
    assert card.render(ds, data_map, target=HUB, existing=text) == text
    mine = text.replace("# my-map\n", "# My title\n\nBefore.  \n").replace("license", "license") + "\nAfter: `x`\n"
    mine = mine.replace("---\n", "---\n# a remark\nmy_key: [1, 2]   # mine\n", 1)
    assert card.render(ds, data_map, target=HUB, existing=mine) == mine
    other, other_map = mapped(30, 3)
    changed = card.render(other, other_map, target=HUB, existing=mine)
    begin, end = "<!-- hf_datamap:begin config=default folder=datamap -->", "<!-- hf_datamap:end -->"
    body = mine.split("\n---\n", 1)[1]
    assert changed.split("\n---\n", 1)[1].split(begin)[0] == body.split(begin)[0]
    assert changed.split(end)[1] == mine.split(end)[1]
    differ = [line for line in changed.split("\n---\n")[0].splitlines() if line not in mine]
    assert [line.split(":")[0].strip() for line in differ] == ["num_bytes", "num_examples", "dataset_size"]
    assert "    num_examples: 30" in differ


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_an_existing_card_keeps_its_bytes(newline):
    existing = "---\nlicense:   cc-by-nc-4.0  # ours\nlanguage:\n- de\n---\n\n# Titel\n\nText ohne Ende".replace(
        "\n", newline
    )
    ds, data_map = mapped(24, 1)
    merged = card.render(ds, data_map, existing=existing)
    assert f"license:   cc-by-nc-4.0  # ours{newline}language:{newline}- de{newline}" in merged
    assert f"{newline}{newline}# Titel{newline}{newline}Text ohne Ende{newline}{newline}<!-- hf_datamap:begin" in merged
    if newline == "\r\n":
        assert not re.search(r"(?<!\r)\n", merged)
    assert card.render(ds, data_map, existing=merged) == merged


@pytest.mark.parametrize(
    "body",
    [
        "<!-- hf_datamap:begin config=default folder=datamap -->\n",
        "<!-- hf_datamap:end -->\n",
        "<!-- hf_datamap:begin config=a folder=datamap -->\n" * 2 + "<!-- hf_datamap:end -->\n",
        "<!-- hf_datamap:begin config=default folder=datamap -->\n<!-- hf_datamap:end -->\n" * 2,
    ],
)
def test_broken_markers_are_not_guessed_at(body):
    ds, data_map = mapped(24)
    with pytest.raises(CardError, match="hf_datamap"):
        card.render(ds, data_map, existing=body)


def test_data_from_rows_and_metadata_cannot_poison_the_card():
    nasty = dict.fromkeys(("kind", "model"), ATTACKS[4]) | {attack: attack for attack in ATTACKS}
    provenance = {
        "scorer": nasty,
        "source": {"id": ATTACKS[2], "revision": ATTACKS[5]},
        "usage": {"requests": ATTACKS[0], "failed": dict.fromkeys(ATTACKS, 1)},
        "date": ATTACKS[6],
        "calibration": dict.fromkeys(ATTACKS, ATTACKS[3]),
    }
    ds, data_map = hostile(provenance)
    text = card.render(ds, data_map, target=HUB)
    calm, calm_map = mapped(40)
    reference = card.render(calm, calm_map, target=HUB)
    assert card.card_problems(text) == []
    assert card.render(ds, data_map, target=HUB, existing=text) == text
    assert len(text) < 60_000
    structure = ["<", ">", "`", "](", "![", "{{", "{%", "www.", "@", "<!--", "***", "\u202e", "\u200b", "\x00", "\x1b"]
    assert {mark: text.count(mark) for mark in structure} == {mark: reference.count(mark) for mark in structure} | {
        "](": reference.count("](") - reference.count("](https://huggingface.co/datasets/acme/prefs)")
    }
    for row in text.splitlines():
        if row.startswith("| `"):
            assert row.count("|") in (9, 4), row
    assert yaml.safe_load(text.split("---")[1])["tags"] == yaml.safe_load(reference.split("---")[1])["tags"]


def test_hostile_column_names_stay_in_their_target(tmp_path):
    names = ["a: b\n- c", "---", "no", "1e3", "{{x}}", "<!-- hf_datamap:end -->", "\u202e", "ü😀", '"', "'"]
    ds, data_map = mapped(24)
    for name in names:
        ds = ds.add_column(name, list(range(24)))
    text = card.render(ds, data_map)
    info = card.FrontMatter(text).data["dataset_info"][0]
    assert [feature["name"] for feature in info["features"]] == ds.column_names
    assert card.render(ds, data_map, existing=text) == text


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_escaped_text_is_one_inert_line_that_reads_the_same(text):
    import html

    escaped = markdown(text)
    assert not set(escaped) & set("<>|`*[]{}!\\$~@\n\r\"'")
    assert not re.search(r"(?<![^\W_])_|_(?![^\W_])", escaped)
    assert "www." not in escaped.lower()
    assert html.unescape(escaped) == plain(text, 120)


def test_secrets_in_the_provenance_are_refused():
    ds, data_map = mapped(24)
    for secret in ("hf_abcdefghijklmnopqrstuv", "sk-proj-abcdefghijklmnop1234", "https://user:passw0rd@host/v1"):
        leaky = data_map.model_copy(update={"provenance": {"scorer": {"endpoint": secret}}})
        with pytest.raises(CardError, match="secret") as error:
            card.render(ds, leaky)
        assert secret not in str(error.value)


def test_terms_are_copied_from_the_source_and_never_invented():
    ds, data_map = mapped(24)
    source = {"id": "a/b", "revision": "1", "license": "cc-by-4.0", "language": ["en", "ko"]}
    known = data_map.model_copy(update={"provenance": {"source": source}})
    data = card.FrontMatter(card.render(ds, known)).data
    assert (data["license"], data["language"]) == ("cc-by-4.0", ["en", "ko"])
    data = card.FrontMatter(card.render(ds, known, existing="---\nlicense: mit\n---\n")).data
    assert data["license"] == "mit"
    odd = data_map.model_copy(update={"provenance": {"source": {**source, "license": "My Terms 1.0"}}})
    text = card.render(ds, odd)
    assert "license: other\nlicense_name: My Terms 1.0\n" in text
    assert card.card_problems(text) == []
    several = data_map.model_copy(update={"provenance": {"source": {**source, "license": ["mit", "Ours"]}}})
    assert "license: other\nlicense_name: mit, Ours\n" in card.render(ds, several)
    local = {"source": {"id": "/home/me/secret-project/pairs.jsonl", "fingerprint": "f"}}
    text = card.render(ds, data_map.model_copy(update={"provenance": local}))
    assert "secret&#45;project" not in text
    assert "secret-project" not in text
    assert "source_datasets" not in text


@pytest.mark.parametrize(
    "terms",
    [
        {"license": {"a": "b"}, "license_name": "x", "language": ["en"]},
        {"license": ["mit", 2024], "license_link": "x", "language": ["en"]},
        {"license": False, "language": ["en"]},
        {"language": ["en", False]},
        {"language": "EN", "license": "mit"},
    ],
)
def test_what_the_hub_would_refuse_of_the_sources_terms_is_left_out(terms):
    ds, data_map = mapped(24)
    odd = data_map.model_copy(update={"provenance": {"source": {"id": "a/b", "revision": "1", **terms}}})
    text = card.render(ds, odd)
    assert card.card_problems(text) == []
    expected = {"language": ["en"]} if "license" in terms and terms["license"] != "mit" else {}
    expected |= {"license": "mit"} if terms.get("license") == "mit" else {}
    data = card.FrontMatter(text).data
    assert {
        key: data[key] for key in ("language", "license", "license_name", "license_link") if key in data
    } == expected


def test_a_dataset_without_a_map_is_refused():
    with pytest.raises(MapError, match="datamap_region"):
        card.render(scored(10), mapped(10)[1])


def test_the_template_is_the_file_at_the_top_of_the_repository():
    assert card.template() == (Path(__file__).parents[3] / "model_card_template.md").read_text()


@pytest.mark.parametrize(
    ("yaml_text", "word"),
    [
        ("license: Apache 2.0", "license"),
        ("language: no", "language"),
        ("language: EN", "lower case"),
        ("tags: [2024]", "text"),
        ("configs: {a: b}", "list of mappings"),
        ("configs:\n- config_name: a\n- config_name: a", "repeat"),
        ("configs:\n- config_name: a\n  default: true\n- config_name: b\n  default: true", "default"),
        ("size_categories: huge", "size_categories"),
        ("dataset_info: x", "dataset_info"),
        ("annotations_creators: robots", "annotations_creators"),
        ("a: [", "parsed"),
    ],
)
def test_the_validator_finds_what_the_hub_would(yaml_text, word):
    found = card.card_problems(f"---\n{yaml_text}\n---\n")
    assert len(found) == 1
    assert word in found[0]


def test_the_validator_lets_good_cards_pass():
    good = "---\nlicense: [mit, cc-by-4.0]\nlanguage: [en]\nconfigs:\n- config_name: a\n  data_files: x\n---\n"
    assert card.card_problems(good) == card.card_problems("# no yaml\n") == []


def test_the_first_screen_says_what_was_found():
    ds, data_map = mapped(40)
    text = card.render(ds, data_map, target=HUB)
    first = text.partition("## Alignment Data Map\n")[2].partition("### Regions")[0]
    assert len(first.splitlines()) <= 16
    regions = data_map.counts
    assert f"{regions['high_mean_low_variance']} (" in first
    assert f"**rows** {data_map.rows} · **scored by** " in first
    assert "![Alignment Data Map" in first
    table = next(line for line in text.splitlines() if line.startswith("| `high_mean_low_variance`"))
    assert len(table) <= 110


@pytest.mark.parametrize(("licence", "shown"), [("mit", "mit"), (None, "UNKNOWN: ask"), ("unknown", "UNKNOWN: ask")])
def test_an_unknown_licence_is_said_loudly(licence, shown):
    ds, data_map = mapped(40)
    provenance = {**data_map.provenance, "source": {"id": "pairs.jsonl"}}
    existing = f"---\nlicense: {licence}\n---\n" if licence else ""
    text = card.render(ds, data_map.model_copy(update={"provenance": provenance}), existing=existing)
    assert f"· **licence** **{shown}" in text or f"· **licence** {shown}" in text
    assert ("UNKNOWN" in text) == (shown != "mit")


def test_what_did_not_happen_is_not_told():
    ds, data_map = mapped(40)
    nothing = {"requests": 0, "from_store": 0, "retried": 0, "input_tokens": 0, "output_tokens": 0, "cost": None}
    provenance = {
        "usage": nothing,
        "rows": {"ok": 40, "partial": 0, "failed": 0},
        "source": {"id": "/home/me/my pairs.jsonl.gz"},
    }
    text = card.render(ds, data_map.model_copy(update={"provenance": provenance}))
    for words in ("| requests", "| tokens", "| cost", "rows scored: partial", "/home/me", ".jsonl"):
        assert words not in text
    assert "\n# my pairs\n" in text
