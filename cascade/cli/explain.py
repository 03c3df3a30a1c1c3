"""`cascade explain`: which rungs a request would use, and why."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from cascade.cli.codes import ExitCode
from cascade.cli.explain_view import explanation_row, one_line, shown
from cascade.cli.lines import Line, read_lines
from cascade.cli.output import Common, as_json, configure_logs, say, write
from cascade.cli.way import Way, declared
from cascade.config import load
from cascade.decorator import Cascade
from cascade.errors import ConfigError

__all__ = ["explain"]

_COMMON = Common()


def explain(
    prompt: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    *more: Annotated[str, Parameter(show=False)],
    config: Annotated[Path, Parameter(name=["--config", "-c"])] = Path("cascade.toml"),
    cascade: str | None = None,
    file: Annotated[Path | None, Parameter(name=["--file", "-f"])] = None,
    path: str | None = None,
    signal: Annotated[list[str] | None, Parameter(negative="")] = None,
    common: Common = _COMMON,
) -> int:
    """Show which rungs a request would use, and why. No model is asked.

    For one request: its signals, each rule that was tried and why it did or did not match, and the
    plan. With --file: a line for each request in a JSON Lines file, as `cascade run` takes them,
    and how many each rule decided.

    ```
    cascade explain "Summarise this contract." --signal feature=contract
    git diff | cascade explain - --path review
    cascade explain --file questions.jsonl --json
    ```

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
    file
        A JSON Lines file of requests.
    path
        The path that is asked for. Left out: none.
    signal
        A fact that the call declares, as NAME=VALUE; may be given several times.
    """
    configure_logs(common.log_level)
    if more:
        raise ConfigError('a prompt of several words goes in quotes, as in `cascade explain "..."`')
    if (prompt is None) == (file is None):
        raise ConfigError(
            'give a prompt, as in `cascade explain "..."` (`-` reads stdin), or a file of '
            "requests, as in `cascade explain --file requests.jsonl`"
        )
    way = Way(path, None, declared(signal))
    chosen = load(config).cascade(cascade)
    chosen.plan(path)
    if file is not None:
        return _explain_file(chosen, file, way, json=common.json)
    text = sys.stdin.read() if prompt == "-" else prompt or ""
    if not text.strip():
        raise ConfigError("the prompt is empty")
    explanation = chosen.explain(text, path=path, signals=way.signals)
    if common.json:
        write(as_json({"line": None, "id": None, **explanation_row(explanation)}, indent=2))
    else:
        write(shown(explanation))
    return ExitCode.OK


def _explain_file(cascade: Cascade, file: Path, way: Way, *, json: bool) -> int:
    decided: Counter[str] = Counter()
    code = ExitCode.OK
    for line in read_lines(file):
        try:
            row = _row(cascade, line, way)
        except ConfigError as error:
            code = ExitCode.MISTAKE
            say(f"{file}: {error}")
            continue
        decided[row["rule"] or "no rule"] += 1
        write(as_json(row) if json else one_line(row))
    for rule, times in decided.most_common():
        say(f"{rule}: {times} of {decided.total()}")
    return code


def _row(cascade: Cascade, line: Line, way: Way) -> dict[str, Any]:
    if line.request is None:
        raise line.mistake or ConfigError(f"line {line.number} holds no request")
    signals = {**(way.signals or {}), **line.signals}
    try:
        explanation = cascade.explain(line.request, path=line.path or way.path, signals=signals)
    except ConfigError as error:
        raise ConfigError(f"line {line.number}: {error}") from None
    return {"line": line.number, "id": line.id, **explanation_row(explanation)}
