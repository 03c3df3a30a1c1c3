"""Results to record, without running a cascade, and whatever ledger a test asks for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cascade import Answer, Attempt, Charge, Price, Result, Usage, Verdict

SMALL = Price(input="0.05", output="0.40")
LARGE = Price(input=3, output=15)
USAGE = Usage(900, 120)
SECRET = "the patient's name is Ada"


def attempt(
    tier: str = "small",
    outcome: Any = "accepted",
    *,
    price: Price | None = SMALL,
    usage: Usage | None = USAGE,
    **more: Any,
) -> Attempt:
    """One attempt of a tier, billed once unless it was skipped."""
    charges = [] if outcome == "skipped" else [Charge(tier, price, usage)]
    return Attempt(
        tier,
        outcome=outcome,
        reason="" if outcome == "accepted" else "score:below_threshold",
        charges=charges,
        latency_s=0.25,
        call_s=0.2,
        model=f"openai:{tier}",
        **{"answer": Answer(SECRET, model="tiny-2026", finish_reason="stop"), **more},
    )


def result(
    id: str = "a-1",
    attempts: Sequence[Attempt] | None = None,
    *,
    started_at: float = 1_700_000_000.0,
    metadata: Mapping[str, Any] | None = None,
    **more: Any,
) -> Result[Any]:
    """One finished call."""
    tried = tuple([attempt()] if attempts is None else attempts)
    accepted = any(one.outcome == "accepted" for one in tried)
    return Result(
        SECRET,
        accepted,
        tried[-1].tier if tried else None,
        "accepted" if accepted else "exhausted",
        tried,
        0.3,
        id=id,
        started_at=started_at,
        metadata=metadata or {},
        **more,
    )


def verdict(name: str, score: float, threshold: float | None = None, **more: Any) -> Verdict:
    """One verdict, with words that are content."""
    status: Any = "passed" if threshold is None or score >= threshold else "failed"
    return Verdict(
        status, score, feedback=SECRET, validator=name, threshold=threshold, latency_s=0.01, **more
    )


def python(script: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """A Python process of its own, with its output in pipes."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_python(script: str, *arguments: str | Path) -> str:
    """What a Python process of its own prints; it has to end well."""
    process = python(script, *arguments)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err == ""
    return out
