"""A probe from the options of its group. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from warren.cli.options.check_options import CHECK_OPTIONS, read_check
from warren.cli.options.service_flags import ProbeFlags, flag
from warren.model.duration import Duration, parse_duration
from warren.model.errors import FieldError, SpecError
from warren.model.probe import Probe

COUNTS = ("retries", "successes")
DURATIONS = ("interval", "timeout", "start_period", "initial_delay", "fast_interval")
MOST = 1_000_000


def probe(group: str, given: ProbeFlags, old: Probe | None) -> Probe | None:
    """The probe of a group: a new one, or the old one with what was given changed.

    Numbers alone change the numbers, a check alone the check. Raises SpecError naming the option.
    """
    words = {kind: option.word for kind, option in CHECK_OPTIONS.items()}
    asked = [kind for kind, word in words.items() if getattr(given, word) is not None]
    numbers: dict[str, Any] = dict(_numbers(group, given))
    if len(asked) > 1:
        options = " and ".join(flag(group, words[kind]) for kind in asked)
        raise SpecError(options, "want one check in a group")
    if not asked and not numbers:
        return old
    if not asked and old is None:
        wanted = " or ".join(flag(group, word) for word in words.values())
        option, value = next((name, value) for name, value in numbers.items())
        raise SpecError(flag(group, option), f"there is no check: want {wanted} too", value=value)
    checks: dict[str, Any] = {}
    if asked:
        kind, word = asked[0], words[asked[0]]
        checks = dict.fromkeys(CHECK_OPTIONS)
        checks[kind] = read_check(kind, flag(group, word), getattr(given, word))
    try:
        made = Probe(**checks, **numbers) if old is None else _changed(old, checks, numbers)
    except FieldError as error:
        raise SpecError(flag(group, error.field), error.wanted, value=error.value) from None
    if made.successes != 1 and group != "readiness":
        wanted = "want 1, or --readiness-successes"
        raise SpecError(flag(group, "successes"), wanted, value=made.successes)
    return made


def _changed(old: Probe, checks: dict[str, Any], numbers: dict[str, Any]) -> Probe:
    return msgspec.structs.replace(old, **checks, **numbers)


def _numbers(group: str, given: ProbeFlags) -> Iterator[tuple[str, object]]:
    for name in DURATIONS:
        text: str | None = getattr(given, name)
        if text is not None:
            yield name, duration(flag(group, name), text)
    for name in COUNTS:
        text = getattr(given, name)
        if text is not None:
            yield name, count(flag(group, name), text, 1, MOST)


def duration(option: str, text: str) -> Duration:
    """A duration that an option was given. Raises SpecError."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise SpecError(option, str(error), value=text) from None


def count(option: str, text: str, least: int, most: int) -> int:
    """A whole number that an option was given. Raises SpecError."""
    digits = text.removeprefix("-").removeprefix("+")
    if digits.isascii() and digits.isdecimal() and len(digits) <= 12 and least <= int(text) <= most:
        return int(text)
    raise SpecError(option, f"want a whole number from {least} to {most:,}", value=text)
