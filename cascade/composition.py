"""Validators joined into one: `&`, `|`, `~`, `weighted`, `at_least`, `optional`."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from cascade import logic
from cascade.context import Context
from cascade.errors import ConfigError
from cascade.options import check_count, check_threshold, check_weight
from cascade.types import Answer, Verdict
from cascade.validation import Judges, Validator, as_validator, judge_together

__all__ = ["All", "AnyOf", "Inverse", "Optional", "at_least", "weighted"]

C = TypeVar("C", bound="Composite")

NOT_ASKED: Final = "not_asked"
"""Why a paid part says nothing: the free ones had decided."""


class Composite(Validator):
    """Validators joined by a rule that turns their verdicts into one."""

    __slots__ = ("parts",)

    joint: str  # what stands between the parts in the name

    def __init__(self, parts: Sequence[Validator | Judges]) -> None:
        self.parts = tuple(as_validator(part) for part in parts)
        self.name = self.default_name()
        self.paid = any(part.paid for part in self.parts)
        self.inline = all(part.inline for part in self.parts)
        self.tiers = None

    def default_name(self) -> str:
        """The name of a composition that was not given one."""
        names = (f"({p.name})" if " " in p.name else p.name for p in self.parts)
        return f" {self.joint} ".join(names)

    @abstractmethod
    def combine(self, verdicts: Sequence[Verdict]) -> Verdict:
        """One verdict from those of the parts, in their order. Pure."""

    def _keep(self: C, places: Sequence[int]) -> C:
        """A copy ready to have only the parts at `places`, for rules that count or weigh them."""
        return self

    def walk(self) -> Iterator[Validator]:
        yield self
        for part in self.parts:
            yield from part.walk()

    def missing_thresholds(self) -> list[str]:
        return [name for part in self.parts for name in part.missing_thresholds()]

    def fitted(self, tier: str, thresholds: Mapping[str, float]) -> Validator | None:
        if self.tiers is not None and tier not in self.tiers:
            return None
        fits = [part.fitted(tier, thresholds) for part in self.parts]
        kept = {place: part for place, part in enumerate(fits) if part is not None}
        if not kept:
            return None
        parts = tuple(kept.values())
        return self._keep(list(kept))._with(
            parts=parts,
            paid=any(part.paid for part in parts),
            inline=all(part.inline for part in parts),
        )

    def judge_inline(self, answer: Answer[Any], context: Context) -> Verdict:
        return self._joined([part.judge_inline(answer, context) for part in self.parts])

    async def judge(self, answer: Answer[Any], context: Context | None = None) -> Verdict:
        context = context or Context()
        if self.inline:
            return self.judge_inline(answer, context)
        # What is not known yet stands as an abstention: once that decides, the rest is not asked.
        verdicts = [Verdict("abstained", None, NOT_ASKED, validator=p.name) for p in self.parts]
        paid: list[int] = []
        for i, part in enumerate(self.parts):
            if part.paid:
                paid.append(i)
            else:
                verdicts[i] = await part.judge(answer, context)
        # With nothing known there is nothing to decide, even for a rule that abstentions pass.
        nothing_known = len(paid) == len(self.parts)
        if paid and (nothing_known or self.combine(verdicts).status == "abstained"):
            asked = await judge_together([self.parts[i] for i in paid], answer, context)
            for i, verdict in zip(paid, asked, strict=True):
                verdicts[i] = verdict
        return self._joined(verdicts)

    def _joined(self, verdicts: list[Verdict]) -> Verdict:
        verdict = self.combine(verdicts)
        verdict.validator = self.name
        verdict.parts = tuple(verdicts)
        if verdict.status != "passed":
            said = [v.feedback for v in verdicts if v.status != "passed" and v.feedback]
            verdict.feedback = "\n".join(said) or None
        return verdict


class All(Composite):
    """All must pass; see `logic.all_of`."""

    __slots__ = ()
    joint = "&"

    def __init__(self, *parts: Any) -> None:
        super().__init__(_flat(All, parts))

    def combine(self, verdicts: Sequence[Verdict]) -> Verdict:
        return logic.all_of(verdicts)


class AnyOf(Composite):
    """One must pass; see `logic.any_of`."""

    __slots__ = ()
    joint = "|"

    def __init__(self, *parts: Any) -> None:
        super().__init__(_flat(AnyOf, parts))

    def combine(self, verdicts: Sequence[Verdict]) -> Verdict:
        return logic.any_of(verdicts)


class Inverse(Composite):
    """It must fail; see `logic.inverse_of`."""

    __slots__ = ()

    def default_name(self) -> str:
        name = self.parts[0].name
        return f"~({name})" if " " in name else f"~{name}"

    def combine(self, verdicts: Sequence[Verdict]) -> Verdict:
        return logic.inverse_of(verdicts[0])


class Optional(Composite):
    """It must not fail; see `logic.optional_of`."""

    __slots__ = ()

    def default_name(self) -> str:
        return f"optional({self.parts[0].name})"

    def combine(self, verdicts: Sequence[Verdict]) -> Verdict:
        return logic.optional_of(verdicts[0])


class Weighted(Composite):
    """A weighted mean of scores against one threshold; see `weighted`."""

    __slots__ = ("threshold", "weights")

    def __init__(self, weights: Sequence[float], at: float, *parts: Validator | Judges) -> None:
        self.weights = tuple(weights)
        self.threshold = at
        super().__init__(parts)

    def default_name(self) -> str:
        return "weighted(" + ", ".join(part.name for part in self.parts) + ")"

    def at(self, threshold: float) -> Weighted:
        check_threshold(self.name, threshold)
        return self._with(threshold=threshold)

    def missing_thresholds(self) -> list[str]:
        return []  # its own threshold stands for its parts'

    def fitted(self, tier: str, thresholds: Mapping[str, float]) -> Validator | None:
        fitted = super().fitted(tier, thresholds)
        if fitted is None or self.name not in thresholds:
            return fitted
        return fitted.at(thresholds[self.name])

    def _keep(self, places: Sequence[int]) -> Weighted:
        return self._with(weights=tuple(self.weights[place] for place in places))

    def combine(self, verdicts: Sequence[Verdict]) -> Verdict:
        return logic.mean_of(verdicts, self.weights, self.threshold)


class AtLeast(Composite):
    """So many must pass; see `at_least`."""

    __slots__ = ("count",)

    def __init__(self, count: int, *parts: Validator | Judges) -> None:
        self.count = count
        super().__init__(parts)

    def default_name(self) -> str:
        return f"at_least({self.count}, " + ", ".join(part.name for part in self.parts) + ")"

    def _keep(self, places: Sequence[int]) -> AtLeast:
        if len(places) < self.count:
            raise ConfigError(
                f"{self.name} has only {len(places)} parts left on a tier; see its for_tiers"
            )
        return self

    def combine(self, verdicts: Sequence[Verdict]) -> Verdict:
        return logic.count_of(verdicts, self.count)


def _flat(kind: type[Composite], parts: Sequence[Any]) -> list[Any]:
    """`a & b & c` as three parts rather than two of two."""
    flat: list[Any] = []
    for part in parts:
        nested = type(part) is kind and part.tiers is None and part.name == part.default_name()
        flat.extend(part.parts if nested else [part])
    return flat


def weighted(parts: Mapping[Validator | Judges, float], *, at: float) -> Validator:
    """A validator that passes when the weighted mean of the parts' scores is at least `at`.

    Verdicts without a score of their own count 1 when passed and 0 when failed. When a part
    abstains, the mean is known only to lie in an interval: it passes or fails if all of that
    interval does, and abstains otherwise.

    Args:
        parts: validators, each with a weight above 0.
        at: the least mean that passes, 0 to 1.

    Raises:
        ConfigError: there are no parts, or a weight or the threshold is out of range.
    """
    check_threshold("weighted", at)
    if not parts:
        raise ConfigError("weighted has no validators; give it at least one with its weight")
    for part, weight in parts.items():
        check_weight(repr(as_validator(part).name), weight)
    if sum(parts.values()) == math.inf:
        raise ConfigError("the weights of weighted are too large to be added up; scale them down")
    return Weighted(list(parts.values()), at, *parts)


def at_least(count: int, *parts: Validator | Judges) -> Validator:
    """A validator that passes when at least `count` of `parts` do.

    It abstains when the abstentions could still tip the count.

    Raises:
        ConfigError: `count` is below 1 or above the number of parts.
    """
    check_count("at_least", count, least=1)
    if count > len(parts):
        raise ConfigError(f"at_least({count}) has {len(parts)} validators to count; add more")
    return AtLeast(count, *parts)
