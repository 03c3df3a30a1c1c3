"""A look through a whole JSON Schema before it is used, along its references too."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Final, cast

from cascade.errors import ConfigError
from cascade.validators.patterns import check_pattern

if TYPE_CHECKING:
    from referencing import Registry, Resource

__all__ = ["Survey"]

_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")


class Survey:
    """What is used anywhere in a schema.

    Attributes:
        formats: every "format".
        keywords: every keyword.

    Raises:
        ConfigError: a reference leads out of the schema or round in a circle, or a pattern cannot
            be searched for.
    """

    def __init__(
        self, schema: dict[str, Any] | bool, draft: str, name: str, registry: Registry[Any]
    ) -> None:
        from referencing.jsonschema import specification_with

        self.formats: set[str] = set()
        self.keywords: set[str] = set()
        self._name = name
        self._seen: set[int] = set()
        self._specification = specification_with(draft)
        root = self._specification.create_resource(schema)
        self._same_place: dict[int, list[int]] = {}
        self._walk(root, registry.resolver_with_root(root))
        self._check_ends()

    def _walk(self, resource: Resource[Any], resolver: Any) -> None:
        contents = resource.contents
        if not isinstance(contents, dict) or id(cast("Any", contents)) in self._seen:
            return
        schema = cast("dict[str, Any]", contents)
        self._seen.add(id(schema))
        self.keywords |= schema.keys()
        if isinstance(schema.get("format"), str):
            self.formats.add(schema["format"])
        for pattern in (schema.get("pattern"), *schema.get("patternProperties", ())):
            if isinstance(pattern, str):
                check_pattern(pattern, self._name)
        targets = [
            self._follow(schema[keyword], resolver)
            for keyword in _REFERENCES
            if isinstance(schema.get(keyword), str)
        ]
        self._same_place[id(schema)] = [id(part) for part in (*targets, *_in_place(schema))]
        for part in resource.subresources():
            self._walk(part, resolver.in_subresource(part))

    def _follow(self, reference: str, resolver: Any) -> Any:
        from referencing.exceptions import Unresolvable

        try:
            target = resolver.lookup(reference)
        except (Unresolvable, ValueError):
            raise ConfigError(
                f"{self._name}: the reference {reference!r} leads out of the schema, and nothing "
                'is fetched; put what it names under "$defs"'
            ) from None
        self._walk(self._specification.create_resource(target.contents), target.resolver)
        return target.contents

    def _check_ends(self) -> None:
        try:
            TopologicalSorter(self._same_place).prepare()
        except CycleError:
            raise ConfigError(
                f"{self._name}: the schema refers to itself without end; put the reference below "
                '"properties" or "items"'
            ) from None


def _in_place(schema: dict[str, Any]) -> Iterator[Any]:
    """The parts of a schema that judge the same value as it does, rather than one inside."""
    for keyword in ("allOf", "anyOf", "oneOf"):
        yield from schema.get(keyword, ())
    for keyword in ("not", "if", "then", "else"):
        if keyword in schema:
            yield schema[keyword]
    for keyword in ("dependentSchemas", "dependencies"):
        yield from schema.get(keyword, {}).values()
