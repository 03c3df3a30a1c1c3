"""Whether what somebody names is a ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["is_ledger"]

_KINDS: Final = ("sqlite", "postgresql", "postgresql+psycopg", "postgres")
_HEADER: Final = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html, section 1.3


def is_ledger(source: str) -> bool:
    """Whether it is the address of a ledger, or a file of SQLite's."""
    kind, colon, _ = source.partition(":")
    if colon and kind in _KINDS:
        return True
    try:
        with Path(source).open("rb") as file:
            return file.read(len(_HEADER)) == _HEADER
    except OSError:
        return False
