"""What goes wrong with a ledger that somebody waits for."""

from __future__ import annotations

from cascade.errors import CascadeError

__all__ = ["LedgerError", "LedgerVersionError", "NoLedgerError"]


class LedgerError(CascadeError):
    """A ledger cannot be read, opened or changed. The message names it, without secrets."""


class NoLedgerError(LedgerError):
    """There is no ledger yet where one was to be read; the first call recorded there makes it.

    Attributes:
        ledger: its address, without secrets.
    """

    def __init__(self, ledger: str) -> None:
        super().__init__(
            f"there is no ledger {ledger} yet; the first call that is recorded there makes it"
        )
        self.ledger = ledger


class LedgerVersionError(LedgerError):
    """A ledger's tables are of a version that this release does not work with.

    Attributes:
        found: the version of its tables. None: it has none.
    """

    def __init__(self, message: str, *, found: str | None) -> None:
        super().__init__(message)
        self.found = found
