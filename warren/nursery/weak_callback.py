"""Callbacks from the parts of a task to the task, by a weak reference.

A bound method in one of its parts would make the task refer to itself. Only the cycle collector
frees such an object, and it looks at older ones once an hour (resilience/collector.py), while a
node whose tasks keep failing discards thousands.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def weak_callback(method: Callable[P, R]) -> Callable[P, R]:
    """A bound method, to be called by parts of its owner, hence only while the owner lives."""
    found = weakref.WeakMethod(method)

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        method = found()
        assert method is not None, "a part has outlived its owner"
        return method(*args, **kwargs)

    return call
