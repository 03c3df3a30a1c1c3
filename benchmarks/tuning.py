"""Tuning on recorded runs of real models, cross-validated inside the given queries; and its speed.

    python benchmarks/tuning.py --data ../shared/data
    python benchmarks/tuning.py --scale

A set's rows: the best random mixture of single tiers; a plain sweep (every single tier, and every
pair of tiers with one threshold on one raw signal, the best of them at every price), once on the
queries it was chosen on and once on held-out folds; and what `cascade tune` fits, on held-out
folds. AUC is the performance gap recovered, averaged over cost between the cheapest tier's and the
strong one's. Costs are shares of the strong tier's, which is the last of a set and may not be the
dearest. "reference" is the figure to beat: that of a plain sweep on more queries of the same sets.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from timing import table

from cascade.evals.answers import fit_answers, folds_of
from cascade.evals.calibration import calibration_error
from cascade.evals.families import Curve, Ladder, cross_validated, price_grid, useful_tiers
from cascade.evals.frontier import Point, auc, cost_at, hull
from cascade.evals.measures import figures
from cascade.evals.replay import replay
from cascade.evals.runs import Floats, Ints, Runs, read_runs
from cascade.evals.thresholds import Rung, best_of, threshold_grid
from cascade.evals.tune import Settings, tune

LLAMAS = ("llama3.2-1b", "llama3.2-3b", "llama3.1-8b", "llama3.1-70b", "llama3.1-405b")
MINI_TO_4O = ("gpt-4o-mini", "qwen2.5-32b-coder-instruct", "qwen2.5-72b-instruct", "gpt-4o")
ALL_NINE = (*LLAMAS, *MINI_TO_4O)
PAIR = ("gpt-4o-mini", "gpt-4o")
BOOLQ = ("Meta-Llama-3.1-8B-Instruct", "Meta-Llama-3.1-70B-Instruct", "gpt-4o")
FOUR = ("triviaqa", "truthfulqa", "gsm8k", "mmlu")
PLAIN_CELLS = 200
SHARES = (0.95, 0.98, 1.0)


@dataclass(frozen=True, slots=True)
class Case:
    """One set, its strong tier last, and a plain sweep's reference figures: AUC / cost at 98 %."""

    title: str
    file: str
    tasks: Sequence[str]
    tiers: Sequence[str]
    reference: str


CASES = (
    Case("MMLU, Llama 1b to 405b", "niagara", ["mmlu"], LLAMAS, ".903 / .42"),
    Case("MedMCQA, Llama", "niagara", ["medmcqa"], LLAMAS, ".929 / .59"),
    Case("TriviaQA, Llama", "niagara", ["triviaqa"], LLAMAS, ".913 / .25"),
    Case("TriviaQA, Qwen + GPT", "niagara", ["triviaqa"], MINI_TO_4O, ".857 / .16"),
    Case("MMLU, all nine", "niagara", ["mmlu"], ALL_NINE, "1.021 / .14"),
    Case("MedMCQA, all nine", "niagara", ["medmcqa"], ALL_NINE, "1.002 / .15"),
    Case("BoolQ, 8B > 70B > 4o", "lifeeval", ["boolq"], BOOLQ, ".729 / .68"),
    Case(
        "WinoGrande, 8b > 70b > GPT-4T",
        "plaut",
        ["winogrande"],
        ("Llama3-8b", "Llama3-70b", "gpt-4-turbo"),
        ".889 / .47",
    ),
    Case(
        "MMLU, Yi / GPT-3.5 > GPT-4T",
        "plaut",
        ["mmlu"],
        ("Yi-6b", "gpt-3.5-turbo", "gpt-4-turbo"),
        ".770 / .67",
    ),
    Case("four tasks, mini > 4o", "niagara", FOUR, PAIR, ".796 / .32 by slice"),
    Case(
        "four tasks with MedMCQA, mini > 4o",
        "niagara",
        [*FOUR[:2], "medmcqa", "mmlu"],
        PAIR,
        ".796 / .32 by slice",
    ),
)


def read(data: Path, case: Case) -> Runs:
    """The case's runs."""
    return read_runs([data / f"{case.file}.jsonl.gz"], tiers=case.tiers, where={"task": case.tasks})


def raw_signals(runs: Runs) -> Floats:
    """One raw signal a tier: of several the one that is there, and never missing above -inf."""
    stacked = np.stack(list(runs.signals.values()))
    if "token_prob" in runs.signals:
        stacked = runs.signals["token_prob"][None]
    known: Floats = np.where(
        np.isnan(stacked).all(axis=0),
        -np.inf,
        np.nanmax(np.where(np.isnan(stacked), -np.inf, stacked), axis=0),
    )
    return known


def pairs_of(runs: Runs, order: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The cheaper and the dearer tier; the same one twice for a tier alone."""
    for place, cheap in enumerate(order):
        yield cheap, cheap
        for dear in order[place + 1 :]:
            yield cheap, dear


def swept(runs: Runs, train: Ints, test: Ints, prices: Floats) -> Curve:
    """The plain sweep: chosen on `train`, tried on `test`."""
    signal = raw_signals(runs)
    order = [int(i) for i in np.argsort(runs.cost_usd.mean(axis=0))]
    pairs = list(pairs_of(runs, order))
    grids = []
    for cheap, dear in pairs:
        first = Rung(*(v[train, cheap] for v in (signal, runs.correct, runs.cost_usd)))
        last = Rung(*(v[train, dear] for v in (signal, runs.correct, runs.cost_usd)))
        ladder = [first] if cheap == dear else [first, last]
        grids.append(threshold_grid(ladder, np.ones(len(train)), PLAIN_CELLS))
    correct, cost = np.zeros((len(test), len(prices))), np.zeros((len(test), len(prices)))
    for i, price in enumerate(prices.tolist()):
        found = [best_of(grid, price) for grid in grids]
        best = max(range(len(pairs)), key=lambda k: found[k][0])
        (cheap, dear), (_, thresholds) = pairs[best], found[best]
        going = np.zeros(len(test), bool)
        if thresholds:
            going = signal[test, cheap] < thresholds[0]
        correct[:, i] = np.where(going, runs.correct[test, dear], runs.correct[test, cheap])
        cost[:, i] = runs.cost_usd[test, cheap] + going * runs.cost_usd[test, dear]
    return Curve(correct, cost)


def swept_in_folds(runs: Runs, prices: Floats, seed: int) -> Curve:
    """The plain sweep on folds that it was not chosen on."""
    folds = folds_of(runs, 5, seed)
    curve = Curve(np.zeros((len(runs), len(prices))), np.zeros((len(runs), len(prices))))
    for fold in range(5):
        held = np.flatnonzero(folds == fold)
        found = swept(runs, np.flatnonzero(folds != fold), held, prices)
        curve.correct[held], curve.cost_usd[held] = found.correct, found.cost_usd
    return curve


@dataclass(frozen=True, slots=True)
class Scale:
    """What a set's figures are measured against."""

    singles: Sequence[Point]
    strong: Point

    def figures(self, points: Sequence[Point]) -> list[float]:
        """AUC, then the costs at `SHARES` of the strong tier's accuracy; NaN where never."""
        cheapest = min(self.singles)
        curve = hull([*points, cheapest, self.strong])
        costs = [cost_at(curve, share * self.strong.quality) for share in SHARES]
        area = auc(points, cheapest, self.strong)
        return [np.nan if value is None else value for value in (area, *costs)]


def scale_of(runs: Runs, strong: int) -> Scale:
    """The single tiers, at costs relative to the strong one's."""
    unit = runs.cost_usd[:, strong].mean()
    means = zip(runs.cost_usd.mean(axis=0) / unit, runs.correct.mean(axis=0), strict=True)
    singles = [Point(float(cost), float(quality)) for cost, quality in means]
    return Scale(singles, singles[strong])


def points_of(curve: Curve, unit: float, rows: Ints | None = None) -> list[Point]:
    """The curve's policies."""
    part = slice(None) if rows is None else rows
    costs = curve.cost_usd[part].mean(axis=0) / unit
    return [Point(*pair) for pair in zip(costs, curve.correct[part].mean(axis=0), strict=True)]


def measured(runs: Runs, curves: Sequence[Curve], strong: int) -> list[str]:
    """Mean figures of repeated cross-validations; AUC with its bootstrap standard error."""
    unit = float(runs.cost_usd[:, strong].mean())
    whole = scale_of(runs, strong)
    mean = np.mean([whole.figures(points_of(curve, unit)) for curve in curves], axis=0)
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(100):
        rows = random.integers(0, len(runs), len(runs))
        part = runs.take(rows)
        points = points_of(curves[0], float(part.cost_usd[:, strong].mean()), rows)
        drawn.append(scale_of(part, strong).figures(points)[0])
    cells = [f"{mean[0]:.3f} ±{np.nanstd(drawn):.3f}"]
    return cells + ["-" if np.isnan(cost) else f"{cost:.3f}" for cost in mean[1:]]


def errors_of(runs: Runs, strong: str) -> str:
    """Calibration error before and after, the mean of the tiers."""
    answered = fit_answers(runs, runs.tiers, strong, 1, folds_of(runs, 5, 0))
    raw = raw_signals(runs)
    before, after = [], []
    for i, tier in enumerate(runs.tiers):
        label, w = runs.correct[:, i], runs.weights
        stated = np.exp(raw[:, i]) if raw.max() <= 0 else np.clip(raw[:, i], 0, 1)
        before.append(calibration_error(stated, label, w))
        fitted = answered.states[(tier,)].probabilities[:, 0]
        after.append(calibration_error(fitted, label, w))
    return f"{np.mean(before):.3f} to {np.mean(after):.3f}"


def compare(data: Path, case: Case, repeats: int) -> str:
    """One set's table."""
    runs = read(data, case)
    name = runs.tiers[-1]
    strong = runs.column(name)
    unit = float(runs.cost_usd[:, strong].mean())
    prices = price_grid(unit)
    everyone = np.arange(len(runs))
    rows = [("", "AUC", *(f"cost at {share:.0%}" for share in SHARES))]
    mixture = scale_of(runs, strong)
    mixed = mixture.figures(mixture.singles)
    rows.append(("mixture of single tiers", *(f"{value:.3f}" for value in mixed)))
    optimist = swept(runs, everyone, everyone, prices)
    rows.append(("plain sweep, on its own queries", *measured(runs, [optimist], strong)))
    plain = [swept_in_folds(runs, prices, seed) for seed in range(repeats)]
    rows.append(("plain sweep, held out", *measured(runs, plain, strong)))
    ladder = Ladder(useful_tiers(runs, name), name, 3)
    found = [cross_validated(runs, ladder, prices, 5, seed) for seed in range(repeats)]
    rows += [
        (family, *measured(runs, [curves[family] for curves in found], strong))
        for family in found[0]
    ]
    title = f"{case.title}: {len(runs)} queries; reference {case.reference}"
    return f"{table(title, rows)}\ncalibration error {errors_of(runs, name)}\n"


def at_target(data: Path, case: Case, splits: int) -> tuple[str, ...]:
    """`tune --target 0.98` on two thirds of the queries, replayed on the rest: the means."""
    runs = read(data, case)
    strong = runs.tiers[-1]
    drawn = []
    for seed in range(splits):
        third = folds_of(runs, 3, seed) == 0
        policy = tune(runs.take(np.flatnonzero(~third)), strong, Settings(target=0.98, seed=seed))
        rest = runs.take(np.flatnonzero(third))
        found = figures(rest, replay(policy, rest), strong)
        drawn.append((found["quality_vs_strong"], found["relative_cost"]))
    quality, cost = np.mean(drawn, axis=0)
    low = np.min(drawn, axis=0)[0]
    return case.title, f"{quality:.1%}", f"{low:.1%}", f"{cost:.1%}", case.reference


def made_up(queries: int, slices: int, seed: int) -> Runs:
    """Runs of three tiers with two signals, of any size."""
    random = np.random.default_rng(seed)
    difficulty = random.normal(size=(queries, 1))
    skill = np.array([[0.0, 1.0, 2.2]])
    odds = 2 * (skill - difficulty)
    correct = (random.random((queries, 3)) < 1 / (1 + np.exp(-odds))).astype(float)
    signals = {
        name: 1 / (1 + np.exp(-odds - random.normal(size=(queries, 3)) * noise))
        for name, noise in (("sure", 0.7), ("stated", 2.0))
    }
    unknown = np.full((queries, 3), np.nan)
    return Runs(
        tiers=("small", "medium", "large"),
        keys=tuple(("made-up", "", str(i)) for i in range(queries)),
        slices=tuple(f"slice {i % slices}" for i in range(queries)),
        correct=correct,
        cost_usd=random.uniform(0.5, 1.5, (queries, 1)) * np.array([[1e-4, 5e-4, 2e-3]]),
        signals=signals,
        answers=np.full((queries, 3), -1),
        answer_texts=(),
        schema_ok=unknown,
        output_tokens=unknown,
        latency_s=unknown,
        weights=np.ones(queries),
        slice_by="slice",
    )


def scale() -> str:
    """How long tuning and replay take, from and to files where a command would."""
    runs = made_up(50_000, 20, 0)
    started = time.perf_counter()
    policy = tune(runs, "large", Settings(target=0.98))
    tuned_s = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "runs.jsonl"
        write(file, made_up(100_000, 20, 1))
        started = time.perf_counter()
        others = read_runs([file], tiers=policy.tiers, slice_by="slice")
        read_s = time.perf_counter() - started
        found = figures(others, replay(policy, others), "large")
        replayed_s = time.perf_counter() - started - read_s
    rows = [
        ("", "seconds"),
        ("tune 50,000 queries x 3 tiers x 20 slices", f"{tuned_s:.1f}"),
        ("read 300,000 lines", f"{read_s:.1f}"),
        ("replay 100,000 queries", f"{replayed_s:.1f}"),
    ]
    held = f"on new queries {found['quality_vs_strong']:.2%} at {found['relative_cost']:.1%}"
    return f"{table('Scale', rows)}\n{held}"


def write(file: Path, runs: Runs) -> None:
    """The runs as JSON Lines."""
    with file.open("w", encoding="utf-8") as out:
        for i, key in enumerate(runs.keys):
            for j, tier in enumerate(runs.tiers):
                signals = ", ".join(f'"{k}": {v[i, j]:.6f}' for k, v in runs.signals.items())
                out.write(
                    f'{{"qid": "{key[2]}", "slice": "{runs.slices[i]}", "model": "{tier}", '
                    f'"correct": {runs.correct[i, j]:g}, "cost_usd": {runs.cost_usd[i, j]:.9f}, '
                    f'"signals": {{{signals}}}}}\n'
                )


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="recorded runs")
    parser.add_argument("--repeats", type=int, default=3, help="cross-validations of each set")
    parser.add_argument("--splits", type=int, default=5, help="tune-and-replay splits of each set")
    parser.add_argument("--only", default="", help="sets whose title contains this")
    parser.add_argument("--scale", action="store_true", help="time tuning and replay instead")
    options = parser.parse_args()
    if options.scale:
        print(scale())
        return
    cases = [case for case in CASES if options.only in case.title]
    for case in cases:
        print(compare(options.data, case, options.repeats), flush=True)
    rows = [("tune --target 0.98, replayed on others", "accuracy", "lowest", "cost", "reference")]
    rows += [at_target(options.data, case, options.splits) for case in cases]
    print(table("Share of the strong tier's accuracy and cost, means of the splits", rows))


if __name__ == "__main__":
    main()
