"""Which rungs a call may use: paths, and the plan each becomes when a cascade is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast

from cascade.budget import LatencySketch
from cascade.errors import ConfigError, did_you_mean
from cascade.observing import Observers
from cascade.options import check_seconds, check_threshold, named_options
from cascade.shutdown import Shutdown
from cascade.spend import Spend
from cascade.tier import Tier
from cascade.types import Fact
from cascade.validation import Validator

if TYPE_CHECKING:
    from cascade.auditing import Auditor
    from cascade.policy import Policy

__all__ = ["OnExhausted", "Path", "Plan", "PolicyInForce", "Rung", "Thresholds", "make_plan"]

OnExhausted: TypeAlias = Literal["raise", "best"]
Hedge: TypeAlias = float | Literal["never", "deadline"]

Thresholds: TypeAlias = Mapping[str, float | Mapping[str, float]]
"""Thresholds by validator name, for all tiers; or by tier name, then validator name."""


class Path:
    """A named kind of call: the time it may take, and how it uses the ladder.

    Args:
        budget_s: seconds the whole call may take, validators included. None: no limit.
        direct: the one tier to ask, without a ladder.
        first: the lowest rung to use. None: the cheapest.
        last: the highest rung to use. None: the strongest.
        fast: the tier to ask, alone, when no rung can be expected to finish within the budget.
            None: the one that is expected to be quickest, unless hardly any of its calls is that
            quick; then nothing is asked.
        hedge: whether the next rung is started beside one that has not answered yet: "never";
            "deadline", as late as it can still make the budget; or after so many seconds. The
            first accepted answer wins, and the other call is cancelled and billed.
        on_exhausted: as on the cascade, for this path. None: as the cascade says.
        thresholds: as on the cascade, for this path; they go before the cascade's.
        stakes, task, feature: what its calls declare as these signals, where a call says nothing
            else. None: nothing.

    Raises:
        ConfigError: the options do not fit together.
    """

    __slots__ = (
        "budget_s",
        "direct",
        "fast",
        "feature",
        "first",
        "hedge",
        "last",
        "on_exhausted",
        "stakes",
        "task",
        "thresholds",
    )

    @named_options
    def __init__(
        self,
        *,
        budget_s: float | None = None,
        direct: str | None = None,
        first: str | None = None,
        last: str | None = None,
        fast: str | None = None,
        hedge: Hedge = "never",
        on_exhausted: OnExhausted | None = None,
        thresholds: Thresholds | None = None,
        stakes: str | None = None,
        task: str | None = None,
        feature: str | None = None,
    ) -> None:
        check_seconds("budget_s", budget_s)
        if direct is not None and (first is not None or last is not None):
            raise ConfigError(
                f"a path is direct={direct!r} and has first or last too; a direct path asks one "
                "tier only, so leave the others out"
            )
        check_hedge(hedge, budget_s, direct)
        if fast is not None and (budget_s is None or direct is not None):
            raise ConfigError(
                f"a path has fast={fast!r}, which has no effect without budget_s or beside direct; "
                "leave it out"
            )
        self.budget_s = budget_s
        self.fast = fast
        self.hedge: Hedge = hedge
        self.direct = direct
        self.first = first
        self.last = last
        self.on_exhausted: OnExhausted | None = on_exhausted
        self.thresholds: Thresholds = {} if thresholds is None else thresholds
        self.stakes = stakes
        self.task = task
        self.feature = feature
        for name, value in self.declared().items():
            if not isinstance(value, str) or not value:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigError(f"a path has {name}={value!r}; give it a word, or leave it out")

    def declared(self) -> dict[str, Fact]:
        """The signals that its calls declare by being on it."""
        facts = {"stakes": self.stakes, "task": self.task, "feature": self.feature}
        return {name: value for name, value in facts.items() if value is not None}

    def __repr__(self) -> str:
        given = ((name, getattr(self, name)) for name in self.__slots__)
        return (
            "Path("
            + ", ".join(f"{name}={value!r}" for name, value in given if value and value != "never")
            + ")"
        )


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of a plan: a tier, and the validators that judge it, thresholds set.

    `free` ones run first, in order; `paid` ones only if all of those passed. `latency` is what the
    tier took so far in this cascade, on whatever path.
    """

    tier: Tier
    free: tuple[Validator, ...]
    paid: tuple[Validator, ...]
    latency: LatencySketch


class PolicyInForce(Protocol):
    """Where the policy for a call comes from."""

    @property
    def version(self) -> str:
        """Names the policy that `current` gives."""
        ...

    def current(self) -> Policy:
        """The policy for a call that starts now."""
        ...

    def chances(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Mapping[str, float] | None:
        """By tier, how likely the router of that policy takes its answer to be right.

        None: it has none, or abstains.
        """
        ...

    def check(self, policy: Policy) -> None:
        """Raises ConfigError when a policy does not fit the cascade."""
        ...

    def fall_back(self, policy: Policy) -> None:
        """Put another policy in force, until the file of this one changes."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the engine needs to know of a call before it starts.

    Attributes:
        cascade, path: their names. None: unnamed.
        rungs: the tiers to ask, cheapest first; at least one.
        budget_s: seconds for the whole call. None: no limit.
        fast: the place of the rung to ask when none fits the budget. None: the quickest one's.
        hedge: when the next rung is started beside one in flight.
        on_exhausted: "raise" or "best".
        feedback: whether a rejected answer is handed to the next tier.
        reasks: how often a tier is asked again with the feedback before escalating.
        clock: seconds for latencies, from any start.
        shutdown: whether calls are still taken.
        spend: the caps its money counts under. None: there are none.
        rungs_when_near: how many of the rungs may be used once a cap is near.
        observers: who is told of its calls.
        rule, rule_reason: which routing rule made it, and why. None: no rule did.
        policy: the policy in force. None: no policy.
        weighed: the names of the validators that a policy may weigh, the cascade's own, whichever
            policy is in force; their thresholds decide nothing. Empty: there is no policy.
        audit: what audits its accepted answers. None: nothing.
        tier_names: of the rungs.
    """

    cascade: str | None
    path: str | None
    rungs: tuple[Rung, ...]
    budget_s: float | None
    fast: int | None
    hedge: Hedge
    on_exhausted: OnExhausted
    feedback: bool
    reasks: int
    clock: Callable[[], float]
    shutdown: Shutdown
    spend: Spend | None
    rungs_when_near: int
    observers: Observers
    rule: str | None = None
    rule_reason: str | None = None
    policy: PolicyInForce | None = None
    weighed: frozenset[str] = frozenset()
    audit: Auditor | None = None
    tier_names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        # Worked out here, once: each call's result has it.
        object.__setattr__(self, "tier_names", tuple(rung.tier.name for rung in self.rungs))


def ladder_of(tiers: Sequence[Tier], name: str, path: Path) -> Sequence[Tier]:
    """The rungs of `tiers` that a path uses.

    Raises:
        ConfigError: it names a tier that is not there, or its first is above its last.
    """
    places = {tier.name: place for place, tier in enumerate(tiers)}

    def place(option: str, tier: str | None, default: int) -> int:
        if tier is not None and tier not in places:
            raise ConfigError(
                f"path {name!r}: {option}={tier!r} is no tier of this cascade; "
                f"{did_you_mean(tier, places)}"
            )
        return default if tier is None else places[tier]

    if path.direct is not None:
        return [tiers[place("direct", path.direct, 0)]]
    first = place("first", path.first, 0)
    last = place("last", path.last, len(tiers) - 1)
    if first > last:
        raise ConfigError(
            f"path {name!r}: first={path.first!r} stands above last={path.last!r} on the ladder; "
            "exchange them"
        )
    return tiers[first : last + 1]


def rung_for(
    tier: Tier,
    validators: Sequence[Validator],
    thresholds: Sequence[Thresholds],
    latency: LatencySketch,
    weighed: frozenset[str] = frozenset(),
) -> Rung:
    """The rung of one tier; of `thresholds` the later ones go before the earlier ones.

    Args:
        weighed: the validators that need no threshold, because a policy may weigh their scores.

    Raises:
        ConfigError: a validator that only scores has no threshold.
    """
    by_name: dict[str, float] = {}
    for layer in thresholds:
        by_name.update({k: v for k, v in layer.items() if not isinstance(v, Mapping)})
        own = layer.get(tier.name, {})
        by_name.update(own if isinstance(own, Mapping) else {})
    fitted = [v.fitted(tier.name, by_name) for v in validators]
    kept = [v for v in fitted if v is not None]
    for validator in kept:
        for name in set(validator.missing_thresholds()) - weighed:
            raise ConfigError(
                f"validator {name!r} only gives a score and has no threshold for tier "
                f"{tier.name!r}; set one, as in {name}.at(0.6), or at = 0.6 in cascade.toml"
            )
    return Rung(
        tier,
        free=tuple(v for v in kept if not v.paid),
        paid=tuple(v for v in kept if v.paid),
        latency=latency,
    )


def check_thresholds(
    where: str, thresholds: Thresholds, tiers: Sequence[Tier], validators: Sequence[Validator]
) -> None:
    """Raises ConfigError when thresholds name no validator, no tier, or two validators at once."""
    if not isinstance(thresholds, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f"{where}: thresholds is a {type(thresholds).__name__}; write a mapping such as "
            '{"logprob": 0.6}'
        )
    names = [v.name for one in validators for v in one.walk() if hasattr(v, "threshold")]
    tier_names = [tier.name for tier in tiers]
    for key, value in thresholds.items():
        if isinstance(value, Mapping):
            if key not in tier_names:
                raise ConfigError(
                    f"{where}: thresholds name the tier {key!r}; {did_you_mean(key, tier_names)}"
                )
            check_thresholds(f"{where}, tier {key!r}", value, (), validators)
            continue
        check_threshold(f"{key!r} ({where})", value)
        if key not in names:
            raise ConfigError(
                f"{where}: thresholds name the validator {key!r}; {did_you_mean(key, names)}"
            )
        if names.count(key) > 1:
            raise ConfigError(
                f"{where}: {key!r} names {names.count(key)} validators; tell them apart with "
                ".named(...)"
            )


def make_plan(
    tiers: Sequence[Tier],
    validators: Sequence[Validator],
    thresholds: Thresholds,
    *,
    cascade: str | None,
    path_name: str | None,
    path: Path,
    on_exhausted: OnExhausted,
    feedback: bool,
    reasks: int,
    clock: Callable[[], float],
    latencies: Mapping[str, LatencySketch],
    shutdown: Shutdown,
    spend: Spend | None,
    observers: Observers,
    policy: PolicyInForce | None = None,
    weighed: frozenset[str] = frozenset(),
) -> Plan:
    """The plan of one path. Raises ConfigError when the path does not fit the cascade."""
    label = f"path {path_name!r}"
    if not isinstance(path, Path):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"{label} is a {type(path).__name__}; write Path(budget_s=..., ...)")
    check_thresholds(label, path.thresholds, tiers, validators)
    if path.on_exhausted is not None:
        check_on_exhausted(label, path.on_exhausted)
    ladder = ladder_of(tiers, path_name or "", path)
    return Plan(
        cascade=cascade,
        path=path_name,
        rungs=tuple(
            rung_for(tier, validators, (thresholds, path.thresholds), latencies[tier.name], weighed)
            for tier in ladder
        ),
        budget_s=path.budget_s,
        fast=place_of_fast(ladder, path_name or "", path),
        hedge=path.hedge,
        on_exhausted=path.on_exhausted or on_exhausted,
        feedback=feedback,
        reasks=reasks,
        clock=clock,
        shutdown=shutdown,
        spend=spend,
        rungs_when_near=rungs_when_near(tiers, ladder, spend),
        observers=observers,
        policy=policy,
        weighed=weighed,
    )


def rungs_when_near(tiers: Sequence[Tier], ladder: Sequence[Tier], spend: Spend | None) -> int:
    """How many rungs of a path's ladder stand no higher than the spend's `near_last`."""
    if spend is None or spend.near_last is None:
        return len(ladder)
    names = [tier.name for tier in tiers]
    cheap = names[: names.index(spend.near_last) + 1]
    return sum(tier.name in cheap for tier in ladder)


def place_of_fast(ladder: Sequence[Tier], name: str, path: Path) -> int | None:
    """The place of the path's fast tier on its ladder. Raises ConfigError when it is not on it."""
    if path.fast is None:
        return None
    names = [tier.name for tier in ladder]
    if path.fast not in names:
        raise ConfigError(
            f"path {name!r}: fast={path.fast!r} is not on its ladder; "
            f"{did_you_mean(path.fast, names)}"
        )
    return names.index(path.fast)


def check_hedge(hedge: object, budget_s: float | None, direct: str | None) -> None:
    """Raises ConfigError unless `hedge` is one of its words or a time, and can have an effect."""
    if hedge == "never":
        return
    if hedge != "deadline":
        if isinstance(hedge, str):
            raise ConfigError(
                f'hedge={hedge!r}; write "never", "deadline", or the seconds to wait before the '
                "next rung is started beside the first"
            )
        check_seconds("hedge", cast("float", hedge))
    elif budget_s is None:
        raise ConfigError('hedge="deadline" needs a deadline; give the path a budget_s')
    if direct is not None:
        raise ConfigError(f"hedge has no effect on a direct path ({direct!r}); leave it out")


def check_on_exhausted(where: str, value: str) -> None:
    """Raises ConfigError unless `value` is one of the two choices."""
    if value not in ("raise", "best"):
        raise ConfigError(
            f'{where}: on_exhausted={value!r}; write "raise" for an error, or "best" for the best '
            "rejected answer, marked accepted=False"
        )
