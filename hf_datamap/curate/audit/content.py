"""Findings about texts: broken responses, duplicates, leaks between splits, swapped responses, length bias."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from hf_datamap.curate.audit import duplicates, swapped
from hf_datamap.curate.audit import statistics as st
from hf_datamap.curate.audit.report import Ledger
from hf_datamap.curate.audit.texts import Texts
from hf_datamap.data.view import Material

_NEAR: Final = 0.8
_NEAR_WORDS: Final = 12
_SHOWN: Final = 160
_LEAST_PAIRS: Final = 30
_TRUNCATED: Final = "They end in the middle of a sentence or of a code block: often a limit on new tokens."
_REPETITIVE: Final = "More than six in ten four-word sequences are repeats."
_REFUSED: Final = (
    "Fine in safety data. Elsewhere a preferred refusal teaches refusing, and one on both sides teaches nothing."
)
_FOREIGN: Final = "Another language than the prompt and a sibling response, and the prompt asks for none."


def examine(material: Material, texts: Texts, ledger: Ledger, shown: int) -> None:
    """Write down everything that the texts alone tell."""
    look = _Lookup(material, shown)
    _unreadable(material, texts, ledger)
    _broken(texts, ledger, look)
    _identical(material, texts, ledger, look)
    _duplicates(material, texts, ledger, look)
    _swapped(texts, ledger, look)


class _Lookup:
    """Short pieces of text for evidence."""

    def __init__(self, material: Material, shown: int) -> None:
        self.material, self.shown = material, shown

    def rows(self, rows: Iterable[int], **more: np.ndarray) -> list[dict[str, Any]]:
        """The first rows, with the end of the prompt and what ``more`` says about each."""
        return [
            {
                **self._place(row),
                "prompt": self._prompt(row),
                **{name: values[row].item() for name, values in more.items()},
            }
            for row in list(map(int, rows))[: self.shown]
        ]

    def responses(self, texts: Texts, flags: np.ndarray) -> list[dict[str, Any]]:
        """The first flagged responses, with how they begin and end."""
        found = []
        for k in np.flatnonzero(flags)[: self.shown]:
            row, place = int(texts.row[k]), int(texts.place[k])
            example = self.material.example(row)
            text = (example.responses[place] or "") if example else ""
            found.append(
                {
                    **self._place(row),
                    "response": place + 1,
                    "begins": text[:_SHOWN],
                    "ends": text[-_SHOWN:] if len(text) > _SHOWN else "",
                }
            )
        return found

    def _place(self, row: int) -> dict[str, Any]:
        split, index = self.material.where(row)
        return {"row": index} if len(self.material.splits) == 1 else {"split": split, "row": index}

    def _prompt(self, row: int) -> str:
        example = self.material.example(row)
        return example.prompt[-1]["content"][:_SHOWN] if example and example.prompt else ""


def _unreadable(material: Material, texts: Texts, ledger: Ledger) -> None:
    rows = np.flatnonzero(~texts.readable)
    ledger.rate(
        "unreadable",
        rows,
        material.rows,
        "cannot be read",
        alarm=0.01,
        evidence=[{"row": row, "reason": reason} for row, reason in texts.problems.items()],
    )


def _broken(texts: Texts, ledger: Ledger, look: _Lookup) -> None:
    total = len(texts.readable)
    for check, flags, what, warning, alarm, detail in (
        ("empty", texts.empty, "an empty response", 0.0, 0.005, "Remove them: an empty side teaches nothing."),
        ("truncated", texts.truncated, "a response that breaks off", 0.01, 0.2, _TRUNCATED),
        ("repetitive", texts.repetitive, "a response that repeats itself", 0.002, 0.1, _REPETITIVE),
        ("refused", texts.refused, "a refusal", 0.02, 0.5, _REFUSED),
        ("wrong_language", texts.foreign, "a response in the wrong language", 0.0, 0.02, _FOREIGN),
    ):
        ledger.rate(
            check,
            texts.rows(flags),
            total,
            f"have {what}",
            warning=warning,
            alarm=alarm,
            of_responses=float(flags.mean()) if flags.size else 0.0,
            detail=detail,
            evidence=look.responses(texts, flags),
        )


def _identical(material: Material, texts: Texts, ledger: Ledger, look: _Lookup) -> None:
    """Equal responses in one row: two that are labelled differently, or both sides of a pair."""
    key = np.stack([texts.row.astype(np.uint64), texts.exact])
    order = np.lexsort((key[1], key[0]))
    same = (key[:, order[1:]] == key[:, order[:-1]]).all(axis=0)
    first, second = order[:-1][same], order[1:][same]
    labels = material.annotations
    if labels is not None and len(first):
        width = labels.shape[1]
        inside = (texts.place[first] < width) & (texts.place[second] < width)
        first, second = first[inside], second[inside]
        one, two = labels[texts.row[first], texts.place[first]], labels[texts.row[second], texts.place[second]]
        apart = np.abs(one - two) > st.comparison_gap(labels)  # nearly equal ratings of equal texts are no fault
        first = first[apart] if material.order is None else first
    rows = np.unique(texts.row[first])
    what = "have equal responses with different labels" if labels is not None else "have equal responses"
    ledger.rate(
        "identical",
        rows,
        material.rows,
        what if material.order is None else "have a chosen equal to its rejected",
        alarm=0.0 if labels is not None else np.inf,
        detail="Such a pair has no gradient that means anything. Remove them.",
        evidence=look.rows(rows),
    )


def _duplicates(material: Material, texts: Texts, ledger: Ledger, look: _Lookup) -> None:
    rows = np.arange(material.rows)
    hashes = np.where(texts.readable, texts.prompt_hash, rows.astype(np.uint64))
    exact = duplicates.first_of(hashes)
    repeats = np.flatnonzero(exact != rows)
    split = np.searchsorted(material.starts, rows, "right")
    ledger.rate(
        "duplicates",
        repeats,
        material.rows,
        "repeat an earlier row's prompt",
        warning=0.001,
        alarm=0.05,
        detail="Equal but for case and white space. Rows of one prompt belong in one row with all its responses "
        "(dm.group_rows), or weigh more than others in training.",
        evidence=look.rows(repeats, repeats=exact),
    )
    close = duplicates.near(texts.prompt_sketch, texts.readable & (texts.prompt_words >= _NEAR_WORDS), _NEAR)
    close[exact != rows] = -1
    ledger.rate(
        "near_duplicates",
        np.flatnonzero(close >= 0),
        material.rows,
        "have a prompt that nearly repeats an earlier one",
        warning=0.01,
        alarm=0.2,
        detail="Eight in ten three-word sequences are shared (estimated).",
        evidence=look.rows(np.flatnonzero(close >= 0), repeats=close),
    )
    _repeated_responses(texts, hashes, ledger, look)
    if len(material.splits) < 2:
        ledger.left_out["leaks"] = "there is one split only"
        return
    other = np.where(exact != rows, exact, close)
    leaked = np.flatnonzero((other >= 0) & (split[np.maximum(other, 0)] != split))
    ledger.rate(
        "leaks",
        leaked,
        material.rows,
        "have a prompt that also stands in another split, exactly or nearly",
        alarm=0.0,
        detail="What is measured on such rows was seen in training. Remove them from one of the splits.",
        evidence=look.rows(leaked, repeats=other),
    )


def _repeated_responses(texts: Texts, prompts: np.ndarray, ledger: Ledger, look: _Lookup) -> None:
    close = duplicates.near(texts.sketch, (texts.words >= _NEAR_WORDS) & ~texts.refused, _NEAR)
    close[texts.folded == texts.folded[np.maximum(close, 0)]] = -1
    rows = texts.rows(close >= 0)
    same = int((texts.row[close[close >= 0]] == texts.row[close >= 0]).sum())
    ledger.rate(
        "near_duplicate_responses",
        rows,
        len(texts.readable),
        "have a response that nearly repeats another",
        warning=0.05,
        alarm=0.5,
        of_responses=float((close >= 0).mean()) if close.size else 0.0,
        detail=f"Eight in ten three-word sequences are shared (estimated). {same:,} of {int((close >= 0).sum()):,} "
        "repeat a response of their own row: such pairs differ in little.",
        evidence=look.responses(texts, close >= 0),
    )
    first = duplicates.first_of(texts.folded)
    elsewhere = prompts[texts.row] != prompts[texts.row[first]]
    flags = elsewhere & (texts.words >= _NEAR_WORDS) & ~texts.refused
    rows = texts.rows(flags)
    ledger.rate(
        "duplicate_responses",
        rows,
        len(texts.readable),
        "have a response that also stands under another prompt",
        warning=0.001,
        alarm=0.05,
        detail="Copies of one text under several prompts: a canned answer, or rows that slipped against each other.",
        evidence=look.responses(texts, flags),
    )


def _swapped(texts: Texts, ledger: Ledger, look: _Lookup) -> None:
    swaps = swapped.find(texts)
    order = np.argsort(swaps.own - swaps.other, kind="stable")
    evidence = []
    for k in order[: look.shown]:
        row, answers = int(texts.row[swaps.response[k]]), int(swaps.answers[k])
        entry = look.rows([row])[0]
        entry["response"] = int(texts.place[swaps.response[k]]) + 1
        entry["fits row"] = answers
        entry["whose prompt is"] = look.rows([answers])[0]["prompt"]
        entry["similarity"] = f"{swaps.other[k]:.2f} there, {swaps.own[k]:.2f} here"
        evidence.append(entry)
    ledger.rate(
        "swapped",
        np.unique(texts.row[swaps.response]),
        len(texts.readable),
        "have a response that fits another row's prompt better than its own",
        alarm=0.05,
        detail="By rare words shared; finds about half of swapped responses, and is seldom wrong on single-turn data. "
        "In dialogues, short replies with few words of their own can look like it.",
        evidence=evidence,
    )


def length_bias(material: Material, texts: Texts, labels: np.ndarray | None, ledger: Ledger) -> None:
    """Whether longer responses are scored and labelled higher, within rows."""
    annotations = labels if labels is not None else material.annotations
    annotations = material.order if annotations is None else annotations
    scores = material.scores
    width = max((m.shape[1] for m in (scores, annotations) if m is not None), default=0)
    if not width:
        ledger.left_out["length_bias"] = "there are neither scores nor annotations"
        return
    length = np.log1p(texts.matrix(texts.chars, width))
    evidence: list[dict[str, Any]] = []
    for name, values in (("score", scores), ("label", annotations)):
        if values is None:
            continue
        mine = length[:, : values.shape[1]]
        gap, longer = _extremes(values, mine)
        decided = gap != 0
        evidence.append(
            {
                "length against": name,
                "correlation within rows": st.pooled_correlation(mine, values),
                "better one is longer": float((gap[decided] > 0).mean()) if decided.any() else float("nan"),
                "pairs": int(decided.sum()),
                "mean ratio of lengths": float(np.exp(longer)) if np.isfinite(longer) else float("nan"),
            }
        )
    strongest = max(evidence, key=lambda row: abs(np.nan_to_num(row["correlation within rows"])))
    name, correlation = strongest["length against"], float(np.nan_to_num(strongest["correlation within rows"]))
    value = float(evidence[-1]["correlation within rows"])
    if np.isfinite(value):
        ledger.measures["length_bias"] = abs(value)
    ledger.add(
        "length_bias",
        "warning" if abs(correlation) > 0.3 and strongest["pairs"] >= _LEAST_PAIRS else "note",
        f"The better response by {name} is the longer one in {strongest['better one is longer']:.1%} of "
        f"{strongest['pairs']:,} pairs; length and {name} correlate {correlation:+.2f} within rows",
        abs(correlation),
        detail="Some of it may be merit. A model trained on strongly length-biased pairs learns length first.",
        evidence=tuple(evidence),
    )


def _extremes(values: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, float]:
    """How much longer (in logarithms) the best response of each row is than its worst, 0 where neither is; the mean."""
    both = np.isfinite(values) & np.isfinite(length)
    rows = np.arange(len(values))
    best = np.where(both, values, -np.inf).argmax(axis=1)
    worst = np.where(both, values, np.inf).argmin(axis=1)
    differs = both[rows, best] & both[rows, worst] & (values[rows, best] > values[rows, worst])
    gap = np.where(differs, length[rows, best] - length[rows, worst], 0.0)
    return np.nan_to_num(gap), float(gap[differs].mean()) if differs.any() else float("nan")
