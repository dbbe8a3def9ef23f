"""The files of a cgroup: which are written for a limit, and what is read of them (S27)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from warren.model.byte_size import ByteSize
from warren.model.interfaces import CannotRunError
from warren.model.service import Resources
from warren.model.task import MemoryKill, Reason
from warren.model.usage import Usage
from warren.process.cgroup_limits import limit_files, memory_kill_of, usage_of, write_limits
from warren.process.controllers import LEAF, root_of, take_controllers
from warren.process.exit_status import end_of
from warren.process.proc_walk import ProcWalks
from warren.process.reaper import Reaper

M = 1 << 20
ALL = Resources(memory=ByteSize(64 * M), cpu=0.25, pids=20)
KILLED = 9  # a wait status


def cgroup(directory: Path, files: Mapping[str, str]) -> str:
    for name, text in files.items():
        (directory / name).write_text(text)
    return str(directory)


def test_limits_are_written_in_order_the_group_before_the_limit() -> None:
    assert [(file.name, file.text) for file in limit_files(ALL)] == [
        ("memory.oom.group", "1"),
        ("memory.swap.max", "0"),
        ("memory.max", "67108864"),
        ("cpu.max", "25000 100000"),
        ("pids.max", "20"),
    ]
    assert list(limit_files(Resources())) == []
    assert [file.text for file in limit_files(Resources(cpu=0.01))] == ["1000 100000"]


def test_a_kernel_without_swap_accounting_holds_the_limit_all_the_same(tmp_path: Path) -> None:
    there = {"memory.max": "max", "cpu.max": "max 100000", "pids.max": "max"}
    write_limits(cgroup(tmp_path, there), ALL)
    assert {path.name for path in tmp_path.iterdir()} == {*there}  # nothing is created
    assert (tmp_path / "memory.max").read_text() == "67108864"
    assert (tmp_path / "pids.max").read_text().startswith("20")


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        (
            "memory.max",
            "resources.memory: 64M: cannot be held here: memory.max refuses it: No such",
        ),
        ("cpu.max", "resources.cpu: 0.25: cannot be held here: cpu.max refuses it: No such file"),
        ("pids.max", "resources.pids: 20: cannot be held here: pids.max refuses it: No such file"),
    ],
)
def test_a_limit_that_cannot_be_held_is_a_start_that_says_which(
    tmp_path: Path, lacking: str, said: str
) -> None:
    there = {name: "max" for name in ("memory.max", "cpu.max", "pids.max") if name != lacking}
    with pytest.raises(CannotRunError, match=f"^{said}"):
        write_limits(cgroup(tmp_path, there), ALL)


def test_usage_is_what_the_files_say(tmp_path: Path) -> None:
    files = {
        "memory.current": "1048576\n",
        "memory.peak": "2097152\n",
        "cpu.stat": "usage_usec 1500000\nuser_usec 1\nthrottled_usec 250000\n",
        "pids.current": "3\n",
        "pids.events": "max 7\n",
    }
    assert usage_of(cgroup(tmp_path, files)) == Usage(
        memory_used=M,
        memory_peak=2 * M,
        cpu_seconds=1.5,
        throttled_seconds=0.25,
        processes=3,
        processes_refused=7,
    )


def test_what_a_cgroup_without_controllers_does_not_tell_is_not_known(tmp_path: Path) -> None:
    assert usage_of(cgroup(tmp_path, {"cpu.stat": "usage_usec 2000000\n"})) == Usage(cpu_seconds=2)
    assert usage_of(str(tmp_path / "gone")) is None
    assert memory_kill_of(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"memory.max": "67108864\n", "memory.peak": "67100000\n"}, "limit 64 MiB, peak 64 MiB"),
        ({"memory.max": "67108864\n"}, "limit 64 MiB"),
        ({"memory.max": "max\n", "memory.peak": "1073741824\n"},
         "the machine's, as it has no limit, peak 1 GiB"),
    ],
)  # fmt: skip
def test_an_end_for_memory_says_limit_and_peak(  # S18
    tmp_path: Path, files: Mapping[str, str], message: str
) -> None:
    path = cgroup(tmp_path, {**files, "memory.events": "low 0\noom 2\noom_kill 2\n"})
    end = end_of(KILLED, memory_kill_of(path))
    assert (end.reason, end.signal) == (Reason.OUT_OF_MEMORY, "SIGKILL")
    assert end.message == f"out of memory: {message}"
    assert end.memory is not None
    assert end.memory.killed == 2


def test_an_end_after_which_something_else_was_killed_is_its_own() -> None:
    kill = MemoryKill(killed=1, limit_bytes=None)
    assert end_of(15, kill).reason is Reason.SIGNALED
    assert end_of(3 << 8, kill).reason is Reason.EXITED
    assert end_of(None, kill).reason is Reason.LOST
    assert end_of(None, MemoryKill(killed=1, limit_bytes=M)).reason is Reason.OUT_OF_MEMORY


def test_a_root_without_controllers_is_left_alone_and_says_so(tmp_path: Path) -> None:
    cgroup(tmp_path, {"cgroup.controllers": "hugetlb\n", "cgroup.subtree_control": ""})
    taken = take_controllers(tmp_path)
    assert taken.given == frozenset()
    assert not taken.has_moved
    assert taken.lacking == "cgroup2 has none of their controllers here"
    assert (tmp_path / "cgroup.subtree_control").read_text() == ""
    assert root_of(tmp_path / LEAF) == tmp_path == root_of(tmp_path)


def test_a_root_that_gives_only_some_says_which_it_does_not(tmp_path: Path) -> None:
    # A file that is no cgroup's keeps what is written last, and so gives no controller.
    cgroup(tmp_path, {"cgroup.controllers": "memory pids io", "cgroup.subtree_control": ""})
    assert take_controllers(tmp_path).lacking == f"memory, cpu, pids in {tmp_path}: not delegated"


def refused(root: Path, processes: str) -> str:
    """Why this process is not moved out of a cgroup with these processes in it."""
    root.mkdir(exist_ok=True)
    files = {"cgroup.controllers": "memory cpu pids", "cgroup.subtree_control": ""}
    cgroup(root, {**files, "cgroup.type": "domain\n", "cgroup.procs": processes})
    taken = take_controllers(root)
    assert (taken.given, taken.has_moved) == (frozenset(), False)
    assert (root / "cgroup.subtree_control").read_text() == ""  # no threaded cgroup was made of it
    assert (root / "cgroup.procs").read_text() == processes
    return taken.lacking


def test_a_process_leaves_neither_others_nor_the_cgroup_of_a_service(tmp_path: Path) -> None:
    own, box, unit = str(os.getpid()), tmp_path / "box", tmp_path / "warren.service"
    why = f"other processes are in its cgroup {box}; want it started in a cgroup of its own"
    assert refused(box, f"1\n{own}\n").startswith(why)
    assert refused(unit, f"{own}\n") == f"want DelegateSubgroup={LEAF} in its unit warren.service"
    assert refused(tmp_path / "plain", own) == f"{tmp_path / 'plain'}: No such file or directory"


def test_a_move_that_was_of_no_use_is_taken_back(tmp_path: Path) -> None:
    files = {"cgroup.controllers": "memory cpu pids", "cgroup.subtree_control": ""}
    cgroup(tmp_path, {**files, "cgroup.type": "domain", "cgroup.procs": f"{os.getpid()}\n"})
    (tmp_path / LEAF).mkdir()
    leaf = tmp_path / LEAF / "cgroup.procs"
    leaf.write_text("")
    (tmp_path / "cgroup.subtree_control").unlink()  # nothing can be given then
    taken = take_controllers(tmp_path)
    assert (taken.given, taken.has_moved) == (frozenset(), False)
    assert leaf.read_text() == str(os.getpid())  # it was there, and then back again
    assert (tmp_path / "cgroup.procs").read_text().split() == [str(os.getpid())]


def test_a_tree_without_a_cgroup_holds_no_limit() -> None:
    walks = ProcWalks(Reaper())
    assert walks.limits == frozenset()
    with pytest.raises(CannotRunError, match=r"^resources: \{'pids': 2\}: no limit holds without"):
        walks.create().limit(Resources(pids=2))
