"""The two sides of a comparison: what each answered on the cases that both have run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cascade.errors import ConfigError
from cascade.evals.replay import replay
from cascade.evals.runs import (
    Floats,
    Key,
    Runs,
    json_object,
    numbered_lines,
    read_rows,
    read_runs,
)
from cascade.policy import Policy

__all__ = [
    "Arm",
    "Entry",
    "Pairs",
    "case_name",
    "paired",
    "read_arm",
    "replayed_arm",
    "sampled_arms",
    "signals_shown",
    "tier_points",
]


@dataclass(frozen=True, slots=True)
class Entry:
    """What one side made of one case.

    Attributes:
        correct: 0 to 1.
        cost_usd: USD.
        latency_s: NaN is not known.
        answer: a short text. None: not known.
        escalated: whether more than one tier was asked. None: not known.
        signals: the scores that came with the answer.
        slices: the named parts of the set that the case belongs to.
        cluster: cases of one cluster belong together. None: it stands for itself.
        weight: how much it counts.
    """

    correct: float
    cost_usd: float
    latency_s: float = math.nan
    answer: str | None = field(default=None, repr=False)
    escalated: bool | None = None
    signals: Mapping[str, float] = field(default_factory=dict[str, float])
    slices: tuple[str, ...] = ()
    cluster: str | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Arm:
    """One side: its name, its graded answers by case, and the cases whose calls broke."""

    name: str
    entries: Mapping[Key, Entry]
    failed: frozenset[Key] = frozenset()


@dataclass(frozen=True, slots=True)
class Pairs:
    """The cases that both sides have, in a fixed order.

    Attributes:
        baseline, candidate: by case, in the order of `keys`.
        unpaired: cases that only one side has graded, by what is missing of them.
        clusters: of each case. None: every case stands for itself, as where each has its own.
        weights: of each case. None: all count the same.
        ungraded: by slice, how many of the baseline's cases have no graded answer of the
            candidate's; only slices with some.
    """

    keys: tuple[Key, ...]
    baseline: tuple[Entry, ...]
    candidate: tuple[Entry, ...]
    names: tuple[str, str]
    unpaired: Mapping[str, int]
    clusters: tuple[str, ...] | None = None
    weights: Floats | None = None
    ungraded: Mapping[str, int] = field(default_factory=dict[str, int])

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def differences(self) -> Floats:
        """How much more correct the candidate is, in -1..1."""
        return self.column("correct", candidate=True) - self.column("correct", candidate=False)

    def column(self, name: str, *, candidate: bool) -> Floats:
        """One number of each case."""
        side = self.candidate if candidate else self.baseline
        return np.array([getattr(entry, name) for entry in side], np.float64)

    def slices(self) -> dict[str, list[int]]:
        """The places of the cases in each slice, by its name."""
        found: dict[str, list[int]] = {}
        for place, entry in enumerate(self.baseline):
            for name in entry.slices:
                found.setdefault(name, []).append(place)
        return dict(sorted(found.items()))


def case_name(key: Key) -> str:
    """A case as people call it: its id, after its data set and task where it has them."""
    return "/".join(part for part in key if part)


def paired(baseline: Arm, candidate: Arm) -> Pairs:
    """The cases that both have graded.

    Raises:
        ConfigError: there are none.
    """
    keys = tuple(key for key in baseline.entries if key in candidate.entries)
    if not keys:
        raise ConfigError(
            f"{baseline.name} and {candidate.name} have no case in common; run the same cases "
            "through both"
        )
    missing = {
        f"only in {candidate.name}": len(candidate.entries) - len(keys),
        f"failed in {candidate.name}": len(candidate.failed & baseline.entries.keys()),
        f"not run by {candidate.name}": len(
            baseline.entries.keys() - candidate.entries.keys() - candidate.failed
        ),
    }
    ours = tuple(baseline.entries[key] for key in keys)
    lacking = (one for key, one in baseline.entries.items() if key not in candidate.entries)
    return Pairs(
        keys,
        ours,
        tuple(candidate.entries[key] for key in keys),
        (baseline.name, candidate.name),
        {what: count for what, count in missing.items() if count},
        _clusters(keys, ours),
        _weights(ours),
        Counter(name for entry in lacking for name in entry.slices),
    )


def _clusters(keys: Sequence[Key], entries: Sequence[Entry]) -> tuple[str, ...] | None:
    if all(entry.cluster is None for entry in entries):
        return None
    named = zip(keys, entries, strict=True)
    clusters = tuple("\0".join(k) if e.cluster is None else e.cluster for k, e in named)
    # One pair each, as of two samples of a case: such clusters say nothing.
    return clusters if len(set(clusters)) < len(clusters) else None


def _weights(entries: Sequence[Entry]) -> Floats | None:
    weights = np.array([entry.weight for entry in entries], np.float64)
    return None if bool(np.all(weights == weights[0])) else weights


def read_arm(path: Path, tier: str | None = None, *, name: str | None = None) -> Arm:
    """One tier of a file of recorded runs.

    Args:
        tier: None: the only one there is.
        name: what to call it. None: the tier's name.

    Raises:
        ConfigError: the file cannot be read, or has no such tier, or several to choose from.
    """
    extras = _extras(path)
    tiers = list(dict.fromkeys(found for found, _ in extras))
    if tier is None and len(tiers) > 1:
        raise ConfigError(f"{path} holds the tiers {', '.join(tiers)}; name one of them")
    tier = tiers[0] if tier is None and tiers else tier
    if tier not in tiers:
        raise ConfigError(f"{path} has no tier {tier!r}; it has {', '.join(tiers) or 'none'}")
    entries = {
        row.key: Entry(
            row.correct,
            row.cost_usd,
            row.latency_s,
            row.answer,
            signals=row.signals,
            cluster=row.cluster,
            weight=row.weight,
            slices=extras[tier, row.key].slices or ((row.slice,) if row.slice else ()),
            escalated=extras[tier, row.key].escalated,
        )
        for row in read_rows(path, {})
        if row.tier == tier
    }
    failed = frozenset(key for (of, key), extra in extras.items() if of == tier and extra.failed)
    return Arm(name or tier, entries, failed)


@dataclass(frozen=True, slots=True)
class _Extra:
    """What a row says beyond the numbers that tuning reads."""

    slices: tuple[str, ...]
    escalated: bool | None
    failed: bool
    sample: int


def _extras(path: Path) -> dict[tuple[str, Key], _Extra]:
    found: dict[tuple[str, Key], _Extra] = {}
    for number, line in numbered_lines(path):
        try:
            row = json_object(line)
            key = (str(row.get("dataset", "")), str(row.get("task", "")), str(row["qid"]))
            tier = str(row["model"] if "model" in row else row["tier"])
            escalations = row.get("escalations")
            found[tier, key] = _Extra(
                tuple(str(name) for name in row.get("slices") or ()),
                None if escalations is None else escalations > 0,
                row.get("outcome") == "failed",
                int(row.get("sample") or 1),
            )
        except KeyError as error:
            raise ConfigError(f"{path}, line {number} lacks the field {error}") from error
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{path}, line {number} is no recorded run: {error}") from error
    return found


def replayed_arm(path: Path, policy: Policy, *, name: str, prompts: Sequence[Path] = ()) -> Arm:
    """What a policy makes of a file of recorded runs.

    Args:
        prompts: files with what the queries say, for a policy that begins by it.

    Raises:
        ConfigError: the file cannot be read, or lacks a tier or signal of the policy.
    """
    runs = read_runs(
        [path], tiers=policy.tiers, signals=tuple(policy.signals), slice_by=policy.slice_by
    )
    if policy.router is not None and prompts:
        from cascade.evals.tier_zero import with_texts

        runs = with_texts(runs, prompts)
    outcomes = replay(policy, runs)
    slices = {key: extra.slices for (_, key), extra in _extras(path).items()}
    entries: dict[Key, Entry] = {}
    for place, key in enumerate(runs.keys):
        tier = int(outcomes.tier[place])
        entries[key] = Entry(
            float(outcomes.correct[place]),
            float(outcomes.cost_usd[place]),
            float(outcomes.latency_s[place]),
            _answer(runs, place, tier),
            bool(outcomes.asked[place].sum() > 1),
            _signals(runs, place, tier),
            slices.get(key) or ((runs.slices[place],) if runs.slices[place] else ()),
            None if runs.clusters is None else str(runs.clusters[place]),
            float(runs.weights[place]),
        )
    return Arm(name, entries)


def _answer(runs: Runs, place: int, tier: int) -> str | None:
    code = int(runs.answers[place, tier]) if tier >= 0 else -1
    return None if code < 0 else runs.answer_texts[code]


def _signals(runs: Runs, place: int, tier: int) -> dict[str, float]:
    if tier < 0:
        return {}
    return {name: float(values[place, tier]) for name, values in runs.signals.items()}


def sampled_arms(path: Path, tier: str | None) -> tuple[Arm, Arm]:
    """Two samples of the same cases: the odd ones and the even ones of a run with --samples.

    Raises:
        ConfigError: the file has no case with two samples.
    """
    arm = read_arm(path, tier)
    samples = {key: extra.sample for (_, key), extra in _extras(path).items()}
    halves: tuple[dict[Key, Entry], dict[Key, Entry]] = {}, {}
    for (dataset, task, qid), entry in arm.entries.items():
        sample = samples[dataset, task, qid]
        case = qid.removesuffix(f"#{sample}")
        halves[(sample - 1) % 2][dataset, task, f"{case}#{(sample + 1) // 2}"] = entry
    if not halves[1]:
        raise ConfigError(
            f"{path} holds one sample a case; measure noise on two: `cascade eval --samples 2`, "
            "or a second file"
        )
    return Arm(f"{arm.name} (one sample)", halves[0]), Arm(f"{arm.name} (another)", halves[1])


def tier_points(path: Path) -> dict[str, tuple[float, float]]:
    """The mean cost in USD and the mean grade of every tier in a file, unweighted."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in read_rows(path, {}):
        found.setdefault(row.tier, []).append((row.cost_usd, row.correct))
    return {
        tier: (sum(c for c, _ in rows) / len(rows), sum(q for _, q in rows) / len(rows))
        for tier, rows in found.items()
    }


def signals_shown(entries: Sequence[Entry]) -> dict[str, tuple[list[float], list[float]]]:
    """Stated probabilities beside grades, by signal: those that say something of most cases."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for entry in entries:
        for name, value in entry.signals.items():
            stated = math.exp(value) if value < 0 else value
            if 0 <= stated <= 1:  # NaN is outside
                stated_of, grades = found.setdefault(name, ([], []))
                stated_of.append(stated)
                grades.append(entry.correct)
    return {
        name: columns
        for name, columns in found.items()
        if len(set(columns[0])) > 2 and 2 * len(columns[0]) > len(entries)
    }
