"""Graders: how right an answer is, from 0 to 1, held against what the case expects.

A grader is written as a name with an option: "text", "numeric:0.01", "json_field:answer,total",
"judge:large", or "module:function" for one of your own.
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Protocol, TypeAlias, cast

from cascade.context import Context
from cascade.errors import ConfigError, did_you_mean
from cascade.evals.cases import Case
from cascade.tier import Tier
from cascade.types import UNSET, Answer, Verdict
from cascade.validators._compare import last_number, normalised, same_json
from cascade.validators._paths import parse_path, value_at
from cascade.validators.json_text import read_json
from cascade.validators.judging import judge

__all__ = ["GRADERS", "Grader", "GraderSettings", "Reply", "Ungraded", "grader_of"]


class Ungraded(Exception):
    """An answer that could not be graded; `reason` is a short code without content."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class Reply:
    """What is graded.

    Attributes:
        answer: the tier's whole answer.
        value: its value, or what a parsing validator made of it.
        context: what a judge needs to ask with. It bills nobody in the runs.
    """

    answer: Answer[Any] = field(repr=False)
    value: Any = field(repr=False)
    context: Context = field(repr=False)

    @property
    def text(self) -> str:
        """The answer as text; JSON of a value that is none."""
        if isinstance(self.answer.text, str):
            return self.answer.text
        return json.dumps(self.value, ensure_ascii=False, default=str)

    @property
    def json(self) -> Any:
        """The answer as a JSON value. UNSET: there is none in it."""
        if not isinstance(self.value, str):
            return self.value
        return read_json(self.value).value


class Grader(Protocol):
    """How right an answer is.

    Raises:
        Ungraded: it cannot be told.
    """

    async def __call__(self, case: Case, reply: Reply) -> float: ...


@dataclass(frozen=True, slots=True)
class GraderSettings:
    """What graders are made with.

    Attributes:
        default: the grader of cases that name none. None: by the type of what they expect.
        rubric: what a good answer is, for judges. None: that it says what is expected.
        tier: the tier of a name, for judges; raises ConfigError for an unknown one.
    """

    default: str | None = None
    rubric: str | None = None
    tier: Callable[[str], Tier] | None = None


Simple: TypeAlias = Callable[[Any, Reply], float]


def grader_of(case: Case, settings: GraderSettings) -> Grader:
    """The grader of one case.

    Raises:
        ConfigError: there is no such grader, or the case does not expect what it needs.
    """
    spec = case.grader or settings.default or _natural(case)
    name, _, option = spec.partition(":")
    try:
        if name == "judge":
            return _judge(case, option, settings)
        if name in GRADERS:
            return _simple(GRADERS[name](option), case, name)
        if option:
            return _custom(name, option)
    except ConfigError as error:
        raise ConfigError(f"case {case.id!r} (line {case.line}): {error}") from None
    raise ConfigError(
        f"there is no grader {spec!r}; {did_you_mean(name, [*GRADERS, 'judge'])}. One of your own "
        "is written as module:function"
    )


def _natural(case: Case) -> str:
    """The grader that the type of what is expected calls for."""
    expected = case.expected
    if isinstance(expected, str):
        return "text"
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        return "numeric"
    if isinstance(expected, dict | bool):
        return "json"
    if expected is UNSET:
        raise ConfigError(
            f"case {case.id!r} (line {case.line}) expects nothing; give it `expected`, which may "
            "not be null, or a grader that needs none, such as judge:TIER"
        )
    raise ConfigError(
        f"case {case.id!r} (line {case.line}) expects a list; say with `grader` whether that is "
        "a set, a json list, or one_of several right answers"
    )


def _simple(score: Simple, case: Case, name: str) -> Grader:
    if case.expected is UNSET:
        raise ConfigError(f"the grader {name} needs `expected`")
    _check_expected(name, case.expected)

    async def grade(case: Case, reply: Reply) -> float:
        return score(case.expected, reply)

    return grade


def _check_expected(name: str, expected: object) -> None:
    if name in ("set", "set_f1", "one_of") and not isinstance(expected, list):
        raise ConfigError(f"the grader {name} expects a list")
    if name == "numeric" and last_number(expected) is UNSET:
        raise ConfigError("the grader numeric expects a number")
    if name == "regex":
        _pattern(cast("Any", expected))


# --- the graders that only look


def _plain(name: str, score: Simple) -> Callable[[str], Simple]:
    def made(option: str) -> Simple:
        if option:
            raise ConfigError(f"the grader {name} takes no option, and has {option!r}")
        return score

    return made


def _exact(expected: Any, reply: Reply) -> float:
    if isinstance(expected, str):
        return float(reply.text == expected)
    return float(same_json(reply.json, expected))


def _text(expected: Any, reply: Reply) -> float:
    return float(normalised(reply.text) == normalised(_as_text(expected)))


def _contains(expected: Any, reply: Reply) -> float:
    return float(normalised(_as_text(expected)) in normalised(reply.text))


def _one_of(expected: Any, reply: Reply) -> float:
    said = normalised(reply.text)
    return float(any(said == normalised(_as_text(one)) for one in expected))


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _numeric(option: str) -> Simple:
    tolerance = _tolerance(option)

    def score(expected: Any, reply: Reply) -> float:
        value = reply.value if not isinstance(reply.value, str) else reply.text
        said = last_number(value)
        return float(said is not UNSET and same_json(said, last_number(expected), tolerance))

    return score


def _tolerance(option: str) -> Decimal:
    try:
        share = float(option or 0)
    except ValueError:
        share = math.nan
    if not 0 <= share < 1:
        raise ConfigError(
            f"the grader numeric:{option} should name the share by which numbers may differ, "
            "such as numeric:0.01"
        )
    return Decimal(repr(share))


def _items(reply: Reply) -> Counter[str]:
    """The answer's items: a JSON list's, else what commas, semicolons or lines separate."""
    value = reply.json
    if not isinstance(value, list):
        value = re.split(r"[,;\n]", reply.text)
    said = (_item(one) for one in cast("list[object]", value))
    return Counter(one for one in said if one)


def _item(value: object) -> str:
    text = _as_text(value)
    return str(normalised(re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", text)))


def _set(expected: Any, reply: Reply) -> float:
    return float(_items(reply) == Counter(_item(one) for one in expected))


def _set_f1(expected: Any, reply: Reply) -> float:
    wanted, said = Counter(_item(one) for one in expected), _items(reply)
    total = wanted.total() + said.total()
    return 1.0 if not total else 2 * (wanted & said).total() / total


def _json(expected: Any, reply: Reply) -> float:
    return float(same_json(reply.json, expected))


def _json_field(option: str) -> Simple:
    if not option:
        raise ConfigError("the grader json_field names a field, such as json_field:answer")
    paths = {name: parse_path("json_field", name) for name in option.split(",")}

    def score(expected: Any, reply: Reply) -> float:
        said = reply.json
        right = [
            _same_field(value_at(said, path), _expected_at(expected, name, len(paths)))
            for name, path in paths.items()
        ]
        return sum(right) / len(right)

    return score


def _expected_at(expected: Any, name: str, count: int) -> Any:
    """What a field should hold: an object's member of that path, else the whole."""
    if isinstance(expected, Mapping):
        members = cast("Mapping[str, Any]", expected)
        return members[name] if name in members else value_at(members, parse_path("", name))
    return expected if count == 1 else UNSET


def _same_field(said: Any, expected: Any) -> bool:
    if said is UNSET or expected is UNSET:
        return False
    return same_json(normalised(said), normalised(expected))


def _pattern(expected: object) -> re.Pattern[str]:
    try:
        return re.compile(str(expected))
    except re.error as error:
        raise ConfigError(f"the pattern {str(expected)!r} cannot be read: {error}") from None


def _regex(option: str) -> Simple:
    """With a pattern, what its first group finds is compared; else `expected` is the pattern."""
    pattern = _pattern(option) if option else None
    if pattern is not None and pattern.groups != 1:
        raise ConfigError(f"the pattern {option!r} should have one group, which holds the answer")

    def score(expected: Any, reply: Reply) -> float:
        if pattern is None:
            return float(_pattern(expected).search(reply.text) is not None)
        *_, last = [None, *pattern.finditer(reply.text)]
        return float(last is not None and normalised(last[1]) == normalised(_as_text(expected)))

    return score


GRADERS: Final[dict[str, Callable[[str], Simple]]] = {
    "exact": _plain("exact", _exact),
    "text": _plain("text", _text),
    "contains": _plain("contains", _contains),
    "one_of": _plain("one_of", _one_of),
    "numeric": _numeric,
    "set": _plain("set", _set),
    "set_f1": _plain("set_f1", _set_f1),
    "json": _plain("json", _json),
    "json_field": _json_field,
    "regex": _regex,
}
"""The graders that need nothing but the answer and what is expected, by name."""


# --- the graders that ask


def _judge(case: Case, tier_name: str, settings: GraderSettings) -> Grader:
    if not tier_name or settings.tier is None:
        raise ConfigError("a judge names its tier, as in judge:large")
    rubric = settings.rubric
    if rubric is None and case.expected is UNSET:
        raise ConfigError("a judge needs a rubric, or a case with `expected`")
    check = judge(settings.tier(tier_name), _rubric(rubric, case.expected))

    async def grade(case: Case, reply: Reply) -> float:
        verdict = await check.judge(reply.answer, reply.context)
        if verdict.score is None:
            raise Ungraded(verdict.reason)
        return verdict.score

    return grade


def _rubric(rubric: str | None, expected: Any) -> str:
    words = rubric or "The answer says the same as the reference answer, in whatever words."
    if expected is UNSET:
        return words
    return f"{words}\n\nThe reference answer, as JSON: {json.dumps(expected, ensure_ascii=False)}"


def _custom(module: str, name: str) -> Grader:
    function = _function(module, name)

    async def grade(case: Case, reply: Reply) -> float:
        try:
            said = function(case, reply.value)
            if inspect.isawaitable(said):
                said = await said
        except Exception as error:
            raise Ungraded(f"crashed:{type(error).__name__}") from error
        return _score(said)

    return grade


def _function(module: str, name: str) -> Callable[[Case, Any], Any | Awaitable[Any]]:
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise ConfigError(
            f"the grader {module}:{name} cannot be imported: {type(error).__name__}: {error}"
        ) from None
    if not callable(found):
        raise ConfigError(f"the grader {module}:{name} is no function of (case, value)")
    return cast("Callable[[Case, Any], Any]", found)


def _score(said: object) -> float:
    if isinstance(said, Verdict):
        said = said.score
    try:
        score = float(cast("Any", said))
    except (TypeError, ValueError):
        raise Ungraded("no_score") from None
    if not 0 <= score <= 1:
        raise Ungraded("score_out_of_range")
    return score
