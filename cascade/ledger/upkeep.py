"""What is done to a ledger now and then: its tables brought up to date."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from cascade.ledger.needed import needs_sqlalchemy

__all__ = ["upgrade"]


def upgrade(source: str | PathLike[str], folder: Path | None = None) -> tuple[str | None, str]:
    """Bring a ledger's tables to the version of this release, or make them.

    Safe while other processes run: those of this release go on, and those of an older one store
    nothing more until they are updated too.

    Args:
        source: the ledger's address, as for a `Ledger`.
        folder: where a relative path starts. None: the working directory.

    Returns:
        the version before and the version now. The first is None where there were no tables.

    Raises:
        LedgerError: it cannot be reached, or is newer than this release.
        ConfigError: it is no address, or a package is missing.
    """
    needs_sqlalchemy()
    from cascade.ledger.database import address_of, engine_for, told
    from cascade.ledger.schema import prepare, version_of
    from cascade.ledger.tables import SCHEMA_VERSION

    url = address_of(source, folder)
    engine = engine_for(url, "write")
    with told(url), engine.begin() as connection:
        before = version_of(connection)
        prepare(connection, may_upgrade=True)
    return before, SCHEMA_VERSION
