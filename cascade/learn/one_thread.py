"""Numerical libraries in one thread."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

__all__ = ["one_thread"]


def one_thread() -> AbstractContextManager[Any]:
    """Inside of it NumPy, SciPy and scikit-learn calculate in one thread.

    Their threads wait for each other actively, which takes many times as long where other work
    keeps the processors busy; and the many small matrices of a tuning gain nothing by them.
    """
    from threadpoolctl import threadpool_limits  # pyright: ignore[reportMissingTypeStubs]

    limited: AbstractContextManager[Any] = threadpool_limits(1)
    return limited
