"""Certified thresholds on recorded runs: is the promise kept, and at what price?

    python benchmarks/certificates.py --data ../shared/data

For each pair of tiers, tuning samples are drawn WITH replacement from the recorded set, which so
plays the population: each sample is independent and identically distributed, and the true
difference and cost of every threshold are known exactly, being those on the whole set. (Without
replacement a sample of 1,600 out of 2,264 would know most of the truth, and every method would look
too good.) A violation is a chosen policy whose true difference is eps or more below the strong
tier. Where nothing is certified the strong tier answers everything, at cost 1. Costs are relative
to the strong tier alone; a query that escalates pays for both.

    naive    the loosest threshold whose difference on the sample is above -eps
    tango    the default: Tango's score test in a fixed sequence
    betting  --strict: the finite-sample betting bound
    harm     exact: losses alone, gains not counted
    BARGAIN  the package of that name (SIGMOD 2026), when installed, on 20,000 records drawn in the
             same way, no more than n of them labelled. It bounds the losses, like harm, and picks
             its labels itself; it is judged on those records, to which its promise refers. As it
             comes it gives up on a threshold after 50 labels, so it is also run without that rule.

Ladders of several tiers are fitted on one half of a sample and certified on the other; naive tuning
fits on the whole sample, and takes what it sees there at its word. BARGAIN knows pairs only.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from timing import table

from cascade.evals.certificates import Method, certify, threshold_candidates, thresholds_of
from cascade.evals.certified import Promise, fitted_policies, prove, way
from cascade.evals.replay import replay
from cascade.evals.runs import Runs, read_runs
from cascade.evals.tune import Settings
from cascade.policy import Policy

Floats = NDArray[np.float64]
EPS, DELTA = 0.02, 0.1
SIZES = (400, 800, 1600)
METHODS: tuple[Method, ...] = ("tango", "betting", "harm")
PROMISES = {
    "tango": Promise(EPS, DELTA),
    "betting": Promise(EPS, DELTA, strict=True),
    "harm": Promise(EPS, DELTA, harm_only=True),
}
RECORDS = 20_000  # for BARGAIN to process
BARGAINS = {"BARGAIN": False, "BARGAIN, all labels": True} if find_spec("BARGAIN") else {}


class Pair(NamedTuple):
    """Two recorded models and the signal of the cheap one that is thresholded."""

    name: str
    file: str
    task: str
    cheap: str
    strong: str
    signal: str


PAIRS = (
    Pair("TriviaQA mini>4o", "niagara", "triviaqa", "gpt-4o-mini", "gpt-4o", "ptrue_logprob"),
    Pair(
        "TriviaQA 8B>405B", "niagara", "triviaqa", "llama3.1-8b", "llama3.1-405b", "ptrue_logprob"
    ),
    Pair("MMLU mini>4o", "niagara", "mmlu", "gpt-4o-mini", "gpt-4o", "answer_logprob"),
    Pair("MMLU 70B>405B", "niagara", "mmlu", "llama3.1-70b", "llama3.1-405b", "answer_logprob"),
    Pair("MedMCQA 8B>405B", "niagara", "medmcqa", "llama3.1-8b", "llama3.1-405b", "answer_logprob"),
    Pair("BoolQ 8B>4o", "lifeeval", "boolq", "Meta-Llama-3.1-8B-Instruct", "gpt-4o", "token_prob"),
    Pair("WinoGrande 70B>4T", "plaut", "winogrande", "Llama3-70b", "gpt-4-turbo", "token_prob"),
    Pair("MMLU 3.5>4T", "plaut", "mmlu", "gpt-3.5-turbo", "gpt-4-turbo", "token_prob"),
    Pair("ARC Yi-34b>4T", "plaut", "arc", "Yi-34b", "gpt-4-turbo", "token_prob"),
    Pair("HellaSwag Yi-34b>4T", "plaut", "hellaswag", "Yi-34b", "gpt-4-turbo", "token_prob"),
)


class Several(NamedTuple):
    """More than two recorded models, cheapest first, and the signal of them all."""

    name: str
    file: str
    task: str
    tiers: tuple[str, ...]
    signal: str


LADDERS = (
    Several(
        "TriviaQA 8B>70B>405B",
        "niagara",
        "triviaqa",
        ("llama3.1-8b", "llama3.1-70b", "llama3.1-405b"),
        "ptrue_logprob",
    ),
    Several(
        "BoolQ 8B>70B>4o",
        "lifeeval",
        "boolq",
        ("Meta-Llama-3.1-8B-Instruct", "Meta-Llama-3.1-70B-Instruct", "gpt-4o"),
        "token_prob",
    ),
    Several(
        "WinoGrande 8b>70b>4T",
        "plaut",
        "winogrande",
        ("Llama3-8b", "Llama3-70b", "gpt-4-turbo"),
        "token_prob",
    ),
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """The queries both models answered; one value a query."""

    score: Floats  # NaN: the cheap model gave no signal
    cheap: Floats
    strong: Floats
    cheap_usd: Floats
    strong_usd: Floats

    def sample(self, rng: np.random.Generator, n: int) -> Recorded:
        rows = rng.integers(0, self.score.size, n)
        return Recorded(*(getattr(self, name)[rows] for name in self.__slots__))

    def outcome(self, threshold: float | None) -> tuple[float, float]:
        """The difference in accuracy and the relative cost of a threshold; None: strong only."""
        if threshold is None:
            return 0.0, 1.0
        accepted = self.score >= threshold
        return self.outcome_of(accepted)

    def outcome_of(self, accepted: NDArray[np.bool_]) -> tuple[float, float]:
        difference = float(np.where(accepted, self.cheap - self.strong, 0.0).mean())
        cost = self.cheap_usd.sum() + np.where(accepted, 0.0, self.strong_usd).sum()
        return difference, float(cost / self.strong_usd.sum())


def load(data: Path, pair: Pair) -> Recorded:
    """The recorded set of a pair, in the file's order."""
    rows: dict[str, dict[str, Any]] = {pair.cheap: {}, pair.strong: {}}
    with gzip.open(data / f"{pair.file}.jsonl.gz", "rt") as lines:
        for line in lines:
            row = json.loads(line)
            if row["task"] == pair.task and row["model"] in rows:
                rows[row["model"]][row["qid"]] = row
    cheap, strong = rows[pair.cheap], rows[pair.strong]
    both = [query for query in cheap if query in strong]

    def values(of: dict[str, Any], field: str) -> Floats:
        return np.array([of[query][field] for query in both], np.float64)

    signals = [cheap[query]["signals"].get(pair.signal) for query in both]
    return Recorded(
        np.array([math.nan if signal is None else signal for signal in signals]),
        values(cheap, "correct"),
        values(strong, "correct"),
        values(cheap, "cost_usd"),
        values(strong, "cost_usd"),
    )


def naive(sample: Recorded) -> float | None:
    """The cheapest threshold that keeps to the margin on the sample, taken at its word."""
    candidates = [
        (sample.outcome(threshold), threshold) for threshold in thresholds_of(sample.score).tolist()
    ]
    kept = [(cost, threshold) for (d, cost), threshold in candidates if d > -EPS and cost < 1]
    return min(kept)[1] if kept else None


def certified(sample: Recorded, method: Method) -> float | None:
    """The certified threshold; None: strong only."""
    thresholds = thresholds_of(sample.score)
    strong_usd = float(sample.strong_usd.mean())
    policies = threshold_candidates(
        sample.score,
        sample.cheap,
        sample.strong,
        sample.cheap_usd,
        sample.strong_usd,
        thresholds,
    )
    chosen = certify(policies, EPS, DELTA, method, strong_cost_usd=strong_usd).chosen
    return None if chosen is None else float(thresholds[chosen.index])


class Run(NamedTuple):
    """One sample's policy, judged."""

    difference: float
    cost: float
    labels: int


def bargain(population: Recorded, rng: np.random.Generator, n: int, *, spend: bool) -> Run:
    """BARGAIN_A on records drawn from the population, with at most n labels.

    With `spend` it does not give up on a threshold before its labels are used up.
    """
    from BARGAIN import BARGAIN_A, Oracle, Proxy

    records = population.sample(rng, RECORDS)
    score = np.nan_to_num(records.score, nan=-np.inf)
    unharmed = records.cheap >= records.strong
    labelled: set[int] = set()

    class Scores(Proxy):  # type: ignore[misc,no-any-unimported]
        def get_preds_and_scores(self, indexes: Any, _: Any) -> tuple[Any, Any]:
            rows = np.asarray(indexes, int)
            return np.zeros(rows.size), score[rows]

    class Labels(Oracle):  # type: ignore[misc,no-any-unimported]
        def is_answer_correct(self, indexes: Any, _: Any, __: Any) -> Any:
            if len(labelled.union(indexes.tolist())) > n:
                raise _OutOfLabels
            labelled.update(indexes.tolist())
            return unharmed[indexes]

        def get_pred(self, rows: Any, _: Any = None) -> Any:
            return np.zeros(len(rows))

    class Patient(BARGAIN_A):  # type: ignore[misc,no-any-unimported]
        def _BARGAIN_A__check_worth_trying(self, *_: Any) -> bool:  # noqa: N802 - its own name
            return True

    kind = Patient if spend else BARGAIN_A
    proxy, oracle = Scores(verbose=False), Labels(verbose=False)
    method = kind(proxy, oracle, 1 - EPS, DELTA, verbose=False, seed=int(rng.integers(2**31)))
    try:
        _, strong = method.process(np.arange(RECORDS), return_oracle_usage=True)
        accepted = ~np.asarray(strong, bool)
    except _OutOfLabels:
        passed = list(method.sampler.sampled_at_threshs)[:-1]
        accepted = np.zeros(RECORDS, bool)
        accepted[np.argsort(score)[::-1][: passed[-1] if passed else 0]] = True
        accepted[list(labelled)] = False
    return Run(*records.outcome_of(accepted), len(labelled))


class _OutOfLabels(Exception):
    """BARGAIN asked for more labels than there are."""


Cells = dict[tuple[int, str], list[Run]]
"""Every sample's policy by sample size and method."""


def cells(of: Pair | Several, data: Path, resamples: int, bargains: int) -> Cells:
    """Those of one set, with a word on stderr when they are there."""
    started = perf_counter()
    found = (
        cells_of_pair(of, data, resamples, bargains)
        if isinstance(of, Pair)
        else cells_of_ladder(of, data, resamples)
    )
    print(f"{of.name}: {perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return found


def cells_of_ladder(several: Several, data: Path, resamples: int) -> Cells:
    """Those of a ladder."""
    population = read_runs(
        [data / f"{several.file}.jsonl.gz"],
        tiers=several.tiers,
        signals=(several.signal,),
        where={"task": (several.task,)},
    )
    strong = several.tiers[-1]
    found: Cells = {}
    for n in SIZES:
        rng = np.random.default_rng(n)
        for _ in range(resamples):
            sample = population.take(rng.integers(0, len(population), n))
            policy = naive_policy(sample, strong)
            found.setdefault((n, "naive"), []).append(judged(policy, population, strong, n))
            policies, test = way(sample, strong, Settings())
            for method in METHODS:
                step = prove(policies, test, strong, PROMISES[method]).chosen
                policy = None if step is None else policies[step.index]
                found.setdefault((n, method), []).append(judged(policy, population, strong, n))
    return found


def naive_policy(sample: Runs, strong: str) -> Policy | None:
    """The cheapest policy that keeps to the margin on the sample it was fitted on."""
    judgements = [
        (judged(policy, sample, strong, len(sample)), policy)
        for policy in fitted_policies(sample, strong, Settings())
    ]
    kept = [(run.cost, i) for i, (run, _) in enumerate(judgements) if run.difference > -EPS]
    cost, best = min(kept, default=(1.0, 0))
    return judgements[best][1] if cost < 1 else None


def judged(policy: Policy | None, on: Runs, strong: str, labels: int) -> Run:
    """What a policy comes to; None: the strong tier answers everything."""
    if policy is None:
        return Run(0.0, 1.0, labels)
    column = on.column(strong)
    outcomes = replay(policy, on)
    cost = outcomes.cost_usd.sum() / on.cost_usd[:, column].sum()
    return Run(float((outcomes.correct - on.correct[:, column]).mean()), float(cost), labels)


def cells_of_pair(pair: Pair, data: Path, resamples: int, bargains: int) -> Cells:
    """Those of a pair."""
    population = load(data, pair)
    found: Cells = {}
    for n in SIZES:
        rng = np.random.default_rng(n)
        for turn in range(resamples):
            sample = population.sample(rng, n)
            ways: dict[str, Callable[[], float | None]] = {"naive": partial(naive, sample)}
            ways |= {method: partial(certified, sample, method) for method in METHODS}
            for name, threshold in ways.items():
                run = Run(*population.outcome(threshold()), n)
                found.setdefault((n, name), []).append(run)
            for name, spend in BARGAINS.items() if turn < bargains else ():
                own = np.random.default_rng((n, turn))  # the samples are the same without it
                run = bargain(population, own, n, spend=spend)
                found.setdefault((n, name), []).append(run)
    return found


def violations(runs: list[Run]) -> float:
    """The share of policies that are eps or more worse than the strong tier."""
    return float(np.mean([run.difference <= -EPS for run in runs]))


def cost(runs: list[Run]) -> float:
    """The mean cost, relative to the strong tier alone."""
    return float(np.mean([run.cost for run in runs]))


def rows(name: str, found: Cells) -> Iterator[tuple[str, ...]]:
    """The pair's rows of the table: share of violations, cost, cost relative to naive tuning."""
    for n in SIZES:
        base = cost(found[n, "naive"])
        row = [name, str(n), f"{violations(found[n, 'naive']):.1%} {base:.3f}"]
        for method in METHODS:
            runs = found[n, method]
            row.append(f"{violations(runs):.1%} {cost(runs):.3f} x{cost(runs) / base:.2f}")
        for name_ in BARGAINS:
            runs = found.get((n, name_), [])
            if not runs:
                row.append("-")
                continue
            labels = np.mean([run.labels for run in runs])
            row.append(f"{violations(runs):.1%} {cost(runs):.3f} ({labels:.0f} labels)")
        yield tuple(row)


def verdicts(results: dict[str, Cells], resamples: int) -> Iterator[str]:
    """Whether the goals are met, cell by cell where they are not."""
    slack = DELTA + 2.33 * math.sqrt(DELTA * (1 - DELTA) / resamples)
    for method in METHODS:
        worst = max(
            (violations(f[n, method]), name, n) for name, f in results.items() for n in SIZES
        )
        kept = "kept" if worst[0] <= slack else "BROKEN"
        yield (
            f"{method}: violations at most {worst[0]:.1%} ({worst[1]}, n = {worst[2]}); "
            f"{DELTA:.0%} promised, up to {slack:.1%} is sampling error: {kept}"
        )
    n = SIZES[-1]
    ratios = {name: cost(f[n, "tango"]) / cost(f[n, "naive"]) for name, f in results.items()}
    over = ", ".join(f"{name} x{ratio:.2f}" for name, ratio in ratios.items() if ratio > 1.25)
    mean = float(np.mean(list(ratios.values())))
    yield f"tango's cost at n = {n}: x{mean:.2f} of naive on average; above x1.25: {over or 'none'}"
    for method, other in product(METHODS, BARGAINS):
        both = [
            (f[n, method], f[n, other]) for f in results.values() for n in SIZES if (n, other) in f
        ]
        wins = sum(cost(ours) < cost(theirs) for ours, theirs in both)
        yield f"{method} is cheaper than {other} in {wins} of {len(both)} cells"


def main() -> None:
    """Prints the table and what it says about the goals."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--bargains", type=int, default=50, help="of the samples; it is slow")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--sets", choices=("all", "pairs", "ladders"), default="all")
    arguments = parser.parse_args()
    work = partial(
        cells,
        data=arguments.data,
        resamples=arguments.resamples,
        bargains=arguments.bargains,
    )
    chosen = {"all": (*PAIRS, *LADDERS), "pairs": PAIRS, "ladders": LADDERS}
    sets = chosen[arguments.sets]
    with ProcessPoolExecutor(arguments.jobs) as pool:
        results = dict(zip([one.name for one in sets], pool.map(work, sets), strict=True))
    head = ["set", "n", "naive", *METHODS, *BARGAINS]
    title = (
        f"Violations and cost, {arguments.resamples} samples, eps {EPS}, delta {DELTA} "
        "(x: of naive)"
    )
    print(table(title, [tuple(head), *(r for k, v in results.items() for r in rows(k, v))]))
    print(*verdicts(results, arguments.resamples), sep="\n")


if __name__ == "__main__":
    main()
