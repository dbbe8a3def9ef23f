"""A limit of memory: what may be written, and what comes back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.model.byte_size import LARGEST, SIZE_WANTED, ByteSize, parse_size, size_in_words
from warren.model.decode import decode, from_json, plain, to_json
from warren.model.service import Resources

M, G = 1 << 20, 1 << 30


@pytest.mark.parametrize("count", [-1, 0, LARGEST + 1, "0", "x", "", None, True, 1.5])
def test_a_size_out_of_range_is_refused(count: Any) -> None:
    with pytest.raises(ValueError, match=f"^{SIZE_WANTED}$"):
        ByteSize(count)


def test_a_size_is_made_of_its_written_form_too() -> None:
    assert ByteSize("64M") == ByteSize(64 * M) == 64 * M


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1000, "1000 B"), (1024, "1 KiB"), (512 * M, "512 MiB"), (3 * G // 2, "1.5 GiB"),
     (G + 1, "1 GiB"), (64 * M - 1, "64 MiB"), (8192 << 40, "8192 TiB")],
)  # fmt: skip
def test_a_size_is_shown_to_people_to_a_tenth(count: int, shown: str) -> None:
    assert size_in_words(count) == shown


@given(st.integers(6 * M, LARGEST))
def test_a_limit_is_kept_in_every_form(count: int) -> None:
    limited = Resources(memory=ByteSize(count))
    assert decode(plain(limited), Resources) == limited
    assert from_json(to_json(limited), Resources) == limited
    assert type(decode({"memory": count}, Resources).memory) is ByteSize
    assert parse_size(str(limited.memory)) == count


def test_a_limit_is_in_a_file_as_a_person_writes_it() -> None:
    assert plain(Resources(memory=ByteSize(512 * M))) == {"memory": "512M"}
    assert msgspec.json.decode(to_json(Resources(memory=ByteSize(G)))) == {"memory": "1G"}
