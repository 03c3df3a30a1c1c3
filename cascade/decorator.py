"""`Cascade`: the engine as an object, and as the decorator `@cascade(...)`."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from os import PathLike
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from anyio import CancelScope

from cascade.budget import LatencySketch
from cascade.engine import climb, failure
from cascade.errors import ConfigError, did_you_mean
from cascade.function import CascadeFunction, CascadeMethod
from cascade.metering import send
from cascade.observing import NO_LABELS, Labels, Observer, Observers, as_observers
from cascade.options import check_count, check_seconds, named_options
from cascade.routing import (
    OnExhausted,
    Path,
    Plan,
    Thresholds,
    check_on_exhausted,
    check_thresholds,
    make_plan,
)
from cascade.shutdown import Shutdown
from cascade.spend import Spend
from cascade.tier import Tier
from cascade.types import Answer, Fact, Message, Request, Result
from cascade.validation import Judges, Validator, as_validator

__all__ = ["Cascade", "cascade"]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class Cascade:
    """Answers each call with the cheapest tier whose answer the validators accept. Immutable.

    As a decorator it wraps `async def f(tier, ...)`; as an object it sends chat messages with
    `run`. Both are the same engine.

    Args:
        tiers: the ladder, cheapest first.
        validators: what every answer must pass: validators, names of registered ones, or plain
            callables `(answer, context)`. None: every answer that comes back is accepted, and
            only failed calls escalate.
        paths: named kinds of call.
        name: for results, logs and errors.
        on_exhausted: "raise" an error when no answer is accepted; or return the "best" rejected
            one from `run`, marked `accepted=False`.
        feedback: whether a rejected answer, with what was wrong, is handed to the next tier.
        reasks: how often a tier is asked again with the feedback before the call escalates.
        spend: caps on what it may cost. None: no caps.
        thresholds: by validator name, or by tier name and then validator name; they go before
            the validators' own `.at(...)`.
        observers: who is told of each call: a ledger, metrics, traces, or any object with a method
            `record(result)`.
        clock: seconds for latencies. Deadlines run on the event loop's own clock.

    Raises:
        ConfigError: the options do not fit together; the message names the mend.
    """

    @named_options
    def __init__(
        self,
        *,
        tiers: Iterable[Tier],
        validators: Iterable[Validator | Judges | str] = (),
        paths: Mapping[str, Path] | None = None,
        name: str | None = None,
        on_exhausted: OnExhausted = "raise",
        feedback: bool = False,
        reasks: int = 0,
        spend: Spend | None = None,
        thresholds: Thresholds | None = None,
        observers: Iterable[Observer] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.name = name
        self.tiers = _checked_tiers(tiers)
        self.validators = _checked_validators(validators)
        self.paths = _checked_paths(paths)
        thresholds = thresholds or {}
        check_on_exhausted("the cascade", on_exhausted)
        check_count("reasks", reasks, least=0)
        self._check_effect(feedback, reasks)
        if spend is not None:
            spend.check_prices(self.tiers)
            spend.check_near_last(self.tiers)
        check_thresholds("the cascade", thresholds, self.tiers, self.validators)

        watchers = Observers(as_observers(observers))
        self._shutdown = Shutdown()
        latencies = {tier.name: LatencySketch(tier.latency_s) for tier in self.tiers}

        def plan(path_name: str | None, path: Path) -> Plan:
            return make_plan(
                self.tiers,
                self.validators,
                thresholds,
                cascade=name,
                path_name=path_name,
                path=path,
                on_exhausted=on_exhausted,
                feedback=feedback,
                reasks=reasks,
                clock=clock,
                latencies=latencies,
                shutdown=self._shutdown,
                spend=spend,
                observers=watchers,
            )

        self._plan = plan(None, Path())
        self._plans = {path_name: plan(path_name, path) for path_name, path in self.paths.items()}

    def _check_effect(self, feedback: bool, reasks: int) -> None:
        """Refuse options that could never do anything."""
        names = [tier.name for tier in self.tiers]
        for validator in self.validators:
            for one in validator.walk():
                for tier in sorted((one.tiers or frozenset()) - set(names)):
                    raise ConfigError(
                        f"validator {one.name!r} is for tier {tier!r}, which is not in this "
                        f"cascade; {did_you_mean(tier, names)}"
                    )
        if feedback and len(self.tiers) == 1:
            raise ConfigError("feedback=True has no effect with one tier; add one, or use reasks=1")
        for option, given in (("feedback=True", feedback), (f"reasks={reasks}", reasks)):
            if given and not self.validators:
                raise ConfigError(f"{option} has no effect without validators; add one")

    @classmethod
    def from_config(cls, file: str | PathLike[str], name: str | None = None) -> Cascade:
        """The cascade of that name in a `cascade.toml`. None: the only one in it.

        Raises:
            ConfigError: the file cannot be read or says something that cannot work.
        """
        from cascade.config import load

        return load(file).cascade(name)

    def plan(self, path: str | None = None) -> Plan:
        """How calls on a path run. None: the whole ladder without a budget.

        Raises:
            ConfigError: there is no such path.
        """
        if path is None:
            return self._plan
        if not isinstance(path, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"path is a {type(path).__name__}; give the name of one in paths")
        if path not in self._plans:
            raise ConfigError(
                f"the cascade has no path {path!r}; {did_you_mean(path, self._plans)}"
            )
        return self._plans[path]

    async def run(
        self,
        request: str | Request | Mapping[str, Any] | Iterable[Message],
        *,
        path: str | None = None,
        budget_s: float | None = None,
        signals: Mapping[str, Fact] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Result[Any]:
        """Send chat messages, with all their parameters, up the ladder.

        Args:
            request: a string (one user message), messages, a body `{"messages": [...], ...}` in
                the OpenAI wire format, or a `Request`.
            path: the name of a path. None: the whole ladder without a budget.
            budget_s: seconds this call may take. It can shorten the path's budget, not lengthen
                it. None: as the path says.
            signals: facts about the request that rules may go by, such as `{"stakes": "high"}`.
            metadata: labels of your own, kept with the record of the call.

        Raises:
            CascadeExhausted: no rung's answer was accepted (unless `on_exhausted="best"`).
            DeadlineExceeded: the path's budget ran out first (likewise).
            ConfigError: the path or the request cannot work.
        """
        check_seconds("budget_s", budget_s)
        plan = self.plan(path)
        labels = Labels(signals or {}, metadata or {}) if signals or metadata else NO_LABELS
        result = await climb(plan, send, (Request.of(request),), {}, budget_s, labels)
        if not result.accepted and plan.on_exhausted == "raise":
            raise failure(result)
        return result

    @asynccontextmanager
    async def lifespan(self, *, drain_s: float | None = None) -> AsyncGenerator[Cascade]:
        """Takes calls inside of it, and drains when it is left: for the lifetime of a server.

        Leaving it refuses new calls, waits for those in flight, and cancels what takes longer than
        `drain_s`: those raise `CascadeClosed` to their callers, every attempt on the bill. Calls
        are kept account of only inside of it; that costs each a cancel scope.

        Args:
            drain_s: seconds the calls in flight have to end. None: as long as it takes.
        """
        check_seconds("drain_s", drain_s)
        self._shutdown.open()
        try:
            yield self
        finally:
            # Shielded, so that a server that is cancelled still drains; but never without an end.
            with CancelScope(shield=drain_s is not None):
                await self._shutdown.drain(drain_s)

    @overload
    def __call__(
        self, function: Callable[Concatenate[Tier, P], Awaitable[Answer[T]]]
    ) -> CascadeFunction[P, T]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Tier, P], Awaitable[R]]
    ) -> CascadeFunction[P, R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[S, Tier, P], Awaitable[Answer[T]]]
    ) -> CascadeMethod[S, P, T]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[S, Tier, P], Awaitable[R]]
    ) -> CascadeMethod[S, P, R]: ...
    def __call__(self, function: Callable[..., Awaitable[Any]]) -> Any:
        """Wrap an async function whose first parameter (after `self`) is the tier.

        Raises:
            ConfigError: it is not async, or takes no tier.
        """
        return CascadeFunction.of(function, self)

    def __repr__(self) -> str:
        ladder = " > ".join(tier.name for tier in self.tiers)
        return f"<Cascade {self.name or ''}[{ladder}]>"


cascade = Cascade
"""`@cascade(tiers=[...], ...)`: the class by the name that reads well as a decorator."""


def _checked_tiers(tiers: Iterable[Tier]) -> tuple[Tier, ...]:
    if isinstance(tiers, Tier | str):
        raise ConfigError("tiers is one tier; put it in a list, as in tiers=[small]")
    ladder = tuple(tiers)
    if not ladder:
        raise ConfigError("a cascade has no tiers; give it at least one, cheapest first")
    seen: set[str] = set()
    for tier in ladder:
        if not isinstance(tier, Tier):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"a tier is a {type(tier).__name__}; write Tier('small', model='openai:...')"
            )
        if tier.name in seen:
            raise ConfigError(f"two tiers are named {tier.name!r}; give each a name of its own")
        seen.add(tier.name)
    return ladder


def _checked_paths(paths: Mapping[str, Path] | None) -> Mapping[str, Path]:
    if paths is not None and not isinstance(paths, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f'paths is a {type(paths).__name__}; give each a name, as in {{"live": Path(...)}}'
        )
    return dict(paths or {})


def _checked_validators(
    validators: Iterable[Validator | Judges | str],
) -> tuple[Validator, ...]:
    if isinstance(validators, Validator | str) or callable(validators):
        raise ConfigError("validators is one validator; put it in a list, as in validators=[mine]")
    return tuple(as_validator(validator) for validator in validators)
