from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade.errors import ConfigError
from cascade.evals.answers import folds_of
from cascade.evals.arms import read_arm, replayed_arm
from cascade.evals.explicit import ladder_policy
from cascade.evals.measures import bootstrap
from cascade.evals.runs import read_runs
from tests.evals.recorded import lines, write


def row(qid: str, model: str, **other: Any) -> dict[str, Any]:
    return {"qid": qid, "model": model, "correct": 1, "cost_usd": 0.1, **other}


def test_a_row_a_query_and_a_column_a_tier(tmp_path: Path) -> None:
    runs = read_runs([write(tmp_path / "r", lines(5))])
    assert runs.tiers == ("small", "medium", "large")  # by mean cost
    assert runs.correct.shape == runs.cost_usd.shape == runs.signals["sure"].shape == (5, 3)
    assert runs.slice_by is None
    assert set(runs.slices) == {""}


def test_gzip_and_several_files_read_alike(tmp_path: Path) -> None:
    rows = lines(6)
    plain = read_runs([write(tmp_path / "plain", rows)])
    zipped = tmp_path / "half.gz"
    zipped.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows[:9]).encode()))
    both = read_runs([zipped, write(tmp_path / "rest", rows[9:])])
    assert both.keys == plain.keys
    assert both.sha256() == plain.sha256()


def test_queries_that_a_tier_has_not_run_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = [row("1", "a"), row("1", "b"), row("2", "a"), row("3", "b")]
    runs = read_runs([write(tmp_path / "r", rows)])
    assert [key[2] for key in runs.keys] == ["1"]
    assert runs.dropped == 2
    alone = read_runs([tmp_path / "r"], tiers=["a"])
    assert len(alone) == 2
    assert alone.dropped == 0


def test_the_last_of_two_lines_counts(tmp_path: Path) -> None:
    rows = [row("1", "a"), row("1", "a", correct=0)]
    runs = read_runs([write(tmp_path / "r", rows)])
    assert runs.duplicates == 1
    assert runs.correct.tolist() == [[0.0]]


def test_the_same_id_in_two_tasks_is_two_queries_and_tasks_are_the_slices(tmp_path: Path) -> None:
    rows = [row("1", "a", task="x"), row("1", "a", task="y")]
    runs = read_runs([write(tmp_path / "r", rows)])
    assert runs.slices == ("x", "y")
    assert runs.slice_by == "task"


def test_a_slice_of_its_own_goes_before_the_task(tmp_path: Path) -> None:
    rows = [row("1", "a", task="x", slice="easy"), row("2", "a", task="y")]
    runs = read_runs([write(tmp_path / "r", rows)])
    assert runs.slices == ("easy", "")
    assert runs.slice_by == "slice"
    assert read_runs([tmp_path / "r"], slice_by="task").slices == ("x", "y")


def test_filters(tmp_path: Path) -> None:
    rows = [row(str(i), "a", task="xyz"[i % 3], split="tune") for i in range(9)]
    file = write(tmp_path / "r", rows)
    assert len(read_runs([file], where={"task": ["x", "y"]})) == 6
    with pytest.raises(ConfigError, match="no run that passes the filters"):
        read_runs([file], where={"split": ["test"]})


def test_missing_signals_are_nan_and_minus_infinity_is_a_value(tmp_path: Path) -> None:
    rows = [
        row("1", "a", signals={"s": None}),
        row("2", "a", signals={"s": "-inf"}),
        row("3", "a"),
        row("4", "a", signals={"s": -1.5}),
    ]
    values = read_runs([write(tmp_path / "r", rows)]).signals["s"][:, 0]
    assert np.isnan(values[[0, 2]]).all()
    assert values[[1, 3]].tolist() == [-math.inf, -1.5]


def test_an_answer_that_failed_a_hard_validator_is_not_right(tmp_path: Path) -> None:
    rows = [row(str(i), "a", schema_ok=ok) for i, ok in enumerate((False, 0, True, None))]
    file = write(tmp_path / "r", rows)
    assert read_runs([file]).correct[:, 0].tolist() == [0, 0, 1, 1]
    assert [entry.correct for entry in read_arm(file).entries.values()] == [0, 0, 1, 1]


def test_a_query_without_a_cluster_stands_for_itself(tmp_path: Path) -> None:
    rows = [row(str(i), "a", **({"cluster": f"c{i // 2}"} if i < 40 else {})) for i in range(400)]
    runs = read_runs([write(tmp_path / "r", rows)])
    assert runs.clusters is not None
    assert np.bincount(runs.clusters).tolist() == [2] * 20 + [1] * 360
    assert np.bincount(folds_of(runs, 5, 0)).tolist() == pytest.approx([80] * 5, abs=2)
    means = bootstrap(runs, np.arange(400.0)[:, None], 0)[:, 0]
    assert float(means.std()) == pytest.approx(400 / math.sqrt(12 * 400), rel=0.15)
    policy = ladder_policy(runs, ("a",), {})
    clusters = [
        one.cluster for one in replayed_arm(tmp_path / "r", policy, name="p").entries.values()
    ]
    assert len(set(clusters)) == 380


def test_a_line_of_weight_0_counts_for_nothing(tmp_path: Path) -> None:
    rows = [row(str(i), "a", weight=float(i > 1), slice="xy"[i > 1]) for i in range(4)]
    file = write(tmp_path / "r", rows)
    runs = read_runs([file])
    assert runs.weights.tolist() == [1, 1]
    assert set(runs.slices) == {"y"}
    assert len(read_arm(file).entries) == 2
    with pytest.raises(ConfigError, match=r"no run that .* has a weight above 0"):
        read_runs([write(file, rows[:1])])


def test_a_field_that_is_null_is_left_out(tmp_path: Path) -> None:
    rows = [row("1", "a", signals=None, versions=None, slices=None, sample=None, cluster=None)]
    file = write(tmp_path / "r", rows)
    assert read_runs([file]).signals == {}
    assert read_arm(file).entries["", "", "1"].slices == ()


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "r.gz"
    whole = gzip.compress("".join(json.dumps(r) + "\n" for r in lines(50)).encode())
    for damaged in (whole[:100], whole[:40] + b"\xff" * 40 + whole[80:]):
        file.write_bytes(damaged)
        for read in (lambda: read_runs([file]), lambda: read_arm(file)):
            with pytest.raises(ConfigError, match="cannot be read"):
                read()


def test_answers_are_the_same_number_where_they_are_the_same(tmp_path: Path) -> None:
    rows = [row("1", "a", answer="x"), row("1", "b", answer="x"), row("2", "a"), row("2", "b")]
    runs = read_runs([write(tmp_path / "r", rows)])
    assert runs.answers[0, 0] == runs.answers[0, 1] >= 0
    assert runs.answers[1].tolist() == [-1, -1]
    assert runs.answer_texts == ("x",)


def test_versions_of_validators_are_kept_and_two_of_one_refused(tmp_path: Path) -> None:
    old = row("1", "a", signals={"judge": 1, "sure": 1}, versions={"judge": "1"})
    new = row("2", "a", signals={"judge": 1, "sure": 1}, versions={"judge": "2"})
    assert read_runs([write(tmp_path / "old", [old])]).versions == {"judge": "1"}
    both = write(tmp_path / "both", [old, new])
    with pytest.raises(ConfigError, match="two versions of 'judge', 1 and 2"):
        read_runs([both])
    assert read_runs([both], signals=["sure"]).versions == {}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"model": "a", "correct": 1, "cost_usd": 0}', "line 2 lacks the field 'qid'"),
        ('{"qid": 1, "model": "a", "correct": 2, "cost_usd": 0}', "correct is 2.0"),
        ('{"qid": 1, "model": "a", "correct": 1, "cost_usd": -1}', "is -1.0"),
        ('{"qid": 1, "model": "a", "correct": 1, "cost_usd": null}', "line 2 is no recorded run"),
        ("[]", "line 2 is no recorded run"),
        ("nonsense", "line 2 is no recorded run"),
        (
            '{"qid": 1, "model": "a", "correct": 1, "cost_usd": 0, "signals": [1]}',
            r"signals is \[1\]; it must be an object",
        ),
        ('{"qid": ' + "[" * 5000 + "]" * 5000 + "}", "line 2 is no recorded run"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    file = write(tmp_path / "r", [row("1", "a")])
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(ConfigError, match=words):
        read_runs([file])
    with pytest.raises(ConfigError, match=words):
        read_arm(file)


def test_what_is_not_there_is_named_with_what_is(tmp_path: Path) -> None:
    file = write(tmp_path / "r", [row("1", "a", signals={"s": 1}), row("2", "b")])
    with pytest.raises(ConfigError, match="no tier c; they have a, b"):
        read_runs([file], tiers=["a", "c"])
    with pytest.raises(ConfigError, match="no query was run by every one of the tiers a, b"):
        read_runs([file])
    with pytest.raises(ConfigError, match="no signal t; they have s"):
        read_runs([file], tiers=["a"], signals=["t"])
    with pytest.raises(ConfigError, match="named twice"):
        read_runs([file], tiers=["a", "a"])
    with pytest.raises(ConfigError, match="cannot be read"):
        read_runs([tmp_path / "none"])
