"""The pinned names are those of the conventions' own package, at the version they say."""

from __future__ import annotations

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import error_attributes
from opentelemetry.semconv.schemas import Schemas

from cascade.providers import PROVIDERS
from cascade.telemetry import conventions

NAMES = {
    "EVALUATION_LABEL": "GEN_AI_EVALUATION_SCORE_LABEL",
    "EVALUATION_NAME": "GEN_AI_EVALUATION_NAME",
    "EVALUATION_SCORE": "GEN_AI_EVALUATION_SCORE_VALUE",
    "FINISH_REASONS": "GEN_AI_RESPONSE_FINISH_REASONS",
    "OPERATION_NAME": "GEN_AI_OPERATION_NAME",
    "PROVIDER_NAME": "GEN_AI_PROVIDER_NAME",
    "REQUEST_MODEL": "GEN_AI_REQUEST_MODEL",
    "RESPONSE_MODEL": "GEN_AI_RESPONSE_MODEL",
    "USAGE_CACHE_READ": "GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS",
    "USAGE_CACHE_WRITE": "GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS",
    "USAGE_INPUT": "GEN_AI_USAGE_INPUT_TOKENS",
    "USAGE_OUTPUT": "GEN_AI_USAGE_OUTPUT_TOKENS",
    "USAGE_REASONING": "GEN_AI_USAGE_REASONING_OUTPUT_TOKENS",
}
# What is no attribute of the package, and is checked by itself or by the page of the conventions.
OTHERS = {"CHAT", "ERROR_TYPE", "EVALUATION_EVENT", "PROVIDER_NAMES", "SCHEMA_URL"}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_pinned_name_is_the_conventions(name: str) -> None:
    assert getattr(conventions, name) == getattr(gen_ai_attributes, NAMES[name])


def test_every_pinned_name_is_checked() -> None:
    assert set(conventions.__all__) == NAMES.keys() | OTHERS
    assert conventions.ERROR_TYPE == error_attributes.ERROR_TYPE
    assert conventions.CHAT in {one.value for one in gen_ai_attributes.GenAiOperationNameValues}


def test_the_version_is_one_that_the_package_knows() -> None:
    assert conventions.SCHEMA_URL in {schema.value for schema in Schemas}


def test_providers_go_by_the_conventions_names() -> None:
    known = {one.value for one in gen_ai_attributes.GenAiProviderNameValues}
    assert set(conventions.PROVIDER_NAMES.values()) <= known
    assert set(conventions.PROVIDER_NAMES) <= set(PROVIDERS)
    # One of ours that the conventions name the same must not be missing.
    assert set(PROVIDERS) & known <= set(conventions.PROVIDER_NAMES)
