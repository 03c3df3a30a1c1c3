"""A learned router as tier 0 of a policy: which tier to begin with, by the text of a request.

What beginning with a tier came to (right or wrong, less all that was spent, priced) is regressed
on the log-odds that the router gives each tier. Both are out of fold: the value by the induction's
folds, the log-odds by the router's own. The router is trained on the tuning queries themselves, so
whether it helps is for cross-validation to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from cascade.errors import ConfigError
from cascade.evals.induction import START_PRIOR, Fitted, first_worths, own_slices
from cascade.evals.replay import log_odds_matrix
from cascade.evals.runs import Floats, Runs
from cascade.learn.examples import Examples, read_prompts
from cascade.learn.model import checked, content_of
from cascade.learn.router import LearnedRouter
from cascade.learn.training import Settings, train_and_predict
from cascade.policy import Policy
from cascade.types import Fact

__all__ = ["Begun", "begin_by_text", "chances_of", "with_texts"]

_RIDGE: Final = 30.0
"""Queries' worth by which the weight of a tier's log-odds is held back."""


def with_texts(runs: Runs, prompts: Sequence[Path]) -> Runs:
    """The runs with what each query says; those of which it is not known are dropped.

    Args:
        prompts: files with a JSON object a line: dataset, task, qid, prompt.

    Raises:
        ConfigError: a file cannot be read, or holds no prompt of these queries.
    """
    found = {key: prompt.text for path in prompts for key, prompt in read_prompts(path)}
    rows = [i for i, key in enumerate(runs.keys) if key in found]
    if not rows:
        raise ConfigError(
            "the prompts are of other queries than the runs; dataset, task and qid have to agree"
        )
    kept = runs.take(np.array(rows)) if len(rows) < len(runs) else runs
    texts = tuple(found[key] for key in kept.keys)
    return replace(kept, texts=texts, dropped=runs.dropped + len(runs) - len(rows))


def chances_of(policy: Policy, texts: Sequence[str]) -> Floats:
    """What the policy's router says of each text: a column a tier; NaN where it abstains."""
    router = LearnedRouter(checked(policy.router or {}, "the policy's router"))
    unknown = [np.nan] * len(router.model.heads)
    return np.array([router.chances(text) or unknown for text in texts], np.float64)


@dataclass(frozen=True, slots=True)
class Begun:
    """Routing policies that begin where a learned router says, for a whole range of prices.

    Attributes:
        fitted: what they do after that.
        weights: by first tier and slice, term x price.
        router: the router's content.
    """

    fitted: Fitted
    weights: Mapping[str, Mapping[str, Floats]]
    router: Mapping[str, Any]

    def policy(self, price: int) -> Policy:
        """The policy of the price with this index."""
        begin = {
            tier: {name: w[:, price].tolist() for name, w in by_slice.items()}
            for tier, by_slice in self.weights.items()
        }
        base = self.fitted.policy(price, from_everywhere=True)
        return replace(base, begin=begin, router=self.router)


def begin_by_text(fitted: Fitted, seed: int) -> Begun:
    """Train a router on the tuning queries, and fit what beginning with each tier is worth.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    runs = fitted.answered.runs
    model, chances = train_and_predict(_examples(runs), Settings(seed=seed))
    terms = log_odds_matrix(chances)
    worths = first_worths(fitted.answered, fitted.prices, fitted.states)
    weights = {tier: _weights(runs, terms, worth) for tier, worth in worths.items()}
    return Begun(fitted, weights, content_of(model))


def _examples(runs: Runs) -> Examples:
    no_signals: Mapping[str, Fact] = {}
    return Examples(
        runs.tiers,
        runs.keys,
        runs.texts,
        (no_signals,) * len(runs),
        tuple(map(tuple, runs.correct.tolist())),
        tuple(map(tuple, runs.cost_usd.tolist())),
    )


def _weights(runs: Runs, terms: Floats, worth: Floats) -> dict[str, Floats]:
    """Ridge regression of what beginning with a tier is worth; a slice has its own constant."""
    slices = own_slices(runs)
    mean, spread = terms[:, 1:].mean(axis=0), np.maximum(terms[:, 1:].std(axis=0), 1e-6)
    x = np.column_stack([terms[:, 0], (terms[:, 1:] - mean) / spread])
    own = np.zeros((len(x), len(slices)))
    for i, rows in enumerate(slices.values()):
        own[rows, i] = 1.0
    ridge = [1e-6] + [_RIDGE] * (x.shape[1] - 1) + [START_PRIOR] * len(slices)
    x = np.column_stack([x, own])
    weighted = x * runs.weights[:, None]
    solved = np.linalg.solve(weighted.T @ x + np.diag(ridge), weighted.T @ worth)
    found: Floats = np.asarray(solved, np.float64)
    width = terms.shape[1]
    pooled: Floats = found[:width].copy()
    pooled[1:] /= spread[:, None]
    pooled[0] -= mean @ pooled[1:]
    by_slice: dict[str, Floats] = {"": pooled}
    for i, name in enumerate(slices):
        by_slice[name] = pooled.copy()
        by_slice[name][0] += found[width + i]
    return by_slice
