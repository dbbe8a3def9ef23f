"""What a node says it has: by affinity, and by the limits of its cgroup and those above."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from warren.process.machine import own_cgroups, usable_cpus, usable_memory

CORES = float(len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000\n", CORES),
        ("50000 100000\n", 0.5),
        ("9000000 100000\n", CORES),
        ("", CORES),
        ("what 0", CORES),
        ("1 0", CORES),
    ],
)
def test_cores_are_those_of_the_affinity_or_fewer_by_quota(
    tmp_path: Path, quota: str, cores: float
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    assert usable_cpus([tmp_path, tmp_path / "absent"]) == cores
    assert usable_cpus([]) == CORES


@pytest.mark.parametrize("above", [False, True])
def test_memory_is_the_machines_or_less_by_the_limit_of_a_cgroup(
    tmp_path: Path, above: bool
) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    total = usable_memory([])
    assert total > 1 << 20
    for text, memory in (("max\n", total), ("1048576\n", 1 << 20), (f"{2 * total}\n", total)):
        ((tmp_path if above else inner) / "memory.max").write_text(text)
        assert usable_memory([inner, tmp_path]) == memory


def test_what_this_process_may_use_is_known() -> None:
    assert 0 < usable_cpus() <= CORES
    assert 0 < usable_memory() <= usable_memory([])
    assert all(cgroup.is_absolute() for cgroup in own_cgroups())
