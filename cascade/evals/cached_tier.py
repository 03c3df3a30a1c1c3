"""A tier that asks only for what is not in the cache of answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from anyio import current_time

from cascade.errors import ConfigError
from cascade.evals.answer_cache import AnswerCache, Stored, digest
from cascade.metering import Invocation, current_invocation, invoke
from cascade.metering import send as send_through
from cascade.spend import CallSpend
from cascade.tier import Tier
from cascade.types import Answer, Charge, Price, Request, Usage

__all__ = ["CachedTier", "Call", "Scope", "scope"]


class Call(NamedTuple):
    """One call of a tier, as it was when it was made, now or in an earlier run.

    Attributes:
        tier, price: for the bill.
        usage: None when unknown.
        latency_s: seconds it took, without the wait in the tier's own limits.
        purpose: "answer", or the name of the validator that made it.
        request: what was sent.
        answer: what came back.
    """

    tier: str
    price: Price | None
    usage: Usage | None
    latency_s: float
    purpose: str
    request: Request
    answer: Answer[Any]


@dataclass(slots=True)
class Scope:
    """What is asked for one case: which sample it is, and what it took.

    Attributes:
        sample: names the sample; the same request asked twice is another sample each time.
        spend: the caps that what is really sent counts under. None: there are none.
        calls: in the order in which they ended.
        paid: the charges of what was really sent, the failed ones too.
        kept: where the answers are kept, and by which key.
    """

    sample: str = "0"
    spend: CallSpend | None = None
    calls: list[Call] = field(default_factory=list[Call])
    paid: list[Charge] = field(default_factory=list[Charge])
    kept: list[tuple[AnswerCache, str]] = field(default_factory=list[tuple[AnswerCache, str]])
    _asked: Counter[str] = field(default_factory=Counter[str])

    def sample_of(self, request: str) -> str:
        """Which sample the next answer to a request is."""
        times = self._asked[request]
        self._asked[request] += 1
        return f"{self.sample}.{times}" if times else self.sample

    async def forget(self) -> None:
        """Let go of all answers, as they were of no use; the next time they are asked for anew."""
        for cache, key in self.kept:
            await cache.forget(key)


_scope: ContextVar[Scope | None] = ContextVar("cascade_eval_scope", default=None)


@contextmanager
def scope(of: Scope) -> Generator[Scope]:
    """Inside of it what cached tiers are asked belongs to one case."""
    token = _scope.set(of)
    try:
        yield of
    finally:
        _scope.reset(token)


class CachedTier(Tier):
    """The same tier, with a cache of answers before it.

    Everything that holds for the tier (limits, retries, its timeout) holds for what is really
    sent; an answer from the cache comes at once. Either is on the bill of the call.

    Args:
        original: the tier.
        cache: where its answers are kept.
        within: what its calls belong to where no `scope` is open. None: each to itself.
    """

    __slots__ = ("_cache", "_identity", "_original", "_within")

    def __init__(self, original: Tier, cache: AnswerCache, within: Scope | None = None) -> None:
        for name in Tier.__slots__:
            setattr(self, name, getattr(original, name))
        self._original = original
        self._cache = cache
        self._within = within
        self._identity = _identity(original)

    async def send(self, request: Request) -> Answer[Any]:
        """The answer from the cache; else what the tier says now, kept for the next time.

        Raises:
            ConfigError: it is not in a cache that is only replayed.
            ProviderError: the call broke.
        """
        invocation = current_invocation()
        if invocation is not None:
            request = invocation.prepare(request)
        request = request.with_params(self.params)
        asked = digest(self._identity, request, self.drop_params)
        of = _scope.get() or self._within or Scope()
        key = f"{asked}:{of.sample_of(asked)}"
        async with self._cache.turn(key):
            stored = await self._cache.get(key)
            if stored is None:
                stored = await self._ask(request, key, invocation, of)
            elif invocation is not None:
                _bill(self, stored.answer, invocation)
        of.kept.append((self._cache, key))
        answer, purpose = stored.answer, "answer" if invocation is None else invocation.purpose
        of.calls.append(
            Call(self.name, self.price, answer.usage, stored.latency_s, purpose, request, answer)
        )
        return answer

    async def _ask(
        self, request: Request, key: str, invocation: Invocation | None, of: Scope
    ) -> Stored:
        if self._cache.read_only:
            self._cache.missed += 1
            raise ConfigError(
                f"tier {self.name!r} was asked for an answer that is not in {self._cache.path}; "
                "record it first"
            )
        charges: list[Charge] = []
        started = current_time()
        try:
            answer, _ = await invoke(
                send_through,
                self._original,
                (request,),
                {},
                charges,
                purpose="answer" if invocation is None else invocation.purpose,
                spend=of.spend,
                call_id=None if invocation is None else invocation.call_id,
            )
        finally:
            of.paid += charges
        waited_s = sum(charge.queue_s for charge in charges)
        stored = Stored(answer, max(current_time() - started - waited_s, 0.0))
        await self._cache.put(key, self._identity, stored)
        return stored


def _bill(tier: Tier, answer: Answer[Any], invocation: Invocation) -> None:
    invocation.bill(Charge(tier.name, tier.price, answer.usage, invocation.purpose))
    invocation.answers.append(answer)


def _identity(tier: Tier) -> str:
    """What answers: the model, and where it listens if that is not its usual place."""
    models = [one.model for one in tier.deployments if one.model is not None]
    model = tier.model or ",".join(models) or f"call:{tier.name}"
    return model if tier.base_url is None else f"{model}@{tier.base_url}"
