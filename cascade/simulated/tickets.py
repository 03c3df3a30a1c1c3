"""Support tickets: the answer format, what a task knows about its prompt, and the shared words."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol

Kind = Literal["lookup", "drafting", "hard"]
KINDS: tuple[Kind, ...] = ("lookup", "drafting", "hard")
Ticket = dict[str, str]

TICKET_SCHEMA: dict[str, object] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Ticket",
    "type": "object",
    "properties": {
        "kind": {"enum": list(KINDS)},
        "answer": {"type": "string", "minLength": 1},
        "reply": {"type": "string", "minLength": 1},
    },
    "required": ["kind", "answer", "reply"],
    "additionalProperties": False,
}

SYSTEM_PROMPT = """\
You answer support tickets. Use only what the ticket says.
Reply with one JSON object and nothing else: {"kind": ..., "answer": ..., "reply": ...}
- kind: "lookup" when the answer stands in the records, "drafting" when a reply has to be written, \
"hard" when a policy has to be applied.
- answer: the value asked for and nothing else. Amounts like "USD 12.50", dates like "2026-03-31". \
For drafting, the ticket number.
- reply: one to five sentences to the customer. State every fact the ticket requires, and no \
internal note."""

FIRST_NAMES = (
    "Ada Ben Chiara Dmitri Elif Farid Grace Hana Ivo Jun Kemi Lars Mina Noor Oskar Priya Quentin "
    "Rosa Sven Tala Uma Viktor Wen Ximena Yusuf Zofia"
).split()
LAST_NAMES = (
    "Abe Brandt Costa Duarte Eriksen Fofana Gupta Haddad Ito Jansen Kaya Lindqvist Moreau Nowak "
    "Okafor Petrov Quispe Rossi Silva Tanaka Ueda Vega Weber Xu Yilmaz Zeman"
).split()
PRODUCTS = (
    "desk lamp", "rain jacket", "coffee grinder", "bike light", "travel bag", "office chair",
    "water filter", "wool blanket", "phone stand", "garden hose", "paper shredder", "tea kettle",
    "running belt", "wall clock", "camping stove", "laptop sleeve", "air pump", "spice rack",
)  # fmt: skip
NUMBERS = re.compile(r"\d+(?:[.,:-]\d+)*")


@dataclass(frozen=True, slots=True)
class Solution:
    """What a prompt's own text says: the right ticket, and plausible wrong ones.

    `must_say` holds the facts a drafted reply has to state, `must_not_say` the internal notes it
    has to leave out; both are empty for the other kinds.
    """

    ticket: Ticket
    mistakes: tuple[Ticket, ...]
    must_say: tuple[str, ...] = ()
    must_not_say: tuple[str, ...] = ()


class Task(Protocol):
    """One kind of ticket: how to write such a prompt, and how to solve one from its text."""

    kind: Kind

    def write(self, rng: random.Random) -> str:
        """The user message of a new ticket."""
        ...

    def solve(self, text: str) -> Solution | None:
        """The solution of a ticket; None when the text is not a ticket of this kind."""
        ...


def person(rng: random.Random) -> str:
    """A made-up customer's name."""
    return f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}"


def ticket_number(rng: random.Random) -> str:
    """A ticket number like T-48213."""
    return f"T-{rng.randrange(10_000, 100_000)}"


def usd(amount: Decimal) -> str:
    """An amount as tickets write it, rounded half up to cents: USD 12.50."""
    return f"USD {amount.quantize(Decimal('0.01'), rounding='ROUND_HALF_UP')}"
