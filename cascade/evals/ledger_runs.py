"""Recorded runs from a ledger: what production says of its tiers, in the shape of an eval's.

A row needs to know how right its answer was. That of an accepted answer is what an outcome says of
its call. Of a rejected one nobody said anything, and no row is made. An audit says how right the
strongest tier was too, on calls that were never meant to reach it; as audits are a sample, rows
from them carry the weight 1/share.

The rows' fields are those of `cascade.evals.runs`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

from cascade.auditing import AUDITED_BY
from cascade.errors import ConfigError
from cascade.ledger.stored import StoredAttempt, StoredCall, StoredOutcome, StoredVerdict
from cascade.policing import VERDICT, comparable, key_of
from cascade.signals.said import Said
from cascade.types import Request, Verdict, add_exactly

__all__ = ["TELLERS", "LedgerRuns", "Told", "prompt_of", "runs_of", "told_of", "verdicts_of"]

Row: TypeAlias = dict[str, Any]

TELLERS: Final = (AUDITED_BY, "grader", "user")
"""Whose outcomes count; of a call that several judged the first of them does."""

_AUDITED: Final = re.compile(r"share=(\S+) best=(\S+)")

_UNTOLD: Final = "calls of which no outcome says how right they were"
_NOT_ACCEPTED: Final = "calls with an outcome whose answer was not accepted"
_NO_COST: Final = "answers of unknown cost"
_UNKNOWN: Final = "rejected answers, of which nobody knows how right they were"
_NAMELESS: Final = "audits' answers, as the strongest tier is not named"
_PRICELESS: Final = "audits' answers, as the ledger knows no cost of the strongest tier"


@dataclass(slots=True)
class LedgerRuns:
    """Rows, and what is not among them.

    Attributes:
        rows: one of a call and tier, as `cascade.evals.runs` reads them.
        calls: how many calls have a row.
        left_out: how many there are of what was left out, by why.
    """

    rows: list[Row] = field(default_factory=list[Row])
    calls: int = 0
    left_out: Counter[str] = field(default_factory=Counter[str])


class Told(NamedTuple):
    """What an outcome says.

    Attributes:
        by: whose it is.
        score: how right the accepted answer was, 0 to 1.
        best: how right the strongest tier's was. None: not said.
        weight: how many calls this one stands for.
    """

    by: str
    score: float
    best: float | None
    weight: float


def runs_of(
    calls: Iterable[StoredCall],
    *,
    by: Sequence[str] = TELLERS,
    slice_by: str | None = None,
    strongest: str | Mapping[str | None, str] | None = None,
) -> LedgerRuns:
    """The runs that calls hold; answers and prompts are in them if they were read with content.

    Args:
        by: whose outcomes count, the first that judged a call before the others.
        slice_by: what names a call's slice: "path", "metadata.NAME", or the name of a signal.
        strongest: the tier that audits ask, of all cascades or by cascade. None: unknown. What it
            cost is not recorded: its rows have the mean of its other calls, and "estimated".

    Raises:
        ConfigError: `by` names nobody.
    """
    if not by:
        raise ConfigError("nobody's outcomes count; name those that do, such as user")
    book = _Book(by, slice_by, strongest or {})
    for call in calls:
        book.add(call)
    return book.closed()


class _Book:
    """The rows so far, and those that wait for what the strongest tier costs on average."""

    def __init__(
        self, by: Sequence[str], slice_by: str | None, strongest: str | Mapping[str | None, str]
    ) -> None:
        self._by = by
        self._slice_by = slice_by
        self._strongest = strongest
        self._found = LedgerRuns()
        self._costs: dict[tuple[str | None, str], list[Decimal]] = defaultdict(list)
        self._audited: list[tuple[str | None, Row]] = []

    def add(self, call: StoredCall) -> None:
        """Note what a call cost, and make its row if somebody judged it."""
        for attempt in call.attempts:
            if attempt.cost_usd is not None and attempt.outcome != "skipped":
                self._costs[call.cascade, attempt.tier].append(attempt.cost_usd)
        told = told_of(call.outcomes, self._by)
        if told is None:
            self._found.left_out[_UNTOLD] += 1
            return
        row = _accepted(call, told, self._slice_by, self._found.left_out)
        if row is None:
            return
        self._found.calls += 1
        self._found.rows.append(row)
        if told.best is not None:
            self._add_best(call, told, told.best)

    def _add_best(self, call: StoredCall, told: Told, best: float) -> None:
        named = self._strongest
        tier = named if isinstance(named, str) else named.get(call.cascade)
        if tier is None:
            self._found.left_out[_NAMELESS] += 1
        elif tier != call.tier:
            self._audited.append((call.cascade, _facts(call, told, self._slice_by, tier, best)))

    def closed(self) -> LedgerRuns:
        """All rows, those of the audits' answers at the end."""
        for cascade, row in self._audited:
            known = self._costs.get((cascade, row["model"]))
            if not known:
                self._found.left_out[_PRICELESS] += 1
                continue
            mean = float(add_exactly(known) or 0) / len(known)
            self._found.rows.append({**row, "cost_usd": mean, "signals": {}, "estimated": True})
        self._found.left_out = +self._found.left_out  # without what there is none of
        return self._found


def told_of(outcomes: Iterable[StoredOutcome], by: Sequence[str]) -> Told | None:
    """What the first of the tellers said of how right a call was. None: none of them did."""
    said = {one.by: one for one in outcomes if one.score is not None or one.correct is not None}
    teller = next((name for name in by if name in said), None)
    if teller is None:
        return None
    one = said[teller]
    score = float(one.correct or 0) if one.score is None else one.score
    facts = _AUDITED.fullmatch(one.label or "") if teller == AUDITED_BY else None
    if facts is None:
        return Told(teller, score, None, 1.0)
    return Told(teller, score, float(facts[2]), 1 / float(facts[1]))


def _accepted(
    call: StoredCall, told: Told, slice_by: str | None, left_out: Counter[str]
) -> Row | None:
    """The row of a call's accepted answer. None: there is none, which is counted."""
    answered = next((one for one in call.attempts if one.outcome == "accepted"), None)
    if not call.accepted or answered is None:
        left_out[_NOT_ACCEPTED] += 1
        return None
    left_out[_UNKNOWN] += sum(one.outcome == "rejected" for one in call.attempts)
    asks = [one for one in call.attempts if one.tier == answered.tier and one.outcome != "skipped"]
    cost_usd = add_exactly(one.cost_usd for one in asks)
    if cost_usd is None:
        left_out[_NO_COST] += 1
        return None
    return {
        **_facts(call, told, slice_by, answered.tier, told.score),
        "cost_usd": float(cost_usd),
        "latency_ms": round(1000 * sum(one.latency_s for one in asks), 3),
        **_observed(answered),
    }


def _facts(call: StoredCall, told: Told, slice_by: str | None, tier: str, correct: float) -> Row:
    """What a row says of its call, its tier and its label."""
    row: Row = {"dataset": call.cascade or "", "qid": call.id, "model": tier, "correct": correct}
    if (task := call.signals.get("task")) is not None:
        row["task"] = str(task)
    if slice_by is not None and (named := _slice(call, slice_by)) is not None:
        # Under its own name too: a policy that is tuned by a signal's name looks it up in calls.
        row.setdefault(slice_by, str(named))
        row["slice"] = str(named)
    if call.parent is not None:
        row["cluster"] = call.parent
    if told.weight != 1:
        row["weight"] = told.weight
    if call.request is not None and (prompt := prompt_of(call.request)):
        row["prompt"] = prompt
    return {**row, "by": told.by, "started_at": call.started_at}


def _slice(call: StoredCall, slice_by: str) -> Any:
    if slice_by == "path":
        return call.path
    if slice_by.startswith("metadata."):
        return call.metadata.get(slice_by.removeprefix("metadata."))
    return call.signals.get(slice_by)


def prompt_of(request: Mapping[str, Any]) -> str:
    """The text that routers go by."""
    return Said(Request(request["messages"], **request["params"])).text


def _observed(attempt: StoredAttempt) -> Row:
    """What an answer shows a policy: the same as `cascade.policing.observation` says in a call."""
    verdicts = verdicts_of(attempt.verdicts)
    row: Row = {"schema_ok": 1}  # or it would not have been accepted
    row["signals"] = {name: score for name, score in _scores(verdicts).items() if score is not None}
    answer = comparable(attempt.answer) if attempt.value is None else attempt.value or None
    if answer is not None:
        row["answer"] = key_of(answer)
    answers = [charge for charge in attempt.charges if charge.purpose == "answer"]
    for name, counts in (
        ("tok_in", [charge.input_tokens for charge in answers]),
        ("tok_out", [charge.output_tokens for charge in answers]),
    ):
        known = [count for count in counts if count is not None]
        if known:
            row[name] = sum(known)
    return row


def _scores(verdicts: Iterable[Verdict]) -> dict[str, float | None]:
    """By validator, of several of one name the first; parts come after what they are parts of."""
    scores: dict[str, float | None] = {}
    for verdict in verdicts:
        for name, score in ((verdict.validator, verdict.score), *_scores(verdict.parts).items()):
            scores.setdefault(name, score)
    return scores


def verdicts_of(stored: Sequence[StoredVerdict]) -> list[Verdict]:
    """The verdicts of an attempt's validators, as they were made; not that of its policy."""
    made: dict[int, Verdict] = {}
    for one in reversed(stored):  # parts come after the verdict that they are parts of
        parts = tuple(made.pop(part.number) for part in stored if part.part_of == one.number)
        made[one.number] = Verdict(
            one.status,
            one.score,
            one.reason,
            validator=one.validator,
            threshold=one.threshold,
            parts=parts,
        )
    return [made[number] for number in sorted(made) if made[number].validator != VERDICT]
