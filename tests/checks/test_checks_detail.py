"""Details: bounded and harmless, whatever was written (S13)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from warren.checks.detail import bounded, decode_output, one_line


@given(st.text(), st.integers(0, 40))
def test_output_is_cut_on_a_character_boundary(text: str, limit: int) -> None:
    # S13: what is left is the start of what was written, and no character is broken.
    kept = decode_output(text.encode()[:limit], limit)
    assert "\N{REPLACEMENT CHARACTER}" not in kept or any(
        not character.isprintable() or character == "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
    assert len(kept.encode()) <= limit


@given(st.text(st.characters(categories=["L", "N", "P", "S"])), st.integers(0, 40))
def test_output_cut_is_as_long_as_possible(text: str, limit: int) -> None:
    kept = decode_output(text.encode(), limit)  # S13
    assert text.startswith(kept)
    assert len(kept.encode()) > limit - 4 or kept == text


@given(st.binary(max_size=200), st.integers(0, 100))
def test_output_of_any_bytes_is_text_within_the_limit(output: bytes, limit: int) -> None:
    kept = decode_output(output, limit)  # S13
    assert len(kept.encode()) <= limit
    assert not set(kept) & {chr(code) for code in range(32)} - {"\n", "\t"}
    assert "\x7f" not in kept


@given(st.text(st.characters(codec=None, exclude_categories=[])))
def test_bounded_text_encodes_and_stays_as_it_is_when_repeated(text: str) -> None:
    once = bounded(text, 50)
    assert len(once.encode()) <= 50
    assert bounded(once, 50) == once


def test_output_with_a_broken_end_shows_it_when_nothing_was_cut() -> None:
    assert decode_output(b"ab\xe2\x82", 10) == "ab\N{REPLACEMENT CHARACTER}"
    assert decode_output(b"ab\xe2\x82", 4) == "ab"


def test_phrase_is_one_line() -> None:
    assert one_line("a\r\n b\tc\x1b", 20) == "a b c\N{REPLACEMENT CHARACTER}"
