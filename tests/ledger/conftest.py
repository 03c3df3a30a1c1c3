from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["sqlite", "postgresql"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a new ledger: each test that asks for it runs on both databases."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'ledger.db'}"
    address: str = request.getfixturevalue("postgres").new_database()
    return address
