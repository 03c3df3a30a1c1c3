"""Simulated models behind a local server that speaks the wire formats of LLM providers.

Everything here is simulated: no model is asked and nothing leaves the machine. It serves demos
without keys, and tests that want a real HTTP server with scripted faults.
"""

from __future__ import annotations

from cascade.simulated.chat import ChatRequest, Completion, Token
from cascade.simulated.handler import model_handler, serve_models
from cascade.simulated.http import (
    Drip,
    Fault,
    Garbage,
    Handler,
    Hang,
    HttpRequest,
    Reply,
    Reset,
    Truncate,
    script,
)
from cascade.simulated.models import SimulatedModel, simulated_models
from cascade.simulated.server import Server, serve
from cascade.simulated.tickets import TICKET_SCHEMA
from cascade.simulated.workload import Case, grade, workload

__all__ = [
    "TICKET_SCHEMA",
    "Case",
    "ChatRequest",
    "Completion",
    "Drip",
    "Fault",
    "Garbage",
    "Handler",
    "Hang",
    "HttpRequest",
    "Reply",
    "Reset",
    "Server",
    "SimulatedModel",
    "Token",
    "Truncate",
    "grade",
    "model_handler",
    "script",
    "serve",
    "serve_models",
    "simulated_models",
    "workload",
]
