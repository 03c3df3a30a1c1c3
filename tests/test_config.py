from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import AuthenticationError, Cascade, ConfigError, Price, Usage
from cascade.config import ConfigFileError, json_schema, load
from cascade.config.building import EnvironmentKey
from cascade.validation import Check

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
thresholds = { small = { finish_reason = 1 } }
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
@pytest.mark.parametrize("table", ["tiers.small", "providers.corp"])
def test_keys_are_refused_and_never_shown(write: Any, table: str, line: str) -> None:
    first = "model = 'openai:x'" if table == "tiers.small" else "kind = 'openai'"
    file = write(f"[{table}]\n{first}\n{line}\n[cascades.a]\ntiers = ['small']\n")
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
        "api_key_env": st.just("SOME_KEY"),
    },
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    tiers = draw(st.dictionaries(names, tier_tables, min_size=1, max_size=3))
    ladder = list(tiers)
    path = st.fixed_dictionaries(
        {}, optional={"budget_s": times, "on_exhausted": st.sampled_from(["raise", "best"])}
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
        assert tier.params == said.get("params", {})
        assert tier.price == (Price(**said["price"]) if "price" in said else None)
        assert (tier.api_key is None) == ("api_key_env" not in said)
    for name, path in tables.get("paths", {}).items():
        plan = cascade.plan(name)
        assert plan.budget_s == path.get("budget_s")
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
