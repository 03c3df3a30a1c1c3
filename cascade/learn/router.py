"""The learned router at work: nothing but the standard library, no network, no waiting."""

from __future__ import annotations

import inspect
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from operator import mul, sub
from pathlib import Path
from typing import Final, NamedTuple

from cascade.errors import ConfigError, did_you_mean
from cascade.learn.features import SHAPE, Embed, Key, Reading, embedded, read, spoken
from cascade.learn.model import Model, parse
from cascade.options import named_options
from cascade.rules import Choice
from cascade.types import Fact

__all__ = ["Explanation", "LearnedRouter", "Weighed", "farness", "novelty", "shape_of", "surprise"]

FARTHEST: Final = 4.0
"""Standard deviations from the mean that a number of the shape counts at most."""


class Weighed(NamedTuple):
    """What one feature did.

    Attributes:
        feature: the n-gram, the signal with its value, the number of the shape in words, or "the
            embedding" for all numbers of it.
        weight: what it adds to the strongest rung's log-odds of being right, less what it adds to
            the cheapest one's: above 0 it speaks for the strong one.
    """

    feature: str
    weight: float


class Explanation(NamedTuple):
    """Why a router chooses as it does.

    Attributes:
        choice: what it chooses.
        probabilities: by tier, how likely its answer is right.
        weighed: the features that weighed most, the heaviest first. Holds words of the prompt.
        novelty: how unlike the training texts it is; it abstains above 1.
    """

    choice: Choice
    probabilities: Mapping[str, float]
    weighed: tuple[Weighed, ...]
    novelty: float


class LearnedRouter:
    """Chooses the rung to begin with by what was learnt from recorded runs.

    Of the rungs it may choose from it takes the one for which `value_usd` times the probability
    that its answer is right, less its mean cost, is largest; the cheaper one on a tie. A rung above
    the cheapest is so chosen only when its expected gain pays for its cost. It abstains (the whole
    ladder is used) on a text unlike those it was trained on, and on rungs it does not know.

    Args:
        model: what was learnt; see `load`.
        value_usd: what a right answer is worth, in USD. None: as it was trained.
        costs_usd: what asking a tier costs, by name, in USD. Left out: as in the training runs.
        floor: the lowest tier to begin with, whatever was learnt. None: the cheapest.
        embed: the embedding it was trained with. None: it was trained without one.

    Raises:
        ConfigError: a number is no amount, a name is no tier of the model, or it was trained with
            an embedding and there is none, or the other way round.
    """

    __slots__ = ("_adds", "_costs", "_embed", "_floor", "_known", "_places", "model", "value_usd")

    @named_options
    def __init__(
        self,
        model: Model,
        *,
        value_usd: float | None = None,
        costs_usd: Mapping[str, float] | None = None,
        floor: str | None = None,
        embed: Embed | None = None,
    ) -> None:
        self.model = model
        self._embed = _checked_embed(embed, model)
        self._places = {head.tier: place for place, head in enumerate(model.heads)}
        self.value_usd = _amount("value_usd", model.value_usd if value_usd is None else value_usd)
        self._costs = [head.cost_usd for head in model.heads]
        for tier, cost in (costs_usd or {}).items():
            self._costs[self._place("costs_usd", tier)] = _amount(f"costs_usd[{tier!r}]", cost)
        self._floor = 0 if floor is None else self._place("floor", floor)
        self._known: dict[Key, int] = {
            _key(gram): number for number, gram in enumerate(model.vocabulary)
        }
        # (idf squared, idf times each weight): all that a key adds.
        self._adds: list[tuple[float, ...]] = [
            (row[0] ** 2, *(row[0] * weight for weight in row[1:]))
            for row in model.vocabulary.values()
        ]

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        value_usd: float | None = None,
        costs_usd: Mapping[str, float] | None = None,
        floor: str | None = None,
        embed: Embed | None = None,
    ) -> LearnedRouter:
        """The router in a file that `cascade learn` wrote.

        Raises:
            ConfigError: the file cannot be read, is of another version, or was changed since; or
                as above.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the learned router {path} cannot be read: {error}") from error
        model = parse(text, path)
        return cls(model, value_usd=value_usd, costs_usd=costs_usd, floor=floor, embed=embed)

    def choose(self, signals: Mapping[str, Fact], text: str, tiers: Sequence[str]) -> Choice:
        """The rung to begin with, or none; see `cascade.Router`."""
        return self._choose(self._read(text, signals), tiers)

    def probabilities(
        self, text: str, signals: Mapping[str, Fact] | None = None
    ) -> dict[str, float]:
        """By tier, how likely its answer is right: 0 to 1. Unlike `choose` it never abstains."""
        chances = self._chances(self._log_odds(self._read(text, signals)))
        return dict(zip(self._places, chances, strict=True))

    def log_odds(self, text: str, signals: Mapping[str, Fact] | None = None) -> list[float]:
        """Of each tier being right, cheapest first, before calibration."""
        return self._log_odds(self._read(text, signals))

    def chances(self, text: str) -> list[float] | None:
        """For each tier, cheapest first, how likely its answer is right. None: it abstains."""
        reading = self._read(text, None)
        if novelty(reading, self._known, self.model) > 1:
            return None
        return self._chances(self._log_odds(reading))

    def explain(
        self,
        text: str,
        signals: Mapping[str, Fact] | None = None,
        tiers: Sequence[str] | None = None,
        most: int = 10,
    ) -> Explanation:
        """The choice, the probabilities, and the `most` features that weighed most.

        Args:
            tiers: the rungs there are to choose from. None: all it knows.
        """
        reading = self._read(text, signals)
        chances = self._chances(self._log_odds(reading))
        return Explanation(
            self._choose(reading, list(self._places) if tiers is None else tiers),
            dict(zip(self._places, chances, strict=True)),
            tuple(sorted(self._weighed(reading), key=lambda w: -abs(w.weight))[:most]),
            novelty(reading, self._known, self.model),
        )

    def __repr__(self) -> str:
        return f"LearnedRouter(tiers={list(self._places)})"

    def _place(self, option: str, tier: str) -> int:
        if tier not in self._places:
            raise ConfigError(
                f"{option} names the tier {tier!r}, which this router does not know; "
                f"{did_you_mean(tier, self._places)}"
            )
        return self._places[tier]

    def _read(self, text: str, signals: Mapping[str, Fact] | None) -> Reading:
        reading = read(text, signals, self.model.signals)
        if self._embed is None:
            return reading
        reading = embedded(reading, self._embed, text)
        if len(reading.shape) != len(self.model.shape_mean):
            raise ValueError(
                f"the embedding gave {len(reading.shape) - len(SHAPE)} numbers, and the router was "
                f"trained with {self.model.embedding}"
            )
        return reading

    def _choose(self, reading: Reading, tiers: Sequence[str]) -> Choice:
        places = sorted(self._places[tier] for tier in tiers if tier in self._places)
        places = [place for place in places if place >= self._floor]
        if not places:
            return Choice(None, "it knows none of these rungs, or none from its floor on")
        if novelty(reading, self._known, self.model) > 1:
            lowest = self.model.heads[places[0]].tier if self._floor else None
            return Choice(lowest, "the text is unlike those it was trained on")
        chances = self._chances(self._log_odds(reading))
        best = max(places, key=lambda place: self.value_usd * chances[place] - self._costs[place])
        return Choice(self.model.heads[best].tier, self._reason(best, places[0], chances))

    def _reason(self, best: int, cheapest: int, chances: Sequence[float]) -> str:
        heads = self.model.heads
        right = f"{heads[best].tier} is right with probability {chances[best]:.2f}"
        if best == cheapest:
            return f"{right}, and no gain above it pays for its cost"
        rival = f"{heads[cheapest].tier} with {chances[cheapest]:.2f}"
        return f"{right}, {rival}: the gain pays for its cost"

    def _log_odds(self, reading: Reading) -> list[float]:
        shape = shape_of(reading, self.model)
        of_shape = [_dot(head.shape, shape) + head.intercept for head in self.model.heads]
        found = reading.among(self._known)
        if not found:
            return of_shape
        often = [1.0 if count == 1 else 1 + math.log(count) for count in found.values()]
        squares, *weights = zip(*map(self._adds.__getitem__, found), strict=True)
        norm = math.sqrt(_dot(squares, [times * times for times in often])) or 1.0
        return [
            _dot(of_keys, often) / norm + rest
            for of_keys, rest in zip(weights, of_shape, strict=True)
        ]

    def _chances(self, log_odds: Sequence[float]) -> list[float]:
        return [
            _sigmoid(head.slope * odds + head.offset)
            for head, odds in zip(self.model.heads, log_odds, strict=True)
        ]

    def _weighed(self, reading: Reading) -> list[Weighed]:
        low, high = self.model.heads[0], self.model.heads[-1]
        keys = reading.keys()
        known = {key: self._adds[self._known[key]] for key in keys if key in self._known}
        tf = {key: 1 + math.log(keys[key]) for key in known}
        norm = math.sqrt(sum(adds[0] * tf[key] ** 2 for key, adds in known.items())) or 1.0
        weighed = [
            Weighed(
                f'"{spoken(key)}"',
                (adds[-1] * high.slope - adds[1] * low.slope) * tf[key] / norm,
            )
            for key, adds in known.items()
        ]
        of_shape = [
            (up * high.slope - down * low.slope) * x
            for x, up, down in zip(
                shape_of(reading, self.model), high.shape, low.shape, strict=True
            )
        ]
        weighed += map(Weighed, SHAPE, of_shape)
        if self._embed is not None:
            weighed.append(Weighed("the embedding", sum(of_shape[len(SHAPE) :])))
        return weighed


def shape_of(reading: Reading, model: Model) -> list[float]:
    """The shape, standardised as in training."""
    return [
        gap if -FARTHEST <= gap <= FARTHEST else math.copysign(FARTHEST, gap)
        for gap in _gaps(reading, model)
    ]


def novelty(reading: Reading, known: Container[Key], model: Model) -> float:
    """How unlike the training texts a text is: 1 is the limit, and infinite what has no words.

    The larger of two, each as a share of what few training texts exceed: the number of unknown
    words beyond what a training text has, and how far the shape is from the mean one. Infinite for
    a text of which much less or more is read than of any of them.
    """
    words, familiar = reading.words, model.familiar
    if not words or not familiar.least_chars <= reading.chars <= familiar.most_chars:
        return math.inf
    unseen = len(words) - sum(map(known.__contains__, words))
    return max(
        surprise(unseen, len(words), familiar.unseen) / familiar.unseen_limit,
        farness(reading, model) / familiar.shape_limit,
    )


def farness(reading: Reading, model: Model) -> float:
    """How far from the mean shape a text is: the root of the sum of its squares, standardised."""
    return math.hypot(*_gaps(reading, model))


def _gaps(reading: Reading, model: Model) -> Iterable[float]:
    return map(mul, map(sub, reading.shape, model.shape_mean), model.shape_scale)


def surprise(unseen: int, words: int, share: float) -> float:
    """Unseen words beyond the expected share, in standard deviations of about that many words."""
    return (unseen - share * words) / math.sqrt(share * (1 - share) * words + 1)


def _key(gram: str) -> Key:
    first, space, second = gram.partition(" ")
    return (first, second) if space else gram


def _checked_embed(embed: Embed | None, model: Model) -> Embed | None:
    if embed is None and model.embedding:
        raise ConfigError(
            f"this router was trained with an embedding of {model.embedding} numbers; give the "
            'same function, as embed=..., or embed = "module:function" in cascade.toml'
        )
    if embed is not None and not model.embedding:
        raise ConfigError(
            "embed has no effect: this router was trained without one; leave it out, or train it "
            "with `cascade learn --embed module:function`"
        )
    if inspect.iscoroutinefunction(embed):
        raise ConfigError("embed is async; give a plain function of the text")
    return embed


def _amount(name: str, value: float) -> float:
    if isinstance(value, bool) or not math.isfinite(value) or value < 0:
        raise ConfigError(f"{name}={value!r} is no amount in USD, 0 or more")
    return float(value)


def _dot(weights: Sequence[float], values: Sequence[float]) -> float:
    products: Iterable[float] = map(mul, weights, values)
    return sum(products, 0.0)


def _sigmoid(odds: float) -> float:
    if odds < 0:
        power = math.exp(max(odds, -700.0))
        return power / (1 + power)
    return 1 / (1 + math.exp(-min(odds, 700.0)))
