"""What goes wrong with a ledger that somebody waits for."""

from __future__ import annotations

from cascade.errors import CascadeError

__all__ = ["LedgerError", "LedgerVersionError"]


class LedgerError(CascadeError):
    """A ledger cannot be read, opened or changed. The message names it, without secrets."""


class LedgerVersionError(LedgerError):
    """A ledger's tables are of a version that this release does not work with.

    Attributes:
        found: the version of its tables. None: it has none.
    """

    def __init__(self, message: str, *, found: str | None) -> None:
        super().__init__(message)
        self.found = found
