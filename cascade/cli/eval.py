"""`cascade eval`: cases with known answers through each tier, into a file of recorded runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cascade.cli.codes import ExitCode
from cascade.cli.eval_config import EvalConfig
from cascade.cli.eval_view import bill, table
from cascade.cli.output import Common, as_json, configure_logs, errors, say, write
from cascade.errors import ConfigError
from cascade.evals.answer_cache import AnswerCache
from cascade.evals.cases import Case, read_cases
from cascade.evals.graders import GraderSettings
from cascade.evals.runner import Eval, Row, Tally, check_prices, ladder, record_runs
from cascade.evals.summary import TierSummary, summarise

__all__ = ["eval"]

_COMMON = Common()


def eval(
    cases: Path,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    config: Annotated[Path, Parameter(name=["--config", "-c"])] = Path("cascade.toml"),
    cascade: str | None = None,
    tiers: str = "all",
    whole: Annotated[bool, Parameter(negative="")] = False,
    grader: str | None = None,
    rubric: str | None = None,
    samples: Annotated[int, Parameter(validator=Number(gte=1, lte=100))] = 1,
    concurrency: Annotated[int, Parameter(validator=Number(gte=1, lte=1000))] = 8,
    cache: Path = Path("cascade-answers.db"),
    common: Common = _COMMON,
) -> int:
    """Run cases with known answers through each tier, or through the whole cascade.

    Each answer is judged by every validator and graded; nothing is decided. The rows go to a file
    of recorded runs, which `cascade tune`, `cascade replay` and `cascade gate` read. Answers are
    kept in --cache: a stopped run goes on without paying twice, and other validators, thresholds
    or graders cost nothing.

    ```
    cascade eval cases.jsonl -o runs.jsonl
    cascade eval cases.csv --tiers small,large --grader json_field:answer -o runs.jsonl
    cascade eval cases.jsonl --whole -o candidate.jsonl
    ```

    Exit codes: 0 every answer was graded; 1 some calls broke; 2 a mistake; 3 all calls broke.

    Parameters
    ----------
    cases
        JSON Lines or CSV: id, input or messages, expected, slices, cluster, weight.
    output
        Where the recorded runs go. It is replaced once all rows are ready.
    config
        The configuration file.
    cascade
        Which of its cascades. Left out: the only one.
    tiers
        Tiers of the cascade, separated by commas; or all.
    whole
        Ask the whole cascade, thresholds and all, for one row a case.
    grader
        How answers are graded: exact, text, contains, one_of, numeric[:SHARE], set, set_f1, json,
        json_field:PATH[,PATH], regex[:PATTERN], judge:TIER, or MODULE:FUNCTION. Left out: by the
        type of what a case expects. A case may name its own.
    rubric
        What a good answer is, in words for a judge; @FILE reads them from a file.
    samples
        How often each case is asked.
    concurrency
        How many cases are under way at once.
    cache
        Where answers are kept.
    """
    configure_logs(common.log_level)
    if whole and tiers != "all":
        raise ConfigError("--whole asks the cascade, so --tiers has no effect; leave one out")
    if rubric is not None and (grader is None or not grader.startswith("judge")):
        raise ConfigError("--rubric goes with a judge, as in --grader judge:large")
    read = read_cases(cases)
    if not output.parent.is_dir():
        raise ConfigError(f"there is no folder {str(output.parent)!r} to write --output to")
    _find_modules_here()
    answers = AnswerCache(cache)
    try:
        what = _what(EvalConfig(config, answers), cascade, tiers, whole, grader, rubric)
        rows, tally = _run(what, read, samples, concurrency, cache)
    finally:
        answers.close()
    _write(output, rows)
    summaries = summarise(rows)
    _tell(summaries, tally, output, json=common.json)
    return _exit_code(summaries)


def _what(
    config: EvalConfig,
    cascade: str | None,
    tiers: str,
    whole: bool,
    grader: str | None,
    rubric: str | None,
) -> Eval:
    """What is to be run. Raises ConfigError when it cannot be."""
    name = config.chosen(cascade)
    chosen = config.cascade(name)
    spend = config.caps(name)
    rungs = ladder(chosen, () if tiers == "all" else tuple(t.strip() for t in tiers.split(",")))
    check_prices(rungs)
    if spend is not None:
        spend.check_prices(chosen.tiers)
    grading = GraderSettings(grader, _words(rubric), config.tier)
    return Eval(chosen, () if whole else rungs, grading, spend=spend)


def _words(rubric: str | None) -> str | None:
    if rubric is None or not rubric.startswith("@"):
        return rubric
    try:
        return Path(rubric[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the rubric {rubric[1:]} cannot be read: {error}") from None


def _find_modules_here() -> None:
    """Graders of one's own are found beside the cases they grade, as configured modules are."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def _run(
    what: Eval, cases: list[Case], samples: int, concurrency: int, cache: Path
) -> tuple[list[Row], Tally]:
    what = _sized(what, samples, concurrency)
    try:
        with _progress(what.rows_of(len(cases))) as advance:
            return anyio.run(partial(record_runs, what, cases, advance))
    except KeyboardInterrupt:
        say(
            f"Stopped; the answers so far are in {cache}. Run the same command again to go on "
            "without paying for them again."
        )
        raise


def _sized(what: Eval, samples: int, concurrency: int) -> Eval:
    from dataclasses import replace

    return replace(what, samples=samples, concurrency=concurrency)


@contextmanager
def _progress(total: int) -> Generator[Callable[[], None]]:
    """A bar on stderr where that is a terminal."""
    console = errors()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("answers"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task("", total=total)
        yield lambda: bars.advance(task)


def _write(output: Path, rows: list[Row]) -> None:
    """All rows at once, so that the file is whole whenever it is there."""
    beside = output.with_name(f"{output.name}.{os.getpid()}.part")
    try:
        with beside.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
            stream.writelines(f"{as_json(row)}\n" for row in rows)
        beside.replace(output)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def _tell(summaries: list[TierSummary], tally: Tally, output: Path, *, json: bool) -> None:
    if json:
        sent = {
            "sent": tally.sent,
            "known_cost_usd": f"{tally.usd.normalize():f}",
            "unknown_costs": tally.unknown,
            "grading_usd": f"{tally.grading_usd.normalize():f}",
        }
        found = {"output": str(output), "tiers": [one.as_row() for one in summaries], **sent}
        write(as_json(found, indent=2))
        return
    write(table(summaries))
    say(bill(tally, output))


def _exit_code(summaries: list[TierSummary]) -> ExitCode:
    if not any(one.n for one in summaries):
        return ExitCode.NO_ANSWER
    return ExitCode.NOT_ACCEPTED if any(one.failed for one in summaries) else ExitCode.OK
