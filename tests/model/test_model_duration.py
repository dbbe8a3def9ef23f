"""Durations: what may be written, and what comes back."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.model.duration import LONGEST, WANTED, Duration, format_duration, parse_duration

OUTSIDE = "want a duration from 0 to 366d"


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("10", 10), ("10s", 10), ("500ms", 0.5), ("1m30s", 90), ("1.5m", 90), ("1h", 3600),
        ("1d", 86400), ("1d2h3m4s5ms6us", 93784.005006), ("0", 0), ("0s", 0), (".5", 0.5),
        ("5.", 5), ("1e3", 1000), ("1e3s", 1000), ("1e-3s", 0.001), ("+3", 3), ("  3s ", 3),
        ("-0", 0), ("366d", LONGEST), (10, 10), (0.25, 0.25), (0, 0), ("007s", 7),
    ],
)  # fmt: skip
def test_duration_reads_the_written_forms(written: str | float, seconds: float) -> None:
    assert parse_duration(written) == Duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    ["", " ", "s", "ten", "10 s", "10x", "10S", "-5s", "1m-30s", "1m 30s", "1m30", "30s1", "1,5s",
     "inf", "nan", "NaN", "infinity", "1_000", "--1", "1e", "0x10", "1:30", "1s\n2", "\u0661\u0660",
     "\u0661\u0660s", "1" * 101, True, False],
)  # fmt: skip
def test_duration_refuses_what_is_none(written: str | float) -> None:
    with pytest.raises(ValueError, match=r"^want a duration such as 10, 10s") as caught:
        parse_duration(written)
    assert str(caught.value) == WANTED


@pytest.mark.parametrize(
    "written",
    ["-1", "367d", "366d1s", "1e9", "1e999", "1e999s", "1e308s1e308s", -1, -0.001, 10**400,
     math.inf, -math.inf, math.nan, LONGEST + 1],
)  # fmt: skip
def test_duration_refuses_what_is_out_of_range(written: str | float) -> None:
    with pytest.raises(ValueError, match=f"^{OUTSIDE}$"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0s"), (10, "10s"), (60, "1m"), (90, "90s"), (3600, "1h"), (86400, "1d"), (7200, "2h"),
     (0.5, "500ms"), (0.001, "1ms"), (1.5, "1.5s"), (0.0005, "0.0005s"),
     (1e-7, "1e-07s"), (100, "100s")],
)  # fmt: skip
def test_duration_is_written_as_a_person_would(seconds: float, written: str) -> None:
    assert format_duration(seconds) == written
    assert str(Duration(seconds)) == repr(Duration(seconds)) == written


@given(st.floats(0, LONGEST) | st.integers(0, int(LONGEST)))
def test_duration_written_and_read_is_the_same(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds
    assert parse_duration(seconds) == seconds


@given(st.integers(0, 999))
def test_duration_of_milliseconds_is_written_in_them(millis: int) -> None:
    written = format_duration(float(f"{millis}e-3"))
    assert written == (f"{millis}ms" if millis else "0s")


@given(st.text() | st.text("0123456789.emsuhd-+ ", max_size=12))
def test_duration_of_any_text_is_one_or_is_refused(text: str) -> None:
    try:
        seconds, said = parse_duration(text), None
    except ValueError as error:
        seconds, said = 0, str(error)
    assert said in (None, WANTED, OUTSIDE)
    assert 0 <= seconds <= LONGEST


@pytest.mark.parametrize("written", [None, True, [], {}, b"1s"])
def test_duration_is_of_a_number_or_a_text(written: Any) -> None:
    with pytest.raises(ValueError, match=WANTED[:30]):
        Duration(written)
