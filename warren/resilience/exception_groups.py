"""Nurseries put what a block raises into groups, though most often it is one error."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast


@contextmanager
def unwrapped() -> Generator[None, None, None]:
    """Raise the one error of a group of one, however nested; a group of many stays one."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = [*_leaves(group)]
        if len(leaves) > 1:
            raise
        raise leaves[0] from leaves[0].__cause__


@contextmanager
def first_of_group() -> Generator[None, None, None]:
    """Raise from a group the error that a person should see."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = [*_leaves(group)]
        interrupt = [leaf for leaf in leaves if isinstance(leaf, KeyboardInterrupt)]
        raise (interrupt or leaves)[0] from None


def _leaves(error: BaseException) -> Generator[BaseException, None, None]:
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(inner)
    else:
        yield error
