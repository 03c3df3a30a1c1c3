"""How `cascade eval` tells what it found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cascade.cli.output import usd
from cascade.evals.runner import Tally
from cascade.evals.summary import TierSummary

__all__ = ["bill", "table"]

_HEADER = ("tier", "n", "quality", "95 % interval", "USD per 1,000", "p50", "p95", "accepted")


def table(summaries: Sequence[TierSummary]) -> str:
    """A line a tier; below it what each validator passed, and which calls broke."""
    lines = [_HEADER, *(_line(one) for one in summaries)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADER))]
    text = [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in lines
    ]
    for one in summaries:
        passed = ", ".join(f"{name} {share:.1%}" for name, share in one.by_validator.items())
        if passed:
            text.append(f"{one.tier} passed: {passed}")
        if one.failed:
            broke = ", ".join(f"{reason} {count}" for reason, count in one.failed.items())
            text.append(f"{one.tier} failed, and left out: {broke}")
    return "\n".join(line.rstrip() for line in text)


def _line(one: TierSummary) -> tuple[str, ...]:
    if one.quality is None or one.interval is None or one.p50_s is None or one.p95_s is None:
        return (one.tier, "0", *("-",) * 6)
    low, high = one.interval
    return (
        one.tier,
        str(one.n),
        f"{one.quality:.1%}",
        f"{low:.1%} to {high:.1%}",
        f"{1000 * one.cost_usd / one.n:.4f}",
        f"{one.p50_s:.2f} s",
        f"{one.p95_s:.2f} s",
        "-" if one.accepted is None else f"{one.accepted:.1%}",
    )


def bill(tally: Tally, output: Path) -> str:
    """What was really sent now."""
    if not tally.sent:
        paid = "nothing was sent: all answers were in the cache"
    else:
        unknown = f", and {tally.unknown} of unknown cost" if tally.unknown else ""
        paid = f"{tally.sent} requests sent for {usd(tally.usd)}{unknown}"
    grading = f"; grading costs {usd(tally.grading_usd)}" if tally.grading_usd else ""
    return f"wrote {output}; {paid}{grading}"
