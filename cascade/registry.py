"""Validators by name: those registered here, the built-in ones, and those of other packages.

Another package offers validators through the entry-point group `cascade.validators`; each entry
point names a `Validator` or a function that builds one from options. Nothing is imported until
its name is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from cascade.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from cascade.validation import Validator

ENTRY_POINT_GROUP: Final = "cascade.validators"

_registered: dict[str, Validator] = {}


def register(name: str, validator: Validator, *, replace: bool) -> None:
    """Make `validator` known by `name`.

    Raises:
        ConfigError: the name is taken, and `replace` is False or the holder is no registered one.
    """
    if name in _built_in() or name in _offered():
        raise ConfigError(f"the validator name {name!r} is taken; choose another")
    if name in _registered and not replace:
        raise ConfigError(
            f"a validator named {name!r} is registered already; choose another name, or pass "
            "replace=True to redefine it, as in a notebook"
        )
    _registered[name] = validator


def names() -> list[str]:
    """Every known name, sorted, without importing what is behind it."""
    return sorted({*_registered, *_built_in(), *_offered()})


def build(name: str, options: Mapping[str, Any]) -> Validator:
    """The validator of that name, built with `options`.

    A registered validator takes the option `at` only; a built-in one those of its function.

    Raises:
        ConfigError: the name is unknown, or the options do not fit.
    """
    from cascade.validation import Validator

    found = _find(name)
    options = dict(options)
    threshold = options.pop("at", None)
    if not isinstance(found, Validator):
        found = _call(name, found, options)
    elif options:
        raise ConfigError(
            f"validator {name!r} takes no options but `at`; leave out {', '.join(sorted(options))}"
        )
    return found if threshold is None else found.at(threshold)


def _find(name: str) -> Validator | Callable[..., Any]:
    if name in _registered:
        return _registered[name]
    if name in _built_in():
        import cascade.validators

        built_in: Callable[..., Any] = getattr(cascade.validators, name)
        return built_in
    if name in _offered():
        return _load(_offered()[name])
    raise ConfigError(f"no validator is named {name!r}; {did_you_mean(name, names())}")


def _load(offered: EntryPoint) -> Validator | Callable[..., Any]:
    try:
        loaded: Validator | Callable[..., Any] = offered.load()
    except (ImportError, AttributeError) as error:
        package = offered.dist.name if offered.dist else "unknown"
        raise ConfigError(
            f"validator {offered.name!r} of the package {package} cannot be loaded from "
            f"{offered.value!r}: {error}"
        ) from error
    return loaded


def _call(name: str, factory: Callable[..., Any], options: dict[str, Any]) -> Validator:
    import inspect

    from cascade.validation import Validator

    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        known = ", ".join(inspect.signature(factory).parameters)
        raise ConfigError(f"validator {name!r}: {error}; its options: {known}") from None
    made = factory(**options)
    if not isinstance(made, Validator):
        raise ConfigError(
            f"validator {name!r} gave a {type(made).__name__}; its entry point must name a "
            "Validator or a function that returns one"
        )
    return made


def _built_in() -> frozenset[str]:
    from cascade.validators import BUILT_IN

    return BUILT_IN


def _offered() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # it takes longer to import than all of this

    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
