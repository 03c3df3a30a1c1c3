"""Spend caps from the tables of a configuration file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cascade.config.mistakes import Mistakes
from cascade.config.tables import CapTable, ConfigTables, SpendTable
from cascade.errors import did_you_mean
from cascade.spend import Cap, Spend
from cascade.spend_store import SpendStore, SQLiteStore

__all__ = ["build_spend"]


def build_spend(
    table: SpendTable, tables: ConfigTables, folder: Path, mistakes: Mistakes
) -> Spend | None:
    """What holds all cascades of the file to its caps; relative paths in it start at `folder`.

    None: something is wrong, which `mistakes` notes.
    """
    before = mistakes.met
    caps = list(_caps(table, tables, mistakes))
    if not any(cascade.spend for cascade in tables.cascades.values()):
        mistakes.add("spend", "it holds no cascade, as all say spend = false; leave it out")
    if table.near_last is not None and table.near_last not in tables.tiers:
        hint = did_you_mean(table.near_last, tables.tiers)
        mistakes.add("spend.near_last", f"there is no [tiers.{table.near_last}]; {hint}")
    if mistakes.met > before:
        return None
    made: Spend | None = None
    with mistakes.at("spend"):
        options: dict[str, Any] = {
            **table.given(),
            "caps": caps,
            "store": _store(table.store, folder, mistakes),
        }
        made = Spend(**options)
    return made if mistakes.met == before else None


def _caps(table: SpendTable, tables: ConfigTables, mistakes: Mistakes) -> Iterator[Cap]:
    paths = {path for cascade in tables.cascades.values() for path in cascade.paths}
    for number, cap in enumerate(table.caps):
        place = f"spend.caps[{number}]"
        _check_known(place, cap, "path", sorted(paths), mistakes)
        _check_known(place, cap, "cascade", list(tables.cascades), mistakes)
        only = tables.cascades.get(cap.cascade or "")
        if only is not None and not only.spend:
            mistakes.add(
                f"{place}.cascade",
                f"the cascade {cap.cascade!r} has spend = false, so the cap holds nothing; "
                "leave out one of them",
            )
        with mistakes.at(place):
            yield Cap(**cap.given())


def _check_known(
    place: str, cap: CapTable, option: str, known: list[str], mistakes: Mistakes
) -> None:
    name = getattr(cap, option)
    if name is not None and name not in known:
        hint = did_you_mean(name, known)
        mistakes.add(f"{place}.{option}", f"there is no {option} {name!r} in this file; {hint}")


def _store(store: str, folder: Path, mistakes: Mistakes) -> SpendStore | None:
    """Where the money is counted. None: in memory, or `mistakes` notes why it cannot be."""
    if store == "memory":
        return None
    file = folder / store.removeprefix("sqlite:")
    if not file.parent.is_dir():
        mistakes.add("spend.store", f"there is no folder {str(file.parent)!r}; make it")
        return None
    return SQLiteStore(file)
