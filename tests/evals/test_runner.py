from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from cascade import Answer, Cap, Cascade, Price, Request, Spend, Tier
from cascade.errors import ConfigError, ServerError
from cascade.evals.answer_cache import AnswerCache, Stored, digest
from cascade.evals.cached_tier import CachedTier, Scope, scope
from cascade.evals.cases import Case
from cascade.evals.explicit import ladder_policy, plan_policy
from cascade.evals.graders import GraderSettings
from cascade.evals.replay import replay
from cascade.evals.runner import Eval, Row, Tally, check_prices, ladder, record_runs
from cascade.evals.runs import read_runs
from cascade.evals.summary import quality_interval, summarise
from cascade.policy import AnswerModel, Feature
from cascade.testing import Scripted
from cascade.types import TokenLogprob, ToolCall, Usage
from cascade.validation import Check, Validator
from cascade.validators import agreement, judge
from tests.evals.recorded import write

PRICE = Price(input=1_000_000, output=1_000_000)  # a dollar a token


def said(text: str, tokens: int = 1) -> Answer[str]:
    return Answer(text, usage=Usage(tokens, tokens), finish_reason="stop")


def cases(n: int = 2, expected: Any = "yes") -> list[Case]:
    return [Case(f"q{i}", Request(f"question {i}"), i + 1, expected) for i in range(n)]


_opened: list[AnswerCache] = []


def opened(path: Path, **options: Any) -> AnswerCache:
    """A cache that is closed after the test."""
    _opened.append(AnswerCache(path, **options))
    return _opened[-1]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


class Rig:
    """A ladder whose tiers play scripts behind a cache."""

    def __init__(self, folder: Path, validators: Sequence[Validator] = (), **scripts: Any) -> None:
        self.cache = opened(folder / "answers.db")
        self.scripts = {name: Scripted(*steps) for name, steps in scripts.items()}
        self.tiers = {
            name: CachedTier(Tier(name, call=script, price=PRICE), self.cache)
            for name, script in self.scripts.items()
        }
        self.cascade = Cascade(tiers=self.tiers.values(), validators=validators, name="c")

    async def run(self, what: Sequence[Case], **options: Any) -> tuple[list[Row], Tally]:
        rungs = () if options.pop("whole", False) else ladder(self.cascade, ())
        return await record_runs(Eval(self.cascade, rungs, **options), what)

    def asked(self) -> int:
        return sum(len(script.requests) for script in self.scripts.values())


lenient = Check("lenient", lambda answer, context: 0.4, at=0.1)
strict = Check("strict", lambda answer, context: False)


@pytest.mark.anyio
async def test_every_validator_judges_and_none_decides(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [lenient, strict], small=[said("no")], large=[said("yes", 3)])
    rows, tally = await rig.run(cases(1))
    small, large = rows
    assert (small["qid"], small["model"], small["correct"], small["cost_usd"]) == (
        "q0", "small", 0.0, 2.0
    )  # fmt: skip
    assert (large["correct"], large["cost_usd"], large["tok_in"], large["tok_out"]) == (
        1.0,
        6,
        3,
        3,
    )
    assert small["signals"] == {"lenient": 0.4, "strict": 0.0}
    assert (small["schema_ok"], small["accepted"], small["answer"]) == (0, False, "no")
    assert [v["status"] for v in small["verdicts"]] == ["passed", "failed"]
    assert (tally.sent, tally.usd) == (2, Decimal(8))


@pytest.mark.anyio
async def test_a_second_run_asks_nothing_and_makes_the_same_rows(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [lenient], small=[said("yes")], large=[said("yes")])
    first, _ = await rig.run(cases(5), samples=2)
    assert rig.asked() == 20
    second, tally = await rig.run(cases(5), samples=2)
    assert (rig.asked(), tally.sent, first == second) == (20, 0, True)
    others = Rig(tmp_path, [strict], small=[ServerError("down")], large=[ServerError("down")])
    graded, tally = await others.run(cases(5, "no"), grading=GraderSettings("contains"))
    assert (others.asked(), tally.sent) == (0, 0)
    assert all(row["signals"] == {"strict": 0.0} and row["correct"] == 0.0 for row in graded)


@pytest.mark.anyio
async def test_other_parameters_and_models_are_other_answers(tmp_path: Path) -> None:
    rig = Rig(tmp_path, small=[said("yes")], large=[said("yes")])
    await rig.run(cases(1))
    warm = [Case("q0", Request("question 0", temperature=1), 1, "yes")]
    await rig.run(warm)
    assert rig.asked() == 4


@pytest.mark.anyio
async def test_samples_are_clusters_of_their_case(tmp_path: Path) -> None:
    rig = Rig(tmp_path, small=[said("yes"), said("no")])
    rows, _ = await rig.run(cases(1), samples=2)
    assert [(row["qid"], row["cluster"], row["sample"]) for row in rows] == [
        ("q0", "q0", 1),
        ("q0#2", "q0", 2),
    ]
    assert sorted(row["correct"] for row in rows) == [0.0, 1.0]


@pytest.mark.anyio
async def test_paid_validators_are_billed_and_cached(tmp_path: Path) -> None:
    cache = opened(tmp_path / "answers.db")
    model, grader = Scripted(said("yes"), said("yes"), said("no")), Scripted(said('{"score": 8}'))
    small = CachedTier(Tier("small", call=model, price=PRICE), cache)
    large = CachedTier(Tier("large", call=grader, price=PRICE), cache)
    made = Cascade(tiers=[small], validators=[agreement(2).at(0.5), judge(large, "Good?").at(0.5)])
    what = Eval(made, ladder(made, ()))
    (row,), tally = await record_runs(what, cases(1))
    assert row["signals"] == {"agreement": 0.5, "judge": 0.8}
    assert row["versions"] == {"agreement": "k=2", "judge": judge(large, "Good?").version}
    assert (row["cost_usd"], row["tok_in"]) == (8.0, 1)  # four calls; the tokens of the answer
    assert tally.sent == 4
    (again,), tally = await record_runs(what, cases(1))
    assert (again, tally.sent) == (row, 0)


@pytest.mark.anyio
async def test_a_judge_that_grades_costs_the_tier_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path, small=[said("yes")], large=[said('{"score": 5}')])
    grading = GraderSettings("judge:large", tier=rig.tiers.__getitem__)
    what = Eval(rig.cascade, ladder(rig.cascade, ["small"]), grading)
    (row,), tally = await record_runs(what, cases(1))
    assert (row["correct"], row["cost_usd"]) == (0.5, 2.0)
    assert (tally.sent, tally.usd, tally.grading_usd) == (2, Decimal(4), Decimal(2))


@pytest.mark.anyio
async def test_a_judge_without_a_verdict_is_on_the_bill_and_asked_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path, small=[said("yes")], large=[said("I cannot say"), said('{"score": 5}')])
    grading = GraderSettings("judge:large", tier=rig.tiers.__getitem__)
    what = Eval(rig.cascade, ladder(rig.cascade, ["small"]), grading)
    (row,), tally = await record_runs(what, cases(1))
    assert row["outcome"] == "failed"
    assert row["reason"].startswith("grader:")
    assert (tally.sent, tally.usd, tally.grading_usd) == (2, Decimal(4), Decimal(2))
    (row,), tally = await record_runs(what, cases(1))
    assert (row["correct"], tally.sent, tally.grading_usd) == (0.5, 1, Decimal(2))
    (row,), tally = await record_runs(what, cases(1))
    assert (row["correct"], tally.sent) == (0.5, 0)


@pytest.mark.anyio
async def test_a_case_with_the_id_of_anothers_sample_is_refused(tmp_path: Path) -> None:
    rig = Rig(tmp_path, small=[said("yes")])
    one, _ = cases(2)
    two = Case("q0#2", one.request, 7, "yes")
    with pytest.raises(ConfigError, match=r"'q0#2' \(line 7\) has the id of sample 2 of case 'q0'"):
        await rig.run([one, two], samples=2)
    assert rig.asked() == 0
    rows, _ = await rig.run([one, two])
    assert [row["qid"] for row in rows] == ["q0", "q0#2"]


@pytest.mark.anyio
async def test_a_call_that_breaks_is_a_row_and_is_asked_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path, small=[ServerError("the prompt was: secret"), said("yes")])
    rows, _ = await rig.run(cases(2), concurrency=1)
    assert (rows[0]["outcome"], rows[0]["reason"], "correct" in rows[0]) == (
        "failed", "ServerError", False
    )  # fmt: skip
    assert rows[1]["correct"] == 1.0
    runs = read_runs([write(tmp_path / "runs.jsonl", rows)])
    assert [key[2] for key in runs.keys] == ["q1"]
    rows, _ = await rig.run(cases(2))
    assert [row["correct"] for row in rows] == [1.0, 1.0]
    assert rig.asked() == 3


@pytest.mark.anyio
async def test_a_replay_counts_as_right_what_the_cascade_accepts(tmp_path: Path) -> None:
    def sure(answer: Answer[Any], context: Any) -> float:
        return float(answer.text == "yes")

    # Sure at once; sure at last; never sure, although that is right.
    small, large = ["yes", "no", "no"], ["yes", "yes", "no"]
    rig = Rig(
        tmp_path,
        [Check("sure", sure, at=0.5)],
        small=[said(text) for text in small],
        large=[said(text) for text in large],
    )
    what = [*cases(2), Case("q2", Request("question 2"), 3, "no")]
    by_tier, _ = await rig.run(what, concurrency=1)
    whole, _ = await rig.run(what, whole=True)
    runs = read_runs([write(tmp_path / "runs.jsonl", by_tier)], tiers=["small", "large"])
    policy, decided, refused = plan_policy(rig.cascade.plan(), runs)
    outcomes = replay(policy, decided, refused=refused)
    assert outcomes.correct.tolist() == [row["correct"] for row in whole] == [1, 1, 0]
    assert outcomes.cost_usd.tolist() == [row["cost_usd"] for row in whole]
    assert outcomes.tier.tolist() == [0, 1, -1]


@pytest.mark.anyio
async def test_the_whole_cascade_is_one_row(tmp_path: Path) -> None:
    sure = Check("sure", lambda answer, context: answer.text == "yes")
    rig = Rig(tmp_path, [sure], small=[said("no")], large=[said("yes", 3)])
    await rig.run(cases(1))
    (row,), tally = await rig.run(cases(1), whole=True)
    assert tally.sent == 0
    assert (row["model"], row["answered_by"], row["asked"], row["escalations"]) == (
        "c", "large", ["small", "large"], 1
    )  # fmt: skip
    assert (row["correct"], row["cost_usd"], row["accepted"]) == (1.0, 8.0, True)


@pytest.mark.anyio
async def test_a_cascade_that_accepts_nothing_answers_wrongly(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [strict], small=[said("yes")])
    (row,), _ = await rig.run(cases(1), whole=True)
    assert (row["outcome"], row["correct"], row["accepted"]) == ("answered", 0.0, False)
    broken = Rig(tmp_path, small=[said("yes")], large=[said("yes")])
    other = [Case("q9", Request("other"), 1, "yes")]
    broken.scripts["small"]._steps = broken.scripts["large"]._steps = (ServerError("x"),)
    (row,), _ = await broken.run(other, whole=True)
    assert (row["outcome"], row["reason"]) == ("failed", "exhausted")


@pytest.mark.anyio
async def test_caps_hold_for_what_is_sent_and_not_for_what_was(tmp_path: Path) -> None:
    rig = Rig(tmp_path, small=[said("yes")])
    await rig.run(cases(2))
    spent = Spend(caps=[Cap("0.000001", per="process")])
    rows, _ = await rig.run(cases(3), spend=spent)
    assert [row["outcome"] for row in rows] == ["answered", "answered", "failed"]
    assert rows[2]["reason"] == "SpendLimitExceeded"
    assert rig.asked() == 2


@pytest.mark.anyio
async def test_two_workers_do_not_pay_for_one_answer(tmp_path: Path) -> None:
    rig = Rig(tmp_path, small=[said("yes")])
    same = [Case(f"q{i}", Request("the same"), i, "yes") for i in range(20)]
    rows, _ = await rig.run(same, concurrency=10)
    assert (len(rows), rig.asked()) == (20, 1)


@pytest.mark.anyio
async def test_usage_that_is_not_told_is_estimated(tmp_path: Path) -> None:
    rig = Rig(tmp_path, small=[Answer("yes, it is")])
    (row,), _ = await rig.run(cases(1))
    assert row["estimated"] is True
    assert row["cost_usd"] == row["tok_in"] + row["tok_out"] > 2


@pytest.mark.anyio
async def test_the_mistakes_that_stop_a_run(tmp_path: Path) -> None:
    rig = Rig(tmp_path, small=[ConfigError("no key")])
    with pytest.raises(ConfigError, match="no key"):
        await rig.run(cases(3))
    with pytest.raises(ConfigError, match="no tier 'smal'; did you mean 'small'"):
        ladder(rig.cascade, ["smal"])
    with pytest.raises(ConfigError, match="has no price"):
        check_prices(ladder(Cascade(tiers=[Tier("t", call=Scripted("x"))]), ()))


@pytest.mark.anyio
async def test_an_answer_is_stored_whole(tmp_path: Path) -> None:
    answer: Answer[Any] = Answer(
        None,
        tool_calls=(ToolCall("1", "look", '{"a": 1}'),),
        finish_reason="tool_calls",
        logprobs=[
            TokenLogprob("ü", -0.5, (("ü", -0.5), ("u", -2.0)), "ü".encode()),
            TokenLogprob("x", -1.0),
        ],
        usage=Usage(3, 4, cached_input_tokens=1),
        refusal="no",
        reasoning="because",
        model="m-1",
    )  # fmt: skip
    cache = opened(tmp_path / "a.db")
    await cache.put("k", "m", Stored(answer, 1.5))
    cache.close()
    again = opened(tmp_path / "a.db", read_only=True)
    assert await again.get("k") == Stored(answer, 1.5)
    assert (await again.get("other"), len(again)) == (None, 1)
    left = await anyio.to_thread.run_sync(lambda: [path.name for path in tmp_path.iterdir()])
    assert left == ["a.db"]


def test_a_cache_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database at all " * 9)
    with pytest.raises(ConfigError, match="cannot be read"):
        AnswerCache(tmp_path / "text.db")
    with pytest.raises(ConfigError, match="no file of answers"):
        AnswerCache(tmp_path / "gone.db", read_only=True)


def test_a_request_is_known_by_what_is_sent() -> None:
    one = Request("x", a=1, b={"c": 2, "d": 3})
    assert digest("m", one, frozenset()) == digest(
        "m", Request("x", b={"d": 3, "c": 2}, a=1), frozenset()
    )
    assert digest("m", one, frozenset()) != digest("n", one, frozenset())
    assert digest("m", one, frozenset("a")) == digest(
        "m", Request("x", b=one.params["b"]), frozenset()
    )


@pytest.mark.anyio
async def test_a_cancelled_run_keeps_what_was_paid_for(tmp_path: Path) -> None:
    cache = opened(tmp_path / "a.db")
    with anyio.CancelScope() as cancel:

        async def answers(request: Request) -> Answer[str]:
            cancel.cancel()
            return said("yes")

        tier = CachedTier(Tier("t", call=answers, price=PRICE), cache)
        with scope(Scope()):
            await tier.chat("hello")
    assert len(cache) == 1


# What runs say of their answers is what a policy goes by live.


def score_of(place: int) -> Any:
    """The number at a place of the answer's words."""
    return lambda answer, context: float(str(answer.text).split()[place])


low_scores = Check("sure", score_of(0), at=0.95)
others = Check("other", score_of(1), at=0.985)
harmless = Check("harmless", lambda answer, context: "bad" not in str(answer.text))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "validators",
    [
        [low_scores, harmless],
        [low_scores.optional(), harmless],
        [low_scores & harmless],
        [low_scores & ~others, harmless],
        [low_scores | harmless.named("h"), harmless],
        [low_scores, others, harmless],
    ],
    ids=lambda validators: ", ".join(one.name for one in validators),
)
async def test_a_policy_decides_live_as_its_replay_says(
    tmp_path: Path, validators: list[Validator]
) -> None:
    questions = [Case(f"q{i}", Request(f"question {i}"), i + 1, "right") for i in range(24)]
    # Unsure, sure enough for the policy and for the threshold; every third is bad besides.
    small = [
        said(f"{(0.2, 0.7, 0.96)[i % 3]} 0.5 {'bad' if i % 4 == 0 else 'right'}") for i in range(24)
    ]
    rig = Rig(tmp_path, validators, small=small, large=[said("0.9 0.5 right", 9)])
    grading = GraderSettings("contains")
    rows, _ = await rig.run(questions, concurrency=1, grading=grading)
    runs = read_runs([write(tmp_path / "runs.jsonl", rows)])
    policy = ladder_policy(runs, ["small", "large"], {"small": ("sure", 0.5)})
    replayed = replay(policy, runs)

    live = Cascade(tiers=rig.tiers.values(), validators=validators, name="c", policy=policy)
    whole, tally = await record_runs(Eval(live, (), grading), questions)
    assert tally.sent == 0
    assert [row["answered_by"] for row in whole] == [runs.tiers[i] for i in replayed.tier]
    assert [row["asked"] for row in whole] == [
        [tier for tier, asked in zip(runs.tiers, each, strict=True) if asked]
        for each in replayed.asked
    ]
    assert [row["correct"] for row in whole] == list(replayed.correct)
    assert {row["answered_by"] for row in whole} == {"small", "large"}


@pytest.mark.anyio
async def test_a_policy_knows_long_answers_live_as_in_the_runs(tmp_path: Path) -> None:
    covered, expired = "Right: the request is covered. " * 9, "The warranty has expired. " * 9
    small = [said(covered if i % 2 else expired) for i in range(6)]
    questions = [Case(f"q{i}", Request(f"question {i}"), i + 1, "Right") for i in range(6)]
    rig = Rig(tmp_path, small=small, large=[said(covered, 9)])
    grading = GraderSettings("contains")
    rows, _ = await rig.run(questions, concurrency=1, grading=grading)
    runs = read_runs([write(tmp_path / "runs.jsonl", rows)])
    plain = ladder_policy(runs, ["small", "large"], {"small": ("none", 0.5)})
    is_right = Feature("small", "is", other=runs.answer_texts[runs.answers[1, 0]])
    answers = {"small": AnswerModel({"": [-9.0, 18.0]})}
    first = replace(plain.states["small"], features=[is_right], answers=answers)
    policy = replace(plain, signals={}, states={**plain.states, "small": first})
    replayed = replay(policy, runs)

    live = Cascade(tiers=rig.tiers.values(), name="c", policy=policy)
    whole, _ = await record_runs(Eval(live, (), grading), questions)
    tiers = [row["answered_by"] for row in whole]
    assert tiers == [runs.tiers[i] for i in replayed.tier] == ["large", "small"] * 3


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("validators", "expected"),
    [
        ([], 1),
        ([low_scores], 1),
        ([low_scores & harmless], 1),
        ([low_scores, strict], 0),
        ([low_scores & strict], 0),
        ([low_scores | strict], 1),
    ],
)
async def test_thresholds_make_no_answer_a_wrong_one(
    tmp_path: Path, validators: list[Validator], expected: int
) -> None:
    rig = Rig(tmp_path, validators, small=[said("0.1 yes")])
    (row,), _ = await rig.run(cases(1), grading=GraderSettings("contains"))
    assert row["schema_ok"] == expected


def test_a_summary() -> None:
    def row(correct: float, latency: float, **more: Any) -> Row:
        return {
            "model": "t", "outcome": "answered", "correct": correct, "cost_usd": 0.5,
            "latency_ms": latency, "accepted": correct == 1.0,
            "verdicts": [{"validator": "v", "status": "passed"}], **more,
        }  # fmt: skip

    failed = {"model": "t", "outcome": "failed", "reason": "ServerError"}
    (found,) = summarise([row(1.0, 100, weight=3), row(0.0, 300), failed])
    assert (found.n, found.quality, found.accepted, found.cost_usd) == (2, 0.75, 0.75, 1.0)
    assert (found.p50_s, found.p95_s, found.failed) == (0.1, 0.3, {"ServerError": 1})
    (empty,) = summarise([failed])
    assert (empty.n, empty.quality, empty.interval, empty.p50_s) == (0, None, None, None)


def test_intervals_of_quality() -> None:
    # Wilson's interval of 8 of 10 (Brown, Cai and DasGupta 2001, by their formula).
    low, high = quality_interval([1.0] * 8 + [0.0] * 2, [1.0] * 10, [str(i) for i in range(10)])
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    pairs = quality_interval([1.0] * 16 + [0.0] * 4, [1.0] * 20, [str(i // 2) for i in range(20)])
    assert pairs == pytest.approx((low, high))
    certain = quality_interval([1.0] * 50, [1.0] * 50, [str(i) for i in range(50)])
    assert certain[1] == 1.0
    assert certain[0] > 0.9


def test_recording_needs_no_numpy() -> None:
    script = (
        "import sys, cascade.cli.eval, cascade.evals.runner\n"
        "print('numpy' in sys.modules, 'scipy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]
