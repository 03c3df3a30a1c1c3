"""What to do after an attempt: accept, ask again, escalate, or stop. Pure functions, no IO."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Literal, NamedTuple

from cascade.types import Outcome, Verdict

__all__ = ["Decision", "Move", "decide", "judgement"]


class Move(Enum):
    """The engine's next step."""

    ACCEPT = "accept"
    REASK = "reask"
    ESCALATE = "escalate"
    STOP = "stop"


class Decision(NamedTuple):
    """A step and why.

    `reason` is the outcome of the attempt just made, and where it stops without acceptance
    "exhausted", "budget", "spend", "shutdown", "cancelled" or "error".
    """

    move: Move
    reason: str


ACCEPT = Decision(Move.ACCEPT, "accepted")
EXHAUSTED = Decision(Move.STOP, "exhausted")
OUT_OF_TIME = Decision(Move.STOP, "budget")
OUT_OF_MONEY = Decision(Move.STOP, "spend")
SHUT_DOWN = Decision(Move.STOP, "shutdown")
CANCELLED = Decision(Move.STOP, "cancelled")
ERROR = Decision(Move.STOP, "error")
_GO_ON = {
    move: {
        outcome: Decision(move, outcome)
        for outcome in ("rejected", "failed", "timed_out", "skipped")
    }
    for move in (Move.REASK, Move.ESCALATE)
}


def judgement(verdicts: Sequence[Verdict]) -> tuple[Literal["accepted", "rejected"], str]:
    """What the verdicts make of an answer: accepted if all passed, and if not, whose fault it is.

    An abstention is not a pass (Kleene's conjunction): it rejects, with its own reason. A failure
    is named before an abstention.
    """
    blamed: Verdict | None = None
    for verdict in verdicts:
        if verdict.status == "failed":
            return "rejected", f"{verdict.validator}:{verdict.reason}"
        if verdict.status != "passed" and blamed is None:
            blamed = verdict
    if blamed is None:
        return "accepted", ""
    return "rejected", f"{blamed.validator}:{blamed.reason}"


def decide(
    outcome: Outcome,
    *,
    rungs_left: int,
    reasks_left: int = 0,
    time_left_s: float | None = None,
) -> Decision:
    """The step after an attempt.

    Args:
        outcome: of the attempt just made.
        rungs_left: rungs above it that the plan still holds.
        reasks_left: how often this tier may still be asked again with feedback.
        time_left_s: seconds to the path's deadline. None: there is none.
    """
    if outcome == "accepted":
        return ACCEPT
    if time_left_s is not None and time_left_s <= 0:
        return OUT_OF_TIME
    if outcome == "rejected" and reasks_left > 0:
        return _GO_ON[Move.REASK][outcome]
    if rungs_left > 0:
        return _GO_ON[Move.ESCALATE][outcome]
    return EXHAUSTED
