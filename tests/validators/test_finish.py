from __future__ import annotations

import pytest

from cascade.errors import ConfigError
from cascade.types import Answer
from cascade.validators.finish import finish_reason


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [
        ("stop", "passed", ""),
        ("tool_calls", "passed", ""),
        ("length", "failed", "truncated"),
        ("content_filter", "failed", "content_filter"),
        ("pause_turn", "failed", "not_allowed"),
        (None, "abstained", "no_finish_reason"),
    ],
)
async def test_why_the_model_stopped(said: str | None, status: str, reason: str) -> None:
    verdict = await finish_reason().judge(Answer("x", finish_reason=said))
    assert (verdict.status, verdict.reason) == (status, reason)


@pytest.mark.anyio
async def test_what_is_allowed_is_the_caller_s_to_say() -> None:
    only_length = finish_reason(allow=["length"])
    assert (await only_length.judge(Answer("x", finish_reason="length"))).status == "passed"
    assert (await only_length.judge(Answer("x", finish_reason="stop"))).reason == "not_allowed"
    one_word = finish_reason(allow="stop")
    assert (await one_word.judge(Answer("x", finish_reason="stop"))).status == "passed"


@pytest.mark.parametrize("allow", [[], [""], [3]])
def test_a_list_of_words_is_asked_for(allow: list[str]) -> None:
    with pytest.raises(ConfigError, match="allow="):
        finish_reason(allow=allow)
