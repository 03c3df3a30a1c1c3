"""Did the model come to an end of its own accord?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import Answer, Verdict
from cascade.validation import Check, Validator

__all__ = ["finish_reason"]

_FAILURES: Final = {
    "length": ("truncated", "The answer was cut off at the token limit; answer shorter."),
    "content_filter": ("content_filter", "The answer was withheld by a content filter."),
}


def finish_reason(*, allow: Sequence[str] = ("stop", "tool_calls")) -> Validator:
    """Passes when the model stopped for one of the allowed reasons.

    Args:
        allow: finish reasons in the words of `Answer.finish_reason`.

    Reasons: truncated (length), content_filter, not_allowed (any other). Abstains with
    no_finish_reason when the provider named none.

    Raises:
        ConfigError: `allow` is no list of words.
    """
    words = cast("tuple[object, ...]", (allow,) if isinstance(allow, str) else tuple(allow))
    if not words or not all(isinstance(word, str) and word for word in words):
        raise ConfigError(f'finish_reason: allow={allow!r}; write a list such as ["stop"]')
    allowed = frozenset(words)

    def judge(answer: Answer[Any], context: Context) -> Verdict | bool:
        reason = answer.finish_reason
        if reason is None:
            return Verdict.abstained("no_finish_reason")
        if reason in allowed:
            return True
        code, feedback = _FAILURES.get(reason, ("not_allowed", None))
        return Verdict.failed(code, feedback=feedback)

    return Check("finish_reason", judge, scored=False)
