"""Hard tickets: a policy of several steps applied to amounts and dates."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from cascade.simulated.tickets import PRODUCTS, Kind, Solution, Ticket, person, ticket_number, usd

Facts = dict[str, str]
Slips = frozenset[str]


class Policy(NamedTuple):
    """One kind of calculation.

    `text` states the policy with named blanks, `draw` fills them, and `work` computes the answer,
    wrongly when given slips: steps which someone careless leaves out, named in `slips`.
    """

    text: str
    draw: Callable[[random.Random], Facts]
    work: Callable[[Facts, Slips], str]
    slips: tuple[str, ...]


class Policies:
    """Proration, refunds, service credits, notice periods and seat prices."""

    kind: Kind = "hard"

    def write(self, rng: random.Random) -> str:
        """The user message of a new ticket."""
        policy = rng.choice(POLICIES)
        head = f"Ticket {ticket_number(rng)} from {person(rng)}"
        return f"{head}\n{policy.text.format(**policy.draw(rng))}"

    def solve(self, text: str) -> Solution | None:
        """The solution of a ticket; None when the text states none of the policies."""
        for policy, pattern in zip(POLICIES, PATTERNS, strict=True):
            if found := pattern.search(text):
                facts = found.groupdict()
                right = policy.work(facts, frozenset())
                careless = (policy.work(facts, frozenset({slip})) for slip in policy.slips)
                wrong = dict.fromkeys(answer for answer in careless if answer != right)
                # Amounts of nothing leave no step to slip on; dates always do.
                return Solution(
                    ticket=_ticket(right),
                    mistakes=tuple(_ticket(answer) for answer in wrong or ["USD 1.00"]),
                )
        return None


def _ticket(answer: str) -> Ticket:
    reply = f"Thank you for your patience. By our policy the result for you is {answer}."
    return {"kind": "hard", "answer": answer, "reply": reply}


def _pattern(template: str) -> re.Pattern[str]:
    # The template turned round: each blank matches a number or a date, a repeated one the same.
    parts = re.split(r"\{(\w+)\}", template)
    seen: set[str] = set()
    pattern = re.escape(parts[0])
    for name, literal in zip(parts[1::2], parts[2::2], strict=True):
        pattern += f"(?P={name})" if name in seen else f"(?P<{name}>{BLANKS.get(name, NUMBER)})"
        pattern += re.escape(literal)
        seen.add(name)
    return re.compile(pattern)


NUMBER = r"\d+(?:\.\d+)?"
DAY = r"\d{4}-\d{2}-\d{2}"
BLANKS = {
    "delivered": DAY,
    "asked": DAY,
    "renews": DAY,
    "given": DAY,
    "first": "[a-z ]+",
    "second": "[a-z ]+",
}


def _draw_upgrade(rng: random.Random) -> Facts:
    return {
        "old": f"{rng.randrange(900, 4_000, 50) / 100:.2f}",
        "new": f"{rng.randrange(4_500, 19_900, 50) / 100:.2f}",
        "day": str(rng.randint(3, 28)),
        "percent": str(rng.choice((5, 10, 15, 20))),
    }


def _work_upgrade(facts: Facts, slips: Slips) -> str:
    days_left = 30 - int(facts["day"]) + (0 if "day of change" in slips else 1)
    old = Decimal(0) if "old price" in slips else Decimal(facts["old"])
    amount = (Decimal(facts["new"]) - old) * days_left / 30
    if "discount" not in slips:
        amount *= 1 - Decimal(facts["percent"]) / 100
    return usd(amount)


def _draw_refund(rng: random.Random) -> Facts:
    delivered = date(2026, 1, 5) + timedelta(rng.randrange(300))
    first, second = rng.sample(PRODUCTS, 2)
    return {
        "delivered": str(delivered),
        "asked": str(delivered + timedelta(rng.randint(3, 34))),
        "window": str(rng.choice((14, 30, 30, 45))),
        "first": first,
        "second": second,
        "count": str(rng.randint(2, 5)),
        "price": f"{rng.randrange(900, 9_000, 5) / 100:.2f}",
        "opened": f"{rng.randrange(2_000, 20_000, 5) / 100:.2f}",
        "fee": str(rng.choice((10, 15, 20, 25))),
        "shipping": f"{rng.randrange(300, 1_500, 5) / 100:.2f}",
    }


def _work_refund(facts: Facts, slips: Slips) -> str:
    age = date.fromisoformat(facts["asked"]) - date.fromisoformat(facts["delivered"])
    if age.days > int(facts["window"]) and "window" not in slips:
        return usd(Decimal(0))
    kept = Decimal(1) if "fee" in slips else 1 - Decimal(facts["fee"]) / 100
    count = 1 if "count" in slips else int(facts["count"])
    shipping = Decimal(facts["shipping"]) if "shipping" in slips else Decimal(0)
    return usd(Decimal(facts["price"]) * count + Decimal(facts["opened"]) * kept + shipping)


def _draw_credit(rng: random.Random) -> Facts:
    return {
        "fee": f"{rng.randrange(5_000, 90_000, 50) / 100:.2f}",
        "days": str(rng.choice((28, 30, 31))),
        "down": str(rng.choice((20, 60, 200, 440, 460, 900, 1_600, 2_200, 2_300, 3_000))),
        "planned": str(rng.choice((0, 15, 30, 120))),
    }


def _work_credit(facts: Facts, slips: Slips) -> str:
    planned = 0 if "planned" in slips else int(facts["planned"])
    down = max(0, int(facts["down"]) - planned)
    days = 30 if "days" in slips else int(facts["days"])
    share = Decimal(down) / (days * 24 * 60) * 100
    steps = [(Decimal("0.1"), 0), (Decimal(1), 10), (Decimal(5), 25)]
    percent = next((percent for limit, percent in steps if share <= limit), 50)
    if "step" in slips:
        percent = {0: 10, 10: 25, 25: 50, 50: 25}[percent]
    return usd(Decimal(facts["fee"]) * percent / 100)


def _draw_notice(rng: random.Random) -> Facts:
    renews = date(2026, 2, 1) + timedelta(rng.randrange(300))
    return {
        "renews": str(renews),
        "notice": str(rng.choice((14, 30, 60))),
        "given": str(renews - timedelta(rng.choice((5, 13, 14, 15, 29, 30, 31, 45, 60, 61, 75)))),
        "term": str(rng.choice((90, 180, 365))),
    }


def _work_notice(facts: Facts, slips: Slips) -> str:
    renews, given = date.fromisoformat(facts["renews"]), date.fromisoformat(facts["given"])
    in_time = (renews - given).days >= int(facts["notice"])
    end = renews if in_time != ("deadline" in slips) else renews + timedelta(int(facts["term"]))
    return str(end if "last day" in slips else end - timedelta(days=1))


def _draw_seats(rng: random.Random) -> Facts:
    return {
        "seats": str(rng.randint(12, 90)),
        "low": f"{rng.randrange(900, 1_500, 5) / 100:.2f}",
        "middle": f"{rng.randrange(600, 895, 5) / 100:.2f}",
        "high": f"{rng.randrange(300, 595, 5) / 100:.2f}",
        "percent": str(rng.choice((5, 8, 12, 15))),
        "credit": f"{rng.randrange(500, 5_000, 5) / 100:.2f}",
    }


def _work_seats(facts: Facts, slips: Slips) -> str:
    seats = int(facts["seats"])
    low, middle, high = (Decimal(facts[name]) for name in ("low", "middle", "high"))
    amount = low * min(seats, 10) + middle * min(max(seats - 10, 0), 30) + high * max(seats - 40, 0)
    if "steps" in slips:
        amount = seats * (middle if seats <= 40 else high)
    amount *= 1 if "months" in slips else 12
    if "discount" not in slips:
        amount *= 1 - Decimal(facts["percent"]) / 100
    return usd(amount if "credit" in slips else amount - Decimal(facts["credit"]))


POLICIES: tuple[Policy, ...] = (
    Policy(
        "I moved from a plan of USD {old} to one of USD {new} on day {day} of my 30-day cycle, "
        "and I hold a coupon of {percent} % on the charge.\n"
        "Policy: an upgrade is charged at once with the difference of the two prices, for the days "
        "left in the cycle, the day of the change included, over 30. Coupons come off last.\n"
        "What is the charge for the upgrade?",
        _draw_upgrade,
        _work_upgrade,
        ("day of change", "old price", "discount"),
    ),
    Policy(
        "My order came on {delivered} and on {asked} I asked to send it all back: {count} x "
        "{first} at USD {price} each, unopened, and one {second} at USD {opened}, opened. Shipping "
        "was USD {shipping}.\n"
        "Policy: returns are taken up to {window} days after delivery, later ones get USD 0.00. "
        "Opened items lose a restocking fee of {fee} %. Shipping is not refunded.\n"
        "What is the refund?",
        _draw_refund,
        _work_refund,
        ("fee", "shipping", "count", "window"),
    ),
    Policy(
        "I pay USD {fee} a month. Last month had {days} days and your service was down for {down} "
        "minutes, {planned} of them announced as planned work.\n"
        "Policy: planned work does not count. Downtime over 0.1 % of the month earns a credit of "
        "10 % of the fee, over 1 % earns 25 %, over 5 % earns 50 %. Only the highest applies.\n"
        "What is the credit?",
        _draw_credit,
        _work_credit,
        ("step", "planned", "days"),
    ),
    Policy(
        "My contract renews on {renews}. I gave notice on {given}.\n"
        "Policy: notice given at least {notice} days before the renewal date ends the contract on "
        "the day before that date. With later notice the contract renews once for {term} days and "
        "ends on the day before the next renewal date.\n"
        "What is the last day of the contract?",
        _draw_notice,
        _work_notice,
        ("deadline", "last day"),
    ),
    Policy(
        "We want {seats} seats for a year.\n"
        "Policy: each month the first 10 seats cost USD {low} each, the next 30 USD {middle} each, "
        "any more USD {high} each. Paying 12 months at once takes {percent} % off. Your credit of "
        "USD {credit} comes off last.\n"
        "What do we pay for the year?",
        _draw_seats,
        _work_seats,
        ("steps", "discount", "credit", "months"),
    ),
)

PATTERNS = tuple(_pattern(policy.text) for policy in POLICIES)
