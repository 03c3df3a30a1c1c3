"""The loop: ask the cheapest tier, judge its answer, and go on only while it is not accepted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from anyio import CancelScope

from cascade.attempt import Call, Run, attempt_rung
from cascade.decision import (
    CANCELLED,
    ERROR,
    OUT_OF_MONEY,
    OUT_OF_TIME,
    SHUT_DOWN,
    Decision,
    Move,
    decide,
)
from cascade.errors import (
    CascadeClosed,
    CascadeExhausted,
    DeadlineExceeded,
    NoAnswerError,
    SpendLimitExceeded,
)
from cascade.hedging import race
from cascade.lateness import lateness
from cascade.metering import Handover, current_invocation
from cascade.observing import NO_LABELS, CallSpan, Labels
from cascade.policing import climb_by_policy
from cascade.routing import Plan
from cascade.spend import current_tenant
from cascade.types import UNSET, Attempt, Result

__all__ = ["climb", "failure"]

_CUT_SHORT = frozenset({"budget", "spend", "shutdown"})


async def climb(
    plan: Plan,
    call: Call,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    budget_s: float | None = None,
    labels: Labels = NO_LABELS,
) -> Result[Any]:
    """Answer one call by its plan, within its budget, and tell its observers.

    Args:
        budget_s: the caller's own budget, which can only shorten the plan's. None: it has none.
        labels: what the caller says of the call.

    Returns:
        the whole story; not accepted when the ladder was exhausted or the budget ran out.

    Raises:
        CascadeClosed: the cascade takes no new calls.
    """
    if plan.shutdown.is_closed:
        raise CascadeClosed("the cascade is shut down and takes no new calls")
    budget_s = plan.budget_s if budget_s is None else min(budget_s, plan.budget_s or math.inf)
    run = Run(plan, call, args, kwargs, labels)
    if not plan.observers.is_tracing:
        return await _observed(run, budget_s)
    with plan.observers.call_span(plan.cascade, plan.path) as told:
        return await _observed(run, budget_s, told)


async def _observed(run: Run, budget_s: float | None, told: CallSpan | None = None) -> Result[Any]:
    """Climb, and tell the observers what came of it, however it ends."""
    decision = ERROR
    try:
        if budget_s is None and not run.plan.shutdown.is_tracking:
            decision = await _climb(run)
        else:
            decision = await _within_budget(run, budget_s)
        if decision.reason in _CUT_SHORT:
            _skip_the_rest(run, decision)
    except BaseException as error:
        if not isinstance(error, Exception):
            decision = CANCELLED
        for attempt in run.unfinished():
            attempt.outcome, attempt.reason = "failed", decision.reason
        raise
    finally:
        result = _result(run, decision, budget_s)
        if told is not None:
            told(result)
        run.plan.observers.record(result)
        if run.plan.audit is not None:
            run.plan.audit.offer(run, result)
    return result


async def _within_budget(run: Run, budget_s: float | None) -> Decision:
    """Climb inside a cancel scope, which the deadline or a shutdown ends."""
    plan = run.plan
    late = lateness()
    scope = CancelScope()
    if budget_s is not None:
        run.loop_clock = late.clock
        late.enter(run, scope, budget_s, late.clock())
    decision = OUT_OF_TIME
    plan.shutdown.enter(scope)
    try:
        with scope:
            decision = await (_climb(run) if budget_s is None else late.watched(run, _climb(run)))
    finally:
        plan.shutdown.leave(scope)
        late.leave(run)
    if scope.cancelled_caught and plan.shutdown.is_cutting:
        decision = SHUT_DOWN
        for attempt in run.unfinished():
            attempt.reason = "shutdown"
    elif scope.cancelled_caught:
        late.ended(run)
    return decision


async def _climb(run: Run) -> Decision:
    """The ladder, cheapest rung first, to the first acceptance."""
    audit = run.plan.audit
    is_bypassed = audit is not None and audit.bypasses(run.plan.path)
    if run.policy is not None and not is_bypassed:
        return await climb_by_policy(run, run.policy)
    place = run.next_place(len(run.plan.rungs) - 1 if is_bypassed else 0)
    if place is None:
        return await _ask_fast(run)
    if run.spend is not None and await run.is_too_dear(place):
        return OUT_OF_MONEY
    if run.plan.hedge != "never" and run.can_hedge(place):
        return await race(run, place, _ask)
    handover: Handover | None = None
    while True:
        decision, handover = await _ask(run, place, handover)
        if decision.move is not Move.ESCALATE:
            return decision
        if not run.plan.feedback:
            handover = None
        following = run.next_place(place + 1)
        if following is None:
            return OUT_OF_TIME
        if run.spend is not None and await run.is_too_dear(following):
            return OUT_OF_MONEY
        place = following


async def _ask(run: Run, place: int, handover: Handover | None) -> tuple[Decision, Handover | None]:
    """Ask one rung, again with feedback where the plan says so.

    Returns:
        the decision, which is never to re-ask; and the rejected answer there is to hand over.
    """
    rung = run.plan.rungs[place]
    rungs_left = len(run.plan.rungs) - place - 1
    ask = 0
    while True:
        attempt = Attempt(rung.tier.name, ask, model=rung.tier.model)
        run.attempts.append(attempt)  # before it starts: a deadline must find it on record
        if run.plan.observers.is_tracing:
            with run.plan.observers.attempt_span(attempt):
                await attempt_rung(run, rung, attempt, handover)
        else:
            await attempt_rung(run, rung, attempt, handover)
        time_left_s = run.time_left_s()
        is_late = time_left_s is not None and time_left_s <= 0
        if is_late and attempt.outcome == "accepted":
            attempt.outcome, attempt.reason = "timed_out", "budget"  # however good it is
        decision = decide(
            attempt.outcome,
            rungs_left=rungs_left,
            reasks_left=run.plan.reasks - ask,
            time_left_s=time_left_s,
        )
        if attempt.reason == "spend":
            return OUT_OF_MONEY, handover
        handover = Handover.of(attempt) or handover
        if decision.move is not Move.REASK:
            return decision, handover
        ask += 1


async def _ask_fast(run: Run) -> Decision:
    """No ladder fits the budget: one tier alone, if it may yet make it."""
    place = run.plan.fast
    if place is None:
        place = run.quickest_place()
    if place is None:
        return OUT_OF_TIME
    if run.spend is not None and await run.is_too_dear(place):
        return OUT_OF_MONEY
    decision, _ = await _ask(run, place, None)
    return OUT_OF_TIME if decision.move is Move.ESCALATE else decision


def _skip_the_rest(run: Run, decision: Decision) -> None:
    """Put the rungs that were left unasked on record."""
    asked = {attempt.tier for attempt in run.attempts}
    for rung in run.plan.rungs:
        if rung.tier.name not in asked:
            run.skip(rung, decision.reason)


def _result(run: Run, decision: Decision, budget_s: float | None) -> Result[Any]:
    plan = run.plan
    outer = current_invocation()
    accepted = decision.move is Move.ACCEPT
    told = _accepted(run.attempts) if accepted else _best(run.attempts)
    value = None if told is None or told.value is UNSET else told.value
    return Result(
        value,
        accepted,
        None if told is None else told.tier,
        decision.reason,
        tuple(run.attempts),
        plan.clock() - run.started,
        plan.path,
        plan.cascade,
        None if told is None else told.answer,
        budget_s,
        run.id,
        run.started_at,
        plan.rule,
        run.route_reason,
        run.labels.signals,
        run.policy_version,
        current_tenant(),
        run.labels.metadata,
        None if outer is None else outer.call_id,
        plan.tier_names,
    )


def _accepted(attempts: list[Attempt]) -> Attempt:
    """The accepted attempt: the last one, but for a hedge that was called off after it."""
    last = attempts[-1]
    if last.outcome == "accepted":
        return last
    return next(attempt for attempt in reversed(attempts) if attempt.outcome == "accepted")


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


def failure(result: Result[Any]) -> NoAnswerError:
    """The error for a result that was not accepted."""
    whose = f"cascade {result.cascade!r}" if result.cascade else "the cascade"
    if result.path:
        whose += f" on path {result.path!r}"
    story = "; ".join(
        f"{a.tier} {a.outcome}" + (f" ({a.reason})" if a.reason else "") for a in result.attempts
    )
    if result.reason == "budget":
        error: NoAnswerError = DeadlineExceeded(
            f"{whose} accepted no answer within its budget of {result.budget_s} s: {story}",
            result=result,
        )
    elif result.reason == "spend":
        error = _out_of_money(whose, story, result)
    elif result.reason == "shutdown":
        error = CascadeClosed(f"{whose} was shut down during the call: {story}", result=result)
    else:
        error = CascadeExhausted(f"{whose} accepted no answer: {story}", result=result)
    if not isinstance(error, SpendLimitExceeded):
        error.__cause__ = next((a.error for a in reversed(result.attempts) if a.error), None)
    return error


def _out_of_money(whose: str, story: str, result: Result[Any]) -> SpendLimitExceeded:
    """The refusal of a cap, with the story of the call that met it."""
    refusals = (a.error for a in reversed(result.attempts))
    refused = next((e for e in refusals if isinstance(e, SpendLimitExceeded)), None)
    if refused is None:
        why = "a spend cap is near, and the tiers it still allows gave no accepted answer"
        return SpendLimitExceeded(f"{whose} stopped: {why}: {story}", result=result)
    return SpendLimitExceeded(
        f"{refused}: {story}",
        cap=refused.cap,
        spent_usd=refused.spent_usd,
        asked_usd=refused.asked_usd,
        resets_at=refused.resets_at,
        result=result,
    )
