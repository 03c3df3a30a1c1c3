"""`cascade run --file`: many requests at once, resumable, each row written as it is ready."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import anyio
from anyio.lowlevel import checkpoint
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cascade.cli.codes import ExitCode
from cascade.cli.lines import Done, Line, count_lines, read_done, read_lines
from cascade.cli.output import as_json, errors, say
from cascade.cli.rows import Row, error_row, result_row
from cascade.cli.tally import Tally
from cascade.cli.way import Way
from cascade.decorator import Cascade
from cascade.errors import ConfigError, NoAnswerError
from cascade.types import Result

__all__ = ["run_file"]


@dataclass(frozen=True, slots=True)
class _Job:
    """What the workers of one run share."""

    cascade: Cascade
    way: Way
    write: Callable[[Row], None]
    tally: Tally


def run_file(
    cascade: Cascade,
    file: Path,
    way: Way,
    output: Path | None,
    *,
    fresh: bool,
    concurrency: int,
    json: bool,
) -> int:
    """Answer every request of `file`; returns the exit code."""
    if not file.is_file():
        raise ConfigError(f"there is no file {str(file)!r} to read requests from")
    _check_output(file, output)
    done = {} if fresh or output is None or not output.is_file() else read_done(output)
    tally = Tally()
    try:
        with _opened(output, fresh) as stream, _progress(count_lines(file), len(done)) as advance:
            job = _Job(cascade, way, _writer(stream, advance), tally)
            todo = _not_done(read_lines(file), done)
            anyio.run(_answer_all, job, todo, concurrency)
    except KeyboardInterrupt:
        say(_how_to_go_on(tally, output))
        raise
    except BaseExceptionGroup as group:
        raise _first(group) from None
    _tell(tally, len(done), json=json)
    return _exit_code(tally, done)


def _check_output(file: Path, output: Path | None) -> None:
    if output is not None and output.exists() and output.samefile(file):
        raise ConfigError(f"--output {str(output)!r} is the file of requests itself; name another")


async def _answer_all(job: _Job, lines: Iterator[Line], concurrency: int) -> None:
    # The workers draw from one iterator, so that no more lines are read than are under way.
    async with anyio.create_task_group() as tasks:
        for _ in range(concurrency):
            tasks.start_soon(_work, job, lines)
    if job.cascade.auditor is not None:
        await job.cascade.auditor.catch_up()


async def _work(job: _Job, lines: Iterator[Line]) -> None:
    for line in lines:
        await checkpoint()  # a file of broken lines can be stopped too
        result, row = await _answer(job, line)
        job.tally.add(result)
        job.write({"id": line.id, "line": line.number, "input": line.digest, **row})


async def _answer(job: _Job, line: Line) -> tuple[Result[Any] | None, Row]:
    """One line's result, None where it never became a call, and its row. Raises nothing."""
    if line.request is None:
        mistake = line.mistake or ConfigError(f"line {line.number} cannot be read")
        return None, error_row(mistake, str(mistake))
    try:
        result = await job.cascade.run(
            line.request,
            path=line.path or job.way.path,
            budget_s=job.way.budget_s,
            signals={**(job.way.signals or {}), **line.signals},
        )
    except NoAnswerError as error:
        if error.result is None:
            return None, error_row(error, str(error))
        return error.result, result_row(error.result, error)
    except ConfigError as error:
        return None, error_row(error, f"line {line.number}: {error}")
    except Exception as error:
        # Its text may quote the request.
        return None, error_row(error, f"line {line.number}: an unexpected {type(error).__name__}")
    return result, result_row(result)


def _not_done(lines: Iterator[Line], done: Mapping[int, Done]) -> Iterator[Line]:
    """The lines that no earlier run answered. Raises ConfigError when they are other lines."""
    for line in lines:
        earlier = done.get(line.number)
        if earlier is None:
            yield line
        elif earlier.digest != line.digest:
            raise ConfigError(
                f"line {line.number} has changed since it was answered; name another --output, "
                "or start anew with --fresh"
            )


@contextmanager
def _opened(output: Path | None, fresh: bool) -> Generator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    with output.open(
        "w" if fresh else "a", encoding="utf-8", errors="backslashreplace", newline="\n"
    ) as stream:
        yield stream


def _writer(stream: TextIO, advance: Callable[[], None]) -> Callable[[Row], None]:
    def write(row: Row) -> None:
        stream.write(f"{as_json(row)}\n")
        stream.flush()  # so that a row is there as soon as it is paid for
        advance()

    return write


@contextmanager
def _progress(total: int, done: int) -> Generator[Callable[[], None]]:
    """A bar on stderr where that is a terminal."""
    console = errors()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("requests"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task("", total=total, completed=done)
        yield lambda: bars.advance(task)


def _how_to_go_on(tally: Tally, output: Path | None) -> str:
    if output is None:
        return f"Stopped after {tally.requests} requests; with --output a run can be gone on with."
    return (
        f"Stopped; {tally.requests} requests of this run are in {output}. "
        "Run the same command again to go on with the rest."
    )


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first  # pyright: ignore[reportUnknownArgumentType]


def _tell(tally: Tally, earlier: int, *, json: bool) -> None:
    if json:
        say(as_json({**tally.as_row(), "answered_earlier": earlier}))
        return
    before = f" ({earlier} were done by earlier runs)" if earlier else ""
    say(f"{tally}{before}")


def _exit_code(tally: Tally, done: Mapping[int, Done]) -> ExitCode:
    if tally.calls and not tally.answered:
        return ExitCode.NO_ANSWER
    accepted = tally.accepted + sum(one.accepted for one in done.values())
    return ExitCode.OK if accepted == tally.requests + len(done) else ExitCode.NOT_ACCEPTED
