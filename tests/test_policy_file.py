"""Policy files that something happened to: refused in words, and never half believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cascade.errors import ConfigError
from cascade.evals.tune import Settings, tune
from cascade.policy import Observation, Policy
from tests.evals.recorded import TIERS, made_up

Place = tuple[str | int, ...]

NAN = float("nan")
OTHERS: tuple[Any, ...] = ("free", 7, True, None, [], ["x"], {}, {"x": 1}, NAN)
BY_NAME = ("signals", "start", "mean_cost_usd", "states", "answers", "next", "weights", "gain")
"""Objects whose keys are names: one may be missing, where nothing refers to it."""


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A file as `cascade tune` writes it, with a router's part made up."""
    ladder = {tier: TIERS[tier] for tier in ("small", "large")}
    runs = made_up(tmp_path_factory.mktemp("runs"), 200, tiers=ladder)
    policy = tune(runs, "large", Settings(target=0.97, folds=3, repeats=1))
    made: dict[str, Any] = json.loads(policy.to_json())
    made["slice_by"] = "task"
    made["start"]["x"] = made["start"][""]
    for state in made["states"].values():
        for model in state["answers"].values():
            model["weights"]["x"] = model["weights"][""]
            model["curve"] = [[0.2, 0.1], [0.8, 0.9]]
    made["evidence"] |= {"models": {"small": "m-1"}, "validators": {"sure": "1"}, "cascade": "c"}
    made["begin"] = {made["start"][""]: {"": [0.0, 1.0, -1.0]}}
    made["router"] = {"heads": [{"tier": "small"}, {"tier": "large"}]}
    return made


def places(content: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every part of a file, and where it stands."""
    if place:
        yield place, content
    if isinstance(content, dict):
        for key, part in content.items():
            yield from places(part, (*place, key))
    elif isinstance(content, list):
        for i, part in enumerate(content):
            yield from places(part, (*place, i))


def changed(content: Any, place: Place, *to: Any) -> Any:
    """The content with one part changed, or gone where `to` says nothing."""
    first, *rest = place
    made = content.copy()
    if rest:
        made[first] = changed(made[first], tuple(rest), *to)
    elif not to:
        del made[first]
    else:
        made[first] = to[0]
    return made


def kind(value: Any) -> Any:
    return float if type(value) is int else type(value)


def drive(policy: Policy) -> None:
    """Ask it everything that a call may ask it."""
    for slice_ in ("", "x", "y"):
        policy.decide({}, slice_)
        policy.decide({}, slice_, [0.5, 0.5])
        for state in policy.states:
            for seen in (Observation(), Observation({"sure": 0.9}, "A", True, 0.1, 9.0)):
                policy.decide(dict.fromkeys(state.split(">"), seen), slice_)


def test_the_file_itself_is_read(content: dict[str, Any]) -> None:
    read = Policy.from_json(json.dumps(content))
    drive(read)
    again = Policy.from_json(read.to_json())
    assert again.sha256() == read.sha256()


def test_a_part_of_another_type_is_refused(content: dict[str, Any]) -> None:
    refused = 0
    for place, value in places(content):
        field, *inner = place
        if field in ("router", "version") or (field == "evidence" and inner):
            continue  # checked where the router is made, or for people
        for other in OTHERS:
            is_allowed = other is None and field == "slice_by"
            if is_allowed or (kind(other) is kind(value) and other is not NAN):
                continue
            text = json.dumps(changed(content, place, other))
            with pytest.raises(ConfigError, match=r"^the policy p.json is ") as raised:
                Policy.from_json(text, "the policy p.json")
            assert str(field) in str(raised.value)
            refused += 1
    assert refused > 1000


def test_a_part_that_is_missing_is_refused_unless_nothing_wants_it(
    content: dict[str, Any],
) -> None:
    refused = 0
    for place, _ in places(content):
        try:
            read = Policy.from_json(json.dumps(changed(content, place)))
        except ConfigError:
            refused += 1
            continue
        drive(read)
        field, *inner = place
        is_named = bool(inner) and place[-2] in (*BY_NAME, "curve")
        assert is_named or field in ("evidence", "begin", "router"), place
    assert refused > 300


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("start",), {}, "start lacks ''"),
        (("start", ""), "medum", "start[''] is 'medum', not one of"),
        (("price",), "free", 'price is "free", not a finite number'),
        (("price",), float("inf"), "price is Infinity, not a finite number"),
        (("price",), 10**400, "price is 1000"),
        (("price",), True, "price is true, not a finite number"),
        (("strong",), "huge", "strong is 'huge', not one of small"),
        (("tiers",), "small", 'tiers is "small", not a list'),
        (("tiers",), ["small"], "a tier of the state"),
        (("signals", "sure"), "percent", "signals.sure is 'percent', not one of logprob"),
        (("signals",), {}, "signal is 'sure', not one of none"),
        (("states",), {}, "not one of none"),
        (("mean_cost_usd",), {}, "mean_cost_usd lacks"),
        (("evidence",), None, "evidence is null, not an object"),
        (("evidence", "models"), ["m-1"], "evidence.models is"),
        (("evidence", "validators"), {"sure": 2}, "evidence.validators.sure is 2, not a text"),
        (("evidence", "cascade"), 1, "evidence.cascade is 1"),
        (("router",), None, "begin goes by a router, and there is none"),
        (("router",), {}, "router lacks 'heads'"),
        (("begin",), {"small": {"": [0.0]}}, "begin.small[''] has 1 numbers, not 3"),
        (("begin",), {"huge": {}}, "a tier of begin is 'huge'"),
        (("foo",), 1, "a field is 'foo', not one of tiers"),
        (("states", "small", "foo"), 1, "a field of states.small is 'foo', not one of"),
        (("states", "small", "answers"), {}, "states.small.answers is empty"),
        (("states", "small", "answers", "large"), {}, "a tier of states.small.answers is 'large'"),
        (("states", "small", "answers", "small", "weights", ""), [1], "has 1 numbers, not"),
        (("states", "small", "answers", "small", "weights"), {"x": []}, "weights lacks ''"),
        (("states", "small", "answers", "small", "curve"), [[1, 0], [0, 1]], "does not rise"),
        (("states", "small", "answers", "small", "curve"), [[1]], "curve[0] has 1 numbers"),
        (("states", "small", "features", 0, "spread"), 0, "spread is 0, not above 0"),
        (("states", "small", "features", 0, "form"), "square", "form is 'square', not one of"),
        (("states", "small", "features", 0, "tier"), "large", "tier is 'large', not one of small"),
        (("states", "small", "next"), {"small": {}}, "the state after states.small.next.small is"),
        (("states", "small>small"), {}, "the state 'small>small' asks a tier twice"),
    ],
)
def test_parts_that_do_not_fit_together_are_named(
    content: dict[str, Any], place: Place, value: Any, words: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        Policy.from_json(json.dumps(changed(content, place, value)), "the policy p.json")
    said = str(raised.value)
    assert said.startswith("the policy p.json is not a complete policy: ")
    assert said.endswith("; tune it again")
    assert words in said


def test_a_file_that_nests_too_deep_is_no_json(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="is not JSON"):
        Policy.load(file)
