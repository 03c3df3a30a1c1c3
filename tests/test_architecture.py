"""Imports point one way, make no cycle, and `import cascade` stays light.

The table is the architecture: a module may import its own layer and the layers before it.
Imports inside functions and under TYPE_CHECKING are free; they cost nothing at import.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

# A name covers the module and everything below it. A new module has to be given its layer here.
LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "cascade.budget",
        "cascade.lateness",
        "cascade.errors",
        "cascade.logs",
        "cascade.observing",
        "cascade.options",
        "cascade.shutdown",
        "cascade.stats",
        "cascade.threads",
        "cascade.types",
    ),
    (
        "cascade.answers",
        "cascade.breaker",
        "cascade.decision",
        "cascade.estimate",
        "cascade.limits",
        "cascade.live",
        "cascade.logic",
        "cascade.metering",
        "cascade.policy",
        "cascade.policy_file",
        "cascade.pricing",
        "cascade.providers",
        "cascade.retry",
        "cascade.scenario",
        "cascade.spend",
        "cascade.spend_store",
        "cascade.tokens",
    ),
    (
        "cascade.condition_words",
        "cascade.conditions",
        "cascade.context",
        "cascade.delivery",
        "cascade.registry",
        "cascade.signals",
        "cascade.tier",
    ),
    ("cascade.validation",),
    ("cascade.composition", "cascade.routing", "cascade.rules", "cascade.weighing"),
    ("cascade.validators",),
    (
        "cascade.attempt",
        "cascade.checks",
        "cascade.explaining",
        "cascade.route_plans",
        "cascade.routes",
    ),
    ("cascade.hedging", "cascade.policing"),
    ("cascade.auditing",),
    ("cascade.engine", "cascade.function", "cascade.rule_review"),
    ("cascade.decorator",),
    ("cascade",),  # the public names, of which only the edges may make use
    (
        "cascade.config",
        "cascade.evals",
        "cascade.learn",
        "cascade.ledger",
        "cascade.report",
        "cascade.simulated",
        "cascade.telemetry",
        "cascade.testing",
    ),
    ("cascade.pytest_plugin",),
    ("cascade.cli",),
)

# Needed by some calls only, and slow: never loaded by `import cascade`.
HEAVY = ("cyclopts", "h11", "httpx", "jsonschema", "pydantic", "rich", "sqlglot")

ROOT = Path(__file__).resolve().parent.parent


def modules() -> dict[str, Path]:
    """Every module by its import name; validators/ under the name it is imported by."""
    found: dict[str, Path] = {}
    for folder, package in (("cascade", "cascade"), ("validators", "cascade.validators")):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if folder == "cascade" and parts[0] == "validators":
                continue  # the symlink
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found[name] = path
    return found


MODULES = modules()


def import_statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for alternative in node.orelse:
                yield from import_statements(alternative)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from import_statements(node)


def imports(name: str) -> set[str]:
    """This product's modules that the statements of module `name` import at import time."""
    found: set[str] = set()
    for node in import_statements(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif node.module is not None:
            for alias in node.names:
                member = f"{node.module}.{alias.name}"
                found.add(member if member in MODULES else node.module)
    return {module for module in found if module in MODULES} - {name}


def layer(name: str) -> int | None:
    """The number of the layer with the longest name that covers `name`; None if no layer does."""
    covering = [
        (len(entry), number)
        for number, entries in enumerate(LAYERS)
        for entry in entries
        if name == entry or (entry != "cascade" and name.startswith(f"{entry}."))
    ]
    return max(covering)[1] if covering else None


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_module_has_its_layer(name: str) -> None:
    assert layer(name) is not None, f"{name} is in no layer: add it to LAYERS"


def test_every_layer_names_modules_that_exist() -> None:
    gone = [entry for entries in LAYERS for entry in entries if entry not in MODULES]
    assert gone == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_down(name: str) -> None:
    own = layer(name)
    higher = sorted(
        other
        for other in imports(name)
        if own is not None and (of_other := layer(other)) is not None and of_other > own
    )
    assert higher == [], f"{name} imports from a layer above its own"


def test_imports_make_no_cycle() -> None:
    graph = {name: imports(name) for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_importing_cascade_loads_nothing_heavy() -> None:
    script = f"import cascade, sys; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
