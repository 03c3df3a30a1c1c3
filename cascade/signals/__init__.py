"""Signals: facts about a request that are known before any model runs."""

from __future__ import annotations

from cascade.signals.catalogue import BUILT_IN, DECLARABLE, OUTPUTS, Kind, Signal, declarable
from cascade.signals.reading import Reader, RequestFrom, SignalFunction, Signals
from cascade.signals.said import WINDOW_CHARS, Said, request_in
from cascade.signals.tasks import TASKS, Cue, Detection, detect_task

__all__ = [
    "BUILT_IN",
    "DECLARABLE",
    "OUTPUTS",
    "TASKS",
    "WINDOW_CHARS",
    "Cue",
    "Detection",
    "Kind",
    "Reader",
    "RequestFrom",
    "Said",
    "Signal",
    "SignalFunction",
    "Signals",
    "declarable",
    "detect_task",
    "request_in",
]
