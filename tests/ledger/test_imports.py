"""Ledgers need packages of their own, and nobody else has to have or load them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledger.support import run_python


def test_nothing_heavy_is_loaded_before_a_ledger_is_made() -> None:
    heavy = "{'sqlalchemy', 'alembic', 'psycopg', 'sqlite3'}"
    script = f"import cascade.ledger, sys; print(sorted({heavy} & set(sys.modules)))"
    assert run_python(script) == "[]\n"


@pytest.mark.parametrize(
    ("package", "source", "extra"),
    [
        ("sqlalchemy", "sqlite:ledger.db", "ledger"),
        ("alembic", "sqlite:ledger.db", "ledger"),
        ("psycopg", "postgresql://localhost/ledger", "postgres"),
    ],
)
def test_what_is_missing_is_named_with_the_command(package: str, source: str, extra: str) -> None:
    script = (
        "import sys\n"
        "sys.modules[sys.argv[1]] = None\n"
        "from cascade import ConfigError\n"
        "from cascade.ledger import Ledger\n"
        "try: Ledger(sys.argv[2])\n"
        "except ConfigError as error: print(error)\n"
    )
    told = run_python(script, package, source)
    assert package in told
    assert f'pip install "cascade-engine[{extra}]"' in told


def test_json_lines_need_no_package(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "for package in ('sqlalchemy', 'alembic', 'psycopg'): sys.modules[package] = None\n"
        "from cascade.ledger import JsonLines, MemoryLedger\n"
        "from tests.ledger.support import result\n"
        "with JsonLines(sys.argv[1]) as lines: lines.record(result())\n"
        "print(MemoryLedger())\n"
    )
    file = tmp_path / "calls.jsonl"
    assert run_python(script, file) == "<MemoryLedger of 0 results>\n"
    assert file.stat().st_size > 0
