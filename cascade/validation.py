"""Validators: what judges an answer, how to write one, and how they compose.

A validator is any sync or async callable `(answer, context) -> bool | float | Verdict | None`:
True and False are verdicts, a number is a score that needs a threshold, None abstains.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from copy import copy
from time import perf_counter
from typing import Any, Literal, TypeAlias, TypeVar

from cascade import registry
from cascade.context import Context
from cascade.errors import ConfigError
from cascade.logs import warn
from cascade.options import check_seconds, check_threshold
from cascade.types import UNSET, Answer, Verdict

__all__ = [
    "Check",
    "Judgement",
    "Judges",
    "Validator",
    "as_validator",
    "judge_together",
    "validator",
    "version_of",
]

Judgement: TypeAlias = bool | float | Verdict | None
Judges: TypeAlias = Callable[[Answer[Any], Context], Judgement | Awaitable[Judgement]]
V = TypeVar("V", bound="Validator")


class Validator(ABC):
    """Judges one answer. Immutable: `at`, `named`, `for_tiers` give copies.

    Attributes:
        name: how thresholds, verdicts and reasons call it.
        paid: whether it calls a model; paid ones run only after all free ones have passed.
        inline: whether it can be judged without awaiting anything.
        tiers: the names of the tiers it judges. None: all.
    """

    __slots__ = ("inline", "name", "paid", "tiers")

    name: str
    paid: bool
    inline: bool
    tiers: frozenset[str] | None

    @property
    def version(self) -> str:
        """What its scores depend on beside its name and the answer, such as a judge's rubric.

        A policy that was tuned on the scores of another version is refused. "": nothing is said.
        """
        return ""

    @abstractmethod
    def judge_inline(self, answer: Answer[Any], context: Context) -> Verdict:
        """The verdict, at once. Only for validators that are `inline`. Never raises."""

    @abstractmethod
    async def judge(self, answer: Answer[Any], context: Context | None = None) -> Verdict:
        """The verdict. Never raises: what cannot be judged abstains. Cancellation passes."""

    @abstractmethod
    def walk(self) -> Iterator[Validator]:
        """Itself, then every validator it is made of."""

    @abstractmethod
    def missing_thresholds(self) -> list[str]:
        """The names of the validators in it that only give a score and have no threshold."""

    @abstractmethod
    def fitted(self, tier: str, thresholds: Mapping[str, float]) -> Validator | None:
        """A copy for one tier, with thresholds by name. None: it does not judge that tier."""

    def at(self, threshold: float) -> Validator:
        """A copy whose score must be at least `threshold` to pass.

        Raises:
            ConfigError: the threshold is no score, or this validator has no score of its own.
        """
        raise ConfigError(f"{self.name!r} has no threshold of its own; set those of its parts")

    def named(self: V, name: str) -> V:
        """A copy with another name, such as to tell two of a kind apart."""
        return self._with(name=name)

    def for_tiers(self: V, *names: str) -> V:
        """A copy that judges these tiers only; on others it is as if it were not there."""
        if not names:
            raise ConfigError(f"for_tiers of {self.name!r} names no tier")
        return self._with(tiers=frozenset(names))

    def optional(self) -> Validator:
        """A copy whose abstention counts as passed, for what not every tier can show."""
        from cascade.composition import Optional

        return Optional([self])

    def _with(self: V, **changes: Any) -> V:
        changed = copy(self)
        for name, value in changes.items():
            setattr(changed, name, value)
        return changed

    def __and__(self, other: Validator | Judges) -> Validator:
        from cascade.composition import All

        return All(self, other)

    def __rand__(self, other: Judges) -> Validator:
        from cascade.composition import All

        return All(other, self)

    def __or__(self, other: Validator | Judges) -> Validator:
        from cascade.composition import AnyOf

        return AnyOf(self, other)

    def __ror__(self, other: Judges) -> Validator:
        from cascade.composition import AnyOf

        return AnyOf(other, self)

    def __invert__(self) -> Validator:
        from cascade.composition import Inverse

        return Inverse([self])

    def __bool__(self) -> bool:
        # `a and b` would quietly be b alone, and `not a` be False.
        raise ConfigError(
            f"and, or, not and if do not join validators such as {self.name!r}; write &, | or ~"
        )

    def __repr__(self) -> str:
        return f"<validator {self.name}>"


class Check(Validator):
    """A simple validator: a callable with a name, and what the engine must know of it.

    Args:
        name: its name.
        judges: the callable.
        at: the least score that passes. None: no threshold, so a bare score abstains.
        timeout_s: seconds it may take; then it abstains. A sync one runs in a worker thread.
        cost: "paid" when it calls a model.
        blocking: whether it may block (files, locks, long sums), so that it runs in a worker
            thread. Sync callables only.
        scored: True when it only gives scores, so that a cascade refuses it without a threshold;
            False when it never does, so that a threshold is refused. None: it may do either.
        version: to be changed whenever it scores otherwise than before, so that policies that were
            tuned on its scores are refused. "": it has none.

    Raises:
        ConfigError: the options do not fit together.
    """

    __slots__ = (
        "_in_thread",
        "_is_async",
        "_judges",
        "_version",
        "scored",
        "threshold",
        "timeout_s",
    )

    def __init__(
        self,
        name: str,
        judges: Judges,
        *,
        at: float | None = None,
        timeout_s: float | None = None,
        cost: Literal["free", "paid"] = "free",
        blocking: bool = False,
        scored: bool | None = None,
        version: str = "",
    ) -> None:
        if not callable(judges):
            raise ConfigError(f"validator {name!r} is a {type(judges).__name__}, not a callable")
        if cost not in ("free", "paid"):
            raise ConfigError(f'validator {name!r}: cost={cost!r}; write "free" or "paid"')
        if at is not None:
            _check_at(name, at, scored)
        check_seconds(f"validator {name!r}: timeout_s", timeout_s)
        _check_signature(name, judges)
        self._is_async = _returns_awaitable(judges)
        if self._is_async and blocking:
            raise ConfigError(f"validator {name!r} is async; blocking=True is for sync ones")
        self.name = name
        self.paid = cost == "paid"
        self.tiers = None
        self.threshold = at
        self.timeout_s = timeout_s
        self.scored = scored
        self._version = version
        self._judges = judges
        # A sync function can be timed out only from outside of its thread.
        self._in_thread = not self._is_async and (blocking or timeout_s is not None)
        self.inline = not self._is_async and not self._in_thread

    @property
    def version(self) -> str:
        return self._version

    def __call__(self, answer: Answer[Any], context: Context) -> Any:
        """The callable itself, as it was written."""
        return self._judges(answer, context)

    def at(self, threshold: float) -> Check:
        _check_at(self.name, threshold, self.scored)
        return self._with(threshold=threshold)

    def walk(self) -> Iterator[Validator]:
        yield self

    def missing_thresholds(self) -> list[str]:
        return [self.name] if self.scored and self.threshold is None else []

    def fitted(self, tier: str, thresholds: Mapping[str, float]) -> Check | None:
        if self.tiers is not None and tier not in self.tiers:
            return None
        return self.at(thresholds[self.name]) if self.name in thresholds else self

    def judge_inline(self, answer: Answer[Any], context: Context) -> Verdict:
        try:
            said = self._judges(answer, context)
            if said is True:  # the common case first: this is the hot path
                return Verdict("passed", 1.0, "", None, UNSET, self.name, self.threshold)
            return self._settle(said)
        except Exception as error:
            return self._crashed(error)

    async def judge(self, answer: Answer[Any], context: Context | None = None) -> Verdict:
        context = context or Context()
        if self.inline:
            return self.judge_inline(answer, context)
        try:
            if self.timeout_s is None:
                return self._settle(await self._ask(answer, context))
            from anyio import current_time, move_on_after

            said: Any = None
            with move_on_after(self.timeout_s) as scope:
                said = await self._ask(answer, context)
            # By the clock: a callable that blocks, or swallows its cancellation, comes back late.
            if scope.cancelled_caught or current_time() >= scope.deadline:
                return self._named(Verdict.abstained("timeout"))
            return self._settle(said)
        except Exception as error:
            return self._crashed(error)

    async def _ask(self, answer: Answer[Any], context: Context) -> Judgement:
        with context.billed_to(self.name):  # a worker thread inherits it
            if self._in_thread:
                from cascade.threads import run_in_thread

                said = await run_in_thread(functools.partial(self._judges, answer, context))
            else:
                said = self._judges(answer, context)
            return await said if inspect.isawaitable(said) else said

    def _settle(self, said: Any) -> Verdict:
        """The verdict in whatever the callable returned."""
        if isinstance(said, Verdict):
            return self._weigh(said) if _is_sound(said) else self._no_verdict(said)
        if said is None:
            return self._named(Verdict.abstained("undecided"))
        # numpy's bool is neither a bool nor a number of its own accord.
        if isinstance(said, bool) or type(said).__name__ in ("bool", "bool_"):
            return self._named(Verdict.passed() if said else Verdict.failed())
        if inspect.iscoroutine(said):
            said.close()  # a sync function that hands out a coroutine: nobody will await it
            return self._no_verdict(said)  # pyright: ignore[reportUnknownArgumentType]
        if not _is_number(said):
            return self._no_verdict(said)
        return self._weigh(Verdict.scored(said))

    def _no_verdict(self, said: Any) -> Verdict:
        warn("validator_gave_no_verdict", validator=self.name, type=type(said).__name__)
        return self._named(Verdict.abstained("not_a_verdict"))

    def _weigh(self, verdict: Verdict) -> Verdict:
        """Hold a score against the threshold, where it has not been decided yet."""
        score = verdict.score
        verdict = self._named(verdict)
        if score is not None:
            try:
                verdict.score = score = float(score)
            except OverflowError:  # an int beyond every float
                score = math.inf
            if not 0 <= score <= 1:  # NaN is outside too
                return self._named(Verdict.abstained("score_out_of_range"))
        if verdict.status != "abstained" or score is None or self.threshold is None:
            return verdict
        if score >= self.threshold:
            verdict.status, verdict.reason = "passed", ""
        else:
            verdict.status, verdict.reason = "failed", "below_threshold"
            verdict.feedback = verdict.feedback or (
                f"{self.name} scored {score:.2f}; at least {self.threshold:.2f} is needed."
            )
        return verdict

    def _named(self, verdict: Verdict) -> Verdict:
        # A copy: the author may return one and the same verdict every time.
        return Verdict(
            verdict.status,
            verdict.score,
            verdict.reason,
            verdict.feedback,
            verdict.value,
            self.name,
            self.threshold,
            verdict.parts,
        )

    def _crashed(self, error: Exception) -> Verdict:
        return self._named(crashed(self, error))


def _is_sound(verdict: Verdict) -> bool:
    """Whether a verdict that somebody wrote holds what its fields promise."""
    score: Any = verdict.score
    texts: tuple[Any, ...] = (verdict.reason, verdict.feedback or "")
    return (
        verdict.status in ("passed", "failed", "abstained")
        and (score is None or _is_number(score))
        and all(isinstance(text, str) for text in texts)
    )


def _is_number(value: object) -> bool:
    # Not by trying float(): that reads text too, and "1" is no more of a score than "one".
    return hasattr(value, "__float__")


def _check_at(name: str, threshold: float, scored: bool | None) -> None:
    check_threshold(f"validator {name!r}", threshold)
    if scored is False:
        raise ConfigError(
            f"validator {name!r} passes or fails and gives no score, so that a threshold of "
            f"{threshold!r} has no effect on it; leave it out"
        )


def _check_signature(name: str, judges: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(judges)
    except (TypeError, ValueError):
        return  # built into Python, without a signature to look at
    try:
        signature.bind(None, None)
    except TypeError:
        raise ConfigError(
            f"validator {name!r} cannot be called with (answer, context): its signature is "
            f"{signature}; a function that makes validators is to be called first: {name}(...)"
        ) from None


def _returns_awaitable(judges: Callable[..., Any]) -> bool:
    while isinstance(judges, functools.partial):
        judges = judges.func
    return inspect.iscoroutinefunction(judges) or inspect.iscoroutinefunction(
        getattr(judges, "__call__", None)  # noqa: B004 - asks whether it is async, not callable
    )


def version_of(*parts: object) -> str:
    """A short version made of what a validator's scores depend on."""
    text = json.dumps(parts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def crashed(validator: Validator, error: Exception) -> Verdict:
    """The abstention of a validator that raised `error`; the log says which and what."""
    warn("validator_crashed", validator=validator.name, error=type(error).__name__)
    return Verdict("abstained", reason=f"crashed:{type(error).__name__}", validator=validator.name)


def sound(validator: Validator, said: object) -> Verdict:
    """The verdict itself; an abstention where a user's kind of Validator gave something else."""
    if isinstance(said, Verdict):
        return said
    warn("validator_gave_no_verdict", validator=validator.name, type=type(said).__name__)
    return Verdict("abstained", reason="not_a_verdict", validator=validator.name)


async def judge_together(
    validators: Sequence[Validator], answer: Answer[Any], context: Context
) -> list[Verdict]:
    """The verdicts of several validators that run at once, in their order."""
    verdicts: dict[int, Verdict] = {}

    async def judge(place: int, one: Validator) -> None:
        started = perf_counter()
        try:
            verdict = sound(one, await one.judge(answer, context))
        except Exception as error:
            verdict = crashed(one, error)
        verdict.latency_s = perf_counter() - started
        verdicts[place] = verdict

    if len(validators) == 1:  # a task group costs more than most judgements
        await judge(0, validators[0])
        return [verdicts[0]]
    from anyio import create_task_group

    async with create_task_group() as group:
        for place, one in enumerate(validators):
            group.start_soon(judge, place, one)
    return [verdicts[place] for place in range(len(validators))]


def validator(
    name: str,
    *,
    at: float | None = None,
    timeout_s: float | None = None,
    cost: Literal["free", "paid"] = "free",
    blocking: bool = False,
    replace: bool = False,
    version: str = "",
) -> Callable[[Judges], Check]:
    """Register a sync or async callable as a validator: `@validator("mentions_order", at=0.5)`.

    It may return True or False, a score between 0 and 1 (held against `at`), a `Verdict`, or
    None to abstain. One that raises or times out abstains.

    Args:
        name: the name for config files, thresholds, verdicts and logs.
        at: the least score that passes. None: a bare score abstains.
        timeout_s: seconds it may take. A sync callable then runs in a worker thread.
        cost: "paid" when it calls a model, so that it runs only if the free ones pass.
        blocking: whether a sync callable may block and must run in a worker thread.
        replace: whether a validator registered under this name before is replaced.
        version: to be changed whenever it scores otherwise than before, so that policies that were
            tuned on its scores are refused. "": it has none.

    Raises:
        ConfigError: the name is taken, or the options do not fit together.
    """
    if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError('a validator needs a name: write @validator("mentions_order")')

    def registered(judges: Judges) -> Check:
        check = Check(
            name,
            judges,
            at=at,
            timeout_s=timeout_s,
            cost=cost,
            blocking=blocking,
            version=version,
        )
        registry.register(name, check, replace=replace)
        return check

    return registered


def as_validator(source: Validator | Judges | str) -> Validator:
    """A validator from a validator, the name of one, or any callable.

    Raises:
        ConfigError: the name is unknown, or it is none of these.
    """
    if isinstance(source, Validator):
        return source
    if isinstance(source, str):
        return registry.build(source, {})
    if callable(source):
        return Check(getattr(source, "__name__", type(source).__name__), source)
    raise ConfigError(
        f"a validator is a {type(source).__name__}; give a validator, its name or a callable"
    )
