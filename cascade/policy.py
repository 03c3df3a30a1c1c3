"""A tuned policy: which tier to ask first, and after each answer whether to accept or to go on.

A policy is plain numbers in a JSON file. `cascade tune` writes it, `cascade replay` tries it on
recorded runs, and this module evaluates it for one query with nothing but the standard library.

After the tiers of a *state* ("small", "small>large") were asked, the state's features give every
answer at hand a probability of being right, by logistic regression. The best of these
probabilities and its rivals then give the expected gain of each tier that may be asked next: how
much more often the call ends right, everything that may follow included. The policy asks the tier
whose gain, less its expected cost times `price`, is largest, and stops when that is not above 0.
Such a rule follows the optimal one of backward induction (Dekoninck et al., A Unified Approach to
Routing and Cascading for LLMs, 2024).
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

from cascade.errors import ConfigError

__all__ = [
    "AnswerModel",
    "Decision",
    "Feature",
    "Form",
    "NextTier",
    "Observation",
    "Policy",
    "Scale",
    "StateModel",
    "basis",
    "log_odds",
]

Form: TypeAlias = Literal[
    "logit", "probability", "number", "missing", "length", "is", "agree", "signed"
]
Scale: TypeAlias = Literal["logprob", "probability", "number"]
Weights: TypeAlias = Mapping[str, Sequence[float]]
"""By slice; "" is the pooled one, which serves every slice that has none of its own."""

FORMAT: Final = "cascade-policy"
VERSION: Final = 1
CLOSEST: Final = 1e-4
"""How near to 0 and 1 a probability counts, so that its logit stays finite."""
FAR_OFF: Final = 1e9
"""What an infinite number counts as."""
FARTHEST: Final = 6.0
"""How many standard deviations from the mean a feature counts at most."""
HINGES: Final = (0.6, 0.8, 0.9)
"""Where the expected gain may bend, as a function of the best probability."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one asked tier showed.

    Attributes:
        signals: by name; a name left out, None and NaN are missing, minus infinity is a value.
        answer: a text by which answers are compared. None: not known.
        schema_ok: False when a hard validator failed. None: none looked.
        cost_usd: what asking it cost, in USD. None: not known, and the tier's mean is taken.
        output_tokens: how long its answer is. None: not known.
    """

    signals: Mapping[str, float | None] = field(default_factory=dict[str, "float | None"])
    answer: str | None = None
    schema_ok: bool | None = None
    cost_usd: float | None = None
    output_tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do next.

    Attributes:
        action: "accept" the answer of `tier`, or "ask" `tier`.
        probability: how likely the best answer at hand is right; 0.0 before any is.
    """

    action: Literal["accept", "ask"]
    tier: str
    probability: float = 0.0


@dataclass(frozen=True, slots=True)
class Feature:
    """One number made from what the asked tiers showed, standardised; missing counts as the mean.

    Attributes:
        tier: whose.
        form: "logit", "probability" and "number" of a signal; "missing", 1 where the signal is;
            "length", the logarithm of the answer's tokens; "is", 1 where the answer is `other`;
            "agree", 1 where the answers of `tier` and of the tier `other` are the same; "signed",
            the logit of the signal where they are the same, and its negative where they differ.
        signal: its name. "": the form needs none.
        other: another tier, or an answer of those that a tier chooses from, as a letter. "": the
            form needs none.
        mean: of the tuning queries.
        spread: their standard deviation.
    """

    tier: str
    form: Form
    signal: str = ""
    other: str = ""
    mean: float = 0.0
    spread: float = 1.0

    def standardised(self, seen: Mapping[str, Observation], scales: Mapping[str, Scale]) -> float:
        """Its value in standard deviations from the mean, for one query."""
        raw = self._raw(seen, scales)
        if raw is None:
            return 0.0
        return min(max((raw - self.mean) / self.spread, -FARTHEST), FARTHEST)

    def _raw(self, seen: Mapping[str, Observation], scales: Mapping[str, Scale]) -> float | None:
        shown = seen[self.tier]
        if self.form == "length":
            tokens = shown.output_tokens
            return None if tokens is None else math.log1p(max(tokens, 0.0))
        if self.form == "is":
            return None if shown.answer is None else float(shown.answer == self.other)
        same = self._same_answer(seen) if self.form in ("agree", "signed") else True
        if self.form == "agree" or same is None:
            return None if same is None else float(same)
        value = shown.signals.get(self.signal)
        missing = value is None or math.isnan(value)
        if self.form == "missing":
            return float(missing)
        if missing:
            return None
        formed = _formed(self.form, cast("float", value), scales[self.signal])
        return formed if same else -formed

    def _same_answer(self, seen: Mapping[str, Observation]) -> bool | None:
        """None: one of the two answers is not known."""
        mine, other = seen[self.tier].answer, seen[self.other].answer
        return None if mine is None or other is None else mine == other


def _formed(form: Form, value: float, scale: Scale) -> float:
    if form == "number":
        return min(max(value, -FAR_OFF), FAR_OFF)
    probability = math.exp(min(value, 0.0)) if scale == "logprob" else min(max(value, 0.0), 1.0)
    if form == "probability":
        return probability
    return log_odds(probability)


def log_odds(probability: float) -> float:
    """Of a probability, which counts as no nearer to 0 or 1 than `CLOSEST`."""
    held = min(max(probability, CLOSEST), 1 - CLOSEST)
    return math.log(held / (1 - held))


@dataclass(frozen=True, slots=True)
class AnswerModel:
    """The probability that one tier's answer is right, in one state.

    Attributes:
        weights: of the constant 1 and then of the state's features.
        curve: rising points [probability, calibrated probability] that correct the logistic one,
            level beyond the ends. Empty: it stands as it is.
    """

    weights: Weights
    curve: Sequence[Sequence[float]] = ()

    def probability(self, features: Sequence[float], slice_: str) -> float:
        """For one query, from 0 to 1."""
        chosen = self.weights.get(slice_) or self.weights[""]
        odds = chosen[0]
        for weight, value in zip(chosen[1:], features, strict=True):
            odds += weight * value
        raised = math.exp(-min(abs(odds), 35.0))  # of the negative, so that neither tail overflows
        plain = (1 if odds >= 0 else raised) / (1 + raised)
        return _on_curve(self.curve, plain) if self.curve else plain


def _on_curve(curve: Sequence[Sequence[float]], x: float) -> float:
    right = bisect_right(curve, x, key=lambda point: point[0])
    if right == 0 or right == len(curve):
        return curve[min(right, len(curve) - 1)][1]
    (x0, y0), (x1, y1) = curve[right - 1], curve[right]
    return y0 + (y1 - y0) * ((x - x0) / (x1 - x0))


@dataclass(frozen=True, slots=True)
class NextTier:
    """What asking one more tier promises, in one state.

    Attributes:
        gain: weights of `basis`: the expected rise of the probability that the call ends right,
            less the expected cost of what may follow after that tier, at the policy's price.
        cost: a and b of the tier's own expected cost in USD, a + b times the cost of the tier
            asked last: long requests are dear in every tier.
    """

    gain: Weights
    cost: tuple[float, float]

    def worth(
        self, terms: Sequence[float], slice_: str, last_cost_usd: float, price: float
    ) -> float:
        """Expected gain less priced expected cost, in probability."""
        worth = 0.0
        for weight, term in zip(self.gain.get(slice_) or self.gain[""], terms, strict=True):
            worth += weight * term
        return worth - price * max(self.cost[0] + self.cost[1] * last_cost_usd, 0.0)


def basis(probabilities: Sequence[float], best: int) -> list[float]:
    """The terms of the expected gain.

    1; the probability of the answer that would be returned; its square; how far it is above each
    of `HINGES`; then, where several tiers were asked, the other probabilities in falling order,
    and the last asked tier's.
    """
    top = probabilities[best]
    terms = [1.0, top, top * top, *(max(top - hinge, 0.0) for hinge in HINGES)]
    if len(probabilities) > 1:
        terms += sorted((p for i, p in enumerate(probabilities) if i != best), reverse=True)
        terms.append(probabilities[-1])
    return terms


@dataclass(frozen=True, slots=True)
class StateModel:
    """Everything the policy knows once the tiers of one state were asked.

    Attributes:
        features: in the order of the weights.
        answers: by asked tier; one that is left out is never returned from this state.
        next: by tier that may be asked next. Empty: the state is an end.
    """

    features: Sequence[Feature]
    answers: Mapping[str, AnswerModel]
    next: Mapping[str, NextTier]


@dataclass(frozen=True, slots=True)
class Policy:
    """The tuned thresholds of a ladder, versioned, with the evidence for them.

    Attributes:
        tiers: cheapest first.
        strong: the tier that quality and cost are measured against.
        signals: by name, how each is scaled.
        slice_by: the column of the runs that names a query's slice. None: there is one slice.
        price: how much probability of being right one USD has to buy.
        start: the first tier to ask, by slice; "" for any other slice.
        begin: where a learned router is tier 0, what beginning with each tier is worth, less what
            all of it costs at that price: by tier, weights of 1 and of the log-odds that the
            router gives each of its tiers. Empty: `start` decides, as it does for a text on which
            the router abstains.
        router: that router, as `cascade learn` stores one. None: there is none.
        mean_cost_usd: of each tier on the tuning queries.
        states: by the asked tiers, joined by ">".
        evidence: what the policy was tuned on and what it promises, for its card.
    """

    tiers: Sequence[str]
    strong: str
    signals: Mapping[str, Scale]
    slice_by: str | None
    price: float
    start: Mapping[str, str]
    mean_cost_usd: Mapping[str, float]
    states: Mapping[str, StateModel]
    evidence: Mapping[str, Any] = field(default_factory=dict[str, Any])
    begin: Mapping[str, Weights] = field(default_factory=dict[str, Weights])
    router: Mapping[str, Any] | None = None

    def decide(
        self,
        seen: Mapping[str, Observation],
        slice_: str = "",
        chances: Sequence[float] | None = None,
    ) -> Decision:
        """Accept an answer, or ask a tier.

        Args:
            seen: what each tier asked so far showed, in the order in which they were asked.
            slice_: the query's slice; one that tuning has not seen is served by the pooled model.
            chances: what the policy's router says of the text: for each of its tiers, the
                probability of being right. None: there is no router, or it abstains.

        Raises:
            ConfigError: the policy never asks these tiers in this order.
        """
        if not seen:
            return Decision("ask", self._first(slice_, chances))
        name = ">".join(seen)
        state = self.states.get(name)
        if state is None:
            raise ConfigError(
                f"the policy has no state {name!r}; it has {', '.join(map(repr, self.states))}"
            )
        probabilities = self._probabilities(state, seen, slice_)
        asked = list(probabilities)
        values = list(probabilities.values())
        best = max(range(len(values)), key=lambda i: (round(values[i], 9), i))
        last = list(seen)[-1]
        cost_usd = seen[last].cost_usd
        last_cost_usd = self.mean_cost_usd[last] if cost_usd is None else cost_usd
        terms = basis(values, best)
        chosen, highest = None, 0.0
        for tier, option in state.next.items():
            worth = round(option.worth(terms, slice_, last_cost_usd, self.price), 9)
            if worth > highest:
                chosen, highest = tier, worth
        if chosen is None:
            return Decision("accept", asked[best], values[best])
        return Decision("ask", chosen, values[best])

    def _first(self, slice_: str, chances: Sequence[float] | None) -> str:
        if chances is None or not self.begin:
            return self.start.get(slice_) or self.start[""]
        terms = [1.0, *map(log_odds, chances)]

        def worth(tier: str) -> float:
            weights = self.begin[tier].get(slice_) or self.begin[tier][""]
            return round(sum(w * term for w, term in zip(weights, terms, strict=True)), 9)

        return max(self.begin, key=worth)  # of equals the first, which is the cheapest

    def _probabilities(
        self, state: StateModel, seen: Mapping[str, Observation], slice_: str
    ) -> dict[str, float]:
        """By asked tier; a hard validator's failure makes it 0."""
        values = [feature.standardised(seen, self.signals) for feature in state.features]
        return {
            tier: 0.0 if seen[tier].schema_ok is False else model.probability(values, slice_)
            for tier, model in state.answers.items()
        }

    def sha256(self) -> str:
        """The policy's version: a fingerprint of its file."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The policy file's text."""
        content = {"format": FORMAT, "version": VERSION, **asdict(self)}
        router = content.pop("router")
        text = json.dumps(content, indent=1)
        if router is None:
            return text + "\n"
        # On one line: it has a number for every word it knows.
        return f'{text[:-2]},\n "router": {json.dumps(router)}\n}}\n'

    @classmethod
    def from_json(cls, text: str, name: str = "the policy") -> Policy:
        """Read a policy file's text.

        Raises:
            ConfigError: it is no policy, one of another version, or its parts do not fit together.
        """
        from cascade.policy_file import read_policy

        return read_policy(text, name)

    @classmethod
    def load(cls, path: Path) -> Policy:
        """Read a policy file.

        Raises:
            ConfigError: it cannot be read, or is no policy.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the policy {path} cannot be read: {error}") from error
        return cls.from_json(text, f"the policy {path}")
