"""logprob, margin and entropy."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import Answer, TokenLogprob, Verdict
from cascade.validation import Check, Validator
from cascade.validators import entropy, logprob, margin

Top = tuple[tuple[str, float], ...]


def answer(*probabilities: float) -> Answer[str]:
    return Answer("text", logprobs=[TokenLogprob("t", math.log(p)) for p in probabilities])


def token(own: float, *others: float) -> TokenLogprob:
    """A token "a" with its probability, and those of "b", "c" ... listed beside it."""
    top: Top = tuple(zip("abcdefgh", map(math.log, (own, *others)), strict=False))
    return TokenLogprob("a", math.log(own), top)


def verdict(validator: Validator, judged: Answer[Any]) -> Verdict:
    return validator.judge_inline(judged, Context())


def score(validator: Validator, judged: Answer[Any]) -> float:
    found = verdict(validator, judged)
    assert found.score is not None, found.reason
    return found.score


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        ("mean", 0.1 ** (1 / 2)),
        ("perplexity", 0.1 ** (1 / 2)),
        ("min", 0.2),
        ("sum", 0.1),
        ("p50", 0.1 ** (1 / 2)),  # half-way between two logprobs is their geometric mean
    ],
)
def test_scores_of_the_statistics(statistic: str, expected: float) -> None:
    assert score(logprob(statistic), answer(0.5, 0.2)) == pytest.approx(expected)


def test_perplexity_is_one_over_it() -> None:
    perplexity = 2.0 ** (-(math.log2(0.9) + math.log2(0.3) + math.log2(0.6)) / 3)
    assert score(logprob("perplexity"), answer(0.9, 0.3, 0.6)) == pytest.approx(1 / perplexity)


def test_a_quantile_is_interpolated_linearly() -> None:
    logprobs = [-4.0, -3.0, -1.0, 0.0]
    judged = Answer("text", logprobs=[TokenLogprob("t", lp) for lp in logprobs])
    # numpy.quantile(logprobs, 0.1) == -3.7: a tenth of three steps above the least.
    assert score(logprob("p10"), judged) == pytest.approx(math.exp(-3.7))


@pytest.mark.parametrize("statistic", ["p00", "p100", "p1", "max", "median", "", 10, None])
def test_an_unknown_statistic_is_refused(statistic: Any) -> None:
    with pytest.raises(ConfigError, match="statistic"):
        logprob(statistic)


@pytest.mark.parametrize(
    ("validator", "name"),
    [
        (logprob(), "logprob_mean"),
        (logprob("p10"), "logprob_p10"),
        (margin("min"), "margin_min"),
        (entropy("max"), "entropy_max"),
    ],
)
def test_names_are_threshold_keys(validator: Validator, name: str) -> None:
    assert validator.name == name


@pytest.mark.parametrize("build", [logprob, margin, entropy])
def test_there_is_no_threshold_unless_one_is_given(build: Any) -> None:
    judged = Answer("a", logprobs=[token(0.9, 0.05)])
    check = build()
    assert isinstance(check, Check)
    assert check.scored
    assert check.missing_thresholds() == [check.name]
    assert verdict(check, judged).status == "abstained"
    assert verdict(check.at(0.1), judged).status == "passed"
    assert verdict(check.at(0.99), judged).status == "failed"


@pytest.mark.parametrize("build", [logprob, margin, entropy])
@pytest.mark.parametrize(
    ("logprobs", "reason"),
    [
        (None, "no_logprobs"),
        ([], "no_logprobs"),
        ([TokenLogprob("", -9999.0)], "no_logprobs"),  # only the end
        ([TokenLogprob("a", math.nan)], "bad_logprobs"),
        ([TokenLogprob("a", 0.5)], "bad_logprobs"),
        ([TokenLogprob("a", "-1")], "bad_logprobs"),  # type: ignore[arg-type]
        ([TokenLogprob("a", None)], "bad_logprobs"),  # type: ignore[arg-type]
        ([("a", -1.0)], "bad_logprobs"),
        (7, "bad_logprobs"),
    ],
)
def test_what_is_no_logprobs_abstains(build: Any, logprobs: Any, reason: str) -> None:
    found = verdict(build().at(0.0), Answer("text", logprobs=logprobs))
    assert (found.status, found.reason) == ("abstained", reason)


@pytest.mark.parametrize("unlisted", [-math.inf, -9999.0, -20.0])
def test_a_token_beyond_those_kept_is_very_unlikely_and_no_more(unlisted: float) -> None:
    sure = [TokenLogprob("a", 0.0)] * 99
    judged = Answer("text", logprobs=[*sure, TokenLogprob("b", unlisted)])
    assert score(logprob("mean"), judged) == pytest.approx(math.exp(-0.2))
    assert score(logprob("min"), judged) == pytest.approx(math.exp(-20))


def test_what_is_above_zero_by_rounding_counts_as_zero() -> None:
    rounded = TokenLogprob("a", 1e-4, (("a", 1e-4), ("b", -math.inf)))
    for check in (logprob("sum"), margin(), entropy()):
        assert score(check, Answer("a", logprobs=[rounded])) == 1.0


def test_the_end_marker_of_a_server_is_no_token_of_the_answer() -> None:
    # As vLLM sends it: nothing written, -9999.0, nothing listed.
    judged = Answer("a", logprobs=[token(0.9, 0.1), TokenLogprob("", -9999.0, (), b"")])
    assert score(logprob("min"), judged) == pytest.approx(0.9)
    assert score(margin("min"), judged) == pytest.approx(0.8)


def test_an_answer_is_read_once() -> None:
    class Counted(list[TokenLogprob]):
        reads = 0

        def __iter__(self) -> Any:
            Counted.reads += 1
            return super().__iter__()

    context, judged = Context(), Answer("a", logprobs=Counted([token(0.9, 0.05)]))
    for check in (logprob("mean"), logprob("p10"), margin(), entropy()):
        check.judge_inline(judged, context)
    assert Counted.reads == 1
    other = Answer("a", logprobs=[token(0.5, 0.5)])
    assert logprob("min").judge_inline(other, context).score == pytest.approx(0.5)


def test_margin_is_the_lead_over_the_likeliest_other_token() -> None:
    judged = Answer("aa", logprobs=[token(0.7, 0.2), token(0.5, 0.4, 0.1)])
    assert score(margin("mean"), judged) == pytest.approx(0.3)
    assert score(margin("min"), judged) == pytest.approx(0.1)


def test_a_token_that_was_not_the_likeliest_has_no_lead() -> None:
    assert score(margin(), Answer("a", logprobs=[token(0.2, 0.7)])) == 0.0


def test_a_drawn_token_may_be_missing_from_the_list() -> None:
    top: Top = (("b", math.log(0.5)), ("c", math.log(0.2)))
    judged = Answer("a", logprobs=[TokenLogprob("a", math.log(0.1), top)])
    assert score(margin(), judged) == 0.0


def test_a_token_listed_alone_leads_over_all_that_is_left() -> None:
    # As servers list it where a grammar leaves a single choice, or nearly.
    judged = Answer("aa", logprobs=[token(0.6, 0.3), token(0.8)])
    assert score(margin("p99"), judged) == pytest.approx(0.3 + 0.3 * 0.99)


@pytest.mark.parametrize("build", [margin, entropy])
@pytest.mark.parametrize("tokens", [[token(0.9)], [token(0.9, 0.05), TokenLogprob("a", -0.1)]])
def test_too_short_lists_abstain(build: Any, tokens: list[TokenLogprob]) -> None:
    found = verdict(build().at(0.0), Answer("a", logprobs=tokens))
    assert (found.status, found.reason) == ("abstained", "no_top_logprobs")


@pytest.mark.parametrize("build", [margin, entropy])
@pytest.mark.parametrize("top", [((("b"),), ("c", -1.0)), (("a", math.nan),) * 2, (1, 2), 5])
def test_unreadable_lists_abstain(build: Any, top: Any) -> None:
    found = verdict(build().at(0.0), Answer("a", logprobs=[TokenLogprob("a", -0.1, top)]))
    assert (found.status, found.reason) == ("abstained", "bad_logprobs")


def test_entropy_of_a_sure_and_of_an_even_choice() -> None:
    sure = TokenLogprob("a", 0.0, (("a", 0.0), ("b", -math.inf)))
    even = token(1 / 3, 1 / 3)  # and a third for all that is not listed
    assert score(entropy(), Answer("a", logprobs=[sure])) == 1.0
    assert score(entropy(), Answer("a", logprobs=[even])) == pytest.approx(0.0, abs=1e-9)
    assert score(entropy("mean"), Answer("a", logprobs=[sure, even])) == pytest.approx(0.5)
    assert score(entropy("max"), Answer("a", logprobs=[sure, even])) == pytest.approx(0.0, abs=1e-9)


def test_entropy_counts_what_is_left_over_as_one_outcome() -> None:
    expected = -(0.6 * math.log(0.6) + 0.3 * math.log(0.3) + 0.1 * math.log(0.1)) / math.log(3)
    found = score(entropy(), Answer("a", logprobs=[token(0.6, 0.3)]))
    assert found == pytest.approx(1 - expected)


@given(st.lists(st.floats(0.01, 1), min_size=4, max_size=8), st.integers(2, 3))
def test_lumping_outcomes_together_never_raises_the_entropy(
    weights: list[float], listed: int
) -> None:
    shares = sorted((w / math.fsum(weights) for w in weights), reverse=True)
    truth = -math.fsum(p * math.log(p) for p in shares)
    found = score(entropy(), Answer("a", logprobs=[token(shares[0], *shares[1:listed])]))
    assert (1 - found) * math.log(listed + 1) <= truth + 1e-9


finite = st.floats(-50, 0)
listings = st.lists(st.tuples(st.text(max_size=3), finite), max_size=4).map(tuple)
tokens = st.builds(TokenLogprob, st.text(min_size=1, max_size=3), finite, listings)
validators = st.sampled_from(
    [logprob(s) for s in ("mean", "min", "sum", "perplexity", "p01", "p10", "p99")]
    + [margin(s) for s in ("mean", "min", "p10")]
    + [entropy(s) for s in ("mean", "max", "p90")]
)


@given(validators, st.lists(tokens, min_size=1))
def test_scores_stay_within_range(validator: Validator, given_tokens: list[TokenLogprob]) -> None:
    found = verdict(validator, Answer("text", logprobs=given_tokens))
    assert found.reason in ("no_threshold", "no_top_logprobs")
    assert found.score is None or 0 <= found.score <= 1


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=8,
)


@given(validators, st.lists(st.builds(TokenLogprob, anything, anything, anything)) | anything)
def test_no_answer_breaks_them(validator: Validator, logprobs: Any) -> None:
    found = verdict(validator.at(0.5), Answer("text", logprobs=logprobs))
    assert not found.reason.startswith("crashed")


@given(st.lists(st.floats(-15, 0), min_size=1, max_size=30))
def test_the_statistics_are_ordered(logprobs: list[float]) -> None:
    judged = Answer("text", logprobs=[TokenLogprob("t", lp) for lp in logprobs])
    by = {s: score(logprob(s), judged) for s in ("sum", "min", "p10", "p50", "p90", "mean")}
    close = 1 + 1e-9
    assert by["sum"] <= by["min"] * close
    assert by["min"] <= by["p10"] * close
    assert by["p10"] <= by["p50"] * close
    assert by["p50"] <= by["p90"] * close
    assert by["min"] <= by["mean"] * close
