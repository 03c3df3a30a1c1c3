"""The packages that only ledgers need."""

from __future__ import annotations

from importlib.util import find_spec

from cascade.errors import ConfigError

__all__ = ["needs_sqlalchemy"]


def needs_sqlalchemy() -> None:
    """Raises ConfigError unless what SQL ledgers are made with is installed."""
    for package in ("sqlalchemy", "alembic"):
        if find_spec(package) is None:
            raise ConfigError(f'a ledger needs {package}; pip install "cascade-engine[ledger]"')
