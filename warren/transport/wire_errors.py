"""Errors on the wire: a word for the kind, and one line for people.

Any other exception than a WarrenError is a bug here. It is logged here, and the caller learns no
more than that.
"""

from __future__ import annotations

import logging
import os
import re
from typing import Any, NamedTuple, cast

from warren.model.errors import (
    ConflictError,
    DeniedError,
    InvalidError,
    LinkLostError,
    NotFoundError,
    OverloadedError,
    RefusedError,
    SpecError,
    UnavailableError,
    UnsupportedError,
    WarrenError,
)

KINDS: dict[str, type[WarrenError]] = {
    "invalid": InvalidError,
    "not-found": NotFoundError,
    "conflict": ConflictError,
    "denied": DeniedError,
    "unavailable": UnavailableError,
    "overloaded": OverloadedError,
    "refused": RefusedError,
    "unsupported": UnsupportedError,
    "failed": WarrenError,
    "internal": WarrenError,
    "lost": LinkLostError,  # the connection is gone, or about to be
}
_WORDS = {kind: word for word, kind in reversed(KINDS.items())}
# Libraries put these before what the far side wrote.
_PREFIX = re.compile(r"\A(?:remote exception: |message = )*")
_log = logging.getLogger("warren.transport")


class WireFault(NamedTuple):
    """An error in transit."""

    word: str
    message: str

    def error(self, by: str) -> WarrenError:
        """What the caller is to raise; the fault came from this side."""
        kind = KINDS[self.word]
        if kind is InvalidError:
            return InvalidError(self.message, _field_of(self.message))
        error = kind(self.message)
        if isinstance(error, DeniedError):
            error.by = by
        return error


def fault_of(error: Exception, doing: str) -> WireFault:
    """What the caller gets for an error in a handler."""
    if isinstance(error, SpecError):
        return WireFault("invalid", str(error))
    if isinstance(error, DeniedError) and error.by:  # to us, when we asked for the caller
        return WireFault("unavailable", f"{error.by} denied it to this side: {error}")
    is_denied = isinstance(error, DeniedError)  # by us, to the caller
    if isinstance(error, LinkLostError) and not is_denied:  # another link than the caller's
        return WireFault("unavailable", str(error))
    for kind in type(error).__mro__:
        if kind in _WORDS:
            return WireFault(_WORDS[kind], str(error))
    _log.error("%s failed, which is a bug: %s", doing, error, exc_info=error)
    return WireFault(
        "internal", f"{doing} failed by a bug in Warren; the log of the far side says more"
    )


def _field_of(message: str) -> str:
    """The field that an `invalid` message begins with, if it does; see docs/protocol.md."""
    place, colon, _ = message.partition(": ")
    return place if colon and " " not in place else ""


def parse_fault(description: str) -> WireFault:
    """Read a fault from an exception's description; any other text is of kind `failed`."""
    text = _PREFIX.sub("", description, count=1).rstrip("\n")
    word, _, message = text.partition(": ")
    return WireFault(word, message) if word in KINDS else WireFault("failed", text)


async def answer(
    target: object, name: str, arguments: dict[str, Any]
) -> tuple[WireFault | None, Any]:
    """Call a method of an object: the fault, or its value."""
    try:
        return None, await getattr(target, name)(**arguments)
    except Exception as error:  # a handler's bug ends its call, and nothing else
        return fault_of(error, name), None


class WireError(Exception):
    """Raised in a server's method so that pycapnp sends `word: message` and nothing else.

    pycapnp formats an exception with its traceback, which must not reach the far side and which
    this class suppresses, and with its class's name, which is the word.
    """

    __traceback__ = property(lambda _: None)  # pyright: ignore


_WIRE = {word: type(word, (WireError,), {"__module__": "builtins"}) for word in KINDS}


def wire_error(fault: WireFault) -> WireError:
    """The fault as the exception that a server's method raises."""
    text = fault.message.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
    return _WIRE[fault.word](text)


def why(error: OSError) -> str:
    """The kernel's message. Trio chains those of several attempts behind one error."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = cast("BaseExceptionGroup[BaseException]", cause).exceptions[0]
    if error.errno is None and isinstance(cause, OSError):
        error = cause
    if error.errno is not None and error.errno > 0:  # the resolver's are below
        return os.strerror(error.errno).lower()
    return error.strerror or str(error)
