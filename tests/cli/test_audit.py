"""`cascade audit`: estimates and alarms from the audits in a ledger."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from cascade import Answer, Cascade, Context, Path, Price, Tier, Usage
from cascade.auditing import Audit
from cascade.ledger import Ledger
from cascade.types import Request
from cascade.validation import Check
from tests.cli.conftest import Cli


def write_ledger(wrong_from: int, calls: int, share: float = 1.0, path: str = "live") -> None:
    """Calls on a path whose accepted answers are wrong from some call on, a share audited."""
    ledger = Ledger("sqlite:ledger.db")
    said = iter(range(calls))

    async def small(request: Request) -> Answer[str]:
        return Answer("right" if next(said) < wrong_from else "wrong")

    async def large(request: Request) -> Answer[str]:
        return Answer("right")

    made = Cascade(
        name="support",
        tiers=[
            Tier("small", call=small, price=Price.free()),
            Tier("large", call=large, price=Price.free()),
        ],
        paths={path: Path()},
        observers=[ledger],
        audit=Audit(share=share, labels=ledger, seed=1),
    )

    async def serve() -> None:
        for _ in range(calls):
            await made.run("secret question", path=path)
            assert made.auditor is not None
            await made.auditor.catch_up()

    anyio.run(serve)
    assert ledger.close()


def estimates(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text)
    return found


def test_all_well(cli: Cli) -> None:
    write_ledger(wrong_from=95, calls=100)
    done = cli("audit", "--ledger", "sqlite:ledger.db", "--within", "0.2")
    assert (done.code, done.err) == (0, "")
    assert "live" in done.out
    assert "95.0%" in done.out
    done = cli("audit", "--ledger", "sqlite:ledger.db", "--json", "--cascade", "support")
    [estimate] = estimates(done.out)
    assert (estimate["path"], estimate["tier"], estimate["count"]) == ("live", "small", 100)
    assert estimate["quality"] == pytest.approx(0.95)
    assert estimate["quality_low"] < 0.95 < estimate["quality_high"]


def test_a_drift_is_told_and_ends_with_1(cli: Cli) -> None:
    write_ledger(wrong_from=100, calls=200)
    done = cli("audit", "--ledger", "sqlite:ledger.db")
    assert done.code == 1
    assert "DRIFT" in done.out
    assert "tier 'small' on path 'live' drifted" in done.err
    assert "secret" not in done.out + done.err


def test_a_share_stands_for_all(cli: Cli) -> None:
    write_ledger(wrong_from=300, calls=400, share=0.3)
    done = cli("audit", "--ledger", "sqlite:ledger.db", "--json", "--within", "0.5")
    [estimate] = estimates(done.out)
    assert 80 < estimate["count"] < 160
    assert estimate["quality"] == pytest.approx(0.75, abs=0.1)


def test_a_path_that_is_rarely_audited_changes_nothing_of_another(cli: Cli) -> None:
    def live() -> dict[str, Any]:
        found = estimates(cli("audit", "--ledger", "sqlite:ledger.db", "--json").out)
        return next(one for one in found if one["path"] == "live")

    write_ledger(wrong_from=100, calls=130)
    alone = live()
    write_ledger(wrong_from=400, calls=400, share=0.02, path="rare")
    assert alone["has_drifted"]
    assert live() == alone
    write_ledger(wrong_from=0, calls=10, share=0.4)  # the share of the path itself has changed
    assert live()["count"] > alone["count"]


def test_nothing_audited_is_no_pass(cli: Cli) -> None:
    write_ledger(wrong_from=1, calls=2)
    done = cli("audit", "--ledger", "sqlite:ledger.db", "--cascade", "other")
    assert done.code == 3
    assert "no audits there" in done.err


def test_no_ledger_is_a_mistake(cli: Cli) -> None:
    done = cli("audit", "--ledger", "sqlite:nothing.db")
    assert done.code == 2
    assert "there is no ledger" in done.err


def test_labels_of_audits_feed_the_next_tune(cli: Cli) -> None:
    ledger = Ledger("sqlite:ledger.db")
    price = Price(input=1, output=1)

    async def small(request: Request) -> Answer[str]:
        number = int(request.messages[0]["content"])
        return Answer(f"{'wrong' if number % 5 == 0 else 'right'} {number}", usage=Usage(10, 10))

    async def large(request: Request) -> Answer[str]:
        return Answer(f"right {request.messages[0]['content']}", usage=Usage(100, 100))

    def sure(answer: Answer[Any], context: Context) -> float:
        word, number = str(answer.text).split()
        return 0.0 if int(number) % 10 == 1 else 0.6 if word == "wrong" else 0.9

    made = Cascade(
        name="support",
        tiers=[Tier("small", call=small, price=price), Tier("large", call=large, price=price)],
        validators=[Check("sure", sure, at=0.5).for_tiers("small")],
        observers=[ledger],
        audit=Audit(share=1.0, labels=ledger),
    )

    async def serve() -> None:
        for number in range(200):
            await made.run(str(number))
        assert made.auditor is not None
        await made.auditor.catch_up()

    anyio.run(serve)
    assert ledger.close()
    where = ("--ledger", "sqlite:ledger.db")
    done = cli("ledger", "export", *where, "--strongest", "large", "--runs", "runs.jsonl")
    assert done.code == 0, done.err
    assert "360 rows of 180 calls" in done.out  # 20 were not accepted, and escalated
    done = cli("tune", "runs.jsonl", "--tiers", "small,large", "-o", "policy.json")
    assert done.code == 0, done.err
    replayed = json.loads(cli("replay", "runs.jsonl", "--policy", "policy.json", "--json").out)
    assert replayed["accuracy"] == 1.0
    assert replayed["relative_cost"] < 0.5
