"""Real messages with some of their bytes changed: read, or refused in order, and nothing else."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.transport.wire_values import values
from warren.model.decode import DecodeError, decode
from warren.model.report import Assignments, NodeHello, Report
from warren.model.service import ServiceSpec
from warren.model.task import TaskStatus
from warren.transport.codec import record
from warren.transport.peer_budget import Budget
from warren.transport.schema import capnp, wire

MUTATIONS = 40  # of each message
INTERESTING = (0, 1, 2, 3, 4, 7, 8, 0x7F, 0x80, 0xFE, 0xFF)


def read(message: bytes, kind: type[msgspec.Struct]) -> str:
    """How it is taken."""
    schema = getattr(wire, kind.__name__)
    try:
        with schema.from_bytes(message) as reader:
            codec = record(kind, schema.schema.node.id)
            decode(codec.read(reader, Budget(len(message) // 8)), kind)
    except DecodeError as error:
        return str(error.named("refused"))
    except capnp.KjException:
        return "malformed"
    return "read"


def mutated(message: bytes, chance: random.Random) -> bytes:
    """Some bytes are others; rarely in its head, without which nothing is read."""
    changed = bytearray(message)
    first = 0 if chance.random() < 0.1 else 8
    for _ in range(chance.randrange(1, 8)):
        value = chance.choice([*INTERESTING, chance.randrange(256)])
        changed[chance.randrange(first, len(changed))] = value
    if chance.random() < 0.1:
        del changed[8 * chance.randrange(1, len(changed) // 8) :]
    return bytes(changed)


@pytest.mark.parametrize("kind", [ServiceSpec, Report, Assignments, NodeHello, TaskStatus])
@settings(
    deadline=None,
    max_examples=6,
    phases=[Phase.generate],  # the seed says it all; a large message is slow to make smaller
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_message_that_was_changed_is_read_or_refused(
    kind: type[msgspec.Struct], data: Any, seed: int
) -> None:
    schema = getattr(wire, kind.__name__)
    message = schema.new_message()
    record(kind, schema.schema.node.id).fill(message, data.draw(values(kind)))
    written = message.to_bytes()
    assert read(written, kind) == "read"
    chance = random.Random(seed)
    for _ in range(MUTATIONS):
        assert "\n" not in read(mutated(written, chance), kind)
