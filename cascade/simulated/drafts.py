"""Drafting tickets: write a short reply with every required fact, nothing invented or leaked."""

from __future__ import annotations

import random
import re
from datetime import date, timedelta
from decimal import Decimal

from cascade.simulated.tickets import PRODUCTS, Kind, Solution, Ticket, person, ticket_number, usd

HEAD = re.compile(r"^Ticket (?P<number>T-\d+) from (?P<customer>.+)$", re.MULTILINE)
ASKED = "Write the reply to the customer. It has to state:"
FACT = re.compile(r"^\* (?P<name>[^:\n]+): (?P<value>.+)$", re.MULTILINE)
NOTE = re.compile(r"^Internal note, not for the customer: (?P<note>.+)\.$", re.MULTILINE)

COMPLAINTS = (
    "the {0} I bought arrived broken and I am quite upset.",
    "I still wait for the {0} I ordered weeks ago.",
    "you charged me twice for one {0}.",
    "the {0} is not what the picture showed.",
    "can you exchange the {0} for another colour?",
    "I want to cancel my order of the {0}.",
)
NOTES = (
    "this customer complained before",
    "the warehouse lost a pallet last week",
    "a supplier recall is being prepared",
    "the manager allows a larger discount if they insist",
    "the courier contract ends soon",
)
# A courtesy promised out of thin air, the way a model invents one.
INVENTED = (
    "We have also added a credit of USD {0}.00 to your account.",
    "You will also get {0} % off your next order.",
    "Our team will call you within {0} minutes.",
)


class Drafts:
    """Complaint replies. Wrong ones leave out a fact, invent a number, or leak the note."""

    kind: Kind = "drafting"

    def write(self, rng: random.Random) -> str:
        """The user message of a new ticket."""
        facts = _facts(rng)
        chosen = rng.sample(list(facts), rng.randint(2, 4))
        complaint = rng.choice(COMPLAINTS).format(rng.choice(PRODUCTS))
        return "\n".join(
            [
                f"Ticket {ticket_number(rng)} from {person(rng)}",
                "Message:",
                f"Hello, {complaint}",
                f"Internal note, not for the customer: {rng.choice(NOTES)}.",
                ASKED,
                *(f"* {name}: {facts[name]}" for name in chosen),
            ]
        )

    def solve(self, text: str) -> Solution | None:
        """The solution of a ticket; None when the text does not ask for a reply."""
        head, note = HEAD.search(text), NOTE.search(text)
        facts = {found["name"]: found["value"] for found in FACT.finditer(text)}
        if head is None or note is None or not facts or ASKED not in text:
            return None
        number, customer = head["number"], head["customer"]
        invented = [form.format(_absent(text)) for form in INVENTED]
        return Solution(
            ticket=_ticket(number, customer, facts),
            mistakes=(
                *(_ticket(number, customer, _without(facts, name)) for name in facts),
                *(_ticket(number, customer, facts, extra) for extra in invented),
                _ticket(number, customer, facts, f"Between us, {note['note']}."),
            ),
            must_say=tuple(facts.values()),
            must_not_say=(note["note"],),
        )


def _facts(rng: random.Random) -> dict[str, str]:
    day = date(2026, 1, 5) + timedelta(rng.randrange(300))
    return {
        "refund amount": usd(Decimal(rng.randrange(500, 40_000)) / 100),
        "replacement ships on": str(day),
        "return label": f"RL-{rng.randrange(100_000, 1_000_000)}",
        "refund arrives within": f"{rng.randint(2, 14)} working days",
        "contact": f"555-{rng.randrange(1_000, 10_000)}",
        "voucher code": f"VC{rng.randrange(1_000, 10_000)}{rng.choice('ABCDEF')}",
    }


def _ticket(number: str, customer: str, facts: dict[str, str], extra: str = "") -> Ticket:
    stated = "; ".join(f"{name}: {value}" for name, value in facts.items())
    sentences = [
        f"Dear {customer}, we are sorry for the trouble.",
        f"Here is what we do: {stated}.",
    ]
    reply = " ".join([*sentences, extra] if extra else sentences)
    return {"kind": "drafting", "answer": number, "reply": reply}


def _without(facts: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in facts.items() if key != name}


def _absent(text: str) -> int:
    """A round number which the ticket does not mention."""
    return next(value for value in range(15, 1_000, 5) if str(value) not in text)
