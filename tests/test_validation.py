from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from cascade import (
    Answer,
    Cascade,
    ConfigError,
    Context,
    Tier,
    Validator,
    Verdict,
    at_least,
    validator,
    weighted,
)
from cascade.types import UNSET
from cascade.validation import Check, as_validator, judge_together

ANSWER = Answer("hello")


def gives(said: Any, name: str = "v", **options: Any) -> Check:
    def judges(answer: Answer[Any], context: Context) -> Any:
        return said() if callable(said) else said

    return Check(name, judges, **options)


def inline(one: Validator) -> Verdict:
    assert one.inline
    return one.judge_inline(ANSWER, Context())


passes, fails = gives(True, "yes"), gives(False, "no")
blind, half = gives(None, "blind"), gives(0.5, "half")


async def true_later(answer: Answer[Any], context: Context) -> bool:
    await checkpoint()
    return True


# What a callable may say


@pytest.mark.parametrize(
    ("said", "status", "score", "reason"),
    [
        (True, "passed", 1.0, ""),
        (False, "failed", 0.0, "failed"),
        (None, "abstained", None, "undecided"),
        (0.6, "passed", 0.6, ""),
        (1, "passed", 1.0, ""),
        (0, "failed", 0.0, "below_threshold"),
        (Fraction(1, 2), "failed", 0.5, "below_threshold"),
        (Decimal("0.75"), "passed", 0.75, ""),
        (Verdict.passed(0.1), "passed", 0.1, ""),
        (Verdict.failed("bad", score=0.9), "failed", 0.9, "bad"),
        (Verdict.scored(Decimal("0.6")), "passed", 0.6, ""),  # type: ignore[arg-type]
        (Verdict.abstained("no_logprobs"), "abstained", None, "no_logprobs"),
    ],
)
def test_what_was_said_is_held_against_the_threshold(
    said: Any, status: str, score: float | None, reason: str
) -> None:
    verdict = inline(gives(said, at=0.6))
    assert (verdict.status, verdict.score, verdict.reason) == (status, score, reason)
    assert (verdict.validator, verdict.threshold) == ("v", 0.6)


def test_a_score_is_the_authors_to_decide_without_a_threshold() -> None:
    verdict = inline(gives(0.99))
    assert (verdict.status, verdict.score, verdict.reason) == ("abstained", 0.99, "no_threshold")


def test_a_low_score_tells_the_next_tier_unless_the_author_did() -> None:
    assert inline(gives(0.2, at=0.6)).feedback == "v scored 0.20; at least 0.60 is needed."
    said = Verdict.scored(0.2, feedback="Too vague.")
    assert inline(gives(said, at=0.6)).feedback == "Too vague."


class NumpyLike:
    """What numpy's scalars look like from outside: neither bool nor float."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


bool_ = type("bool_", (), {"__init__": NumpyLike.__init__, "__bool__": lambda self: self.value > 0})


def test_scalars_of_other_libraries_are_understood() -> None:
    assert inline(gives(NumpyLike(0.7), at=0.6)).status == "passed"
    assert inline(gives(Verdict.scored(NumpyLike(0.7)), at=0.6)).score == 0.7  # type: ignore[arg-type]
    assert inline(gives(bool_(1.0))).status == "passed"
    assert inline(gives(bool_(0.0))).status == "failed"


class Hostile:
    """Whatever is asked of it breaks."""

    def __getattribute__(self, name: str) -> Any:
        raise ValueError(name)

    __float__ = __bool__ = __index__ = __str__ = __repr__ = __hash__ = __getattribute__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ValueError


class HostileFloat(float):
    def __float__(self) -> float:
        raise ZeroDivisionError


async def coroutine() -> bool:
    return True


def boom(kind: type[Exception]) -> Any:
    def raises() -> Any:
        raise kind("boom") if kind is not ExceptionGroup else ExceptionGroup("boom", [KeyError()])

    return raises


NONSENSE: list[Any] = [
    Hostile,
    lambda: HostileFloat(0.5),
    lambda: NumpyLike(math.nan),
    lambda: 10**400,
    lambda: -(10**400),
    lambda: math.nan,
    lambda: math.inf,
    lambda: -0.001,
    lambda: Decimal("sNaN"),
    lambda: 1j,
    lambda: "0.9",
    lambda: b"1",
    lambda: "yes",
    lambda: object(),
    lambda: [0.5],
    lambda: {"score": 1},
    lambda: Verdict,
    lambda: bool_("not a number"),
    lambda: Verdict("pass"),  # type: ignore[arg-type]
    lambda: Verdict([], 1.0),  # type: ignore[arg-type]
    lambda: Verdict.passed("1"),  # type: ignore[arg-type]
    lambda: Verdict.passed(1.5),
    lambda: Verdict.passed(10**400),
    lambda: Verdict.passed(Decimal("NaN")),  # type: ignore[arg-type]
    lambda: Verdict.scored(Hostile()),  # type: ignore[arg-type]
    lambda: Verdict.failed(7),  # type: ignore[arg-type]
    lambda: Verdict.failed(feedback=["a"]),  # type: ignore[arg-type]
    boom(ValueError),
    boom(StopIteration),
    boom(StopAsyncIteration),
    boom(RecursionError),
    boom(MemoryError),
    boom(TimeoutError),
    boom(ExceptionGroup),
]


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["inline", "async", "thread", "timed"])
async def test_nothing_that_makes_no_sense_is_a_pass_nor_breaks_the_call(how: str) -> None:
    for place, nonsense in enumerate(NONSENSE):

        async def later(answer: Any, context: Any, say: Any = nonsense) -> Any:
            return say()

        one = {
            "inline": gives(nonsense, at=0.5),
            "async": Check("v", later, at=0.5),
            "thread": gives(nonsense, at=0.5, blocking=True),
            "timed": Check("v", later, at=0.5, timeout_s=60),
        }[how]
        compositions = [one & passes, one | fails, ~one, weighted({one: 1}, at=0.5)]
        for tried in (one, *compositions, at_least(1, one)):
            verdict = await tried.judge(ANSWER)
            assert (verdict.status, place) == ("abstained", place)
            assert verdict.score is None or 0 <= verdict.score <= 1


def test_a_coroutine_from_a_plain_function_is_no_verdict_and_is_closed() -> None:
    assert inline(gives(coroutine)).reason == "not_a_verdict"  # unclosed it would warn


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.fractions()
    | st.complex_numbers()
    | st.text()
    | st.binary()
    | st.builds(Verdict, st.text(), st.floats() | st.text() | st.none()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(anything, st.none() | st.floats(0, 1))
def test_whatever_is_returned_there_is_a_sound_verdict(said: Any, at: float | None) -> None:
    one = gives(said, at=at)
    for tried in (one, ~one, one & one, one | one, one.optional(), weighted({one: 2}, at=0.5)):
        verdict = inline(tried)
        assert verdict.status in ("passed", "failed", "abstained")
        assert verdict.score is None or (
            isinstance(verdict.score, float) and 0 <= verdict.score <= 1
        )
        assert verdict.validator == tried.name


def test_an_author_may_return_one_verdict_every_time() -> None:
    shared = Verdict.scored(0.5)
    one = gives(shared, "one", at=0.4)
    assert (inline(one).status, inline(one.at(0.6)).status) == ("passed", "failed")
    assert (shared.status, shared.validator, shared.threshold) == ("abstained", "", None)


# Async, threads, timeouts


@pytest.mark.anyio
async def test_async_callables_of_every_shape_are_awaited() -> None:
    class Judges:
        async def __call__(self, answer: Answer[Any], context: Context) -> bool:
            return await true_later(answer, context)

        async def method(self, answer: Answer[Any], context: Context) -> bool:
            return await true_later(answer, context)

    async def strict(level: int, answer: Answer[Any], context: Context) -> bool:
        return await true_later(answer, context)

    for judges in (true_later, Judges(), Judges().method, functools.partial(strict, 3)):
        one = as_validator(judges)
        assert not one.inline
        assert (await one.judge(ANSWER)).status == "passed"


@pytest.mark.anyio
async def test_a_sync_callable_with_a_timeout_runs_outside_of_the_event_loop() -> None:
    import threading

    threads: list[int] = []
    released = threading.Event()

    def judges(answer: Answer[Any], context: Context) -> bool:
        threads.append(threading.get_ident())
        return released.wait(60)

    try:
        verdict = await Check("slow", judges, timeout_s=0.01).judge(ANSWER)
    finally:
        released.set()
    assert (verdict.status, verdict.reason) == ("abstained", "timeout")
    assert threads != [threading.get_ident()]


@pytest.mark.anyio
async def test_what_is_left_after_a_timeout_has_ended() -> None:
    ended: list[str] = []

    async def hangs(answer: Answer[Any], context: Context) -> bool:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("hangs")
        return True

    assert (await Check("hangs", hangs, timeout_s=0.001).judge(ANSWER)).reason == "timeout"
    assert ended == ["hangs"]


@pytest.mark.anyio
async def test_a_validator_that_comes_back_after_its_timeout_abstains_whatever_it_says() -> None:
    async def swallows(answer: Answer[Any], context: Context) -> bool:
        with suppress(anyio.get_cancelled_exc_class()):
            await anyio.sleep_forever()
        return True

    async def shielded(answer: Answer[Any], context: Context) -> bool:
        late = anyio.current_time() + 0.01
        with anyio.CancelScope(shield=True):
            while anyio.current_time() < late:
                await checkpoint()
        return True

    for judges in (swallows, shielded):
        verdict = await Check("late", judges, timeout_s=0.001).judge(ANSWER)
        assert (verdict.status, verdict.reason) == ("abstained", "timeout")


@pytest.mark.anyio
async def test_validators_judged_together_run_at_once_and_keep_their_order() -> None:
    arrived = [anyio.Event() for _ in range(3)]

    def meets(place: int) -> Check:
        async def judges(answer: Answer[Any], context: Context) -> float:
            arrived[place].set()
            for other in arrived:  # each waits for all: one after the other they would hang
                await other.wait()
            return place / 2

        return Check(str(place), judges, timeout_s=60)

    verdicts = await judge_together([meets(2), meets(0), meets(1)], ANSWER, Context())
    assert [v.score for v in verdicts] == [1.0, 0.0, 0.5]


# Composition


def test_compositions_agree_with_logic_and_keep_their_parts() -> None:
    both = inline(passes & half.at(0.9))
    assert (both.status, both.score, both.reason) == ("failed", 0.5, "half:below_threshold")
    assert (both.validator, [part.validator for part in both.parts]) == (
        "yes & half",
        ["yes", "half"],
    )
    assert both.feedback == "half scored 0.50; at least 0.90 is needed."
    assert inline(fails | passes).status == "passed"
    assert inline(fails | blind).reason == "blind:undecided"
    assert inline(~fails).status == "passed"
    assert inline(blind.optional()).status == "passed"
    assert inline(fails.optional()).status == "failed"
    assert inline(at_least(2, passes, fails, passes)).status == "passed"
    assert inline(weighted({passes: 1, half: 1}, at=0.75)).status == "passed"
    assert inline(weighted({passes: 1, half: 1}, at=0.75).at(0.8)).status == "failed"


def test_an_optional_abstention_counts_as_a_pass_in_a_mean() -> None:
    verdict = inline(weighted({blind.optional(): 1, passes: 1}, at=1.0))
    assert (verdict.status, verdict.score) == ("passed", 1.0)


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (passes & fails & half, "yes & no & half"),
        (passes | (fails & half), "yes | (no & half)"),
        (~passes, "~yes"),
        (~(passes | fails), "~(yes | no)"),
        (passes.optional(), "optional(yes)"),
        (weighted({passes: 1, fails: 2}, at=0.5), "weighted(yes, no)"),
        (at_least(1, passes, fails), "at_least(1, yes, no)"),
        ((passes & fails).named("both") & half, "both & half"),
    ],
)
def test_a_composition_is_called_what_it_is(made: Validator, name: str) -> None:
    assert made.name == name
    assert repr(made) == f"<validator {name}>"


def test_chains_are_flat_unless_a_part_has_a_name_or_tiers_of_its_own() -> None:
    named, bound = (passes & fails).named("both"), (passes & fails).for_tiers("a")
    assert len((passes & fails & half).parts) == 3  # type: ignore[attr-defined]
    assert len((named & half).parts) == 2  # type: ignore[attr-defined]
    assert len((bound & half).parts) == 2  # type: ignore[attr-defined]
    assert [v.name for v in (named & half).walk()] == ["both & half", "both", "yes", "no", "half"]


def test_functions_and_names_join_too() -> None:
    def short(answer: Answer[Any], context: Context) -> bool:
        return True

    for made in (passes & short, short & passes, passes | short, short | passes):
        assert {one.name for one in made.walk()} >= {"yes", "short"}
        assert inline(made).status == "passed"
    with pytest.raises(ConfigError, match="a validator is a int"):
        _ = passes & 5  # type: ignore[operator]


@pytest.mark.parametrize("slip", ["passes and fails", "passes or fails", "not passes"])
def test_the_words_and_or_not_are_refused_as_they_would_drop_a_validator(slip: str) -> None:
    with pytest.raises(ConfigError, match=r"'yes'; write &, \| or ~"):
        eval(slip)  # noqa: S307


@pytest.mark.parametrize("length", [1, 2, 3])
def test_judging_by_and_by_decides_as_judging_at_once(length: int) -> None:
    """With a paid part, what the free ones decide is not asked: the decision is the same."""
    kinds = [passes, fails, blind, half.at(0.4)]
    for parts in itertools.product(kinds, repeat=length):
        for paid in itertools.product([False, True], repeat=length):
            mixed = [_paid(p) if pays else p for p, pays in zip(parts, paid, strict=True)]
            for compose in (_all, _any, _not, _optional, _most, _mean):
                at_once = inline(compose(parts))
                step_by_step = anyio.run(compose(mixed).judge, ANSWER)
                assert step_by_step.status == at_once.status


def _paid(one: Check) -> Check:
    async def judges(answer: Answer[Any], context: Context) -> Any:
        return one(answer, context)

    return Check(one.name, judges, at=one.threshold, cost="paid")


def _all(parts: Any) -> Any:
    return functools.reduce(lambda a, b: a & b, parts)


def _any(parts: Any) -> Any:
    return functools.reduce(lambda a, b: a | b, parts)


def _not(parts: Any) -> Any:
    return ~_all(parts)


def _optional(parts: Any) -> Any:
    return _all([part.optional() for part in parts])


def _most(parts: Any) -> Validator:
    return at_least(max(1, len(parts) - 1), *parts)


def _mean(parts: Any) -> Validator:
    # Copies: one and the same validator could stand in a mapping only once.
    return weighted({p.named(str(i)): i + 1 for i, p in enumerate(parts)}, at=0.5)


@pytest.mark.anyio
async def test_a_paid_part_is_asked_only_where_the_free_ones_leave_it_open() -> None:
    asked: list[str] = []

    async def judges(answer: Answer[Any], context: Context) -> bool:
        asked.append("paid")
        return True

    paid = Check("paid", judges, cost="paid")
    for one, times in (
        (passes | paid, 0),
        (fails & paid, 0),
        (fails | paid, 1),
        (passes & paid, 1),
        (blind | paid, 1),
        (weighted({passes: 3, paid: 1}, at=0.7), 0),
        (at_least(2, passes, passes, paid), 0),
        (paid.optional(), 1),
        (~paid, 1),
        (fails & paid.optional(), 0),
    ):
        asked.clear()
        assert one.paid
        verdict = await one.judge(ANSWER)
        assert (one.name, len(asked)) == (one.name, times)
        if not times:
            assert verdict.parts[-1].reason == "not_asked"


# Copies


def test_copies_leave_the_original_alone() -> None:
    one = gives(0.5, "one", at=0.1, cost="paid")
    other = one.at(0.9).named("other").for_tiers("a", "b")
    assert (one.name, one.threshold, one.tiers) == ("one", 0.1, None)
    assert (other.name, other.threshold) == ("other", 0.9)
    assert other.tiers == frozenset("ab")
    assert (other.paid, other.inline) == (one.paid, one.inline)


class Custom(Validator):
    """A validator as another package may write one: with attributes of its own."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.name, self.paid, self.inline, self.tiers = "custom", False, True, None

    def judge_inline(self, answer: Answer[Any], context: Context) -> Verdict:
        return Verdict.passed() if self.word in (answer.text or "") else Verdict.failed()

    async def judge(self, answer: Answer[Any], context: Context | None = None) -> Verdict:
        return self.judge_inline(answer, context or Context())

    def walk(self) -> Iterator[Validator]:
        yield self

    def missing_thresholds(self) -> list[str]:
        return []

    def fitted(self, tier: str, thresholds: Mapping[str, float]) -> Validator | None:
        return self


def test_a_validator_class_of_ones_own_composes_and_copies() -> None:
    custom = Custom("hell").named("mine")
    assert inline(custom & passes).status == "passed"
    assert inline(~custom).status == "failed"
    with pytest.raises(ConfigError, match="'mine' has no threshold of its own"):
        custom.at(0.5)


# What is registered by name


def test_a_registered_function_is_a_validator_and_still_callable() -> None:
    @validator("tests.shouts", at=0.5)
    def shouts(answer: Answer[Any], context: Context) -> float:
        return float(answer.text.isupper()) if answer.text else 0.0

    assert shouts(Answer("HI"), Context()) == 1.0
    by_name = as_validator("tests.shouts")
    assert by_name is shouts
    assert by_name.judge_inline(Answer("HI"), Context()).status == "passed"


def nothing(answer: Answer[Any], context: Context) -> None:
    return None


def makes(*, at: float) -> Any:
    return Check("made", nothing, at=at)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: validator(nothing), "a validator needs a name: write @validator"),  # type: ignore[arg-type]
        (lambda: Check("v", 5), "validator 'v' is a int, not a callable"),  # type: ignore[arg-type]
        (lambda: Check("v", nothing, at=60), "threshold of validator 'v' is 60"),
        (lambda: Check("v", nothing, timeout_s=0), "validator 'v': timeout_s=0 is not a time"),
        (lambda: Check("v", nothing, cost="cheap"), "validator 'v': cost='cheap'; write"),  # type: ignore[arg-type]
        (lambda: Check("v", true_later, blocking=True), "'v' is async; blocking=True is for sync"),
        (lambda: Check("v", lambda a: True), r"'v' cannot be called with \(answer, context\)"),  # type: ignore[arg-type,misc]
        (
            lambda: as_validator(cast("Any", makes)),
            r"its signature is \(\*, at: .*\).*first: makes\(\.\.\.\)",
        ),
        (lambda: passes.at(None), "threshold of validator 'yes' is None"),  # type: ignore[arg-type]
        (lambda: passes.for_tiers(), "for_tiers of 'yes' names no tier"),
        (lambda: (passes & fails).at(0.5), "'yes & no' has no threshold of its own"),
        (lambda: weighted({}, at=0.5), "weighted has no validators"),
        (lambda: weighted({passes: 0}, at=0.5), "the weight of 'yes' is 0"),
        (lambda: weighted({passes: "1"}, at=0.5), "the weight of 'yes' is '1'"),  # type: ignore[dict-item]
        (lambda: weighted({passes: 1e308, fails: 1e308}, at=0.5), "weights .*too large"),
        (lambda: weighted({passes: 1}, at=None), "threshold of weighted is None"),  # type: ignore[arg-type]
        (lambda: at_least(0, passes), "at_least=0 is not a whole number of 1 or more"),
        (lambda: at_least(2, passes), r"at_least\(2\) has 1 validators to count; add more"),
        (lambda: as_validator("tests.unknown"), "no validator is named 'tests.unknown'"),
        (lambda: as_validator(True), "a validator is a bool"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_judge_is_refused_with_its_mend(make: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()


def test_callables_without_a_signature_are_taken_at_their_word() -> None:
    built_into_python: Any = max
    assert as_validator(built_into_python).name == "max"


def test_a_verdict_that_was_parsed_hands_on_its_value() -> None:
    assert inline(gives(Verdict.passed(value={"a": 1}))).value == {"a": 1}
    assert inline(passes).value is UNSET


@pytest.mark.parametrize("build", ["finish_reason", "json_value", "not_refusal", "no_secrets"])
def test_a_threshold_on_what_gives_no_score_is_refused(build: str) -> None:
    unscored = as_validator(build)
    with pytest.raises(ConfigError, match=f"'{build}' passes or fails and gives no score"):
        unscored.at(0.5)
    with pytest.raises(ConfigError, match="no effect on it; leave it out"):
        Cascade(tiers=[Tier("a")], validators=[unscored], thresholds={build: 0.5})
    with pytest.raises(ConfigError, match="gives no score"):
        Check("mine", lambda answer, context: True, at=0.5, scored=False)


def test_a_validator_of_ones_own_may_do_either() -> None:
    assert Check("mine", lambda answer, context: 0.7).at(0.5).threshold == 0.5
