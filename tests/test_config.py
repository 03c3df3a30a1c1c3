from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import (
    AuthenticationError,
    Cascade,
    ConfigError,
    Price,
    SpendLimitExceeded,
    SQLiteStore,
    Usage,
    tokens,
)
from cascade.config import ConfigFileError, json_schema, load
from cascade.config.mistakes import Mistakes
from cascade.config.tiers import EnvironmentKey, key_variables
from cascade.validation import Check
from tests.tokenizer_files import write_tokenizer

SCHEMA_FILE = Path(__file__).resolve().parent.parent / "docs" / "cascade.schema.json"

TIERS = """
[tiers.small]
model = "openai:tiny"
price = { input = 0.05, output = 0.4 }
[tiers.large]
model = "openai:huge"
price = { input = 3, output = "15.00" }
"""
LADDER = '[cascades.support]\ntiers = ["small", "large"]\n'
VALID = TIERS + LADDER


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        file = tmp_path / "cascade.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def mistakes(file: Path) -> dict[str, str]:
    """What is wrong with a file, by place, whether its shape or its meaning is."""

    def first_cascade() -> Cascade:
        config = load(file)
        return config.cascade(next(iter(config.tables.cascades)))

    with pytest.raises(ConfigFileError) as raised:
        first_cascade()
    assert raised.value.file == str(file)
    return {mistake.place: mistake.message for mistake in raised.value.mistakes}


def test_a_file_becomes_a_cascade(write: Any) -> None:
    file = write(
        TIERS
        + """
[providers.corp]
kind = "vllm"
base_url = "http://10.0.0.1:8000/v1"
api_key_env = "CORP_API_KEY"
headers = { x-team = "search" }
[tiers.own]
provider = "corp"
model = "llama3:8b"
headers = { x-app = "tickets" }
params = { temperature = 0.5 }
drop_params = ["seed"]
timeout_s = 2
[cascades.support]
tiers = ["own", "small", "large"]
validators = ["finish_reason", { use = "logprob", statistic = "p10", at = 0.6, tiers = ["own"] }]
on_exhausted = "best"
feedback = true
reasks = 1
thresholds = { own = { logprob_p10 = 0.7 } }
[cascades.support.paths.fast]
budget_s = 0.3
direct = "small"
"""
    )
    cascade = Cascade.from_config(file)
    own, small, large = cascade.tiers
    assert cascade.name == "support"
    assert (own.model, own.model_name) == ("vllm:llama3:8b", "llama3:8b")
    assert own.base_url == "http://10.0.0.1:8000/v1"
    assert own.headers == {"x-team": "search", "x-app": "tickets"}
    assert own.params == {"temperature": 0.5}
    assert own.drop_params == {"seed"}
    assert (own.timeout_s, own.price) == (2, None)
    assert small.price == Price(input="0.05", output="0.4")
    assert large.price == Price(input=3, output=15)
    plan = cascade.plan()
    assert [[v.name for v in rung.free] for rung in plan.rungs] == [
        ["finish_reason", "logprob_p10"],
        ["finish_reason"],
        ["finish_reason"],
    ]
    assert (plan.on_exhausted, plan.feedback, plan.reasks) == ("best", True, 1)
    fast = cascade.plan("fast")
    assert (fast.budget_s, [rung.tier.name for rung in fast.rungs]) == (0.3, ["small"])


def test_prices_are_read_exactly(write: Any) -> None:
    exact = "0.1000000000000000055511151231257827021181583404541015625"
    file = write(TIERS.replace("0.05", exact) + LADDER)
    price = load(file).cascade().tiers[0].price
    assert price is not None
    assert price.cost_usd(Usage(1_000_000, 0)) == Decimal(exact)


def test_which_cascade_is_meant(write: Any) -> None:
    config = load(write(VALID + '[cascades.other]\ntiers = ["large"]\n'))
    assert [t.name for t in config.cascade("other").tiers] == ["large"]
    with pytest.raises(ConfigError, match="has several cascades; name one of support, other"):
        config.cascade()
    with pytest.raises(ConfigError, match="no cascade 'suport'; did you mean 'support'"):
        config.cascade("suport")


def test_cascades_of_one_file_share_tiers(write: Any) -> None:
    config = load(write(VALID + '[cascades.other]\ntiers = ["large"]\n'))
    assert config.cascade("other").tiers[0] is config.cascade("support").tiers[1]


def test_all_mistakes_of_shape_are_told_at_once(write: Any) -> None:
    file = write(
        """
imports = "checks"
[tiers.small]
modle = "openai:tiny"
price = { input = "cheap", output = -1, cached_inputs = 1 }
timeout_s = "1s"
[tiers."gpt 6"]
model = ""
[cascades.support]
tiers = ["small"]
feedback = "yes"
validators = [
  3,
  { any = ["finish_reason", { us = "x" }] },
  { use = "logprob", at = 1.5 },
  { weighted = [{ use = "logprob" }], at = 0.5 },
  { all = ["finish_reason"], any = ["finish_reason"] },
]
thresholds = { a = 2, small = { b = "x" } }
[cascades.support.paths.fast]
budget_s = 0
drect = "small"
"""
    )
    found = mistakes(file)
    assert found == {
        "imports": "it should be a list",
        "tiers.small.model": "it is required; add it",
        "tiers.small.modle": "there is no such key; did you mean 'model'?",
        "tiers.small.price.input": "'cheap' will not do: it should be a valid decimal",
        "tiers.small.price.output": "-1 will not do: it should be greater than or equal to 0",
        "tiers.small.price.cached_inputs": "there is no such key; did you mean 'cached_input'?",
        "tiers.small.timeout_s": "'1s' will not do: it should be a valid number",
        'tiers."gpt 6".model': "it should not be empty",
        "cascades.support.feedback": "'yes' will not do: it should be a valid boolean",
        "cascades.support.validators[0]": (
            "3 will not do: it should be a validator's name, or a table with one of use, all, "
            "any, not, at_least, weighted"
        ),
        "cascades.support.validators[1].any[1]": (
            "it should be a validator's name, or a table with one of use, all, any, not, "
            "at_least, weighted"
        ),
        "cascades.support.validators[2].at": (
            "1.5 will not do: it should be less than or equal to 1"
        ),
        "cascades.support.validators[3].weighted[0].weight": "it is required; add it",
        "cascades.support.validators[4].any": (
            "there is no such key; known: 'all', 'name', 'optional', 'tiers'"
        ),
        "cascades.support.thresholds.a": "2 will not do: it should be less than or equal to 1",
        "cascades.support.thresholds.small.b": "'x' will not do: it should be a valid number",
        "cascades.support.paths.fast.budget_s": "0 will not do: it should be greater than 0",
        "cascades.support.paths.fast.drect": "there is no such key; did you mean 'direct'?",
    }


def test_all_mistakes_of_meaning_are_told_at_once(write: Any) -> None:
    file = write(
        TIERS
        + """
[tiers.odd]
model = "opnai:tiny"
[tiers.lost]
provider = "corp"
model = "x"
[cascades.support]
tiers = ["small", "odd", "lost", "lage"]
validators = ["finish_raeson", { use = "json_schema", schema = "no.json" },
  { use = "logprob", x = 1 },
  { use = "judge", tier = "smal", rubric = "polite?", at = 0.5 }]
paths.fast.direct = "lare"
"""
    )
    found = mistakes(file)
    assert list(found) == [
        "tiers.odd",
        "tiers.lost",
        "cascades.support.tiers[3]",
        "cascades.support.paths.fast.direct",
        "cascades.support.validators[0]",
        "cascades.support.validators[1]",
        "cascades.support.validators[2]",
        "cascades.support.validators[3]",
    ]
    assert "did you mean 'openai'" in found["tiers.odd"]
    assert found["tiers.lost"] == "there is no [providers.corp]; none are known"
    assert found["cascades.support.tiers[3]"] == "there is no [tiers.lage]; did you mean 'large'?"
    assert "did you mean" in found["cascades.support.paths.fast.direct"]
    assert "did you mean 'finish_reason'" in found["cascades.support.validators[0]"]
    assert str(file.parent / "no.json") in found["cascades.support.validators[1]"]
    assert "did you mean 'small'" in found["cascades.support.validators[3]"]


FAULTS = """
[providers.spare]
kind = "vllm"
base_url = "http://10.0.0.2:8000/v1"
headers = { x-team = "search" }
[providers.other_key]
kind = "openai"
api_key_env = "OTHER_KEY"
[tiers.small]
model = "openai:tiny"
base_url = "http://10.0.0.1:8000/v1"
headers = { x-app = "tickets" }
latency_s = 0.4
timeout_s = 20
first_token_s = 2.5
retries = { times = 3, base_s = 0.1, cap_s = 2 }
breaker = { failure_rate = 0.2, min_calls = 4, window_s = 60, consecutive = 3, open_s = 5, \
slow_s = 9 }
limits = { concurrency = 8, requests_per_min = 60, tokens_per_min = 9000, max_queue = 0 }
[[tiers.small.deployments]]
[[tiers.small.deployments]]
name = "spare"
provider = "spare"
headers = { x-more = "1" }
[[tiers.small.deployments]]
provider = "other_key"
model = "tiny-2"
[[tiers.small.deployments]]
base_url = "http://10.0.0.3:8000/v1"
api_key_env = "THIRD_KEY"
[tiers.large]
model = "openai:huge"
retries = 0
breaker = false
[tiers.local]
model = "simulated:sim-large"
breaker = true
[cascades.support]
tiers = ["small", "large", "local"]
[cascades.support.paths.live]
budget_s = 2
fast = "small"
hedge = "deadline"
[cascades.support.paths.hurried]
hedge = 0.25
""".replace("\\\n", "")


def test_what_happens_when_calls_fail_is_read(write: Any) -> None:
    cascade = load(write(FAULTS)).cascade()
    small, large, local = cascade.tiers
    assert small.latency_s == 0.4
    assert (small.first_token_s, large.first_token_s) == (2.5, None)
    assert repr(small.retries) == "Retries(3, base_s=0.1, cap_s=2.0)"
    breaker = small.breaker
    assert breaker is not None
    assert (breaker.failure_rate, breaker.min_calls, breaker.window_s) == (0.2, 4, 60)
    assert (breaker.consecutive, breaker.open_s, breaker.slow_s) == (3, 5, 9)
    limits = small.limits
    assert limits is not None
    assert (limits.concurrency, limits.requests_per_min) == (8, 60)
    assert (limits.tokens_per_min, limits.max_queue) == (9000, 0)
    assert (large.retries.times, large.breaker, large.limits) == (0, None, None)
    assert (local.retries.times, local.breaker is None) == (0, False)
    live, hurried = cascade.plan("live"), cascade.plan("hurried")
    assert (live.fast, live.hedge, hurried.fast, hurried.hedge) == (0, "deadline", None, 0.25)


def test_deployments_are_read(write: Any) -> None:
    plain, spare, other, third = load(write(FAULTS)).cascade().tiers[0].deployments
    assert (plain.model, plain.base_url, plain.api_key, plain.headers) == (None, None, None, None)
    assert (spare.name, spare.model) == ("spare", "vllm:tiny")
    assert (spare.base_url, spare.api_key) == ("http://10.0.0.2:8000/v1", None)
    assert spare.headers == {"x-team": "search", "x-more": "1"}
    assert (other.model, other.api_key) == ("openai:tiny-2", EnvironmentKey("OTHER_KEY"))
    assert other.base_url == "https://api.openai.com/v1"  # not the tier's own server
    assert (third.model, third.api_key) == (None, EnvironmentKey("THIRD_KEY"))


def test_a_deployment_that_names_a_known_service_reads_its_usual_key(write: Any) -> None:
    file = write(FAULTS.replace('api_key_env = "OTHER_KEY"\n', ""))
    other = load(file).cascade().tiers[0].deployments[2]
    assert other.api_key == EnvironmentKey("OPENAI_API_KEY")


SPEND = (
    VALID
    + """
[cascades.support.paths.live]
budget_s = 2
[cascades.other]
tiers = ["small"]
[spend]
near = 0.5
near_last = "small"
output_tokens = 100
input_safety = 2
[[spend.caps]]
usd = 0.1000000000000000055511151231257827021181583404541015625
per = "month"
path = "live"
[[spend.caps]]
usd = 5
scope = "key"
[[spend.caps]]
usd = "7.50"
per = "total"
key = "acme"
cascade = "support"
"""
)


def test_caps_are_read_exactly_and_shared(write: Any) -> None:
    config = load(write(SPEND))
    spend = config.cascade("support").plan().spend
    assert spend is not None
    assert spend is config.cascade("other").plan().spend
    assert (spend.near, spend.near_last) == (Decimal("0.5"), "small")
    assert (spend.output_tokens, spend.input_safety) == (100, 2)
    assert [repr(cap) for cap in spend.caps] == [
        "Cap(0.1000000000000000055511151231257827021181583404541015625, per='month', path='live')",
        "Cap(5, per='day', scope='key')",
        "Cap(7.50, per='total', key='acme', cascade='support')",
    ]


@pytest.mark.anyio
async def test_caps_hold_across_programs(write: Any, tmp_path: Path) -> None:
    text = (
        '[tiers.a]\nmodel = "simulated:sim-small"\nprice = { input = 1, output = 1 }\n'
        'params = { max_tokens = 100 }\n[cascades.main]\ntiers = ["a"]\n'
        '[spend]\nstore = "sqlite:spend.db"\n[[spend.caps]]\nusd = 0.0002\nper = "total"\n'
    )
    file = write(text)
    admitted = 0
    for _ in range(40):
        cascade = load(file).cascade()
        spend = cascade.plan().spend
        assert spend is not None
        assert isinstance(spend.store, SQLiteStore)
        try:
            await cascade.run("Name a prime number.")
            admitted += 1
        except SpendLimitExceeded:
            break
        finally:
            spend.store.close()
    assert 1 <= admitted < 40
    assert (tmp_path / "spend.db").is_file()


def test_prices_by_model_name(write: Any) -> None:
    text = '[tiers.a]\nmodel = "openai:gpt-4o"\nprice = "auto"\n[cascades.x]\ntiers = ["a"]\n'
    price = load(write(text)).cascade().tiers[0].price
    assert price is not None
    assert price.cost_usd(Usage(1_000_000, 0)) == Decimal("2.5")
    unknown = text.replace("openai:gpt-4o", "vllm:mine")
    assert load(write(unknown)).cascade().tiers[0].price is None
    capped = unknown + "[spend]\ncaps = [{ usd = 1 }]\n"
    assert "no price is listed for 'vllm:mine'" in mistakes(write(capped))["tiers.a"]


OWN = """
[tiers.free]
model = "simulated:sim-small"
[cascades.support]
tiers = ["small", "large"]
[cascades.careful]
tiers = ["small", "large"]
near_last = "large"
[cascades.whole]
tiers = ["large"]
near_last = false
[cascades.outside]
tiers = ["free"]
spend = false
[spend]
near_last = "small"
caps = [{ usd = 1 }]
"""


def test_a_cascade_may_say_otherwise_than_the_shared_caps(write: Any) -> None:
    config = load(write(TIERS + OWN))
    spends = {name: config.cascade(name).plan().spend for name in config.tables.cascades}
    shared = spends["support"]
    assert shared is not None
    assert spends["outside"] is None  # and its tier needs no price
    near_last = {name: spend.near_last for name, spend in spends.items() if spend is not None}
    assert near_last == {"support": "small", "careful": "large", "whole": None}


@pytest.mark.anyio
async def test_one_amount_holds_cascades_that_differ_in_what_they_do_near_it(write: Any) -> None:
    config = load(write(TIERS + OWN))
    careful = config.cascade("careful").plan().spend
    whole = config.cascade("whole").plan().spend
    assert careful is not None
    assert whole is not None
    hold = await careful.reserve(Decimal("0.9"))
    assert await whole.state() == "near"
    with pytest.raises(SpendLimitExceeded):
        await whole.reserve(Decimal("0.2"))
    await hold.release()
    assert await whole.state() == "ok"


def test_a_breaker_without_failures_in_a_row(write: Any) -> None:
    file = write(VALID + "[tiers.small.breaker]\nconsecutive = false\nmin_calls = 3\n")
    breaker = load(file).cascade().tiers[0].breaker
    assert breaker is not None
    assert (breaker.consecutive, breaker.min_calls, breaker.failure_rate) == (None, 3, 0.5)


def test_caps_need_a_price_for_all_that_is_asked(write: Any) -> None:
    file = write(
        VALID.replace('price = { input = 3, output = "15.00" }', "")
        + """validators = [{ use = "judge", tier = "judging", rubric = "x", at = 0.5 }]
[tiers.judging]
model = "openai:x"
[tiers.idle]
model = "openai:y"
[spend]
caps = [{ usd = 1 }]
"""
    )
    found = mistakes(file)
    assert list(found) == ["tiers.large", "tiers.judging"]
    assert "it has no price, so its calls cannot be held to the caps" in found["tiers.judging"]


def test_prices_by_model_name_need_their_extra(write: Any) -> None:
    file = write(
        '[tiers.a]\nmodel = "openai:gpt-4o"\nprice = "auto"\n[cascades.x]\ntiers = ["a"]\n'
    )
    program = (
        "import sys; sys.modules['genai_prices'] = None\n"
        "from cascade import Cascade, ConfigError\n"
        "try: Cascade.from_config(sys.argv[1])\n"
        "except ConfigError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        timeout=60,
    )
    assert 'tiers.a: prices by model name need the extra "prices": pip install' in done.stdout


def test_mistakes_of_shape_in_time_and_money(write: Any) -> None:
    file = write(
        """
[tiers.small]
model = "openai:tiny"
price = "automatic"
latency_s = 0
retries = -1
breaker = { opens = 3, failure_rate = 0 }
limits = { concurrency = 0, concurency = 1 }
deployments = [{ base_url = "http://a:b@c/v1" }, { api_key = "x" }]
[tiers.large]
model = "openai:huge"
retries = { times = 1.5, max = 3 }
breaker = "no"
limits = 3
deployments = []
[cascades.support]
tiers = ["small"]
[cascades.support.paths.a]
hedge = "sometimes"
[cascades.support.paths.b]
hedge = 0
[spend]
store = "redis"
near = 2
[[spend.caps]]
usd = 0
per = "week"
tenant = "acme"
[[spend.caps]]
usd = true
"""
    )
    found = mistakes(file)
    assert found == {
        "tiers.small.price": (
            "it should be a table, such as { input = 0.05, output = 0.40 }, or 'auto'"
        ),
        "tiers.small.latency_s": "0 will not do: it should be greater than 0",
        "tiers.small.retries": "-1 will not do: it should be greater than or equal to 0",
        "tiers.small.breaker.opens": "there is no such key; did you mean 'open_s'?",
        "tiers.small.breaker.failure_rate": "0 will not do: it should be greater than 0",
        "tiers.small.limits.concurrency": (
            "0 will not do: it should be greater than or equal to 1"
        ),
        "tiers.small.limits.concurency": "there is no such key; did you mean 'concurrency'?",
        "tiers.small.deployments[0].base_url": (
            "the address holds a user name or password; leave it out and use api_key_env"
        ),
        "tiers.small.deployments[1].api_key": (
            "keys do not belong in this file; write api_key_env with the name of the "
            "environment variable that holds it"
        ),
        "tiers.large.retries.times": "1.5 will not do: it should be a valid integer",
        "tiers.large.retries.max": ("there is no such key; known: 'base_s', 'cap_s', 'times'"),
        "tiers.large.breaker": "'no' will not do: it should be a valid boolean",
        "tiers.large.limits": "it should be a table",
        "tiers.large.deployments": "it should not be empty",
        "cascades.support.paths.a.hedge": (
            "'sometimes' will not do: it should be 'never' or 'deadline'"
        ),
        "cascades.support.paths.b.hedge": "0 will not do: it should be greater than 0",
        "spend.store": "'redis' will not do: it should be 'memory' or 'sqlite:FILE'",
        "spend.near": "2 will not do: it should be less than or equal to 1",
        "spend.caps[0].usd": "0 will not do: it should be greater than 0",
        "spend.caps[0].per": (
            "'week' will not do: it should be 'call', 'day', 'month', 'process' or 'total'"
        ),
        "spend.caps[0].tenant": (
            "there is no such key; known: 'cascade', 'key', 'path', 'per', 'scope', 'usd'"
        ),
        "spend.caps[1].usd": "True will not do: it should be a number of USD",
    }


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("[cascades.support.paths.a]\nbudget_s = 1\nfast = 'smal'\n",
         "cascades.support.paths.a.fast", "did you mean 'small'"),
        ("[cascades.support.paths.a]\nfast = 'small'\n",
         "cascades.support.paths.a", "no effect without budget_s"),
        ("[cascades.support.paths.a]\nhedge = 'deadline'\n",
         "cascades.support.paths.a", "give the path a budget_s"),
        ("[cascades.support.paths.a]\nhedge = 1\ndirect = 'small'\n",
         "cascades.support.paths.a", "hedge has no effect on a direct path"),
        ("[[tiers.large.deployments]]\n[[tiers.large.deployments]]\nprovider = 'crp'\n",
         "tiers.large", "deployments[1]: there is no [providers.crp]; did you mean 'corp'?"),
        ("[[tiers.large.deployments]]\nprovider = 'corp'\nbase_url = 'http://x'\n",
         "tiers.large", "deployments[0]: base_url stands beside provider='corp'"),
        ("[[tiers.large.deployments]]\nprovider = 'corp'\nmodel = 'vllm:x'\n",
         "tiers.large", "write model='x'"),
        ("[[tiers.large.deployments]]\nmodel = 'huge'\n",
         "tiers.large", "deployments[0]: a deployment: model 'huge' names no provider"),
        ("paths.live.budget_s = 1\n[spend]\ncaps = [{ usd = 1, path = 'lve' }]\n",
         "spend.caps[0].path", "there is no path 'lve' in this file; did you mean 'live'?"),
        ("[spend]\ncaps = [{ usd = 1, cascade = 'suport' }]\n",
         "spend.caps[0].cascade", "did you mean 'support'?"),
        ("[spend]\ncaps = [{ usd = 1, scope = 'key', key = 'a' }]\n",
         "spend.caps[0]", "leave scope out"),
        ("[spend]\ncaps = [{ usd = 1 }]\nnear_last = 'smal'\n",
         "spend.near_last", "did you mean 'small'?"),
        ("[spend]\ncaps = [{ usd = 1 }]\nstore = 'sqlite:no/such/spend.db'\n",
         "spend.store", "there is no folder"),
        ("near_last = 'small'\n",
         "cascades.support.near_last", "no effect without [spend]"),
        ("spend = false\n",
         "cascades.support.spend", "no effect without [spend]"),
        ("spend = false\n[spend]\ncaps = [{ usd = 1 }]\n",
         "spend", "it holds no cascade"),
        ("near_last = 'smal'\n[spend]\ncaps = [{ usd = 1 }]\n",
         "cascades.support", "near_last='smal' is no tier of this cascade; did you mean 'small'?"),
        (("spend = false\nnear_last = 'small'\n[cascades.b]\ntiers = ['small']\n"
         "[spend]\ncaps = [{ usd = 1 }]\n"),
         "cascades.support.near_last", "no effect with spend = false"),
        (("spend = false\n[cascades.b]\ntiers = ['small']\n"
         "[spend]\ncaps = [{ usd = 1, cascade = 'support' }]\n"),
         "spend.caps[0].cascade", "the cap holds nothing"),
        ("near_last = true\n[spend]\ncaps = [{ usd = 1 }]\n",
         "cascades.support.near_last", "True will not do"),
        ("[tiers.large.breaker]\nconsecutive = true\n",
         "tiers.large.breaker.consecutive", "True will not do"),
    ],
)  # fmt: skip
def test_mistakes_of_meaning_in_time_and_money(
    write: Any, text: str, place: str, message: str
) -> None:
    file = write(f"{VALID}{text}[providers.corp]\nkind = 'vllm'\n")
    found = mistakes(file)
    assert list(found) == [place]
    assert message in found[place]


def test_a_mistake_of_a_shared_tier_brings_no_others_with_it(write: Any) -> None:
    file = write(
        '[tiers.a]\nmodel = "opnai:x"\n[cascades.one]\ntiers = ["a"]\n'
        '[cascades.two]\ntiers = ["a"]\n'
    )
    config = load(file)
    found = Mistakes(str(file))
    assert [config.build(name, found) for name in ("one", "two")] == [None, None]
    assert [mistake.place for mistake in found.found] == ["tiers.a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tiers = [", "is not valid TOML"),
        ("tiers = " + "[" * 100_000, "is nested too deep"),
        (VALID + "[tiers.a]\nmodel = 'openai:x'\nparams.x = 2026-01-01\n", r"tiers\.a\.params\.x"),
        (VALID + "[tiers.a]\nmodel = 'openai:x'\nparams.x = [nan]\n", "it should hold finite"),
        ("", "cascades: it is required; add it"),
        (TIERS + "[cascades]\n", "cascades: it should not be empty"),
        (VALID + "[cascades.support.paths.a]\nfirst = 'large'\nlast = 'small'\n",
         "first='large' stands above last='small'"),
        (VALID + "[cascades.support.paths.a]\nfirst = 'large'\ndirect = 'small'\n",
         r"paths\.a: a path is direct='small' and has first or last too"),
        (VALID + "validators = ['logprob']\n", r"cascades\.support: validator 'logprob_mean' only"),
        (VALID + "thresholds = { logprob = 0.5 }\n", "thresholds name the validator 'logprob'"),
        (VALID.replace("3,", "nan,"), "it should be a finite number"),
        (VALID.replace('"openai:huge"', '"openai:huge"\ntimeout_s = inf'), "a finite number"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_mend(write: Any, text: str, message: str) -> None:
    file = write(text)
    with pytest.raises(ConfigError, match=message) as raised:
        load(file).cascade()
    assert str(raised.value).startswith(str(file))


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "cascade.toml"
    file.write_text(VALID, encoding="utf-8-sig")
    assert len(load(file).cascade().tiers) == 2


def test_the_documented_file_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (SCHEMA_FILE.parent / "configuration.md").read_text(encoding="utf-8")
    (document,) = re.findall(r"<!-- cascade.toml -->\n```toml\n(.*?)```", page, re.DOTALL)
    module = page.partition("# checks.py, beside cascade.toml\n")[2].partition("```")[0]
    (tmp_path / "checks_of_the_page.py").write_text(module, encoding="utf-8")
    (tmp_path / "ticket.json").write_text('{"type": "object"}', encoding="utf-8")
    file = tmp_path / "cascade.toml"
    file.write_text(document.replace('"checks"', '"checks_of_the_page"'), encoding="utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    cascade = Cascade.from_config(file, "support")
    assert [rung.tier.name for rung in cascade.plan("live").rungs] == ["small", "large"]
    broken = document.replace('model = "qwen3', 'modle = "qwen3').replace("4.0", "'4s'")
    file.write_text(broken, encoding="utf-8")
    told = re.search(r"cascade.toml has 2 mistakes:\n.*?\n.*?\n", page)
    assert told is not None
    for line in told[0].splitlines()[1:]:
        assert line.strip() in [f"{place}: {text}" for place, text in mistakes(file).items()]


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*`cascade init` writes"):
        load(tmp_path / "none.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read as UTF-8 text"):
        load(binary)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


SECRET = "sk-live-0123456789"


@pytest.mark.parametrize(
    "line",
    [
        f"api_key = '{SECRET}'",
        f"apiKey = '{SECRET}'",
        f"token = '{SECRET}'",
        f"api_key_env = '{SECRET}'",
        f"headers = {{ Authorization = 'Bearer {SECRET}' }}",
        f"headers = {{ x-api-key = '{SECRET}' }}",
        f"headers = '{SECRET}'",
        f"base_url = 'https://me:{SECRET}@example.org/v1'",
        f"price = '{SECRET}'",
        f"params = '{SECRET}'",
    ],
)
@pytest.mark.parametrize(
    ("table", "first"),
    [
        ("[tiers.small]", "model = 'openai:x'"),
        ("[providers.corp]", "kind = 'openai'"),
        ("[tiers.small]\nmodel = 'openai:x'\n[[tiers.small.deployments]]", "name = 'a'"),
    ],
)
def test_keys_are_refused_and_never_shown(write: Any, table: str, first: str, line: str) -> None:
    file = write(f"{table}\n{first}\n{line}\n[cascades.a]\ntiers = ['small']\n")
    with pytest.raises(ConfigError) as raised:
        load(file)
    assert SECRET not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_a_literal_key_is_answered_with_the_environment(write: Any) -> None:
    file = write(VALID + f"[tiers.more]\nmodel = 'openai:x'\napi_key = '{SECRET}'\n")
    assert "write api_key_env with the name" in mistakes(file)["tiers.more.api_key"]


def test_a_key_is_read_at_each_call(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(VALID.replace('"openai:tiny"', '"openai:tiny"\napi_key_env = "CORP_KEY"'))
    key = load(file).cascade().tiers[0].api_key
    assert isinstance(key, EnvironmentKey)
    monkeypatch.delenv("CORP_KEY", raising=False)
    with pytest.raises(AuthenticationError, match="variable CORP_KEY is not set"):
        key.reveal()
    monkeypatch.setenv("CORP_KEY", SECRET)
    assert key.reveal() == SECRET
    assert SECRET not in repr(key)
    assert key == EnvironmentKey("CORP_KEY")
    assert key != EnvironmentKey("OTHER_KEY")


def test_which_variables_a_tier_reads_its_keys_from(write: Any) -> None:
    small, large, local = load(write(FAULTS)).cascade().tiers
    assert key_variables(small) == ["OTHER_KEY", "THIRD_KEY"]
    assert key_variables(large) == ["OPENAI_API_KEY"]
    assert key_variables(local) == []
    file = write(VALID + "[[tiers.large.deployments]]\n[[tiers.large.deployments]]\n"
                 "model = 'anthropic:x'\n")  # fmt: skip
    assert key_variables(load(file).cascade().tiers[1]) == ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"]


@pytest.mark.parametrize(
    ("tier", "message"),
    [
        ("provider = 'corp'\nmodel = 'x'\nbase_url = 'http://x'", "base_url stands beside"),
        ("provider = 'corp'\nmodel = 'x'\napi_key_env = 'X'", "api_key_env stands beside"),
        ("provider = 'corp'\nmodel = 'openai:x'", "write model='x'"),
        ("provider = 'odd'\nmodel = 'x'", "kind='opnai'; did you mean 'openai'"),
    ],
)
def test_what_a_shared_provider_says_is_not_said_twice(write: Any, tier: str, message: str) -> None:
    file = write(
        "[providers.corp]\nkind = 'openai'\n[providers.odd]\nkind = 'opnai'\n"
        f"[tiers.small]\n{tier}\n[cascades.a]\ntiers = ['small']\n"
    )
    assert message in mistakes(file)["tiers.small"]


def test_validators_compose(write: Any, tmp_path: Path) -> None:
    (tmp_path / "ticket.json").write_text('{"type": "object"}', encoding="utf-8")
    file = write(
        VALID
        + """
validators = [
  { use = "json_schema", schema = "ticket.json", name = "ticket" },
  { all = ["finish_reason", "not_refusal"] },
  { any = ["json_value", { use = "logprob", at = 0.5 }], optional = true },
  { not = { use = "contains", any = ["sorry"] } },
  { at_least = 1, of = ["finish_reason", "json_value"], tiers = ["large"] },
  { weighted = [{ use = "logprob", weight = 2 }, { use = "margin", weight = 1 }], at = 0.6 },
  { use = "calibrated", validator = { use = "logprob" }, mapping = [[0, 0], [1, 1]], at = 0.9 },
  { use = "judge", tier = "large", rubric = "Is it polite?", at = 0.7 },
]
"""
    )
    cascade = load(file).cascade()
    small, large = cascade.plan().rungs
    assert [v.name for v in small.free] == [
        "ticket",
        "finish_reason & not_refusal",
        "optional(json_value | logprob_mean)",
        "~contains",
        "weighted(logprob_mean, margin_mean)",
        "calibrated_logprob_mean",
    ]
    assert [v.name for v in large.free][4] == "at_least(1, finish_reason, json_value)"
    assert [v.name for v in large.paid] == ["judge"]


def test_relative_schemas_start_at_the_file_and_not_at_the_working_folder(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ticket.json").write_text('{"type": "object"}', encoding="utf-8")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    file = write(VALID + 'validators = [{ use = "json_schema", schema = "ticket.json" }]\n')
    assert load(os.path.relpath(file)).cascade().validators[0].name == "json_schema"


@pytest.mark.anyio
async def test_recorded_runs_start_at_the_file_too(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = {"model": "m", "prompt": "Capital of France?", "content": "Paris"}
    (tmp_path / "runs.jsonl").write_text(json.dumps(run) + "\n", encoding="utf-8")
    file = write(
        '[tiers.past]\nmodel = "recorded:runs.jsonl#m"\n[cascades.replay]\ntiers = ["past"]\n'
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert (await load(file).cascade().run("Capital of France?")).value == "Paris"


TWICE = '{ use = "checks_twice", weight = 1 }'


@pytest.mark.parametrize(
    ("validator", "message"),
    [
        ('{ use = "calibrated", validator = 3, mapping = [[0, 0], [1, 1]] }', "option 'validator'"),
        (f"{{ weighted = [{TWICE}, {TWICE}], at = 0.5 }}", "the same validator twice"),
        ('{ use = "finish_reason", tiers = ["smal"] }', "which is not in this cascade"),
    ],
)  # fmt: skip
def test_validators_that_cannot_be(
    write: Any, tmp_path: Path, imported: str, validator: str, message: str
) -> None:
    file = write(f'imports = ["{imported}"]\n{VALID}validators = [{validator}]\n')
    assert any(message in found for found in mistakes(file).values())


@pytest.fixture
def imported(tmp_path: Path) -> Iterator[str]:
    """A module beside the file that registers a validator; forgotten afterwards."""
    from cascade import registry

    name = "checks_of_the_test"
    (tmp_path / f"{name}.py").write_text(
        "from cascade import validator\n"
        "@validator('checks_twice')\n"
        "def checks_twice(answer, context):\n    return True\n",
        encoding="utf-8",
    )
    path = list(sys.path)
    yield name
    sys.path[:] = path
    sys.modules.pop(name, None)
    registry._registered.pop("checks_twice", None)


def test_imports_register_validators(write: Any, imported: str, tmp_path: Path) -> None:
    file = write(f'imports = ["{imported}"]\n{VALID}validators = ["checks_twice"]\n')
    assert load(file).cascade().validators[0].name == "checks_twice"
    assert load(file).cascade().validators[0].name == "checks_twice"  # imported once only
    assert sys.path[-1] == str(tmp_path.resolve())
    assert sys.path.count(str(tmp_path.resolve())) == 1


def test_without_imports_the_import_path_stays_as_it_was(write: Any) -> None:
    before = list(sys.path)
    load(write(VALID))
    assert sys.path == before


def test_imports_that_fail_are_mistakes(write: Any, tmp_path: Path, imported: str) -> None:
    (tmp_path / "broken_of_the_test.py").write_text("1 / 0\n", encoding="utf-8")
    file = write(f'imports = ["no_such_module", "{imported}", "broken_of_the_test"]\n{VALID}')
    found = mistakes(file)
    assert list(found) == ["imports[0]", "imports[2]"]
    assert "ModuleNotFoundError" in found["imports[0]"]
    assert "ZeroDivisionError" in found["imports[2]"]


CAPPED = "[spend]\ncaps = [{ usd = 5 }]\n"


def test_tokenizers_count_the_tokens_of_their_models(write: Any, tmp_path: Path) -> None:
    write_tokenizer(tmp_path, "words.json")
    try:
        load(write(f'[tokenizers]\nti = "words.json"\n{CAPPED}{VALID}'))
        assert tokens.estimate_text("one two three", "tiny") == 3
    finally:
        tokens.register("ti", None)


def test_tokenizers_that_would_count_nothing_are_mistakes(write: Any, tmp_path: Path) -> None:
    write_tokenizer(tmp_path, "words.json")
    table = '[tokenizers]\nti = "words.json"\nqwen = "words.json"\n"hu" = "missing.json"\n'
    found = mistakes(write(table + VALID))
    assert list(found) == ["tokenizers", "tokenizers.qwen", "tokenizers.hu"]
    assert "without [spend] or tokens_per_min" in found["tokenizers"]
    assert found["tokenizers.qwen"] == "no model begins so; the models are huge, tiny"
    assert "No such file" in found["tokenizers.hu"]
    long_word = "internationalisation"  # one token of the file, several by the estimate
    assert tokens.estimate_text(long_word, "tiny") > 1, "none is in use"


def test_the_exported_schema_is_current() -> None:
    exported = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    assert exported == json_schema(), (
        "write it anew: cascade check --schema > docs/cascade.schema.json"
    )


def test_the_schema_tells_good_files_from_bad_ones() -> None:
    check = jsonschema.Draft202012Validator(json_schema())
    good: dict[str, Any] = {
        "tiers": {"small": {"model": "openai:x", "price": {"input": 0.1, "output": "0.2"}}},
        "cascades": {"a": {"tiers": ["small"], "validators": ["x", {"not": {"use": "y"}}]}},
    }
    assert check.is_valid(good)
    for bad in (
        {**good, "tirs": {}},
        {**good, "cascades": {}},
        {**good, "cascades": {"a": {"tiers": ["small"], "validators": [{"nott": "x"}]}}},
        {**good, "tiers": {"small": {"model": "openai:x", "api_key": "x"}}},
        {**good, "tiers": {"small": {"model": "openai:x", "price": {"input": -1, "output": 1}}}},
    ):
        assert not check.is_valid(bad)


def descriptions(node: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    for name, table in {"": node, **node["$defs"]}.items():
        for key, field in table.get("properties", {}).items():
            yield f"{name}.{key}", field.get("description")


def test_the_schema_describes_every_key() -> None:
    silent = {place for place, description in descriptions(json_schema()) if not description}
    speak_for_themselves = {"AllEntry.all", "AnyEntry.any", "NotEntry.not", "AtLeastEntry.of"}
    assert silent == speak_for_themselves | {"WeightedEntry.weighted"}


# Any valid tables, written as TOML, load to the same tables and to plans that say the same.

names = st.text('abcdefghij-_ ."é', min_size=1, max_size=6)
prices = st.decimals("0", "1000", places=6) | st.integers(0, 50)
times = st.floats(0.001, 1e6) | st.integers(1, 100)
scores = st.floats(0, 1)
params = st.dictionaries(
    names,
    st.recursive(
        st.booleans() | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
        max_leaves=4,
    ),
    max_size=2,
)  # fmt: skip
tier_tables = st.fixed_dictionaries(
    {"model": st.sampled_from(["openai:a", "anthropic:b", "simulated:c"])},
    optional={
        "price": st.fixed_dictionaries(
            {"input": prices, "output": prices}, optional={"cached_input": prices}
        ),
        "params": params,
        "timeout_s": times,
        "latency_s": times,
        "retries": st.integers(0, 9),
        "breaker": st.booleans(),
        "limits": st.fixed_dictionaries({"concurrency": st.integers(1, 99)}),
        "api_key_env": st.just("SOME_KEY"),
    },
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    tiers = draw(st.dictionaries(names, tier_tables, min_size=1, max_size=3))
    ladder = list(tiers)
    path = st.fixed_dictionaries(
        {},
        optional={
            "budget_s": times,
            "hedge": st.just("never") | times,
            "on_exhausted": st.sampled_from(["raise", "best"]),
        },
    )
    cascade = draw(
        st.fixed_dictionaries(
            {"tiers": st.just(ladder)},
            optional={
                "on_exhausted": st.sampled_from(["raise", "best"]),
                "paths": st.dictionaries(names, path, max_size=2),
            },
        )
    )
    at = draw(scores)
    entry: dict[str, Any] = {"use": "logprob", "at": at, "optional": draw(st.booleans())}
    return {
        "tiers": tiers,
        "cascades": {"main": {**cascade, "validators": [entry, {"not": "finish_reason"}]}},
    }


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key(k)} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return key(value)
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text or "e" in text else f"{text}.0"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def key(text: str) -> str:
    """A string as JSON writes it, which TOML reads as well, all but DEL."""
    written = json.dumps(text, ensure_ascii=False)
    return written.replace("\x7f", "\\u007f")


@given(documents())
def test_what_is_written_is_what_is_planned(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]
) -> None:
    file = tmp_path_factory.mktemp("config") / "cascade.toml"
    text = "".join(f"{top} = {toml(table)}\n" for top, table in document.items())
    file.write_text(text, encoding="utf-8", newline="\n")
    cascade = load(file).cascade("main")
    tables = document["cascades"]["main"]
    assert [tier.name for tier in cascade.tiers] == tables["tiers"]
    for tier in cascade.tiers:
        said = document["tiers"][tier.name]
        assert (tier.model, tier.timeout_s) == (said["model"], said.get("timeout_s"))
        assert tier.latency_s == said.get("latency_s")
        remote = not said["model"].startswith("simulated:")
        assert tier.retries.times == said.get("retries", 2 if remote else 0)
        assert (tier.breaker is not None) == said.get("breaker", remote)
        assert repr(tier.limits) == (
            f"Limits(concurrency={said['limits']['concurrency']})" if "limits" in said else "None"
        )
        assert tier.params == said.get("params", {})
        assert tier.price == (Price(**said["price"]) if "price" in said else None)
        assert (tier.api_key is None) == ("api_key_env" not in said)
    for name, path in tables.get("paths", {}).items():
        plan = cascade.plan(name)
        assert plan.budget_s == path.get("budget_s")
        assert plan.hedge == path.get("hedge", "never")
        assert plan.on_exhausted == path.get("on_exhausted", tables.get("on_exhausted", "raise"))
    first, second = cascade.validators
    (threshold,) = (v.threshold for v in first.walk() if isinstance(v, Check))
    assert threshold == tables["validators"][0]["at"]
    assert second.name == "~finish_reason"


@given(documents(), st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12), st.data())
def test_unknown_keys_are_always_refused(
    tmp_path_factory: pytest.TempPathFactory,
    document: dict[str, Any],
    unknown: str,
    data: st.DataObject,
) -> None:
    known = json_schema()
    tier = next(iter(document["tiers"].values()))
    place, table = data.draw(
        st.sampled_from(
            [
                (known["properties"], document),
                (known["$defs"]["TierTable"]["properties"], tier),
                (known["$defs"]["CascadeTable"]["properties"], document["cascades"]["main"]),
                (known["$defs"]["NotEntry"]["properties"],
                 document["cascades"]["main"]["validators"]),
            ]
        )
    )  # fmt: skip
    if unknown in place:
        return
    if isinstance(table, list):
        table[1] = {"not": "finish_reason", unknown: 1}
        if unknown in ("use", "all", "any", "at_least", "weighted"):
            return
    else:
        table[unknown] = 1
    file = tmp_path_factory.mktemp("config") / "cascade.toml"
    text = "".join(f"{top} = {toml(table)}\n" for top, table in document.items())
    file.write_text(text, encoding="utf-8", newline="\n")
    with pytest.raises(ConfigFileError) as raised:
        load(file)
    assert [m.place.rpartition(".")[2] for m in raised.value.mistakes] == [unknown]


# A policy, and audits.

LADDER_OF_TWO = """
[tiers.a]
model = "simulated:sim-small"
price = { input = 1, output = 1 }

[tiers.b]
model = "simulated:sim-large"
price = { input = 2, output = 2 }

[ledger]
url = "sqlite:ledger.db"

[cascades.c]
tiers = ["a", "b"]
validators = ["logprob"]
policy = "policy.json"

[cascades.c.audit]
share = { live = 0.02 }
within = 0.03
on_drift = "fallback"
fallback = "certified.json"
usd_per_day = 5

[cascades.c.paths.live]
"""


def test_a_policy_and_an_audit(tmp_path: Path) -> None:
    from cascade.policy import AnswerModel, Policy, StateModel

    policy = Policy(
        tiers=("a", "b"),
        strong="b",
        signals={"logprob_mean": "probability"},
        slice_by=None,
        price=0.0,
        start={"": "a"},
        mean_cost_usd={"a": 1.0, "b": 2.0},
        states={"a": StateModel([], {"a": AnswerModel({"": [0.0]})}, {})},
    )
    for name in ("policy.json", "certified.json"):
        (tmp_path / name).write_text(policy.to_json())
    (tmp_path / "cascade.toml").write_text(LADDER_OF_TWO)
    made = Cascade.from_config(tmp_path / "cascade.toml")
    assert made.plan("live").policy is not None
    assert made.plan("live").audit is made.auditor is not None


def test_mistakes_in_an_audit_have_their_place(tmp_path: Path) -> None:
    text = LADDER_OF_TWO.replace('policy = "policy.json"', "thresholds = { logprob_mean = 0.5 }")
    (tmp_path / "cascade.toml").write_text(text.replace("0.03", "3"))
    with pytest.raises(ConfigError, match=r"cascades.c.audit.within"):
        Cascade.from_config(tmp_path / "cascade.toml")
    (tmp_path / "cascade.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"cascades.c.audit: .*certified.json cannot be read"):
        Cascade.from_config(tmp_path / "cascade.toml")
