"""The command line: `cascade --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

__all__ = ["main"]

_NEEDED = ("cyclopts", "h11", "rich")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code. None: this process's own arguments."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"The command line needs {' and '.join(missing)}. Install with:\n\n"
            '    pip install "cascade-engine[cli]"\n'
        )
        sys.exit(2)
    from cascade.cli.app import run_command

    sys.exit(run_command(sys.argv[1:] if arguments is None else arguments))
