"""How the requests of one command are to be answered."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Way"]


class Way(NamedTuple):
    """How requests go through a cascade.

    Attributes:
        path: the name of a path. None: the whole ladder without a budget.
        budget_s: seconds each request may take, where its path gives it longer. None: as the
            path says.
    """

    path: str | None = None
    budget_s: float | None = None
