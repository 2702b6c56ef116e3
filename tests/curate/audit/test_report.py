"""Gates, reports and what hostile text does to them (nothing)."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import given
from hypothesis import strategies as some

from hf_datamap.curate.audit import audit, parse_gates
from hf_datamap.curate.audit.render import inert
from hf_datamap.errors import GateError, MapError
from tests.curate.audit import planted

HOSTILE = (
    "</table><script>alert(1)</script> | [x](javascript:1) ]]>&#x0; \x00\x1b[31m\u202e @all `#1` $$ "
    '![i](http://e.vil) "'
)


def hostile() -> Dataset:
    ds, _ = planted.pairs(120, 0.1)
    data = ds.to_dict()
    for name in ("prompt", "chosen", "rejected"):
        data[name] = [HOSTILE + text + HOSTILE for text in data[name]]
    data["rejected"][3] = data["chosen"][3]
    data["source"] = [HOSTILE, "b"] * 60
    return Dataset.from_dict(data)


def test_gates_are_read():
    gates = parse_gates("suspect_rate>0.05, inversion,duplicates > 1%")
    assert [(gate.name, gate.least) for gate in gates] == [
        ("suspect_rate", 0.05),
        ("inversion", 0.0),
        ("duplicates", 0.01),
    ]


@pytest.mark.parametrize(
    "text", ["", "nonsense>1", "suspect_rate<0.05", "suspect_rate>x", "suspect_rate>>1", "empty>1e"]
)
def test_wrong_gates_are_refused(text):
    with pytest.raises(GateError):
        parse_gates(text)


@given(some.text(max_size=30))
def test_gates_parse_or_refuse(text):
    with suppress(GateError):
        assert parse_gates(text)


def test_gates_decide():
    ds, _ = planted.pairs(400, 0.1)
    strict, loose = (audit(ds, fail_on=f"suspect_rate>{share}", read_texts=False) for share in (0.01, 0.5))
    assert not strict.passed
    assert loose.passed
    assert audit(ds, fail_on="empty", read_texts=False).passed is False  # not measured is not passed


def test_the_same_data_give_the_same_report():
    ds, _ = planted.pairs(150, 0.1)
    one, two = audit(ds), audit(Dataset.from_dict(ds.to_dict()))
    assert one.to_json() == two.to_json()
    assert one.to_markdown() == two.to_markdown()
    assert one.to_junit() == two.to_junit()


def test_json_is_complete_and_plain():
    report = audit(planted.pairs(150, 0.1)[0], fail_on="suspect_rate>0.5")
    told = json.loads(report.to_json())
    assert told["passed"] is True
    assert told["measures"]["suspect_rate"] == pytest.approx(len(report.suspects) / 150)
    assert [suspect["row"] for suspect in told["suspects"]] == report.suspects.rows.tolist()
    assert told["gates"][0]["failed"] is False


def test_markdown_says_what_was_found():
    text = audit(planted.pairs(150, 0.1)[0]).to_markdown()
    assert text.startswith("# Audit: ")
    for piece in ("## Suspects", "## Measures", "## Not checked", "S\\_corr", "crowds near 1"):
        assert piece in text


def test_hostile_text_stays_text():
    text = audit(hostile()).to_markdown()
    assert "<script" not in text
    assert "</table" not in text
    assert not re.search(r"(?<!\\)\]\(", text)
    assert "\x00" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "@all" not in text
    assert "http://e" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    width: int | None = None
    for line in text.splitlines():
        if not line.startswith("|"):
            width = None
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        assert width in (None, cells)
        width = cells
    assert tables


def test_hostile_text_leaves_junit_well_formed():
    report = audit(hostile())
    root = ET.fromstring(report.to_junit())
    cases = {case.get("name"): case.find("failure") for case in root.iter("testcase")}
    assert cases["identical"] is not None
    assert cases["empty"] is None
    assert int(root.get("failures")) == sum(failure is not None for failure in cases.values())
    json.loads(report.to_json())


def test_junit_of_gates():
    root = ET.fromstring(audit(planted.pairs(100)[0], fail_on="suspect_rate>0.5,identical").to_junit())
    assert [case.get("name") for case in root.iter("testcase")] == ["suspect_rate", "identical"]
    assert root.get("failures") == "0"


@given(some.text(max_size=80))
def test_inert_text_has_one_line_and_no_markup(text):
    shown = inert(text)
    assert "\n" not in shown
    assert "<" not in shown
    assert not re.search(r"(?<!\\)(?:\\\\)*[\[\]`|]", shown)


def test_suspects_are_annotated():
    ds, _ = planted.pairs(200, 0.1)
    report = audit(ds, read_texts=False)
    marked = report.annotate(ds)
    assert np.flatnonzero(marked["datamap_suspect"]).tolist() == sorted(report.suspects.rows)
    assert marked.features["datamap_suspect"].dtype == "bool"
    assert marked.remove_columns("datamap_suspect").to_dict() == ds.to_dict()
    with pytest.raises(MapError):
        report.annotate(ds.select(range(10)))


def test_suspects_of_splits():
    one, _ = planted.pairs(200, 0.1)
    two, _ = planted.pairs(100, 0.1, seed=5)
    both = DatasetDict(train=one, test=two.map(lambda row: {"prompt": "Other: " + row["prompt"]}))
    report = audit(both, read_texts=False)
    marked = report.annotate(both)
    for suspect in report.suspects:
        assert marked[suspect.split]["datamap_suspect"][suspect.index]
    assert sum(map(sum, (part["datamap_suspect"] for part in marked.values()))) == len(report.suspects)


def test_streams_and_empty_data_are_refused():
    with pytest.raises(MapError, match="IterableDataset"):
        audit(planted.pairs(20)[0].to_iterable_dataset())
    with pytest.raises(MapError, match="no rows"):
        audit(planted.pairs(20)[0].select([]))


def test_only_what_is_worse_than_the_baseline_fails(tmp_path):
    ds, _ = planted.pairs(300, 0.15)
    gates = "suspect_rate>0.01,duplicates"
    first = audit(ds, fail_on=gates)
    assert not first.passed
    path = tmp_path / "report.json"
    path.write_text(first.to_json())
    assert audit(ds, fail_on=gates, baseline=path).passed
    assert audit(ds, fail_on=gates, baseline=first.to_dict()).passed
    worse = Dataset.from_dict({name: [*ds[name], ds[name][0]] for name in ds.column_names})
    again = audit(worse, fail_on=gates, baseline=path)
    assert {gate.name for gate in again.gates if gate.failed} == {"duplicates"}


def test_alarms_of_the_baseline_fail_no_audit():
    data = planted.texts(100)
    data["rejected"][5] = data["chosen"][5]
    ds = Dataset.from_dict(data)
    first = audit(ds)
    assert not first.passed
    again = audit(ds, baseline=first.to_dict())
    assert again.passed
    assert again.alarms
    sarif = json.loads(again.to_sarif())["runs"][0]["results"]
    assert next(result for result in sarif if result["ruleId"] == "identical")["suppressions"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"measures": [1]}'])
def test_a_baseline_that_is_no_report_is_refused(tmp_path, text):
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(GateError, match="no report"):
        audit(planted.pairs(20)[0], read_texts=False, baseline=path)


def test_sarif_names_rules_levels_and_lines():
    report = audit(hostile())
    log = json.loads(report.to_sarif("me/pairs"))
    run = log["runs"][0]
    assert log["version"] == "2.1.0"
    assert {result["ruleId"] for result in run["results"]} <= {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert {result["level"] for result in run["results"]} <= {"error", "warning", "note"}
    identical = next(result for result in run["results"] if result["ruleId"] == "identical")
    place = identical["locations"][0]["physicalLocation"]
    assert place["region"]["startLine"] == 4
    assert place["artifactLocation"]["uri"] == "me/pairs"
