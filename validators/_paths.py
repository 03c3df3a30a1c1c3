"""Paths to one value inside JSON, such as `$.order.lines[0].total`."""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias, cast

from cascade.errors import ConfigError
from cascade.types import UNSET

__all__ = ["Path", "key_of", "parse_path", "slug", "value_at"]

Path: TypeAlias = tuple[str | int, ...]
"""Its steps from the root: a member's name, or an index. Never empty."""

_NAME: Final = r"""[^.\[\]"'\s$*@?()]+"""
_STEP: Final = re.compile(
    rf"""\.(?P<name>{_NAME})
       | \[(?P<index>\d{{1,9}})\]
       | \["(?P<double>[^"\\]+)"\]
       | \['(?P<single>[^'\\]+)'\]""",
    re.VERBOSE,
)
_DIGITS: Final = re.compile(r"[0-9]{1,9}")


def parse_path(who: str, path: str) -> Path:
    """The steps of a path that leads to one value: the singular queries of RFC 9535, 2.3.5.1.

    `$.a.b[0]`, `$["a b"]`, and without the root `a.b[0]` or `a.b.0`. A name of digits is a
    member's name in an object and an index in an array; `[0]` is an index only.

    Raises:
        ConfigError: it is no such path.
    """
    steps: list[str | int] = []
    if isinstance(path, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        rest = path[1:] if path.startswith("$") else path if path.startswith("[") else f".{path}"
        while step := _STEP.match(rest):
            index = step["index"]
            steps.append(int(index) if index else step["name"] or step["double"] or step["single"])
            rest = rest[step.end() :]
        if steps and not rest:
            return tuple(steps)
    raise ConfigError(
        f"{who}: {path!r} does not lead to one JSON value; write names and indexes, "
        "such as $.order.lines[0].total"
    )


def key_of(step: str | int, *, in_object: bool) -> str | int | None:
    """The key by which `step` enters an object or else an array. None: it cannot."""
    if in_object:
        return step if isinstance(step, str) else None
    if isinstance(step, int):
        return step
    return int(step) if _DIGITS.fullmatch(step) else None


def value_at(value: Any, path: Path) -> Any:
    """The value that `path` leads to. UNSET: there is none."""
    for step in path:
        value = _child(value, step)
    return value


def _child(value: object, step: str | int) -> object:
    if isinstance(value, dict):
        return cast("dict[object, object]", value).get(key_of(step, in_object=True), UNSET)
    if isinstance(value, list):
        elements = cast("list[object]", value)
        key = key_of(step, in_object=False)
        return elements[key] if isinstance(key, int) and key < len(elements) else UNSET
    return UNSET


def slug(path: Path) -> str:
    """The path as part of a validator's name, which can be a bare key in TOML."""
    return re.sub(r"[^A-Za-z0-9]+", "_", "_".join(map(str, path))).strip("_") or "value"
