"""Real traffic for `cascade estimate`: what a ledger's calls come to, as a layer of figures."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cascade.cli.estimate_layers import Layer, Topic
from cascade.errors import ConfigError, did_you_mean
from cascade.stats import quantile, wilson
from cascade.types import add_exactly

if TYPE_CHECKING:
    from cascade.ledger import StoredAttempt, StoredCall

__all__ = ["KindTraffic", "Traffic", "gathered", "layer_of", "read_traffic", "traffic_of"]

KindOf: TypeAlias = "Callable[[StoredCall], str]"

_DAY_S: Final = 86_400
_MONTH_S: Final = 30 * _DAY_S
_MOST_KINDS: Final = 12
_COLUMNS: Final = ("path", "rule", "tenant")
_BROKEN_OFF: Final = frozenset({"cancelled", "error", "shutdown"})
_SHARE: Final = Decimal("0.000001")
_LEAST_S: Final = Decimal("0.001")
_MEASURED: Final[frozenset[Topic]] = frozenset(
    {"calls", "mix", "tokens", "acceptance", "validators", "latency"}
)


@dataclass(slots=True)
class KindTraffic:
    """The calls of one kind.

    Attributes:
        calls: how many.
        metered: how many of them say how many tokens their first answer took.
        input_tokens, output_tokens: of those.
        asked, accepted: by tier, of the calls that were not broken off.
    """

    calls: int = 0
    metered: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    asked: Counter[str] = field(default_factory=Counter[str])
    accepted: Counter[str] = field(default_factory=Counter[str])


@dataclass(slots=True)
class Traffic:
    """The calls of a ledger, counted.

    Attributes:
        kinds: by name.
        first_s, last_s: Unix time of the first call and the last.
        window_s: seconds that were looked at. None: all there is, since there is nothing older.
        latencies_s: seconds of each ask, by tier.
        judged: by tier, asks whose validators' bill is known, and that bill in USD.
    """

    kinds: dict[str, KindTraffic] = field(default_factory=dict[str, KindTraffic])
    first_s: float = float("inf")
    last_s: float = float("-inf")
    window_s: float | None = None
    latencies_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    judged: dict[str, tuple[int, Decimal]] = field(
        default_factory=lambda: defaultdict(lambda: (0, Decimal(0)))
    )

    @property
    def calls(self) -> int:
        """How many there are."""
        return sum(kind.calls for kind in self.kinds.values())

    @property
    def span_s(self) -> float:
        """The seconds in which they came."""
        return self.last_s - self.first_s if self.window_s is None else self.window_s


def read_traffic(ledger: str, *, cascade: str | None, by: str, days: int) -> Traffic:
    """The calls that a ledger holds of the last days before its newest call.

    Args:
        ledger: "sqlite:FILE", a file's path, or "postgresql://...".
        cascade: only the calls of this one. None: all.
        by: what tells kinds of call apart: path, rule, tenant, signals.NAME or metadata.NAME.
        days: how many.

    Raises:
        ConfigError: there is no such choice, no call in the ledger, or no address of one.
        LedgerError: there is no such ledger.
    """
    from cascade.ledger import Ledger

    kind_of = _kind_of(by)
    with Ledger.open_for_reading(ledger) as reader:
        newest = reader.newest(1)
        since = newest[0].started_at - days * _DAY_S if newest else None
        traffic = traffic_of(reader.calls(since=since, cascade=cascade), kind_of)
        if since is not None and any(reader.calls(until=since, cascade=cascade, limit=1)):
            traffic.window_s = days * _DAY_S
    traffic.kinds = gathered(traffic.kinds)
    if not traffic.kinds:
        of = "" if cascade is None else f" of cascade {cascade!r}"
        raise ConfigError(f"the ledger holds no calls{of}")
    return traffic


def _kind_of(by: str) -> KindOf:
    """What names the kind of a call."""
    place, dot, name = by.partition(".")
    if dot and name and place in ("signals", "metadata"):
        return lambda call: str(getattr(call, place).get(name, f"no {name}"))
    if by not in _COLUMNS:
        raise ConfigError(
            f"--by: there is no {by!r}; {did_you_mean(by, _COLUMNS)}, or signals.NAME, "
            "metadata.NAME"
        )
    return lambda call: str(getattr(call, by) or f"no {by}")


def traffic_of(calls: Iterable[StoredCall], kind_of: KindOf) -> Traffic:
    """What calls come to. Those within other calls count as well: they are asked for too."""
    traffic = Traffic()
    for call in calls:
        kind = traffic.kinds.setdefault(kind_of(call), KindTraffic())
        kind.calls += 1
        traffic.first_s = min(traffic.first_s, call.started_at)
        traffic.last_s = max(traffic.last_s, call.started_at)
        asked = [one for one in call.attempts if one.outcome != "skipped"]
        _count_tokens(kind, asked)
        if call.reason not in _BROKEN_OFF:
            kind.asked.update({one.tier for one in asked})
            kind.accepted.update({one.tier for one in asked if one.outcome == "accepted"})
            for one in asked:
                _count_judging(traffic, one)
                if one.call_s is not None:
                    traffic.latencies_s[one.tier].append(one.latency_s)
    return traffic


def gathered(kinds: Mapping[str, KindTraffic]) -> dict[str, KindTraffic]:
    """The most frequent kinds, and the others as one."""
    ranked = sorted(kinds.items(), key=lambda item: -item[1].calls)
    kept = dict(ranked[:_MOST_KINDS])
    rest = [kind for _, kind in ranked[_MOST_KINDS:]]
    if rest:
        kept[f"{len(rest)} others"] = KindTraffic(
            calls=sum(kind.calls for kind in rest),
            metered=sum(kind.metered for kind in rest),
            input_tokens=sum(kind.input_tokens for kind in rest),
            output_tokens=sum(kind.output_tokens for kind in rest),
            asked=sum((kind.asked for kind in rest), Counter[str]()),
            accepted=sum((kind.accepted for kind in rest), Counter[str]()),
        )
    return kept


def _count_tokens(kind: KindTraffic, asked: Iterable[StoredAttempt]) -> None:
    """Of the first answer that says it: later ones may hold feedback."""
    for charge in (charge for one in asked for charge in one.charges):
        if charge.purpose == "answer" and charge.input_tokens is not None:
            kind.metered += 1
            kind.input_tokens += charge.input_tokens
            kind.output_tokens += charge.output_tokens or 0
            return


def _count_judging(traffic: Traffic, attempt: StoredAttempt) -> None:
    costs = (charge.cost_usd for charge in attempt.charges if charge.purpose != "answer")
    if (bill := add_exactly(costs)) is not None:
        count, sum_usd = traffic.judged[attempt.tier]
        traffic.judged[attempt.tier] = count + 1, sum_usd + bill


def layer_of(traffic: Traffic, tiers: Mapping[str, Any]) -> Layer:
    """The figures of real traffic for a ladder of `tiers`; what was not seen is left out.

    Raises:
        ConfigError: no tier of the ladder was ever asked.
    """
    seen = {tier for kind in traffic.kinds.values() for tier in kind.asked}
    names = list(tiers)
    if seen.isdisjoint(names):
        raise ConfigError(
            f"no call in the ledger asked a tier of this ladder ({', '.join(names)}); they asked "
            f"{', '.join(sorted(seen)) or 'none at all'}"
        )
    answers = [
        (f"{name}.{tier}", kind.accepted[tier], kind.asked[tier])
        for name, kind in traffic.kinds.items()
        for tier in names[:-1]
        if kind.asked[tier]
    ]
    on_tier = _over_all_kinds(traffic, names[:-1])
    calls, how = _monthly(traffic)
    return Layer(
        "ledger",
        measured=_MEASURED,
        calls=calls,
        shares=_shares(traffic),
        tokens={
            name: (_mean(kind.input_tokens, kind), _mean(kind.output_tokens, kind))
            for name, kind in traffic.kinds.items()
            if kind.metered
        },
        # What a kind was never asked on a tier, it may take from the others.
        acceptance={key: _rounded(yes, of) for key, yes, of in (*on_tier, *answers)},
        validators_usd={
            tier: (sum_usd / count).quantize(Decimal("0.00000001"))
            for tier, (count, sum_usd) in traffic.judged.items()
            if tier in names
        },
        latency_s={
            tier: max(_LEAST_S, Decimal(quantile(latencies, 0.5)).quantize(_LEAST_S))
            for tier, latencies in traffic.latencies_s.items()
            if tier in names
        },
        notes={
            **how,
            **{key: f"over all kinds, {_evidence(yes, of)}" for key, yes, of in on_tier},
            **{key: _evidence(yes, of) for key, yes, of in answers},
        },
    )


def _over_all_kinds(traffic: Traffic, tiers: Sequence[str]) -> list[tuple[str, int, int]]:
    """Of each tier that was asked, how many answers were accepted, and of how many."""
    kinds = traffic.kinds.values()
    counts = [
        (tier, sum(one.accepted[tier] for one in kinds), sum(one.asked[tier] for one in kinds))
        for tier in tiers
    ]
    return [(tier, accepted, asked) for tier, accepted, asked in counts if asked]


def _monthly(traffic: Traffic) -> tuple[Decimal | None, dict[str, str]]:
    """Calls in thirty days, if the ledger covers a day at least."""
    if traffic.span_s < _DAY_S:
        return None, {}
    calls = Decimal(round(traffic.calls * _MONTH_S / traffic.span_s))
    return calls, {"calls": f"{traffic.calls:,} in {traffic.span_s / _DAY_S:.1f} days"}


def _shares(traffic: Traffic) -> dict[str, Decimal]:
    """Rounded, and the largest so that they add up to 1 all the same."""
    shares = {name: _rounded(kind.calls, traffic.calls) for name, kind in traffic.kinds.items()}
    largest = max(shares, key=shares.__getitem__)
    shares[largest] += 1 - sum(shares.values())
    return shares


def _rounded(part: int, whole: int) -> Decimal:
    return (Decimal(part) / whole).quantize(_SHARE)


def _mean(total: int, kind: KindTraffic) -> Decimal:
    return (Decimal(total) / kind.metered).quantize(Decimal("0.1"))


def _evidence(accepted: int, asked: int) -> str:
    low, high = (100 * end for end in wilson(accepted, asked))
    return f"of {asked:,}, so {low:.0f} to {high:.0f} %"
