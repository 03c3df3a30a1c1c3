from __future__ import annotations

from typing import Any

import anyio
import pytest

from cascade import Answer, Cascade, ConfigError, Request, Tier, Usage
from cascade.testing import HANG, Scripted

pytestmark = pytest.mark.anyio


async def test_a_script_plays_its_steps_and_repeats_the_last() -> None:
    said = Answer("two", usage=Usage(1, 1))
    script = Scripted("one", said)
    played = [await script(Request(str(n))) for n in range(4)]
    assert played == ["one", said, said, said]
    assert script.requests == [Request(str(n)) for n in range(4)]


async def test_a_step_that_is_an_error_is_raised() -> None:
    error = KeyError("x")
    script = Scripted(error, "fine")
    with pytest.raises(KeyError) as caught:
        await script(Request("?"))
    assert caught.value is error
    assert await script(Request("?")) == "fine"


async def test_a_step_that_hangs_ends_with_a_cancellation_only() -> None:
    script = Scripted(HANG)
    with anyio.move_on_after(0.001) as scope:
        await script(Request("?"))
    assert scope.cancelled_caught
    assert script.requests == [Request("?")]  # it was asked all the same
    assert repr(HANG) == "HANG"


def test_a_script_without_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match="a script has no steps; give it at least one answer"):
        Scripted()


async def test_none_is_an_answer_like_any_other() -> None:
    result: Any = await Cascade(tiers=[Tier("a", call=Scripted(None))]).run("?")
    assert (result.accepted, result.value) == (True, None)
