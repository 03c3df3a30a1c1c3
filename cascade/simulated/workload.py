"""A seeded workload of support tickets whose truth is a pure function of the prompt."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

from cascade.simulated.drafts import Drafts
from cascade.simulated.lookups import Lookups
from cascade.simulated.policies import Policies
from cascade.simulated.tickets import (
    KINDS,
    NUMBERS,
    SYSTEM_PROMPT,
    Kind,
    Solution,
    Task,
    Ticket,
)

TASKS: tuple[Task, ...] = (Lookups(), Drafts(), Policies())
AMOUNT = re.compile(r"(?:usd|\$)?\s*(\d[\d,]*(?:\.\d+)?)\s*(?:usd)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Case:
    """One ticket with its truth.

    `prompt` is the user message, `messages` the whole chat with its system message, and
    `expected` a ticket that `grade` accepts.
    """

    id: str
    kind: Kind
    prompt: str
    expected: Ticket
    messages: tuple[dict[str, str], ...]


def workload(
    n: int, seed: int = 0, mix: tuple[float, float, float] = (0.70, 0.25, 0.05)
) -> list[Case]:
    """`n` different cases; `mix` holds the shares of lookup, drafting and hard ones.

    The same `n`, `seed` and `mix` give the same cases. Raises ValueError for a negative `n` or a
    mix that is negative or sums to zero.
    """
    if n < 0:
        raise ValueError(f"n is {n}; a workload needs 0 or more cases")
    if min(mix) < 0 or sum(mix) <= 0:
        raise ValueError(f"mix is {mix}; shares must not be negative, and one must be above 0")
    rng = random.Random(f"workload {seed}")
    tasks = {task.kind: task for task in TASKS}
    cases: dict[str, Case] = {}
    while len(cases) < n:
        kind = rng.choices(KINDS, mix)[0]
        prompt = tasks[kind].write(rng)
        if prompt not in cases and (solution := tasks[kind].solve(prompt)):
            case_id = f"sim-{seed}-{len(cases):05d}"
            cases[prompt] = Case(case_id, kind, prompt, solution.ticket, chat(prompt))
    return list(cases.values())


def chat(prompt: str) -> tuple[dict[str, str], ...]:
    """The messages for a ticket: the instructions as system message, then the ticket."""
    return (
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": prompt},
    )


def solve(text: str) -> Solution | None:
    """Solve a ticket from its text alone; None when the text is no ticket of the workload."""
    return next((solution for task in TASKS if (solution := task.solve(text))), None)


def grade(case: Case, value: object) -> bool:
    """Whether `value`, a parsed ticket or its JSON text, answers `case` rightly.

    Lookups and hard tickets are right when `answer` is: amounts compare as numbers, the rest
    without regard to case and outer punctuation. A draft is right when its reply states every
    required fact, no number that the ticket lacks, and no internal note.
    """
    ticket = _ticket_of(value)
    solution = solve(case.prompt)
    if ticket is None or solution is None or ticket.get("kind") != case.kind:
        return False
    if not _same(ticket.get("answer"), solution.ticket["answer"]):
        return False
    return case.kind != "drafting" or _says_all(ticket.get("reply"), solution, case.prompt)


def _ticket_of(value: object) -> Mapping[str, object] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if not isinstance(value, Mapping):
        return None
    return cast("Mapping[str, object]", value)


def _same(given: object, right: str) -> bool:
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        return False
    ours, theirs = AMOUNT.fullmatch(right), AMOUNT.fullmatch(str(given).strip(" ."))
    if ours and theirs:
        return Decimal(ours[1].replace(",", "")) == Decimal(theirs[1].replace(",", ""))
    return str(given).strip(" .").casefold() == right.strip(" .").casefold()


def _says_all(reply: object, solution: Solution, prompt: str) -> bool:
    if not isinstance(reply, str):
        return False
    said = reply.casefold()
    return (
        all(fact.casefold() in said for fact in solution.must_say)
        and not any(note.casefold() in said for note in solution.must_not_say)
        and set(NUMBERS.findall(reply)) <= set(NUMBERS.findall(prompt))
    )
