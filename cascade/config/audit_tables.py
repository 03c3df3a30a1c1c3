"""The table `[cascades.NAME.audit]`, and the audit made from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from cascade.auditing import Audit
from cascade.config.fields import Count, Name, Seconds, Table, UsdAboveZero
from cascade.observing import Observer
from cascade.policy import Policy
from cascade.spend import Cap, Spend

__all__ = ["AuditTable", "build_audit"]

Share = Annotated[float, Field(gt=0, le=1)]
Between = Annotated[float, Field(gt=0, lt=1)]


class AuditTable(Table):
    """How a share of the accepted answers is compared with the strongest tier's, later."""

    share: Share | dict[Name, Share]
    """Of the accepted answers of cheaper tiers, how many are audited; or by path."""
    within: Between | None = None
    """How much worse than the strongest tier's they may be, in score. Left out: 0.05."""
    confidence: Between | None = None
    """The chance that no alarm is ever false. Left out: 0.95."""
    on_drift: Literal["log", "bypass", "fallback"] = "log"
    """What an alarm does besides the log: "log" nothing, "bypass" asks only the strongest tier on
    that path from then on, "fallback" puts the policy `fallback` in force."""
    fallback: Name | None = None
    """The file of the last policy that was certified, for on_drift = "fallback"."""
    usd_per_day: UsdAboveZero | None = None
    """The most that the audits may cost in a day of UTC, in each process. Left out: no cap."""
    queue: Count | None = None
    """How many may wait; one more is left out. Left out: 1000."""
    concurrency: Count | None = None
    """How many are under way at once. Left out: 2."""
    timeout_s: Seconds | None = None
    """Seconds that one may take. Left out: 120."""


def build_audit(table: AuditTable, folder: Path, observers: Sequence[Observer]) -> Audit:
    """The audit; its labels go to the file's ledger, if there is one.

    Raises:
        ConfigError: the table says something that cannot work.
    """
    options: dict[str, Any] = table.given()
    for name in ("fallback", "usd_per_day"):
        options.pop(name, None)
    if table.fallback is not None:
        options["fallback"] = Policy.load(folder / table.fallback)
    if table.usd_per_day is not None:
        options["spend"] = Spend(caps=[Cap(table.usd_per_day, per="day")])
    ledgers = (one for one in observers if hasattr(one, "record_outcome"))
    return Audit(**options, labels=next(ledgers, None))
