"""What `cascade estimate` reckons with: layers of figures, the later ones over the earlier ones.

Each figure keeps where it came from, so that the report can say which are measured and which are
assumed, and by whom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias, TypeVar, cast, get_args

from cascade.cli.output import usd
from cascade.errors import ConfigError, did_you_mean
from cascade.estimate import Kind, PricedTier, Scenario
from cascade.types import Price, Usage

__all__ = ["DEFAULTS", "TOPICS", "Assumption", "Layer", "Topic", "resolved"]

T = TypeVar("T")

Topic: TypeAlias = Literal[
    "calls", "mix", "tokens", "prices", "acceptance", "validators", "latency", "worth"
]
TOPICS: Final[tuple[Topic, ...]] = get_args(Topic)

Tokens: TypeAlias = tuple[Decimal, Decimal]
"""Input and output tokens of a call."""


class Assumption(NamedTuple):
    """One line of what was reckoned with. `basis` is "measured" or "assumed"; `origin` where."""

    what: str
    value: str
    basis: str
    origin: str


@dataclass(frozen=True, slots=True)
class Layer:
    """Figures from one place; what is None or not named there is left to the layers below.

    Attributes:
        origin: the place, in words.
        measured: the topics of which its figures were measured.
        shares, tiers: the whole mix, the whole ladder: they replace those of the layers below.
        tokens: by kind.
        acceptance: by "kind.tier", or by tier for all kinds.
        validators_usd: by tier; "" is every tier below the strongest.
        latency_s: by tier.
        paid_validators: names of validators whose cost is not among the figures.
        notes: on what evidence, by the key of an acceptance, or "calls".
    """

    origin: str
    measured: frozenset[Topic] = frozenset()
    calls: Decimal | None = None
    worth_usd: Decimal | None = None
    shares: Mapping[str, Decimal] | None = None
    tokens: Mapping[str, Tokens] = field(default_factory=dict[str, Tokens])
    tiers: Mapping[str, Price] | None = None
    acceptance: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])
    validators_usd: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])
    latency_s: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])
    paid_validators: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict[str, str])

    def basis(self, topic: Topic) -> str:
        """Whether its figures on a topic were measured, in the report's word."""
        return "measured" if topic in self.measured else "assumed"


DEFAULTS: Final = Layer(
    "the example",
    calls=Decimal(500_000),
    worth_usd=Decimal(500),
    shares={"lookups": Decimal("0.70"), "drafting": Decimal("0.25"), "hard": Decimal("0.05")},
    tokens={
        "lookups": (Decimal(500), Decimal(100)),
        "drafting": (Decimal(1000), Decimal(400)),
        "hard": (Decimal(2000), Decimal(800)),
    },
    tiers={
        "small": Price(input="0.05", output="0.40"),
        "medium": Price(input="0.40", output="1.60"),
        "large": Price(input="3.00", output="15.00"),
    },
    validators_usd={"": Decimal(0)},
)
DEFAULT_LATENCY_S: Final = {
    "small": Decimal("0.3"),
    "medium": Decimal("0.7"),
    "large": Decimal("1.6"),
}
DEFAULT_ACCEPTANCE: Final = {
    "lookups": (Decimal("0.80"), Decimal("0.90")),
    "drafting": (Decimal("0.50"), Decimal("0.80")),
    "hard": (Decimal("0.10"), Decimal("0.50")),
}
"""On the first rung, and on every further one below the strongest."""


Pick: TypeAlias = Callable[[Layer], T]


class Found(NamedTuple):
    """A figure with the layer that it is from, and the evidence for it."""

    value: Decimal
    layer: Layer
    note: str = ""


def resolved(layers: Sequence[Layer]) -> tuple[Scenario, list[Assumption]]:
    """What is reckoned with: `layers` over the defaults, the last one on top.

    Raises:
        ConfigError: a figure is missing or out of its range, or a layer names what is not there.
    """
    return _Resolving((DEFAULTS, *layers)).scenario()


class _Resolving:
    """Looks figures up from the topmost layer down, and notes each that is used."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers
        self.notes: list[Assumption] = []
        self.shares, self.mix_from = self._whole(lambda layer: layer.shares)
        self.prices, self.tiers_from = self._whole(lambda layer: layer.tiers)
        self.names = list(self.prices)
        self.unsized: list[str] = []
        self.unjudged: list[tuple[str, str]] = []

    def scenario(self) -> tuple[Scenario, list[Assumption]]:
        for layer in self.layers[1:]:
            self._check_names(layer)
        calls = self._one("calls", "calls a month", lambda layer: layer.calls, _plain)
        kinds = tuple(self._kind(name, share) for name, share in self.shares.items())
        self._check_gaps()
        tiers = tuple(self._tier(name) for name in self.names)
        worth = self._one("worth", "upkeep a month", lambda layer: layer.worth_usd, usd)
        return Scenario(calls, kinds, tiers, worth), self.notes

    def _whole(self, pick: Pick[Mapping[str, T] | None]) -> tuple[Mapping[str, T], Layer]:
        """From the topmost layer that has it; the defaults do."""
        picked = ((pick(layer), layer) for layer in reversed(self.layers))
        return next((found, layer) for found, layer in picked if found)

    def _one(
        self,
        topic: Topic,
        what: str,
        pick: Pick[Decimal | None],
        shown: Callable[[Decimal], str],
    ) -> Decimal:
        """From the topmost layer that has it; the defaults do."""
        picked = ((pick(layer), layer) for layer in reversed(self.layers))
        value, layer = next((found, layer) for found, layer in picked if found is not None)
        self._note(topic, what, _noted(shown(value), layer.notes.get(topic)), [layer])
        return value

    def _kind(self, name: str, share: Decimal) -> Kind:
        self._note("mix", name, f"{_percent(share)} of the calls", [self.mix_from])
        read, written = self._tokens(name)
        accepted = {tier: self._acceptance(name, place) for place, tier in self._lower()}
        if accepted:
            shown = ", ".join(
                _noted(f"{tier} {_percent(one.value)}", one.note) for tier, one in accepted.items()
            )
            layers = [one.layer for one in accepted.values()]
            self._note("acceptance", f"{name}, accepted", shown, layers)
        return Kind(name, share, read, written, {k: one.value for k, one in accepted.items()})

    def _lower(self) -> list[tuple[int, str]]:
        return list(enumerate(self.names[:-1]))

    def _tokens(self, kind: str) -> Tokens:
        for layer in reversed(self.layers):
            if kind in layer.tokens:
                read, written = layer.tokens[kind]
                shown = f"{_plain(read)} in, {_plain(written)} out"
                self._note("tokens", f"{kind}, tokens", shown, [layer])
                return read, written
        self.unsized.append(kind)
        return Decimal(0), Decimal(0)

    def _acceptance(self, kind: str, place: int) -> Found:
        tier = self.names[place]
        for layer in reversed(self.layers):
            for key in (f"{kind}.{tier}", tier):
                if key in layer.acceptance:
                    return Found(layer.acceptance[key], layer, layer.notes.get(key, ""))
        if kind in DEFAULT_ACCEPTANCE:
            return Found(DEFAULT_ACCEPTANCE[kind][min(place, 1)], DEFAULTS)
        self.unjudged.append((kind, tier))
        return Found(Decimal(0), DEFAULTS)

    def _check_gaps(self) -> None:
        """Raises ConfigError that names every figure that is missing."""
        gaps: list[str] = []
        if self.unsized:
            wanted = ",".join(f"{kind}=500/100" for kind in self.unsized)
            gaps.append(
                f"there are no token sizes of {', '.join(self.unsized)}; give them, as in "
                f"--tokens {wanted}"
            )
        if self.unjudged:
            keys = [f"{kind}.{tier}" for kind, tier in self.unjudged]
            wanted = ",".join(f"{key}=0.8" for key in keys)
            gaps.append(
                f"there is no acceptance of {', '.join(keys)}; give the share of answers that "
                f"pass, measured or assumed, as in --acceptance {wanted}"
            )
        if gaps:
            raise ConfigError("; and ".join(gaps))

    def _tier(self, name: str) -> PricedTier:
        price = self.prices[name]
        self._note("prices", f"{name}, 1M tokens", _price(price), [self.tiers_from])
        judging = self._validators(name)
        shown = f"{usd(judging.value)} an answer"
        self._note("validators", f"{name}, validators", shown, [judging.layer])
        latency = self._latency(name)
        if latency is not None:
            shown = f"{_plain(latency.value)} s at the median"
            self._note("latency", f"{name}, latency", shown, [latency.layer])
        return PricedTier(name, price, judging.value, latency.value if latency else None)

    def _validators(self, tier: str) -> Found:
        keys = (tier,) if tier == self.names[-1] else (tier, "")
        for layer in reversed(self.layers):
            for key in keys:
                if key in layer.validators_usd:
                    return Found(layer.validators_usd[key], layer)
        return Found(Decimal(0), DEFAULTS)

    def _latency(self, tier: str) -> Found | None:
        for layer in reversed(self.layers):
            if tier in layer.latency_s:
                return Found(layer.latency_s[tier], layer)
        if self.tiers_from is DEFAULTS:
            return Found(DEFAULT_LATENCY_S[tier], DEFAULTS)
        return None

    def _note(self, topic: Topic, what: str, value: str, layers: Iterable[Layer]) -> None:
        bases = dict.fromkeys(layer.basis(topic) for layer in layers)
        origins = dict.fromkeys(layer.origin for layer in layers)
        self.notes.append(Assumption(what, value, " and ".join(bases), ", ".join(origins)))

    def _check_names(self, layer: Layer) -> None:
        """A figure for what is not there would have no effect."""
        kinds = [*self.shares, *(layer.shares or ())]
        tiers = [*self.names, *(layer.tiers or ())]
        accepted = [*tiers, *(f"{kind}.{tier}" for kind in kinds for tier in tiers)]
        for option, named, known in (
            ("tokens", layer.tokens, kinds),
            ("acceptance", layer.acceptance, accepted),
            ("validators", layer.validators_usd, [*tiers, ""]),
            ("latency", layer.latency_s, tiers),
        ):
            for name in named:
                if name not in known:
                    raise ConfigError(
                        f"{option} ({layer.origin}): {name!r} is not part of this estimate; "
                        f"{did_you_mean(name, {one for one in known if one})}"
                    )
        strongest = self.names[-1]
        ends = [
            key for key in layer.acceptance if key.endswith(f".{strongest}") or key == strongest
        ]
        if ends:
            raise ConfigError(
                f"acceptance ({layer.origin}): {ends[0]!r} is that of the strongest tier, where it "
                "changes no cost; leave it out"
            )


def _plain(number: Decimal) -> str:
    return f"{number.normalize():,f}"


def _noted(value: str, note: str | None) -> str:
    return f"{value} ({note})" if note else value


def _percent(share: Decimal) -> str:
    """To a hundredth of a per cent, without zeros at the end."""
    return f"{round(share * 100, 2).normalize():f} %"


def _price(price: Price) -> str:
    read = cast("Decimal", price.cost_usd(Usage(10**6, 0)))
    written = cast("Decimal", price.cost_usd(Usage(0, 10**6)))
    return f"{usd(read)} in, {usd(written)} out"
