"""Two releases, and repairs between them."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from hf_datamap.curate.audit import audit, fix
from hf_datamap.errors import DataMapError, MapError
from tests.curate.audit import planted


def test_a_release_equals_itself():
    ds, _ = planted.pairs(100)
    found = audit(ds, against=ds).comparison
    assert (found.added, found.removed, found.changed, found.unchanged) == (0, 0, 0, 100)
    assert found.moved == 0
    assert found.relabelled == 0
    assert all(drift.p > 0.99 for drift in found.drifts)
    assert sum(map(sum, found.regions)) == 100


def test_rows_added_removed_changed():
    ds, _ = planted.pairs(100)
    data = ds.select(range(10, 100)).to_dict()
    data["prompt"].append("A new prompt?")
    for name in set(data) - {"prompt"}:
        data[name].append(data[name][0])
    data["chosen"][5] = "Another answer."
    data["chosen"][6], data["rejected"][6] = data["rejected"][6], data["chosen"][6]
    report = audit(Dataset.from_dict(data), against=ds, fail_on="removed>5%,changed>5%,label_drift>0")
    found = report.comparison
    assert (found.added, found.removed, found.changed, found.unchanged) == (1, 10, 2, 88)
    assert found.relabelled == 2  # another text is preferred: a new one, and the one that was rejected
    assert [gate.failed for gate in report.gates] == [True, False, True]


def test_order_of_rows_does_not_matter():
    ds, _ = planted.pairs(80)
    found = audit(ds.shuffle(seed=1), against=ds).comparison
    assert (found.added, found.removed, found.changed) == (0, 0, 0)


def test_repeated_prompts_are_matched_in_order():
    ds = Dataset.from_dict({"prompt": ["a b", "a b", "c d"], "chosen": ["x", "y", "z"], "rejected": ["1", "2", "3"]})
    found = audit(ds.select([0, 1]), against=ds).comparison
    assert (found.removed, found.unchanged) == (1, 2)


def test_drift_of_scores_and_regions():
    ds, _ = planted.pairs(300)
    scores = np.array(ds["datamap_scores"])
    scores[:, 0] += np.random.default_rng(0).normal(3, 2, 300)
    report = audit(planted.scored(planted.texts(300), scores), against=ds)
    assert report.measures["region_drift"] > 0.2
    assert report.measures["score_drift"] > 0.3
    assert report.finding("drift").severity == "warning"
    table = report.to_markdown()
    assert "Regions of common rows" in table
    assert report.comparison.unchanged == 300  # texts and labels: nothing needs to be scored again


def test_releases_that_cannot_be_read_are_not_compared():
    with pytest.raises(MapError, match="older release"):
        audit(planted.pairs(20)[0], against=Dataset.from_dict({"a": [1]}))


def test_removing_suspects_and_auditing_again():
    ds, _ = planted.pairs(500, 0.1)
    report = audit(ds)
    done = fix(ds, report)
    assert len(done.kept) + len(done.removed) == 500
    assert len(done.removed) == len(report.suspects)
    assert set(done.kept["datamap_fix"]) == {"kept"}
    assert set(done.removed["datamap_fix"]) == {"removed: suspects"}
    again = audit(done.kept)
    assert again.measures["suspect_rate"] < report.measures["suspect_rate"] / 3


def test_flipping_suspects():
    ds, _ = planted.pairs(300, 0.1)
    ds = ds.add_column("chosen_model", ["a"] * 300).add_column("rejected_model", ["b"] * 300)
    report = audit(ds)
    done = fix(ds, report, action="flip")
    row = report.suspects[0].row
    before, after = ds[row], done.kept[row]
    assert after["chosen"] == before["rejected"]
    assert after["rejected"] == before["chosen"]
    assert (after["chosen_model"], after["rejected_model"]) == ("b", "a")
    assert after["datamap_scores"] == before["datamap_scores"][::-1]
    assert after["datamap_fix"] == "flipped: suspects"
    assert len(done.removed) == 0
    assert done.kept.column_names == [*ds.column_names, "datamap_fix"]
    assert audit(done.kept).measures["suspect_rate"] < report.measures["suspect_rate"] / 3


def test_other_checks_are_repaired_by_removal():
    ds, _ = planted.pairs(100)
    data = ds.to_dict()
    data["rejected"][4] = data["chosen"][4]
    data["prompt"][9] = data["prompt"][8]
    data["rejected"][9] = ""
    ds = Dataset.from_dict(data)
    done = fix(ds, audit(ds), checks=("identical", "duplicates", "empty"))
    assert done.counts == {"kept": 98, "removed: identical": 1, "removed: duplicates, empty": 1}
    assert audit(done.kept).passed


def test_repairs_of_splits():
    one, _ = planted.pairs(100, 0.1)
    both = DatasetDict(train=one, test=Dataset.from_dict({**one.select(range(5)).to_dict()}))
    done = fix(both, audit(both), checks=("leaks",))
    assert (len(done.kept["train"]), len(done.kept["test"]), len(done.removed["test"])) == (100, 0, 5)


def test_flipping_needs_chosen_and_rejected():
    labels = np.tile([1.0, 0.0], (60, 1))
    scores = labels.copy()
    scores[:5] = scores[:5, ::-1]
    ds = planted.scored(
        {"prompt": planted.texts(60)["prompt"], "responses": [["a", "b"]] * 60, "ratings": labels.tolist()}, scores
    )
    report = audit(ds, read_texts=False)
    assert len(report.suspects) == 5
    with pytest.raises(DataMapError, match="chosen and rejected"):
        fix(ds, report, action="flip")
    with pytest.raises(DataMapError, match="no check"):
        fix(ds, report, checks=("nonsense",))
    with pytest.raises(MapError):
        fix(ds.select(range(3)), report)
