"""The learned router: what it chooses, what it refuses, and that it is what was trained."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import Cascade, ConfigError, Price, Request, Rule, Tier
from cascade.learn import LearnedRouter, Model, features, to_json
from cascade.learn.curves import curve, lower_bound, measures
from cascade.learn.features import WINDOW_CHARS, Key, read, seen, tokens_of
from cascade.learn.folds import folds_of
from cascade.learn.training import Settings, matrix, read_all, train
from cascade.signals import Said
from cascade.testing import Scripted
from tests.learn.support import COMMON, EASY, HARD, TIERS, examples, queries

EXAMPLES = examples()
MODEL = replace(train(EXAMPLES), value_usd=0.05)
ROUTER = LearnedRouter(MODEL)
EASY_TEXT = "please tell me about the colour of a city in what season 3?"
HARD_TEXT = "please tell me about the eigenvalue of a matrix in what proof 3?"
STRANGE = "Wohin fließt der Rhein und weshalb gluckst er dabei so vergnügt vor sich hin, Herr Wirt?"


def test_it_begins_where_the_gain_pays() -> None:
    assert ROUTER.choose({}, EASY_TEXT, TIERS).first == "small"
    hard = ROUTER.choose({}, HARD_TEXT, TIERS)
    assert hard.first == "large"
    assert "the gain pays for its cost" in hard.reason
    # A right answer that is worth next to nothing is not worth the dear tier.
    assert LearnedRouter(MODEL, value_usd=1e-6).choose({}, HARD_TEXT, TIERS).first == "small"
    # Nor one whose tier has become dear.
    dear = LearnedRouter(MODEL, costs_usd={"large": 1.0})
    assert dear.choose({}, HARD_TEXT, TIERS).first == "small"


def test_it_is_right_on_queries_it_has_not_seen() -> None:
    fresh = queries(300, seed=9)
    chosen = [ROUTER.choose({}, text, TIERS).first == "large" for text, _ in fresh]
    assert sum(one == is_hard for one, (_, is_hard) in zip(chosen, fresh, strict=True)) > 285


def test_it_refuses_what_it_was_not_trained_on() -> None:
    for text in (STRANGE, "", "   ", "x", "word " * 50_000):
        choice = ROUTER.choose({}, text, TIERS)
        assert choice.first is None
        assert "unlike" in choice.reason
    assert ROUTER.explain(STRANGE).novelty > 1 > ROUTER.explain(EASY_TEXT).novelty


def test_hardly_any_text_like_those_of_training_is_refused() -> None:
    refused = [ROUTER.choose({}, text, TIERS).first is None for text, _ in queries(500, seed=5)]
    assert sum(refused) < 25


def test_it_never_begins_below_its_floor_and_knows_its_rungs() -> None:
    floored = LearnedRouter(MODEL, floor="large")
    assert floored.choose({}, EASY_TEXT, TIERS).first == "large"
    assert floored.choose({}, STRANGE, TIERS).first == "large"
    assert floored.choose({}, EASY_TEXT, ["small"]).first is None
    assert ROUTER.choose({}, EASY_TEXT, ["other"]).first is None
    assert ROUTER.choose({}, HARD_TEXT, ["small", "other"]).first == "small"


def test_an_explanation_names_the_words_that_weighed() -> None:
    hard = ROUTER.explain(HARD_TEXT)
    named = {one.feature.strip('"') for one in hard.weighed if one.weight > 0}
    assert named & set(HARD)
    easy = ROUTER.explain(EASY_TEXT)
    assert {one.feature.strip('"') for one in easy.weighed if one.weight < 0} & set(EASY)
    assert hard.choice == ROUTER.choose({}, HARD_TEXT, TIERS)
    assert hard.probabilities["small"] < easy.probabilities["small"]
    assert len(ROUTER.explain(HARD_TEXT, most=3).weighed) == 3


def test_the_weights_add_up_to_the_odds() -> None:
    """Of the two tiers' difference, but for the constants."""
    whole = ROUTER.explain(HARD_TEXT, most=10_000)
    small, large = ROUTER.log_odds(HARD_TEXT)
    low, high = MODEL.heads
    constant = high.intercept * high.slope - low.intercept * low.slope
    difference = large * high.slope - small * low.slope
    assert sum(one.weight for one in whole.weighed) == pytest.approx(difference - constant)


# As it was trained.


@given(st.text())
def test_a_text_taken_apart_by_white_space_has_the_tokens_of_the_whole(text: str) -> None:
    assert tokens_of(text) == re.findall(r"\w+(?:[.,]\d+)*|[^\w\s]", text.lower())
    assert tokens_of(text) == tokens_of(text)  # remembered or not


def test_what_is_remembered_of_texts_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_MOST_PIECES", 10)
    for number in range(100):
        assert tokens_of(f"piece{number}. {'long' * 20}") == [f"piece{number}", ".", "long" * 20]
        assert len(features._PIECES) <= 10
    assert max(map(len, features._PIECES)) <= 32


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_has_the_tokens_that_it_has_beside_other_letters(text: str) -> None:
    assert tokens_of(text) == tokens_of(f"{text} ß")[:-1]


def test_inference_is_what_was_trained() -> None:
    """The pure Python log-odds are the linear model's, to the last digits."""
    readings = read_all(EXAMPLES)
    x = matrix(readings, MODEL, Settings()).toarray()
    rows = list(MODEL.vocabulary.values())
    for head, place in zip(MODEL.heads, range(2), strict=True):
        weights = [row[1 + place] for row in rows]
        weights += [w / scale for w, scale in zip(head.shape, Settings().of_shape(), strict=True)]
        expected = x @ weights + head.intercept
        for text, odds in zip(EXAMPLES.texts, expected, strict=True):
            assert ROUTER.log_odds(text)[place] == pytest.approx(odds, abs=1e-9)


def test_training_is_deterministic() -> None:
    assert to_json(train(EXAMPLES)) == to_json(train(EXAMPLES))


def test_probabilities_are_honest() -> None:
    fresh = examples(600, seed=3)
    promised = [ROUTER.probabilities(text)["small"] for text in fresh.texts]
    came = [correct[0] for correct in fresh.correct]
    assert sum(promised) / len(promised) == pytest.approx(sum(came) / len(came), abs=0.05)


def test_a_tier_that_is_always_right_or_always_wrong_can_be_learnt() -> None:
    extreme = replace(EXAMPLES, correct=tuple((0.0, 1.0) for _ in EXAMPLES.correct))
    router = LearnedRouter(replace(train(extreme), value_usd=1.0))
    small, large = router.probabilities(EASY_TEXT).values()
    assert small < 0.01
    assert large > 0.99


def test_signals_are_learnt_beside_the_text() -> None:
    """The same text for all: only the signal tells them apart."""
    given = tuple({"plan": "pro" if number % 2 else "free"} for number in range(len(EXAMPLES)))
    correct = tuple((float(number % 2), 1.0) for number in range(len(EXAMPLES)))
    told = replace(EXAMPLES, signals=given, correct=correct)
    router = LearnedRouter(replace(train(told, signals=["plan"]), value_usd=0.05))
    assert router.choose({"plan": "pro"}, EASY_TEXT, TIERS).first == "small"
    assert router.choose({"plan": "free"}, EASY_TEXT, TIERS).first == "large"


def test_too_few_examples_are_refused() -> None:
    with pytest.raises(ConfigError, match="49 queries are too few"):
        train(EXAMPLES.take(range(49)))


# The file.


def test_the_file_gives_the_same_scores_to_the_last_bit(tmp_path: Path) -> None:
    file = tmp_path / "router.json"
    file.write_text(to_json(MODEL), encoding="utf-8")
    loaded = LearnedRouter.load(file)
    for text in EXAMPLES.texts[:50]:
        assert loaded.log_odds(text) == ROUTER.log_odds(text)
    assert loaded.model == MODEL


def changed(text: str, **changes: object) -> str:
    return json.dumps({**json.loads(text), **changes})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("0.05", "0.06", 1), "was changed after it was written"),
        (lambda text: changed(text, version=9), "is a learned router of format 9"),
        (lambda text: changed(text, features=9), "with features 9"),
        (lambda text: changed(text, format="x"), "is not a learned router"),
        (lambda text: "[]", "is not a learned router"),
        (lambda text: text[:-20], "is not JSON"),
        (lambda text: text.replace("0.05", "NaN", 1), "is not JSON"),
        (lambda text: text.replace("0.05", "1e999", 1), "router.json is not a learned router: Out"),
    ],
    ids=["number", "version", "features", "format", "list", "cut", "nan", "infinite"],
)
def test_a_file_that_is_not_what_was_written_is_refused(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    file = tmp_path / "router.json"
    file.write_text(change(to_json(MODEL)), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        LearnedRouter.load(file)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        LearnedRouter.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value_usd": -1}, "value_usd=-1 is no amount"),
        ({"costs_usd": {"larg": 1}}, "did you mean 'large'"),
        ({"floor": "x"}, "floor names the tier 'x'"),
    ],
)
def test_options_that_cannot_work_say_so(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LearnedRouter(MODEL, **options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# Laws.


@given(st.text(max_size=300))
def test_any_text_has_a_probability_and_a_choice(text: str) -> None:
    for chance in ROUTER.probabilities(text).values():
        assert 0 <= chance <= 1
    assert ROUTER.choose({}, text, TIERS).first in (None, *TIERS)
    assert all(math.isfinite(one.weight) for one in ROUTER.explain(text).weighed)


@given(st.text(max_size=100), st.integers(1, 40))
def test_no_more_than_a_window_is_read(text: str, times: int) -> None:
    long = text * times * 100
    reading = read(long)
    assert sum(reading.keys().values()) <= 4 * (WINDOW_CHARS + 1)
    assert reading == read(seen(long))
    assert reading.chars == min(len(long), 2 * WINDOW_CHARS + 1)


@given(st.integers(7_900, 8_100), st.sampled_from(["x", "x ", "ab\n"]))
def test_training_reads_what_a_call_hands_a_router(chars: int, piece: str) -> None:
    text = (piece * chars)[:chars]
    assert Said(Request(text)).text == seen(text)


@given(st.text(alphabet="ab 1.", max_size=60), st.sets(st.integers(0, 200)))
def test_known_keys_are_counted_as_all_keys_are(text: str, places: set[int]) -> None:
    reading = read(text, {"stakes": "high"}, ["stakes"])
    keys = reading.keys()
    known: dict[Key, int] = {key: place for place, key in enumerate(keys) if place in places}
    counted = {known[key]: count for key, count in keys.items() if key in known}
    assert reading.among(known) == counted
    assert keys["stakes=high"] == 1


@given(st.text(alphabet="ab \n", min_size=1, max_size=60))
def test_what_is_past_the_window_changes_nothing(middle: str) -> None:
    head, tail = "begin " * 1000, " finish" * 1000
    reference = read(f"{head}{'x' * 100}{tail}")
    assert read(f"{head}{middle}{'x' * (100 - len(middle))}{tail}").keys() == reference.keys()


@given(st.lists(st.tuples(st.floats(-1, 1), st.sampled_from([0.0, 1.0])), min_size=2, max_size=40))
def test_measures_are_bounded_by_chance_and_oracle(rows: list[tuple[float, float]]) -> None:
    leads = [lead for _, lead in rows]
    if not sum(leads):
        assert math.isnan(measures([0.0] * len(rows), leads).apgr)
        return
    found, oracle = measures([g for g, _ in rows], leads), measures(leads, leads)
    worst = measures([-lead for lead in leads], leads)
    assert worst.apgr - 1e-9 <= found.apgr <= oracle.apgr + 1e-9
    assert measures([0.0] * len(rows), leads).apgr == pytest.approx(0.5)
    assert found.cpt50 <= found.cpt80


def test_a_curve_by_hand() -> None:
    """Two of three gains found first, then the third, then the one that loses."""
    recovered = curve([0.9, 0.8, 0.2, 0.1], [1, 1, 0, -1])
    assert list(recovered) == [0, 1, 2, 2, 1]
    assert measures([0.9, 0.8, 0.2, 0.1], [1, 1, 0, -1]).apgr == pytest.approx(5.5 / 4)
    assert lower_bound([1.0, 0.0] * 50, [1, 0] * 50, seed=0) > 0.7


def test_the_same_text_is_never_on_both_sides_of_a_fold() -> None:
    doubled = replace(EXAMPLES, texts=EXAMPLES.texts[:200] * 2)
    folds = folds_of(doubled, 5, seed=1)
    by_text: dict[str, set[int]] = {}
    for text, fold in zip(doubled.texts, folds, strict=True):
        by_text.setdefault(" ".join(text.split()), set()).add(int(fold))
    assert all(len(found) == 1 for found in by_text.values())
    assert {len(EXAMPLES) // 5 - 8 <= int((folds == fold).sum()) for fold in range(5)} == {True}


# In a cascade.


def ladder(router: LearnedRouter, **options: object) -> Cascade:
    return Cascade(
        tiers=[
            Tier("small", call=Scripted("from small"), price=Price.free()),
            Tier("large", call=Scripted("from large"), price=Price.free()),
        ],
        router=router,
        **options,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    )


def test_it_is_tier_zero_of_a_ladder() -> None:
    made = ladder(ROUTER)
    easy, hard, strange = (anyio.run(made.run, text) for text in (EASY_TEXT, HARD_TEXT, STRANGE))
    assert (easy.tier, hard.tier, strange.tier) == ("small", "large", "small")
    assert hard.rule == "router"
    assert "the gain pays for its cost" in str(hard.rule_reason)
    assert "unlike" in str(strange.rule_reason)
    assert [attempt.tier for attempt in hard.attempts] == ["large"]


def test_it_decides_of_long_texts_as_it_was_judged() -> None:
    """Training, judging and calls see the same of a text of 20 kB."""
    context = "\n".join(f"{' '.join(COMMON)} {number}." for number in range(400))
    long = replace(EXAMPLES, texts=tuple(f"{text} {context}" for text in EXAMPLES.texts))
    assert min(map(len, long.texts)) > 19_000
    router = LearnedRouter(replace(train(long), value_usd=0.05))
    made = ladder(router)
    chosen = [router.choose({}, text, TIERS) for text in long.texts[:100]]
    assert {choice.first for choice in chosen} == set(TIERS)
    for text, choice in zip(long.texts, chosen, strict=False):
        assert made.explain(text).router.choice == choice


def test_rules_and_floors_go_before_it() -> None:
    ruled = ladder(ROUTER, rules=[Rule("all", when={"chars": ">0"}, tier="small")])
    assert anyio.run(ruled.run, HARD_TEXT).tier == "small"
    floored = ladder(ROUTER, floors={"high": "large"})
    result = anyio.run(lambda: floored.run(EASY_TEXT, signals={"stakes": "high"}))
    assert result.tier == "large"


def test_the_model_is_what_it_says() -> None:
    assert isinstance(MODEL, Model)
    assert [head.tier for head in MODEL.heads] == list(TIERS)
    assert [head.cost_usd for head in MODEL.heads] == pytest.approx([0.001, 0.01])
