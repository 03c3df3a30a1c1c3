"""`cascade run`: requests through a cascade, from the command line, stdin or a file."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
from cyclopts import Parameter
from cyclopts.validators import Number

from cascade.cli.codes import ExitCode
from cascade.cli.output import Common, as_json, configure_logs, say, seconds, usd, write
from cascade.cli.rows import mishap, result_row
from cascade.cli.way import Way, declared
from cascade.config import load
from cascade.decorator import Cascade
from cascade.errors import ConfigError, NoAnswerError
from cascade.options import check_seconds
from cascade.types import Result

__all__ = ["run"]


@Parameter(name="*", group="Many requests")
@dataclass(frozen=True, slots=True)
class Many:
    """The options of a run over a file."""

    file: Annotated[Path | None, Parameter(name=["--file", "-f"])] = None
    """A JSON Lines file of requests."""
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None
    """Where the rows of --file go. Left out: stdout."""
    fresh: Annotated[bool, Parameter(negative="")] = False
    """Overwrite --output instead of going on with it."""
    concurrency: Annotated[int | None, Parameter(validator=Number(gte=1, lte=1000))] = None
    """How many requests are under way at once. Left out: 8."""


DEFAULT_CONCURRENCY: Final = 8

_UNKNOWN_OPTION: Final = re.compile(r"--\w[\w-]*(=.*)?")
_COMMON = Common()
_MANY = Many()


def run(
    prompt: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    *more: Annotated[str, Parameter(show=False)],
    config: Annotated[Path, Parameter(name=["--config", "-c"])] = Path("cascade.toml"),
    cascade: str | None = None,
    path: str | None = None,
    budget: Annotated[float | None, Parameter(name="--budget")] = None,
    signal: Annotated[list[str] | None, Parameter(negative="")] = None,
    story: Annotated[bool, Parameter(negative="")] = False,
    many: Many = _MANY,
    common: Common = _COMMON,
) -> int:
    """Answer one request, or every request in a JSON Lines file.

    One prompt prints the accepted value on stdout and its bill on stderr. With --file the results
    are JSON rows in the order in which they are ready, each with its line number and id. With
    --output as well, the same command run again goes on where it stopped.

    ```
    cascade run "Is 17 a prime number?"
    git diff | cascade run - --path review
    cascade run --file questions.jsonl --output answers.jsonl
    ```

    A line of the file is a JSON string, {"prompt": "..."}, or a chat body {"messages": [...]} with
    any parameters; "id", "path" and "signals" may stand beside them.

    Parameters
    ----------
    prompt
        The request; `-` reads it from stdin.
    more
        Words that were meant to be in the prompt.
    config
        The configuration file.
    cascade
        Which of its cascades. Left out: the only one.
    path
        The path to answer on. Left out: the whole ladder, without a budget.
    budget
        Seconds that each request may take; it can shorten the path's budget, not lengthen it.
    signal
        A fact that the call declares for the rules, as NAME=VALUE; may be given several times.
    story
        Show on stderr what each tier did.
    """
    configure_logs(common.log_level)
    _check_prompt(prompt, more)
    _check_options(prompt, many, story)
    check_seconds("--budget", budget)
    chosen = load(config).cascade(cascade)
    chosen.plan(path)  # a path that does not exist is told before anything is sent
    way = Way(path, budget, declared(signal))
    if many.file is not None:
        return _run_file(chosen, many.file, way, many, json=common.json)
    text = sys.stdin.read() if prompt == "-" else prompt or ""
    return _run_one(chosen, text, way, story=story, json=common.json)


def _check_prompt(prompt: str | None, more: tuple[str, ...]) -> None:
    if prompt is not None and _UNKNOWN_OPTION.fullmatch(prompt):
        raise ConfigError(
            f"there is no option {prompt}; `cascade run --help` lists them "
            "(a prompt that looks like one comes from stdin: `cascade run -`)"
        )
    if more:
        raise ConfigError('a prompt of several words goes in quotes, as in `cascade run "..."`')


def _check_options(prompt: str | None, many: Many, story: bool) -> None:
    if (prompt is None) == (many.file is None):
        raise ConfigError(
            'give a prompt, as in `cascade run "..."` (`-` reads stdin), or a file of requests, '
            "as in `cascade run --file requests.jsonl`"
        )
    if many.output is not None and many.file is None:
        raise ConfigError("--output goes with --file; a single answer goes to stdout")
    if many.fresh and many.output is None:
        raise ConfigError("--fresh goes with --output")
    if many.concurrency is not None and many.file is None:
        raise ConfigError("--concurrency goes with --file; a prompt is one request")
    if story and many.file is not None:
        raise ConfigError("--story goes with a prompt; the rows of --file hold every attempt")


def _run_file(cascade: Cascade, file: Path, way: Way, many: Many, *, json: bool) -> int:
    from cascade.cli.run_file import run_file  # a single prompt needs none of it

    return run_file(
        cascade,
        file,
        way,
        many.output,
        fresh=many.fresh,
        concurrency=many.concurrency or DEFAULT_CONCURRENCY,
        json=json,
    )


def _run_one(cascade: Cascade, prompt: str, way: Way, *, story: bool, json: bool) -> int:
    if not prompt.strip():
        raise ConfigError("the prompt is empty")
    error: NoAnswerError | None = None
    try:
        result = anyio.run(_asked(cascade, prompt, way))
    except NoAnswerError as raised:
        if raised.result is None:
            raise
        result, error = raised.result, raised
    if json:
        write(as_json({"id": None, "line": None, **result_row(result, error)}))
    elif error is None:
        write(result.value if isinstance(result.value, str) else as_json(result.value, indent=2))
    say(result.story() if story else _bill(result, error))
    for attempt in result.attempts:
        if words := mishap(attempt):
            say(f"{attempt.tier}: {words}")
    if result.accepted:
        return ExitCode.OK
    return ExitCode.NO_ANSWER if result.answer is None else ExitCode.NOT_ACCEPTED


def _asked(cascade: Cascade, prompt: str, way: Way) -> Callable[[], Any]:
    async def ask() -> Result[Any]:
        asked = cascade.run(prompt, path=way.path, budget_s=way.budget_s, signals=way.signals)
        try:
            return await asked
        finally:
            if cascade.auditor is not None:
                await cascade.auditor.catch_up()

    return ask


def _bill(result: Result[Any], error: NoAnswerError | None) -> str:
    sums = f"{usd(result.cost_usd)}, {seconds(result.latency_s)}"
    if error is not None:
        return f"cascade: {error} ({sums})"
    times = result.escalations
    after = f" after {times} escalation{'s' if times > 1 else ''}" if times else ""
    verb = "accepted" if result.accepted else "rejected, and the best there was"
    return f"{result.tier}: {verb}{after}, {sums}"
