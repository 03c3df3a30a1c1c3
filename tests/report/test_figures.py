"""The figures of a report, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cascade.ledger import Ledger
from cascade.report.figures import Figures, Share
from cascade.report.gathering import figures_of
from tests.postgres import PostgresServer
from tests.report.ledgers import attempt, call, figures, usd
from tests.report.week import record_week

GOOD, BAD = "accepted", "rejected"


def test_money_is_exact_and_by_tier_path_and_tenant(tmp_path: Path) -> None:
    found = figures(
        tmp_path,
        [
            call(0, attempt("small", GOOD, 1), path="p", tenant="acme"),
            call(1, attempt("small", BAD, 2), attempt("large", GOOD, 2), path="p"),
            call(2, attempt("small", GOOD, 3), tenant="acme"),
        ],
    )
    assert found.totals.bill.cost_usd == usd("26")  # 1 + (2 + 20) + 3
    assert (found.totals.bill.count, found.totals.bill.unknown) == (3, 0)
    assert found.totals.bill.mean_usd == pytest.approx(26 / 3)
    by_path = {path.path: path.bill.cost_usd for path in found.paths}
    assert by_path == {"p": usd("23"), None: usd("3")}
    assert {tenant: bill.cost_usd for tenant, bill in found.tenants} == {
        "acme": usd("4"),
        None: usd("22"),
    }
    assert {tier: bill.cost_usd for tier, bill in found.tier_bills} == {
        "small": usd("6"),
        "large": usd("20"),
    }


def test_a_call_in_a_call_is_paid_once(tmp_path: Path) -> None:
    outer = call(0, attempt("small", GOOD, 1), attempt("large", GOOD, 5))
    inner = call(1, attempt("large", GOOD, 5), parent="id-0", cascade="inner")
    found = figures(tmp_path, [outer, inner])
    assert (found.totals.requests, found.totals.nested) == (1, 1)
    assert found.totals.bill.cost_usd == usd("51")


def test_an_unknown_cost_is_a_lower_bound_and_is_counted(tmp_path: Path) -> None:
    found = figures(
        tmp_path,
        [call(0, attempt("small", "timed_out", None), attempt("large", GOOD, 1)),
         call(1, attempt("small", GOOD, 1))],
    )  # fmt: skip
    assert found.totals.bill.cost_usd == usd("11")
    assert found.totals.bill.unknown == 1
    assert found.totals.bill.mean_usd == 1.0
    assert (found.gaps.unknown_costs.count, found.gaps.unknown_costs.of) == (1, 2)


def test_escalation_by_path_and_tier_and_why(tmp_path: Path) -> None:
    results = [call(n, attempt("small", GOOD, 1), path="p") for n in range(6)]
    results += [
        call(n, attempt("small", BAD, 1), attempt("large", GOOD, 1), path="p") for n in range(6, 9)
    ]
    results.append(call(9, attempt("small", "failed", 1), attempt("large", GOOD, 1), path="p"))
    found = figures(tmp_path, results)
    assert found.totals.escalated == Share.made(4, 10)
    small, large = found.tiers
    assert (small.tier, small.asked, small.accepted, small.escalated) == (
        "small",
        10,
        6,
        Share.made(4, 10),
    )
    assert (large.tier, large.asked, large.accepted) == ("large", 4, 4)
    assert [(s.tier, s.to, s.outcome, s.reason, s.count) for s in found.steps] == [
        ("small", "large", "rejected", "logprob:below_threshold", 3),
        ("small", "large", "failed", "ServerError", 1),
    ]
    [fault] = found.faults
    assert (fault.tier, fault.error, fault.attempts.count) == ("small", "ServerError", 1)


def test_quality_counts_labels_of_accepted_answers(tmp_path: Path) -> None:
    results = [call(n, attempt("small", GOOD, 1)) for n in range(10)]
    results.append(call(10, attempt("small", BAD, 1), attempt("large", GOOD, 1)))
    labels = {f"id-{n}": n != 3 for n in range(8)} | {"id-10": True, "nobody": True}
    found = figures(tmp_path, results, labels)
    assert found.totals.correct == Share.made(8, 9)
    by_tier = {one.name: (one.correct, one.calls) for one in found.tier_quality}
    assert by_tier == {"small": (Share.made(7, 8), 10), "large": (Share.made(1, 1), 1)}
    assert (found.gaps.unlabelled.count, found.gaps.unlabelled.of) == (2, 11)
    assert found.gaps.orphan_labels == 1


def test_latency_against_budget_and_by_escalation(tmp_path: Path) -> None:
    results = [
        call(n, attempt("small", GOOD, 1), path="p", budget_s=2.0, latency_s=0.1 * (n + 1))
        for n in range(10)
    ]
    slow = attempt("small", BAD, 1), attempt("large", GOOD, 1)
    results.append(call(10, *slow, path="p", budget_s=2.0, latency_s=3.0))
    [path] = figures(tmp_path, results).paths
    assert path.direct_calls.calls == 10
    assert path.direct_calls.p50_s == pytest.approx(0.5)
    assert path.escalated_calls.p50_s == 3.0
    assert path.latency.p99_s == 3.0
    assert path.budget is not None
    assert path.budget.kept == Share.made(10, 11)


def test_the_saving_is_a_range_of_two_assumptions(tmp_path: Path) -> None:
    """Three cheap answers that read and wrote 1 M tokens; twenty-four of the large tier."""
    results = [call(n, attempt("small", GOOD, 1, written=1)) for n in range(3)]
    sizes = [(1 + n % 3, 1 + n % 2) for n in range(24)]
    for n, (read, written) in enumerate(sizes, 3):
        large = attempt("large", GOOD, read, written=written)
        results.append(call(n, attempt("small", BAD, 1), large))
    saving = figures(tmp_path, results).saving
    on_large = sum(10 * read + 20 * written for read, written in sizes)
    assert saving.actual_usd == pytest.approx(3 * 1 + 24 * 1 + on_large)
    # The three at the large tier's prices, or at the mean of its answers.
    assert saving.frontier_low_usd == pytest.approx(on_large + 3 * (10 + 20))
    assert saving.frontier_high_usd == pytest.approx(on_large + 3 * on_large / 24)
    assert saving.saved_low == pytest.approx(1 - (27 + on_large) / (on_large + 90))


def test_too_few_answers_of_the_strongest_tier_are_no_basis(tmp_path: Path) -> None:
    results = [call(n, attempt("small", GOOD, 1)) for n in range(3)]
    results.append(call(3, attempt("small", BAD, 4), attempt("large", GOOD, 4)))
    saving = figures(tmp_path, results).saving
    assert (saving.saved_low, saving.saved_high, saving.compared.count) == (None, None, 0)


def test_thresholds_are_judged_only_where_labels_bear_it(tmp_path: Path) -> None:
    results = []
    labels = {}
    for n in range(60):  # just above the threshold, and mostly wrong
        results.append(call(n, attempt("small", GOOD, 1, score=0.55)))
        labels[f"id-{n}"] = n % 5 == 0
    for n in range(60, 240):  # well above it, and right
        results.append(call(n, attempt("small", GOOD, 1, score=0.9)))
        labels[f"id-{n}"] = True
    for n in range(240, 300):
        results.append(
            call(n, attempt("small", BAD, 1, score=0.2), attempt("large", GOOD, 1, score=0.9))
        )
        labels[f"id-{n}"] = True
    found = {one.tier: one for one in figures(tmp_path, results, labels).thresholds}
    assert found["small"].finding == "too_loose"
    assert found["small"].near_wrong.count == 48
    few = figures_with_few_labels(tmp_path)
    assert few.finding == "too_few_labels"


def figures_with_few_labels(tmp_path: Path):  # type: ignore[no-untyped-def]
    folder = tmp_path / "few"
    folder.mkdir()
    results = [call(n, attempt("small", GOOD, 1, score=0.55)) for n in range(60)]
    results += [
        call(60 + n, attempt("small", BAD, 1), attempt("large", GOOD, 1)) for n in range(60)
    ]
    found = figures(folder, results, {"id-1": False})
    return next(one for one in found.thresholds if one.tier == "small")


@pytest.mark.parametrize("count", [0, 1])
def test_next_to_nothing_is_reported_all_the_same(tmp_path: Path, count: int) -> None:
    results = [call(n, attempt("small", GOOD, 1)) for n in range(count)]
    found = figures(tmp_path, results, {"nobody": True})
    assert found.totals.requests == count
    assert found.totals.bill.cost_usd == usd(str(count))


def test_one_cascade_of_several(tmp_path: Path) -> None:
    results = [
        call(0, attempt("small", GOOD, 1), cascade="one"),
        call(1, attempt("small", GOOD, 2), cascade="two"),
    ]
    found = figures(tmp_path, results, cascade="two")
    assert (found.cascade, found.totals.bill.cost_usd) == ("two", usd("2"))


def of_a_week(address: str) -> Figures:
    with Ledger(address) as ledger:
        record_week(ledger, 3000)
    with Ledger.open_for_reading(address) as reader:
        found = figures_of(reader)
        assert figures_of(reader) == found
    return found


def test_a_simulated_week_adds_up(tmp_path: Path) -> None:
    found = of_a_week(f"sqlite:{tmp_path / 'week.db'}")
    by_path = sum((path.bill.cost_usd for path in found.paths), usd("0"))
    by_tenant = sum((bill.cost_usd for _, bill in found.tenants), usd("0"))
    assert by_path == by_tenant == found.totals.bill.cost_usd
    calls = found.totals.requests + found.totals.nested
    assert sum(path.calls for path in found.paths) == calls
    assert sum(count for _, count in found.totals.endings) == found.totals.requests
    assert sum(bucket.requests for bucket in found.trend) == found.totals.requests


def rounded(value: Any) -> Any:
    """The same, with its floats to nine digits: SQLite estimates from sums of doubles."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def test_postgresql_says_the_same(tmp_path: Path, postgres: PostgresServer) -> None:
    one, other = (
        {**asdict(of_a_week(address)), "ledger": ""}
        for address in (f"sqlite:{tmp_path / 'week.db'}", postgres.new_database())
    )
    assert rounded(one) == rounded(other)


def test_postgresql_says_the_same_in_another_order(postgres: PostgresServer) -> None:
    """Its plans change with its statistics, and with them the order in which it adds."""
    address = postgres.new_database()
    before = of_a_week(address)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("UPDATE charges SET purpose = purpose WHERE call_seq % 3 = 0")
        connection.execute("UPDATE attempts SET tier = tier WHERE call_seq % 3 = 1")
        connection.execute("UPDATE calls SET path = path WHERE seq % 3 = 2")
        connection.execute("VACUUM FULL ANALYZE")
    with Ledger.open_for_reading(address) as reader:
        assert figures_of(reader) == before
