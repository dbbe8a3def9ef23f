"""The capability protocols as tables: the parameters and results of their methods. The rest is
derived from these.

A method's name on the wire is its Python name in camel case, and so are its parameters.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar, cast, get_type_hints

import trio

from warren.model.rpc import Agent, Cluster, ClusterView, Gate, NodeSession

CAPABILITIES = (Gate, Cluster, ClusterView, NodeSession, Agent)
P = TypeVar("P")


class Method(NamedTuple):
    """One method: `parameters` are type hints by name, `returns` is NoneType for no result."""

    name: str
    signature: inspect.Signature
    parameters: Mapping[str, Any]
    returns: Any


class Interface(NamedTuple):
    """One protocol. `attributes` are what its objects have besides methods."""

    name: str
    methods: Mapping[str, Method]
    attributes: tuple[str, ...]


class LinkedGate(Gate, Protocol):
    """A gate at the far side of a link."""

    @property
    def lost(self) -> trio.Event:
        """Set once the link is gone; every call then raises LinkLostError."""
        ...


Invoke = Callable[[Method, dict[str, Any]], Awaitable[Any]]


def is_capability(hint: Any) -> bool:
    """Whether a value of this type is a remote object rather than plain data."""
    return hint in CAPABILITIES


@functools.cache
def interface(kind: type) -> Interface:
    """The table of a protocol."""
    members = {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}
    methods = {name: _method(name, member) for name, member in members.items() if callable(member)}
    attributes = tuple(name for name, member in members.items() if isinstance(member, property))
    return Interface(kind.__name__, methods, attributes)


class Proxy:
    """Implements a protocol by passing every call to `invoke`, with all arguments by name."""

    def __init__(self, table: Interface, invoke: Invoke, attributes: Mapping[str, object]) -> None:
        self._table = table
        self._invoke = invoke
        self.__dict__.update(attributes)

    def __repr__(self) -> str:
        return f"<{self._table.name} by {self._invoke!r}>"

    def __getattr__(self, name: str) -> Any:
        method = self._table.methods.get(name)
        if method is None:
            raise AttributeError(name)
        invoke = self._invoke  # and not self: no cycle, so that an unused proxy is freed at once

        async def call(*args: Any, **kwargs: Any) -> Any:
            bound = method.signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return await invoke(method, bound.arguments)

        self.__dict__[name] = call
        return call


def proxy(kind: type[P], invoke: Invoke, **attributes: object) -> P:
    """An object that implements `kind`."""
    return cast(P, Proxy(interface(kind), invoke, attributes))


def _method(name: str, function: Callable[..., Any]) -> Method:
    whole = inspect.signature(function)
    own = [parameter for each, parameter in whole.parameters.items() if each != "self"]
    hints = get_type_hints(function, include_extras=True)
    returns = hints.pop("return")
    return Method(name, whole.replace(parameters=own), hints, returns)
