"""What the figures amount to, in sentences: the same on the page and in the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from cascade.report.figures import MIN_LABELS, Figures, Saving, Share, Threshold
from cascade.report.words import (
    DASH,
    count,
    interval,
    moment,
    money,
    of_cascade,
    percent,
    plural,
    rate,
    seconds,
)

__all__ = [
    "FINDINGS",
    "Headline",
    "about_threshold",
    "assumption",
    "gaps",
    "headlines",
    "period",
    "rejections",
    "saved",
]

FINDINGS: Final = {
    "too_strict": "too strict",
    "too_loose": "too loose",
    "no_sign": "no sign of either",
    "too_few_labels": "not enough labels",
}


class Headline(NamedTuple):
    """One of the numbers that matter most."""

    name: str
    value: str
    note: str


def headlines(figures: Figures) -> tuple[Headline, ...]:
    """The numbers at the top."""
    totals, saving = figures.totals, figures.saving
    correct, latency = totals.correct, totals.latency
    budgets = [path.budget.kept for path in figures.paths if path.budget is not None]
    kept = Share.made(sum(one.count for one in budgets), sum(one.of for one in budgets))
    at_least = "at least " if totals.bill.unknown else ""
    return (
        Headline(
            "Cost per request",
            money(totals.bill.mean_usd),
            f"{at_least}{money(totals.bill.cost_usd)} in all",
        ),
        Headline(
            "Saved, estimated",
            saved(saving),
            "against the strongest tier alone"
            if saving.saved_low is not None
            else "nothing to compare with yet",
        ),
        Headline(
            "Escalated",
            rate(totals.escalated),
            f"{count(totals.escalated.count)} of {plural(totals.requests, 'request')}",
        ),
        Headline(
            "Right answers",
            rate(correct) if correct.of else "?",
            f"{interval(correct)}, {plural(correct.of, 'label')}" if correct.of else "no labels",
        ),
        Headline(
            "Latency p95",
            seconds(latency.p95_s),
            f"budgets kept: {rate(kept)}" if kept.of else f"p50 {seconds(latency.p50_s)}",
        ),
    )


def saved(saving: Saving) -> str:
    """The share that was saved, from the least estimate to the greatest."""
    if saving.saved_low is None or saving.saved_high is None:
        return "?"
    low, high = f"{saving.saved_low * 100:.0f}", f"{saving.saved_high * 100:.0f}"
    if low == high:
        return f"{low}%"
    return f"{low} to {high}%" if "-" in low else f"{low}{DASH}{high}%"


def assumption(saving: Saving) -> Iterator[str]:
    """What the comparison with the strongest tier says, and what it takes for granted."""
    if saving.saved_low is None:
        yield (
            "What the strongest tier alone would have cost cannot be told: a cascade shows it when "
            "two of its tiers have been asked, and one has given enough answers of known cost."
        )
        return
    yield (
        f"An estimate, not a measurement. {count(saving.compared.count)} of "
        f"{plural(saving.compared.of, 'request')} can be compared; they cost "
        f"{money(saving.actual_usd)}, and on the strongest tier alone it would have been "
        f"{money(saving.frontier_low_usd)} to {money(saving.frontier_high_usd)}."
    )
    yield (
        "One end takes the tokens of each answer at the strongest tier's price, as if it read and "
        "wrote as many. The other takes the mean cost of its answers on the same path, as if all "
        "requests were like those that reached it, which are often longer. The strongest tier of a "
        "cascade is the one whose answers are dearest, unless one is named."
    )
    for one in saving.cascades:
        if one.tier is None:
            yield f"{of_cascade(one.cascade)}: not compared, for too few tiers have answered."


def period(figures: Figures) -> str:
    """From when to when."""
    first, last = figures.totals.first_at, figures.totals.last_at
    if first is None or last is None:
        since, until = figures.since, figures.until
        start = "" if since is None else f" since {moment(since)}"
        end = "" if until is None else f" until {moment(until)}"
        return f"no calls{start}{end}"
    return f"{moment(first)} to {moment(last)} UTC"


def rejections(figures: Figures) -> list[tuple[str, Share]]:
    """Why answers were rejected, as "validator:code", most first, of all rejected answers."""
    reasons: Counter[str] = Counter()
    for step in figures.steps:
        if step.outcome == "rejected":
            reasons[step.reason] += step.count
    total = reasons.total()
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return [(reason, Share.made(n, total)) for reason, n in ordered]


def about_threshold(one: Threshold) -> str:
    """What supports the finding, or how much is missing for one."""
    if one.finding == "too_strict":
        return "; ".join(_strict(one))
    near, later = one.near_wrong, one.escalated_wrong
    if one.finding == "too_few_labels":
        return (
            f"{plural(near.of, 'label')} just above it, {count(later.of)} after a rejection, "
            f"{count(one.rejected_right.of)} on rejected answers; {MIN_LABELS} are needed"
        )
    facts = list(_strict(one))
    if near.of >= MIN_LABELS:
        facts.append(
            f"of {plural(near.of, 'labelled answer')} just above it, {rate(near)} were wrong "
            f"({interval(near)})"
        )
    if one.rest_wrong.of >= MIN_LABELS:
        facts.append(f"of those further above, {rate(one.rest_wrong)}")
    if later.of >= MIN_LABELS:
        facts.append(
            f"of later tiers' answers after a rejection, {rate(later)} ({interval(later)})"
        )
    return "; ".join(facts)


def _strict(one: Threshold) -> Iterator[str]:
    right, equal = one.rejected_right, one.rejected_equal
    if equal.of >= MIN_LABELS:
        yield (
            f"a later tier gave the very answer that was rejected in {rate(equal)} of "
            f"{plural(equal.of, 'case')}"
        )
    if right.of >= MIN_LABELS:
        yield (
            f"of {count(right.of)} labelled answers handed out though rejected, {rate(right)} were "
            f"right ({interval(right)})"
        )


def gaps(figures: Figures) -> Iterator[str]:
    """What this report cannot know."""
    found, totals = figures.gaps, figures.totals
    if found.unknown_costs.count:
        yield (
            f"The cost of {plural(found.unknown_costs.count, 'request')} "
            f"({rate(found.unknown_costs)}) is unknown, wholly or in part: a tier without a price, "
            "or a call that was cut short. Sums hold what is known of them; means leave them out."
        )
    if found.unlabelled.of:
        yield (
            f"{percent(found.unlabelled.rate)} of accepted answers have no label. Labels tell of "
            "those that were looked at, which need not be like the others."
        )
    if totals.nested:
        yield (
            f"{plural(totals.nested, 'call')} ran inside of other calls. Their cost is in the bill "
            "of the call around them, so that sums leave them out; paths and tiers count them."
        )
    if found.orphan_calls:
        yield f"{plural(found.orphan_calls, 'call')} ran inside of calls that are not stored here."
    if found.orphan_labels:
        yield (
            f"For {plural(found.orphan_labels, 'label')} there is no call here: deleted, not "
            "written yet, or lost."
        )
    yield (
        "A call that could not be written is not here. Processes count such losses and log them "
        "as ledger_lost."
    )
