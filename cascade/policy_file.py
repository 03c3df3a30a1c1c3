"""Reading a policy's file: nothing of it is believed before all of it is known to fit together.

A policy is put in force while calls run, so that what is wrong with its file has to show when it is
read, and not in a call.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, cast, get_args

from cascade.errors import ConfigError
from cascade.policy import (
    FORMAT,
    VERSION,
    AnswerModel,
    Feature,
    Form,
    NextTier,
    Policy,
    Scale,
    StateModel,
    basis,
)

__all__ = ["read_policy"]

_OF_A_SIGNAL: Final = ("logit", "probability", "number", "missing", "signed")
_OF_TWO_TIERS: Final = ("agree", "signed")
_NEEDED: Final = (
    "tiers",
    "strong",
    "signals",
    "slice_by",
    "price",
    "start",
    "mean_cost_usd",
    "states",
)


def read_policy(text: str, name: str) -> Policy:
    """The policy in a file's text.

    Args:
        name: what it is called in errors.

    Raises:
        ConfigError: it is no policy, one of another version, or its parts do not fit together; the
            message names the part.
    """
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name} is not JSON: {error}") from error
    parts = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    if parts.pop("format", None) != FORMAT:
        raise ConfigError(f'{name} is no policy file: it lacks "format": "{FORMAT}"')
    version = parts.pop("version", None)
    if version != VERSION:
        raise ConfigError(
            f"{name} is a policy of version {version}; this cascade reads version {VERSION}: "
            "tune it again"
        )
    try:
        return _policy(parts)
    except _Malformed as error:
        raise ConfigError(f"{name} is not a complete policy: {error}; tune it again") from error


class _Malformed(Exception):
    """What is wrong with a part of the file, in words that name the part."""


def _policy(parts: Mapping[str, Any]) -> Policy:
    _fields(parts, "", _NEEDED, optional=("evidence", "begin", "router"))
    tiers = [_text(tier, f"tiers[{i}]") for i, tier in enumerate(_list(parts["tiers"], "tiers"))]
    signals = _mapping(parts["signals"], "signals")
    for signal, scale in signals.items():
        _one_of(scale, f"signals.{signal}", get_args(Scale))
    states = _mapping(parts["states"], "states")
    read = {
        state: _state(content, f"states.{state}", _asked(state, tiers), signals, states)
        for state, content in states.items()
    }
    costs = _mapping(parts["mean_cost_usd"], "mean_cost_usd")
    for tier, cost in costs.items():
        _number(cost, f"mean_cost_usd.{tier}")
    for tier in {tier for state in states for tier in state.split(">")}:
        _present(costs, "mean_cost_usd", tier)
    start = _mapping(parts["start"], "start")
    _present(start, "start", "")
    for slice_, tier in start.items():
        _one_of(tier, f"start[{slice_!r}]", states)
    if parts["slice_by"] is not None:
        _text(parts["slice_by"], "slice_by")
    _one_of(parts["strong"], "strong", tiers)
    _number(parts["price"], "price")
    _evidence(_mapping(parts.get("evidence", {}), "evidence"))
    _begin(_mapping(parts.get("begin", {}), "begin"), parts.get("router"), states)
    content: dict[str, Any] = {**parts, "states": read}
    return Policy(**content)


def _asked(state: str, tiers: Sequence[str]) -> list[str]:
    asked = state.split(">")
    for tier in asked:
        _one_of(tier, f"a tier of the state {state!r}", tiers)
    if len(set(asked)) < len(asked):
        raise _Malformed(f"the state {state!r} asks a tier twice")
    return asked


def _state(
    content: Any,
    where: str,
    asked: Sequence[str],
    signals: Mapping[str, Any],
    states: Mapping[str, Any],
) -> StateModel:
    parts = _fields(content, where, ("features", "answers", "next"))
    features = [
        _feature(feature, f"{where}.features[{i}]", asked, signals)
        for i, feature in enumerate(_list(parts["features"], f"{where}.features"))
    ]
    answers: dict[str, AnswerModel] = {}
    for tier, model in _mapping(parts["answers"], f"{where}.answers").items():
        _one_of(tier, f"a tier of {where}.answers", asked)
        answers[tier] = _answer(model, f"{where}.answers.{tier}", len(features))
    if not answers:
        raise _Malformed(f"{where}.answers is empty")
    terms = len(basis([0.0] * len(answers), 0))
    following: dict[str, NextTier] = {}
    for tier, option in _mapping(parts["next"], f"{where}.next").items():
        _one_of(">".join((*asked, tier)), f"the state after {where}.next.{tier}", states)
        following[tier] = _next(option, f"{where}.next.{tier}", terms)
    return StateModel(features, answers, following)


def _feature(content: Any, where: str, asked: Sequence[str], signals: Mapping[str, Any]) -> Feature:
    parts = _fields(content, where, ("tier", "form", "signal", "other", "mean", "spread"))
    form = _one_of(parts["form"], f"{where}.form", get_args(Form))
    _one_of(parts["tier"], f"{where}.tier", asked)
    _text(parts["signal"], f"{where}.signal")
    _text(parts["other"], f"{where}.other")
    if form in _OF_A_SIGNAL:
        _one_of(parts["signal"], f"{where}.signal", signals)
    if form in _OF_TWO_TIERS:
        _one_of(parts["other"], f"{where}.other", asked)
    _number(parts["mean"], f"{where}.mean")
    if _number(parts["spread"], f"{where}.spread") <= 0:
        raise _Malformed(f"{where}.spread is {parts['spread']!r}, not above 0")
    return Feature(**parts)


def _answer(content: Any, where: str, features: int) -> AnswerModel:
    parts = _fields(content, where, ("weights", "curve"))
    _weights(parts["weights"], f"{where}.weights", 1 + features)
    last = -math.inf
    for i, point in enumerate(_list(parts["curve"], f"{where}.curve")):
        x, _ = _numbers(point, f"{where}.curve[{i}]", 2)
        if x < last:
            raise _Malformed(f"{where}.curve[{i}] does not rise: {x!r} comes after {last!r}")
        last = x
    return AnswerModel(**parts)


def _next(content: Any, where: str, terms: int) -> NextTier:
    parts = _fields(content, where, ("gain", "cost"))
    _weights(parts["gain"], f"{where}.gain", terms)
    _numbers(parts["cost"], f"{where}.cost", 2)
    return NextTier(parts["gain"], tuple(parts["cost"]))


def _evidence(evidence: Mapping[str, Any]) -> None:
    """What a cascade is checked against; the rest is for people."""
    for key in ("models", "validators"):
        if evidence.get(key) is not None:
            for name, said in _mapping(evidence[key], f"evidence.{key}").items():
                _text(said, f"evidence.{key}.{name}")
    if evidence.get("cascade") is not None:
        _text(evidence["cascade"], "evidence.cascade")


def _begin(begin: Mapping[str, Any], router: Any, states: Collection[str]) -> None:
    """The router itself is checked where it is made (`cascade.learn.model`)."""
    heads: Sequence[Any] = []
    if router is not None:
        heads = _list(_present(_mapping(router, "router"), "router", "heads"), "router.heads")
    elif begin:
        raise _Malformed("begin goes by a router, and there is none")
    for tier, weights in begin.items():
        _one_of(tier, "a tier of begin", states)
        _weights(weights, f"begin.{tier}", 1 + len(heads))


# What a part may be; each raises _Malformed.


def _fields(
    found: Any, where: str, needed: Collection[str], optional: Collection[str] = ()
) -> dict[str, Any]:
    parts = _mapping(found, where)
    for key in needed:
        _present(parts, where, key)
    for key in parts:
        _one_of(key, f"a field of {where}" if where else "a field", (*needed, *optional))
    return parts


def _present(parts: Mapping[str, Any], where: str, key: str) -> Any:
    if key not in parts:
        raise _Malformed(f"{where or 'it'} lacks {key!r}")
    return parts[key]


def _mapping(found: Any, where: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise _Malformed(f"{where} is {_shown(found)}, not an object")
    return cast("dict[str, Any]", found)


def _list(found: Any, where: str) -> Sequence[Any]:
    if not isinstance(found, list):
        raise _Malformed(f"{where} is {_shown(found)}, not a list")
    return cast("Sequence[Any]", found)


def _text(found: Any, where: str) -> str:
    if not isinstance(found, str):
        raise _Malformed(f"{where} is {_shown(found)}, not a text")
    return found


def _number(found: Any, where: str) -> float:
    try:
        if isinstance(found, int | float) and not isinstance(found, bool):
            number = float(found)
            if math.isfinite(number):
                return number
    except OverflowError:  # an int beyond every float
        pass
    raise _Malformed(f"{where} is {_shown(found)}, not a finite number")


def _numbers(found: Any, where: str, count: int) -> list[float]:
    numbers = _list(found, where)
    if len(numbers) != count:
        raise _Malformed(f"{where} has {len(numbers)} numbers, not {count}")
    return [_number(number, f"{where}[{i}]") for i, number in enumerate(numbers)]


def _weights(found: Any, where: str, count: int) -> None:
    weights = _mapping(found, where)
    _present(weights, where, "")
    for slice_, numbers in weights.items():
        _numbers(numbers, f"{where}[{slice_!r}]", count)


def _one_of(found: Any, where: str, known: Collection[str]) -> str:
    text = _text(found, where)
    if text not in known:
        raise _Malformed(f"{where} is {text!r}, not one of {', '.join(known) or 'none'}")
    return text


def _shown(found: Any) -> str:
    text = json.dumps(found)
    return text if len(text) <= 40 else f"{text[:40]}..."
