"""What a router learns from, as it is read from files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cascade import ConfigError, Request
from cascade.learn.examples import Examples, read_prompts, training_rows, with_signals
from tests.learn.support import examples

TIERS = {"small": "small", "large": "large"}


def rows_of(folder: Path, *, run: Mapping[str, Any], prompt: Mapping[str, Any]) -> Examples:
    """Two queries, with more in their runs and in the lines of their prompts."""
    runs, prompts = folder / "runs.jsonl", folder / "prompts.jsonl"
    texts = {"1": "Debug this: ```x```", "2": "Where is my lamp, and when does it come?"}
    graded = [
        {"qid": qid, "model": model, "correct": 1, "cost_usd": 0.1, "prompt": text, **run}
        for qid, text in texts.items()
        for model in TIERS
    ]
    asked = [{"qid": qid, "prompt": text, **prompt} for qid, text in texts.items()]
    runs.write_text("".join(f"{json.dumps(row)}\n" for row in graded))
    prompts.write_text("".join(f"{json.dumps(row)}\n" for row in asked))
    return training_rows([runs], [prompts] if prompt else [], TIERS)


def test_built_in_signals_are_told_by_the_prompt_where_they_are_not_recorded(
    tmp_path: Path,
) -> None:
    found = with_signals(rows_of(tmp_path, run={}, prompt={}), ["has_code", "questions", "task"])
    assert found.signals == (
        {"has_code": True, "questions": 0, "task": "coding"},
        {"has_code": False, "questions": 2, "task": "lookup"},
    )
    told = rows_of(tmp_path, run={}, prompt={"signals": {"task": "mine", "plan": "pro"}})
    assert with_signals(told, ["task"]).signals == ({"task": "mine", "plan": "pro"},) * 2
    assert with_signals(told, []) == told


def test_they_are_told_by_the_whole_request_where_that_is_known() -> None:
    one = examples(1)
    whole = Request(one.texts[0], tools=[{"name": "a"}, {"name": "b"}])
    assert with_signals(replace(one, asked=(whole,)), ["tools"]).signals == ({"tools": 2},)
    assert with_signals(one, ["tools"]).signals == ({"tools": 0},)


@pytest.mark.parametrize("name", ["taks", "feature", "plan", "p_true"])
def test_a_signal_of_which_nothing_is_known_is_refused(tmp_path: Path, name: str) -> None:
    """The score of an answer is none: nobody knows it before a model ran."""
    found = rows_of(tmp_path, run={"signals": {"p_true": 0.9}}, prompt={})
    with pytest.raises(ConfigError, match=f"the runs have no signal '{name}', and no prompt tells"):
        with_signals(found, ["task", name])


def cut_in_the_middle(zipped: bytes) -> bytes:
    return zipped[:20] + bytes(len(zipped) - 28) + zipped[-8:]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (cut_in_the_middle(gzip.compress(bytes(range(256)) * 9)), "prompts.jsonl cannot be read: "),
        (b"[" * 200_000, "prompts.jsonl, line 1 is no prompt: "),
        (b'{"prompt": ' + b"[" * 200_000, "prompts.jsonl, line 1 is no prompt: "),
    ],
    ids=["zipped", "deep", "deep within"],
)
def test_a_file_that_is_broken_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        list(read_prompts(file))
