"""The loop: ask the cheapest tier, judge its answer, and go on only while it is not accepted."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from anyio import CancelScope, current_time

from cascade.context import Context
from cascade.decision import OUT_OF_TIME, Decision, Move, decide, judgement
from cascade.errors import (
    CascadeExhausted,
    ConfigError,
    DeadlineExceeded,
    NoAnswerError,
)
from cascade.logs import warn
from cascade.metering import Handover, invoke, is_timeout
from cascade.routing import Plan, Rung
from cascade.types import UNSET, Answer, Attempt, Result, Verdict
from cascade.validation import crashed, judge_together, sound

__all__ = ["climb", "failure"]

Call = Callable[..., Awaitable[Any]]
"""What is asked on each rung: `call(tier, *args, **kwargs)`."""


class _Run:
    """One call on its way up: what every attempt of it shares."""

    __slots__ = ("args", "attempts", "call", "deadline", "kwargs", "plan")

    def __init__(
        self, plan: Plan, call: Call, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self.plan = plan
        self.call = call
        self.args = args
        self.kwargs = kwargs
        self.attempts: list[Attempt] = []
        self.deadline = math.inf

    def time_left_s(self) -> float | None:
        return None if self.deadline == math.inf else self.deadline - current_time()


async def climb(
    plan: Plan, call: Call, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Result[Any]:
    """Answer one call by its plan, within its budget.

    Returns:
        the whole story; not accepted when the ladder was exhausted or the budget ran out.
    """
    started = plan.clock()
    run = _Run(plan, call, args, kwargs)
    if plan.budget_s is None:
        decision = await _climb(run)
    else:
        run.deadline = current_time() + plan.budget_s
        decision = OUT_OF_TIME
        with CancelScope(deadline=run.deadline):
            decision = await _climb(run)
    if decision is OUT_OF_TIME:
        _skip_the_rest(run)
    return _result(run, decision, plan.clock() - started)


async def _climb(run: _Run) -> Decision:
    """The ladder, cheapest rung first, to the first acceptance."""
    rungs = run.plan.rungs
    place = ask = 0
    handover: Handover | None = None
    while True:
        attempt = Attempt(rungs[place].tier.name, ask)
        run.attempts.append(attempt)  # before it starts: a deadline must find it on record
        await _attempt(run, rungs[place], attempt, handover)
        time_left_s = run.time_left_s()
        if time_left_s is not None and time_left_s <= 0:
            attempt.outcome, attempt.reason = "timed_out", "budget"  # however good: it is late
        decision = decide(
            attempt.outcome,
            rungs_left=len(rungs) - place - 1,
            reasks_left=run.plan.reasks - ask,
            time_left_s=time_left_s,
        )
        if decision.move is Move.REASK:
            ask += 1
            handover = Handover.of(attempt)
        elif decision.move is Move.ESCALATE:
            place, ask = place + 1, 0
            handover = Handover.of(attempt) or handover if run.plan.feedback else None
        else:
            return decision


async def _attempt(run: _Run, rung: Rung, attempt: Attempt, handover: Handover | None) -> None:
    """Ask one tier and judge its answer; the story of it goes into `attempt`."""
    clock = run.plan.clock
    started = clock()
    try:
        if rung.tier.timeout_s is None:
            await _ask_and_judge(run, rung, attempt, handover, started)
        else:
            with CancelScope(deadline=current_time() + rung.tier.timeout_s) as scope:
                await _ask_and_judge(run, rung, attempt, handover, started)
            if scope.cancelled_caught:
                attempt.reason = "tier_timeout"
    finally:
        attempt.latency_s = clock() - started


async def _ask_and_judge(
    run: _Run, rung: Rung, attempt: Attempt, handover: Handover | None, started: float
) -> None:
    try:
        answer, request = await invoke(
            run.call, rung.tier, run.args, run.kwargs, attempt.charges, handover=handover
        )
    except ConfigError:
        raise  # a mistake in the program, not a tier that broke
    except Exception as error:
        if isinstance(error, TypeError):
            _check_arguments(run, rung)
        _broke(run, attempt, error)
        return
    attempt.call_s = run.plan.clock() - started
    attempt.answer = answer
    context = Context(
        rung.tier,
        request,
        run.args,
        run.kwargs,
        run.plan.path,
        attempt.ask,
        tuple(run.attempts),
        run.call,
        attempt.charges,
        run.deadline,
        handover,
    )
    verdicts: list[Verdict] = []  # what validators can reach through the context decides nothing
    try:
        await _judge(rung, answer, context, verdicts)
    finally:
        attempt.verdicts = verdicts
    attempt.outcome, attempt.reason = judgement(verdicts)


async def _judge(
    rung: Rung, answer: Answer[Any], context: Context, verdicts: list[Verdict]
) -> None:
    """All free validators; then, if they all passed, the paid ones at once."""
    for validator in rung.free:
        try:
            if validator.inline:
                verdict = validator.judge_inline(answer, context)
            else:
                verdict = await validator.judge(answer, context)
        except Exception as error:  # a user's own kind of Validator, which promises not to
            verdict = crashed(validator, error)
        verdicts.append(sound(validator, verdict))
    if rung.paid and all(verdict.status == "passed" for verdict in verdicts):
        verdicts.extend(await judge_together(rung.paid, answer, context))


def _broke(run: _Run, attempt: Attempt, error: Exception) -> None:
    attempt.error = error
    attempt.outcome = "timed_out" if is_timeout(error) else "failed"
    attempt.reason = type(error).__name__
    warn(
        "attempt_failed",
        cascade=run.plan.cascade,
        path=run.plan.path,
        tier=attempt.tier,
        error=attempt.reason,
    )


def _check_arguments(run: _Run, rung: Rung) -> None:
    """Raises TypeError, as any function does, when the caller's arguments do not fit."""
    try:
        signature = inspect.signature(run.call)
    except (TypeError, ValueError):
        return
    signature.bind(rung.tier, *run.args, **run.kwargs)


def _skip_the_rest(run: _Run) -> None:
    """Put the rungs that the deadline left unasked on record."""
    asked = {attempt.tier for attempt in run.attempts}
    for rung in run.plan.rungs:
        if rung.tier.name not in asked:
            run.attempts.append(Attempt(rung.tier.name, outcome="skipped", reason="budget"))


def _result(run: _Run, decision: Decision, latency_s: float) -> Result[Any]:
    accepted = decision.move is Move.ACCEPT
    told = run.attempts[-1] if accepted else _best(run.attempts)
    value = None if told is None or told.value is UNSET else told.value
    return Result(
        value,
        accepted,
        None if told is None else told.tier,
        decision.reason,
        tuple(run.attempts),
        latency_s,
        run.plan.path,
        run.plan.cascade,
        None if told is None else told.answer,
    )


def _best(attempts: list[Attempt]) -> Attempt | None:
    """The attempt with the highest combined score among those with an answer; later on ties."""
    best: Attempt | None = None
    best_score = -math.inf
    for attempt in attempts:
        if attempt.answer is not None:
            score = -1.0 if attempt.score is None else attempt.score
            if score >= best_score:
                best, best_score = attempt, score
    return best


def failure(result: Result[Any], budget_s: float | None) -> NoAnswerError:
    """The error for a result that was not accepted."""
    whose = f"cascade {result.cascade!r}" if result.cascade else "the cascade"
    if result.path:
        whose += f" on path {result.path!r}"
    story = "; ".join(
        f"{a.tier} {a.outcome}" + (f" ({a.reason})" if a.reason else "") for a in result.attempts
    )
    if result.reason == "budget":
        error: NoAnswerError = DeadlineExceeded(
            f"{whose} accepted no answer within its budget of {budget_s} s: {story}", result=result
        )
    else:
        error = CascadeExhausted(f"{whose} accepted no answer: {story}", result=result)
    error.__cause__ = next((a.error for a in reversed(result.attempts) if a.error), None)
    return error
