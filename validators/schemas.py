"""JSON Schema, compiled once: what can go wrong is said at construction, with its place.

`jsonschema` is the reference and gives every complaint. `jsonschema-rs`, where installed, only ever
says yes: what it accepts is accepted, all else is judged by the reference. It is not asked about
keywords that the two are known to read differently, so verdicts do not depend on the extra.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from cascade.errors import ConfigError, did_you_mean
from cascade.validators.schema_keywords import OVERRIDES, pointer, shortened
from cascade.validators.schema_survey import Survey

if TYPE_CHECKING:
    from jsonschema.protocols import Validator as Reference
    from referencing import Registry

__all__ = ["Engine", "Formats", "Schema", "compile_schema"]

Engine: TypeAlias = Literal["auto", "jsonschema", "jsonschema-rs"]
Formats: TypeAlias = bool | Sequence[str]

_DRAFTS: Final = {
    "http://json-schema.org/draft-04/schema": "Draft4Validator",
    "http://json-schema.org/draft-06/schema": "Draft6Validator",
    "http://json-schema.org/draft-07/schema": "Draft7Validator",
    "https://json-schema.org/draft/2019-09/schema": "Draft201909Validator",
    "https://json-schema.org/draft/2020-12/schema": "Draft202012Validator",
}
_LATEST: Final = "https://json-schema.org/draft/2020-12/schema"
_FORMATS: Final = frozenset(
    "date-time date time duration email idn-email hostname idn-hostname ipv4 ipv6 uri "
    "uri-reference iri iri-reference uuid uri-template json-pointer relative-json-pointer "
    "regex".split()
)
# Python's regular expressions differ from ECMA-262's in places ($, \d), and multipleOf is exact
# here.
_READ_DIFFERENTLY: Final = frozenset({"pattern", "patternProperties", "multipleOf"})
_MAX_COMPLAINTS: Final = 5
_MAX_FORMAT_CHARS: Final = 2_000
_SLOW_FORMATS: Final = {"iri": 200, "iri-reference": 200}  # about half a millisecond a character


class Schema:
    """A compiled JSON Schema.

    Attributes:
        fast: whether jsonschema-rs is asked first.
    """

    __slots__ = ("_accepts", "_reference", "fast")

    def __init__(self, reference: Reference, accepts: Callable[[Any], bool] | None) -> None:
        self._reference = reference
        self._accepts = accepts
        self.fast = accepts is not None

    def complaints(self, value: Any) -> list[str]:
        """The first few things wrong with a JSON value, each with its place. Empty: it is valid.

        Raises:
            RecursionError: the value and the schema together nest deeper than can be followed.
            TimeoutError: a pattern took too long on one of the strings.
        """
        if self._accepts is not None:
            with suppress(Exception):  # such as a limit of its own: the reference decides
                if self._accepts(value):
                    return []
        return [_complaint(error) for error in islice(self._errors(value), _MAX_COMPLAINTS)]

    def _errors(self, value: Any) -> Iterator[Any]:
        return self._reference.iter_errors(value)


def compile_schema(
    schema: Mapping[str, Any] | bool,
    *,
    formats: Formats = True,
    engine: Engine = "auto",
    name: str = "json_schema",
) -> Schema:
    """Compile a schema of draft 4, 6, 7, 2019-09 or 2020-12 (by "$schema"; else the last).

    Args:
        schema: the schema; its references must lead into itself or to the drafts' own schemas.
        formats: True asserts every "format", False none; or the names of those to assert.
        engine: which library may answer; see the module.
        name: of the validator, for messages.

    Raises:
        ConfigError: the schema is invalid, refers elsewhere, or needs what is not installed.
    """
    if engine not in ("auto", "jsonschema", "jsonschema-rs"):
        raise ConfigError(
            f'{name}: engine={engine!r}; write "auto", "jsonschema" or "jsonschema-rs"'
        )
    schema = schema if isinstance(schema, bool) else _plain(schema, name)
    draft = _draft(schema, name)
    kind = _reference_class(_DRAFTS[draft])
    _check_against_draft(kind, schema, name)
    registry = _local_registry()
    found = Survey(schema, draft, name, registry)
    checkers = _format_checkers(found.formats, formats, name)
    reference = kind(schema, registry=registry, format_checker=_format_checker(checkers))
    accepts = None
    if engine != "jsonschema" and not (found.keywords & _READ_DIFFERENTLY):
        accepts = _fast(schema, draft, checkers, name, needed=engine == "jsonschema-rs")
    return Schema(reference, accepts)


def _plain(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A copy of our own, so that nobody changes the schema under us, and it is JSON for sure."""
    try:
        copy: dict[str, Any] = json.loads(json.dumps(schema, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: the schema is not JSON: {error}") from None
    return copy


def _draft(schema: dict[str, Any] | bool, name: str) -> str:
    named = _LATEST if isinstance(schema, bool) else schema.get("$schema", _LATEST)
    draft = str(named).removesuffix("#")
    if draft not in _DRAFTS:
        raise ConfigError(f"{name}: $schema is {draft!r}; {did_you_mean(draft, _DRAFTS)}")
    return draft


@lru_cache
def _reference_class(draft: str) -> Any:
    validators: Any = import_module("jsonschema.validators")  # its types are but partly known
    return validators.extend(getattr(validators, draft), OVERRIDES)


@lru_cache
def _local_registry() -> Registry[Any]:
    """The drafts' own schemas and nothing else: a reference elsewhere is never fetched."""
    specifications: Any = import_module("jsonschema_specifications")  # ships no types
    registry: Registry[Any] = specifications.REGISTRY
    return registry


def _check_against_draft(kind: Any, schema: dict[str, Any] | bool, name: str) -> None:
    from jsonschema.exceptions import SchemaError

    try:
        kind.check_schema(schema, format_checker=None)
    except SchemaError as error:
        place = pointer(error.absolute_path)
        raise ConfigError(
            f"{name}: the schema is wrong at {place}: {shortened(error.message)}"
        ) from None
    except RecursionError:
        raise ConfigError(f"{name}: the schema nests too deep; split it with $defs") from None


def _format_checkers(used: set[str], formats: Formats, name: str) -> dict[str, Any]:
    """The functions for the formats to assert, by name."""
    from jsonschema import Draft202012Validator

    if formats is False:
        return {}
    wanted = used if formats is True else set(formats)
    # One table for all drafts: a "uuid" in a schema of draft 7 is meant as one too.
    known = Draft202012Validator.FORMAT_CHECKER.checkers
    for each in sorted(wanted):
        if each not in _FORMATS:
            raise ConfigError(
                f"{name}: the format {each!r} is none of JSON Schema's and would go unchecked; "
                f"{did_you_mean(each, _FORMATS)} Or name the formats to check: formats=[...]"
            )
        if each not in known:
            raise ConfigError(
                f"{name}: to check the format {each!r}: "
                'pip install "cascade-engine[formats]"; or pass formats=False'
            )
    return {each: _bounded_format(each, known[each][0]) for each in sorted(wanted)}


def _bounded_format(name: str, conforms: Callable[[Any], bool]) -> Callable[[Any], bool]:
    limit = _SLOW_FORMATS.get(name, _MAX_FORMAT_CHARS)

    def check(value: Any) -> bool:
        if not isinstance(value, str):
            return True
        try:
            return len(value) <= limit and bool(conforms(value))
        except Exception:  # some raise beyond what they announce, such as RecursionError
            return False

    return check


def _format_checker(checkers: Mapping[str, Any]) -> Any:
    from jsonschema import FormatChecker

    checker = FormatChecker(())
    checker.checkers = {name: (check, ()) for name, check in checkers.items()}
    return checker


def _fast(
    schema: dict[str, Any] | bool, draft: str, checkers: dict[str, Any], name: str, *, needed: bool
) -> Callable[[Any], bool] | None:
    try:
        import jsonschema_rs
    except ImportError:
        if needed:
            raise ConfigError(
                f'{name}: engine="jsonschema-rs" is not installed: '
                'pip install "cascade-engine[fast]"'
            ) from None
        return None
    kind = getattr(jsonschema_rs, _DRAFTS[draft])
    try:
        compiled = kind(
            schema, formats=checkers, validate_formats=bool(checkers), retriever=_never_retrieve
        )
    except Exception:  # a schema that it reads more narrowly is left to the reference
        return None
    accepts: Callable[[Any], bool] = compiled.is_valid
    return accepts


def _never_retrieve(uri: str) -> Any:
    raise LookupError(uri)


def _complaint(error: Any) -> str:
    """One line: the JSON pointer of the place, and the most telling message."""
    exceptions: Any = import_module("jsonschema.exceptions")
    telling = exceptions.best_match([error])
    return f"{pointer(telling.absolute_path)}: {shortened(telling.message)}"
