"""Each case through each tier, or through the whole cascade: one row of recorded runs each.

Every validator judges every answer, and none decides: the rows hold their scores. The rows are
made from the cache of answers, so that a run that was stopped, and one with other thresholds,
validators or graders, asks for nothing again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, TypeAlias

import anyio
from anyio.lowlevel import checkpoint

from cascade.context import Context
from cascade.decorator import Cascade
from cascade.errors import ConfigError, NoAnswerError, did_you_mean
from cascade.evals.cached_tier import Call, Scope, scope
from cascade.evals.cases import Case
from cascade.evals.graders import Grader, GraderSettings, Reply, Ungraded, grader_of
from cascade.evals.observed import hard_passed, signals_of, versions_of
from cascade.metering import invoke, send
from cascade.observing import call_id
from cascade.policing import answer_key
from cascade.routing import Rung
from cascade.spend import Spend
from cascade.tokens import estimate_text, estimate_tokens
from cascade.types import (
    UNSET,
    Answer,
    Attempt,
    Charge,
    Request,
    Result,
    Usage,
    Verdict,
    add_exactly,
)
from cascade.validation import judge_together

__all__ = ["Eval", "Row", "Tally", "check_prices", "ladder", "record_runs"]

Row: TypeAlias = dict[str, Any]
"""One line of a file of recorded runs; `cascade.evals.runs` says what stands in it."""

_GRADER: Final = "grader"
_ZERO: Final = Decimal(0)


@dataclass(slots=True)
class Tally:
    """What a run really sent, and what that cost.

    Attributes:
        sent: answers that were asked for, validators' and judges' included.
        usd: what is known of their cost.
        unknown: charges of unknown cost, as of a call that broke half-way.
        grading_usd: what judges cost when their answers were first asked for. It is in no row.
    """

    sent: int = 0
    usd: Decimal = _ZERO
    unknown: int = 0
    grading_usd: Decimal = _ZERO

    def add(self, of: Scope) -> None:
        """Count what was really sent."""
        for charge in of.paid:
            cost = charge.cost_usd
            self.sent += 1
            self.unknown += cost is None
            self.usd = add_exactly((self.usd, cost or _ZERO)) or _ZERO


@dataclass(frozen=True, slots=True)
class Eval:
    """What is run, and how.

    Attributes:
        cascade: its tiers go through the cache (`CachedTier`), judges' too.
        rungs: the tiers to ask, cheapest first. Empty: the whole cascade is asked.
        grading: how answers are graded.
        samples: how often each case is asked.
        concurrency: how many cases are under way at once.
        spend: the caps that what is really sent counts under. None: there are none.
    """

    cascade: Cascade
    rungs: Sequence[Rung]
    grading: GraderSettings = field(default_factory=GraderSettings)
    samples: int = 1
    concurrency: int = 8
    spend: Spend | None = None

    def rows_of(self, cases: int) -> int:
        """How many rows so many cases make."""
        return cases * self.samples * max(len(self.rungs), 1)


def ladder(cascade: Cascade, tiers: Sequence[str]) -> list[Rung]:
    """The rungs of these tiers, cheapest first. No names: all rungs.

    Raises:
        ConfigError: the cascade has no such tier.
    """
    rungs = cascade.plan().rungs
    names = [rung.tier.name for rung in rungs]
    for name in tiers:
        if name not in names:
            raise ConfigError(f"the cascade has no tier {name!r}; {did_you_mean(name, names)}")
    return [rung for rung in rungs if not tiers or rung.tier.name in tiers]


def check_prices(rungs: Sequence[Rung]) -> None:
    """Raises ConfigError for a tier without a price: runs are compared by their cost."""
    for rung in rungs:
        if rung.tier.price is None:
            raise ConfigError(
                f"tier {rung.tier.name!r} has no price, and recorded runs are compared by cost; "
                "write price = { input = ..., output = ... }, zeros if it is free"
            )


async def record_runs(
    what: Eval, cases: Sequence[Case], advance: Callable[[], None] = lambda: None
) -> tuple[list[Row], Tally]:
    """The rows of all cases in their order, and what was really sent for them.

    A call that breaks makes a row with "outcome": "failed" and stops nothing.

    Args:
        advance: called when a row is ready.

    Raises:
        ConfigError: a case cannot be graded as it says, two cases would have a sample of one id, or
            the configuration cannot work.
    """
    _check_ids(cases, what.samples)
    graders = [grader_of(case, what.grading) for case in cases]  # before anything is paid for
    worker = _Worker(what, Tally(), advance)
    jobs = _jobs(cases, graders, what.samples)
    rows: dict[tuple[int, int], list[Row]] = {}

    async def work() -> None:
        for place, sample, case, grader in jobs:
            rows[place, sample] = await worker.run(case, grader, sample)

    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(what.concurrency):
                tasks.start_soon(work)
    except BaseExceptionGroup as group:
        raise _first(group) from None
    return [row for _, made in sorted(rows.items()) for row in made], worker.tally


def _check_ids(cases: Sequence[Case], samples: int) -> None:
    """Raises ConfigError where a case has the id that a sample of another one gets."""
    by_id = {case.id: case for case in cases}
    for case in cases:
        for sample in range(1, samples):
            if (other := by_id.get(_sample_id(case, sample))) is not None:
                raise ConfigError(
                    f"case {other.id!r} (line {other.line}) has the id of sample {sample + 1} of "
                    f"case {case.id!r} (line {case.line}); give it another id, or leave out "
                    "--samples"
                )


def _sample_id(case: Case, sample: int) -> str:
    """The id of a case's row: its own for the first sample."""
    return f"{case.id}#{sample + 1}" if sample else case.id


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first  # pyright: ignore[reportUnknownArgumentType]


def _jobs(
    cases: Sequence[Case], graders: Sequence[Grader], samples: int
) -> Iterator[tuple[int, int, Case, Grader]]:
    for place, (case, grader) in enumerate(zip(cases, graders, strict=True)):
        for sample in range(samples):
            yield place, sample, case, grader


@dataclass(frozen=True, slots=True)
class _Worker:
    """What the workers of one run share."""

    what: Eval
    tally: Tally
    advance: Callable[[], None]

    async def run(self, case: Case, grader: Grader, sample: int) -> list[Row]:
        await checkpoint()  # answers from the cache can be stopped too
        if not self.what.rungs:
            return [await self._whole(case, grader, sample)]
        attempts: list[Attempt] = []
        return [await self._tier(case, grader, sample, rung, attempts) for rung in self.what.rungs]

    async def _tier(
        self, case: Case, grader: Grader, sample: int, rung: Rung, attempts: list[Attempt]
    ) -> Row:
        """One case through one tier; `attempts` are those of the tiers before, for comparisons."""
        attempt = Attempt(rung.tier.name, model=rung.tier.model)
        attempts.append(attempt)
        of = self._scope(sample)
        row = _labels(case, sample, self.what.samples, rung.tier.name)
        row |= {"cascade": self.what.cascade.name, "tier_model": rung.tier.model}
        if versions := versions_of((*rung.free, *rung.paid)):
            row["versions"] = versions
        try:
            with scope(of):
                context = await _ask(rung, case.request, attempt, attempts)
            row |= _told(attempt.verdicts, attempt.value, of)
            row["schema_ok"] = int(hard_passed((*rung.free, *rung.paid), attempt.verdicts))
            row |= await self._graded(case, grader, attempt, context)
        except ConfigError:
            raise  # a mistake in the program or its configuration, not a call that broke
        except Ungraded as error:
            row |= _failed(f"{_GRADER}:{error.reason}")
        except Exception as error:
            row |= _failed(type(error).__name__)
        self._count(of)
        return row

    async def _whole(self, case: Case, grader: Grader, sample: int) -> Row:
        """One case through the cascade, as it would be answered."""
        of = self._scope(sample)
        row = _labels(case, sample, self.what.samples, self.what.cascade.name or "cascade")
        raised = False
        try:
            with scope(of):
                try:
                    result = await self.what.cascade.run(
                        case.request, signals=_slice_of(row, self.what.cascade)
                    )
                except NoAnswerError as error:
                    if error.result is None:
                        raise
                    result, raised = error.result, True
            row |= await self._whole_told(case, grader, result, of, raised)
        except ConfigError:
            raise
        except Ungraded as error:
            row |= _failed(f"{_GRADER}:{error.reason}")
        except Exception as error:
            row |= _failed(type(error).__name__)
        self._count(of)
        return row

    async def _whole_told(
        self, case: Case, grader: Grader, result: Result[Any], of: Scope, raised: bool
    ) -> Row:
        answered = next((a for a in reversed(result.attempts) if a.answer is result.answer), None)
        if answered is None or result.answer is None:
            return _failed(result.reason)
        row = _told(answered.verdicts, answered.value, of)
        row |= {
            "accepted": result.accepted,
            "answered_by": result.tier,
            "asked": [a.tier for a in result.attempts if a.outcome != "skipped"],
            "escalations": result.escalations,
            "reason": result.reason,
        }
        if raised:  # the caller got an error: as useful as a wrong answer
            return row | {"outcome": "answered", "correct": 0.0}
        return row | await self._graded(case, grader, answered, Context())

    async def _graded(self, case: Case, grader: Grader, attempt: Attempt, context: Context) -> Row:
        of = Scope(spend=self._spend())
        answer = attempt.answer or Answer(None)
        value = answer.value if attempt.value is UNSET else attempt.value
        # Billed to nobody: what a judge costs is no cost of the tier's.
        apart = Context(context.tier, case.request)
        try:
            with scope(of):
                correct = await grader(case, Reply(answer, value, apart))
        except Ungraded:
            await of.forget()  # a judge's reply without a verdict: kept, it would never get one
            raise
        finally:
            for call in of.calls:
                cost = _cost(call) or _ZERO
                self.tally.grading_usd = add_exactly((self.tally.grading_usd, cost)) or _ZERO
            self.tally.add(of)
        return {"outcome": "answered", "correct": correct}

    def _scope(self, sample: int) -> Scope:
        return Scope(str(sample), self._spend())

    def _spend(self) -> Any:
        spend = self.what.spend
        return None if spend is None else spend.for_call(cascade=self.what.cascade.name, path=None)

    def _count(self, of: Scope) -> None:
        self.tally.add(of)
        self.advance()


async def _ask(
    rung: Rung, request: Request, attempt: Attempt, attempts: Sequence[Attempt]
) -> Context:
    """One answer with all its verdicts, into `attempt`."""
    own_id = call_id()
    charges: list[Charge] = []
    answer, sent = await invoke(send, rung.tier, (request,), {}, charges, call_id=own_id)
    attempt.answer = answer
    context = Context(
        rung.tier,
        sent,
        (request,),
        attempts=tuple(attempts),
        call=send,
        charges=charges,
        call_id=own_id,
    )
    attempt.verdicts = await judge_together((*rung.free, *rung.paid), answer, context)
    return context


def _labels(case: Case, sample: int, samples: int, tier: str) -> Row:
    """What a row says of its case. Samples of one case are a cluster: they share its luck."""
    row: Row = {**case.labels, "qid": _sample_id(case, sample)}
    row["model"] = tier
    if case.slices:
        row["slice"] = "|".join(case.slices)
        row["slices"] = list(case.slices)
    cluster = case.cluster or (case.id if samples > 1 else None)
    if cluster is not None:
        row["cluster"] = cluster
    if case.weight != 1:
        row["weight"] = case.weight
    if samples > 1:
        row["sample"] = sample + 1
    return row


def _slice_of(row: Row, cascade: Cascade) -> dict[str, str]:
    """What the policy in force has to be told of a call: the slice, by its name there."""
    policy = cascade.plan().policy
    by = None if policy is None else policy.current().slice_by
    return {by: str(row[by])} if by is not None and by in row else {}


def _failed(reason: str) -> Row:
    return {"outcome": "failed", "reason": reason}


def _told(verdicts: Sequence[Verdict], value: Any, of: Scope) -> Row:
    """What the answer took, and what the validators said of it."""
    answers = [call for call in of.calls if call.purpose == "answer"]
    usages = [_usage(call) for call in answers]
    return {
        "cost_usd": float(add_exactly(_cost(call) for call in of.calls) or _ZERO),
        "latency_ms": round(1000 * _latency_s(of.calls), 3),
        "tok_in": sum(usage.input_tokens for usage in usages),
        "tok_out": sum(usage.output_tokens for usage in usages),
        **({"estimated": True} if any(call.usage is None for call in of.calls) else {}),
        "answer": answer_key(value),
        "accepted": all(verdict.status == "passed" for verdict in verdicts),
        "signals": signals_of(verdicts),
        "verdicts": [_verdict(verdict) for verdict in verdicts],
    }


def _usage(call: Call) -> Usage:
    """Its tokens, estimated where the provider did not say."""
    if call.usage is not None:
        return call.usage
    return Usage(estimate_tokens(call.request), estimate_text(call.answer.text or ""))


def _cost(call: Call) -> Decimal | None:
    return None if call.price is None else call.price.cost_usd(_usage(call))


def _latency_s(calls: Sequence[Call]) -> float:
    """Seconds that the calls took: each answer's, then its validators', which ask at once."""
    total = longest = 0.0
    for call in calls:
        if call.purpose == "answer":
            total, longest = total + longest + call.latency_s, 0.0
        else:
            longest = max(longest, call.latency_s)
    return total + longest


def _verdict(verdict: Verdict) -> Mapping[str, Any]:
    told: dict[str, Any] = {"validator": verdict.validator, "status": verdict.status}
    if verdict.score is not None:
        told["score"] = verdict.score
    if verdict.threshold is not None:
        told["threshold"] = verdict.threshold
    if verdict.reason:
        told["reason"] = verdict.reason
    return told
