"""JSON answers: parsed, held against a JSON Schema, or made into a pydantic model.

The three share one parse of each answer, and what they parse becomes the accepted value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from inspect import isclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import UNSET, Answer, Verdict
from cascade.validation import Check, Validator
from cascade.validators.json_text import Parsed, Unacceptable, check_json, read_json
from cascade.validators.schemas import Engine, Formats, Schema, compile_schema

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

__all__ = ["json_schema", "json_value", "parsed", "pydantic_model"]

_MAX_ERRORS: Final = 5
_MAX_ERROR_CHARS: Final = 200


def json_value(*, prose: bool = True, repair: bool = False) -> Validator:
    """Passes when the answer is one JSON value; the value becomes the accepted one.

    Reads RFC 8259 strictly: no NaN or Infinity, no member name twice, no lone surrogates, at most
    64 levels. A value that the call itself returned (dict, list, number, bool) is judged as it is.

    Args:
        prose: whether the JSON may be fenced or stand among other text: the only object, else the
            only array; fenced ones before others. False: it must be the whole answer.
        repair: whether slips that lose nothing are mended first (trailing commas, comments, single
            quotes, Python's literals, bare names, raw line breaks and quotes in strings, closing
            brackets missing at the end); a verdict on a mended answer has the reason "repaired".

    Reasons: empty, not_json, ambiguous, not_finite, duplicate_key, too_deep, number_too_long,
    lone_surrogate. Abstains with no_text when there is nothing to read.
    """
    _check_flags("json_value", prose=prose, repair=repair)

    def judge(answer: Answer[Any], context: Context) -> Verdict:
        read = parsed(answer, context, prose=prose, repair=repair)
        return _unread(read) or Verdict.passed(value=read.value, reason=read.reason)

    return Check("json_value", judge, scored=False)


def json_schema(
    schema: Mapping[str, Any] | str,
    *,
    prose: bool = True,
    repair: bool = False,
    formats: Formats = True,
    engine: Engine = "auto",
) -> Validator:
    """Passes when the answer is one JSON value that a JSON Schema allows.

    Drafts 4, 6, 7, 2019-09 and 2020-12, by the schema's "$schema"; the last where it has none.
    References lead into the schema itself; nothing is ever fetched.

    Args:
        schema: the schema, or the path of a JSON file that holds it.
        prose, repair: as in `json_value`.
        formats: True asserts every "format" in the schema, False none; or those to assert.
        engine: "auto" asks jsonschema-rs first where it is installed; the verdicts are the same.

    Reasons: those of `json_value`; invalid, with the first five complaints as feedback. Abstains
    with no_text, and with timeout when a pattern of the schema could not be matched in time.

    Raises:
        ConfigError: the schema is invalid, or needs a package that is not installed.
    """
    _check_flags("json_schema", prose=prose, repair=repair)
    compiled = compile_schema(_loaded(schema), formats=formats, engine=engine)

    def judge(answer: Answer[Any], context: Context) -> Verdict:
        read = parsed(answer, context, prose=prose, repair=repair)
        return (
            _unread(read)
            or judged_by(compiled, read.value)
            or Verdict.passed(value=read.value, reason=read.reason)
        )

    return Check("json_schema", judge, scored=False)


def pydantic_model(
    model: Any, *, prose: bool = True, repair: bool = False, strict: bool = False
) -> Validator:
    """Passes when the answer is JSON that a pydantic model accepts; the instance is the value.

    An answer whose value is an instance already passes as it is.

    Args:
        model: a model class, any other type that pydantic understands, or "package.module:Name".
        prose, repair: as in `json_value`.
        strict: pydantic's strict mode for JSON: no "1" for 1; dates still come from strings.

    Reasons: those of `json_value`; invalid, with pydantic's first five errors as feedback.

    Raises:
        ConfigError: the model cannot be imported, or is no type that pydantic understands.
    """
    _check_flags("pydantic_model", prose=prose, repair=repair, strict=strict)
    wanted, adapter = _adapter(_imported(model) if isinstance(model, str) else model)

    def judge(answer: Answer[Any], context: Context) -> Verdict:
        from pydantic import ValidationError

        if isclass(wanted) and isinstance(answer.value, wanted):
            return Verdict.passed(value=answer.value)
        read = parsed(answer, context, prose=prose, repair=repair)
        unread = _unread(read)
        if unread is not None:
            return unread
        try:
            # As JSON text again: only there strict mode takes a string for a date.
            made = adapter.validate_json(json.dumps(read.value), strict=strict or None)
        except ValidationError as error:
            return invalid(_pydantic_errors(error))
        return Verdict.passed(value=made, reason=read.reason)

    return Check("pydantic_model", judge, scored=False)


def parsed(
    answer: Answer[Any], context: Context, *, prose: bool = True, repair: bool = False
) -> Parsed:
    """The JSON value of an answer, read once for all validators of it."""
    key = ("json", prose, repair)
    held = context.cache.get(key)
    if held is None or held[0] is not answer:
        held = context.cache[key] = (answer, _parse(answer, prose=prose, repair=repair))
    return cast("Parsed", held[1])


def judged_by(schema: Schema, value: Any) -> Verdict | None:
    """The verdict on a value that a schema does not allow. None: it allows it."""
    try:
        complaints = schema.complaints(value)
    except RecursionError:
        return Verdict.failed("too_deep", feedback="The JSON nests too deep for its schema.")
    except TimeoutError:
        return Verdict.abstained("timeout")
    return invalid(complaints) if complaints else None


def invalid(complaints: Sequence[str]) -> Verdict:
    """The verdict on JSON of the wrong shape, one line for each complaint."""
    lines = "\n".join(f"- {complaint}" for complaint in complaints)
    return Verdict.failed("invalid", feedback=f"The JSON does not have the asked shape:\n{lines}")


def _parse(answer: Answer[Any], *, prose: bool, repair: bool) -> Parsed:
    value, text = answer.value, answer.text
    if isinstance(value, dict | list | int | float):
        try:
            check_json(cast("object", value))
        except Unacceptable as problem:
            return Parsed(reason=problem.reason, detail=problem.detail)
        return Parsed(value)
    if not isinstance(text, str):
        return Parsed(reason="no_text", missing=True)
    return read_json(text, prose=prose, repair=repair)


def _unread(read: Parsed) -> Verdict | None:
    """The verdict on an answer from which nothing could be read. None: something was."""
    if read.value is not UNSET:
        return None
    if read.missing:
        return Verdict.abstained(read.reason)
    return Verdict.failed(read.reason, feedback=read.detail)


def _check_flags(name: str, **flags: Any) -> None:
    for option, value in flags.items():
        if not isinstance(value, bool):
            raise ConfigError(f"{name}: {option}={value!r}; write true or false")


def _loaded(schema: Any) -> Mapping[str, Any]:
    """The schema itself, from the file it is in where a path is given."""
    if isinstance(schema, str):
        try:
            schema = json.loads(Path(schema).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(
                f"json_schema: {schema!r} is not a readable JSON file: {error}"
            ) from None
    if not isinstance(schema, Mapping):
        raise ConfigError(
            f"json_schema: the schema is a {type(schema).__name__}; give a JSON object, or the "
            "path of a file with one"
        )
    return cast("Mapping[str, Any]", schema)


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise ConfigError(
            f"pydantic_model: {path!r} cannot be imported; write package.module:Name"
        ) from None


def _adapter(model: Any) -> tuple[Any, TypeAdapter[Any]]:
    from pydantic import PydanticUserError, TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError

    if isinstance(model, TypeAdapter):
        return None, cast("Any", model)
    try:
        return model, TypeAdapter(model)
    except (PydanticUserError, PydanticSchemaGenerationError, NameError) as error:
        raise ConfigError(
            f"pydantic_model: {model!r} is no type that pydantic understands "
            f"({type(error).__name__}); give a model class"
        ) from None


def _pydantic_errors(error: ValidationError) -> list[str]:
    shown = error.errors(include_url=False, include_context=False, include_input=False)
    lines = (
        "".join(f"/{step}" for step in each["loc"]) + f": {each['msg']}"
        for each in shown[:_MAX_ERRORS]
    )
    return [line.removeprefix(": ")[:_MAX_ERROR_CHARS] for line in lines]
