"""How `cascade tail` and `cascade show` tell of a stored call: for people, and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rich.text import Text

from cascade.cli.output import as_json, harmless, seconds, usd
from cascade.ledger.stored import StoredAttempt, StoredCall, StoredOutcome, StoredVerdict

__all__ = ["call_row", "one_line", "story"]

_LOOKS: Final[Mapping[str, str]] = {
    "accepted": "green",
    "passed": "green",
    "rejected": "yellow",
    "failed": "red",
    "timed_out": "red",
    "skipped": "dim",
    "abstained": "yellow",
}
_ID: Final = 13


def call_row(call: StoredCall) -> dict[str, Any]:
    """All that is stored of it, and `correct`: what the last label says."""
    return {**dataclasses.asdict(call), "correct": call.correct}


def one_line(call: StoredCall) -> Text:
    """When, which, each attempt's fate, how long, how much, and the id to ask `show` for."""
    line = Text()
    line.append(f"{_at(call.started_at):%H:%M:%S} ", "dim")
    line.append(f"{_name(call)} ")
    for place, attempt in enumerate(one for one in call.attempts if one.outcome != "skipped"):
        line.append(" > " if place else "", "dim")
        line.append(attempt.tier, _LOOKS[attempt.outcome])
        if attempt.reason:
            line.append(f" ({attempt.reason})", "dim")
    if call.reason != "accepted":
        line.append(f" {call.reason}", "bold red")
    line.append(f"  {seconds(call.latency_s)}  {_usd(call.cost_usd)}  ")
    line.append(call.id if len(call.id) <= _ID + 2 else call.id[-_ID:], "dim")
    return _harmless(line)


def story(call: StoredCall, inner: list[str]) -> Iterator[Text]:
    """The whole call, line by line. `inner`: the ids of the calls that were made inside of it."""
    yield Text(f"call {call.id}", "bold")
    yield from _lines(*_head(call))
    for title, facts in (("signals", call.signals), ("metadata", call.metadata)):
        if facts:
            yield Text(title, "bold")
            yield from _table(facts)
    if call.request is not None:
        yield Text("request", "bold")
        yield from _lines(*as_json(call.request, indent=2).splitlines())
    yield Text("attempts", "bold")
    if not call.attempts:
        yield from _lines("none")
    for attempt in call.attempts:
        yield from _attempt(attempt)
    if inner:
        yield Text("calls inside of it", "bold")
        yield from _lines(*inner)
    yield Text("labels", "bold")
    yield from _lines(*(map(_label, call.outcomes) if call.outcomes else ("none",)))


def _head(call: StoredCall) -> Iterator[str]:
    times = call.escalations
    after = f" after {times} escalation{'s' if times > 1 else ''}" if times else ""
    how = "accepted" if call.accepted else f"not accepted ({call.reason})"
    whose = "" if call.tier is None else f", the answer of {call.tier}"
    yield f"{_name(call)}: {how}{after}{whose}, {seconds(call.latency_s)}, {usd(call.cost_usd)}"
    budget = "no budget" if call.budget_s is None else f"a budget of {call.budget_s:g} s"
    yield f"started {_moment(call.started_at, 'milliseconds')}, {budget}"
    if call.rule_reason is not None:
        rule = "route" if call.rule is None else f"rule {call.rule}"
        yield f"{rule}: {call.rule_reason}"
    elif call.rule is not None:
        yield f"rule {call.rule}"
    if call.plan:
        yield f"plan {' > '.join(call.plan)}"
    for name in ("policy", "tenant", "parent"):
        if (value := getattr(call, name)) is not None:
            yield f"{name} {value}"


def _attempt(attempt: StoredAttempt) -> Iterator[Text]:
    line = Text(f"  {attempt.number + 1} {attempt.tier}")
    line.append("" if attempt.model is None else f" ({attempt.model})", "dim")
    line.append(", asked again" if attempt.ask else "")
    line.append(": ").append(attempt.outcome.replace("_", " "), _LOOKS[attempt.outcome])
    line.append(f", {attempt.reason}" if attempt.reason else "")
    yield _harmless(line)
    if attempt.outcome == "skipped" and not attempt.charges:
        return
    yield from _lines(_times(attempt), indent=6)
    if answered := [x for x in (attempt.answered_by, attempt.finish_reason) if x is not None]:
        yield from _lines(f"answered by {', finished by '.join(answered)}", indent=6)
    for verdict in attempt.verdicts:
        yield _verdict(verdict)
    for charge in attempt.charges:
        tokens = f"{_tokens(charge.input_tokens)} read, {_tokens(charge.output_tokens)} written"
        whose = f"{charge.tier}, {charge.purpose}"
        yield from _lines(f"billed {whose}: {tokens}, {usd(charge.cost_usd)}", indent=6)
    if attempt.answer is not None:
        yield from _lines("answer:", indent=6)
        yield from _lines(*attempt.answer.splitlines(), indent=8)


def _times(attempt: StoredAttempt) -> str:
    parts = [f"from {seconds(attempt.started_s)}", f"{seconds(attempt.latency_s)} long"]
    if attempt.call_s is not None:
        parts.append(f"{seconds(attempt.call_s)} of it the call")
    if attempt.queue_s:
        parts.append(f"{seconds(attempt.queue_s)} of it in a queue")
    return f"{', '.join(parts)}; {usd(attempt.cost_usd)}"


def _verdict(verdict: StoredVerdict) -> Text:
    line = Text(" " * (6 if verdict.part_of is None else 8))
    line.append(f"{verdict.status:<9}", _LOOKS[verdict.status])
    line.append(f" {verdict.validator}")
    if verdict.score is not None:
        line.append(f" {verdict.score:.3g}")
    if verdict.threshold is not None:
        line.append(f" (at {verdict.threshold:g})")
    line.append(f" {verdict.reason}" if verdict.reason else "")
    line.append("" if verdict.latency_s is None else f", {seconds(verdict.latency_s)}", "dim")
    return _harmless(line)


def _label(outcome: StoredOutcome) -> str:
    said = [] if outcome.correct is None else ["right" if outcome.correct else "wrong"]
    said += [] if outcome.score is None else [f"score {outcome.score:g}"]
    said += [] if outcome.label is None else [outcome.label]
    return f"{outcome.by}, {_moment(outcome.at, 'seconds')}: {', '.join(said)}"


def _table(facts: Mapping[str, Any]) -> Iterator[Text]:
    width = max(map(len, facts))
    yield from _lines(*(f"{name:<{width}}  {value}" for name, value in facts.items()))


def _lines(*lines: str, indent: int = 2) -> Iterator[Text]:
    for line in lines:
        yield _harmless(Text(" " * indent + line))


def _harmless(line: Text) -> Text:
    """The same, with nothing in it that could steer a terminal; a line stays one."""
    line.plain = harmless(line.plain).replace("\n", " ")
    return line


def _name(call: StoredCall) -> str:
    cascade = call.cascade or "(unnamed)"
    return cascade if call.path is None else f"{cascade}/{call.path}"


def _at(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _moment(at: float, exact_to: str) -> str:
    return f"{_at(at).replace(tzinfo=None).isoformat(' ', exact_to)} UTC"


def _usd(amount: Any) -> str:
    return "$?" if amount is None else usd(amount)


def _tokens(number: int | None) -> str:
    return "? tokens" if number is None else f"{number:,} tokens"
