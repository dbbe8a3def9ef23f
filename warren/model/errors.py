"""Errors a user can cause, each naming the field, the value and what would be right (S25)."""

from __future__ import annotations


class WarrenError(Exception):
    """Base of every error that is shown to a user as one line."""


class SpecError(WarrenError):
    """A value was refused. `str()` is one line: place, field, value and what would be right.

    `field` is a dotted path such as `services.web.liveness.interval`; `line` counts from 1.
    """

    def __init__(
        self,
        field: str,
        wanted: str,
        *,
        value: object = ...,
        line: int | None = None,
        source: str | None = None,
    ) -> None:
        self.field = field
        self.wanted = wanted
        self.value = value
        self.line = line
        self.source = source
        super().__init__(field, wanted)

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.source, self.line) if part is not None)
        value = "" if self.value is ... or self.value is None else f" {shown(self.value)}:"
        return f"{place + ': ' if place else ''}{self.field}:{value} {self.wanted}"


class RefusedError(WarrenError):
    """Something asked for was refused. `str()` is one line. Its kind is its class, on both sides
    of a wire."""


class InvalidError(RefusedError):
    """What was asked for is wrong: a SpecError that has crossed a wire. `field` is the path of
    what is wrong, with which `str()` begins; empty where there is none."""

    def __init__(self, message: str, field: str = "") -> None:
        self.field = field
        super().__init__(message)


class NotFoundError(RefusedError):
    """There is no such service, task or node."""


class ConflictError(RefusedError):
    """It was changed meanwhile, exists already, or is being removed."""


class UnavailableError(RefusedError):
    """Not now: the disk is full, or the node asked does not answer. Worth trying again."""


class OverloadedError(RefusedError):
    """Too many calls or connections at once. Worth trying again, later."""


class LinkLostError(WarrenError):
    """The far side has gone, or never was there. `str()` says which and why."""


class DeniedError(LinkLostError):
    """The far side may be there, and we may not ask it: not at all, or not for that capability.
    `by` is that side where it said so itself, in words for people; else empty."""

    by = ""


class UnsupportedError(WarrenError):
    """The far side is of another version and has no such method."""


class FieldError(SpecError, ValueError):
    """A field of a value was refused as it was made; the decoder puts the place in front."""

    def __init__(self, field: str, value: object, wanted: str) -> None:
        super().__init__(field, wanted, value=value)


def shown(value: object) -> str:
    """A value as shown in a message: at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
