from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from cascade.errors import (
    BadRequestError,
    ConfigError,
    OverloadedError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitError,
)
from cascade.tier import Tier
from cascade.types import NO_USAGE, TokenLogprob, ToolCall, Usage


def write(path: Path, *rows: Any) -> Path:
    text = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def tier_of(path: Path, model: str = "") -> Tier:
    return Tier("t", model=f"recorded:{path}{model}")


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["runs.jsonl", "runs.jsonl.gz", "with#mark.jsonl"])
async def test_an_answer_is_found_by_id_messages_or_prompt(tmp_path: Path, name: str) -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "q3"}]
    path = write(
        tmp_path / name,
        {"model": "m", "id": 1, "content": "by id"},
        "",
        {"model": "m", "prompt": "q2", "content": "by prompt"},
        {"model": "m", "messages": messages, "content": "by messages"},
    )
    tier = tier_of(path)
    assert (await tier.chat("whatever", metadata={"id": "1"})).text == "by id"
    assert (await tier.chat("q2")).text == "by prompt"
    assert (await tier.chat(messages)).text == "by messages"
    parts = [{"type": "text", "text": "q"}, {"type": "text", "text": "2"}]
    assert (await tier.chat([{"role": "user", "content": parts}])).text == "by prompt"
    history = [{"role": "user", "content": "q1"}, {"role": "assistant", "content": "a"}]
    assert (await tier.chat([*history, {"role": "user", "content": "q2"}])).text == "by prompt"


@pytest.mark.anyio
async def test_an_answer_keeps_every_fact(tmp_path: Path) -> None:
    row = {
        "model": "m",
        "id": "q",
        "content": "Hi",
        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
        "finish_reason": "length",
        "logprobs": {"content": [{"token": "Hi", "logprob": -0.5}]},
        "usage": {
            "input_tokens": 9,
            "output_tokens": 4,
            "cached_input_tokens": 3,
            "cache_write_tokens": 2,
            "reasoning_tokens": 1,
        },
        "refusal": "no",
        "reasoning": "hm",
        "latency_s": 1.5,
    }
    answer = await tier_of(write(tmp_path / "runs.jsonl", row)).chat("x", metadata={"id": "q"})
    assert answer.value == answer.text == "Hi"
    assert answer.tool_calls == (ToolCall("c", "f", "{}"),)
    assert answer.finish_reason == "length"
    assert answer.logprobs == (TokenLogprob("Hi", -0.5),)
    assert answer.usage == Usage(9, 4, 3, 2, 1)
    assert (answer.refusal, answer.reasoning, answer.model) == ("no", "hm", "m")
    assert answer.raw == row


@pytest.mark.anyio
async def test_what_a_row_leaves_out_is_unknown(tmp_path: Path) -> None:
    path = write(tmp_path / "runs.jsonl", {"model": "m", "id": "q"})
    answer = await tier_of(path).chat("x", metadata={"id": "q"})
    assert (answer.text, answer.usage, answer.logprobs) == (None, None, None)
    assert answer.finish_reason == "stop"


@pytest.mark.anyio
async def test_samples_are_given_in_turn_to_each_tier(tmp_path: Path) -> None:
    rows = [{"model": "m", "prompt": "q", "content": str(n)} for n in range(3)]
    path = write(tmp_path / "runs.jsonl", *rows)
    for tier in (tier_of(path), tier_of(path)):
        assert [(await tier.chat("q")).text for _ in range(5)] == ["0", "1", "2", "0", "1"]


@pytest.mark.anyio
async def test_each_model_of_a_file_answers_for_itself(tmp_path: Path) -> None:
    rows = [{"model": f"org/{n}", "prompt": "q", "content": n} for n in ("small", "large")]
    path = write(tmp_path / "runs.jsonl", *rows)
    assert (await tier_of(path, "#org/large").chat("q")).text == "large"
    assert (await tier_of(path, "#org/small").chat("q")).text == "small"
    with pytest.raises(ConfigError, match="name one"):
        await tier_of(path).chat("q")
    with pytest.raises(ConfigError, match="did you mean 'org/small'"):
        await tier_of(path, "#org/smal").chat("q")


@pytest.mark.anyio
async def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "runs.jsonl", {"model": "m", "prompt": "q", "content": "old"})
    tier = tier_of(path)
    assert (await tier.chat("q")).text == "old"
    write(path, {"model": "m", "prompt": "q", "content": "new"})
    os.utime(path, ns=(1, 1))
    assert (await tier.chat("q")).text == "new"


@pytest.mark.anyio
async def test_many_calls_at_once(tmp_path: Path) -> None:
    rows = [{"model": "m", "id": n, "content": str(n)} for n in range(100)]
    tier = tier_of(write(tmp_path / "runs.jsonl", *rows))
    texts: dict[int, str | None] = {}

    async def call(number: int) -> None:
        texts[number] = (await tier.chat("q", metadata={"id": number})).text

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(call, number)
    assert texts == {number: str(number) for number in range(100)}


ERRORS: list[tuple[dict[str, Any], type[ProviderError]]] = [
    ({"status": 429, "code": "rate_limit_exceeded"}, RateLimitError),
    ({"status": 529}, OverloadedError),
    ({"status": 400}, BadRequestError),
    ({"code": "timeout"}, ProviderTimeoutError),
    ({"code": "reset"}, ProviderConnectionError),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("recorded", "kind"), ERRORS)
async def test_a_recorded_error_breaks_the_call(
    tmp_path: Path, recorded: dict[str, Any], kind: type[ProviderError]
) -> None:
    usage = {"input_tokens": 5, "output_tokens": 0}
    rows = [
        {"model": "m", "id": "q", "error": recorded},
        {"model": "m", "id": "q", "error": recorded, "usage": usage},
        {"model": "m", "id": "q", "content": "better"},
    ]
    tier = tier_of(write(tmp_path / "runs.jsonl", *rows))
    with pytest.raises(kind) as caught:
        await tier.chat("x", metadata={"id": "q"})
    assert caught.value.status == recorded.get("status")
    with pytest.raises(kind) as caught:
        await tier.chat("x", metadata={"id": "q"})
    assert caught.value.usage == Usage(5, 0)
    assert (await tier.chat("x", metadata={"id": "q"})).text == "better"


@pytest.mark.anyio
async def test_a_request_that_was_not_recorded_names_file_and_id_only(tmp_path: Path) -> None:
    path = write(tmp_path / "runs.jsonl", {"model": "m", "id": "q"})
    for params in ({"metadata": {"id": "other"}}, {}):
        with pytest.raises(BadRequestError) as caught:
            await tier_of(path).chat("SECRET PROMPT", **params)
        error = caught.value
        assert (error.status, error.code, error.usage) == (404, "not_recorded", NO_USAGE)
        assert str(path) in str(error)
        assert ("'other'" in str(error)) == bool(params)
        assert "SECRET" not in str(error)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "row",
    [
        "not json",
        "[1]",
        "[" * 100_000,
        {"id": "q"},
        {"model": 5, "id": "q"},
        {"model": "m"},
        {"model": "m", "prompt": 5, "messages": "x"},
    ],
    ids=["text", "list", "deep", "no model", "model", "no key", "keys"],
)
async def test_a_row_that_cannot_be_read_is_named_by_its_line(tmp_path: Path, row: Any) -> None:
    path = write(tmp_path / "runs.jsonl", {"model": "m", "id": "q"}, row)
    with pytest.raises(ConfigError, match="line 2"):
        await tier_of(path).chat("x")


@pytest.mark.anyio
async def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(b'{"model": "m", "id": "q"}\n' * 50)[:-10])
    plain = tmp_path / "plain.jsonl.gz"
    plain.write_text('{"model": "m", "id": "q"}')
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(b'{"model": "\xe4", "id": "q"}')
    for path in (tmp_path / "missing.jsonl", tmp_path, cut, plain, latin):
        with pytest.raises(ConfigError, match="cannot be read") as caught:
            await tier_of(path).chat("x")
        assert str(path) in str(caught.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "option",
    [
        {"base_url": "http://x"},
        {"api_key": "k"},
        {"headers": {"a": "b"}},
        {"drop_params": ["seed"]},
    ],
    ids=lambda option: next(iter(option)),
)
async def test_options_without_effect_are_an_error(tmp_path: Path, option: dict[str, Any]) -> None:
    path = write(tmp_path / "runs.jsonl", {"model": "m", "id": "q"})
    with pytest.raises(ConfigError, match=next(iter(option))):
        await Tier("t", model=f"recorded:{path}", **option).chat("x")


@pytest.mark.anyio
async def test_values_json_does_not_know_are_only_compared(tmp_path: Path) -> None:
    path = write(tmp_path / "runs.jsonl", {"model": "m", "prompt": "q", "content": "a"})
    message = {"role": "user", "content": "q", "extra": {1, 2}}
    assert (await tier_of(path).chat([message])).text == "a"
