"""The requests in a JSON Lines file, one at a time, and the rows that answer them already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from cascade.errors import ConfigError
from cascade.types import Fact, Request

__all__ = ["ROW_START", "Done", "Line", "count_lines", "read_done", "read_lines"]

ROW_START: Final = b'{"id": '
"""How every row begins, by which the rest of one is told from a file of someone else's."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the input.

    Attributes:
        number: from 1.
        digest: the first half of the SHA-256 of its text, to recognise it by.
        id: the user's own name for it. None: it has none.
        path: the path to answer it on. None: the one of the whole run.
        signals: facts that it declares; they go before those of the whole run.
        request: None when the line cannot be read.
        mistake: why it cannot. None: it can.
    """

    number: int
    digest: str
    id: str | int | None = None
    path: str | None = None
    request: Request | None = field(default=None, repr=False)
    mistake: ConfigError | None = None
    signals: Mapping[str, Fact] = field(default_factory=dict[str, Fact])


class Done(NamedTuple):
    """A line that an earlier run answered."""

    digest: str
    accepted: bool


def count_lines(file: Path) -> int:
    """How many requests a file holds: its lines that are not blank."""
    with file.open("rb") as lines:
        return sum(1 for line in lines if line.strip())


def read_lines(file: Path) -> Iterator[Line]:
    """The requests of a file, read as they are asked for."""
    with file.open("rb") as lines:
        for number, text in enumerate(lines, 1):
            if text.strip():
                yield parse_line(number, text.strip())


def parse_line(number: int, text: bytes) -> Line:
    """One line; what is wrong with it stands in it."""
    digest = hashlib.sha256(text).hexdigest()[:32]
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return Line(number, digest, mistake=ConfigError(f"line {number} is not valid JSON"))
    if isinstance(body, str):
        body = {"prompt": body}
    if not isinstance(body, dict):
        mistake = ConfigError(f"line {number} is neither a JSON string nor an object")
        return Line(number, digest, mistake=mistake)
    fields = cast("dict[str, Any]", body)
    name, path = fields.pop("id", None), fields.pop("path", None)
    signals = fields.pop("signals", {})
    if not isinstance(name, str | int | None):
        mistake = ConfigError(f"line {number}: id should be text or a whole number")
        return Line(number, digest, mistake=mistake)
    try:
        _check_path(path)
        _check_signals(signals)
        return Line(number, digest, name, path, _request(fields), None, signals)
    except ConfigError as error:
        return Line(number, digest, name, mistake=ConfigError(f"line {number}: {error}"))


def _check_path(path: object) -> None:
    if not isinstance(path, str | None):
        raise ConfigError("path should be the name of a path")


def _check_signals(signals: object) -> None:
    if not isinstance(signals, dict) or any(
        isinstance(value, dict | list) for value in cast("dict[str, Any]", signals).values()
    ):
        raise ConfigError("signals should be an object of text, numbers, true and false")


def _request(body: dict[str, Any]) -> Request:
    if ("prompt" in body) == ("messages" in body):
        raise ConfigError('give it either "prompt" or "messages"')
    if "messages" in body:
        if not isinstance(body["messages"], list):
            raise ConfigError('"messages" should be a list of messages')
        return Request.of(body)
    prompt = body.pop("prompt")
    if not isinstance(prompt, str):
        raise ConfigError('"prompt" should be text')
    return Request(prompt, **body)


def read_done(output: Path) -> dict[int, Done]:
    """The lines that an earlier run answered, by number.

    What is left of a row that a crash tore off is cut away from the file.

    Raises:
        ConfigError: the file holds something else than rows of `cascade run`.
    """
    done: dict[int, Done] = {}
    end = 0
    with output.open("rb+") as rows:
        for number, text in enumerate(rows, 1):
            if not text.endswith(b"\n") and text.startswith(ROW_START[: len(text)]):
                break
            line, row = _read_row(output, number, text)
            done[line] = row
            end += len(text)
        rows.truncate(end)
    return done


def _read_row(output: Path, number: int, text: bytes) -> tuple[int, Done]:
    try:
        row = json.loads(text)
        if isinstance(row, Mapping):
            fields = cast("Mapping[str, Any]", row)
            return int(fields["line"]), Done(str(fields["input"]), fields["accepted"] is True)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise ConfigError(
        f"{output}, line {number}, is no row of `cascade run`; name another --output, or "
        "overwrite this one with --fresh"
    )
