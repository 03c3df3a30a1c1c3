from __future__ import annotations

import json
import tomllib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cascade.cli.first_config import SIMULATED, choose, first_config
from cascade.cli.found import LOCAL_SERVERS, Found, look_around
from cascade.config import json_schema, load
from cascade.simulated import Fault, Garbage, Hang, Reply, script, serve
from tests.cli.conftest import Cli

EVERYTHING = Found(("openai", "anthropic", "openrouter"), ("ollama:a:1b", "vllm:b-70b"))


def test_init_check_and_run_work_at_once(command: Cli) -> None:
    written = command("init", "--simulated")
    assert written.code == 0
    assert "simulated:sim-small > simulated:sim-large" in written.out
    assert "Found" not in written.out
    assert "cascade check" in written.out
    checked = command("check")
    assert (checked.code, checked.err) == (0, "")
    assert "cascade.toml is valid." in checked.out
    answered = command("run", "Name a prime number above 10.")
    assert answered.code == 0
    assert answered.out.startswith("[simulated reply")


def test_init_does_not_overwrite(cli: Cli) -> None:
    Path("mine.toml").write_text("# mine", encoding="utf-8")
    done = cli("init", "mine.toml", "--simulated")
    assert done.code == 2
    assert "overwrite it with --force" in done.err
    assert Path("mine.toml").read_text(encoding="utf-8") == "# mine"
    done = cli("init", "mine.toml", "--simulated", "--force", "--json")
    assert done.code == 0
    assert json.loads(done.out) == {
        "file": "mine.toml",
        "keys": [],
        "local": [],
        "ladder": ["simulated:sim-small", "simulated:sim-large"],
    }


@pytest.mark.parametrize(
    ("found", "ladder"),
    [
        (Found(), ["simulated:sim-small", "simulated:sim-large"]),
        (Found(("openai",)), ["openai:gpt-6-luna", "openai:gpt-6-sol"]),
        (Found(("anthropic", "openrouter")),
         ["anthropic:claude-haiku-5-5", "anthropic:claude-sonnet-5-5"]),
        (Found(("openrouter",)),
         ["openrouter:openai/gpt-6-luna", "openrouter:anthropic/claude-sonnet-5.5"]),
        (Found((), ("ollama:a:1b",)), ["ollama:a:1b"]),
        (Found((), ("ollama:a:1b", "x", "vllm:b-70b")), ["ollama:a:1b", "vllm:b-70b"]),
        (EVERYTHING, ["ollama:a:1b", "openai:gpt-6-sol"]),
    ],
)  # fmt: skip
def test_every_first_file_is_valid_and_fits(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, found: Found, ladder: list[str]
) -> None:
    for name in found.hosted:
        monkeypatch.setenv(f"{name.upper()}_API_KEY", "x")
    offers = choose(found)
    assert [offer.model for offer in offers] == ladder
    Path("cascade.toml").write_text(first_config(offers), encoding="utf-8")
    done = cli("check", "--json")
    facts = json.loads(done.out)
    assert (done.code, facts["errors"], facts["warnings"]) == (0, [], [])
    assert [rung["model"] for rung in facts["cascades"]["default"]["ladder"]] == ladder


def test_the_caps_of_a_first_file_only_wait_to_be_switched_on(cli: Cli) -> None:
    head, mark, caps = first_config(SIMULATED).partition("# [spend]\n")
    assert mark
    switched_on = f"{mark}{caps}".replace("# [", "[").replace("# store", "store")
    Path("cascade.toml").write_text(head + switched_on.replace("# caps", "caps"), encoding="utf-8")
    done = cli("check")
    assert (done.code, done.err) == (0, "")
    assert "spend, counted in a file\n  at most $5.00 per day\n" in done.out


def test_a_first_file_names_its_schema_and_dates_its_prices() -> None:
    text = first_config(choose(EVERYTHING))
    assert text.startswith(f"#:schema {json_schema()['$id']}\n")
    assert "check the current price at https://" in text
    assert "As of 2026-" in text


def test_simulated_prices_are_those_of_the_simulated_models() -> None:
    from cascade.simulated import simulated_models

    prices = {f"simulated:{tier.name}": tier for tier in simulated_models()}
    for offer in SIMULATED:
        written = tomllib.loads(f"price = {offer.price}")["price"]
        model = prices[offer.model]
        assert written == {"input": model.input_usd, "output": model.output_usd}


@asynccontextmanager
async def servers(*answers: Reply | Fault) -> AsyncGenerator[Mapping[str, str]]:
    """A real server for each of the three that are looked for."""
    async with (
        serve(script(answers[0])) as one,
        serve(script(answers[1])) as two,
        serve(script(answers[2])) as three,
    ):
        found = zip(LOCAL_SERVERS, (one, two, three), strict=True)
        yield {name: f"{server.url}/v1" for name, server in found}


def models(*names: str) -> Reply:
    return Reply(body={"object": "list", "data": [{"id": name} for name in names]})


@pytest.mark.anyio
async def test_local_models_are_found_smallest_first() -> None:
    async with servers(
        models("qwen:14b", "nomic-embed-text", "tiny:1.5b"),
        models("org/Model-70B-Instruct"),
        models("no-size\nat-all", "no-size"),
    ) as running:
        found = await look_around({"OPENAI_API_KEY": "x", "ANTHROPIC_API_KEY": ""}, running)
    assert found == Found(
        ("openai",),
        ("ollama:tiny:1.5b", "ollama:qwen:14b", "vllm:org/Model-70B-Instruct", "lmstudio:no-size"),
    )


@pytest.mark.anyio
async def test_other_servers_at_those_ports_do_no_harm() -> None:
    async with servers(Garbage(), Hang(), Reply(body=[{"id": "x"}])) as running:
        assert await look_around({}, running) == Found()


@pytest.mark.anyio
async def test_nothing_at_those_ports() -> None:
    assert await look_around({}, {"ollama": "http://127.0.0.1:9/v1"}) == Found()


def test_only_this_machine_is_looked_at() -> None:
    assert set(LOCAL_SERVERS) == {"ollama", "vllm", "lmstudio"}
    assert all(url.startswith("http://127.0.0.1:") for url in LOCAL_SERVERS.values())


WORTH_A_WARNING = """
[providers.unused]
kind = "openai"
[providers.corp]
kind = "openai"
api_key_env = "CORP_API_KEY"
[tiers.dear]
model = "openai:x"
price = { input = 3, output = 15 }
timeout_s = 5
[tiers.cheap]
model = "anthropic:y"
price = { input = 1, output = 1 }
[tiers.unpriced]
provider = "corp"
model = "z"
[tiers.judging]
model = "simulated:sim-large"
price = { input = 1, output = 1 }
[tiers.bare]
model = "just-a-name"
price = { input = 5, output = 25 }
[tiers.idle]
model = "openai:x"
[cascades.main]
tiers = ["dear", "cheap", "unpriced", "bare"]
validators = [
  "finish_reason",
  { any = ["json_value", { use = "logprob", at = 0.5 }], tiers = ["dear", "cheap"] },
  { use = "judge", tier = "judging", rubric = "x", at = 0.5 },
]
[cascades.main.paths.fast]
budget_s = 0.5
[cascades.open]
tiers = ["cheap", "dear"]
"""


def test_check_warns_of_what_can_hardly_be_meant(cli: Cli) -> None:
    Path("cascade.toml").write_text(WORTH_A_WARNING, encoding="utf-8")
    done = cli("check", "--json")
    assert done.code == 0
    warnings = [(w["place"], w["message"]) for w in json.loads(done.out)["warnings"]]
    expected = [
        ("tiers.idle", "no cascade uses this tier"),
        ("providers.unused", "no tier uses this provider"),
        ("tiers.dear", "variable OPENAI_API_KEY is not set"),
        ("tiers.cheap", "variable ANTHROPIC_API_KEY is not set"),
        ("tiers.unpriced", "variable CORP_API_KEY is not set"),
        ("tiers.unpriced", "it has no price"),
        ("tiers.bare", "names no provider"),
        ("cascades.main.tiers", "'dear' costs more than 'cheap'"),
        ("cascades.main.paths.fast", "its budget of 0.5 s ends before the timeout_s=5"),
        ("cascades.main.validators[1]", "'dear' is not asked for log-probabilities"),
        ("cascades.main.validators[1]", "'cheap' gives no log-probabilities"),
        ("cascades.open", "it has no validators"),
    ]
    assert len(warnings) == len(expected), warnings
    for (place, message), (at, part) in zip(warnings, expected, strict=True):
        assert place == at
        assert part in message
    shown = cli("check")
    assert shown.code == 0
    assert "warning: tiers.idle: no cascade uses this tier" in shown.err
    assert "is valid, with 12 warnings." in shown.out


TIME_AND_MONEY = """
[tiers.small]
model = "simulated:sim-small"
price = { input = 0, output = 0 }
retries = 1
limits = { max_queue = 3 }
[tiers.large]
model = "vllm:big"
price = "auto"
latency_s = 2.5
breaker = { consecutive = 4 }
limits = { concurrency = 8, tokens_per_min = 9000 }
[[tiers.large.deployments]]
name = "east"
[[tiers.large.deployments]]
base_url = "http://10.0.0.2:8000/v1"
[cascades.main]
tiers = ["small", "large"]
validators = ["finish_reason"]
[cascades.main.paths.live]
budget_s = 1
fast = "small"
hedge = "deadline"
[cascades.main.paths.lonely]
last = "small"
hedge = 0.5
[cascades.main.paths.late]
budget_s = 5
hedge = 6
"""


def test_check_warns_of_budgets_hedges_and_limits(cli: Cli) -> None:
    Path("cascade.toml").write_text(TIME_AND_MONEY, encoding="utf-8")
    done = cli("check", "--json")
    assert done.code == 0, done.out
    warnings = [(w["place"], w["message"]) for w in json.loads(done.out)["warnings"]]
    expected = [
        ("tiers.small", "its limits limit nothing"),
        ("tiers.large", "no price is listed for model='vllm:big'"),
        ("cascades.main.paths.live", "1.0 s is shorter than the latency_s=2.5 of tier 'large'"),
        ("cascades.main.paths.lonely", "hedge has no effect with one tier"),
        ("cascades.main.paths.late", "hedge=6.0 s has no effect, as its budget of 5.0 s is over"),
    ]
    assert len(warnings) == len(expected), warnings
    for (place, message), (at, part) in zip(warnings, expected, strict=True):
        assert place == at
        assert part in message


FAULTS = (
    "when calls fail: 2 retries, each after at most 8 s; "
    "its circuit opens for 10 s when 50% of 10 or more calls fail, or 4 in a row"
)
LIVE = (
    "path live: small > large, a budget of 1.0 s, small alone when nothing fits it, "
    "hedged as late as the budget allows"
)


def test_check_explains_time(cli: Cli) -> None:
    Path("cascade.toml").write_text(TIME_AND_MONEY, encoding="utf-8")
    lines = [line.strip() for line in cli("check").out.splitlines()]
    for line in (
        "when calls fail: 1 retry, each after at most 8 s",
        "at most 3 waiting",
        FAULTS,
        "deployments, in this order: east, large-2",
        "at most 8 at once, 9000 tokens per minute",
        LIVE,
        "path late: small > large, a budget of 5.0 s, hedged after 6.0 s",
    ):
        assert line in lines
    cascade = json.loads(cli("check", "--json").out)["cascades"]["main"]
    small, large = cascade["ladder"]
    assert (small["retries"], small["breaker"], small["deployments"]) == (1, None, [])
    assert (large["latency_s"], large["breaker"]["consecutive"]) == (2.5, 4)
    assert large["limits"]["concurrency"] == 8
    assert [one["name"] for one in large["deployments"]] == ["east", None]
    assert cascade["paths"]["live"] == {
        "budget_s": 1.0, "ladder": ["small", "large"], "fast": "small", "hedge": "deadline",
    }  # fmt: skip


MONEY = """
[tiers.small]
model = "simulated:sim-small"
price = { input = 0.05, output = 0.40 }
[tiers.large]
model = "simulated:sim-large"
price = { input = 3, output = 15 }
[cascades.main]
tiers = ["small", "large"]
validators = ["finish_reason"]
[cascades.main.paths.live]
last = "small"
[cascades.other]
tiers = ["small"]
[spend]
near_last = "small"
[[spend.caps]]
usd = 0.05
per = "call"
[[spend.caps]]
usd = 0.01
path = "live"
[[spend.caps]]
usd = 5
per = "month"
scope = "key"
[[spend.caps]]
usd = 9
per = "total"
key = "acme"
cascade = "main"
"""


def test_check_explains_money_and_warns_of_it(cli: Cli) -> None:
    Path("cascade.toml").write_text(MONEY, encoding="utf-8")
    done = cli("check")
    assert (
        "spend, counted in memory\n"
        "  at most $0.05 per call\n"
        "  at most $0.01 per day, path live only\n"
        "  at most $5.00 per month for each tenant\n"
        "  at most $9.00 in total, tenant acme only, cascade main only\n"
        "  from 80% of a cap on: no tier above small\n"
    ) in done.out
    facts = json.loads(cli("check", "--json").out)
    assert facts["spend"]["caps"][0] == {
        "cascade": None, "key": None, "path": None, "per": "call", "scope": "all", "usd": "0.05",
    }  # fmt: skip
    warnings = [(w["place"], w["message"]) for w in facts["warnings"]]
    assert [place for place, _ in warnings] == [
        "spend.caps[0]", "spend.caps[2]", "spend.caps[3]",
    ]  # fmt: skip
    assert "tier 'large' can never be asked: $0.06" in warnings[0][1]
    assert "each start of a program begins at 0" in warnings[1][1]
    kept = MONEY.replace("[spend]\n", '[spend]\nstore = "sqlite:spend.db"\n')
    Path("cascade.toml").write_text(kept.replace("usd = 0.05", "usd = 0.5"), encoding="utf-8")
    facts = json.loads(cli("check", "--json").out)
    assert (facts["warnings"], facts["spend"]["store"]) == ([], "sqlite")
    assert not Path("spend.db").exists()  # a check makes nothing


def test_check_refuses_caps_without_prices(cli: Cli) -> None:
    unpriced = MONEY.replace("price = { input = 3, output = 15 }\n", "")
    Path("cascade.toml").write_text(unpriced, encoding="utf-8")
    done = cli("check")
    assert done.code == 2
    assert (
        "error: tiers.large: it has no price, so its calls cannot be held to the caps" in done.err
    )


def test_check_tells_what_a_cascade_does_otherwise_than_the_caps(cli: Cli) -> None:
    own = MONEY.replace("[spend]\n", """
[cascades.own]
tiers = ["small", "large"]
near_last = false
[cascades.outside]
tiers = ["small"]
spend = false
[spend]
""")  # fmt: skip
    Path("cascade.toml").write_text(own, encoding="utf-8")
    done = cli("check")
    assert done.code == 0, done.err
    assert "cascade outside\n" in done.out
    assert "  not held to the caps of [spend]\n" in done.out
    assert "  from 80% of a cap on: the whole ladder\n" in done.out
    facts = json.loads(cli("check", "--json").out)["cascades"]
    assert [facts[name]["spend"] for name in ("main", "own", "outside")] == [
        {"near_last": "small"}, {"near_last": None}, None,
    ]  # fmt: skip


SOURCES = """
[tiers.a]
model = "simulated:sim-smal"
price = { input = 0, output = 0 }
[tiers.b]
model = "recorded:runs.jsonl#small"
price = { input = 0, output = 0 }
[tiers.c]
model = "simulated:anything"
base_url = "http://127.0.0.1:9/v1"
price = { input = 0, output = 0 }
[tiers.d]
model = "openai:x"
price = { input = 0, output = 0 }
[[tiers.d.deployments]]
model = "recorded:other.jsonl"
[cascades.main]
tiers = ["a", "b", "c", "d"]
validators = ["finish_reason"]
"""


def test_check_looks_for_recorded_runs_and_simulated_models(cli: Cli) -> None:
    Path("cascade.toml").write_text(SOURCES, encoding="utf-8")
    done = cli("check", "--json")
    assert done.code == 2
    errors = {error["place"]: error["message"] for error in json.loads(done.out)["errors"]}
    assert list(errors) == ["tiers.a", "tiers.b", "tiers.d"]
    assert "no simulated model 'sim-smal'; did you mean 'sim-small'?" in errors["tiers.a"]
    assert "runs.jsonl cannot be read: No such file" in errors["tiers.b"]
    row = {"model": "smal", "id": "1", "content": "x"}
    for name in ("runs.jsonl", "other.jsonl"):
        Path(name).write_text(json.dumps(row) + "\n", encoding="utf-8")
    Path("cascade.toml").write_text(SOURCES.replace("sim-smal", "sim-small"), encoding="utf-8")
    errors = json.loads(cli("check", "--json").out)["errors"]
    assert [error["place"] for error in errors] == ["tiers.b"]
    assert "has no model 'small'; did you mean 'smal'?" in errors[0]["message"]


NESTED = """
[tiers.silent]
model = "simulated:sim-small"
price = { input = 0, output = 0 }
[cascades.main]
tiers = ["silent"]
validators = [
  { not = { use = "logprob", at = 0.1 } },
  { at_least = 1, of = ["finish_reason", { use = "entropy", at = 0.1 }] },
  { weighted = [{ use = "margin", weight = 1 }], at = 0.5 },
  { use = "calibrated", validator = { use = "logprob" }, mapping = [[0, 0], [1, 1]], at = 0.9 },
  { all = ["finish_reason", { use = "field_logprob", path = "a", at = 0.1 }] },
]
"""


def test_check_looks_into_composed_validators(cli: Cli) -> None:
    Path("cascade.toml").write_text(NESTED, encoding="utf-8")
    done = cli("check", "--json")
    assert done.code == 0, done.out
    places = [warning["place"] for warning in json.loads(done.out)["warnings"]]
    assert places == [f"cascades.main.validators[{number}]" for number in range(5)]


def test_init_tells_what_it_found_and_writes_no_key(command: Cli) -> None:
    done = command("init", "first.toml", OPENAI_API_KEY="sk-not-to-be-written")
    assert done.code == 0
    assert "Found a key for openai" in done.out
    assert "cascade check first.toml" in done.out
    assert "--config first.toml" in done.out
    text = Path("first.toml").read_text(encoding="utf-8")
    assert "sk-not" not in text + done.out + done.err
    assert command("check", "first.toml", OPENAI_API_KEY="x").code == 0


def test_init_says_which_of_several_keys_it_took_and_how_to_choose(command: Cli) -> None:
    keys = {"OPENAI_API_KEY": "x", "ANTHROPIC_API_KEY": "y"}
    done = command("init", "first.toml", **keys)
    assert (
        "Of these keys the file uses that for openai. For another: "
        "cascade init first.toml --force --provider anthropic"
    ) in done.out
    done = command("init", "first.toml", "--force", "--provider", "anthropic", **keys)
    assert done.code == 0
    assert "Of these keys" not in done.out
    assert 'model = "anthropic:' in Path("first.toml").read_text(encoding="utf-8")
    assert "Of these keys" not in command("init", OPENAI_API_KEY="x").out
    done = command("init", "other.toml", "--simulated", "--provider", "openai")
    assert done.code == 2
    assert "exclude each other" in done.err


def test_check_explains(cli: Cli) -> None:
    Path("cascade.toml").write_text(WORTH_A_WARNING, encoding="utf-8")
    out = cli("check").out
    assert "cascade main\n  dear: openai:x, $3.00 in, $15.00 out per million tokens\n" in out
    assert "must pass: finish_reason, json_value | logprob_mean (logprob_mean at 0.5), judge" in out
    assert "path fast: dear > cheap > unpriced > bare, a budget of 0.5 s" in out
    assert "unpriced: openai:z, price unknown" in out


def test_check_shows_every_mistake_with_its_place(cli: Cli) -> None:
    Path("cascade.toml").write_text(
        '[tiers.a]\nmodel = "opnai:x"\n[cascades.one]\ntiers = ["a", "b"]\n'
        '[cascades.two]\ntiers = ["a"]\nvalidators = ["nope"]\n',
        encoding="utf-8",
    )
    done = cli("check")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("error: ") == 3  # the tier that both share is told once
    assert "error: cascades.one.tiers[1]: there is no [tiers.b]" in done.err
    facts: dict[str, Any] = json.loads(cli("check", "--json").out)
    assert facts["ok"] is False
    assert [error["place"] for error in facts["errors"]] == [
        "tiers.a",
        "cascades.one.tiers[1]",
        "cascades.two.validators[0]",
    ]


def test_check_reads_the_policy_too(cli: Cli) -> None:
    state = {"features": [], "answers": {"a": {"weights": {"": [0.0]}, "curve": []}}, "next": {}}
    policy: dict[str, Any] = {
        "format": "cascade-policy", "version": 1, "tiers": ["a"], "strong": "a", "signals": {},
        "slice_by": None, "price": 0.0, "start": {"": "a"}, "mean_cost_usd": {"a": 0.0},
        "states": {"a": state},
    }  # fmt: skip
    Path("cascade.toml").write_text(
        '[tiers.a]\nmodel = "simulated:sim-small"\n'
        '[cascades.one]\ntiers = ["a"]\npolicy = "policy.json"\n',
        encoding="utf-8",
    )
    Path("policy.json").write_text(json.dumps(policy))
    assert cli("check").code == 0
    Path("policy.json").write_text(json.dumps(policy | {"start": {}}))
    done = cli("check")
    assert done.code == 2
    assert "policy.json is not a complete policy: start lacks ''; tune it again" in done.err


def test_check_of_a_file_that_is_not_there(cli: Cli) -> None:
    done = cli("check", "none.toml")
    assert done.code == 2
    assert "there is no file 'none.toml'" in done.err
    assert json.loads(cli("check", "none.toml", "--json").out)["ok"] is False


def test_check_prints_the_schema(cli: Cli) -> None:
    assert json.loads(cli("check", "--schema").out) == json_schema()


def test_the_first_file_loads_without_the_command_line() -> None:
    Path("cascade.toml").write_text(first_config(SIMULATED), encoding="utf-8")
    assert [tier.name for tier in load("cascade.toml").cascade().tiers] == ["small", "large"]
