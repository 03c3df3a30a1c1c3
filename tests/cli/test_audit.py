"""`cascade audit`: estimates and alarms from the audits in a ledger."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from cascade import Answer, Cascade, Path, Price, Tier
from cascade.auditing import Audit
from cascade.ledger import Ledger
from cascade.types import Request
from tests.cli.conftest import Cli


def write_ledger(wrong_from: int, calls: int, share: float = 1.0) -> None:
    """Calls on the path "live" whose accepted answers are wrong from some call on, all audited."""
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
        paths={"live": Path()},
        observers=[ledger],
        audit=Audit(share=share, labels=ledger, seed=1),
    )

    async def serve() -> None:
        for _ in range(calls):
            await made.run("secret question", path="live")
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


def test_nothing_audited_is_no_pass(cli: Cli) -> None:
    write_ledger(wrong_from=1, calls=2)
    done = cli("audit", "--ledger", "sqlite:ledger.db", "--cascade", "other")
    assert done.code == 3
    assert "no audits there" in done.err


def test_no_ledger_is_a_mistake(cli: Cli) -> None:
    done = cli("audit", "--ledger", "sqlite:nothing.db")
    assert done.code == 2
    assert "there is no ledger" in done.err
