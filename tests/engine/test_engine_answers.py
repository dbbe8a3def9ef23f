from __future__ import annotations

import msgspec
import pytest

from warren.engine.answers import Exec, State, Statistics, count_of


@pytest.mark.parametrize("told", [b"0", b"-1", b"2147483648", b"1" * 30, b"null"])
def test_what_can_be_no_pid_is_none(told: bytes) -> None:
    assert msgspec.json.decode(b'{"Pid": %s}' % told, type=State).pid is None
    if told != b"null":
        assert msgspec.json.decode(b'{"Pid": %s}' % told, type=Exec).pid == 0


def test_a_pid_is_told() -> None:
    for pid in (1, 2**31 - 1):
        assert msgspec.json.decode(b'{"Pid": %d}' % pid, type=State).pid == pid
        assert msgspec.json.decode(b'{"Pid": %d}' % pid, type=Exec).pid == pid


@pytest.mark.parametrize(
    "told",
    [b"-1", b"9007199254740993", b"18446744073709551616", b"1" * 5000, b"1e400", b"1.5", b'"x"'],
)
def test_a_number_out_of_range_is_dropped_and_the_others_are_not(told: bytes) -> None:
    text = b'{"memory_stats": {"usage": %s, "max_usage": 7}}' % told
    memory = msgspec.json.decode(text, type=Statistics).memory_stats
    assert (count_of(memory.usage), count_of(memory.max_usage)) == (None, 7)


def test_a_number_that_is_not_told_is_none() -> None:
    assert count_of(Statistics().memory_stats.usage) is None
    assert count_of(msgspec.Raw(b"null")) is None
    assert count_of(msgspec.Raw(b"9007199254740992")) == 2**53
