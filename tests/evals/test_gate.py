from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from cascade.cli.gate_html import diagram, html
from cascade.errors import ConfigError
from cascade.evals.arms import (
    Arm,
    Entry,
    Pairs,
    paired,
    read_arm,
    replayed_arm,
    sampled_arms,
    tier_points,
)
from cascade.evals.gate import Method, Report, Settings, gate
from cascade.evals.gate_noise import noise
from cascade.evals.gate_view import as_dict, contents, junit, markdown, text
from cascade.evals.statistics import mcnemar, reliability, tango
from cascade.evals.statistics.arrays import cluster_codes
from cascade.evals.tune import Settings as Tuning
from cascade.evals.tune import tune
from tests.evals.recorded import lines, write


def sides(
    gains: int, losses: int, ties: int, slices: Mapping[int, tuple[str, ...]] | None = None
) -> Pairs:
    """A baseline and a candidate that differ on so many cases."""
    ours = [0.0] * gains + [1.0] * (losses + ties)
    theirs = [1.0] * gains + [0.0] * losses + [1.0] * ties
    return graded(ours, theirs, slices=slices)


def graded(
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    slices: Mapping[int, tuple[str, ...]] | None = None,
    cluster_size: int = 0,
    costs: tuple[float, float] = (0.01, 0.01),
) -> Pairs:
    def arm(name: str, grades: Sequence[float], cost: float) -> Arm:
        return Arm(
            name,
            {
                ("", "", f"q{i}"): Entry(
                    grade,
                    cost,
                    0.5,
                    f"answer {grade}",
                    slices=(slices or {}).get(i, ()),
                    cluster=str(i // cluster_size) if cluster_size else None,
                )
                for i, grade in enumerate(grades)
            },
        )

    return paired(arm("old", ours, costs[0]), arm("new", theirs, costs[1]))


def test_a_pass_is_a_proof() -> None:
    report = gate(sides(20, 22, 1158), Settings(within=0.02, confidence=0.9))
    d = [1.0] * 20 + [-1.0] * 22 + [0.0] * 1158
    test = tango(d, 0.02, 0.1)
    assert report.verdict == "PASS"
    assert report.overall.test == test
    assert report.overall.upper == -tango([-x for x in d], 0.02, 0.1).lower
    assert (report.overall.gains, report.overall.losses, len(report.losses)) == (20, 22, 22)
    assert f"at most {-test.lower:.2%} worse" in str(report.reasons[0])


def test_what_is_shown_to_be_better_is_called_so() -> None:
    report = gate(sides(60, 2, 738), Settings())
    assert report.overall.test is not None
    assert report.overall.test.lower > 0.05
    assert str(report.reasons[0]).startswith("overall: at least 6.11% better")


def test_a_fail_is_one_too() -> None:
    report = gate(sides(5, 30, 365), Settings())
    assert report.verdict == "FAIL"
    assert report.overall.worse_p == mcnemar(5, 30, alternative="worse")
    assert "the candidate is worse, by 6.25% on 400 cases" in str(report.reasons[0])


def test_between_the_two_it_says_what_it_takes() -> None:
    report = gate(sides(10, 10, 80), Settings(within=0.02))
    # (1.2816 + 0.8416)^2 * 0.2 / 0.02^2 = 2,254, of which there are 100.
    assert (report.verdict, report.overall.cases_needed) == ("INCONCLUSIVE", 2154)
    assert "it needs about 2,154 more" in str(report.reasons[0])
    more = gate(sides(225, 225, 1804), Settings(within=0.02))
    assert more.verdict == "PASS"


def test_one_case_proves_nothing() -> None:
    assert gate(graded([1.0], [1.0]), Settings()).verdict == "INCONCLUSIVE"
    assert gate(graded([1.0] * 20, [1.0] * 20), Settings()).verdict == "INCONCLUSIVE"
    assert gate(graded([1.0] * 200, [1.0] * 200), Settings()).verdict == "PASS"


def test_significantly_worse_within_the_margin_passes() -> None:
    report = gate(sides(100, 160, 49_740), Settings(within=0.02))
    assert report.overall.worse_p < 0.001
    assert (report.verdict, report.overall.finding) == ("PASS", "not worse")


def slices_of(n: int, **named: range) -> dict[int, tuple[str, ...]]:
    return {i: tuple(name for name, part in named.items() if i in part) for i in range(n)}


def test_a_slice_that_is_worse_fails_the_gate() -> None:
    # All losses in one small slice, which the whole does not show.
    by = slices_of(3000, small=range(40), big=range(40, 3000))
    report = gate(sides(0, 12, 2988, by), Settings())
    found = {one.name: one.finding for one in report.slices}
    assert found == {"small": "worse", "big": "not worse"}
    assert (report.verdict, report.overall.finding) == ("FAIL", "not worse")
    assert report.reasons[0].where == "slice small"


def test_holm_guards_many_slices() -> None:
    # 4 of 4 losses: p = 0.0625 alone; among 20 slices it is no evidence.
    by = {i: (f"s{i % 20}",) for i in range(4000)}
    losses = {i * 20 for i in range(4)}
    theirs = [0.0 if i in losses else 1.0 for i in range(4000)]
    report = gate(graded([1.0] * 4000, theirs, slices=by), Settings())
    (first,) = [one for one in report.slices if one.name == "s0"]
    assert (mcnemar(0, 4, alternative="worse"), first.worse_p) == (0.0625, 1.0)
    assert report.verdict != "FAIL"


def test_a_slice_is_proven_where_it_has_the_cases_or_is_named() -> None:
    by = slices_of(2000, small=range(1960, 2000), big=range(1960))
    pairs = sides(20, 20, 1960, by)
    report = gate(pairs, Settings())
    assert {one.name: one.finding for one in report.slices} == {
        "big": "not worse",
        "small": "too few cases",
    }
    assert report.verdict == "PASS"
    assert "too few cases: about" in text(report)
    for slices in (("small",), ("all",)):
        assert gate(pairs, Settings(slices=slices)).verdict == "INCONCLUSIVE"
    with pytest.raises(ConfigError, match="no slice tiny; they have big, small"):
        gate(pairs, Settings(slices=("tiny",)))


def test_grades_between_are_bet_on() -> None:
    dice = random.Random(1)
    ours = [dice.random() for _ in range(600)]
    theirs = [min(1.0, x + dice.gauss(0.01, 0.02)) for x in ours]
    report = gate(graded(ours, theirs), Settings())
    assert report.overall.test is not None
    assert (report.verdict, report.overall.test.method) == ("PASS", "betting")
    for size, verdict in ((3, "PASS"), (10, "INCONCLUSIVE")):  # 60 clusters hide 2 % of bad ones
        clustered = gate(graded(ours, theirs, cluster_size=size), Settings())
        assert clustered.overall.test is not None
        assert (clustered.verdict, clustered.overall.test.method) == (verdict, "betting")
    for method in ("auto", "betting", "t", "bootstrap"):
        settings = Settings(method=method)
        worse = graded(ours, [max(0.0, x - 0.1) for x in ours], cluster_size=10)
        assert gate(worse, settings).verdict == "FAIL"
        assert gate(graded(ours, theirs, cluster_size=3), settings).verdict == "PASS"
    with pytest.raises(ConfigError, match="no case for tango"):
        gate(graded(ours, theirs), Settings(method="tango"))


@pytest.mark.parametrize("method", ["auto", "betting", "t", "bootstrap"])
def test_a_few_grades_between_prove_nothing(method: Method) -> None:
    settings = Settings(method=method)
    better = gate(graded([0.8, 0.8, 0.8], [0.8, 0.8, 0.81]), settings)
    assert better.verdict == "INCONCLUSIVE"
    for theirs in ([0.1, 0.1], [0.1, 0.2]):
        assert gate(graded([0.8, 0.8], theirs), settings).verdict == "INCONCLUSIVE"
    # And so little is no proof in a slice either.
    by = {0: ("tiny",), 1: ("tiny",)}
    dice = random.Random(1)
    ours = [0.8] * 602
    theirs = [0.7, 0.7] + [0.8 + dice.gauss(0.01, 0.01) for _ in range(600)]
    report = gate(graded(ours, theirs, slices=by), settings)
    assert [one.finding for one in report.slices] == ["too few cases"]
    assert report.verdict == "PASS"


@pytest.mark.parametrize("method", ["t", "bootstrap"])
def test_grades_without_any_spread_prove_nothing(method: Method) -> None:
    for theirs in (0.9, 0.7):
        report = gate(graded([0.8] * 100, [theirs] * 100), Settings(method=method))
        assert (report.verdict, report.overall.test) == ("INCONCLUSIVE", None)


def test_a_slice_of_grades_between_that_is_worse_fails_the_gate_beside_others() -> None:
    dice = random.Random(4)
    by = {i: (f"s{i % 4}",) for i in range(1600)}
    ours = [dice.random() for _ in range(1600)]
    theirs = [max(0.0, x - 0.2) if i % 4 == 0 else min(1.0, x + 0.1) for i, x in enumerate(ours)]
    report = gate(graded(ours, theirs, slices=by), Settings())
    assert {one.name for one in report.slices if one.finding == "worse"} == {"s0"}
    assert (report.verdict, report.overall.finding) == ("FAIL", "not worse")


def test_few_clusters_prove_nothing_and_are_told() -> None:
    ours, theirs = [1.0] * 1900, [0.0] + [1.0] * 1899
    report = gate(graded(ours, theirs, cluster_size=100), Settings())
    assert (report.verdict, report.overall.test) == ("INCONCLUSIVE", None)
    assert "in 19 clusters, and a test takes 20" in str(report.reasons[0])
    bad = gate(graded(ours, [0.0] * 1900, cluster_size=1000), Settings())
    assert bad.verdict == "INCONCLUSIVE"


def test_two_losses_are_no_proof_in_clusters_or_with_weights_either() -> None:
    ours, theirs = [1.0] * 80, [0.0] * 2 + [1.0] * 78
    for pairs in (graded(ours, theirs, cluster_size=2), graded(ours, theirs)):
        assert gate(pairs, Settings()).overall.worse_p > 0.2
    assert gate(graded(ours, [0.0] * 30 + [1.0] * 50, cluster_size=2), Settings()).verdict == "FAIL"


def test_clusters_of_one_pair_each_are_none() -> None:
    assert graded([1.0] * 9, [1.0] * 9, cluster_size=1).clusters is None
    assert graded([1.0] * 9, [1.0] * 9, cluster_size=2).clusters is not None


def test_clusters_count_as_one_piece_of_luck() -> None:
    ours, theirs = [1.0] * 200, [0.0] * 10 + [1.0] * 190
    alone = gate(graded(ours, theirs), Settings(within=0.2)).overall
    together = gate(graded(ours, theirs, cluster_size=10), Settings(within=0.2)).overall
    assert alone.test is not None
    assert together.test is not None
    assert together.test.n < alone.test.n
    assert together.test.lower < alone.test.lower


@pytest.mark.parametrize(
    ("limit", "verdict"), [(None, "PASS"), (0.5, "PASS"), (0.2, "PASS"), (0.1, "FAIL")]
)
def test_cost_decides_when_it_is_asked_to(limit: float | None, verdict: str) -> None:
    pairs = graded([1.0] * 300, [1.0] * 300, costs=(0.01, 0.012))
    report = gate(pairs, Settings(max_cost_increase=limit))
    assert report.verdict == verdict
    assert report.cost.ratio == pytest.approx(1.2)
    free = gate(graded([1.0] * 300, [1.0] * 300, costs=(0, 1)), Settings(max_cost_increase=1))
    assert free.verdict == "FAIL"


def test_what_the_candidate_failed_on_is_not_passed_over() -> None:
    keys = [("", "", f"q{i}") for i in range(400)]
    whole = Arm("old", {key: Entry(1.0, 0.01) for key in keys})
    part = {key: Entry(1.0, 0.01) for key in keys[:360]}
    failed = Arm("new", part, frozenset(keys[360:]))
    report = gate(paired(whole, failed), Settings())
    assert report.verdict == "INCONCLUSIVE"
    assert "40 of 400 have no graded answer" in str(report.reasons[0])
    assert gate(paired(failed, whole), Settings()).verdict == "PASS"
    with pytest.raises(ConfigError, match="no case in common"):
        paired(whole, Arm("other", {}))


def test_a_slice_that_the_candidate_failed_on_is_not_passed_over() -> None:
    keys = [("", "", f"q{i}") for i in range(1000)]
    grades = {
        key: Entry(1.0, 0.01, slices=("hard" if i < 40 else "easy",)) for i, key in enumerate(keys)
    }
    whole = Arm("old", grades)
    part = Arm("new", {key: grades[key] for key in keys[40:]}, frozenset(keys[:40]))
    for settings in (Settings(), Settings(slices=("hard",))):
        report = gate(paired(whole, part), settings)
        assert (report.verdict, report.overall.finding) == ("INCONCLUSIVE", "not worse")
        assert "cases of slice hard: 40 of 40 have no graded answer" in str(report.reasons[0])
        assert "slice hard  0 " in text(report)
        assert "| slice hard | 0 |" in markdown(report)
        assert as_dict(report)["ungraded_by_slice"] == {"hard": 40}
        assert 'name="cases of slice hard"' in junit(report)
    # A slice that would have the cases is held to the rule of the whole: one of 20 may fail.
    for failed, verdict in ((40, "PASS"), (60, "INCONCLUSIVE")):
        slices = {key: Entry(1.0, 0.01, slices=("all",)) for key in keys}
        other = {key: Entry(1.0, 0.01) for key in keys[failed:]}
        assert gate(paired(Arm("old", slices), Arm("new", other)), Settings()).verdict == verdict


# --- files


def row(qid: str, tier: str, correct: float, **more: Any) -> dict[str, Any]:
    return {"qid": qid, "model": tier, "correct": correct, "cost_usd": 0.01, **more}


def test_an_arm_of_a_file(tmp_path: Path) -> None:
    path = write(
        tmp_path / "runs.jsonl",
        [
            row("a", "small", 1, slices=["x", "y"], escalations=1, latency_ms=500),
            row("b", "small", 0, slice="x", signals={"s": 0.5}),
            {"qid": "c", "model": "small", "outcome": "failed", "reason": "ServerError"},
            row("a", "large", 1),
        ],
    )
    arm = read_arm(path, "small")
    assert [entry.slices for entry in arm.entries.values()] == [("x", "y"), ("x",)]
    assert [entry.escalated for entry in arm.entries.values()] == [True, None]
    assert arm.failed == {("", "", "c")}
    assert tier_points(path) == {"small": (0.01, 0.5), "large": (0.01, 1.0)}
    with pytest.raises(ConfigError, match="name one of them"):
        read_arm(path)
    with pytest.raises(ConfigError, match="no tier 'medium'; it has small, large"):
        read_arm(path, "medium")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_arm(tmp_path / "gone.jsonl")
    write(path, [{"model": "small"}])
    with pytest.raises(ConfigError, match="line 1 lacks the field 'qid'"):
        read_arm(path)


def test_a_replayed_policy_is_an_arm(tmp_path: Path) -> None:
    from cascade.evals.runs import read_runs

    path = write(tmp_path / "runs.jsonl", lines(400, tasks=("qa", "sums")))
    runs = read_runs([path])
    policy = tune(runs, "large", Tuning(0.98))
    arm = replayed_arm(path, policy, name="policy")
    assert len(arm.entries) == 400
    assert any(entry.escalated for entry in arm.entries.values())
    report = gate(paired(read_arm(path, "large"), arm), Settings(within=0.1))
    assert report.cost.ratio is not None
    assert report.cost.ratio < 1
    assert report.escalation[1] is not None
    page = html(report, tier_points(path))
    assert "Are the candidate" in page


# --- the A/A check


def test_noise_of_two_runs_of_one_thing() -> None:
    dice = random.Random(2)
    ours = [float(dice.random() < 0.8) for _ in range(1500)]
    theirs = [x if dice.random() < 0.95 else 1 - x for x in ours]
    found = noise(graded(ours, theirs), Settings(), repeats=100)
    assert 0.02 < found.discordant < 0.08
    assert found.shares["FAIL"] <= 0.15
    assert sum(found.shares.values()) == pytest.approx(1)
    assert noise(graded(ours, theirs), Settings(), repeats=100) == found
    still = noise(graded(ours, ours), Settings(), repeats=5)
    assert (still.discordant, still.shares["PASS"]) == (0.0, 1.0)


@pytest.mark.parametrize("cluster_size", [0, 1, 3])
@pytest.mark.parametrize("step", [1.0, 0.5])
def test_the_check_of_noise_says_what_the_gate_says(cluster_size: int, step: float) -> None:
    dice = random.Random(6)
    by = {i: (f"s{i % 2}",) for i in range(300)}
    ours = [0.5] * 300
    theirs = [0.5 + dice.choice((-step, step)) * (dice.random() < 0.1) / 2 for _ in ours]
    pairs = graded(ours, theirs, slices=by, cluster_size=cluster_size)
    settings = Settings(within=0.1)
    found = noise(pairs, settings, repeats=1)
    verdicts = [verdict for verdict, share in found.shares.items() if share == 1]
    signs = np.random.default_rng(0).choice(
        (-1.0, 1.0), size=len(set(pairs.clusters or range(300)))
    )
    units = cluster_codes(pairs.clusters, 300)
    exchanged = [x + d for x, d in zip(ours, pairs.differences * signs[units], strict=True)]
    again = graded(ours, exchanged, slices=by, cluster_size=cluster_size)
    assert verdicts == [gate(again, settings).verdict]


def test_samples_that_prove_nothing_are_no_pass_of_the_check() -> None:
    # Clusters of one pair each, as of --samples 2: 60 right answers are too few for two points.
    found = noise(graded([1.0] * 60, [1.0] * 60, cluster_size=1), Settings(), repeats=20)
    assert (found.verdict, found.shares["INCONCLUSIVE"]) == ("INCONCLUSIVE", 1.0)


def test_samples_of_one_run_are_two_runs(tmp_path: Path) -> None:
    rows = [
        row(qid, "t", grade, sample=sample, cluster="a")
        for qid, sample, grade in [("a", 1, 1), ("a#2", 2, 0), ("a#3", 3, 1), ("b#1", 1, 0)]
    ]
    path = write(tmp_path / "runs.jsonl", rows)
    one, other = sampled_arms(path, None)
    assert [key[2] for key in one.entries] == ["a#1", "a#2", "b#1"]
    assert [key[2] for key in other.entries] == ["a#1"]
    with pytest.raises(ConfigError, match="one sample a case"):
        sampled_arms(write(path, rows[:1]), None)


# --- what is written


@pytest.fixture(params=["PASS", "FAIL", "INCONCLUSIVE"])
def report(request: pytest.FixtureRequest) -> Report:
    by = {i: (f"de|<b>{i % 2}\x01",) for i in range(1200)}
    pairs = {
        "PASS": sides(10, 12, 1178, by),
        "FAIL": sides(10, 60, 1130, by),
        "INCONCLUSIVE": sides(40, 52, 1108, by),
    }[request.param]
    found = gate(pairs, Settings(slices=("all",), max_cost_increase=0.1))
    assert found.verdict == request.param
    return found


def test_text_and_json(report: Report) -> None:
    shown = text(report)
    assert shown.startswith(f"{report.verdict}: new against old, within 2.00% at 90% confidence")
    assert f"answered worse ({len(report.losses)}): q" in shown
    assert "answer 1.0" not in shown
    found = json.loads(json.dumps(as_dict(report)))
    assert found["verdict"] == report.verdict
    assert found["answered_better"] == report.gains
    assert found["overall"]["worse"] == len(report.losses)
    assert "answer 1.0" not in json.dumps(found)
    told = list(contents(report))
    assert len(told) == len(report.losses) + len(report.gains)
    assert "'answer 0.0' became 'answer 1.0'" in told[0]


def test_junit_can_be_parsed(report: Report) -> None:
    (suite,) = ElementTree.fromstring(junit(report))  # noqa: S314 - written a line above
    cases = suite.findall("testcase")
    failures = [case.find("failure") for case in cases if case.find("failure") is not None]
    assert (suite.get("tests"), suite.get("failures")) == (str(len(cases)), str(len(failures)))
    assert len(cases) == 3
    assert bool(failures) == (report.verdict != "PASS")
    kinds = {failure.get("type") for failure in failures if failure is not None}
    assert ("worse" in kinds) == (report.verdict == "FAIL")


def test_markdown_cannot_be_broken_by_a_name(report: Report) -> None:
    shown = markdown(report)
    assert f"cascade gate: {report.verdict}" in shown
    assert "<b>" not in shown
    rows = [line for line in shown.splitlines() if line.startswith("| ")]
    assert all(line.replace("\\|", "").count("|") == 10 for line in rows)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone(report: Report) -> None:
    page = html(report, {"small": (0.001, 0.7), "large": (0.02, 0.9)})
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.seen.count("svg") == 2
    assert tags.seen.count("circle") == 3 + 4
    assert not {"script", "img", "link", "b0"} & set(tags.seen)
    assert f"{report.overall.difference:+.2%} (" in page
    assert "http" not in page
    assert "answer 1.0" not in page


def test_a_diagram_shows_the_range_that_scores_are_in() -> None:
    sure = reliability([0.97, 0.98, 0.99] * 40, [1.0] * 120, adaptive=True)
    assert ">0%<" not in diagram("sure", sure)
    wrong = reliability([0.97, 0.98, 0.99] * 40, [0.0] * 120, adaptive=True)
    assert ">0%<" in diagram("sure", wrong)
