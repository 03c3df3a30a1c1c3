"""What the commands that read a ledger share."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from cascade.cli.ledger import source_of
from cascade.ledger import Ledger

if TYPE_CHECKING:
    from cascade.ledger.read import Reader

__all__ = ["open_ledger", "print_lines"]


def open_ledger(address: str | None, config: Path) -> Reader:
    """The ledger at an address. None: the one that the configuration file names.

    Raises:
        ConfigError: no ledger is named, or a package is missing.
        NoLedgerError: there is none yet.
        LedgerError: it cannot be reached, or its tables are of another version.
    """
    source, folder = (address, None) if address is not None else source_of(config)
    return Ledger.open_for_reading(source, folder)


def print_lines(lines: Iterable[Text]) -> None:
    """Print styled lines on stdout, now; each stays one, however long."""
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    with console.capture() as printed:
        for line in lines:
            console.print(line)
    # Not by rich, which ends the process with a code of its own when the reader has gone away.
    sys.stdout.write(printed.get())
    sys.stdout.flush()
