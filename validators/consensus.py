"""Whether the answer is what the model says again, and what the earlier tiers said."""

from __future__ import annotations

from typing import Any

from cascade.context import Context
from cascade.logs import warn
from cascade.options import check_count
from cascade.types import UNSET, Answer, Verdict
from cascade.validation import Check, Validator
from cascade.validators._compare import Compare, comparison

__all__ = ["agreement", "cross_tier"]


def agreement(
    k: int, compare: Compare = "normalised", *, field: str | None = None, tolerance: float = 0.0
) -> Validator:
    """Judges by how many of `k` further answers of the same tier agree with this one. Paid.

    The further answers are asked for at once, and billed to the attempt. The score is the share
    of those that came back and agree (Wang et al., Self-Consistency Improves Chain of Thought
    Reasoning, ICLR 2023; as a check of one answer: Manakul et al., SelfCheckGPT, EMNLP 2023).
    At temperature 0 the same tier says much the same again, whether right or wrong: the tier's
    `params` should say otherwise.

    Args:
        k: how many further answers.
        compare: "exact" (the text as it is), "normalised" (but for case, width, white space and
            the marks at its edges), "numeric" (the last number in it), "json" (as JSON values,
            members in any order), or a plain function of two values that says whether they agree.
        field: the path of the JSON field that alone is compared, such as "$.total". None: all.
        tolerance: for "numeric" and "json": the share of the larger number by which two may
            differ.

    An answer that has no such number, JSON or field does not agree. One whose call broke counts
    neither way, unless fewer than half came back.

    Named "agreement", with a field "agreement_" and its path.

    Reasons: cannot_sample (tried by hand, outside of a cascade), nothing_to_compare (this answer
    has no such number, JSON or field), too_few_samples.

    Raises:
        ConfigError: the options do not fit together.
    """
    check_count("agreement: k", k, least=1)
    by = comparison("agreement", compare, field, tolerance)

    async def judges(answer: Answer[Any], context: Context) -> Verdict:
        if not context.can_sample:
            return Verdict.abstained("cannot_sample")
        own = by.read(answer, context)
        if own is UNSET:
            return Verdict.abstained("nothing_to_compare")
        others = [by.read(sample, Context()) for sample in await _sampled(k, context)]
        if 2 * len(others) < k:
            return Verdict.abstained("too_few_samples")
        agreeing = sum(other is not UNSET and bool(by.same(own, other)) for other in others)
        return Verdict.scored(
            agreeing / len(others),
            feedback=f"Asked again, the model agreed {agreeing} of {len(others)} times.",
        )

    name = f"agreement{by.suffix}"
    return Check(name, judges, cost="paid", scored=True, version=f"k={k}")


async def _sampled(k: int, context: Context) -> list[Answer[Any]]:
    """Those of `k` further answers that came back."""
    from anyio import create_task_group

    answers: list[Answer[Any]] = []

    async def sample() -> None:
        try:
            answers.append(await context.sample())
        except Exception as error:  # whatever the user's function raises: one sample less
            warn("sample_failed", validator="agreement", error=type(error).__name__)

    async with create_task_group() as group:
        for _ in range(k):
            group.start_soon(sample)
    return answers


def cross_tier(
    compare: Compare = "normalised", *, field: str | None = None, tolerance: float = 0.0
) -> Validator:
    """Judges by how many of the earlier tiers said the same. Free.

    An answer that was rejected because its model was unsure gains weight when another model comes
    to the same: `logprob("p10").at(0.9) | cross_tier().at(1.0)`. The score is the share of the
    earlier tiers whose last answer agrees with this one. With `feedback=True` a tier has seen
    the answer before it, so that agreeing says less.

    Args:
        compare, field, tolerance: as for `agreement`.

    Named "cross_tier", with a field "cross_tier_" and its path.

    Reasons: nothing_to_compare (this answer has no such number, JSON or field), no_earlier_answer
    (none that has one, as on the first rung).

    Raises:
        ConfigError: the options do not fit together.
    """
    by = comparison("cross_tier", compare, field, tolerance)

    def judges(answer: Answer[Any], context: Context) -> Verdict:
        own = by.read(answer, context)
        if own is UNSET:
            return Verdict.abstained("nothing_to_compare")
        read = (by.read(earlier, Context()) for earlier in _earlier(answer, context))
        others = [other for other in read if other is not UNSET]
        if not others:
            return Verdict.abstained("no_earlier_answer")
        return Verdict.scored(sum(bool(by.same(own, other)) for other in others) / len(others))

    return Check(f"cross_tier{by.suffix}", judges, scored=True)


def _earlier(answer: Answer[Any], context: Context) -> list[Answer[Any]]:
    """The last answer of each other tier that was asked before."""
    own = None if context.tier is None else context.tier.name
    last: dict[str, Answer[Any]] = {}
    for attempt in context.attempts:
        if attempt.answer is not None and attempt.answer is not answer and attempt.tier != own:
            last[attempt.tier] = attempt.answer
    return list(last.values())
