"""Which version a ledger's tables have, and how they come to have the newest one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, inspect, text

from cascade.ledger.errors import LedgerVersionError, NoLedgerError
from cascade.ledger.tables import SCHEMA_VERSION

__all__ = ["check_readable", "prepare", "revisions", "upgrade", "version_of"]

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x0CA5_CADE  # any number will do that nobody else uses


def version_of(connection: Connection) -> str | None:
    """The version of the tables. None: there are none yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version


def prepare(connection: Connection, *, may_upgrade: bool) -> None:
    """Make the tables of an empty database; bring older ones up to date where that is allowed.

    Raises:
        LedgerVersionError: they are older and must not be upgraded here, or newer than this code.
    """
    found = version_of(connection)
    if found == SCHEMA_VERSION:
        return
    if found is not None and found not in revisions():
        raise _too_new(found)
    if found is not None and not may_upgrade:
        raise _too_old(found)
    upgrade(connection)


def check_readable(connection: Connection, name: str) -> None:
    """Refuse a database that this release cannot read as a ledger.

    Raises:
        NoLedgerError: it holds none; `name` says where that is.
        LedgerVersionError: its tables are of another version.
    """
    found = version_of(connection)
    if found == SCHEMA_VERSION:
        return
    if found is None:
        raise NoLedgerError(name)
    raise _too_new(found) if found not in revisions() else _too_old(found)


def _too_new(found: str) -> LedgerVersionError:
    return LedgerVersionError(
        f"the ledger's tables are of version {found!r}, which is newer than this release knows "
        f"({SCHEMA_VERSION!r}); update cascade-engine",
        found=found,
    )


def _too_old(found: str) -> LedgerVersionError:
    return LedgerVersionError(
        f"the ledger's tables are of version {found!r}, and this release needs "
        f"{SCHEMA_VERSION!r}; bring them up to date with `cascade ledger upgrade`",
        found=found,
    )


def revisions(directory: Path | None = None) -> list[str]:
    """All known versions, newest first."""
    return [script.revision for script in _scripts(directory).walk_revisions()]


def upgrade(connection: Connection, directory: Path | None = None) -> None:
    """Bring the tables to the newest version, in the connection's transaction: wholly or not.

    Processes that do so at once wait for each other, and all but the first find nothing to do.
    """
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    scripts = _scripts(directory)

    def steps(heads: Any, context: MigrationContext) -> Any:
        return scripts._upgrade_revs("head", heads)

    context = MigrationContext.configure(
        connection=connection, opts={"fn": steps, "script": scripts, "transactional_ddl": True}
    )
    with Operations.context(context):
        context.run_migrations()


def _scripts(directory: Path | None) -> Any:
    from alembic.script import ScriptDirectory

    directory = directory or MIGRATIONS
    return ScriptDirectory(directory, version_locations=[directory / "versions"])
