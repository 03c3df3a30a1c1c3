"""Versions of a ledger's tables: made, upgraded, refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import structlog
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from cascade.ledger import Ledger, LedgerError, LedgerVersionError, schema, tables, upgrade
from cascade.ledger.database import address_of, engine_for
from tests.ledger.support import result

LATER = '''
"""A column that a later release might add."""
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

def upgrade():
    with op.batch_alter_table("calls") as calls:
        calls.add_column(sa.Column("region", sa.Text, server_default="nowhere"))
'''


def engine_of(source: str) -> Engine:
    return engine_for(address_of(source), "write")


def set_version(source: str, version: str) -> None:
    with engine_of(source).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})


def test_the_migrations_make_the_tables_that_the_code_uses(source: str) -> None:
    assert upgrade(source) == (None, tables.SCHEMA_VERSION)
    assert upgrade(source) == (tables.SCHEMA_VERSION, tables.SCHEMA_VERSION)
    with engine_of(source).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


def test_the_newest_migration_is_the_version_of_the_code() -> None:
    assert schema.revisions()[0] == tables.SCHEMA_VERSION


def test_an_older_ledger_is_upgraded_without_loss(source: str, tmp_path: Path) -> None:
    with Ledger(source) as ledger:
        for number in range(50):
            ledger.record(result(f"c-{number}"))
    later = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, later)
    (later / "versions" / "v0002_later.py").write_text(LATER, encoding="utf-8")
    with engine_of(source).begin() as connection:
        schema.upgrade(connection, later)
        assert schema.version_of(connection) == "0002"
        found = connection.execute(text("SELECT id, region, cost_usd FROM calls ORDER BY seq"))
        rows = found.all()
    assert [row.id for row in rows] == [f"c-{number}" for number in range(50)]
    assert {row.region for row in rows} == {"nowhere"}
    assert all(row.cost_usd is not None for row in rows)


def test_an_upgrade_that_breaks_changes_nothing(source: str, tmp_path: Path) -> None:
    upgrade(source)
    later = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, later)
    broken = LATER + "    raise ValueError('half-way')\n"
    (later / "versions" / "v0002_later.py").write_text(broken, encoding="utf-8")
    with pytest.raises(ValueError, match="half-way"), engine_of(source).begin() as connection:
        schema.upgrade(connection, later)
    with engine_of(source).connect() as connection:
        assert schema.version_of(connection) == "0001"
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


def test_a_newer_ledger_is_left_alone(source: str) -> None:
    upgrade(source)
    set_version(source, "9999")
    with pytest.raises(LedgerVersionError, match="newer than this release") as raised:
        Ledger.open_for_reading(source)
    assert raised.value.found == "9999"
    with pytest.raises(LedgerVersionError, match="update cascade-engine"):
        upgrade(source)
    structlog.reset_defaults()
    with capture_logs() as logs:
        ledger = Ledger(source)
        with pytest.raises(LedgerError, match="newer than this release"):
            ledger.open()
        ledger.record(result("kept out"))
        assert not ledger.close(timeout_s=0)
    assert ledger.lost == 1
    assert "update cascade-engine" in logs[0]["error"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_who_may_upgrade(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"sqlite:{tmp_path / 'ledger.db'}"
    if kind == "postgresql":
        source = request.getfixturevalue("postgres").new_database()
    with Ledger(source) as ledger:
        ledger.record(result("c-1"))
    # This release becomes the next one.
    later = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, later)
    (later / "versions" / "v0002_later.py").write_text(LATER, encoding="utf-8")
    monkeypatch.setattr(schema, "MIGRATIONS", later)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", "0002")
    with pytest.raises(LedgerVersionError, match="cascade ledger upgrade"):
        Ledger.open_for_reading(source)
    ledger = Ledger(source)
    ledger.record(result("c-2"))
    if kind == "postgresql":
        assert not ledger.flush(timeout_s=0.2)
        assert upgrade(source)[0] == "0001"
    assert ledger.close()
    with ledger.reader() as reader:
        assert [call.id for call in reader.calls()] == ["c-1", "c-2"]
