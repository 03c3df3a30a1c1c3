"""The public names: sorted, importable, documented, and no others."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import cascade
import cascade.validators

TOP = [(cascade, name) for name in cascade.__all__]
BUILT_IN = [(cascade.validators, name) for name in cascade.validators.__all__]


@pytest.mark.parametrize("module", [cascade, cascade.validators], ids=lambda m: m.__name__)
def test_all_is_sorted_and_has_no_name_twice(module: ModuleType) -> None:
    assert list(module.__all__) == sorted(set(module.__all__))


@pytest.mark.parametrize(
    ("module", "name"), TOP + BUILT_IN, ids=lambda p: getattr(p, "__name__", p)
)
def test_every_public_name_is_there_and_says_what_it_is_for(module: ModuleType, name: str) -> None:
    member = getattr(module, name)
    assert callable(member)
    documented = inspect.getdoc(member) or ""
    generated = f"{name}("  # what dataclass writes where nobody wrote anything
    assert documented
    assert not documented.startswith(generated)


@pytest.mark.parametrize(("module", "name"), TOP, ids=lambda p: getattr(p, "__name__", p))
def test_every_public_name_comes_from_cascade_and_is_listed_where_it_is_made(
    module: ModuleType, name: str
) -> None:
    home = sys.modules[getattr(module, name).__module__]
    assert home.__name__.partition(".")[0] == "cascade"
    assert name in home.__all__


@pytest.mark.parametrize(("module", "name"), BUILT_IN, ids=lambda p: getattr(p, "__name__", p))
def test_every_built_in_validator_is_a_function_of_its_own_module(
    module: ModuleType, name: str
) -> None:
    member = getattr(module, name)
    assert inspect.isfunction(member)
    home = sys.modules[member.__module__]
    assert home.__name__.startswith("cascade.validators.")
    assert name in home.__all__
    assert (member.__name__, member.__qualname__) == (name, name)


def test_nothing_else_is_public_at_the_top() -> None:
    """In a fresh interpreter: the tests themselves import submodules, which become attributes."""
    script = (
        "import cascade, types\\n"
        "found = {n for n, v in vars(cascade).items() if not n.startswith('_')"
        " and not isinstance(v, types.ModuleType)}\\n"
        "print(*sorted(found - set(cascade.__all__) - {'annotations'}))"
    ).replace("\\n", "\n")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_a_star_import_gives_the_public_names_alone() -> None:
    names: dict[str, object] = {}
    exec("from cascade import *", names)  # noqa: S102
    assert set(names) - {"__builtins__"} == set(cascade.__all__)


def test_a_validator_that_does_not_exist_is_named() -> None:
    with pytest.raises(AttributeError, match=r"cascade\.validators has no validator 'no_such'"):
        _ = cascade.validators.no_such
    assert dir(cascade.validators) == cascade.validators.__all__


def test_no_built_in_validator_is_hidden_by_its_module() -> None:
    # A module of the same name would take its place once it was imported.
    modules = {module.name for module in pkgutil.iter_modules(cascade.validators.__path__)}
    assert modules.isdisjoint(cascade.validators.__all__)
    assert set(cascade.validators.__all__) == cascade.validators.BUILT_IN
