"""Durations: seconds as a float, written `10`, `10s`, `500ms`, `1m30s`."""

from __future__ import annotations

import math
import re

UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
PARTS = {"ms": 1e3, "us": 1e6}  # in a second: 9 / 1e3 is 0.009, 9 * 1e-3 is not
LONGEST = 366 * 86400.0
LONGEST_TEXT = 100  # characters; the pattern is slow on what is endless
WANTED = "want a duration such as 10, 10s, 500ms or 1m30s (a bare number is seconds)"

_PART = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)(ms|us|d|h|m|s)", re.ASCII)
_BARE = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\Z", re.ASCII | re.IGNORECASE)


class Duration(float):
    """Seconds, 0 to a year. `str()` is the written form and parses back to the same value."""

    def __new__(cls, written: float | str) -> Duration:
        """Of seconds, or of the written form. Raises ValueError saying what would be right."""
        seconds = _seconds_in(written)
        if not 0 <= seconds <= LONGEST:  # NaN is neither
            raise ValueError("want a duration from 0 to 366d")
        return super().__new__(cls, seconds)

    def __str__(self) -> str:
        return format_duration(self)

    def __repr__(self) -> str:
        return format_duration(self)


def parse_duration(written: str | float) -> Duration:
    """Read the written form. Raises ValueError saying what would be right."""
    return Duration(written)


def _seconds_in(written: object) -> float:
    if isinstance(written, int | float) and not isinstance(written, bool):
        return written
    text = written.strip() if isinstance(written, str) else ""
    if len(text) > LONGEST_TEXT:
        raise ValueError(WANTED)
    if _BARE.match(text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(WANTED)
    # Each part is within bounds before the sum, which would overflow otherwise.
    return math.fsum(Duration(_seconds(number, unit)) for number, unit in parts)


def _seconds(number: str, unit: str) -> float:
    return float(number) * UNITS[unit] if unit in UNITS else float(number) / PARTS[unit]


def format_duration(seconds: float) -> str:
    """The written form of seconds, exact: `parse_duration` returns the same float."""
    for unit in ("d", "h", "m"):
        count = seconds / UNITS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    if seconds == int(seconds):
        return f"{int(seconds)}s"
    millis = round(seconds * 1000)
    if millis < 1000 and millis / PARTS["ms"] == seconds:
        return f"{millis}ms"
    return f"{float(seconds)!r}s"
