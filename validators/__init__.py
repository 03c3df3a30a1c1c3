"""The built-in validators, one module for each family, loaded when first used.

confidence  logprob, margin, entropy, field_logprob, p_true, verbalised, agreement, judge,
            cross_tier, calibrated
structure   finish_reason, json_value, json_schema, pydantic_model, regex, one_of, length,
            contains, equals
tools       tool_call
text        not_refusal, language, python_parses, sql_parses, grounded, numbers_from_context,
            no_secrets
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cascade.validators.calibration import calibrated
    from cascade.validators.code import python_parses, sql_parses
    from cascade.validators.consensus import agreement, cross_tier
    from cascade.validators.fields import field_logprob
    from cascade.validators.finish import finish_reason
    from cascade.validators.grounding import grounded, numbers_from_context
    from cascade.validators.jsons import json_schema, json_value, pydantic_model
    from cascade.validators.judging import judge, p_true
    from cascade.validators.languages import language
    from cascade.validators.logprobs import entropy, logprob, margin
    from cascade.validators.matching import contains, equals, length, one_of, regex
    from cascade.validators.refusals import not_refusal
    from cascade.validators.secrets import no_secrets
    from cascade.validators.stated import verbalised
    from cascade.validators.tools import tool_call

__all__ = [
    "agreement",
    "calibrated",
    "contains",
    "cross_tier",
    "entropy",
    "equals",
    "field_logprob",
    "finish_reason",
    "grounded",
    "json_schema",
    "json_value",
    "judge",
    "language",
    "length",
    "logprob",
    "margin",
    "no_secrets",
    "not_refusal",
    "numbers_from_context",
    "one_of",
    "p_true",
    "pydantic_model",
    "python_parses",
    "regex",
    "sql_parses",
    "tool_call",
    "verbalised",
]

_MODULES: Final = {
    "agreement": "consensus",
    "calibrated": "calibration",
    "contains": "matching",
    "cross_tier": "consensus",
    "entropy": "logprobs",
    "equals": "matching",
    "field_logprob": "fields",
    "finish_reason": "finish",
    "grounded": "grounding",
    "json_schema": "jsons",
    "json_value": "jsons",
    "judge": "judging",
    "language": "languages",
    "length": "matching",
    "logprob": "logprobs",
    "margin": "logprobs",
    "no_secrets": "secrets",
    "not_refusal": "refusals",
    "numbers_from_context": "grounding",
    "one_of": "matching",
    "p_true": "judging",
    "pydantic_model": "jsons",
    "python_parses": "code",
    "regex": "matching",
    "sql_parses": "code",
    "tool_call": "tools",
    "verbalised": "stated",
}

BUILT_IN: Final = frozenset(_MODULES)


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"cascade.validators has no validator {name!r}")
    return getattr(import_module(f"cascade.validators.{module}"), name)


def __dir__() -> list[str]:
    return __all__
