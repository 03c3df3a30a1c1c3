"""Spend caps: money is reserved before a call and settled after it, so that no cap is passed.

A reservation is made on every account its call belongs to, all of them or none. For each account,
at any moment: what is spent and reserved is at most the cap, plus what settled calls cost beyond
their own reservations. A call whose cost is never known counts as what was reserved for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from anyio import CancelScope, current_time

from cascade.errors import ConfigError, SpendLimitExceeded, did_you_mean
from cascade.logs import warn
from cascade.options import named_options
from cascade.spend_store import Held, Limit, MemoryStore, Refusal, SpendStore
from cascade.tokens import correction, estimate_values, guess_tokens, max_output_tokens
from cascade.types import Charge, Request, Usage, add_exactly

if TYPE_CHECKING:
    from cascade.tier import Tier
    from cascade.types import Price

__all__ = [
    "CallSpend",
    "Cap",
    "Period",
    "Reservation",
    "Scope",
    "Spend",
    "SpendState",
    "current_tenant",
    "record_all",
    "reserve_all",
    "tenant",
]

Period: TypeAlias = Literal["call", "day", "month", "process", "total"]
Scope: TypeAlias = Literal["all", "path", "key", "cascade"]
SpendState: TypeAlias = Literal["ok", "near", "spent"]

_PERIODS: Final = ("call", "day", "month", "process", "total")
_SCOPES: Final = ("all", "path", "key", "cascade")
_ZERO: Final = Decimal(0)
DAY_S: Final = 86_400.0  # in Unix time, which knows no leap seconds
SETTLE_WITHIN_S: Final = 1.0
"""How long a call past its deadline, or cancelled, may wait for its store to take the bill."""

_tenant: ContextVar[str | None] = ContextVar("cascade_tenant", default=None)


@contextmanager
def tenant(key: str) -> Generator[None]:
    """Inside of it every call is spent by this tenant, for caps with `scope="key"` or `key=`.

    with tenant("acme"):
        await triage("my invoice is wrong")
    """
    token = _tenant.set(key)
    try:
        yield
    finally:
        _tenant.reset(token)


def current_tenant() -> str | None:
    """The tenant this code runs for. None: none was named."""
    return _tenant.get()


class Cap:
    """The most that may be spent, in USD, in each period, by each of a scope.

    Args:
        usd: the most. Kept exactly.
        per: "call" (one call of a cascade, all its attempts), "day" or "month" (of UTC),
            "process" (until this process ends) or "total" (for ever; in memory: as "process").
        scope: "all" shares one amount among all calls; "path", "key" and "cascade" give each path,
            tenant or cascade its own.
        path, key, cascade: only calls of this path, tenant or cascade count. None: all of them.

    Raises:
        ConfigError: the options do not fit together.
    """

    __slots__ = ("cascade", "is_for_all", "key", "path", "per", "scope", "usd")

    @named_options
    def __init__(
        self,
        usd: float | str | Decimal,
        *,
        per: Period = "day",
        scope: Scope = "all",
        path: str | None = None,
        key: str | None = None,
        cascade: str | None = None,
    ) -> None:
        self.usd = _amount(usd)
        self.per: Period = per
        self.scope: Scope = scope
        self.path = path
        self.key = key
        self.cascade = cascade
        self.is_for_all = scope == "all" and path is None and key is None and cascade is None
        for option, value, known in (("per", per, _PERIODS), ("scope", scope, _SCOPES)):
            if value not in known:
                raise ConfigError(f"a cap has {option}={value!r}; known: {', '.join(known)}")
        if scope != "all" and getattr(self, scope) is not None:
            raise ConfigError(
                f"a cap has scope={scope!r} and {scope}={getattr(self, scope)!r} too; "
                f"leave scope out to cap that {scope} alone"
            )
        if per == "call" and scope != "all":
            raise ConfigError(f"a cap per call has scope={scope!r}, which has no effect")

    def __repr__(self) -> str:
        given = [f"{self.usd:f}", f"per={self.per!r}"]
        if self.scope != "all":
            given.append(f"scope={self.scope!r}")
        only = ((name, getattr(self, name)) for name in ("path", "key", "cascade"))
        given += [f"{name}={value!r}" for name, value in only if value is not None]
        return f"Cap({', '.join(given)})"


def _amount(usd: float | str | Decimal) -> Decimal:
    try:
        amount = usd if isinstance(usd, Decimal) else Decimal(str(usd))
        if isinstance(usd, bool) or not amount.is_finite() or amount <= 0:
            raise ValueError
    except (ArithmeticError, ValueError, TypeError):
        raise ConfigError(f"a cap of {usd!r} is not an amount of USD above 0") from None
    return amount


class Spend:
    """The caps of one or several cascades, and where their money is counted.

    Args:
        caps: a call has to fit all that it belongs to.
        store: where days, months and totals are counted. None: a `MemoryStore` of its own.
        near: the share of a cap from which on it counts as near.
        near_last: once a cap is near, the highest tier that calls of its scope may still use.
            None: they use the whole ladder until the cap is spent.
        output_tokens: what is reserved for the answer where neither the request nor the tier has
            `max_tokens`; about what a provider writes at most then.
        input_safety: what guesses of input tokens are multiplied with.
        clock: Unix time in seconds, for days and months.

    Raises:
        ConfigError: the options do not fit together.
    """

    @named_options
    def __init__(
        self,
        *,
        caps: Iterable[Cap],
        store: SpendStore | None = None,
        near: float = 0.8,
        near_last: str | None = None,
        output_tokens: int = 4096,
        input_safety: float = 1.25,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if isinstance(caps, Cap):
            raise ConfigError("caps is one cap; put it in a list, as in caps=[Cap(5)]")
        self.caps = tuple(caps)
        if not self.caps:
            raise ConfigError("a Spend has no caps; give it one, as in caps=[Cap(5, per='day')]")
        if not 0 < near <= 1:
            raise ConfigError(f"near={near!r} is not a share of a cap; give one above 0, up to 1")
        if output_tokens < 1 or not input_safety >= 1:
            raise ConfigError("output_tokens and input_safety are 1 or more")
        self.store: SpendStore = MemoryStore() if store is None else store
        self.near = Decimal(str(near))
        self.near_last = near_last
        self.output_tokens = output_tokens
        self.input_safety = input_safety
        self.clock = clock
        self._of_process = MemoryStore()

    def check_prices(self, tiers: Iterable[Tier]) -> None:
        """Raises ConfigError when the cost of a tier is unknown, so that no cap could hold."""
        for tier in tiers:
            _known(tier.name, tier.price)

    def check_near_last(self, tiers: Iterable[Tier]) -> None:
        """Raises ConfigError when `near_last` is none of these tiers."""
        names = [tier.name for tier in tiers]
        if self.near_last is not None and self.near_last not in names:
            raise ConfigError(
                f"near_last={self.near_last!r} is no tier of this cascade; "
                f"{did_you_mean(self.near_last, names)}"
            )

    def with_near_last(self, tier: str | None) -> Spend:
        """The same caps, counted together with these, with another `near_last`. None: with none."""
        changed = copy(self)
        changed.near_last = tier
        return changed

    def for_call(self, *, cascade: str | None = None, path: str | None = None) -> CallSpend:
        """One call about to start, which the caps per call count apart."""
        return CallSpend(self, cascade, path)

    async def reserve(
        self, usd: Decimal, *, cascade: str | None = None, path: str | None = None
    ) -> Reservation:
        """Reserve money for work that no cascade does, such as a call of one's own.

        Raises:
            SpendLimitExceeded: a cap would be passed.
        """
        return await self.for_call(cascade=cascade, path=path).reserve(usd)

    async def state(self, *, cascade: str | None = None, path: str | None = None) -> SpendState:
        """How full the fullest cap of such a call is: "ok", "near" or "spent"."""
        return await self.for_call(cascade=cascade, path=path).state()

    def estimate_usd(
        self, tier: Tier, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Decimal:
        """The most that one call of a tier with these arguments is expected to cost, in USD.

        Raises:
            ConfigError: the tier's price is unknown.
        """
        first = args[0] if args else None
        model = tier.model_name or tier.name
        if isinstance(first, Request):
            request = tier.as_sent(first)
            tokens = guess_tokens(request, model)
            written = max_output_tokens(request.params, self.output_tokens)
        else:
            tokens = estimate_values((*args, *(kwargs or {}).values()), model)
            written = max_output_tokens(tier.params, self.output_tokens)
        tokens = round(tokens * correction(model))
        return self._most_usd(tier.name, tier.price, tokens, written)

    def estimate_charge_usd(self, charge: Charge, request: Request, input_tokens: int) -> Decimal:
        """The most that sending `request` for `charge` is expected to cost, in USD.

        Raises:
            ConfigError: the price is unknown.
        """
        written = max_output_tokens(request.params, self.output_tokens)
        return self._most_usd(charge.tier, charge.price, input_tokens, written)

    def _most_usd(self, tier: str, price: Price | None, input_tokens: int, written: int) -> Decimal:
        read_usd, written_usd = _dearest(_known(tier, price))
        return read_usd * round(input_tokens * self.input_safety) + written_usd * written


@lru_cache(maxsize=256)
def _dearest(price: Price) -> tuple[Decimal, Decimal]:
    """USD for a token read and one written: plain or to the cache, seen or hidden."""
    read = (price.cost_usd(Usage(1, 0, None, to_cache)) for to_cache in (0, 1))
    written = (price.cost_usd(Usage(0, 1, None, None, hidden)) for hidden in (0, 1))
    return max(usd for usd in read if usd is not None), max(u for u in written if u is not None)


def _known(tier: str, price: Price | None) -> Price:
    if price is None:
        raise ConfigError(
            f"tier {tier!r} has no price, so its calls cannot be held to a cap; give it "
            "price=Price(input=..., output=...), zeros if it is free"
        )
    return price


class CallSpend:
    """One call of a cascade under one `Spend`, from its first attempt to its last."""

    __slots__ = ("_of_call", "_started_s", "cascade", "path", "spend")

    def __init__(self, spend: Spend, cascade: str | None, path: str | None) -> None:
        self.spend = spend
        self._started_s = spend.clock()
        self.cascade = cascade
        self.path = path
        self._of_call = MemoryStore()

    async def reserve(self, usd: Decimal) -> Reservation:
        """Hold `usd` under every cap of this call. Raises SpendLimitExceeded."""
        return await reserve_all((self,), usd)

    async def state(self) -> SpendState:
        """How full the fullest cap is: "ok", "near" (from `Spend.near` on) or "spent"."""
        now_s = self.spend.clock()
        fullest = _ZERO
        for store, limits in self.limits().items():
            spent = await store.spent([limit.account for limit, _ in limits], now_s)
            shares = (spent[limit.account] / limit.usd for limit, _ in limits)
            fullest = max(fullest, *shares)
        if fullest >= 1:
            return "spent"
        return "near" if fullest >= self.spend.near else "ok"

    async def last_tier(self) -> str | None:
        """The highest tier that this call may use now. None: any."""
        if self.spend.near_last is None or await self.state() == "ok":
            return None
        return self.spend.near_last

    def limits(self) -> dict[SpendStore, list[tuple[Limit, Cap]]]:
        """The caps that this call belongs to, by the store that counts them.

        All of it counts in the day and month in which it started.
        """
        found: dict[SpendStore, list[tuple[Limit, Cap]]] = {}
        for cap in self.spend.caps:
            whose = self._whose(cap)
            if whose is None:
                continue
            period, until_s = _period(cap.per, self._started_s)
            limit = Limit(f"{period} {whose}", cap.usd, until_s)
            store: SpendStore = self.spend.store
            if cap.per == "call":
                store = self._of_call
            elif cap.per == "process":
                store = self.spend._of_process  # pyright: ignore[reportPrivateUsage]
            found.setdefault(store, []).append((limit, cap))
        return found

    def _whose(self, cap: Cap) -> str | None:
        """The path, tenant and cascade that an account is for. None: the cap is for others."""
        if cap.is_for_all:
            return "all"
        whose: list[str] = []
        for name, value in (
            ("path", self.path),
            ("key", _tenant.get()),
            ("cascade", self.cascade),
        ):
            only = getattr(cap, name)
            if only is not None and only != value:
                return None
            if only is not None or cap.scope == name:
                whose.append(f"{name}={value!r}")  # quoted: no name looks like two
        return " ".join(whose)


def _period(per: Period, now_s: float) -> tuple[str, float]:
    """The name of the period that `now_s` is in, and when it ends (inf: it does not)."""
    if per == "day" or per == "month":
        return _period_of_day(per, now_s // DAY_S)
    return per, float("inf")


@lru_cache(maxsize=8)
def _period_of_day(per: Period, days: float) -> tuple[str, float]:
    day = datetime.fromtimestamp(days * DAY_S, UTC)
    if per == "day":
        return f"{day:%Y-%m-%d}", (days + 1) * DAY_S
    following = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    return f"{day:%Y-%m}", following.timestamp()


@dataclass(slots=True)
class Reservation:
    """Money held for one call. It has to be settled or released; once is enough.

    Attributes:
        usd: how much.
    """

    usd: Decimal
    _parts: list[tuple[SpendStore, Held]]

    def short_of(self, usd: Decimal) -> Decimal:
        """What is missing to `usd`; 0 or less when it is enough."""
        return add_exactly((usd, self.usd.copy_negate())) or _ZERO

    def add(self, more: Reservation) -> None:
        """Make `more` a part of this one."""
        self.usd = add_exactly((self.usd, more.usd)) or _ZERO
        self._parts += more._parts

    async def settle(self, usd: Decimal | None) -> None:
        """The call cost `usd`. None: nobody knows, so that what was reserved counts as spent.

        A cancelled caller is waited for, but not longer than `SETTLE_WITHIN_S`.
        """
        parts, self._parts = self._parts, []
        if not parts:
            return
        with CancelScope(shield=True, deadline=current_time() + SETTLE_WITHIN_S):
            cancelled: BaseException | None = None
            counted: set[SpendStore] = set()
            for store, held in parts:
                # One that was enlarged has several parts: what the call cost counts once.
                cost = held.usd if usd is None else _ZERO if store in counted else usd
                counted.add(store)
                try:
                    await store.settle(held, cost)
                except Exception as error:  # the answer is paid for: it must not be lost as well
                    warn("spend_not_settled", error=type(error).__name__)
                except BaseException as error:  # no reason to leave the other parts on hold
                    cancelled = error
            if cancelled is not None:
                raise cancelled

    async def settle_charges(self, charges: Sequence[Charge]) -> None:
        """As `settle`, with the exact sum of these charges."""
        known = [charge.cost_usd for charge in charges]
        if None not in known:
            await self.settle(add_exactly(known))
        else:  # the unknown ones are among what was reserved
            least = add_exactly(cost for cost in known if cost is not None) or _ZERO
            await self.settle(max(self.usd, least))

    async def release(self) -> None:
        """Nothing was billed."""
        await self.settle(_ZERO)


async def reserve_all(calls: Sequence[CallSpend], usd: Decimal) -> Reservation:
    """Hold `usd` under the caps of calls that run inside of each other, on each account once.

    Raises:
        SpendLimitExceeded: a cap would be passed; nothing is held then.
    """
    now_s = calls[0].spend.clock()
    reservation = Reservation(usd, [])
    try:
        for store, limits in _all_limits(calls).items():
            got = await store.reserve([limit for limit, _ in limits], usd, now_s)
            if isinstance(got, Refusal):
                cap = next(cap for limit, cap in limits if limit == got.limit)
                raise _refused(cap, got, usd)
            reservation._parts.append((store, got))  # pyright: ignore[reportPrivateUsage]
    except BaseException:
        await reservation.release()
        raise
    return reservation


async def record_all(calls: Sequence[CallSpend], usd: Decimal | None) -> None:
    """Count money that was spent without a reservation. None: nobody knows how much."""
    parts = [
        (store, Held("", tuple(dict.fromkeys(limit.account for limit, _ in limits)), _ZERO))
        for store, limits in _all_limits(calls).items()
    ]
    await Reservation(_ZERO, parts).settle(usd)


def _all_limits(calls: Sequence[CallSpend]) -> dict[SpendStore, list[tuple[Limit, Cap]]]:
    found: dict[SpendStore, list[tuple[Limit, Cap]]] = {}
    for call in calls:
        for store, limits in call.limits().items():
            found.setdefault(store, []).extend(limits)
    return found


def _short(usd: Decimal) -> str:
    """Without the zeros at the end, which say nothing; "0.50" stays."""
    whole, _, part = f"{usd:f}".partition(".")
    return f"{whole}.{part.rstrip('0'):0<2}"


def _refused(cap: Cap, refusal: Refusal, usd: Decimal) -> SpendLimitExceeded:
    until_s = refusal.limit.until_s
    resets_at = None if until_s == float("inf") else datetime.fromtimestamp(until_s, UTC)
    wait = "" if resets_at is None else f", or wait until {resets_at:%Y-%m-%d %H:%M} UTC"
    return SpendLimitExceeded(
        f"{cap!r} has ${_short(refusal.spent_usd)} spent or reserved, and the next call may cost "
        f"${_short(usd)}; raise the cap or lower max_tokens{wait}",
        cap=cap,
        spent_usd=refusal.spent_usd,
        asked_usd=usd,
        resets_at=resets_at,
    )
