"""The names of OpenTelemetry's semantic conventions for generative AI, pinned to one version.

Only this file knows them. They are still in development and change between versions; the version
they are of goes along with every span, as its schema URL. From there on they are kept in a
repository of their own.

Sources: https://opentelemetry.io/docs/specs/semconv/gen-ai/ and
https://github.com/open-telemetry/semantic-conventions-genai
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = [
    "CHAT",
    "ERROR_TYPE",
    "EVALUATION_EVENT",
    "EVALUATION_LABEL",
    "EVALUATION_NAME",
    "EVALUATION_SCORE",
    "FINISH_REASONS",
    "OPERATION_NAME",
    "PROVIDER_NAME",
    "PROVIDER_NAMES",
    "REQUEST_MODEL",
    "RESPONSE_MODEL",
    "SCHEMA_URL",
    "USAGE_CACHE_READ",
    "USAGE_CACHE_WRITE",
    "USAGE_INPUT",
    "USAGE_OUTPUT",
    "USAGE_REASONING",
]

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"

OPERATION_NAME: Final = "gen_ai.operation.name"
CHAT: Final = "chat"
PROVIDER_NAME: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"

USAGE_INPUT: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_WRITE: Final = "gen_ai.usage.cache_creation.input_tokens"
USAGE_REASONING: Final = "gen_ai.usage.reasoning.output_tokens"

EVALUATION_EVENT: Final = "gen_ai.evaluation.result"
EVALUATION_NAME: Final = "gen_ai.evaluation.name"
EVALUATION_SCORE: Final = "gen_ai.evaluation.score.value"
EVALUATION_LABEL: Final = "gen_ai.evaluation.score.label"

ERROR_TYPE: Final = "error.type"

PROVIDER_NAMES: Final[Mapping[str, str]] = {"anthropic": "anthropic", "openai": "openai"}
"""Providers that the conventions have a name for; any other goes by cascade's own."""
