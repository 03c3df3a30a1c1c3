"""`@cascade` on everything that can be called, and `Cascade` as an object."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cascade import (
    Answer,
    Cascade,
    CascadeExhausted,
    CascadeFunction,
    ConfigError,
    Context,
    DeadlineExceeded,
    Path,
    Request,
    Tier,
    cascade,
)
from cascade.testing import HANG, Scripted
from cascade.validation import Check

anyio_test = pytest.mark.anyio


def is_large(answer: Answer[Any], context: Context) -> bool:
    return str(answer.value).startswith("large")


ladder = Cascade(
    tiers=[Tier("small"), Tier("large")],
    validators=[is_large],
    paths={"fast": Path(direct="large", budget_s=60), "cheap": Path(direct="small")},
    name="c",
)


def wrap(function: Any) -> Any:
    """As `@ladder`; what type checkers make of that is the matter of tests/typing."""
    return ladder(function)


@wrap
async def triage(tier: Tier, ticket: str, *, urgent: bool = False) -> str:
    """Sort a ticket."""
    return f"{tier.name} {ticket} {urgent}"


# Functions


@anyio_test
async def test_a_function_is_asked_up_the_ladder_with_its_own_arguments() -> None:
    assert await triage("t", urgent=True) == "large t True"
    result = await triage.run(ticket="t")
    assert (result.value, result.tier, result.cascade) == ("large t False", "large", "c")
    assert [a.tier for a in result.attempts] == ["small", "large"]


@anyio_test
async def test_a_path_binds_the_same_callable() -> None:
    fast = triage.on("fast")
    result = await fast.run("t")
    assert (result.path, [a.tier for a in result.attempts]) == ("fast", ["large"])
    assert await fast("t") == "large t False"
    assert fast.cascade is triage.cascade
    assert (fast.__name__, inspect.signature(fast)) == ("triage", inspect.signature(triage))
    with pytest.raises(CascadeExhausted, match="on path 'cheap'"):
        await fast.on("cheap")("t")
    with pytest.raises(ConfigError, match="has no path 'fats'; did you mean 'fast'"):
        triage.on("fats")


def test_a_wrapped_function_looks_like_the_function_without_the_tier() -> None:
    assert str(inspect.signature(triage)) == "(ticket: 'str', *, urgent: 'bool' = False) -> 'str'"
    assert (triage.__name__, triage.__doc__) == ("triage", "Sort a ticket.")
    assert triage.__module__ == __name__
    assert triage.__wrapped__.__name__ == "triage"
    assert repr(triage) == "<cascade function triage on the whole ladder>"
    assert repr(triage.on("fast")) == "<cascade function triage on fast>"
    assert isinstance(triage, CascadeFunction)


def test_web_frameworks_find_the_parameters_and_that_it_is_async() -> None:
    """What FastAPI and Starlette look at: signature, resolved hints, and the kind of callable."""
    hints = typing.get_type_hints(triage)
    parameters = inspect.signature(triage).parameters
    assert {name: hints[name] for name in parameters} == {"ticket": str, "urgent": bool}
    assert callable(triage)
    assert inspect.iscoroutinefunction(triage.__call__)


@anyio_test
async def test_a_decorator_around_it_and_one_inside_of_it() -> None:
    def shouting(function: Any) -> Any:
        @functools.wraps(function)
        async def shouts(*args: Any, **kwargs: Any) -> str:
            return str(await function(*args, **kwargs)).upper()

        return shouts

    inside = Cascade(tiers=[Tier("small")])(shouting(triage.__wrapped__))
    assert await inside("t") == "SMALL T FALSE"
    assert str(inspect.signature(inside)).startswith("(ticket: 'str'")
    outside = shouting(triage)
    assert await outside("t") == "LARGE T FALSE"
    assert str(inspect.signature(outside)).startswith("(ticket: 'str'")


# Everything else that can be called


class Desk:
    """Methods of every kind, `@cascade` outermost."""

    def __init__(self, name: str) -> None:
        self.name = name

    @wrap
    async def method(self, tier: Tier, ticket: str) -> str:
        return f"{tier.name} {self.name} {ticket}"

    @wrap
    @classmethod
    async def of_class(cls, tier: Tier, ticket: str) -> str:
        return f"{tier.name} {cls.__name__} {ticket}"

    @wrap
    @staticmethod
    async def static(tier: Tier, ticket: str) -> str:
        return f"{tier.name} {ticket}"

    quick = method.on("fast")


class Counter(Desk):
    @wrap
    async def method(self, tier: Tier, ticket: str) -> str:
        once: str = await super().method.on("fast")(ticket)
        return f"{once} twice"


@anyio_test
async def test_methods_are_bound_to_their_object() -> None:
    desk = Desk("d")
    assert await desk.method("t") == "large d t"
    assert await Desk("e").method(ticket="t") == "large e t"
    assert (await desk.method.run("t")).tier == "large"
    assert await desk.method.on("fast")("t") == "large d t"
    result = await desk.quick.run("t")
    assert (result.value, result.path) == ("large d t", "fast")
    assert await Counter("f").method("t") == "large f t twice"


@anyio_test
async def test_class_and_static_methods_are_called_on_class_and_object() -> None:
    for owner in (Desk, Desk("d")):
        assert await owner.of_class("t") == "large Desk t"
        assert await owner.static("t") == "large t"
        assert (await owner.static.on("fast").run("t")).path == "fast"
    assert await Counter.of_class("t") == "large Counter t"


@pytest.mark.parametrize("name", ["method", "quick", "of_class", "static"])
def test_the_signature_of_a_bound_method_is_the_arguments_alone(name: str) -> None:
    assert str(inspect.signature(getattr(Desk("d"), name))) == "(ticket: 'str') -> 'str'"
    in_class = "(self, ticket: 'str')" if name in ("method", "quick") else "(ticket: 'str')"
    assert str(inspect.signature(getattr(Desk, name))) == f"{in_class} -> 'str'"


@anyio_test
async def test_partials_callable_objects_and_bound_methods_are_wrapped() -> None:
    class Asks:
        async def __call__(self, tier: Tier, ticket: str) -> str:
            return f"{tier.name} {ticket}"

    class Client:
        async def ask(self, tier: Tier, ticket: str) -> str:
            return f"{tier.name} {ticket}"

    async def region(region: str, tier: Tier, ticket: str) -> str:
        return f"{tier.name} {ticket} {region}"

    async def regional(tier: Tier, ticket: str, *, region: str) -> str:
        return f"{tier.name} {ticket} {region}"

    for made in (wrap(Asks()), wrap(Client().ask)):
        assert await made("t") == "large t"
        assert str(inspect.signature(made)) == "(ticket: 'str') -> 'str'"
    for made in (
        wrap(functools.partial(region, "eu")),
        wrap(functools.partial(regional, region="eu")),
    ):
        assert await made("t") == "large t eu"
        assert next(iter(inspect.signature(made).parameters)) == "ticket"


async def generates(tier: Tier) -> AsyncIterator[str]:
    yield "x"


async def no_tier() -> str:
    return "x"


async def named_only(*, tier: Tier) -> str:
    return "x"


def not_async(tier: Tier) -> str:
    return "x"


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (generates, "generates is an async generator; return the whole answer"),
        (no_tier, r"no_tier takes no tier; write it as `async def no_tier\(tier, ...\)`"),
        (named_only, "named_only takes no tier"),
        (not_async, r"not_async is not async; write it as `async def not_async\(tier, ...\)`"),
        (functools.partial(not_async), "not_async is not async"),
        (staticmethod(not_async), "not_async is not async"),
        (classmethod(generates), "generates is an async generator"),  # type: ignore[arg-type]
        (5, "5 is not async"),
    ],
)
def test_what_no_tier_can_be_given_to_is_refused(function: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        wrap(function)


# The object


def chats(*steps: Any, **options: Any) -> tuple[Scripted, Cascade]:
    script = Scripted(*steps)
    return script, Cascade(tiers=[Tier("a", call=script)], **options)


BODY = {
    "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "x"}]}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "response_format": {"type": "json_object"},
    "seed": 7,
    "stop": ["\n"],
    "metadata": {"a": "b"},
}


@anyio_test
@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("hi", Request("hi")),
        ([{"role": "user", "content": "hi"}], Request("hi")),
        (Request("hi", seed=1), Request("hi", seed=1)),
        (BODY, Request.of(BODY)),
    ],
    ids=["text", "messages", "request", "body"],
)
async def test_chat_messages_go_to_each_tier_with_every_parameter(given: Any, sent: Any) -> None:
    script, made = chats("x")
    assert (await made.run(given)).value == "x"
    assert script.requests == [sent]


@anyio_test
async def test_run_takes_a_path() -> None:
    _, made = chats(HANG, paths={"p": Path(budget_s=0.01)})
    with pytest.raises(DeadlineExceeded, match=r"on path 'p' .* budget of 0.01 s"):
        await made.run("?", path="p")
    with pytest.raises(ConfigError, match="no path 'q'; known: 'p'"):
        await made.run("?", path="q")


@anyio_test
async def test_a_request_that_cannot_work_costs_no_call() -> None:
    script, made = chats("x")
    with pytest.raises(ConfigError, match="no messages"):
        await made.run([])
    assert script.requests == []


@anyio_test
async def test_without_validators_every_answer_is_accepted() -> None:
    _, made = chats(Answer(None))
    result = await made.run("?")
    assert (result.accepted, result.value, result.attempts[0].verdicts) == (True, None, [])


def test_a_cascade_prints_its_ladder() -> None:
    assert repr(ladder) == "<Cascade c[small > large]>"
    assert cascade is Cascade


def test_options_may_come_one_by_one() -> None:
    made = Cascade(tiers=(Tier(n) for n in "ab"), validators=(v for v in [is_large]))
    assert [t.name for t in made.tiers] == ["a", "b"]
    assert [v.name for v in made.validators] == ["is_large"]


A, B = Tier("a"), Tier("b")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tiers": []}, "a cascade has no tiers; give it at least one"),
        ({"tiers": ["a"]}, r"a tier is a str; write Tier\("),
        ({"tiers": [A, Tier("a")]}, "two tiers are named 'a'; give each a name of its own"),
        ({"tiers": [A], "validators": [3]}, "a validator is a int"),
        ({"tiers": [A], "validators": ["no_such"]}, "no validator is named 'no_such'"),
        ({"tiers": [A], "reasks": -1}, "reasks=-1 is not a whole number of 0 or more"),
        ({"tiers": [A], "reasks": 1}, "reasks=1 has no effect without validators"),
        ({"tiers": [A], "feedback": True}, "feedback=True has no effect with one tier"),
        ({"tiers": [A], "on_exhausted": "last"}, "the cascade: on_exhausted='last'"),
        (
            {"tiers": [A, B], "validators": [Check("v", is_large).for_tiers("b", "z")]},
            "validator 'v' is for tier 'z', which is not in this cascade; known: 'a', 'b'",
        ),
        (
            {"tiers": [A], "validators": [~Check("v", is_large).for_tiers("z")]},
            "validator 'v' is for tier 'z'",
        ),
    ],
)
def test_options_that_could_never_work_are_refused(options: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Cascade(**options)


@anyio_test
async def test_a_method_reached_through_its_class_takes_the_instance_first() -> None:
    desk = Desk("d")
    call: Any = Desk.method
    assert await call(desk, "t") == "large d t"
    assert (await call.run(desk, ticket="t")).value == "large d t"
    with pytest.raises(TypeError, match=r"Desk\.method is a method; call it on an instance"):
        await call()


@anyio_test
async def test_a_function_stored_in_a_class_stays_what_it_was() -> None:
    @wrap
    async def triage(tier: Tier, ticket: str) -> str:
        return f"{tier.name} {ticket}"

    class Holder:
        handler = triage

    assert str(inspect.signature(triage)) == "(ticket: 'str') -> 'str'"
    assert await triage("t") == "large t"
    assert Holder.handler is triage


@anyio_test
async def test_callable_objects_in_a_class_are_not_bound() -> None:
    class Asks:
        async def __call__(self, tier: Tier, ticket: str) -> str:
            return f"{tier.name} {ticket}"

    class Holder:
        handler: Any = wrap(Asks())

    assert await Holder().handler("t") == "large t"


def test_the_same_method_of_the_same_object_is_equal() -> None:
    desk = Desk("d")
    assert desk.method == desk.method
    assert hash(desk.method) == hash(desk.method)
    assert desk.method != Desk("d").method
    assert desk.method != desk.method.on("fast")
    assert desk.method != "method"


@anyio_test
async def test_arguments_that_do_not_fit_are_the_callers_mistake() -> None:
    asked: list[str] = []

    @wrap
    async def triage(tier: Tier, ticket: str) -> str:
        asked.append(ticket)
        return ticket

    call: Any = triage
    with pytest.raises(TypeError, match="missing a required argument: 'ticket'"):
        await call()
    with pytest.raises(TypeError, match="unexpected keyword argument 'hurry'"):
        await call("t", hurry=True)
    assert asked == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tiers": Tier("a")}, "tiers is one tier; put it in a list"),
        ({"tiers": "small"}, "tiers is one tier; put it in a list"),
        ({"validators": "finish_reason"}, "validators is one validator; put it in a list"),
        ({"paths": [Path(budget_s=1)]}, "paths is a list; give each a name"),
        ({"validators": lambda a, c: True}, "validators is one validator; put it in a list"),
        ({"feedback": True}, "feedback=True has no effect without validators"),
        ({"reasks": 1}, "reasks=1 has no effect without validators"),
    ],
)
def test_a_cascade_that_cannot_work_says_so(options: dict[str, Any], message: str) -> None:
    complete: dict[str, Any] = {"tiers": [Tier("a"), Tier("b")], **options}
    with pytest.raises(ConfigError, match=message):
        Cascade(**complete)


@anyio_test
async def test_what_is_no_path_or_no_request_says_so() -> None:
    cascade = Cascade(tiers=[Tier("a", call=Scripted("yes"))], paths={"p": Path(budget_s=1)})
    wrong_path: Any = Path(budget_s=1)
    wrong_request: Any = None
    with pytest.raises(ConfigError, match="path is a Path; give the name of one in paths"):
        await cascade.run("?", path=wrong_path)
    with pytest.raises(ConfigError, match="a request is a NoneType; give text, messages or a body"):
        await cascade.run(wrong_request)
