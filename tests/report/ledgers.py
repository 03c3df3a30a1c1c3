"""Small ledgers whose figures can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from cascade import Answer, Attempt, Charge, Price, Result, Usage, Verdict
from cascade.ledger import Ledger
from cascade.report.figures import Figures
from cascade.report.gathering import figures_of

SMALL = Price(input=1, output=0)
LARGE = Price(input=10, output=20)
START = 1_780_000_000.0


def attempt(
    tier: str,
    outcome: str,
    tokens: int | None,
    *,
    written: int = 0,
    score: float | None = None,
    at: float = 0.5,
) -> Attempt:
    """One try, which read and wrote so many million tokens; None: nobody knows how many."""
    usage = None if tokens is None else Usage(tokens * 1_000_000, written * 1_000_000)
    price = SMALL if tier == "small" else LARGE
    made = Attempt(tier, latency_s=1.0, model=f"openai:{tier}")
    made.outcome = outcome  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    made.charges.append(Charge(tier, price, usage))
    if outcome in ("accepted", "rejected"):
        made.answer = Answer("x", usage=usage)
        passed = outcome == "accepted"
        made.reason = "" if passed else "logprob:below_threshold"
        made.verdicts.append(
            Verdict(
                "passed" if passed else "failed",
                score if score is not None else (0.9 if passed else 0.1),
                "" if passed else "below_threshold",
                validator="logprob",
                threshold=at,
            )
        )
    else:
        made.reason = "ServerError"
    return made


def call(
    number: int,
    *attempts: Attempt,
    path: str | None = None,
    tenant: str | None = None,
    parent: str | None = None,
    budget_s: float | None = None,
    latency_s: float = 1.0,
    cascade: str = "c",
    plan: tuple[str, ...] = (),
) -> Result[object]:
    """A finished call, an hour after the one before it."""
    accepted = next((one for one in attempts if one.outcome == "accepted"), None)
    return Result(
        "x" if accepted else None,
        accepted is not None,
        None if accepted is None else accepted.tier,
        "accepted" if accepted else "exhausted",
        tuple(attempts),
        latency_s,
        path,
        cascade,
        None if accepted is None else accepted.answer,
        budget_s,
        f"id-{number}",
        START + 3600 * number,
        tenant=tenant,
        parent=parent,
        plan=plan,
    )


def figures(
    folder: Path,
    results: Sequence[Result[object]],
    labels: dict[str, bool] | None = None,
    **options: str,
) -> Figures:
    """What a report says of them."""
    ledger = Ledger(f"sqlite:{folder / 'ledger.db'}")
    for result in results:
        ledger.record(result)
    for id, correct in (labels or {}).items():
        ledger.record_outcome(id, correct=correct, by="user")
    assert ledger.close()
    with Ledger.open_for_reading(f"sqlite:{folder / 'ledger.db'}") as reader:
        return figures_of(reader, cascade=options.get("cascade"), frontier=options.get("frontier"))


def usd(text: str) -> Decimal:
    return Decimal(text)
