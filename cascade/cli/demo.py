"""`cascade demo`: the engine at work on simulated models, with nothing to configure."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Any

import anyio
from cyclopts import Parameter
from cyclopts.validators import Number

from cascade.cli.demo_figures import Autocomplete, Report, Run, Settings
from cascade.cli.demo_ladder import AUTOCOMPLETE, alone, ladder, tiers_for
from cascade.cli.demo_view import Progress, show
from cascade.cli.output import Common, as_json, configure_logs, write
from cascade.decorator import Cascade
from cascade.simulated import Case, serve_models, simulated_models, workload
from cascade.types import Result

__all__ = ["demo"]

_DEFAULTS = Common()

AUTOCOMPLETE_BUDGET_S = 0.30  # at the models' own pace
AUTOCOMPLETE_REQUESTS = 40
AUTOCOMPLETE_CONCURRENCY = 4  # so that what is measured is the models' time, not a queue


def demo(
    *,
    requests: Annotated[int, Parameter(validator=Number(gte=1, lte=100_000))] = 400,
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    concurrency: Annotated[int, Parameter(validator=Number(gte=1, lte=500))] = 32,
    speed: Annotated[float, Parameter(validator=Number(gt=0, lte=1000))] = 3.0,
    live: bool | None = None,
    common: Common = _DEFAULTS,
) -> None:
    """Show the engine at work on simulated models: no configuration, no key, no network.

    Starts three simulated models (small, medium, large) on a real HTTP server on 127.0.0.1, sends
    support tickets through a cascade over them and to each model alone, and prints what it cost,
    how many answers were right and how long they took, in about 15 seconds. The models are
    simulated: the figures show how the engine works, not what your models will do.

    ```
    cascade demo
    cascade demo --requests 1000 --seed 7
    cascade demo --json | jq .saved_against_large
    ```

    Cost, accuracy and escalation are the same for the same seed; latency is measured.

    Parameters
    ----------
    requests
        How many tickets: about 70 % lookups, 25 % drafts, 5 % hard ones.
    seed
        Another seed gives other tickets.
    concurrency
        How many requests are under way at once.
    speed
        How many times faster than they claim the models answer.
    live
        Draw progress bars on stderr. Left out: only where it is a terminal.
    """
    configure_logs(common.log_level)
    settings = Settings(requests, seed, concurrency, speed)
    with Progress(live) as progress:
        report = anyio.run(_measure, settings, progress)
    if common.json:
        write(as_json(report.as_json(), indent=2))
    else:
        show(report)


async def _measure(settings: Settings, progress: Progress) -> Report:
    models = simulated_models()
    cases = workload(settings.requests, settings.seed)
    async with serve_models(models, speed=settings.speed) as server:
        tiers = tiers_for(models, server.url)
        cascade = ladder(tiers, round(AUTOCOMPLETE_BUDGET_S / settings.speed, 6))
        await tiers[0].chat("Hello")  # or the first run's latencies would hold all the loading
        gc.freeze()  # what is loaded stays: scanning it would hold calls up past their deadline

        async def run(name: str, through: Cascade) -> Run:
            started = time.perf_counter()
            report = progress.of(name, len(cases))
            results = await _send(through, cases, settings.concurrency, report)
            return Run(name, cases, results, time.perf_counter() - started)

        return Report(
            settings,
            cascade=await run("cascade", cascade),
            alone=[await run(tier.name, alone(tier)) for tier in tiers],
            autocomplete=await _autocomplete(cascade, cases, settings, progress),
        )


async def _autocomplete(
    cascade: Cascade, cases: Sequence[Case], settings: Settings, progress: Progress
) -> Autocomplete:
    cases = cases[:AUTOCOMPLETE_REQUESTS]
    report = progress.of(AUTOCOMPLETE, len(cases))
    concurrency = min(settings.concurrency, AUTOCOMPLETE_CONCURRENCY)
    results = await _send(cascade, cases, concurrency, report, path=AUTOCOMPLETE)
    return Autocomplete(cascade.paths[AUTOCOMPLETE].budget_s or 0.0, results)


async def _send(
    cascade: Cascade,
    cases: Sequence[Case],
    concurrency: int,
    report: Callable[[Result[Any]], None],
    path: str | None = None,
) -> list[Result[Any]]:
    """Every case through the cascade, `concurrency` at once; the results in their order."""
    results: dict[int, Result[Any]] = {}

    async def work(queue: Iterable[tuple[int, Case]]) -> None:
        for place, case in queue:
            result = await cascade.run({"messages": case.messages}, path=path)
            results[place] = _figures_of(result)
            report(result)

    queue = iter(enumerate(cases))
    async with anyio.create_task_group() as tasks:
        for _ in range(concurrency):
            tasks.start_soon(work, queue)
    return [results[place] for place in range(len(cases))]


def _figures_of(result: Result[Any]) -> Result[Any]:
    """The result without its answers, whose tokens would make the garbage collector stop calls."""
    attempts = (replace(attempt, answer=None, verdicts=[]) for attempt in result.attempts)
    return replace(result, answer=None, attempts=tuple(attempts))
