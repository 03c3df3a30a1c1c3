"""The built-in signals: what each is called, what kind of value it has, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from cascade.signals import shape
from cascade.signals.languages import detect_language
from cascade.signals.tasks import TASKS, detect_task
from cascade.spend import current_tenant
from cascade.tokens import estimate_tokens
from cascade.types import Fact

if TYPE_CHECKING:
    from cascade.signals.reading import Signals
    from cascade.signals.said import Survey

__all__ = ["BUILT_IN", "DECLARABLE", "OUTPUTS", "Kind", "Signal", "declarable"]

Kind: TypeAlias = Literal["text", "count", "flag"]
"""What values a signal has: a string, a whole number of 0 or more, or True and False."""

DECLARABLE: Final = frozenset({"feature", "language", "stakes", "task"})
"""The built-in signals that callers may declare; the others are what they are."""

OUTPUTS: Final = ("schema", "json", "tool", "text")


@dataclass(frozen=True, slots=True)
class Signal:
    """One built-in signal.

    Attributes:
        kind: what values it has, where it is known.
        source: where it comes from, for people.
        read: makes it from the others.
        values: the only texts it can be. None: any.
    """

    name: str
    kind: Kind
    source: str
    read: Callable[[Signals], Fact]
    values: tuple[str, ...] | None = None


def _survey(count: Callable[[Survey], int]) -> Callable[[Signals], Fact]:
    def read(signals: Signals) -> Fact:
        survey = signals.said.survey
        return None if survey is None else count(survey)

    return read


def _text(look: Callable[[str], Fact]) -> Callable[[Signals], Fact]:
    def read(signals: Signals) -> Fact:
        text = signals.said.text
        return look(text) if text else None

    return read


def _input_tokens(signals: Signals) -> Fact:
    request = signals.said.request
    return None if request is None else estimate_tokens(request)


def _tools(signals: Signals) -> Fact:
    if signals.said.request is None:
        return None
    offered = (signals.said.params.get(name) for name in ("tools", "functions"))
    return sum(len(cast("list[Any]", one)) for one in offered if isinstance(one, list | tuple))


def _output(signals: Signals) -> Fact:
    if signals.said.request is None:
        return None
    params = signals.said.params
    choice = params.get("tool_choice")
    if isinstance(choice, Mapping):
        # In the form of Anthropic these two leave it to the model, as the words do in OpenAI's.
        is_forced = cast("Mapping[str, Any]", choice).get("type") not in ("auto", "none")
    else:
        is_forced = choice == "required"
    if is_forced:
        return "tool"
    wanted = params.get("response_format")
    if not isinstance(wanted, Mapping):
        return "text" if wanted is None else "schema"  # a class, as some SDKs take
    kind = cast("Mapping[str, Any]", wanted).get("type")
    return {"json_schema": "schema", "json_object": "json"}.get(str(kind), "text")


def _max_tokens(signals: Signals) -> Fact:
    for name in ("max_completion_tokens", "max_tokens"):
        value = signals.said.params.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def _detected_task(signals: Signals) -> Fact:
    text = signals.said.text
    return detect_task(text, signals.said.system).task if text else None


_ALL: Final = (
    Signal("path", "text", "the path that was asked for", lambda s: s.path),
    Signal("cascade", "text", "the cascade's name", lambda s: s.cascade),
    Signal("feature", "text", "declared by the call or its path", lambda s: None),
    Signal(
        "task", "text", "declared by the call or its path, else detected_task",
        lambda s: s["detected_task"],
    ),
    Signal(
        "detected_task", "text", "guessed from the last user message and the system's instructions",
        _detected_task, TASKS,
    ),
    Signal(
        "stakes", "text", 'declared by the call, its path or a rule, else "normal"',
        lambda s: "normal",
    ),
    Signal("tenant", "text", "the tenant the call runs for", lambda s: current_tenant()),
    Signal("input_tokens", "count", "estimated from messages, tools and schema", _input_tokens),
    Signal("chars", "count", "characters of all messages, what tools answered included",
           _survey(lambda s: s.chars)),
    Signal("turns", "count", "messages in which the user speaks", _survey(lambda s: s.turns)),
    Signal("questions", "count", "different questions in the last user message",
           _text(shape.questions)),
    Signal("demands", "count", 'words such as "must" and "exactly" in the last user message',
           _text(shape.demands)),
    Signal("tools", "count", "tools offered", _tools),
    Signal("tool_calls", "count", "tool calls in the conversation so far",
           _survey(lambda s: s.tool_calls)),
    Signal("images", "count", "images in the messages", _survey(lambda s: s.images)),
    Signal("documents", "count", "files in the messages", _survey(lambda s: s.documents)),
    Signal("audio", "count", "recordings in the messages", _survey(lambda s: s.audio)),
    Signal("output", "text", "response_format and tool_choice", _output, OUTPUTS),
    Signal("max_tokens", "count", "max_completion_tokens or max_tokens", _max_tokens),
    Signal("language", "text", "declared, else the script and the commonest words of the last user "
           "message, as an ISO 639-1 code", _text(detect_language)),
    Signal("has_code", "flag", "code in the last user message", _text(shape.has_code)),
    Signal("has_numbers", "flag", "digits in the last user message", _text(shape.has_numbers)),
)  # fmt: skip

BUILT_IN: Final[Mapping[str, Signal]] = {signal.name: signal for signal in _ALL}
"""The built-in signals by name."""


def declarable(signals: Mapping[str, Fact]) -> dict[str, Fact]:
    """Those of a call's signals that a call may declare; the others are computed."""
    return {
        name: value for name, value in signals.items() if name in DECLARABLE or name not in BUILT_IN
    }
