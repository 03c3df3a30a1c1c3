"""`cascade demo` as a stranger runs it: the command in a process of its own, warnings as errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = "from cascade.cli import main; main()"
TIME_LIMIT_S = 60.0
MEASURED = ("measured_latency_s", "elapsed_s", "autocomplete", "speed", "concurrency")

Json = dict[str, Any]


def run_demo(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR", "NO_COLOR")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, "demo", *options],
        cwd=ROOT,
        env={**kept, "PYTHONUTF8": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIME_LIMIT_S,
    )


def figures(*options: str) -> Json:
    done = run_demo("--json", *options)
    assert done.returncode == 0, done.stderr
    parsed: Json = json.loads(done.stdout)
    return parsed


@pytest.fixture(scope="module")
def report() -> Json:
    return figures("--requests", "60", "--speed", "50")


@pytest.fixture(scope="module")
def shown() -> subprocess.CompletedProcess[str]:
    return run_demo("--requests", "60", "--speed", "50")


def without_measurements(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_measurements(v) for k, v in value.items() if k not in MEASURED}
    return value


def test_it_works_and_says_that_its_models_are_simulated(
    report: Json, shown: subprocess.CompletedProcess[str]
) -> None:
    assert shown.returncode == 0
    assert report["simulated"] is True
    assert report["label"].startswith("simulated models: ")
    assert shown.stdout.startswith("simulated models: ")
    assert "Traceback" not in shown.stdout + shown.stderr


def test_the_bill_adds_up_exactly(report: Json) -> None:
    cascade = report["cascade"]
    bills = [Decimal(tier["cost_usd"]) for tier in cascade["tiers"]]
    assert sum(bills, Decimal(0)) == Decimal(cascade["cost_usd"])
    assert Decimal(cascade["cost_per_1000_usd"]) * report["requests"] == 1000 * sum(bills)
    # The cascade asks the small tier everything, so that tier's bill is the same in both runs.
    assert bills[0] == Decimal(report["alone"]["small"]["cost_usd"])


def test_each_request_is_counted_once(report: Json) -> None:
    cascade, requests = report["cascade"], report["requests"]
    tiers = cascade["tiers"]
    assert sum(tier["accepted"] for tier in tiers) + cascade["unanswered"] == requests
    shares = [tier["share_of_requests"] for tier in tiers]
    assert sum(shares) + cascade["unanswered_share"] == pytest.approx(1)
    assert sum(report["workload"].values()) == requests
    assert sum(kind["of"] for kind in cascade["accuracy_by_kind"].values()) == requests
    assert (
        sum(tier["accuracy_when_accepted"]["right"] for tier in tiers)
        == (cascade["accuracy"]["right"])
    )


def test_every_rejection_has_a_reason(report: Json) -> None:
    cascade = report["cascade"]
    asked = sum(tier["asked"] for tier in cascade["tiers"])
    accepted = sum(tier["accepted"] for tier in cascade["tiers"])
    assert sum(cascade["rejections"].values()) == asked - accepted > 0
    assert cascade["tiers"][1]["asked"] == round(cascade["escalation_rate"] * report["requests"])


def test_the_cascade_is_cheaper_than_the_large_model_and_right_more_often_than_the_small_one(
    report: Json,
) -> None:
    alone = report["alone"]
    ours, large = (Decimal(run["cost_usd"]) for run in (report["cascade"], alone["large"]))
    assert report["saved_against_large"] == pytest.approx(float(1 - ours / large))
    assert ours < large / 2
    assert report["cascade"]["accuracy"]["right"] > alone["small"]["accuracy"]["right"]


def test_the_path_with_a_budget_accounts_for_every_call(report: Json) -> None:
    path = report["autocomplete"]
    ends = ("accepted_in_time", "rejected_in_time", "stopped_at_the_deadline")
    assert sum(path[end] for end in ends) == path["requests"] == 40
    assert path["calls_of_unknown_cost"] <= path["stopped_at_the_deadline"]


def test_latencies_are_ordered(report: Json) -> None:
    for run in (report["cascade"], *report["alone"].values()):
        latency = run["measured_latency_s"]
        assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]


def test_the_same_seed_gives_the_same_figures_at_any_pace(report: Json) -> None:
    again = figures("--requests", "60", "--speed", "200", "--concurrency", "3")
    assert without_measurements(again) == without_measurements(report)


def test_another_seed_gives_other_tickets(report: Json) -> None:
    other = figures("--requests", "60", "--speed", "200", "--seed", "1")
    assert other["cascade"]["cost_usd"] != report["cascade"]["cost_usd"]


def test_the_report_fits_80_columns_and_holds_no_control_codes(
    shown: subprocess.CompletedProcess[str],
) -> None:
    assert "\x1b" not in shown.stdout + shown.stderr
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "…" not in shown.stdout


def test_the_report_shows_the_figures_that_the_json_holds(
    report: Json, shown: subprocess.CompletedProcess[str]
) -> None:
    assert f"{report['saved_against_large']:.1%}".replace("%", " % saved") in shown.stdout
    for tier in report["cascade"]["tiers"]:
        assert f"${Decimal(tier['cost_usd']).normalize():f}" in shown.stdout
    assert "One request's story: lookup, accepted at once" in shown.stdout
    assert "cascade init" in shown.stdout


def test_progress_stays_on_stderr(shown: subprocess.CompletedProcess[str]) -> None:
    assert "cascade: sending 60 requests" in shown.stderr
    assert "sending" not in shown.stdout


def test_colour_is_off_where_the_user_says_so() -> None:
    options = ("--requests", "1", "--speed", "1000", "--live")
    assert "\x1b[32m" in run_demo(*options, TERM="xterm").stderr
    assert "\x1b[32m" not in run_demo(*options, TERM="xterm", NO_COLOR="1").stderr


def test_one_request_is_enough() -> None:
    report = figures("--requests", "1", "--speed", "1000")
    assert report["cascade"]["accuracy"]["of"] == 1


def test_output_without_unicode_is_no_trouble() -> None:
    done = run_demo("--requests", "1", "--speed", "1000", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "option",
    [
        ("--requests", "0"),
        ("--concurrency", "0"),
        ("--speed", "0"),
        ("--speed", "nan"),
        ("--speed", "inf"),
        ("--seed", "-1"),
    ],
    ids=" ".join,
)
def test_a_value_that_cannot_work_is_refused(option: tuple[str, str]) -> None:
    done = run_demo(*option)
    assert done.returncode != 0
    assert done.stdout == ""
    assert option[0] in done.stderr
    assert "Traceback" not in done.stderr


def test_the_documented_figures_are_those_of_the_command() -> None:
    page = (ROOT / "docs" / "demo.md").read_text(encoding="utf-8").splitlines()
    done = run_demo("--speed", "500")
    assert done.returncode == 0, done.stderr
    counted = done.stdout.partition("Who answered")[2].partition("A path that cannot wait")[0]
    headline = [line for line in done.stdout.splitlines() if " saved: " in line]
    lines = [line.rstrip() for line in (*counted.splitlines()[1:], *headline)]
    assert len(lines) > 15
    assert [line for line in lines if line not in page] == []
