"""Errors a user can cause, each naming the field, the value and what would be right (S25)."""

from __future__ import annotations


class WarrenError(Exception):
    """Base of every error that is told to a person as one line."""


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


class FieldError(ValueError):
    """A field of a value was refused; the decoder puts the place in front (SpecError)."""

    def __init__(self, field: str, value: object, wanted: str) -> None:
        self.field = field
        self.value = value
        self.wanted = wanted
        super().__init__(f"{field}: {shown(value)}: {wanted}")


def shown(value: object) -> str:
    """A value as it stands in a message: at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
