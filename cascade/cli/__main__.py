"""`python -m cascade.cli`: the same as `cascade`."""

from __future__ import annotations

from cascade.cli import main

if __name__ == "__main__":
    main()
