"""The features of a policy's states over many queries at once.

The numbers are those of `cascade.policy.Feature`, column by column instead of query by query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, permutations

import numpy as np

from cascade.evals.runs import Floats, Runs
from cascade.policy import CLOSEST, FAR_OFF, FARTHEST, Feature, Scale

__all__ = ["features_of", "matrix", "scales_of"]


def scales_of(runs: Runs) -> dict[str, Scale]:
    """How each signal is scaled, by the values it takes.

    Never above 0: a log-probability. Within 0..1: a probability. Anything else: a number.
    """
    scales: dict[str, Scale] = {}
    for name, values in runs.signals.items():
        known = values[~np.isnan(values)]
        if known.size and known.max() <= 0 and known.min() < 0:
            scales[name] = "logprob"
        elif known.size and known.min() >= 0 and known.max() <= 1:
            scales[name] = "probability"
        else:
            scales[name] = "number"
    return scales


def features_of(runs: Runs, state: Sequence[str], scales: Mapping[str, Scale]) -> list[Feature]:
    """The features of a state that vary over the runs, with their means and spreads there."""
    candidates: list[Feature] = []
    for tier in state:
        for signal, scale in scales.items():
            if scale == "number":
                candidates.append(Feature(tier, "number", signal))
            else:
                candidates.append(Feature(tier, "logit", signal))
                candidates.append(Feature(tier, "probability", signal))
            candidates.append(Feature(tier, "missing", signal))
        candidates.append(Feature(tier, "length"))
    candidates += [Feature(a, "agree", other=b) for a, b in combinations(state, 2)]
    candidates += [
        Feature(a, "signed", signal, other=b)
        for a, b in permutations(state, 2)
        for signal, scale in scales.items()
        if scale != "number"
    ]
    for tier in state:
        candidates += [Feature(tier, "is", other=text) for text in frequent_answers(runs, tier)]
    fitted = (_standard(runs, feature, scales) for feature in candidates)
    return [feature for feature in fitted if feature is not None]


def _standard(runs: Runs, feature: Feature, scales: Mapping[str, Scale]) -> Feature | None:
    """With the runs' mean and spread. None: it is the same for every query."""
    raw = _raw(runs, feature, scales)
    known = raw[np.abs(raw) < FAR_OFF]  # an infinite number is far from all others, no more
    if not known.size or known.std() < 1e-9:
        return None
    return replace(feature, mean=float(known.mean()), spread=float(known.std()))


def matrix(runs: Runs, features: Sequence[Feature], scales: Mapping[str, Scale]) -> Floats:
    """The standardised features, a row a query and a column a feature."""
    columns: Floats = np.zeros((len(runs), len(features)))
    for i, feature in enumerate(features):
        raw = _raw(runs, feature, scales)
        z = np.clip((raw - feature.mean) / feature.spread, -FARTHEST, FARTHEST)
        columns[:, i] = np.where(np.isnan(raw), 0.0, z)
    return columns


def _raw(runs: Runs, feature: Feature, scales: Mapping[str, Scale]) -> Floats:
    """Before standardising; NaN is missing."""
    column = runs.column(feature.tier)
    if feature.form == "agree":
        mine, theirs = runs.answers[:, column], runs.answers[:, runs.column(feature.other)]
        known = (mine >= 0) & (theirs >= 0)
        agreed: Floats = np.where(known, (mine == theirs).astype(float), np.nan)
        return agreed
    if feature.form == "is":
        code = runs.answer_texts.index(feature.other) if feature.other in runs.answer_texts else -2
        answers = runs.answers[:, column]
        said: Floats = np.where(answers >= 0, (answers == code).astype(float), np.nan)
        return said
    if feature.form == "signed":
        mine, theirs = runs.answers[:, column], runs.answers[:, runs.column(feature.other)]
        known = (mine >= 0) & (theirs >= 0)
        odds = _probability(
            runs.signals[feature.signal][:, column], scales[feature.signal], logit=True
        )
        signed: Floats = np.where(known, np.where(mine == theirs, odds, -odds), np.nan)
        return signed
    if feature.form == "length":
        lengths: Floats = np.log1p(np.maximum(runs.output_tokens[:, column], 0.0))
        return lengths
    values = runs.signals[feature.signal][:, column]
    if feature.form == "missing":
        missing: Floats = np.isnan(values).astype(float)
        return missing
    if feature.form == "number":
        numbers: Floats = np.clip(values, -FAR_OFF, FAR_OFF)
        return numbers
    return _probability(values, scales[feature.signal], logit=feature.form == "logit")


def _probability(values: Floats, scale: Scale, *, logit: bool) -> Floats:
    p: Floats = np.exp(np.minimum(values, 0.0)) if scale == "logprob" else np.clip(values, 0.0, 1.0)
    if not logit:
        return p
    held = np.clip(p, CLOSEST, 1 - CLOSEST)
    odds: Floats = np.log(held / (1 - held))
    return odds


def frequent_answers(runs: Runs, tier: str) -> list[str]:
    """The answers that a tier chooses from, where they are few, as letters are; else none."""
    codes = runs.answers[:, runs.column(tier)]
    known = codes[codes >= 0]
    if not known.size:
        return []
    values, counts = np.unique(known, return_counts=True)
    frequent = values[counts >= 0.05 * known.size]
    covered = counts[counts >= 0.05 * known.size].sum() / known.size
    return [runs.answer_texts[i] for i in frequent] if covered >= 0.9 and len(frequent) <= 8 else []
