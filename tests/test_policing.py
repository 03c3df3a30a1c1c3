"""A tuned policy in the engine: whom it asks, what it accepts, and what it never may."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import (
    Answer,
    Cascade,
    CascadeExhausted,
    ConfigError,
    Context,
    Path,
    Price,
    ProviderError,
    Result,
    Rule,
    Tier,
    at_least,
    weighted,
)
from cascade.policing import RELOAD_S, answer_key, comparable
from cascade.policy import AnswerModel, Feature, NextTier, Policy, StateModel
from cascade.testing import HANG, Scripted
from cascade.validation import Check

PRICE = Price(input=1, output=1)


def gain(least: float) -> NextTier:
    """Worth asking while the best probability at hand is below `least`."""
    return NextTier({"": [least, -1.0, 0, 0, 0, 0]}, (0.0, 0.0))


def gain_of_two(least: float) -> NextTier:
    return NextTier({"": [least, -1.0, 0, 0, 0, 0, 0, 0]}, (0.0, 0.0))


NAMES = ("a", "b", "c")


def features(asked: str) -> list[Feature]:
    return [Feature(name, "logit", "sure") for name in asked.split(">")]


def state(asked: str, **next_tiers: NextTier) -> StateModel:
    tiers = asked.split(">")
    answers = {
        tier: AnswerModel({"": [0.0, *(float(tier == other) for other in tiers)]}) for tier in tiers
    }
    return StateModel(features(asked), answers, next_tiers)


def policy(**changes: Any) -> Policy:
    """Asks a, then b while nothing is 0.7 sure, then c while nothing is 0.5 sure."""
    facts: dict[str, Any] = {
        "tiers": NAMES,
        "strong": "c",
        "signals": {"sure": "probability"},
        "slice_by": None,
        "price": 0.0,
        "start": {"": "a"},
        "mean_cost_usd": {"a": 1.0, "b": 2.0, "c": 3.0},
        "states": {
            "a": state("a", b=gain(0.7)),
            "a>b": state("a>b", c=gain_of_two(0.5)),
            "a>b>c": state("a>b>c"),
            "c": state("c"),
        },
    }
    return Policy(**{**facts, **changes})


by_other = policy(
    signals={"other": "probability"},
    states={
        "a": StateModel(
            [Feature("a", "logit", "other")], {"a": AnswerModel({"": [0.0, 1.0]})}, {"b": gain(0.7)}
        ),
        "a>b": StateModel([], {"a": AnswerModel({"": [0.0]}), "b": AnswerModel({"": [1.0]})}, {}),
    },
)
"""Goes by another score: asks b while it is not 0.7."""


def sure(answer: Answer[Any], context: Context) -> float:
    return float(str(answer.text).split()[0])


def harmless(answer: Answer[Any], context: Context) -> bool:
    return "bad" not in str(answer.text)


def climbs(steps: Mapping[str, Any], by: Any = None, **options: Any) -> Cascade:
    given_ = {"validators": [Check("sure", sure), harmless], **options}
    return Cascade(
        tiers=[Tier(name, call=Scripted(steps[name]), price=PRICE) for name in NAMES],
        policy=policy() if by is None else by,
        **given_,
    )


def story(result: Result[Any]) -> list[tuple[str, str, str]]:
    return [(a.tier, a.outcome, a.reason) for a in result.attempts]


@pytest.mark.anyio
async def test_an_answer_worth_no_escalation_is_accepted() -> None:
    result = await climbs({"a": "0.8", "b": "0.9", "c": "1"}).run("?")
    assert story(result) == [("a", "accepted", "")]
    assert result.policy == policy().sha256()[:12]
    verdict = result.attempts[0].verdicts[-1]
    assert (verdict.validator, verdict.status) == ("policy", "passed")
    assert verdict.score == pytest.approx(0.8)


@pytest.mark.anyio
async def test_the_policy_climbs_while_it_is_worth_it() -> None:
    result = await climbs({"a": "0.1", "b": "0.2", "c": "0.3"}).run("?")
    assert story(result) == [
        ("a", "rejected", "policy"),
        ("b", "rejected", "policy"),
        ("c", "accepted", ""),
    ]


@pytest.mark.anyio
async def test_an_earlier_answer_may_turn_out_to_be_the_best() -> None:
    result = await climbs({"a": "0.65 first", "b": "0.2", "c": "1"}).run("?")
    assert story(result) == [("a", "accepted", ""), ("b", "rejected", "policy")]
    assert (result.value, result.tier, result.accepted) == ("0.65 first", "a", True)


@pytest.mark.anyio
async def test_the_policy_may_begin_with_any_tier_and_by_slice() -> None:
    by_slice = policy(slice_by="task", start={"": "a", "hard": "c"})
    made = climbs({"a": "0.9", "b": "1", "c": "0.4"}, by_slice)
    assert (await made.run("?", signals={"task": "hard"})).tier == "c"
    assert (await made.run("?", signals={"task": "easy"})).tier == "a"
    assert (await made.run("?")).tier == "a"


@pytest.mark.anyio
async def test_what_another_validator_rejects_is_never_accepted() -> None:
    made = climbs({"a": "0.99 bad", "b": "0.3 good", "c": "0.99 bad"}, on_exhausted="best")
    result = await made.run("?")
    assert story(result)[0] == ("a", "rejected", "harmless:failed")
    assert result.tier != "a"
    all_bad = climbs({"a": "0.99 bad", "b": "0.9 bad", "c": "0.99 bad"})
    with pytest.raises(CascadeExhausted):
        await all_bad.run("?")


@pytest.mark.anyio
async def test_a_tier_that_broke_is_passed_over() -> None:
    """What the policy was not tuned for is answered as the ladder alone would."""
    result = await climbs({"a": ProviderError("x"), "b": "0.1", "c": "0.2"}).run("?")
    assert story(result) == [
        ("a", "failed", "ProviderError"),
        ("b", "rejected", "policy"),
        ("c", "accepted", ""),
    ]
    broken = {"a": "0.1", "b": ProviderError("x"), "c": ProviderError("x")}
    with pytest.raises(CascadeExhausted):
        await climbs(broken).run("?")


@pytest.mark.anyio
async def test_a_path_without_the_tiers_that_the_policy_wants_ends_at_its_own_last() -> None:
    made = climbs({"a": "0.1", "b": "0.2", "c": "1"}, paths={"quick": Path(direct="a")})
    assert story(await made.run("?", path="quick")) == [("a", "accepted", "")]


@pytest.mark.anyio
async def test_the_budget_holds_and_accepts_nothing_late() -> None:
    made = climbs(
        {"a": "0.1", "b": HANG, "c": "1"},
        paths={"p": Path(budget_s=0.02)},
        on_exhausted="best",
    )
    result = await made.run("?", path="p")
    assert (result.accepted, result.reason) == (False, "budget")
    assert [a.outcome for a in result.attempts] == ["rejected", "timed_out", "skipped"]


@pytest.mark.anyio
async def test_paid_validators_wait_for_those_that_decide_and_not_for_scores() -> None:
    asked: list[str] = []

    async def judges(answer: Answer[Any], context: Context) -> bool:
        asked.append(str(answer.text))
        return True

    made = climbs(
        {"a": "0.1 bad", "b": "0.9", "c": "1"},
        validators=[Check("sure", sure), harmless, Check("paid", judges, cost="paid")],
    )
    await made.run("?")
    assert asked == ["0.9"]


@pytest.mark.anyio
async def test_what_decides_without_a_threshold_goes_on_deciding_though_its_score_is_weighed() -> (
    None
):
    both = policy(signals={"sure": "probability", "harmless": "probability"})
    made = climbs({"a": "0.99 bad", "b": "0.9", "c": "1"}, both)
    result = await made.run("?")
    assert story(result) == [("a", "rejected", "harmless:failed"), ("b", "accepted", "")]


@pytest.mark.anyio
async def test_a_threshold_decides_nothing_where_the_policy_weighs_the_score() -> None:
    made = climbs({"a": "0.8", "b": "0.9", "c": "1"}, validators=[Check("sure", sure, at=0.95)])
    assert (await made.run("?")).tier == "a"


def other(answer: Answer[Any], context: Context) -> float:
    return float(str(answer.text).split()[1])


at_high = Check("sure", sure, at=0.95)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "validators",
    [
        [at_high.optional()],
        [at_high & harmless],
        [at_high | (lambda answer, context: False)],
        [at_high, ~Check("other", sure, at=0.5)],
        [at_high, Check("other", other, at=0.9)],  # which the policy does not weigh
        [at_high, weighted({Check("other", other): 1, harmless: 1}, at=0.9)],
        [at_high, Check("unscored", lambda answer, context: None, scored=True)],
    ],
    ids=lambda validators: ", ".join(one.name for one in validators),
)
async def test_a_threshold_decides_nothing_wherever_it_stands(validators: list[Any]) -> None:
    made = climbs({"a": "0.8 0.1", "b": "0.9 0.1", "c": "1 1"}, validators=validators)
    assert story(await made.run("?")) == [("a", "accepted", "")]


@pytest.mark.anyio
async def test_what_rejects_beside_a_threshold_goes_on_rejecting() -> None:
    steps = {"a": "0.8 bad", "b": "0.1 bad", "c": "0.9"}
    result = await climbs(steps, validators=[at_high & harmless]).run("?")
    assert story(result) == [
        ("a", "rejected", "sure & harmless:harmless:failed"),
        ("b", "rejected", "sure & harmless:harmless:failed"),
        ("c", "accepted", ""),
    ]


async def judges(answer: Answer[Any], context: Context) -> bool:
    return "bad" not in str(answer.text)


paid = Check("paid", judges, cost="paid")


@pytest.mark.anyio
async def test_paid_validators_are_asked_though_a_score_misses_its_threshold() -> None:
    steps = {"a": "0.8 bad", "b": "0.9", "c": "1"}
    result = await climbs(steps, validators=[at_high & (lambda answer, context: True), paid]).run(
        "?"
    )
    assert story(result) == [("a", "rejected", "paid:failed"), ("b", "accepted", "")]


@pytest.mark.anyio
async def test_what_a_rule_demands_besides_is_nothing_that_the_policy_knows() -> None:
    strict = Rule("strict", when={"stakes": "high"}, validators=[Check("other", other, at=0.9)])
    made = climbs({"a": "0.8 0.1", "b": "0.9 0.95", "c": "1 1"}, rules=[strict])
    assert (await made.run("?", signals={"stakes": "low"})).tier == "a"
    result = await made.run("?", signals={"stakes": "high"})
    assert story(result)[0] == ("a", "rejected", "other:below_threshold")
    assert result.tier == "b"


scores = st.sampled_from(["0.05", "0.3", "0.49", "0.51", "0.69", "0.71", "0.95"])


@given(
    steps=st.fixed_dictionaries(dict.fromkeys(NAMES, scores)),
    bad=st.sets(st.sampled_from(NAMES)),
)
def test_exactly_one_attempt_is_accepted_and_never_a_bad_one(
    steps: dict[str, str], bad: set[str]
) -> None:
    import anyio

    said = {name: f"{text} bad" if name in bad else text for name, text in steps.items()}
    result = anyio.run(climbs(said, on_exhausted="best").run, "?")
    accepted = [a for a in result.attempts if a.outcome == "accepted"]
    assert len(accepted) == int(result.accepted)
    assert all(a.tier not in bad for a in accepted)
    assert result.accepted or bad
    if result.accepted:
        assert result.tier == accepted[0].tier


# Refusals.


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"tiers": ("a", "z")}, {}, "tuned with the tier 'z', which is not in this cascade"),
        ({"tiers": ("c", "a")}, {}, "tuned for the ladder c > a"),
        ({"signals": {"shure": "probability"}}, {}, "did you mean 'sure'"),
        ({"evidence": {"models": {"a": "openai:old"}}}, {}, "tuned with 'openai:old' as tier 'a'"),
        ({"evidence": {"cascade": "x"}}, {"name": "y"}, "tuned for the cascade 'x'"),
        (
            {"evidence": {"validators": {"sure": "1"}}},
            {},
            "'sure' in its version 1, and it is with",
        ),
        ({}, {"reasks": 1}, "reasks=1 does not go with a policy"),
        ({}, {"feedback": True}, "feedback=True does not go with a policy"),
        ({}, {"paths": {"p": Path(hedge=1.0)}}, "hedge on path 'p' does not go with a policy"),
        (
            {},
            {"validators": [at_least(2, at_high, harmless, paid)]},
            r"asks 'paid', which is paid, only where the score of 'sure' meets .* list the two",
        ),
        (
            {},
            {
                "validators": [Check("sure", sure) & (harmless & paid).named("more")],
                "paths": {"p": Path(thresholds={"sure": 0.5})},
            },
            "asks 'more', which is paid, only where the score of 'sure'",
        ),
        (
            {},
            {"rules": [Rule("strict", validators=[Check("sure", sure, at=0.9)])]},
            "rule 'strict' adds the validator 'sure', as the cascade has one, whose threshold",
        ),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(
    changes: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        climbs({"a": "1", "b": "1", "c": "1"}, policy(**changes), **options)


def test_parts_that_thresholds_leave_alone_fit() -> None:
    steps = {"a": "1", "b": "1", "c": "1"}
    scored = paid.named("scored").at(0.5)
    climbs(steps, validators=[at_high & scored, at_high | paid, Check("harmless", harmless) & paid])
    climbs(steps, rules=[Rule("same", validators=[harmless])])


def test_a_policy_of_the_same_version_of_a_validator_fits() -> None:
    tuned = policy(evidence={"validators": {"sure": "2"}})
    steps = {"a": "1", "b": "1", "c": "1"}
    climbs(steps, tuned, validators=[Check("sure", sure, version="2")])
    with pytest.raises(ConfigError, match=r"version 2, and it is 3 now .*; tune it again"):
        climbs(steps, tuned, validators=[Check("sure", sure, version="3")])


def test_a_file_that_is_no_policy_is_refused(tmp_path: FilePath) -> None:
    file = tmp_path / "policy.json"
    with pytest.raises(ConfigError, match="cannot be read"):
        climbs({"a": "1", "b": "1", "c": "1"}, file)
    file.write_text("{}")
    with pytest.raises(ConfigError, match="is no policy file"):
        climbs({"a": "1", "b": "1", "c": "1"}, str(file))


# Reloading.


@pytest.mark.anyio
async def test_a_changed_file_is_in_force_a_few_seconds_later(
    tmp_path: FilePath, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    file = tmp_path / "policy.json"
    file.write_text(policy().to_json())
    made = climbs({"a": "0.6", "b": "0.95", "c": "1"}, file, clock=lambda: now[0])
    assert (await made.run("?")).tier == "b"

    keen = policy(states={**policy().states, "a": state("a", b=gain(0.5))})
    file.write_text(keen.to_json() + "\n")
    assert (await made.run("?")).tier == "b"  # not looked at yet
    now[0] += RELOAD_S
    result = await made.run("?")
    assert (result.tier, result.policy) == ("a", keen.sha256()[:12])

    file.write_text("broken")
    now[0] += RELOAD_S
    result = await made.run("?")
    assert (result.tier, result.policy) == ("a", keen.sha256()[:12])
    assert [record.getMessage().split()[0] for record in caplog.records] == ["policy_refused"]
    file.unlink()
    now[0] += RELOAD_S
    assert (await made.run("?")).tier == "a"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("start", {}, "start lacks ''"),
        ("price", "free", 'price is "free"'),
        ("evidence", None, "evidence is null"),
        ("states", {}, "start[''] is 'a', not one of none"),
        ("mean_cost_usd", {"a": float("nan")}, "mean_cost_usd.a is NaN"),
        ("router", {"heads": []}, "router: features: Field required"),
        ("tiers", ["a", "b"], "a tier of the state 'a>b>c' is 'c'"),
    ],
)
async def test_a_changed_file_that_is_no_sound_policy_is_logged_and_changes_nothing(
    tmp_path: FilePath, caplog: pytest.LogCaptureFixture, field: str, value: Any, words: str
) -> None:
    now = [0.0]
    file = tmp_path / "policy.json"
    file.write_text(policy().to_json())
    made = climbs({"a": "0.6", "b": "0.95", "c": "1"}, file, clock=lambda: now[0])
    file.write_text(json.dumps({**json.loads(policy().to_json()), field: value}))
    for _ in range(2):
        now[0] += RELOAD_S
        result = await made.run("?")
        assert (result.tier, result.policy) == ("b", policy().sha256()[:12])
    (record,) = caplog.records
    said = record.getMessage().replace("\\", "")
    assert said.startswith("policy_refused ")
    assert words in said


@pytest.mark.anyio
async def test_a_policy_that_is_read_again_decides_as_it_does_from_the_start(
    tmp_path: FilePath,
) -> None:
    """Whichever scores it weighs, and whichever the policy before it weighed."""
    now = [0.0]
    file = tmp_path / "policy.json"
    file.write_text(policy().to_json())
    validators = [at_high, Check("other", other, at=0.95)]
    steps = {"a": "0.1 0.8", "b": "1 1", "c": "1 1"}
    made = climbs(steps, file, validators=validators, clock=lambda: now[0])
    assert (await made.run("?")).tier == "b"
    file.write_text(by_other.to_json())
    now[0] += RELOAD_S
    result = await made.run("?")
    assert (result.tier, result.policy) == ("a", by_other.sha256()[:12])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Paris", " paris\n", True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        (1, 1.5, False),
        ("1", 1, True),
    ],
)
def test_answers_that_say_the_same_compare_equal(one: Any, other: Any, same: bool) -> None:
    assert (comparable(one) == comparable(other)) is same


LONG = "The request is covered. " * 9


@pytest.mark.anyio
@pytest.mark.parametrize("said", ["Covered", LONG])
async def test_a_policy_knows_an_answer_by_its_key(said: str) -> None:
    """It names the answers that it was tuned on as the runs do: long ones by a digest."""
    is_it = Feature("a", "is", other=str(answer_key(f" {said.upper()}\n")))
    doubts = StateModel([is_it], {"a": AnswerModel({"": [1.0, -9.0]})}, {"b": gain(0.5)})
    by = policy(signals={}, states={"a": doubts})
    for text, accepted in ((said, False), ("No", True)):
        made = climbs({"a": text, "b": "Yes", "c": "Yes"}, by, validators=[])
        assert ((await made.run("?")).tier == "a") is accepted


def test_keys_are_short_and_tell_answers_apart() -> None:
    assert answer_key("Paris ") == "paris"
    assert answer_key({"b": 1, "a": "X"}) == '{"a": "X", "b": 1}'
    keys = {answer_key(LONG), answer_key(LONG + "!")}
    assert len(keys) == 2
    assert all(key is not None and len(key) < 40 and key.startswith("sha256:") for key in keys)
    assert answer_key(None) is None


def test_what_cannot_be_compared_is_unknown() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert comparable(None) is None
    assert comparable(loop) is None
