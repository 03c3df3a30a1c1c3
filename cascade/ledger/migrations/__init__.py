"""How ledgers of older versions become ledgers of this one: Alembic revisions, oldest first."""

from __future__ import annotations
