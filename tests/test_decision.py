from __future__ import annotations

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from cascade.decision import Decision, Move, decide, judgement
from cascade.types import Outcome, Verdict

outcomes: tuple[Outcome, ...] = get_args(Outcome)
times = st.none() | st.floats(-10, 10)


@given(st.sampled_from(outcomes), st.integers(0, 3), st.integers(0, 3), times)
def test_every_attempt_has_one_next_step(
    outcome: Outcome, rungs_left: int, reasks_left: int, time_left_s: float | None
) -> None:
    decision = decide(
        outcome, rungs_left=rungs_left, reasks_left=reasks_left, time_left_s=time_left_s
    )
    if outcome == "accepted":
        assert decision == (Move.ACCEPT, "accepted")
    elif time_left_s is not None and time_left_s <= 0:
        assert decision == (Move.STOP, "budget")
    elif outcome == "rejected" and reasks_left:
        assert decision == (Move.REASK, "rejected")
    elif rungs_left:
        assert decision == (Move.ESCALATE, outcome)
    else:
        assert decision == (Move.STOP, "exhausted")


def test_only_a_rejected_answer_is_asked_for_again() -> None:
    for outcome in set(outcomes) - {"rejected", "accepted"}:
        assert decide(outcome, rungs_left=0, reasks_left=5) == Decision(Move.STOP, "exhausted")


verdicts = st.lists(
    st.builds(
        Verdict,
        st.sampled_from(["passed", "failed", "abstained"]),
        st.none() | st.floats(0, 1),
        st.sampled_from(["x", "y"]),
        validator=st.sampled_from(["v", "w"]),
    )
)


@given(verdicts)
def test_an_answer_is_accepted_exactly_when_every_validator_passed_it(said: list[Verdict]) -> None:
    outcome, reason = judgement(said)
    assert (outcome == "accepted") == all(v.status == "passed" for v in said)
    assert (outcome == "accepted") == (reason == "")
    if outcome == "rejected":
        worst = "failed" if any(v.status == "failed" for v in said) else "abstained"
        first = next(v for v in said if v.status == worst)
        assert reason == f"{first.validator}:{first.reason}"


def test_a_status_that_does_not_exist_is_no_pass() -> None:
    assert judgement([Verdict("pass", 1.0, "slip", validator="v")]) == (  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        "rejected",
        "v:slip",
    )
