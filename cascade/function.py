"""The callable that `@cascade` makes of a function: the same signature, without the tier."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

from cascade.engine import climb, failure
from cascade.errors import ConfigError
from cascade.explaining import Explanation
from cascade.observing import NO_LABELS
from cascade.options import check_seconds
from cascade.routing import Plan
from cascade.types import Fact, Result

if TYPE_CHECKING:
    from cascade.decorator import Cascade

__all__ = ["CascadeFunction", "CascadeMethod"]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", contravariant=True)


class CascadeFunction(Generic[P, R]):
    """A function that is asked once a rung until its answer is accepted.

    Attributes:
        cascade: the `Cascade` it runs in.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_budget_s",
        "_function",
        "_is_method",
        "_labels",
        "_plan",
        "cascade",
    )

    # From the wrapped function.
    __name__: str
    __qualname__: str

    def __init__(
        self, function: Callable[..., Awaitable[Any]], cascade: Cascade, plan: Plan
    ) -> None:
        self.cascade = cascade
        self._function: Any = function
        self._is_method = False
        self._plan = plan
        self._budget_s: float | None = None
        self._labels = NO_LABELS

    @classmethod
    def of(
        cls, function: Callable[..., Awaitable[Any]], cascade: Cascade
    ) -> CascadeFunction[..., Any]:
        """Wrap a function. Raises ConfigError when it is not one that a tier can be given to."""
        _check(function)
        made = CascadeFunction[..., Any](function, cascade, cascade.plan(None))
        functools.update_wrapper(made, function)
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(made)
        return made

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The accepted value.

        Raises:
            CascadeExhausted: no rung's answer was accepted, whatever `on_exhausted` says: a bare
                value cannot be marked as rejected. Use `run` for the best one.
            DeadlineExceeded: the path's budget ran out first.
        """
        if self._is_method:  # reached through the class: the instance comes first, as in Python
            value: R = await self._bound(args)(*args[1:], **kwargs)
            return value
        plan, labels = self.cascade.route(self._plan, args, kwargs, self._labels)
        result = await climb(plan, self._function, args, kwargs, self._budget_s, labels)
        if not result.accepted:
            raise failure(result)
        value = result.value
        return value

    async def run(self, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """The whole story of the call, the value in it.

        Raises:
            CascadeExhausted: no rung's answer was accepted. With `on_exhausted="best"` the best
                one is returned instead, `accepted` False.
            DeadlineExceeded: the path's budget ran out first; likewise.
        """
        if self._is_method:
            return await self._bound(args).run(*args[1:], **kwargs)
        plan, labels = self.cascade.route(self._plan, args, kwargs, self._labels)
        result = await climb(plan, self._function, args, kwargs, self._budget_s, labels)
        if not result.accepted and plan.on_exhausted == "raise":
            raise failure(result)
        return result

    def explain(self, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """How a call with these arguments would go up the ladder, and why. Nothing is asked."""
        if self._is_method:
            return self._bound(args).explain(*args[1:], **kwargs)
        declared = self._labels.signals
        return self.cascade.routes.explain(self._plan.path, args, kwargs, declared)

    def on(self, path: str) -> CascadeFunction[P, R]:
        """The same callable on a named path.

        Raises:
            ConfigError: the cascade has no such path.
        """
        return self._sibling(self._function, self.cascade.plan(path))

    def within(self, budget_s: float) -> CascadeFunction[P, R]:
        """The same callable with a budget of the caller's own, for as long as it may take.

        It can shorten the path's budget, not lengthen it.

        Args:
            budget_s: seconds above 0.

        Raises:
            ConfigError: it is no time.
        """
        check_seconds("within", budget_s)
        made = self._sibling(self._function, self._plan)
        made._budget_s = min(budget_s, self._budget_s or budget_s)
        return made

    def given(self, **signals: Fact) -> CascadeFunction[P, R]:
        """The same callable with facts about its requests that rules may go by.

        await triage.given(stakes="high")("my invoice is wrong")

        Raises:
            ConfigError: a value is neither text, a number, True, False nor None.
        """
        made = self._sibling(self._function, self._plan)
        made._labels = self._labels.more(signals=signals)
        return made

    def tagged(self, **metadata: Any) -> CascadeFunction[P, R]:
        """The same callable with labels of your own, kept with the record of each call."""
        made = self._sibling(self._function, self._plan)
        made._labels = self._labels.more(metadata=metadata)
        return made

    def __get__(self, instance: Any, owner: type | None = None) -> CascadeFunction[P, R]:
        if instance is None and not _binds_to_classes(self._function):
            return self
        bind = getattr(self._function, "__get__", None)
        if bind is None:
            return self  # a partial or another callable object: Python does not bind those
        return self._sibling(bind(instance, owner), self._plan)

    def __set_name__(self, owner: type, name: str) -> None:
        # A method only where it was defined: a function can be stored in any class.
        home = getattr(self, "__qualname__", "").rpartition(".")[0]
        self._is_method = home == owner.__qualname__ and inspect.isfunction(self._function)

    def _bound(self, args: tuple[Any, ...]) -> CascadeFunction[..., Any]:
        if not args:
            raise TypeError(f"{self.__qualname__} is a method; call it on an instance")
        return self.__get__(args[0])

    def _sibling(
        self, function: Callable[..., Awaitable[Any]], plan: Plan
    ) -> CascadeFunction[P, R]:
        made: CascadeFunction[P, R] = type(self)(function, self.cascade, plan)
        made.__dict__.update(self.__dict__)
        made._is_method = self._is_method and function is self._function
        made._budget_s = self._budget_s
        made._labels = self._labels
        return made

    @property
    def __signature__(self) -> inspect.Signature:
        """The function's own signature less the tier."""
        function = getattr(self._function, "__func__", self._function)
        is_bound = inspect.ismethod(self._function)
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())
        if is_bound:
            kept = parameters[2:]
        elif self._is_method:
            kept = [parameters[0], *parameters[2:]]
        else:
            kept = parameters[1:]
        return signature.replace(parameters=kept)

    def __eq__(self, other: object) -> bool:
        """Equal as bound methods are: the same function on the same plan."""
        if not isinstance(other, CascadeFunction):
            return NotImplemented
        return bool(
            other._function == self._function
            and other._plan is self._plan
            and other._budget_s == self._budget_s
            and other._labels == self._labels
        )

    def __hash__(self) -> int:
        return hash((self._function, id(self._plan)))

    def __repr__(self) -> str:
        name = getattr(self, "__qualname__", repr(self._function))
        return f"<cascade function {name} on {self._plan.path or 'the whole ladder'}>"


class CascadeMethod(Protocol[S, P, R]):
    """How type checkers see a `CascadeFunction` in a class: the tier comes after `self`."""

    @overload
    def __get__(
        self, instance: None, owner: type[Any]
    ) -> CascadeFunction[Concatenate[S, P], R]: ...
    @overload
    def __get__(self, instance: S, owner: type | None = None) -> CascadeFunction[P, R]: ...


def _binds_to_classes(function: Any) -> bool:
    return isinstance(function, classmethod | staticmethod)


def _check(function: Any) -> None:
    inner = getattr(function, "__func__", function)
    while isinstance(inner, functools.partial):
        inner = inner.func
    inner = inspect.unwrap(inner)
    name = getattr(inner, "__qualname__", repr(inner))
    if inspect.isasyncgenfunction(inner):
        raise ConfigError(
            f"{name} is an async generator; return the whole answer instead: it is judged before "
            "any of it is passed on"
        )
    is_async = inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(
        getattr(inner, "__call__", None)  # noqa: B004 - asks whether it is async, not callable
    )
    if not is_async:
        raise ConfigError(f"{name} is not async; write it as `async def {name}(tier, ...)`")
    by_place = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )
    parameters = inspect.signature(inner).parameters.values()
    if not any(parameter.kind in by_place for parameter in parameters):
        raise ConfigError(f"{name} takes no tier; write it as `async def {name}(tier, ...)`")
