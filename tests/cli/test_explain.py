from __future__ import annotations

import json
from pathlib import Path

import pytest

from cascade.learn import Model, to_json
from cascade.learn.features import FEATURES_VERSION, SHAPE
from cascade.learn.model import Familiar, Head
from tests.cli.conftest import Cli

CONFIG = """
[tiers.small]
model = "simulated:sim-small"
price = { input = 0.05, output = 0.4 }
[tiers.medium]
model = "simulated:sim-medium"
price = { input = 0.5, output = 4 }
[tiers.large]
model = "simulated:sim-large"
price = { input = 3, output = 15 }

[cascades.support]
tiers = ["small", "medium", "large"]
validators = ["finish_reason"]
floors = { high = "large" }

[cascades.support.paths.live]
budget_s = 2.5
last = "medium"
feature = "chat"

[[cascades.support.rules]]
name = "contracts"
when = { feature = ["contract", "invoice"] }
stakes = "high"

[[cascades.support.rules]]
name = "long"
when = { input_tokens = ">100", task = { not = "chat" } }
first = "medium"
why = "the small model reads little"
"""


@pytest.fixture(autouse=True)
def _config() -> None:
    Path("cascade.toml").write_text(CONFIG, encoding="utf-8")


def test_a_prompt_is_explained(cli: Cli) -> None:
    done = cli("explain", "Please summarise: " + "lamp " * 200, "--path", "live")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "signals"
    assert "  feature        chat" in lines
    assert "  detected_task  summarising  (opens with 'summarise' +5)" in lines
    assert "  unknown: tenant, max_tokens, language" in lines
    assert lines[lines.index("rules") :] == [
        "rules",
        "  contracts: no",
        "    feature is one of contract, invoice: not met, it is chat",
        "  long: yes",
        "    input_tokens >100: met, it is 216",
        "    task is not chat: met, it is summarising",
        "plan",
        "  medium, a budget of 2.5 s, on path live",
        "  why: the small model reads little",
    ]


def test_declared_signals_and_a_floor(cli: Cli) -> None:
    done = cli("explain", "Hello", "--signal", "feature=contract", "--signal", "n=5")
    assert "  contracts: yes, marks high stakes\n" in done.out
    assert done.out.endswith(
        "plan\n  large, no budget\n  why: high stakes (rule 'contracts') raise the floor to large\n"
    )


def test_as_json(cli: Cli) -> None:
    done = cli("explain", "Hello", "--json", "--signal", "ok=true", "--signal", "ratio=0.5")
    row = json.loads(done.out)
    assert (row["line"], row["id"], row["rule"], row["reason"]) == (
        None, None, None, "no rule matched",
    )  # fmt: skip
    assert (row["signals"]["ok"], row["signals"]["ratio"]) == (True, 0.5)
    assert row["cues"] == [{"what": "opens with 'hello'", "task": "chat", "weight": 2}]
    assert row["rules"][0] == {
        "rule": "contracts",
        "matched": False,
        "marks": None,
        "conditions": [
            {
                "signal": "feature",
                "condition": "is one of contract, invoice",
                "value": None,
                "is_met": False,
            }
        ],
    }
    assert row["plan"] == {
        "path": None,
        "budget_s": None,
        "ladder": ["small", "medium", "large"],
        "fast": None,
        "hedge": "never",
    }


def test_every_request_of_a_file(cli: Cli) -> None:
    rows = [
        '"Hello"',
        json.dumps({"prompt": "Sum up: " + "lamp " * 300, "id": "q2", "path": "live"}),
    ]
    Path("f.jsonl").write_text("\n".join(rows), encoding="utf-8")
    done = cli("explain", "--file", "f.jsonl")
    assert done.code == 0
    assert done.out.splitlines() == [
        "line 1: small > medium > large, no rule: no rule matched",
        "line 2 (q2): medium, long: the small model reads little",
    ]
    assert done.err.splitlines() == ["no rule: 1 of 2", "long: 1 of 2"]
    done = cli("explain", "--file", "f.jsonl", "--json")
    assert [json.loads(line)["rule"] for line in done.out.splitlines()] == [None, "long"]


def test_lines_that_cannot_be_read_are_told_and_stop_nothing(cli: Cli) -> None:
    Path("f.jsonl").write_text('{"x": 1}\n{"prompt": "x", "path": "nope"}\n"Hello"\n')
    done = cli("explain", "--file", "f.jsonl")
    assert done.code == 2
    assert done.out == "line 3: small > medium > large, no rule: no rule matched\n"
    assert 'f.jsonl: line 1: give it either "prompt" or "messages"' in done.err
    assert "f.jsonl: line 2: the cascade has no path 'nope'" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a prompt"),
        (["x", "--file", "f"], "give a prompt"),
        (["x", "y"], "goes in quotes"),
        ([" "], "the prompt is empty"),
        (["x", "--signal", "stakes"], "should be NAME=VALUE"),
        (["x", "--signal", "=high"], "should be NAME=VALUE"),
        (["x", "--signal", "turns=5"], "'turns' is computed"),
        (["x", "--path", "nope"], "no path 'nope'"),
        (["x", "--cascade", "nope"], "no cascade 'nope'"),
    ],
)
def test_what_cannot_be_explained(cli: Cli, arguments: list[str], message: str) -> None:
    done = cli("explain", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_stdin_and_a_cascade_without_rules(command: Cli) -> None:
    bare = CONFIG.partition("floors")[0]
    Path("cascade.toml").write_text(bare, encoding="utf-8")
    done = command("explain", "-", stdin="Hello")
    assert done.code == 0
    assert "rules\n  none was tried\n" in done.out
    assert done.out.endswith("why: there are no rules\n")


def test_check_tells_the_rules(cli: Cli) -> None:
    done = cli("check")
    assert (done.code, done.err) == (0, "")
    assert (
        "  path live: small > medium, a budget of 2.5 s\n"
        "  rule contracts: if feature is one of contract, invoice, then high stakes\n"
        "  rule long: if input_tokens >100 and task is not chat, then from medium\n"
        "  high stakes: no tier below large\n"
    ) in done.out
    facts = json.loads(cli("check", "--json").out)["cascades"]["support"]
    assert facts["floors"] == {"high": "large"}
    assert facts["rules"][1] == {
        "name": "long",
        "when": {"input_tokens": ">100", "task": "is not chat"},
        "then": "from medium",
        "why": "the small model reads little",
    }


MORE = """
[[cascades.support.rules]]
name = "{}"
when = {}
{}
"""


@pytest.mark.parametrize(
    ("effects", "effect"),
    [
        ('tier = "small"', "small alone"),
        ("bypass = true", "past the cascade to the strongest"),
        ('bypass = true\ntier = "medium"', "past the cascade to medium"),
        ('first = "small"\nlast = "medium"', "from small to medium"),
        ('forbid = ["small"]', "never small"),
        ('path = "live"\nbudget_s = 1.5', "path live, 1.5 s"),
        ('validators = ["json_value"]', "also judged by json_value"),
        ("", "the ladder of its path"),
    ],
)
def test_check_tells_every_effect(cli: Cli, effects: str, effect: str) -> None:
    text = CONFIG + MORE.format("more", "{ path = { unknown = true } }", effects)
    Path("cascade.toml").write_text(text, encoding="utf-8")
    done = cli("check")
    assert done.code == 0, done.err
    assert f"  rule more: if path is unknown, then {effect}\n" in done.out


def test_check_warns_of_rules_that_never_match_and_of_contradictions(cli: Cli) -> None:
    longer = MORE.format("longer", '{ input_tokens = ">200", task = "coding" }', 'tier = "large"')
    against = MORE.format("against", '{ stakes = "high", chars = 5 }', 'last = "medium"')
    Path("cascade.toml").write_text(CONFIG + longer + against, encoding="utf-8")
    done = cli("check", "--json")
    assert done.code == 0
    warnings = {w["place"]: w["message"] for w in json.loads(done.out)["warnings"]}
    assert warnings == {
        "cascades.support.rules[2]": "rule 'longer': it can never match: 'long' before it matches "
        "whatever it would",
        "cascades.support.rules[3]": "rule 'against': it goes no higher than 'medium', below the "
        "floor 'large' of high stakes, which goes before it",
    }


def test_check_looks_into_the_validators_of_rules(cli: Cli) -> None:
    judged = """
[tiers.judging]
model = "simulated:sim-large"
price = { input = 1, output = 1 }
[[cascades.support.rules]]
name = "judged"
when = { feature = "x" }
validators = [
    { use = "judge", tier = "judging", rubric = "is it kind?", at = 0.5 },
    { use = "logprob", at = 0.5, tiers = ["small"] },
]
"""
    Path("cascade.toml").write_text(CONFIG + judged, encoding="utf-8")
    (warning,) = json.loads(cli("check", "--json").out)["warnings"]  # the judge's tier is used
    assert warning["place"] == "cascades.support.rules[2].validators[1]"
    assert "not asked for log-probabilities" in warning["message"]


@pytest.mark.parametrize(
    ("when", "effects", "place", "message"),
    [
        ('{ input_tokens = ">900 and <100" }', "", "rules[2]", "can never be met"),
        ('{ output = "xml" }', "", "rules[2]", "output is one of schema, json, tool, text"),
        ("{}", 'tier = "larg"', "rules[2].tier", "did you mean 'large'?"),
        ("{}", 'forbid = ["larg"]', "rules[2].forbid", "did you mean 'large'?"),
        ("{}", 'path = "liv"', "rules[2].path", "'liv' is no path of this cascade"),
        ("{}", 'validators = ["jsn_value"]', "rules[2].validators[0]", "jsn_value"),
        ("{}", "thier = 1", "rules[2].thier", "did you mean 'tier'?"),
        ("5", "", "rules[2].when", "it should be"),
        ("{ chars = 2026-01-01 }", "", "rules[2].when.chars", "text, a number, true or false"),
        ("{ chars = [] }", "", "rules[2].when.chars", "it should not be empty"),
        ("{ chars = { nit = 5 } }", "", "rules[2].when.chars", "required"),
        ('"nowhere:f"', "", "rules[2].when", "'nowhere' cannot be imported"),
        ('"json:nope"', "", "rules[2].when", "'json' has no function 'nope'"),
        ('"json"', "", "rules[2].when", "as in 'module:function'"),
        ("{}", 'forbid = ["small", "medium", "large"]', "", "forbids every rung it could use"),
    ],
)
def test_mistakes_in_rules_are_told_with_their_place(
    cli: Cli, when: str, effects: str, place: str, message: str
) -> None:
    Path("cascade.toml").write_text(CONFIG + MORE.format("more", when, effects), encoding="utf-8")
    done = cli("check")
    assert done.code == 2
    (told,) = [line for line in done.err.splitlines() if message in line]
    assert f"cascades.support{'.' if place else ''}{place}" in told


def test_functions_stand_beside_the_file(command: Cli) -> None:
    Path("facts.py").write_text(
        "def vip(request, signals):\n"
        "    return signals['customer'] == 'acme'\n"
        "def is_vip(signals):\n"
        "    return bool(signals['vip'])\n",
        encoding="utf-8",
    )
    more = MORE.format("vip", '"facts:is_vip"', 'tier = "large"')
    text = CONFIG.replace("floors =", 'signals = { vip = "facts:vip" }\nfloors =') + more
    Path("cascade.toml").write_text(text, encoding="utf-8")
    done = command("explain", "Hello", "--signal", "customer=acme")
    assert (done.code, done.err) == (0, "")
    assert "  vip: yes\n    is_vip says so: yes\nplan\n  large, no budget\n" in done.out
    assert "rule vip: if is_vip says so, then large alone" in command("check").out
    bad = text.replace("facts:vip", "facts:vipp").replace('high = "large"', 'high = "larg"')
    Path("cascade.toml").write_text(bad, encoding="utf-8")
    done = command("check")
    assert "cascades.support.signals.vip: 'facts' has no function 'vipp'" in done.err
    assert "cascades.support.floors.high: 'larg' is no tier of this cascade" in done.err


def test_run_declares_signals_too_and_tells_the_rule(cli: Cli) -> None:
    simple = MORE.format("simple", '{ customer = "acme" }', 'tier = "small"\nwhy = "it is acme"')
    Path("cascade.toml").write_text(CONFIG + simple, encoding="utf-8")
    row = json.loads(cli("run", "--json", "Hello", "--signal", "customer=acme").out)
    assert (row["tier"], row["rule"], row["rule_reason"]) == ("small", "simple", "it is acme")
    lines = [
        {"prompt": "a", "signals": {"customer": "acme"}},
        {"prompt": "b", "signals": {"feature": "contract", "customer": "x"}},
        {"prompt": "c"},
        {"prompt": "d", "signals": ["x"]},
        {"prompt": "e", "signals": {"x": []}},
    ]
    Path("f.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    explained = cli("explain", "--file", "f.jsonl", "--signal", "customer=acme", "--json")
    assert [json.loads(line)["rule"] for line in explained.out.splitlines()] == [
        "simple", None, "simple",
    ]  # fmt: skip
    done = cli("run", "--file", "f.jsonl", "--concurrency", "1", "--signal", "customer=acme")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [(row["tier"], row["rule"]) for row in rows] == [
        ("small", "simple"), ("large", None), ("small", "simple"), (None, None), (None, None),
    ]  # fmt: skip
    assert rows[1]["rule_reason"].startswith("high stakes (rule 'contracts')")
    assert "signals should be an object" in rows[3]["error"]["message"]


def learned(*tiers: str) -> str:
    """The file of a router for which "prove" speaks for the strongest tier."""
    heads = tuple(
        Head(tier, cost, 2.0, (0.0,) * len(SHAPE), 1.0, 0.0)
        for tier, cost in zip(tiers, (0.001, 0.01, 0.02), strict=False)
    )
    weights = (1.0, -9.0, *(9.0,) * (len(heads) - 1))
    none = (0.0,) * len(SHAPE)
    familiar = Familiar(
        unseen=0.5, unseen_limit=9.0, shape_limit=9.0, least_chars=0, most_chars=1e6
    )
    return to_json(
        Model(FEATURES_VERSION, 1.0, (), heads, familiar, none, none, {"prove": weights}, {})
    )


def test_a_learned_router_from_the_file_is_explained(cli: Cli) -> None:
    Path("router.json").write_text(learned("small", "medium", "large"), encoding="utf-8")
    text = CONFIG.replace("floors =", 'router = "router.json"\nfloors =')
    Path("cascade.toml").write_text(text, encoding="utf-8")
    assert "  a router chooses the first rung where no rule fixes one\n" in cli("check").out
    done = cli("explain", "Prove that it is so.")
    assert (done.code, done.err) == (0, "")
    shown = done.out.splitlines()
    assert shown[shown.index("router") + 1] == (
        "  right with probability: small 0.00, medium 1.00, large 1.00"
    )
    assert shown[shown.index("router") + 3].startswith('  what weighed most: "prove" +18.00')
    assert "  medium > large, no budget" in shown
    assert shown[-1].startswith("  why: router: medium is right with probability 1.00")
    row = json.loads(cli("explain", "Name a lamp.", "--json").out)
    assert (row["rule"], row["plan"]["ladder"][0]) == ("router", "small")
    assert row["router"]["probabilities"].keys() == {"small", "medium", "large"}
    long = cli("explain", "prove " * 200, "--json")
    assert json.loads(long.out)["router"] is None  # a rule fixed the first rung


@pytest.mark.parametrize(
    ("router", "message"),
    [
        ('"nowhere.json"', "cascades.support.router: the learned router"),
        ('"other.json"', "has too few to choose from"),
        ("{ file = 5 }", "cascades.support.router.file"),
        ('{ file = "router.json", value_usd = -1 }', "cascades.support.router.value_usd"),
    ],
)
def test_routers_that_cannot_be_used(cli: Cli, router: str, message: str) -> None:
    Path("router.json").write_text(learned("small", "large"), encoding="utf-8")
    Path("other.json").write_text(learned("tiny", "small"), encoding="utf-8")
    text = CONFIG.replace("floors =", f"router = {router}\nfloors =")
    Path("cascade.toml").write_text(text, encoding="utf-8")
    done = cli("check")
    assert done.code == 2
    assert message in done.err
