"""Lookup tickets: the answer stands in the ticket's records, one line for each thing."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import date, timedelta

from cascade.simulated.tickets import (
    PRODUCTS,
    Kind,
    Solution,
    Ticket,
    person,
    ticket_number,
)

Fields = dict[str, str]
RECORD = re.compile(r"^- (?P<name>[^|\n]+?) \| (?P<fields>.+)$", re.MULTILINE)
CITIES = "Lisbon Oslo Kraków Turin Ghent Malmö Porto Graz Lyon Tampere Bilbao Cork".split()
PLANS = "Starter Basic Team Studio Growth Business Scale Campus Partner Agency".split()
CARRIERS = ("Northway Parcel", "Bluefin Post", "Swiftline", "Harbor Express", "Tern Couriers")
STATUSES = ("being packed", "in transit", "out for delivery", "delivered", "held at customs")

# How customers ask for a field, and how the reply states it. {0} is the thing's name.
QUESTIONS: dict[str, tuple[str, ...]] = {
    "status": (
        "Where does {0} stand right now?",
        "What is the status of {0}?",
        "Could you check the status of {0} for me?",
    ),
    "carrier": (
        "Which carrier has {0}?",
        "Who is delivering {0}?",
        "Which company brings {0}?",
    ),
    "arrives": (
        "When will {0} arrive?",
        "On which date should I expect {0}?",
        "What is the delivery date of {0}?",
    ),
    "weekday hours": (
        "What are the weekday hours of {0}?",
        "I can only come on a Tuesday: when is {0} open?",
    ),
    "Saturday hours": (
        "When is {0} open on Saturdays?",
        "What are the Saturday hours of {0}?",
    ),
    "phone": ("How can I call {0}?", "What is the phone number of {0}?"),
    "price": (
        "How much is {0} per month?",
        "What does {0} cost each month?",
        "What is the monthly price of {0}?",
    ),
    "seats": ("How many people can use {0}?", "How many seats come with {0}?"),
    "storage": ("How much storage comes with {0}?", "What is the storage limit of {0}?"),
}
OPENINGS = (
    "Hello,",
    "Hi there.",
    "Good morning!",
    "Quick question:",
    "Hi, me again.",
    "Dear team,",
)
CLOSINGS = ("Thanks!", "Thank you.", "Best wishes", "Many thanks in advance.", "Cheers")


class Lookups:
    """Order, store and plan questions. A wrong answer is the same field of another record."""

    kind: Kind = "lookup"

    def write(self, rng: random.Random) -> str:
        """The user message of a new ticket."""
        records = rng.choice((_orders, _stores, _plans))(rng)
        name = rng.choice(list(records))
        question = rng.choice(QUESTIONS[rng.choice(list(records[name]))]).format(name)
        lines = [
            f"- {name} | " + " | ".join(f"{key}: {value}" for key, value in fields.items())
            for name, fields in records.items()
        ]
        customer = person(rng)
        return "\n".join(
            [
                f"Ticket {ticket_number(rng)} from {customer}",
                "Records:",
                *lines,
                "Message:",
                f"{rng.choice(OPENINGS)} {question} {rng.choice(CLOSINGS)} {customer.split()[0]}",
            ]
        )

    def solve(self, text: str) -> Solution | None:
        """The solution of a ticket; None when no record answers the message."""
        before, _, message = text.partition("\nMessage:\n")
        records = {match["name"]: _fields(match["fields"]) for match in RECORD.finditer(before)}
        for name, fields in records.items():
            for key, value in fields.items():
                if any(form.format(name) in message for form in QUESTIONS.get(key, ())):
                    others = {other[key] for other in records.values()} - {value}
                    return Solution(
                        ticket=_ticket(name, key, value),
                        mistakes=tuple(_ticket(name, key, wrong) for wrong in sorted(others)),
                    )
        return None


def _ticket(name: str, key: str, value: str) -> Ticket:
    reply = f"Thank you for asking. The {key} of {name}: {value}."
    return {"kind": "lookup", "answer": value, "reply": reply}


def _fields(text: str) -> Fields:
    return dict(part.split(": ", 1) for part in text.split(" | ") if ": " in part)


def _distinct(rng: random.Random, make: Callable[[], str], count: int) -> list[str]:
    values: dict[str, None] = {}
    while len(values) < count:
        values[make()] = None
    return list(values)


def _orders(rng: random.Random) -> dict[str, Fields]:
    count = rng.randint(2, 4)
    start = date(2026, 1, 5)
    numbers = _distinct(rng, lambda: str(rng.randrange(10_000, 100_000)), count)
    days = _distinct(rng, lambda: str(start + timedelta(rng.randrange(300))), count)
    statuses, carriers = rng.sample(STATUSES, count), rng.sample(CARRIERS, count)
    return {
        f"order {number} ({rng.choice(PRODUCTS)})": {
            "status": statuses[index],
            "carrier": carriers[index],
            "arrives": days[index],
        }
        for index, number in enumerate(numbers)
    }


def _stores(rng: random.Random) -> dict[str, Fields]:
    count = rng.randint(2, 4)
    weekdays = _distinct(rng, lambda: _hours(rng), count)
    saturdays = _distinct(rng, lambda: _hours(rng), count)
    phones = _distinct(rng, lambda: f"555-{rng.randrange(1_000, 10_000)}", count)
    return {
        f"the {city} store": {
            "weekday hours": weekdays[index],
            "Saturday hours": saturdays[index],
            "phone": phones[index],
        }
        for index, city in enumerate(rng.sample(CITIES, count))
    }


def _plans(rng: random.Random) -> dict[str, Fields]:
    count = rng.randint(2, 4)
    prices = _distinct(
        rng, lambda: f"USD {rng.randrange(5, 200)}.{rng.choice(('00', '50'))}", count
    )
    seats = _distinct(rng, lambda: f"{rng.randrange(1, 60)} seats", count)
    storage = _distinct(rng, lambda: f"{rng.randrange(1, 60) * 10} GB", count)
    return {
        f"the {plan} plan": {
            "price": prices[index],
            "seats": seats[index],
            "storage": storage[index],
        }
        for index, plan in enumerate(rng.sample(PLANS, count))
    }


def _hours(rng: random.Random) -> str:
    half = rng.choice(("00", "30"))
    return f"{rng.randint(7, 11):02d}:{half} to {rng.randint(15, 21)}:{half}"
