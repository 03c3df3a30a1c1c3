"""`Cascade`: the engine as an object, and as the decorator `@cascade(...)`."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path as FilePath
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from anyio import CancelScope, create_task_group

from cascade.auditing import Audit, Auditor
from cascade.budget import LatencySketch
from cascade.checks import (
    check_effect,
    check_goes_with_policy,
    checked_floors,
    checked_paths,
    checked_rules,
    checked_tiers,
    checked_validators,
)
from cascade.engine import climb, failure
from cascade.errors import ConfigError, did_you_mean
from cascade.explaining import Explanation
from cascade.function import CascadeFunction, CascadeMethod
from cascade.metering import send
from cascade.observing import NO_LABELS, Labels, Observer, Observers, as_observers
from cascade.options import check_count, check_seconds, named_options
from cascade.policing import (
    PolicySource,
    check_policy,
    check_thresholds_idle,
    weighed_by_policies,
)
from cascade.policy import Policy
from cascade.providers import prepare
from cascade.route_plans import RoutePlans
from cascade.routes import Routes
from cascade.routing import (
    OnExhausted,
    Path,
    Plan,
    Rung,
    Thresholds,
    check_on_exhausted,
    check_thresholds,
    make_plan,
    rung_for,
)
from cascade.rules import Router, Rule
from cascade.shutdown import Shutdown
from cascade.signals import Reader, RequestFrom, SignalFunction
from cascade.spend import Spend
from cascade.tier import Tier
from cascade.types import Answer, Fact, Message, Request, Result
from cascade.validation import Judges, Validator

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
        rules: what a call may use of the ladder, by its signals; the first that matches decides,
            and where none does, its path.
        floors: the lowest tier that calls of some stakes may begin with, such as
            `{"high": "large"}`, whatever rules, router and path say.
        router: chooses the first rung where the rules fixed none. None: the path does.
        signals: signals of your own for rules and router: `(request, signals) -> value`, by name.
        request_from: finds the request among a wrapped function's arguments, for its signals.
            None: the first argument that is one, else all text in them.
        spend: caps on what it may cost. None: no caps.
        thresholds: by validator name, or by tier name and then validator name; they go before
            the validators' own `.at(...)`.
        policy: a tuned policy, or its file, which is read again when it changes. It weighs the
            scores of validators in place of thresholds, and decides whom to ask next. None: the
            thresholds decide.
        observers: who is told of each call: a ledger, metrics, traces, or any object with a method
            `record(result)`.
        audit: how a share of its accepted answers is compared with the strongest tier's, off the
            request path. None: not at all.
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
        rules: Iterable[Rule] = (),
        floors: Mapping[str, str] | None = None,
        router: Router | None = None,
        signals: Mapping[str, SignalFunction] | None = None,
        request_from: RequestFrom | None = None,
        spend: Spend | None = None,
        thresholds: Thresholds | None = None,
        policy: Policy | str | PathLike[str] | None = None,
        observers: Iterable[Observer] = (),
        audit: Audit | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.name = name
        self.tiers = checked_tiers(tiers)
        self.validators = checked_validators(validators)
        self.paths = checked_paths(paths)
        self.rules = checked_rules(rules)
        thresholds = thresholds or {}
        check_on_exhausted("the cascade", on_exhausted)
        check_count("reasks", reasks, least=0)
        judges = (*self.validators, *(one for rule in self.rules for one in rule.validators))
        check_effect(self.tiers, judges, feedback=feedback, reasks=reasks)
        if policy is not None:
            check_goes_with_policy(self.paths, feedback=feedback, reasks=reasks)
        if spend is not None:
            spend.check_prices(self.tiers)
            spend.check_near_last(self.tiers)
        check_thresholds("the cascade", thresholds, self.tiers, self.validators)

        in_force = self._policy_in_force(policy, clock, router)
        weighed = frozenset[str]() if policy is None else weighed_by_policies(self.validators)
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
                policy=in_force,
                weighed=weighed,
            )

        whole = plan(None, Path())
        self.auditor = None if audit is None else Auditor(audit, whole, self.paths)
        self._plan = replace(whole, audit=self.auditor)
        self._plans = {
            path_name: replace(plan(path_name, path), audit=self.auditor)
            for path_name, path in self.paths.items()
        }
        if policy is not None:
            made = (self._plan, *self._plans.values())
            check_thresholds_idle([one for each in made for one in each.rungs], self.rules, weighed)

        def rung(tier: Tier, path_name: str | None, more: tuple[Validator, ...]) -> Rung:
            own: Thresholds = {} if path_name is None else self.paths[path_name].thresholds
            judges = (*self.validators, *more)
            return rung_for(tier, judges, (thresholds, own), latencies[tier.name], weighed)

        plans = RoutePlans(self.tiers, {one: self.plan(one) for one in (None, *self.paths)}, rung)
        by_path = {path_name: path.declared() for path_name, path in self.paths.items()}
        reader = Reader(name, signals, by_path, request_from)
        self.routes = Routes(
            plans,
            self.rules,
            checked_floors(floors),
            router,
            reader,
            reads_text=in_force is not None and in_force.current().router is not None,
        )

    def _policy_in_force(
        self,
        policy: Policy | str | PathLike[str] | None,
        clock: Callable[[], float],
        router: Router | None,
    ) -> PolicySource | None:
        """Where the policy comes from. None: there is none."""
        if policy is None:
            return None

        def check(found: Policy) -> None:
            check_policy(found, self.tiers, self.validators, self.name)
            if found.router is not None and router is not None:
                raise ConfigError("the policy has a router of its own; leave out router")

        def text_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
            return self.routes.reader.said(args, kwargs).text

        source = FilePath(policy) if isinstance(policy, str | PathLike) else policy
        return PolicySource(source, check, clock, text_of)

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
        args = (Request.of(request),)
        if self.routes.is_needed:
            plan, labels = self.routes.choose(path, args, {}, labels)
        result = await climb(plan, send, args, {}, budget_s, labels)
        if not result.accepted and plan.on_exhausted == "raise":
            raise failure(result)
        return result

    def explain(
        self,
        request: str | Request | Mapping[str, Any] | Iterable[Message],
        *,
        path: str | None = None,
        signals: Mapping[str, Fact] | None = None,
    ) -> Explanation:
        """How `run` with the same arguments would go up the ladder, and why. Nothing is sent.

        Raises:
            ConfigError: the path or the request cannot work.
        """
        self.plan(path)
        declared = Labels(signals or {}).signals
        return self.routes.explain(path, (Request.of(request),), {}, declared)

    def route(
        self, plan: Plan, args: tuple[Any, ...], kwargs: Mapping[str, Any], labels: Labels
    ) -> tuple[Plan, Labels]:
        """What the rules make of a plan and the labels, for a call of a wrapped function."""
        if not self.routes.is_needed:
            return plan, labels
        return self.routes.choose(plan.path, args, kwargs, labels)

    @asynccontextmanager
    async def lifespan(self, *, drain_s: float | None = None) -> AsyncGenerator[Cascade]:
        """Takes calls inside of it, and drains when it is left: for the lifetime of a server.

        Leaving it refuses new calls, waits for those in flight, and cancels what takes longer than
        `drain_s`: those raise `CascadeClosed` to their callers, every attempt on the bill. Calls
        are kept account of only inside of it; that costs each a cancel scope. Audits run inside of
        it too; those that have not ended when it is left are dropped.

        Args:
            drain_s: seconds the calls in flight have to end. None: as long as it takes.
        """
        check_seconds("drain_s", drain_s)
        self._shutdown.open()
        if any(tier.is_remote for tier in self.tiers):
            await prepare()  # so that the first call does not wait for it
        async with _beside(self.auditor):
            try:
                yield self
            finally:
                # Shielded, so that a server that is cancelled still drains; but never for ever.
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


@asynccontextmanager
async def _beside(auditor: Auditor | None) -> AsyncGenerator[None]:
    """Audit while what is inside runs. What that raises comes out as it is, in no group."""
    if auditor is None:
        yield
        return
    raised: Exception | None = None
    async with create_task_group() as group:
        group.start_soon(auditor.work)
        try:
            yield
        except Exception as error:
            raised = error
        group.cancel_scope.cancel()
    if raised is not None:
        raise raised


cascade = Cascade
"""`@cascade(tiers=[...], ...)`: the class by the name that reads well as a decorator."""
