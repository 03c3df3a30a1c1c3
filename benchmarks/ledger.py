"""What observers cost a call, and how many attempts a second a ledger takes in.

    python benchmarks/ledger.py                  # all of it, about two minutes
    python benchmarks/ledger.py --json
    python benchmarks/ledger.py --only off,sqlite

PostgreSQL is a server of its own, on a loopback port, with its usual settings; it is installed
where the machine has none. All in one process, one run, side by side: the ratios travel, the
microseconds do not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from timing import table

from cascade import Answer, Attempt, Cascade, Charge, Context, Price, Result, Tier, Usage, Verdict
from cascade.ledger import JsonLines, Ledger
from cascade.observing import Observer
from cascade.telemetry import OpenTelemetry, Prometheus

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.postgres import PostgresServer

ROUNDS = 15
CALLS_A_ROUND = 4_000
ADDED_GOAL_US = 10
RATE_GOAL = 20_000
RATE_S = 15.0


@dataclass(frozen=True)
class Watched:
    """Observers of a cascade, and how to have them finish what they put off."""

    observers: Sequence[Observer]
    finish: Callable[[], object]


Make = Callable[[Path, str], AbstractContextManager[Watched]]
"""Makes observers, given a folder for files and the address of an empty PostgreSQL database."""


@contextmanager
def nothing(folder: Path, address: str) -> Iterator[Watched]:
    """No observer at all: what the others are compared with."""
    yield Watched((), lambda: None)


@contextmanager
def ledger_in(kind: str, folder: Path, address: str) -> Iterator[Watched]:
    """A ledger in SQLite or PostgreSQL, or a file of JSON lines."""
    made: Ledger | JsonLines
    if kind == "jsonl":
        made = JsonLines(folder / "calls.jsonl")
    else:
        made = Ledger(address if kind == "postgresql" else folder / "ledger.db")
    with made:
        yield Watched([made], made.flush)
        if made.lost:
            raise SystemExit(f"{kind} lost {made.lost} calls: what was timed is not its work")


@contextmanager
def otel_sdk(folder: Path, address: str, sampled: float = 1.0) -> Iterator[Watched]:
    """OpenTelemetry's SDK as programs run it, but for what it sends, which stays in memory.

    Spans are exported in batches by the SDK's thread; metrics are read once a round.
    """
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(ParentBasedTraceIdRatio(sampled)), MeterProvider([reader])
    tracers.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=100_000, schedule_delay_millis=500)
    )

    def finish() -> None:
        tracers.force_flush()
        reader.get_metrics_data()
        if sampled == 1.0 and len(exporter.get_finished_spans()) != 2 * CALLS_A_ROUND:
            raise SystemExit("the SDK lost spans: what was timed is not its work")
        exporter.clear()

    yield Watched([OpenTelemetry(tracers, meters)], finish)
    tracers.shutdown()
    meters.shutdown()


@contextmanager
def prometheus(folder: Path, address: str) -> Iterator[Watched]:
    """Prometheus's client, its metrics fetched once a round."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    yield Watched([Prometheus(registry)], lambda: generate_latest(registry))


OBSERVERS: dict[str, Make] = {
    "off": nothing,
    "sqlite": partial(ledger_in, "sqlite"),
    "postgresql": partial(ledger_in, "postgresql"),
    "jsonl": partial(ledger_in, "jsonl"),
    "otel": otel_sdk,
    "otel-1-in-100": partial(otel_sdk, sampled=0.01),
    "prometheus": prometheus,
}


def watched_call(observers: Sequence[Observer]) -> Callable[[], Any]:
    """A call accepted on tier 1 of 3 by two validators, as in benchmarks/overhead.py."""
    price = Price(input=0.05, output=0.40)
    tiers = [Tier(name, price=price) for name in ("small", "medium", "large")]
    usage = Usage(900, 120)

    async def answer(tier: Tier, question: str) -> Answer[str]:
        return Answer("yes", usage=usage)

    def is_text(answer: Answer[Any], context: Context) -> bool:
        return answer.text is not None

    def is_short(answer: Answer[Any], context: Context) -> bool:
        return answer.text is not None and len(answer.text) < 100

    call = Cascade(tiers=tiers, validators=[is_text, is_short], observers=observers)(answer)
    return lambda: call("?")


@dataclass
class Cost:
    """Microseconds a call, one figure a round.

    Attributes:
        median: what the median call took.
        slow: what the slowest call in a hundred took.
        processor: what the process computed for each call, in all its threads.
    """

    median: list[float]
    slow: list[float]
    processor: list[float]


async def call_costs(makes: dict[str, Make], address: str) -> dict[str, Cost]:
    """What a call costs under each observer.

    They take turns. What a round puts off is finished before the next one, so that no observer's
    thread works in another's time; `processor` includes that.
    """
    costs = {name: Cost([], [], []) for name in makes}
    with contextlib.ExitStack() as stack:
        calls: dict[str, tuple[Watched, Callable[[], Any]]] = {}
        for name, make in makes.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            watched = stack.enter_context(make(folder, address))
            calls[name] = watched, watched_call(watched.observers)
        for number in range(ROUNDS + 1):
            for name, (watched, call) in calls.items():
                median, slow, processor = await _round(call, watched.finish)
                if number:  # the first one is for what is done on first use
                    costs[name].median.append(median)
                    costs[name].slow.append(slow)
                    costs[name].processor.append(processor)
    return costs


async def _round(
    call: Callable[[], Any], finish: Callable[[], object]
) -> tuple[float, float, float]:
    clock = time.perf_counter
    times: list[float] = []
    gc.collect()
    computed = time.process_time()
    for _ in range(CALLS_A_ROUND):
        before = clock()
        await call()
        times.append(clock() - before)
    finish()
    computed = time.process_time() - computed
    slow = statistics.quantiles(times, n=100)[-1]
    return statistics.median(times) * 1e6, slow * 1e6, computed / CALLS_A_ROUND * 1e6


def a_result() -> Result[Any]:
    """A finished call with two attempts, each with two verdicts and a bill."""
    price = Price(input=0.05, output=0.40)

    def attempt(tier: str, score: float) -> Attempt:
        verdicts = [
            Verdict("passed", 1.0, validator="json_schema"),
            Verdict("passed", score, validator="logprob_p10", threshold=0.9, latency_s=0.0001),
        ]
        charges = [Charge(tier, price, Usage(900, 120, 0, 0, 0))]
        answer = Answer("yes", model=tier, finish_reason="stop")
        return Attempt(tier, 0, "accepted", "", answer, None, verdicts, charges, 0.5, 0.4, "m:x")

    attempts = (attempt("small", 0.5), attempt("large", 0.95))
    return Result("yes", True, "large", "accepted", attempts, 0.9, "chat", "support", id="")


@dataclass
class Rate:
    """A ledger under a steady load.

    Attributes:
        asked: attempts a second that were recorded.
        stored: attempts a second that were stored, the last flush included.
        most_pending: the most calls that ever waited.
        grown_mb: how much the process's memory grew from a third of the run to its end.
        lost: calls dropped.
    """

    asked: float
    stored: float
    most_pending: int
    grown_mb: float
    lost: int


async def sustained(source: str | Path, attempts_per_s: int) -> Rate:
    """Record at a steady rate, as a busy server does, and see whether the ledger keeps up."""
    template, numbers = a_result(), itertools.count()
    a_burst = max(1, attempts_per_s // len(template.attempts) // 100)
    most_pending, memory_mb = 0, 0.0
    with Ledger(source) as ledger:
        ledger.open()
        started = time.perf_counter()
        for burst in itertools.count(1):
            for _ in range(a_burst):
                ledger.record(replace(template, id=f"r-{next(numbers)}", started_at=time.time()))
            most_pending = max(most_pending, ledger.pending)
            elapsed = time.perf_counter() - started
            if not memory_mb and elapsed > RATE_S / 3:
                memory_mb = resident_mb()
            if elapsed > RATE_S:
                break
            await asyncio.sleep(max(0.0, burst / 100 - elapsed))
        asked_s = time.perf_counter() - started
        ledger.flush(60.0)
        stored_s = time.perf_counter() - started
        recorded = next(numbers) * len(template.attempts)
        grown_mb = resident_mb() - memory_mb
        return Rate(recorded / asked_s, recorded / stored_s, most_pending, grown_mb, ledger.lost)


def resident_mb() -> float:
    """The process's memory now, in MB; where the system does not tell, its highest so far."""
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def report(costs: dict[str, Cost], rates: dict[str, Rate]) -> str:
    """The two tables, and each goal with what was measured."""
    rows = [("observer", "us, median call", "added", "p99", "us of processor", "added")]
    off = costs["off"]
    for name, cost in costs.items():
        cells = [f"{statistics.median(cost.median):.1f}", f"{_added(cost.median, off.median):+.1f}"]
        cells.append(f"{statistics.median(cost.slow):.1f}")
        cells += [
            f"{statistics.median(cost.processor):.1f}",
            f"{_added(cost.processor, off.processor):+.1f}",
        ]
        rows.append((name, *cells))
    lines = [table("One accepted call, two validators", rows)]
    if "sqlite" in costs:
        added = _added(costs["sqlite"].median, off.median)
        met = "met" if added < ADDED_GOAL_US else "MISSED"
        lines.append(f"goal: SQLite adds under {ADDED_GOAL_US} us: {added:.1f} ({met})")
    rows = [("ledger", "recorded/s", "stored/s", "most waiting", "memory", "lost")]
    for name, rate in rates.items():
        cells = [f"{rate.asked:,.0f}", f"{rate.stored:,.0f}", f"{rate.most_pending:,}"]
        rows.append((name, *cells, f"{rate.grown_mb:+.1f} MB", str(rate.lost)))
    lines += ["", table(f"Attempts, {RATE_S:.0f} s of steady load", rows)]
    return "\n".join(lines)


def _added(with_it: Sequence[float], without: Sequence[float]) -> float:
    """The median over rounds of what a round cost more than its neighbour without observers."""
    return statistics.median(a - b for a, b in zip(with_it, without, strict=True))


@contextmanager
def databases(*, needed: bool) -> Iterator[Callable[[], str]]:
    """Makes empty PostgreSQL databases, on a server of its own; none runs where none is needed."""
    if not needed:
        yield str
        return
    server = PostgresServer({})
    try:
        yield server.new_database
    finally:
        server.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--only", help="observers, by name: " + ",".join(OBSERVERS))
    parser.add_argument("--rate", type=int, default=RATE_GOAL, help="attempts a second to record")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(OBSERVERS)
    makes = {name: OBSERVERS[name] for name in dict.fromkeys(["off", *names])}
    rates: dict[str, Rate] = {}
    with databases(needed="postgresql" in makes) as new, tempfile.TemporaryDirectory() as folder:
        costs = asyncio.run(call_costs(makes, new()))
        sources = {"sqlite": Path(folder) / "ledger.db", "postgresql": new()}
        for name in [one for one in sources if one in makes]:
            rates[name] = asyncio.run(sustained(sources[name], options.rate))
    if options.json:
        figures = {"costs": costs, "rates": rates}
        print(json.dumps(figures, default=vars, indent=2))
        return
    print(report(costs, rates))


if __name__ == "__main__":
    main()
