"""Where calls are stored: `Ledger` (SQLite, PostgreSQL), `JsonLines`, and `MemoryLedger` for tests.

Each is an observer, as in `Cascade(observers=[Ledger("sqlite:ledger.db")])`. One of your own is any
object with a method `record(result)`.
"""

from __future__ import annotations

from cascade.ledger.content import ContentKept, Redact
from cascade.ledger.errors import LedgerError, LedgerVersionError, NoLedgerError
from cascade.ledger.feedback import Outcome
from cascade.ledger.jsonl import JsonLines
from cascade.ledger.memory import MemoryLedger
from cascade.ledger.recorder import Ledger
from cascade.ledger.stored import (
    StoredAttempt,
    StoredCall,
    StoredCharge,
    StoredOutcome,
    StoredVerdict,
)
from cascade.ledger.upkeep import upgrade

__all__ = [
    "ContentKept",
    "JsonLines",
    "Ledger",
    "LedgerError",
    "LedgerVersionError",
    "MemoryLedger",
    "NoLedgerError",
    "Outcome",
    "Redact",
    "StoredAttempt",
    "StoredCall",
    "StoredCharge",
    "StoredOutcome",
    "StoredVerdict",
    "upgrade",
]
