"""Where calls are recorded, from the tables of a configuration file."""

from __future__ import annotations

import os
from pathlib import Path

from cascade.config.mistakes import Mistakes
from cascade.config.routing import find_function
from cascade.config.tables import LedgerTable
from cascade.ledger import JsonLines, Ledger, Redact
from cascade.observing import Recorder

__all__ = ["build_recorders", "ledger_source"]


def build_recorders(table: LedgerTable, folder: Path, mistakes: Mistakes) -> list[Recorder]:
    """What records the calls of all cascades of the file; relative paths in it start at `folder`.

    Empty: something is wrong, which `mistakes` notes.
    """
    before = mistakes.met
    recorders: list[Recorder] = []
    source = ledger_source(table, mistakes)
    redact = _redactions(table, folder, mistakes)
    if mistakes.met > before:
        return []
    if source is not None:
        with mistakes.at("ledger"):
            recorders.append(
                Ledger(
                    source,
                    content=table.content,
                    redact=redact,
                    retention_days=table.retention_days,
                    content_days=table.content_days,
                    folder=folder,
                )
            )
    if table.jsonl is not None:
        with mistakes.at("ledger.jsonl"):
            recorders.append(JsonLines(folder / table.jsonl, content=table.content, redact=redact))
    return recorders if mistakes.met == before else []


def _redactions(table: LedgerTable, folder: Path, mistakes: Mistakes) -> list[Redact]:
    found: list[Redact] = []
    for number, name in enumerate(table.redact):
        with mistakes.at(f"ledger.redact[{number}]"):
            found.append(find_function(name, folder))
    return found


def ledger_source(table: LedgerTable, mistakes: Mistakes) -> str | None:
    """The address of the file's ledger. None: it has none, or `mistakes` notes what is wrong."""
    if table.url is not None and table.url_env is not None:
        mistakes.add("ledger", "it has both url and url_env; leave one of them out")
        return None
    if table.url_env is not None:
        source = os.environ.get(table.url_env)
        if not source:
            mistakes.add("ledger.url_env", f"the variable {table.url_env} is not set; set it")
        return source or None
    if table.url is not None:
        return table.url
    if table.jsonl is None:
        mistakes.add("ledger", 'it says not where; write url = "sqlite:ledger.db", or jsonl')
    for option in ("retention_days", "content_days"):
        if getattr(table, option) is not None:
            mistakes.add(f"ledger.{option}", "it has no effect without url; leave it out")
    return None
