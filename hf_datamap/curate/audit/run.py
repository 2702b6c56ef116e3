"""`audit`: all checks over one dataset, and the report that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from hf_datamap.curate.audit.checks.broken_texts import broken_responses, unreadable_rows
from hf_datamap.curate.audit.checks.composition import composition, low_impact
from hf_datamap.curate.audit.checks.constants import constant_annotators
from hf_datamap.curate.audit.checks.contaminated import contaminated_prompts
from hf_datamap.curate.audit.checks.contradictory import contradictory_labels
from hf_datamap.curate.audit.checks.controls import self_preference, style_control
from hf_datamap.curate.audit.checks.duplicates import identical_responses, repeated_prompts, repeated_responses
from hf_datamap.curate.audit.checks.group_scales import groups_apart
from hf_datamap.curate.audit.checks.groups import agreement_by_group
from hf_datamap.curate.audit.checks.labels import labels_to_check
from hf_datamap.curate.audit.checks.length import length_bias, length_ruler
from hf_datamap.curate.audit.checks.outliers import outliers
from hf_datamap.curate.audit.checks.personal_data import personal_data as find_personal_data
from hf_datamap.curate.audit.checks.scale import contradicting_ratings
from hf_datamap.curate.audit.checks.suspects import SuspectOptions, find_suspects
from hf_datamap.curate.audit.checks.swapped import swapped_responses
from hf_datamap.curate.audit.context import AuditContext
from hf_datamap.curate.audit.gates import judge_gates, parse_gates, read_baseline
from hf_datamap.curate.audit.releases import compare
from hf_datamap.curate.audit.report import AuditReport
from hf_datamap.curate.audit.review import Reviewed, ReviewSummary, read_review
from hf_datamap.curate.audit.suspects import Suspects
from hf_datamap.curate.contamination import Evaluation, read_evaluation
from hf_datamap.curate.texts.facts import read_texts as read_text_facts
from hf_datamap.data.paths import column_of
from hf_datamap.data.view import DatasetView
from hf_datamap.errors import DataMapError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_datamap.data.layout import Layout
    from hf_datamap.datamap.datamap import DataMap

_ORDER: Final = {"alarm": 0, "warning": 1, "note": 2}
#: Checks of scores, annotations and columns, in the order in which they report.
_CHECKS: Final = (contradicting_ratings, outliers, constant_annotators, groups_apart, composition, low_impact)
#: Checks that need the texts.
_TEXT_CHECKS: Final = (
    unreadable_rows,
    broken_responses,
    identical_responses,
    repeated_prompts,
    repeated_responses,
    swapped_responses,
    contradictory_labels,
    length_bias,
    length_ruler,
)


def audit(
    ds: Dataset | DatasetDict,
    *,
    layout: Layout | None = None,
    data_map: DataMap | None = None,
    fail_on: str | None = None,
    against: Dataset | DatasetDict | None = None,
    read_texts: bool = True,
    least_probability: float | Literal["balanced"] = 0.5,
    least_similarity: float = 0.8,
    reviewed: Reviewed | None = None,
    baseline: Mapping[str, Any] | str | Path | None = None,
    contamination: Sequence[Evaluation] = (),
    personal_data: bool = False,
    evidence: int = 10,
) -> AuditReport:
    """Look for wrong labels, broken rows and faults of the whole, and say what was found.

    Example:
        >>> report = dm.audit(ds, fail_on="suspect_rate>0.05,inversion,duplicates>1%")  # doctest: +SKIP
        >>> report.passed, report.suspects[0].row, report.suspects[0].reason  # doctest: +SKIP
        >>> fixed = dm.fix(ds, report)  # removes the suspects; dm.audit(fixed.kept) again  # doctest: +SKIP

    Checks that need scores work on ``datamap_scores``; those that need texts read each row once. What could not be
    checked is listed in ``report.left_out``.

    Args:
        ds: a dataset, mapped or not; splits of a `DatasetDict` are audited together (and against each other).
        layout: how to read it; None detects it.
        data_map: the map of the dataset, which knows how it was scored; without it the numbers must tell whether the
            scores are the annotations.
        fail_on: release gates, like ``"suspect_rate>0.05,inversion,duplicates>0.01"`` (`MEASURES`); without any, the
            audit fails on alarms.
        against: an older release to compare with.
        read_texts: whether to look at texts; without, only scores, annotations and columns are checked (seconds for
            millions of rows).
        least_probability: from which estimated probability of a wrong annotation a row is a suspect: the greater, the
            fewer and the surer. ``"balanced"`` takes the one with the greatest expected F1 score, which finds more.
        least_similarity: Jaccard similarity of three-word sequences from which two texts count as nearly equal; 0.6
            finds paraphrases with a few words changed, too, and some that only share a template.
        reviewed: rows that a person has marked right or wrong: verdicts by row number, the name of a column, or a file
            (`hf_datamap.curate.audit.review.read_review`). They calibrate the probabilities, and ``report.review``
            says how far suspects can be believed, and which rows to review next.
        baseline: an earlier report (`AuditReport.to_dict`, or a file of `to_json`): what it found already fails neither
            a gate nor the audit unless it has become worse.
        contamination: evaluation sets whose prompts must not stand in the dataset: names of those that ship as hashes
            (``ifeval``, ``mt_bench``), files, datasets (`hf_datamap.curate.contamination.read_evaluation`).
        personal_data: whether to look for mail addresses, phone numbers, payment cards, bank accounts and public IP
            addresses (extra ``privacy``).
        evidence: how many examples each finding carries.

    Returns:
        The report.

    Raises:
        GateError: ``fail_on`` is malformed.
        MapError: ``ds`` is a streaming dataset or has no rows.
    """
    # Long: most of it documents the options.
    gates = parse_gates(fail_on) if fail_on is not None else []
    if least_probability != "balanced" and not 0 < least_probability < 1:
        raise DataMapError(f"least_probability must be 'balanced' or between 0 and 1, not {least_probability!r}")
    if not 0 < least_similarity <= 1:
        raise DataMapError(f"least_similarity must lie between 0 and 1, not {least_similarity}")
    view = DatasetView(ds, layout)
    review = read_review(reviewed, view) if reviewed is not None else None
    texts = read_text_facts(view) if read_texts else None
    context = AuditContext(view, texts, evidence=evidence, least_similarity=least_similarity)
    log = context.log
    if context.texts is None:
        _without_texts(context, read_texts=read_texts)
    identity = data_map.provenance.get("scorer") if data_map is not None else None
    suspects, summary = _checked(context, SuspectOptions(least_probability, identity, review))
    if contamination:
        contaminated_prompts(context, [read_evaluation(evaluation) for evaluation in contamination])
    if personal_data:
        find_personal_data(context)
    accepted = read_baseline(baseline) if baseline is not None else {}
    comparison = compare(context, _older_view(against, view)) if against is not None else None
    log.findings.sort(key=lambda finding: _ORDER[finding.severity])
    return AuditReport(
        rows=view.rows,
        splits={name: len(part) for name, part in view.splits.items()},
        layout=f"{view.layout.name}, {view.layout.why}" if view.layout else f"not read: {view.layout_error}",
        findings=tuple(log.findings),
        suspects=suspects,
        measures=log.measures,
        left_out=log.left_out,
        gates=judge_gates(gates, log.measures, log.not_measured, accepted),
        comparison=comparison,
        review=summary,
        accepted=accepted,
        label_columns=_label_columns(view.layout),
    )


def _checked(context: AuditContext, options: SuspectOptions) -> tuple[Suspects, ReviewSummary | None]:
    """Run every check that the dataset allows; they write into the log."""
    suspects, summary = Suspects.none(context.view.where), None
    context.labels = labels_to_check(context, options.identity)
    if context.labels is not None:
        suspects, summary = find_suspects(context, context.labels, options)
        agreement_by_group(context, context.labels)
        self_preference(context, options.identity)
        if context.texts is not None:
            style_control(context, context.texts, suspects.rows, options)
    for check in _CHECKS:
        check(context)
    if context.texts is not None:
        for text_check in _TEXT_CHECKS:
            text_check(context, context.texts)
    return suspects, summary


def _without_texts(context: AuditContext, *, read_texts: bool) -> None:
    """Say why no text was looked at; a dataset that cannot be read is an alarm of its own."""
    log, why = context.log, context.view.layout_error
    if not read_texts:
        log.left_out["texts"] = "texts were not read (read_texts=False)"
        return
    log.measures["unreadable"] = 1.0
    log.left_out["texts"] = why
    log.finding("unreadable", "alarm", "The rows cannot be read as prompts with responses", 1.0, detail=why)


def _label_columns(layout: Layout | None) -> tuple[str, ...]:
    return tuple(column_of(path) for path in layout.annotations or ()) if layout else ()


def _older_view(against: Dataset | DatasetDict, view: DatasetView) -> DatasetView:
    """The older release, read by the layout of the new one unless columns were renamed in between."""
    old = DatasetView(against, view.layout)
    if view.layout and not set(view.layout.columns) <= set(old.names):
        old = DatasetView(against)
    return old
