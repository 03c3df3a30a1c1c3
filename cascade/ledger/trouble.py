"""What goes wrong while a ledger is written: counted, and logged once a minute at most."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from cascade.errors import CascadeError
from cascade.logs import warn

__all__ = ["Trouble"]

_LOG_EVERY_S: Final = 60.0


class Trouble:
    """The losses of one ledger, and whether it can be reached.

    Events: `ledger_down` when batches cannot be stored, `ledger_up` when they can again,
    `ledger_lost` when some are given up.

    Attributes:
        lost: how many calls and outcomes were dropped.
    """

    def __init__(self, name: str) -> None:
        self.lost = 0
        self._name = name
        self._counting = threading.Lock()
        self._told = 0
        self._cause = ""
        self._down_since: float | None = None
        self._log_at: dict[str, float] = {}

    def lose(self, calls: int, cause: str) -> None:
        """So many are dropped. Logs nothing: it may be in a call's way."""
        with self._counting:
            self.lost += calls
            self._cause = cause

    def down(self, error: Exception, code: str, waiting: int) -> None:
        """A batch could not be stored, and waits."""
        if self._down_since is None:
            self._down_since = time.monotonic()
            self._log_at.pop("ledger_down", None)
        if isinstance(error, CascadeError):  # its message names no more than versions
            code = f"{code}: {error}"
        self._log("ledger_down", error=code, waiting=waiting)
        self.tell()

    def up(self) -> None:
        """A batch was stored."""
        if self._down_since is not None:
            down_s = round(time.monotonic() - self._down_since, 3)
            self._down_since = None
            warn("ledger_up", ledger=self._name, down_s=down_s, lost=self.lost)
        self.tell()

    def tell(self, *, at_once: bool = False) -> None:
        """Log the losses that are not told of yet."""
        new = self.lost - self._told
        if new and self._log(
            "ledger_lost", at_once, lost=new, lost_in_all=self.lost, cause=self._cause
        ):
            self._told += new

    def _log(self, event: str, at_once: bool = False, **facts: Any) -> bool:
        now = time.monotonic()
        if not at_once and now < self._log_at.get(event, now):
            return False
        self._log_at[event] = now + _LOG_EVERY_S
        warn(event, ledger=self._name, **facts)
        return True
