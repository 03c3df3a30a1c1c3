"""Whether two answers say the same: what of them is compared, and how."""

from __future__ import annotations

import inspect
import math
import re
import unicodedata
from collections.abc import Callable
from decimal import Context as DecimalContext
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias, cast

from cascade.context import Context
from cascade.errors import ConfigError, did_you_mean
from cascade.types import UNSET, Answer
from cascade.validators._paths import Path, parse_path, slug, value_at
from cascade.validators.jsons import parsed

__all__ = [
    "Compare",
    "Comparison",
    "comparison",
    "field_reader",
    "last_number",
    "normalised",
    "same_json",
]

Compare: TypeAlias = str | Callable[[Any, Any], bool]
"""The name of a comparison, or a function of the two values."""

Read: TypeAlias = Callable[[Answer[Any], Context], Any]
Same: TypeAlias = Callable[[Any, Any], bool]


class Comparison(NamedTuple):
    """How answers are compared.

    Attributes:
        read: what of an answer is compared. UNSET: it has nothing of the kind.
        same: whether two of those agree.
        suffix: what a field adds to the validator's name.
    """

    read: Read
    same: Same
    suffix: str


def comparison(who: str, compare: Compare, field: str | None, tolerance: float) -> Comparison:
    """A comparison from its options.

    Args:
        who: the validator, for messages.
        compare: "exact", "normalised", "numeric", "json", or a function.
        field: the path of the field that alone is compared. None: the whole answer.
        tolerance: numbers differ at most by this share of the larger one.

    Raises:
        ConfigError: the options do not fit together.
    """
    make, same = _kind(who, compare, _checked(who, compare, tolerance))
    if field is not None:
        path = parse_path(f"{who}: field", field)
        return Comparison(_made(field_reader(path), make), same, f"_{slug(path)}")
    if compare == "json":
        return Comparison(_json_of, same, "")
    return Comparison(_made(_value_of if callable(compare) else _text_of, make), same, "")


def _checked(who: str, compare: Compare, tolerance: float) -> Decimal:
    number: Any = tolerance
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < 1:
        raise ConfigError(
            f"{who}: tolerance={tolerance!r}; give a share of the number from 0 to below 1, "
            "such as 0.01"
        )
    if tolerance and compare not in ("numeric", "json"):
        raise ConfigError(
            f'{who}: tolerance has no effect with compare={compare!r}; use "numeric" or "json"'
        )
    return Decimal(repr(tolerance))


def _kind(who: str, compare: Compare, tolerance: Decimal) -> tuple[Callable[[Any], Any], Same]:
    """What is made of a value before it is compared, and how it is compared."""
    if isinstance(compare, str):
        make = _MAKES.get(compare)
        if make is None:
            raise ConfigError(f"{who}: compare={compare!r}; {did_you_mean(compare, _MAKES)}")
        return make, lambda one, other: same_json(one, other, tolerance)
    if not callable(compare) or inspect.iscoroutinefunction(compare):
        raise ConfigError(f"{who}: compare is no name and no plain function of two values")
    return _itself, compare


def _itself(value: Any) -> Any:
    return value


def _made(read: Read, make: Callable[[Any], Any]) -> Read:
    def both(answer: Answer[Any], context: Context) -> Any:
        value = read(answer, context)
        return UNSET if value is UNSET else make(value)

    return both


def _value_of(answer: Answer[Any], _: Context) -> Any:
    return UNSET if answer.value is None else answer.value


def _text_of(answer: Answer[Any], context: Context) -> Any:
    return answer.text if isinstance(answer.text, str) else _value_of(answer, context)


def _json_of(answer: Answer[Any], context: Context) -> Any:
    return parsed(answer, context).value


def field_reader(path: Path) -> Read:
    """What reads the value at `path` in an answer's JSON. UNSET: there is none."""
    return lambda answer, context: value_at(parsed(answer, context).value, path)


_EDGE: Final = "\"'`*_ "
_ENDING: Final = _EDGE + ".,;:!?"


def normalised(value: Any) -> Any:
    """Text without differences of case, width, white space, and of the marks at its edges.

    Unicode's compatibility form NFKC (UAX 15), case-folded. What is no text is left as it is.
    """
    if not isinstance(value, str):
        return value
    folded = unicodedata.normalize("NFKC", value).casefold()
    return " ".join(folded.split()).lstrip(_EDGE).rstrip(_ENDING)


_NUMBER: Final = re.compile(
    r"""(?:(?<![\w.])[-+])?
        (?: (?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9]) | [0-9]+) (?:\.[0-9]+)? | \.[0-9]+ )
        (?:[eE][-+]?[0-9]{1,3}(?![0-9]))?""",
    re.VERBOSE,
)
_NUMBER_CHARS: Final = 200


def last_number(value: Any) -> Any:
    """A number, or the last one in a text, where models put their result. UNSET: there is none.

    In English notation: "1,234.5". (The last number as the answer: Cobbe et al., Training
    Verifiers to Solve Math Word Problems, 2021, and common use since.)
    """
    if isinstance(value, int | float | Decimal):
        return UNSET if isinstance(value, bool) or not math.isfinite(value) else value
    if not isinstance(value, str):
        return UNSET
    end = 1 + max(value.rfind(digit) for digit in "0123456789")
    found = UNSET if end == 0 else _numbers(value, max(0, end - _NUMBER_CHARS), end)
    return found


def _numbers(text: str, start: int, end: int) -> Decimal:
    """The last number in `text[start:end]`, which ends with a digit."""
    *_, last = _NUMBER.finditer(text, start, end)
    return Decimal(last[0].replace(",", ""))


_MAKES: Final[dict[str, Callable[[Any], Any]]] = {
    "exact": _itself,
    "normalised": normalised,
    "numeric": last_number,
    "json": _itself,
}
_WIDE: Final = DecimalContext(prec=60, traps=[])


def same_json(one: object, other: object, tolerance: Decimal = Decimal(0)) -> bool:
    """Whether two JSON values are equal: 1 is 1.0, but True is not 1; members have no order.

    Args:
        tolerance: numbers may differ by this share of the larger one.
    """
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float | Decimal) and isinstance(other, int | float | Decimal):
        return _close(one, other, tolerance)
    if isinstance(one, dict) and isinstance(other, dict):
        left, right = cast("dict[object, object]", one), cast("dict[object, object]", other)
        return left.keys() == right.keys() and all(
            same_json(value, right[key], tolerance) for key, value in left.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        firsts, seconds = cast("list[object]", one), cast("list[object]", other)
        return len(firsts) == len(seconds) and all(
            same_json(a, b, tolerance) for a, b in zip(firsts, seconds, strict=True)
        )
    return bool(one == other)


def _close(one: float | Decimal, other: float | Decimal, tolerance: Decimal) -> bool:
    if one == other:
        return True
    if not (math.isfinite(one) and math.isfinite(other)):
        return False
    # By the digits they were written with: 0.1 is a tenth, whoever read it.
    a, b = (x if isinstance(x, Decimal) else Decimal(repr(x)) for x in (one, other))
    distance = _WIDE.abs(_WIDE.subtract(a, b))
    return distance <= _WIDE.multiply(tolerance, max(_WIDE.abs(a), _WIDE.abs(b)))
