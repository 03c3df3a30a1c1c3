"""One attempt: ask one tier, judge its answer, and put the story of it on record."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from anyio import CancelScope, current_time

from cascade.budget import FITS_AT, fits
from cascade.context import Context
from cascade.decision import judgement
from cascade.errors import ConfigError, SpendLimitExceeded
from cascade.logs import warn
from cascade.metering import Handover, invoke, is_timeout
from cascade.observing import NO_LABELS, Labels, call_id
from cascade.routing import Plan, Rung
from cascade.spend import CallSpend
from cascade.types import Answer, Attempt, Verdict
from cascade.validation import crashed, judge_together, sound
from cascade.weighing import own_verdict

if TYPE_CHECKING:
    from cascade.lateness import Stroke
    from cascade.policy import Policy

__all__ = ["Call", "Run", "attempt_rung"]

Call = Callable[..., Awaitable[Any]]
"""What is asked on each rung: `call(tier, *args, **kwargs)`."""


class Run:
    """One call on its way up: what every attempt of it shares."""

    __slots__ = (
        "args",
        "attempts",
        "call",
        "deadline",
        "id",
        "kwargs",
        "labels",
        "loop_clock",
        "plan",
        "policy",
        "policy_version",
        "route_reason",
        "spend",
        "started",
        "started_at",
        "stroke",
    )

    def __init__(
        self,
        plan: Plan,
        call: Call,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        labels: Labels = NO_LABELS,
    ) -> None:
        self.id = call_id()
        self.started_at = time.time()
        self.started = plan.clock()
        self.labels = labels
        self.plan = plan
        self.call = call
        self.args = args
        self.kwargs = kwargs
        self.attempts: list[Attempt] = []
        self.deadline = math.inf
        self.stroke: Stroke | None = None
        self.loop_clock: Callable[[], float] = current_time
        self.route_reason = plan.rule_reason
        self.policy: Policy | None = None
        self.policy_version: str | None = None
        if plan.policy is not None:
            self.policy, self.policy_version = plan.policy.current(), plan.policy.version
        self.spend: CallSpend | None = None
        if plan.spend is not None:
            self.spend = plan.spend.for_call(cascade=plan.cascade, path=plan.path)

    def time_left_s(self) -> float | None:
        """Seconds to the deadline. None: there is none."""
        return None if self.deadline == math.inf else self.deadline - self.loop_clock()

    def quickest_place(self) -> int | None:
        """The rung that is expected to be quickest. None: not even that one has a chance."""
        rungs, now_s = self.plan.rungs, self.plan.clock()

        def expected_s(place: int) -> float:
            return rungs[place].latency.quantile_s(FITS_AT, now_s) or 0.0

        quickest = min(range(len(rungs)), key=expected_s)
        time_left_s = self.time_left_s()
        if time_left_s is None or rungs[quickest].latency.has_a_chance(time_left_s, now_s):
            return quickest
        return None

    def can_hedge(self, place: int) -> bool:
        """Whether a rung above `place` could make it beside that one. Later none does any more."""
        time_left_s, now_s = self.time_left_s(), self.plan.clock()
        return any(
            fits(rung.latency.quantile_s(FITS_AT, now_s), time_left_s)
            for rung in self.plan.rungs[place + 1 :]
        )

    def skip(self, rung: Rung, reason: str) -> None:
        """Put on record that a rung is not asked."""
        self.attempts.append(
            Attempt(rung.tier.name, outcome="skipped", reason=reason, model=rung.tier.model)
        )

    def unfinished(self) -> list[Attempt]:
        """The attempts that were cut short while they were under way."""
        return [a for a in self.attempts if (a.outcome, a.reason) == ("timed_out", "budget")]

    async def is_too_dear(self, place: int) -> bool:
        """Whether a spend cap is so near that this rung must not be used any more.

        Where that cannot be told, the reservation for the rung meets the same trouble, and is
        what keeps the cap.
        """
        if self.spend is None or place < self.plan.rungs_when_near:
            return False
        try:
            return await self.spend.last_tier() is not None
        except Exception as error:
            warn("spend_not_read", cascade=self.plan.cascade, error=type(error).__name__)
            return False

    def next_place(self, place: int) -> int | None:
        """The lowest rung from `place` on that can be expected to finish in time.

        Those skipped for it are put on record. None: none can.
        """
        rungs = self.plan.rungs
        if self.deadline == math.inf:
            return place
        time_left_s, now_s = self.time_left_s(), self.plan.clock()
        for candidate in range(place, len(rungs)):
            latency = rungs[candidate].latency
            if fits(latency.quantile_s(FITS_AT, now_s), time_left_s) or latency.may_probe(now_s):
                for skipped in rungs[place:candidate]:
                    self.skip(skipped, "budget")
                return candidate
        return None


async def attempt_rung(run: Run, rung: Rung, attempt: Attempt, handover: Handover | None) -> None:
    """Ask one tier and judge its answer; the story of it goes into `attempt`."""
    clock = run.plan.clock
    started = clock()
    attempt.started_s = started - run.started
    try:
        if rung.tier.timeout_s is None:
            await _ask_and_judge(run, rung, attempt, handover, started)
        else:
            with CancelScope(deadline=current_time() + rung.tier.timeout_s) as scope:
                await _ask_and_judge(run, rung, attempt, handover, started)
            if scope.cancelled_caught:
                attempt.reason = "tier_timeout"
    finally:
        now = clock()
        attempt.latency_s = now - started
        if attempt.outcome in ("accepted", "rejected"):
            rung.latency.observe(attempt.latency_s, now)
        elif attempt.outcome == "timed_out":
            rung.latency.observe_at_least(attempt.latency_s, now)


async def _ask_and_judge(
    run: Run, rung: Rung, attempt: Attempt, handover: Handover | None, started: float
) -> None:
    try:
        answer, request = await invoke(
            run.call,
            rung.tier,
            run.args,
            run.kwargs,
            attempt.charges,
            handover=handover,
            deadline=run.deadline,
            spend=run.spend,
            call_id=run.id,
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
    attempt.request = request
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
        run.spend,
        run.id,
    )
    verdicts: list[Verdict] = []  # what validators can reach through the context decides nothing
    try:
        await _judge(run, rung, answer, context, verdicts)
    finally:
        attempt.verdicts = verdicts
    attempt.outcome, attempt.reason = judgement(_deciding(run.plan, rung, verdicts))


async def _judge(
    run: Run, rung: Rung, answer: Answer[Any], context: Context, verdicts: list[Verdict]
) -> None:
    """All free validators; then, if they all passed, the paid ones at once."""
    clock = run.plan.clock
    then = clock()
    for validator in rung.free:
        try:
            if validator.inline:
                verdict = validator.judge_inline(answer, context)
            else:
                verdict = await validator.judge(answer, context)
        except Exception as error:  # a user's own kind of Validator, which promises not to
            verdict = crashed(validator, error)
        verdict = sound(validator, verdict)
        now = clock()
        verdict.latency_s, then = now - then, now
        verdicts.append(verdict)
    if rung.paid and all(v.status == "passed" for v in _deciding(run.plan, rung, verdicts)):
        verdicts.extend(await judge_together(rung.paid, answer, context))


def _deciding(plan: Plan, rung: Rung, verdicts: list[Verdict]) -> list[Verdict]:
    """The verdicts that accept or reject: without thresholds, where a policy weighs the scores."""
    if not plan.weighed:
        return verdicts
    judges = (*rung.free, *rung.paid)
    return [
        own_verdict(judge, verdict) if judge.name in plan.weighed else verdict
        for judge, verdict in zip(judges, verdicts, strict=False)  # the paid ones may yet wait
    ]


def _broke(run: Run, attempt: Attempt, error: Exception) -> None:
    attempt.error = error
    if isinstance(error, SpendLimitExceeded):
        # Refused before anything was asked, or in the middle of what the function does.
        attempt.outcome = "failed" if attempt.charges else "skipped"
        attempt.reason = "spend"
        return
    attempt.outcome = "timed_out" if is_timeout(error) else "failed"
    attempt.reason = type(error).__name__
    warn(
        "attempt_failed",
        cascade=run.plan.cascade,
        path=run.plan.path,
        tier=attempt.tier,
        error=attempt.reason,
    )


def _check_arguments(run: Run, rung: Rung) -> None:
    """Raises TypeError, as any function does, when the caller's arguments do not fit."""
    try:
        signature = inspect.signature(run.call)
    except (TypeError, ValueError):
        return
    signature.bind(rung.tier, *run.args, **run.kwargs)
