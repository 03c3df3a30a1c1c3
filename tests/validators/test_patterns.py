from __future__ import annotations

import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade.validators.patterns import bounded, check_pattern, search

NESTED = [r"(a+)+$", r"^(\w+\s?)*$", r"(a|aa)+$", r"((ab){3,})*", r"(?:x{0,200})*", r"(a(b|c)d)*"]
PLAIN = [r"^\d{4}-\d\d$", r"(abc)+", r"(a+)?b", r"[(a+)+]+", r"\(a+\)+", r"(a|b)c", r"([+*]-)+"]


@pytest.mark.parametrize("pattern", NESTED)
def test_nested_repeats_need_a_match_that_can_be_stopped(
    pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_pattern(pattern, "x")
    monkeypatch.setitem(sys.modules, "regex", None)
    with pytest.raises(ConfigError, match=r'x: .* pip install "cascade-engine\[regex\]"'):
        check_pattern(pattern, "x")


@pytest.mark.parametrize("pattern", PLAIN)
def test_others_do_without(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "regex", None)
    check_pattern(pattern, "x")


@pytest.mark.parametrize("pattern", NESTED + PLAIN + [r"\w*\w*\w*\d", r"a*a*a*a*[bc]$"])
@pytest.mark.parametrize("installed", [True, False])
def test_every_search_ends(pattern: str, installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests' own time limit ends a run in which one does not.
    if not installed:
        monkeypatch.setitem(sys.modules, "regex", None)
    for text in ("a" * 30 + "!", "a" * 1_000 + "!", "ab" * 200_000):
        with suppress(TimeoutError):
            assert search(pattern, text) in (True, False)


def test_a_simple_pattern_reads_a_long_text_without_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "regex", None)
    assert search(r"^a+b", "a" * 1_000_000 + "b")
    assert search(r"xyz", "a" * 1_000_000 + "xyz")


@given(st.text(st.sampled_from("()[]|*+{},1a\\^$?:.")), st.text("a1(", max_size=20))
def test_any_pattern_is_searched_for_or_refused(pattern: str, text: str) -> None:
    try:
        check_pattern(pattern, "x")
    except ConfigError:
        return
    assert search(pattern, text) in (True, False)


def test_a_bounded_match_is_whole_or_anywhere() -> None:
    matches = bounded("b+", timeout_s=1.0, name="x", flags="i")
    assert matches("aBBc", full=False)
    assert not matches("aBBc", full=True)


@pytest.mark.parametrize(
    "wrong", ["(a", "a)", "[a", "*a", "[z-a]", "a{3,2}", "a\\"], ids=lambda wrong: repr(wrong)
)
@pytest.mark.parametrize("installed", [True, False])
def test_a_wrong_pattern_is_called_wrong_with_the_package_or_without(
    monkeypatch: pytest.MonkeyPatch, wrong: str, installed: bool
) -> None:
    if not installed:
        monkeypatch.setitem(sys.modules, "regex", None)
    with pytest.raises(ConfigError) as caught:
        bounded(wrong, timeout_s=0.1, name="x")
    assert f"x: the pattern {wrong!r} is wrong: " in str(caught.value)
    assert "pip install" not in str(caught.value)


@pytest.mark.parametrize("larger", ["\\p{L}+", "(?|(a)|(b))", "(?<=a+)b"])
def test_a_pattern_of_the_larger_syntax_needs_the_package(
    monkeypatch: pytest.MonkeyPatch, larger: str
) -> None:
    bounded(larger, timeout_s=0.1, name="x")
    monkeypatch.setitem(sys.modules, "regex", None)
    with pytest.raises(ConfigError, match="pip install"):
        bounded(larger, timeout_s=0.1, name="x")
