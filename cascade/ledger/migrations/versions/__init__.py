"""One module a revision. A released one is never changed: what follows is a new one."""

from __future__ import annotations
