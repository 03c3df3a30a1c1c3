"""Routing rules as they stand in a `cascade.toml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from cascade.config.entries import ValidatorEntry
from cascade.config.fields import VALUE_OR_TABLE, Name, Seconds, Table

__all__ = ["FunctionName", "RouterEntry", "RouterTable", "RuleTable", "WhenEntry"]

_FUNCTION: Final = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"


def _function_name(name: str) -> str:
    if re.fullmatch(_FUNCTION, name) is None:
        raise PydanticCustomError(
            "function", "it should name a function of a Python module, as in 'module:function'"
        )
    return name


def _scalar(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise PydanticCustomError("condition", "it should be text, a number, true or false")
    return value


FunctionName: TypeAlias = Annotated[
    str,
    AfterValidator(_function_name),
    WithJsonSchema({"type": "string", "pattern": _FUNCTION}),
]
"""A function of a Python module: "module:function"."""

Scalar: TypeAlias = Annotated[
    Any,
    AfterValidator(_scalar),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]


NotEntry: TypeAlias = Annotated[
    Annotated[Scalar, Tag("value")] | Annotated[list[Scalar], Field(min_length=1), Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "value"),
]


class NotTable(Table):
    """All known values but these."""

    not_: NotEntry = Field(alias="not")
    """A value, or a list of them."""


class UnknownTable(Table):
    """Whether nothing is known of the signal."""

    unknown: bool
    """True: nothing may be known of it. False: something has to be."""


def _kind_of_condition(condition: object) -> str:
    if isinstance(condition, list):
        return "list"
    if isinstance(condition, NotTable | UnknownTable):
        return "not" if isinstance(condition, NotTable) else "unknown"
    if isinstance(condition, Mapping):
        return "unknown" if "unknown" in condition else "not"
    return "value"


Condition: TypeAlias = Annotated[
    Annotated[Scalar, Tag("value")]
    | Annotated[list[Scalar], Field(min_length=1), Tag("list")]
    | Annotated[NotTable, Tag("not")]
    | Annotated[UnknownTable, Tag("unknown")],
    Discriminator(_kind_of_condition),
]

WhenEntry: TypeAlias = Annotated[
    Annotated[dict[Name, Condition], Tag("table")] | Annotated[FunctionName, Tag("function")],
    Discriminator(lambda value: "function" if isinstance(value, str) else "table"),
]

_PLAIN: Final = ("tier", "first", "last", "path", "budget_s", "bypass", "stakes", "why")


class RuleTable(Table):
    """If the signals of a call are so, then it uses the ladder so."""

    name: Name
    """How results and logs call it."""
    when: WhenEntry = Field(default_factory=dict[str, Any])
    """Conditions by signal, all of which have to be met: a value, a list of values, a comparison
    such as ">8000", { not = ... } or { unknown = true }. Or "module:function", a function of the
    signals. Left out: it always matches."""
    tier: Name | None = None
    """The one tier to ask."""
    first: Name | None = None
    """The lowest rung to use."""
    last: Name | None = None
    """The highest rung to use."""
    forbid: list[Name] = Field(default_factory=list)
    """Tiers that must not be asked."""
    path: Name | None = None
    """The path to use, whichever was asked for, with its budget and all else."""
    budget_s: Seconds | None = None
    """Seconds the whole call may take, in place of the path's."""
    validators: list[ValidatorEntry] = Field(default_factory=list[Any])
    """What its answers must pass besides the cascade's own."""
    bypass: bool = False
    """Whether to go past the cascade: straight to `tier`, or the strongest one, asked once."""
    stakes: Name | None = None
    """Marks the call with these stakes. A rule that says nothing else lets the next ones have their
    say."""
    why: Name | None = None
    """The reason to show. Left out: its conditions."""

    def conditions(self) -> dict[str, Any]:
        """Its `when`, as a `Rule` takes it. Empty where a function stands in its place."""
        if isinstance(self.when, str):
            return {}
        return {
            signal: condition.model_dump(by_alias=True)
            if isinstance(condition, NotTable | UnknownTable)
            else condition
            for signal, condition in self.when.items()
        }

    def options(self) -> dict[str, Any]:
        """What is handed to the `Rule` as it stands."""
        return {**{name: getattr(self, name) for name in _PLAIN}, "forbid": self.forbid}


class RouterTable(Table):
    """A learned router, as `cascade learn` wrote it."""

    file: Name
    """Its file; the path starts at the folder of this file."""
    value_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """What a right answer is worth, in USD. Left out: as it was trained."""
    embed: FunctionName | None = None
    """The embedding it was trained with: "module:function", a function of the text that gives
    numbers. Left out: it was trained without one."""


RouterEntry: TypeAlias = Annotated[
    Annotated[Name, Tag("value")] | Annotated[RouterTable, Tag("table")], VALUE_OR_TABLE
]
