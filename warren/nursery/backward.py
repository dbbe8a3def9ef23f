"""How the parts of a task tell it something: without holding it.

A bound method in one of its parts would make the task hold itself. Nothing but the collector of
cycles frees such a thing, and that looks at what is older once an hour (watch/garbage.py), while a
node whose tasks keep failing is done with thousands.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def backward(method: Callable[P, R]) -> Callable[P, R]:
    """A bound method, to be called by what its owner owns, hence no longer than that lives."""
    found = weakref.WeakMethod(method)

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        method = found()
        assert method is not None, "a part has outlived its owner"
        return method(*args, **kwargs)

    return call
