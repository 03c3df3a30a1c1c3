from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import pytest

from cascade import (
    Cascade,
    CascadeExhausted,
    Choice,
    ConfigError,
    Path,
    Request,
    Rule,
    Signals,
    Tier,
    Verdict,
)
from cascade.simulated import Server, serve
from cascade.simulated.http import HttpRequest
from tests.providers.support import completion
from tests.test_policing import climbs

TIERS = ("small", "medium", "large")


@dataclass(frozen=True)
class Recording:
    """A real server that answers for three models, and the tiers in front of it."""

    server: Server
    tiers: list[Tier]

    @property
    def asked(self) -> list[str]:
        """The models that were really asked, in order."""
        return [request.json()["model"] for request in self.server.requests]

    async def route(
        self,
        *rules: Rule,
        request: Any = "Hello there, my friend.",
        path: str | None = None,
        declared: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> list[str]:
        """What one call asks: every answer is rejected, so that the whole ladder shows."""
        options = {"validators": [never], "on_exhausted": "best", **options}
        cascade = Cascade(tiers=self.tiers, rules=rules, **options)
        before = len(self.asked)
        await cascade.run(request, path=path, signals=declared)
        return self.asked[before:]


def never(answer: object, context: object) -> Verdict:
    return Verdict.failed("never")


@asynccontextmanager
async def recording() -> AsyncGenerator[Recording]:
    async def answer(request: HttpRequest) -> Any:
        return completion(f"from {request.json()['model']}")

    async with serve(answer) as server:
        yield Recording(
            server,
            [
                Tier(name, model=f"openai:{name}", base_url=f"{server.url}/v1", api_key="k")
                for name in TIERS
            ],
        )


LIVE = {"live": Path(direct="small"), "slow": Path(first="medium")}


@pytest.mark.anyio
async def test_each_effect_changes_who_is_asked() -> None:
    async with recording() as here:
        assert await here.route() == ["small", "medium", "large"]
        assert await here.route(Rule("one", tier="medium")) == ["medium"]
        assert await here.route(Rule("from", first="medium")) == ["medium", "large"]
        assert await here.route(Rule("to", last="medium")) == ["small", "medium"]
        assert await here.route(Rule("both", first="medium", last="medium")) == ["medium"]
        assert await here.route(Rule("not", forbid=["medium"])) == ["small", "large"]
        assert await here.route(Rule("past", bypass=True)) == ["large"]
        assert await here.route(Rule("past", bypass=True, tier="medium")) == ["medium"]
        assert await here.route(Rule("path", path="slow"), paths=LIVE) == ["medium", "large"]
        assert await here.route(Rule("high", stakes="high"), floors={"high": "large"}) == ["large"]


@pytest.mark.anyio
async def test_more_validators_reject_more() -> None:
    async with recording() as here:
        rule = Rule("strict", when={"feature": "refund"}, validators=[never])
        cascade = Cascade(tiers=here.tiers, rules=[rule])
        await cascade.run("Hello")
        assert here.asked == ["small"]
        with pytest.raises(CascadeExhausted):
            await cascade.run("Hello", signals={"feature": "refund"})
        assert here.asked == ["small", "small", "medium", "large"]


@pytest.mark.anyio
async def test_a_budget_is_the_rules_own() -> None:
    async with recording() as here:
        rule = Rule("quick", budget_s=7.5)
        result = await Cascade(tiers=here.tiers, rules=[rule]).run("Hello")
        assert result.budget_s == 7.5
        paths = {"live": Path(budget_s=9.0, direct="large")}
        picked = Rule("live", path="live")
        result = await Cascade(tiers=here.tiers, rules=[picked], paths=paths).run("Hello")
        assert (result.budget_s, result.path, here.asked) == (9.0, "live", ["small", "large"])


@pytest.mark.anyio
async def test_past_the_cascade_is_asked_once_and_judged_all_the_same() -> None:
    async with recording() as here:
        options: dict[str, Any] = {"validators": [never], "reasks": 2}
        assert await here.route(Rule("fixed", tier="large"), **options) == ["large"] * 3
        assert await here.route(Rule("past", bypass=True), **options) == ["large"]


@pytest.mark.anyio
async def test_the_first_rule_that_matches_decides_and_is_told_with_its_reason() -> None:
    async with recording() as here:
        cascade = Cascade(
            tiers=here.tiers,
            rules=[
                Rule("code", when={"task": "coding"}, tier="large"),
                Rule("short", when={"input_tokens": "<100"}, tier="medium", why="it is short"),
                Rule("also short", when={"input_tokens": "<100"}, tier="small"),
            ],
        )
        result = await cascade.run("Hello")
        assert (result.tier, result.rule, result.rule_reason) == ("medium", "short", "it is short")
        assert result.plan == ("medium",)
        assert result.signals == {"task": "chat", "detected_task": "chat", "input_tokens": 9}
        assert "  rule 'short': it is short\n" in result.story()
        result = await cascade.run("Debug this function: ```def f(x): return y```")
        assert (result.tier, result.rule_reason) == ("large", "task is coding")
        result = await cascade.run("word " * 600)
        assert (result.tier, result.rule, result.rule_reason) == ("small", None, None)
        assert result.plan == ("small", "medium", "large")


@pytest.mark.anyio
async def test_a_rules_word_goes_before_the_paths() -> None:
    async with recording() as here:
        paths = {
            "live": Path(direct="small"),
            "low": Path(last="medium"),
            "high": Path(first="large"),
        }
        asked = [
            await here.route(rule, path=path, paths=paths)
            for path, rule in (
                ("live", Rule("x", tier="large")),
                ("live", Rule("x", first="medium")),
                ("live", Rule("x", budget_s=5)),
                ("low", Rule("x", first="medium")),
                ("low", Rule("x", first="large")),
                ("high", Rule("x", last="medium")),
                ("high", Rule("x", path="live")),
            )
        ]
        assert asked == [
            ["large"],
            ["medium", "large"],
            ["small"],
            ["medium"],
            ["large"],
            ["small", "medium"],
            ["small"],
        ]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("rule", "path", "asked"),
    [
        (None, None, ["medium", "large"]),
        (None, "live", ["medium"]),
        (None, "slow", ["medium", "large"]),
        (Rule("x", tier="small"), None, ["medium"]),
        (Rule("x", last="small"), None, ["medium"]),
        (Rule("x", tier="large"), None, ["large"]),
        (Rule("x", bypass=True, tier="small"), None, ["medium"]),
        (Rule("x", forbid=["medium"]), None, ["large"]),
        (Rule("x", tier="small", forbid=["medium"]), None, ["large"]),
    ],
)
async def test_nothing_lowers_the_floor(
    rule: Rule | None, path: str | None, asked: list[str]
) -> None:
    class ToTheBottom:
        def choose(self, signals: Signals, text: str, tiers: Sequence[str]) -> Choice:
            return Choice(tiers[0], "cheap")

    async with recording() as here:
        options: dict[str, Any] = {"floors": {"high": "medium"}, "paths": LIVE, "path": path}
        rules = [] if rule is None else [rule]
        high = {"stakes": "high"}
        assert await here.route(*rules, declared=high, **options) == asked
        assert await here.route(*rules, declared=high, router=ToTheBottom(), **options) == asked


@pytest.mark.anyio
async def test_stakes_are_declared_by_call_path_or_rule_and_a_mark_never_lowers_them() -> None:
    async with recording() as here:
        floors = {"high": "large", "grave": "medium"}
        paths = {"legal": Path(stakes="high")}
        low = Rule("low", stakes="low")
        high = Rule("high", when={"feature": "contract"}, stakes="high")
        options: dict[str, Any] = {"floors": floors, "paths": paths}
        contract = {"feature": "contract"}
        assert await here.route(**options) == ["small", "medium", "large"]
        assert await here.route(path="legal", **options) == ["large"]
        assert await here.route(declared={"stakes": "grave"}, **options) == ["medium", "large"]
        assert await here.route(low, path="legal", **options) == ["large"]
        assert await here.route(high, low, declared=contract, **options) == ["large"]
        assert await here.route(low, high, declared=contract, **options) == ["large"]
        lowered = {"stakes": "low"}
        whole = ["small", "medium", "large"]
        assert await here.route(path="legal", declared=lowered, **options) == whole
        for unknown in (None, float("nan")):
            nothing = {"stakes": unknown}
            assert await here.route(path="legal", declared=nothing, **options) == ["large"]


@pytest.mark.anyio
async def test_a_rule_that_picks_a_path_brings_its_stakes() -> None:
    async with recording() as here:
        floors = {"high": "large", "grave": "medium"}
        paths = {"legal": Path(stakes="high"), "live": Path(stakes="low")}
        options: dict[str, Any] = {"floors": floors, "paths": paths, "request": "Pay 12.50"}
        moved = Rule("money", when={"has_numbers": True}, path="legal")
        assert await here.route(moved, **options) == ["large"]
        assert await here.route(moved, declared={"stakes": "grave"}, **options) == ["large"]
        # What is higher already stays.
        down = Rule("quick", path="live")
        assert await here.route(down, declared={"stakes": "high"}, **options) == ["large"]
        graver = Rule("money", path="live", stakes="grave")
        assert await here.route(graver, **options) == ["medium", "large"]
        plan = Cascade(tiers=here.tiers, rules=[moved], floors=floors, paths=paths).explain("Pay 5")
        assert plan.signals["stakes"] == "high"
        assert plan.plan.rule_reason == (
            "has_numbers is true; high stakes (path 'legal') raise the floor to large"
        )


@pytest.mark.anyio
async def test_a_mark_lets_the_next_rules_have_their_say() -> None:
    async with recording() as here:
        mark = Rule("money", when={"has_numbers": True}, stakes="high")
        after = Rule("grave", when={"stakes": "high"}, tier="medium")
        assert await here.route(mark, after, request="Pay 12.50") == ["medium"]
        assert await here.route(mark, after, request="Pay") == ["small", "medium", "large"]


@pytest.mark.anyio
async def test_the_floor_is_told_with_who_raised_it() -> None:
    async with recording() as here:
        mark = Rule("money", when={"has_numbers": True}, stakes="high")
        cascade = Cascade(tiers=here.tiers, rules=[mark], floors={"high": "large"})
        result = await cascade.run("Pay 12.50")
        assert (result.tier, result.rule) == ("large", None)
        assert result.rule_reason == "high stakes (rule 'money') raise the floor to large"
        assert "  route: high stakes" in result.story()


class Fixed:
    """A router that always says the same."""

    def __init__(self, say: Callable[[], Choice]) -> None:
        self.say = say
        self.offered: list[tuple[str, ...]] = []
        self.texts: list[str] = []

    def choose(self, signals: Signals, text: str, tiers: Sequence[str]) -> Choice:
        self.offered.append(tuple(tiers))
        self.texts.append(text)
        return self.say()


@pytest.mark.anyio
async def test_a_router_acts_where_the_rules_fixed_nothing() -> None:
    async with recording() as here:
        router = Fixed(lambda: Choice("medium", "it looks hard"))
        fixed = Rule("fixed", when={"feature": "x"}, last="small")
        open_to_it = Rule(
            "open", when={"feature": "y", "path": None}, forbid=["small"], why="no small"
        )
        cascade = Cascade(tiers=here.tiers, rules=[fixed, open_to_it], router=router, paths=LIVE)
        result = await cascade.run("Hello")
        assert (result.tier, result.rule, result.rule_reason) == (
            "medium", "router", "router: it looks hard",
        )  # fmt: skip
        result = await cascade.run("Hello", signals={"feature": "x"})
        assert (result.tier, result.rule) == ("small", "fixed")
        result = await cascade.run("Hello", signals={"feature": "y"})
        assert (result.rule, result.rule_reason) == ("open", "no small; router: it looks hard")
        assert (await cascade.run("Hello", path="live")).tier == "small"
        assert router.offered == [TIERS, ("medium", "large")]
        assert router.texts == ["Hello", "Hello"]
        assert here.asked == ["medium", "small", "medium", "small"]


@pytest.mark.anyio
async def test_a_router_that_refuses_or_fails_leaves_the_whole_ladder() -> None:
    def fail() -> Choice:
        raise RuntimeError("SECRET")

    async with recording() as here:
        for say, reason in (
            (lambda: Choice(None, "unlike its training data"), "unlike its training data"),
            (fail, "it failed (RuntimeError), so the whole ladder is used"),
            (lambda: Choice("huge", "x"), "it failed (ValueError), so the whole ladder is used"),
        ):
            result = await Cascade(tiers=here.tiers, router=Fixed(say)).run("Hello")
            assert (result.tier, result.rule) == ("small", None)
            assert result.rule_reason == f"router: {reason}"


@pytest.mark.anyio
async def test_functions_of_the_signals() -> None:
    def is_long(signals: Signals) -> bool:
        return bool(signals["feature"] == "report" and signals["path"] is None)

    def broken(signals: Signals) -> bool:
        raise KeyError("x")

    async with recording() as here:
        rules = Rule("broken", when=broken, tier="small"), Rule("long", when=is_long, tier="large")
        assert await here.route(*rules, declared={"feature": "report"}) == ["large"]
        assert await here.route(*rules) == ["small", "medium", "large"]
        assert rules[1].why == "is_long says so"


@pytest.mark.anyio
async def test_signals_of_ones_own_and_paths_that_declare() -> None:
    def vip(request: Request | None, signals: Signals) -> bool:
        return request is not None and "gold" in str(request.messages[-1]["content"])

    async with recording() as here:
        options: dict[str, Any] = {
            "signals": {"vip": vip},
            "paths": {"review": Path(feature="review", task="grading")},
        }
        gold = Rule("vip", when={"vip": True}, tier="large")
        review = Rule("review", when={"feature": "review", "task": "grading"}, tier="medium")
        assert await here.route(gold, review, request="gold member", **options) == ["large"]
        assert await here.route(gold, review, path="review", **options) == ["medium"]
        assert await here.route(gold, review, **options) == ["small", "medium", "large"]


@pytest.mark.anyio
async def test_wrapped_functions_and_methods_are_routed_by_their_arguments() -> None:
    async with recording() as here:
        wrap = Cascade(
            tiers=here.tiers,
            rules=[
                Rule("many tools", when={"tools": ">=2"}, tier="medium"),
                Rule("contract", when={"feature": "contract"}, tier="large"),
            ],
            paths=LIVE,
        )

        @wrap
        async def ask(tier: Tier, text: str, *, tools: list[Any] | None = None) -> str:
            return str((await tier.chat(text)).text)

        class Desk:
            @wrap
            async def ask(self, tier: Tier, messages: list[dict[str, str]], tools: Any) -> str:
                return str((await tier.chat(messages)).text)

        assert await ask("Hello") == "from small"
        assert await ask.given(feature="contract")("Hello") == "from large"
        result = await Desk().ask.run([{"role": "user", "content": "x"}], [1, 2])
        assert result.signals == {"tools": 0}  # not by its name: tools are told by keyword
        result = await Desk().ask.run([{"role": "user", "content": "x"}], tools=[1, 2])
        assert (result.value, result.rule) == ("from medium", "many tools")
        explained = ask.on("live").given(feature="contract").explain("Hello")
        assert (explained.plan.rule, explained.signals["path"]) == ("contract", "live")
        explained = Desk.ask.explain(Desk(), [{"role": "user", "content": "x"}], tools=[1, 2])
        assert explained.plan.rule == "many tools"
        assert await Desk.ask(Desk(), [{"role": "user", "content": "x"}], tools=[1, 2]) == (
            "from medium"
        )


@pytest.mark.anyio
async def test_request_from_finds_the_request_in_odd_arguments() -> None:
    @dataclass
    class Ticket:
        body: str

    async with recording() as here:
        wrap = Cascade(
            tiers=here.tiers,
            rules=[Rule("long", when={"chars": ">100"}, tier="large")],
            request_from=lambda ticket, n: ticket.body * n,
        )

        @wrap
        async def ask(tier: Tier, ticket: Ticket, n: int) -> str:
            return str((await tier.chat(ticket.body)).text)

        assert await ask(Ticket("word "), 2) == "from small"
        assert await ask(Ticket("word "), 30) == "from large"


@pytest.mark.anyio
async def test_without_rules_nothing_is_looked_at() -> None:
    async with recording() as here:
        result = await Cascade(tiers=here.tiers).run("Hello", signals={"anything": 1})
        assert (result.signals, result.rule, result.rule_reason) == ({"anything": 1}, None, None)
        result = await Cascade(tiers=here.tiers, paths={"p": Path(stakes="high")}).run(
            "Hello", path="p"
        )
        assert result.signals == {"stakes": "high"}


@pytest.mark.anyio
async def test_a_call_that_a_rule_sends_elsewhere_takes_that_paths_end() -> None:
    async with recording() as here:
        cascade = Cascade(
            tiers=here.tiers,
            validators=[never],
            paths={"loose": Path(on_exhausted="best", last="small")},
            rules=[Rule("loose", when={"feature": "x"}, path="loose")],
        )
        with pytest.raises(CascadeExhausted):
            await cascade.run("Hello")
        result = await cascade.run("Hello", signals={"feature": "x"})
        assert (result.accepted, result.tier, result.path) == (False, "small", "loose")


@pytest.mark.anyio
async def test_what_is_computed_cannot_be_declared() -> None:
    async with recording() as here:
        cascade = Cascade(tiers=here.tiers, rules=[Rule("x", when={"input_tokens": ">5"})])
        with pytest.raises(ConfigError, match="'input_tokens' is computed and cannot be declared"):
            await cascade.run("Hello", signals={"input_tokens": 100_000})
        assert here.asked == []


def test_explain_shows_what_a_call_would_do_and_asks_nobody() -> None:
    tiers = [Tier(name, model=f"simulated:sim-{name}") for name in TIERS]
    cascade = Cascade(
        tiers=tiers,
        rules=[
            Rule("money", when={"has_numbers": True}, stakes="high"),
            Rule("long", when={"input_tokens": ">1000", "path": None}, first="medium"),
            Rule("mine", when=lambda signals: signals["turns"] == 1, last="medium", why="one turn"),
            Rule("never reached", tier="large"),
        ],
    )
    explained = cascade.explain("Summarise: we sold 12 lamps.", signals={"feature": "x"})
    assert [(t.rule, t.matched, t.marks) for t in explained.tried] == [
        ("money", True, "high"), ("long", False, None), ("mine", True, None),
    ]  # fmt: skip
    assert [tuple(met) for met in explained.tried[1].conditions] == [
        ("input_tokens", ">1000", 15, False), ("path", "is unknown", None, True),
    ]  # fmt: skip
    assert [rung.tier.name for rung in explained.plan.rungs] == ["small", "medium"]
    assert (explained.plan.rule, explained.plan.rule_reason) == ("mine", "one turn")
    assert explained.signals["stakes"] == "high"
    assert explained.signals["feature"] == "x"
    assert explained.signals["task"] == "summarising"
    assert explained.cues[0].task == "summarising"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rule(""), "a rule's name is ''"),
        (lambda: Rule("x", tier="a", first="b"), "has tier='a' and first too"),
        (lambda: Rule("x", bypass=True, last="b"), "has bypass=True and last too"),
        (lambda: Rule("x", tier="a", forbid=["a"]), "forbids its own tier 'a'"),
        (lambda: Rule("x", forbid="large"), r"give a list, \['large'\]"),
        (lambda: Rule("x", budget_s=0), "budget_s=0 is not a time"),
        (lambda: Rule("x", stakes=""), "stakes=''"),
        (lambda: Rule("x", validators=never), "put it in a list"),  # type: ignore[arg-type]
        (lambda: Rule("x", when=5), "when is a int"),  # type: ignore[arg-type]
        (lambda: Rule("x", wen={}), "no option 'wen'; did you mean 'when'"),  # type: ignore[call-arg]
        (lambda: Rule("x", when={"input_tokens": "large"}), "input_tokens is a whole number"),
        (lambda: Rule("x", when={"input_tokens": ">8 and <9"}), "never be met by a whole number"),
        (lambda: Rule("x", when={"input_tokens": ">900 and <100"}), "can never be met"),
        (lambda: Rule("x", when={"has_code": "yes"}), "has_code is True or False"),
        (lambda: Rule("x", when={"output": "xml"}), "output is one of schema, json, tool, text"),
        (lambda: Rule("x", when={"detected_task": "poetry"}), "detected_task is one of"),
        (lambda: Rule("x", when={"stakes": None}), "stakes is text"),
        (lambda: Rule("x", when={"chars": ">many"}), "'many', which is no number"),
        (lambda: Rule("x", when={"chars": "> "}), "is no comparison"),
        (lambda: Rule("x", when={"chars": []}), "an empty list"),
        (lambda: Rule("x", when={"chars": {"over": 5}}), "a table of over is no condition"),
        (lambda: Rule("x", when={"chars": float("nan")}), "nan is not a number"),
    ],
)
def test_rules_that_cannot_work_say_so(make: Callable[[], Rule], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


async def asynchronous(*args: object) -> bool:
    return True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": Rule("x")}, "put it in a list"),
        ({"rules": ["x"]}, "a rule is a str"),
        ({"rules": [Rule("x"), Rule("x")]}, "two rules are named 'x'"),
        ({"rules": [Rule("x", tier="larg")]}, "did you mean 'large'"),
        ({"rules": [Rule("x", forbid=["larg"])]}, "forbid names 'larg'"),
        ({"rules": [Rule("x", path="liv")]}, "path='liv' is no path"),
        ({"rules": [Rule("x", when={"path": "liv"})]}, "no path 'liv' to match"),
        ({"rules": [Rule("x", first="large", last="small")]}, "stands above last='small'"),
        ({"rules": [Rule("x", forbid=TIERS)]}, "forbids every rung it could use"),
        ({"rules": [Rule("x", forbid=["small"])]}, "on path 'live' forbids every rung"),
        (
            {"rules": [Rule("x", forbid=["large"], when={"path": None})], "floors": {"h": "large"}},
            "nor above the floor 'large'",
        ),
        (
            {"rules": [Rule("x", forbid=["large"], when={"stakes": "a"}, path="legal")],
             "floors": {"high": "large"}},
            "nor above the floor 'large'",
        ),
        ({"rules": [Rule("router")], "router": Fixed(lambda: Choice(None, ""))}, "rename it"),
        ({"rules": [Rule("x", validators=["json_value"])], "reasks": -1}, "reasks"),
        ({"router": Fixed}, "router has no method choose"),
        ({"router": "router.json"}, "router has no method choose"),
        ({"floors": {"high": "larg"}}, "the floor of 'high' stakes is 'larg'"),
        ({"floors": "large"}, "floors is a str"),
        ({"signals": {"x": len}}, "signals has no effect without rules"),
        ({"request_from": len}, "request_from has no effect without rules"),
        ({"signals": {"turns": len}, "rules": [Rule("x")]}, "'turns' is built in"),
        ({"signals": {"x": 5}, "rules": [Rule("x")]}, "'x' is a int"),
        ({"signals": [len], "rules": [Rule("x")]}, "signals is a list"),
        ({"signals": {"x": asynchronous}, "rules": [Rule("x")]}, "is async"),
    ],
)  # fmt: skip
def test_cascades_whose_rules_do_not_fit_say_so(options: dict[str, Any], message: str) -> None:
    tiers = [Tier(name, model=f"simulated:sim-{name}") for name in TIERS]
    with pytest.raises(ConfigError, match=message):
        Cascade(
            tiers=tiers,
            paths={"live": Path(direct="small"), "legal": Path(stakes="high")},
            **options,
        )


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("<5", "<5"),
        (["<100", ">900"], "<100 or >900"),
        ({"not": ["<100", ">900"]}, "not <100 and not >900"),
        ({"not": ">100 and <=900"}, "not (>100 and <=900)"),
        ({"not": {"unknown": True}}, "is known"),
        ({"unknown": True}, "is unknown"),
        ({"not": {"not": 5}}, "is 5"),
        ({"not": [1, 2]}, "is none of 1, 2"),
        ({"not": {"not": [1, 2]}}, "is one of 1, 2"),
        ([{"not": 5}, None], "is not 5 or is unknown"),
    ],
)
def test_conditions_in_words(condition: Any, words: str) -> None:
    assert Rule("x", when={"chars": condition}).words == {"chars": words}


def test_a_function_for_a_rule_is_not_async() -> None:
    with pytest.raises(ConfigError, match="when is async"):
        Rule("x", when=asynchronous)  # type: ignore[arg-type]


def test_a_rule_that_leaves_a_path_out_may_forbid_what_it_uses() -> None:
    tiers = [Tier(name, model=f"simulated:sim-{name}") for name in TIERS]
    rule = Rule("x", forbid=["small"], when={"path": None})
    Cascade(tiers=tiers, paths={"live": Path(direct="small")}, rules=[rule])


def test_a_rules_validators_need_their_thresholds_at_once() -> None:
    from cascade.validators import logprob

    tiers = [Tier(name, model=f"simulated:sim-{name}") for name in TIERS]
    with pytest.raises(ConfigError, match="has no threshold for tier 'small'"):
        Cascade(tiers=tiers, rules=[Rule("x", validators=[logprob()])])
    with pytest.raises(ConfigError, match="is for tier 'huge'"):
        Cascade(tiers=tiers, rules=[Rule("x", validators=[logprob().at(0.5).for_tiers("huge")])])


def test_a_path_declares_words() -> None:
    with pytest.raises(ConfigError, match="a path has stakes=3"):
        Path(stakes=3)  # type: ignore[arg-type]
    assert repr(Path(stakes="high", budget_s=2)) == "Path(budget_s=2, stakes='high')"


@pytest.mark.anyio
async def test_a_tuned_policy_stays_within_what_rules_and_floors_leave() -> None:
    steps = {"a": "0.1", "b": "0.2", "c": "0.3"}
    assert [a.tier for a in (await climbs(steps).run("?")).attempts] == ["a", "b", "c"]
    for rule, asked in (
        (Rule("not b", forbid=["b"]), ["a", "c"]),
        (Rule("from b", first="b"), ["b", "c"]),
        (Rule("only a", tier="a"), ["a"]),
        (Rule("grave", stakes="high"), ["c"]),
    ):
        result = await climbs(steps, rules=[rule], floors={"high": "c"}).run("?")
        assert [attempt.tier for attempt in result.attempts] == asked
        assert result.policy is not None
    strict = climbs({"a": "0.9", "b": "0.9", "c": "1"}, rules=[Rule("strict", validators=[never])])
    with pytest.raises(CascadeExhausted):
        await strict.run("?")


FILE = """
[providers.here]
kind = "vllm"
base_url = "{url}/v1"
{tiers}
[cascades.support]
tiers = ["small", "medium", "large"]
validators = [{{ use = "regex", pattern = "never there" }}]
on_exhausted = "best"
floors = {{ high = "large" }}
paths.slow = {{ budget_s = 30, first = "medium" }}

[[cascades.support.rules]]
name = "refunds"
when = {{ feature = "refund" }}
{action}
"""


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("action", "asked", "budget_s"),
    [
        ('tier = "medium"', ["medium"], None),
        ('first = "medium"', ["medium", "large"], None),
        ('last = "medium"', ["small", "medium"], None),
        ('forbid = ["medium"]', ["small", "large"], None),
        ('path = "slow"', ["medium", "large"], 30),
        ("budget_s = 20", ["small", "medium", "large"], 20),
        ("bypass = true", ["large"], None),
        ('bypass = true\ntier = "medium"', ["medium"], None),
        ('stakes = "high"', ["large"], None),
    ],
)
async def test_each_effect_from_a_file_changes_who_is_asked(
    tmp_path: FilePath, action: str, asked: list[str], budget_s: float | None
) -> None:
    async with recording() as here:
        tiers = "\n".join(f'[tiers.{name}]\nprovider = "here"\nmodel = "{name}"' for name in TIERS)
        file = tmp_path / "cascade.toml"
        file.write_text(FILE.format(url=here.server.url, tiers=tiers, action=action))
        cascade = Cascade.from_config(file, "support")
        result = await cascade.run("Hello", signals={"feature": "refund"})
        assert (here.asked, result.budget_s) == (asked, budget_s)
        await cascade.run("Hello")
        assert here.asked[len(asked) :] == list(TIERS)


@pytest.mark.anyio
async def test_more_validators_from_a_file_reject_more(tmp_path: FilePath) -> None:
    async with recording() as here:
        tiers = "\n".join(f'[tiers.{name}]\nprovider = "here"\nmodel = "{name}"' for name in TIERS)
        action = 'validators = [{ use = "regex", pattern = "from large" }]'
        text = FILE.format(url=here.server.url, tiers=tiers, action=action)
        file = tmp_path / "cascade.toml"
        file.write_text(text.replace("never there", "from .*"))
        cascade = Cascade.from_config(file, "support")
        assert (await cascade.run("Hello")).tier == "small"
        assert (await cascade.run("Hello", signals={"feature": "refund"})).tier == "large"
        assert here.asked == ["small", *TIERS]
