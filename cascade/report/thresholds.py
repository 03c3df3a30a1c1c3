"""What labels, and equal answers, say of thresholds: whether they are too strict or too loose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.sql.elements import ColumnElement

from cascade.ledger.read import Reader
from cascade.ledger.tables import attempts, calls, contents, verdicts
from cascade.report.figures import MIN_LABELS, Finding, Share, Threshold
from cascade.report.selection import Query, Selection

__all__ = ["thresholds_of"]

_NEAR: Final = 0.25  # of the way from the threshold to 1

_ATTEMPT = (verdicts.c.call_seq == attempts.c.call_seq) & (verdicts.c.attempt == attempts.c.number)
_KEYS = (calls.c.cascade, attempts.c.tier, verdicts.c.validator, verdicts.c.threshold)


class _Evidence(NamedTuple):
    """Counts for every threshold, by the values of `_KEYS`; the last, by cascade and tier."""

    judged: Mapping[Any, Any]
    rejected_labels: Mapping[Any, Any]
    rejected_texts: Mapping[Any, Any]
    accepted_labels: Mapping[Any, Any]
    escalated_labels: Mapping[Any, Any]


def thresholds_of(reader: Reader, selection: Selection) -> tuple[Threshold, ...]:
    """Every threshold that was in force, the one that judged most first."""
    judged = _on_verdicts(selection, func.count(), func.count().filter(_did_not_pass()))
    evidence = _Evidence(
        _by_key(reader, judged.where(attempts.c.outcome.in_(("accepted", "rejected")))),
        _by_key(reader, _rejected_labels(selection)),
        _by_key(reader, _rejected_texts(selection)),
        _by_key(reader, _accepted_labels(selection)),
        _by_key(reader, _escalated_labels(selection), keys=2),
    )
    found = [_threshold(key, evidence) for key in evidence.judged]
    return tuple(
        sorted(
            found, key=lambda one: (-one.rejected.of, one.cascade or "", one.tier, one.validator)
        )
    )


def _threshold(key: Any, evidence: _Evidence) -> Threshold:
    n, rejected = evidence.judged[key]
    near_n, near_wrong, rest_n, rest_wrong = evidence.accepted_labels.get(key, (0, 0, 0, 0))
    labels, right = evidence.rejected_labels.get(key, (0, 0))
    texts, equal = evidence.rejected_texts.get(key, (0, 0))
    later_n, later_wrong = evidence.escalated_labels.get(key[:2], (0, 0))
    rejected_right, rejected_equal = Share.made(right, labels), Share.made(equal, texts)
    near, later = Share.made(near_wrong, near_n), Share.made(later_wrong, later_n)
    cascade, tier, validator, threshold = key
    return Threshold(
        cascade=cascade,
        tier=tier,
        validator=validator,
        threshold=threshold,
        rejected=Share.made(rejected, n),
        rejected_right=rejected_right,
        rejected_equal=rejected_equal,
        near_wrong=near,
        rest_wrong=Share.made(rest_wrong, rest_n),
        escalated_wrong=later,
        finding=finding_of(rejected_right, rejected_equal, near, later),
    )


def finding_of(right: Share, equal: Share, near_wrong: Share, escalated_wrong: Share) -> Finding:
    """What can be said of a threshold.

    Too strict: more than half of the rejected answers that can be judged were right, or what the
    next tier said too; the whole interval lies above a half. Too loose: answers just above it are
    wrong more often than those of later tiers are after a rejection; the intervals do not touch.
    """
    if any(share.of >= MIN_LABELS and share.low > 0.5 for share in (right, equal)):
        return "too_strict"
    compared = near_wrong.of >= MIN_LABELS and escalated_wrong.of >= MIN_LABELS
    if compared and near_wrong.low > escalated_wrong.high:
        return "too_loose"
    enough = compared or max(right.of, equal.of) >= MIN_LABELS
    return "no_sign" if enough else "too_few_labels"


def _did_not_pass() -> ColumnElement[bool]:
    return (attempts.c.outcome == "rejected") & (verdicts.c.status != "passed")


def _on_verdicts(selection: Selection, *counts: Any) -> Query:
    """Counts over the verdicts that had a threshold."""
    query = selection.of(*_KEYS, *counts).join_from(
        attempts, calls, calls.c.seq == attempts.c.call_seq
    )
    query = query.join(verdicts, _ATTEMPT).where(verdicts.c.threshold.is_not(None))
    return query.group_by(*_KEYS)


def _rejected_labels(selection: Selection) -> Query:
    """Labels on answers that were handed out although they were rejected: how many, how many right.

    Only where the tier gave one answer, for a call does not say which of several it handed out.
    """
    label, other = selection.label, attempts.alias("other")
    another = select(other.c.number).where(
        other.c.call_seq == attempts.c.call_seq,
        other.c.tier == attempts.c.tier,
        other.c.number != attempts.c.number,
        other.c.outcome == "rejected",
    )
    query = _on_verdicts(selection, func.count(), func.count().filter(label.c.correct))
    query = query.join(label, label.c.call_id == calls.c.id)
    return query.where(
        ~calls.c.accepted,
        calls.c.tier == attempts.c.tier,
        ~another.correlate(attempts).exists(),
        _did_not_pass(),
    )


def _rejected_texts(selection: Selection) -> Query:
    """Rejected answers stored with the accepted one: how many, and how many are the same text."""
    own, accepted = contents.alias("own"), attempts.alias("accepted")
    final = contents.alias("final")
    is_same = func.trim(own.c.text) == func.trim(final.c.text)
    query = _on_verdicts(selection, func.count(), func.count().filter(is_same))
    query = query.join(
        accepted,
        (accepted.c.call_seq == attempts.c.call_seq) & (accepted.c.outcome == "accepted"),
    )
    for text, attempt in ((own, attempts), (final, accepted)):
        query = query.join(
            text,
            (text.c.call_seq == attempt.c.call_seq)
            & (text.c.attempt == attempt.c.number)
            & (text.c.kind == "answer"),
        )
    return query.where(_did_not_pass())


def _accepted_labels(selection: Selection) -> Query:
    """Labels on accepted answers just above the threshold and on the rest; how many are wrong."""
    label = selection.label
    edge = verdicts.c.threshold + (1 - verdicts.c.threshold) * _NEAR
    query = _on_verdicts(
        selection,
        func.count().filter(verdicts.c.score < edge),
        func.count().filter(verdicts.c.score < edge, ~label.c.correct),
        func.count().filter(verdicts.c.score >= edge),
        func.count().filter(verdicts.c.score >= edge, ~label.c.correct),
    )
    query = query.join(label, label.c.call_id == calls.c.id)
    passed = verdicts.c.status == "passed"
    return query.where(attempts.c.outcome == "accepted", passed, verdicts.c.score.is_not(None))


def _escalated_labels(selection: Selection) -> Query:
    """By cascade and tier: labels on what later tiers said after a rejection; how many wrong."""
    label = selection.label
    keys = (calls.c.cascade, attempts.c.tier)
    query = selection.of(
        *keys,
        func.count(calls.c.seq.distinct()),
        func.count(calls.c.seq.distinct()).filter(~label.c.correct),
    )
    query = query.join_from(attempts, calls, calls.c.seq == attempts.c.call_seq)
    query = query.join(label, label.c.call_id == calls.c.id)
    rejected = attempts.c.outcome == "rejected"
    return query.where(rejected, calls.c.accepted, calls.c.tier != attempts.c.tier).group_by(*keys)


def _by_key(reader: Reader, query: Query, keys: int = len(_KEYS)) -> dict[Any, Any]:
    return {tuple(row[:keys]): tuple(row[keys:]) for row in reader.rows(query)}
