from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cascade.errors import ConfigError
from cascade.policy import (
    AnswerModel,
    Feature,
    NextTier,
    Observation,
    Policy,
    StateModel,
    basis,
)

# The small tier is believed at its own word; the large one is right nine times in ten.
POLICY = Policy(
    tiers=("small", "large"),
    strong="large",
    signals={"sure": "probability"},
    slice_by="task",
    price=10.0,
    start={"": "small", "hard": "large"},
    mean_cost_usd={"small": 0.001, "large": 0.01},
    states={
        "small": StateModel(
            (Feature("small", "logit", "sure"),),
            {"small": AnswerModel({"": [0.0, 1.0]})},
            {"large": NextTier({"": [0.9, -1, 0, 0, 0, 0]}, (0.0, 10.0))},
        ),
        "small>large": StateModel(
            (Feature("small", "agree", other="large", mean=0.5, spread=0.5),),
            {"small": AnswerModel({"": [0.0, 1.0]}), "large": AnswerModel({"": [2.2, 0.0]})},
            {},
        ),
        "large": StateModel((), {"large": AnswerModel({"": [2.2]})}, {}),
    },
)


def asked(sure: float | None, **other: object) -> dict[str, Observation]:
    return {"small": replace(Observation({"sure": sure}), **other)}  # type: ignore[arg-type]


def test_the_first_tier_is_the_slices() -> None:
    assert POLICY.decide({}).tier == "small"
    assert POLICY.decide({}, "hard").tier == "large"
    assert POLICY.decide({}, "unheard of").tier == "small"


def test_what_is_sure_enough_is_accepted() -> None:
    # Going on is worth 0.9 - p, and costs 10 a dollar times 10 times the small tier's $0.001.
    assert POLICY.decide(asked(0.81)).action == "accept"
    assert POLICY.decide(asked(0.79)).tier == "large"


def test_a_dear_query_has_to_gain_more() -> None:
    assert POLICY.decide(asked(0.75, cost_usd=0.001)).action == "ask"
    assert POLICY.decide(asked(0.75, cost_usd=0.002)).action == "accept"


def test_a_failed_schema_makes_an_answer_worthless() -> None:
    decision = POLICY.decide(asked(0.99, schema_ok=False))
    assert (decision.action, decision.tier, decision.probability) == ("ask", "large", 0.0)


def test_missing_signals_count_as_the_mean() -> None:
    for missing in (None, math.nan):
        assert POLICY.decide(asked(missing)).probability == pytest.approx(0.5)
    assert POLICY.decide({"small": Observation()}).probability == pytest.approx(0.5)


def test_the_likeliest_answer_of_the_asked_is_accepted() -> None:
    both = {"small": Observation(answer="A"), "large": Observation(answer="A")}
    assert POLICY.decide(both).tier == "large"
    broken = both | {"large": Observation(answer="A", schema_ok=False)}
    assert POLICY.decide(broken).tier == "small"


def test_an_order_of_asking_it_never_takes_is_refused() -> None:
    with pytest.raises(ConfigError, match="no state 'large>small'"):
        POLICY.decide({"large": Observation(), "small": Observation()})


@pytest.mark.parametrize(
    ("form", "scale", "value", "expected"),
    [
        ("logit", "probability", 0.5, 0.0),
        ("logit", "probability", 1.0, math.log(0.9999 / 0.0001)),
        ("logit", "logprob", math.log(0.25), math.log(1 / 3)),
        ("logit", "logprob", -math.inf, math.log(0.0001 / 0.9999)),
        ("probability", "logprob", -math.inf, 0.0),
        ("number", "number", 3.5, 3.5),
        ("missing", "number", 3.5, 0.0),
        ("missing", "number", None, 1.0),
        ("number", "number", None, 0.0),
    ],
)
def test_forms_of_a_signal(form: str, scale: str, value: float | None, expected: float) -> None:
    feature = Feature("small", form, "sure", spread=10.0)  # type: ignore[arg-type]
    found = feature.standardised(asked(value), {"sure": scale})  # type: ignore[dict-item]
    assert found == pytest.approx(expected / 10.0)


def test_forms_of_an_answer() -> None:
    seen = {
        "a": Observation({"s": 0.9}, answer="X", output_tokens=9.0),
        "b": Observation({"s": 0.9}, answer="Y"),
        "c": Observation({"s": 0.9}),
    }
    scales = {"s": "probability"}

    def value(*parts: str, **other: str) -> float:
        return Feature(*parts, **other).standardised(seen, scales)  # type: ignore[arg-type]

    assert value("a", "length") == pytest.approx(math.log(10))
    assert value("b", "length") == 0.0
    assert value("a", "is", other="X") == 1.0
    assert value("a", "is", other="Y") == 0.0
    assert value("a", "agree", other="b") == 0.0
    assert value("a", "signed", "s", other="b") == pytest.approx(-math.log(9))
    assert value("a", "signed", "s", other="c") == 0.0


def test_a_curve_corrects_and_is_level_beyond_its_ends() -> None:
    model = AnswerModel({"": [0.0, 1.0]}, [[0.4, 0.1], [0.6, 0.3]])
    assert model.probability([0.0], "") == pytest.approx(0.2)
    assert model.probability([-9.0], "") == 0.1
    assert model.probability([9.0], "") == 0.3


def test_the_basis_of_one_and_of_several_answers() -> None:
    assert basis([0.7], 0) == pytest.approx([1, 0.7, 0.49, 0.1, 0, 0])
    assert basis([0.7, 0.95, 0.2], 1)[6:] == pytest.approx([0.7, 0.2, 0.2])


def test_a_policy_file_reads_back_the_same() -> None:
    again = Policy.from_json(POLICY.to_json())
    assert again.to_json() == POLICY.to_json()
    assert again.decide(asked(0.7)) == POLICY.decide(asked(0.7))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "no policy file"),
        ("{}", "no policy file"),
        ('{"format": "cascade-policy", "version": 9}', "version 9; this cascade reads version 1"),
        ('{"format": "cascade-policy", "version": 1}', "not a complete policy"),
    ],
)
def test_a_file_that_is_no_policy_is_refused(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        Policy.load(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        Policy.load(tmp_path / "none.json")


def test_a_policy_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text(POLICY.to_json())
    script = (
        "import json, pathlib, sys; from cascade.policy import Policy, Observation;"
        f"p = Policy.load(pathlib.Path({str(file)!r}));"
        "print(p.decide({'small': Observation({'sure': 0.9})}).action);"
        "print(json.dumps(sorted({'numpy', 'scipy'} & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["accept", json.dumps([])]
