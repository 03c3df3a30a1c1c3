from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from cascade import Answer, ConfigError, Context, validator
from cascade.registry import build, names
from cascade.validation import as_validator
from cascade.validators import BUILT_IN


def judges(answer: Answer[Any], context: Context) -> float:
    return 0.5


# A name belongs to one test each: what is registered stays so for the whole run.


def test_what_is_registered_is_known_by_its_name() -> None:
    made = validator("registry.one")(judges)
    assert build("registry.one", {}) is made
    assert "registry.one" in names()
    assert names() == sorted(names())


def test_a_threshold_is_the_one_option_of_a_registered_validator() -> None:
    made = validator("registry.two", at=0.1)(judges)
    assert build("registry.two", {"at": 0.7}).threshold == 0.7  # type: ignore[attr-defined]
    assert made.threshold == 0.1
    with pytest.raises(
        ConfigError, match=r"'registry\.two' takes no options but `at`.* out max, min"
    ):
        build("registry.two", {"min": 1, "max": 2})
    with pytest.raises(ConfigError, match=r"threshold of validator 'registry\.two' is 70"):
        build("registry.two", {"at": 70})


def test_a_name_is_taken_once_unless_it_is_redefined_on_purpose() -> None:
    validator("registry.three")(judges)
    with pytest.raises(ConfigError, match=r"'registry\.three' is registered already.*replace=True"):
        validator("registry.three")(judges)
    again = validator("registry.three", replace=True)(judges)
    assert as_validator("registry.three") is again


@pytest.mark.parametrize("name", ["json_value", "logprob"])
def test_the_names_of_the_built_in_ones_are_taken_for_good(name: str) -> None:
    for replace in (False, True):
        with pytest.raises(ConfigError, match=f"the validator name {name!r} is taken"):
            validator(name, replace=replace)(judges)


def test_the_built_in_ones_are_known_without_being_loaded() -> None:
    assert set(names()) >= BUILT_IN


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no validator is named 'json_vlaue'; did you mean"):
        as_validator("json_vlaue")


# Validators that other packages offer, from a real distribution on the path

MODULE = """
from cascade.validation import Check

def judges(answer, context):
    return 0.5

ready = Check("offered.ready", judges)

def shouts(*, loud=True):
    return Check("offered.shouts", judges, at=0.4 if loud else 0.6)

def wrong():
    return 5
"""
ENTRY_POINTS = """
[cascade.validators]
offered.ready = offering:ready
offered.shouts = offering:shouts
offered.wrong = offering:wrong
offered.gone = offering:gone
"""


@pytest.fixture
def _offering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    info = tmp_path / "offering-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "offering.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("offering", None)


@pytest.mark.usefixtures("_offering")
def test_what_another_package_offers_is_loaded_when_asked_for() -> None:
    assert {"offered.ready", "offered.shouts"} <= set(names())
    assert "offering" not in sys.modules
    assert build("offered.ready", {"at": 0.3}).name == "offered.ready"
    assert build("offered.shouts", {"loud": False}).threshold == 0.6  # type: ignore[attr-defined]
    assert as_validator("offered.shouts").threshold == 0.4  # type: ignore[attr-defined]


@pytest.mark.usefixtures("_offering")
@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("offered.wrong", {}, "'offered.wrong' gave a int; its entry point must name a Validator"),
        ("offered.shouts", {"volume": 3}, "'volume'; its options: loud"),
        ("offered.ready", {"volume": 3}, "takes no options but `at`; leave out volume"),
        ("offered.gone", {}, "'offered.gone' of the package offering cannot be loaded"),
    ],
)
def test_an_offer_that_does_not_hold_is_named(name: str, options: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build(name, options)


@pytest.mark.usefixtures("_offering")
def test_what_is_offered_is_not_redefined() -> None:
    with pytest.raises(ConfigError, match=r"the validator name 'offered\.ready' is taken"):
        validator("offered.ready", replace=True)(judges)
