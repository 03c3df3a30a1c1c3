"""What a policy would have answered and cost on recorded runs.

The decisions are those of `cascade.policy.Policy.decide`, taken for all queries of a state at
once; a test holds the two together, query by query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cascade.errors import ConfigError
from cascade.evals.calibration import sigmoid
from cascade.evals.features import matrix
from cascade.evals.runs import Bools, Floats, Ints, Runs
from cascade.policy import CLOSEST, HINGES, AnswerModel, Policy, StateModel, Weights

__all__ = [
    "Known",
    "Outcomes",
    "basis_matrix",
    "chances_for",
    "check_fits",
    "groups",
    "log_odds_matrix",
    "replay",
    "single",
]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a policy did with each query.

    Attributes:
        correct: how right the accepted answer is, 0 to 1; 0 where none was accepted.
        cost_usd: of every tier asked, in USD.
        tier: the column of the tier whose answer was accepted; -1 where none was.
        asked: which tiers were asked, a column a tier.
        latency_s: of all tiers asked, one after the other; NaN where a recording lacks it.
    """

    correct: Floats
    cost_usd: Floats
    tier: Ints
    asked: Bools
    latency_s: Floats


def check_fits(policy: Policy, runs: Runs) -> None:
    """See that the runs have what the policy decides by.

    Raises:
        ConfigError: they lack a tier or a signal of the policy.
    """
    if missing := [tier for tier in policy.tiers if tier not in runs.tiers]:
        raise ConfigError(
            f"the policy was tuned for the tier {', '.join(missing)}, which the runs lack; they "
            f"have {', '.join(runs.tiers)}"
        )
    if missing := [name for name in policy.signals if name not in runs.signals]:
        raise ConfigError(
            f"the policy decides by the signal {', '.join(missing)}, which the runs lack; they "
            f"have {', '.join(runs.signals) or 'none'}"
        )


def groups(names: Sequence[str]) -> dict[str, Ints]:
    """The rows of each name."""
    found, inverse = np.unique(np.array(names, dtype=object).astype(str), return_inverse=True)
    return {str(name): np.flatnonzero(inverse == i) for i, name in enumerate(found)}


def chances_for(policy: Policy, runs: Runs) -> Floats | None:
    """What the policy's router says of each query; NaN where it abstains. None: it has none.

    Raises:
        ConfigError: it is not known what the queries say.
    """
    if not policy.begin:
        return None
    if not runs.texts:
        raise ConfigError("the policy begins by what a request says; give the prompts (--prompts)")
    from cascade.evals.tier_zero import chances_of

    return chances_of(policy, runs.texts)


class Known:
    """What was worked out for one set of runs, for all policies that share models or a router."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[AnswerModel, Floats]] = {}
        self._chances: dict[int, tuple[Policy, Floats | None]] = {}
        self._slices: tuple[Runs, dict[str, Ints], Ints] | None = None

    def slices(self, runs: Runs) -> tuple[dict[str, Ints], Ints]:
        """The rows of each slice, and the number of the slice of each row."""
        if self._slices is None or self._slices[0] is not runs:
            found = groups(runs.slices)
            codes = np.zeros(len(runs), np.int64)
            for code, rows in enumerate(found.values()):
                codes[rows] = code
            self._slices = (runs, found, codes)
        return self._slices[1:]

    def of(self, model: AnswerModel, queries: int) -> Floats:
        """A number a query, to be filled in; NaN is not worked out yet."""
        # The model is kept with it, so that no other takes its place in memory and its number.
        return self._found.setdefault(id(model), (model, np.full(queries, np.nan)))[1]

    def chances(self, policy: Policy, runs: Runs) -> Floats | None:
        """As `chances_for`."""
        if policy.router is None:
            return None
        if id(policy.router) not in self._chances:
            self._chances[id(policy.router)] = (policy, chances_for(policy, runs))
        return self._chances[id(policy.router)][1]


def replay(
    policy: Policy,
    runs: Runs,
    budget_s: float | None = None,
    *,
    refused: Bools | None = None,
    known: Known | None = None,
) -> Outcomes:
    """Every query through the policy.

    Args:
        policy: what decides.
        runs: the recorded runs.
        budget_s: the seconds that a query may take, by the recorded latencies. A tier that is
            still at work then is cut off: it is paid, and no answer is accepted, as in a cascade,
            so the query counts as wrong. None: no limit.
        refused: the answers that are not accepted even where the policy ends with them, a column a
            tier; such a query counts as wrong. None: those that failed a hard validator.
        known: what other policies over the same runs have worked out. None: nothing.

    Raises:
        ConfigError: the runs lack a tier or a signal of the policy, or the latencies that a
            budget needs.
    """
    check_fits(policy, runs)
    if budget_s is not None and np.isnan(runs.latency_s).any():
        raise ConfigError("a budget needs the latency of every run; some lack latency_ms")
    limit_s = np.inf if budget_s is None else budget_s
    never = runs.schema_ok == 0 if refused is None else refused
    return _Replay(policy, runs, limit_s, never, known or Known()).run()


def single(runs: Runs, tier: str) -> Outcomes:
    """Every query answered by one tier."""
    column = runs.column(tier)
    asked = np.zeros(runs.correct.shape, bool)
    asked[:, column] = True
    return Outcomes(
        runs.correct[:, column],
        runs.cost_usd[:, column],
        np.full(len(runs), column),
        asked,
        runs.latency_s[:, column],
    )


class _Replay:
    """One policy over one set of runs."""

    def __init__(
        self, policy: Policy, runs: Runs, budget_s: float, refused: Bools, known: Known
    ) -> None:
        self.budget_s = budget_s
        self.refused = refused
        self.known = known
        self.chances = known.chances(policy, runs)
        self.elapsed_s = np.zeros(len(runs))
        self.policy = policy
        self.runs = runs
        self.slices, self.slice_codes = known.slices(runs)
        self.tier = np.full(len(runs), -1)
        self.asked = np.zeros(runs.correct.shape, bool)

    def run(self) -> Outcomes:
        waiting: list[tuple[tuple[str, ...], Ints]] = []
        for tier, rows in self._starts().items():
            waiting.append(((tier,), self._asked(tier, rows)))
        while waiting:
            asked, rows = waiting.pop()
            for tier, going in self._step(asked, rows).items():
                waiting.append(((*asked, tier), self._asked(tier, going)))
        answered = self.tier >= 0
        answered[answered] = ~self.refused[answered, self.tier[answered]]
        self.tier[~answered] = -1
        correct = np.zeros(len(self.runs))
        correct[answered] = self.runs.correct[answered, self.tier[answered]]
        spent = np.where(self.asked, self.runs.cost_usd, 0.0).sum(axis=1)
        return Outcomes(correct, spent, self.tier, self.asked, self.elapsed_s)

    def _asked(self, tier: str, rows: Ints) -> Ints:
        """Ask a tier; returns the rows whose answer came in time."""
        column = self.runs.column(tier)
        self.asked[rows, column] = True
        done_s = self.elapsed_s[rows] + self.runs.latency_s[rows, column]
        self.elapsed_s[rows] = np.minimum(done_s, self.budget_s)
        late = done_s > self.budget_s  # False of an unknown latency
        in_time: Ints = rows[~late]
        return in_time

    def _starts(self) -> dict[str, Ints]:
        starts: dict[str, list[Ints]] = {}
        for name, rows in self.slices.items():
            tier = self.policy.start.get(name) or self.policy.start[""]
            routed, rest = self._routed(rows)
            starts.setdefault(tier, []).append(rest)
            for first, some in routed.items():
                starts.setdefault(first, []).append(some)
        return {tier: np.concatenate(parts) for tier, parts in starts.items()}

    def _routed(self, rows: Ints) -> tuple[dict[str, Ints], Ints]:
        """By the tier that the router begins with, the rows; and those on which it abstains."""
        if self.chances is None:
            return {}, rows
        knows = ~np.isnan(self.chances[rows, 0])
        known: Ints = rows[knows]
        terms = log_odds_matrix(self.chances[known])
        worths = [self._weighed(w, terms, known) for w in self.policy.begin.values()]
        best = np.argmax(np.round(np.stack(worths), 9), axis=0)
        return {tier: known[best == i] for i, tier in enumerate(self.policy.begin)}, rows[~knows]

    def _step(self, asked: tuple[str, ...], rows: Ints) -> dict[str, Ints]:
        """Accept what is to be accepted; returns the rows that go on, by the tier they ask."""
        state = self.policy.states[">".join(asked)]
        probabilities = self._probabilities(state, rows)
        best = _best(probabilities)
        terms = basis_matrix(probabilities, best)
        last = self.runs.cost_usd[rows, self.runs.column(asked[-1])]
        highest = np.zeros(len(rows), np.float64)
        choice = np.full(len(rows), -1)
        for i, option in enumerate(state.next.values()):
            expected_usd = np.maximum(option.cost[0] + option.cost[1] * last, 0.0)
            gain = self._weighed(option.gain, terms, rows)
            worth = np.round(np.asarray(gain - self.policy.price * expected_usd, np.float64), 9)
            choice = np.where(worth > highest, i, choice)
            highest = np.maximum(worth, highest)
        columns = np.array([self.runs.column(tier) for tier in state.answers])
        self.tier[rows] = np.where(choice < 0, columns[best], -1)
        going = {tier: rows[choice == i] for i, tier in enumerate(state.next)}
        return {tier: left for tier, left in going.items() if len(left)}

    def _probabilities(self, state: StateModel, rows: Ints) -> Floats:
        found = [self.known.of(model, len(self.runs)) for model in state.answers.values()]
        missing = rows[np.isnan([values[rows] for values in found]).any(axis=0)]
        if len(missing):
            x = matrix(self.runs.take_columns(missing), state.features, self.policy.signals)
            for values, (tier, model) in zip(found, state.answers.items(), strict=True):
                failed = self.runs.schema_ok[missing, self.runs.column(tier)] == 0
                values[missing] = np.where(failed, 0.0, self._calibrated(model, x, missing))
        return np.stack([values[rows] for values in found], axis=1)

    def _calibrated(self, model: AnswerModel, x: Floats, rows: Ints) -> Floats:
        odds = self._weighed(model.weights, np.column_stack([np.ones(len(x)), x]), rows)
        p = sigmoid(odds)
        if not model.curve:
            return p
        curve = np.array(model.curve)
        corrected: Floats = np.interp(p, curve[:, 0], curve[:, 1])
        return corrected

    def _weighed(self, weights: Weights, terms: Floats, rows: Ints) -> Floats:
        """The weighted sum of each row's terms, by the weights of its slice."""
        if len(weights) == 1:
            plain: Floats = terms @ np.array(weights[""])
            return plain
        table = np.array([weights.get(name) or weights[""] for name in self.slices])
        summed: Floats = (terms * table[self.slice_codes[rows]]).sum(axis=1)
        return summed


def _best(probabilities: Floats) -> Ints:
    """The column of the highest probability; of equals the one that was asked last."""
    width = probabilities.shape[1]
    best: Ints = width - 1 - np.argmax(np.round(probabilities, 9)[:, ::-1], axis=1)
    return best


def log_odds_matrix(chances: Floats) -> Floats:
    """The terms that `Policy.begin` weighs: 1, and `cascade.policy.log_odds` of each chance."""
    held = np.clip(chances, CLOSEST, 1 - CLOSEST)
    terms: Floats = np.column_stack([np.ones(len(held)), np.log(held / (1 - held))])
    return terms


def basis_matrix(probabilities: Floats, best: Ints) -> Floats:
    """`cascade.policy.basis` for many queries."""
    rows = np.arange(len(probabilities))
    top = probabilities[rows, best]
    terms = [np.ones(len(top)), top, top * top, *(np.maximum(top - h, 0.0) for h in HINGES)]
    width = probabilities.shape[1]
    if width > 1:
        others = probabilities[np.arange(width)[None, :] != best[:, None]].reshape(-1, width - 1)
        terms += list(np.sort(others, axis=1)[:, ::-1].T)
        terms.append(probabilities[:, -1])
    stacked: Floats = np.stack(terms, axis=1)
    return stacked
