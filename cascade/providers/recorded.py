"""Recorded runs as a model: "recorded:PATH.jsonl#MODEL", answers without a network.

One JSON object a line (`.jsonl`, or gzipped `.jsonl.gz`), one line for each answer:

    {"model": "small", "id": "q1", "content": "Paris", "usage": {"input_tokens": 9, ...}}

    model          the model that answered; `#MODEL` may be left out if the file holds one
    id             and/or
    prompt         and/or
    messages       what the answer belongs to; at least one of the three
    content        the text; null or left out when there is none
    tool_calls     in the OpenAI shape
    finish_reason  "stop" when left out
    logprobs       in the OpenAI shape: {"content": [{"token": ..., "logprob": ...}, ...]}
    usage          {"input_tokens", "output_tokens"} and, where known, "cached_input_tokens",
                   "cache_write_tokens", "reasoning_tokens"; left out: unknown
    refusal        the structured refusal
    reasoning      the visible reasoning
    error          {"status": 429, "code": "..."} in place of an answer: the call breaks that way;
                   without a status the connection does ("timeout" as its code: in time)

Other keys, such as `latency_s`, are kept on `Answer.raw`; no time is spent replaying them.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Final

from anyio import to_thread

from cascade.errors import (
    ConfigError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    did_you_mean,
)
from cascade.providers import Endpoint, Provider
from cascade.providers._failures import label, status_error
from cascade.providers._reading import as_list, as_mapping, as_text, joined, usage_of_counts
from cascade.providers.openai import read_completion
from cascade.types import Answer, Message, Request, Usage

__all__ = ["RecordedRuns", "check_recording", "provide"]

Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]

_reading = Lock()  # calls that start together read the file once
_UNUSED_OPTIONS: Final = ("base_url", "api_key", "headers", "drop_params", "first_token_s")


@dataclass(frozen=True, slots=True)
class _Recording:
    """One file: for each model its rows, by everything they can be found by, in file order."""

    path: Path
    models: Mapping[str, Rows]

    def rows_of(self, model: str | None) -> Rows:
        """The rows of one model. Raises ConfigError when there is no such model."""
        names = sorted(self.models)
        if model is None and len(names) == 1:
            return self.models[names[0]]
        if model is None:
            raise ConfigError(
                f"{self.path} holds {len(names)} models; name one: recorded:{self.path}#MODEL "
                f"with one of {', '.join(names) or 'none'}"
            )
        if model not in self.models:
            raise ConfigError(
                f"{self.path} has no model {model!r}; {did_you_mean(model, self.models)}"
            )
        return self.models[model]


class RecordedRuns:
    """Answers as one model. Several rows for the same request are given in turn, in file order."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._who = label(endpoint)
        self._path, self._model = _split(endpoint.model)
        self._given: Counter[str] = Counter()

    async def complete(self, request: Request) -> Answer[Any]:
        """The next recorded answer to `request`.

        Raises:
            ConfigError: the file cannot be read, or its rows cannot.
            ProviderError: the recorded call broke, or there is no row for the request.
        """
        recording = await to_thread.run_sync(_load, self._path)
        rows = recording.rows_of(self._model)
        key = next((key for key in _keys_of_request(request) if key in rows), None)
        if key is None:
            raise self._no_row(request)
        samples = rows[key]
        row = samples[self._given[key] % len(samples)]
        self._given[key] += 1
        return _answer(self._who, row)

    def _no_row(self, request: Request) -> ProviderError:
        body = {"error": {"code": "not_recorded"}}
        error = status_error(self._who, 404, {}, body)
        name = as_mapping(request.params.get("metadata")).get("id")
        which = "this request" if name is None else f"the id {name!r}"
        error.args = (f"{self._who} has no row for {which} in {self._path}",)
        return error


def provide(endpoint: Endpoint) -> Provider:
    """The provider for one file and model. Raises ConfigError for options without effect."""
    for option in _UNUSED_OPTIONS:
        if getattr(endpoint, option):
            raise ConfigError(f"{label(endpoint)}: {option} has no effect on recorded runs")
    return RecordedRuns(endpoint)


def check_recording(name: str) -> None:
    """Check that the runs "PATH.jsonl#MODEL" are there. Raises ConfigError."""
    path, model = _split(name)
    _load(path).rows_of(model)


def _split(name: str) -> tuple[Path, str | None]:
    path, mark, model = name.rpartition("#")
    if mark and path.endswith((".jsonl", ".jsonl.gz")):
        return Path(path).expanduser(), model
    return Path(name).expanduser(), None


def _load(path: Path) -> _Recording:
    try:
        stat = path.stat()
        with _reading:
            return _read(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        why = getattr(error, "strerror", None) or f"it is damaged ({type(error).__name__})"
        raise ConfigError(f"{path} cannot be read: {why}") from None


@lru_cache(maxsize=32)
def _read(path: Path, mtime_ns: int, size: int) -> _Recording:
    models: dict[str, defaultdict[str, list[Row]]] = {}
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                row = _parse(path, number, line)
                of_model = models.setdefault(row["model"], defaultdict(list))
                for key in _keys_of_row(row):
                    of_model[key].append(row)
    return _Recording(path, {model: dict(rows) for model, rows in models.items()})


def _parse(path: Path, number: int, line: str) -> Row:
    row: Row = {}
    with suppress(ValueError, RecursionError):
        row = as_mapping(json.loads(line))
    if not isinstance(row.get("model"), str) or not any(_keys_of_row(row)):
        raise ConfigError(
            f"{path}, line {number}: a row is a JSON object with a model and with an id, a prompt "
            "or messages"
        )
    return row


def _keys_of_row(row: Row) -> Iterator[str]:
    if row.get("id") is not None:
        yield f"id:{row['id']}"
    if isinstance(row.get("messages"), list):
        yield _key_of_messages(row["messages"])
    if isinstance(row.get("prompt"), str):
        yield f"prompt:{row['prompt']}"


def _keys_of_request(request: Request) -> Iterator[str]:
    name = as_mapping(request.params.get("metadata")).get("id")
    if name is not None:
        yield f"id:{name}"
    yield _key_of_messages(request.messages)
    text = _last_user_text(request.messages)
    if text is not None:
        yield f"prompt:{text}"


def _key_of_messages(messages: Sequence[Message]) -> str:
    return "messages:" + json.dumps(messages, sort_keys=True, default=_comparable)


def _comparable(value: Any) -> Any:
    return dict(as_mapping(value)) if isinstance(value, Mapping) else repr(value)


def _last_user_text(messages: Sequence[Message]) -> str | None:
    content = next((m.get("content") for m in reversed(messages) if m.get("role") == "user"), None)
    if isinstance(content, str):
        return content
    parts = [as_text(as_mapping(part).get("text")) for part in as_list(content)]
    return joined([part for part in parts if part is not None])


def _answer(who: str, row: Row) -> Answer[Any]:
    usage = _usage(as_mapping(row.get("usage")))
    if row.get("error"):
        raise _error(who, as_mapping(row["error"]), usage)
    told = ("content", "tool_calls", "refusal", "reasoning")
    choice = {
        "message": {key: row.get(key) for key in told},
        "finish_reason": row.get("finish_reason", "stop"),
        "logprobs": row.get("logprobs"),
    }
    answer = read_completion({"choices": [choice], "model": row["model"]}, who)
    answer.usage, answer.raw = usage, row
    return answer


def _usage(usage: Mapping[str, Any]) -> Usage | None:
    return usage_of_counts(
        usage.get("input_tokens"),
        usage.get("output_tokens"),
        cached=usage.get("cached_input_tokens"),
        cache_write=usage.get("cache_write_tokens"),
        reasoning=usage.get("reasoning_tokens"),
    )


def _error(who: str, recorded: Mapping[str, Any], usage: Usage | None) -> ProviderError:
    status = recorded.get("status")
    error: ProviderError
    if isinstance(status, int):
        error = status_error(who, status, {}, {"error": recorded})
    elif recorded.get("code") == "timeout":
        error = ProviderTimeoutError(f"{who}: no answer in time, as recorded")
    else:
        error = ProviderConnectionError(f"{who}: the connection broke off, as recorded")
    error.usage = usage or error.usage
    return error
