from __future__ import annotations

from warren.process.oom_log import is_kill, kills_in

RECORD = (
    b"6,1234,77199611411,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=libpod-ab,"
    b"mems_allowed=0,oom_memcg=/x,task_memcg=/libpod_parent/libpod-ab/inner,task=sh,pid=7,uid=0\n"
)


def test_a_kill_is_of_the_cgroup_that_its_process_was_in() -> None:
    assert is_kill(RECORD, b"libpod-ab")
    assert not is_kill(RECORD, b"/x")  # whose limit it was, which may be one above
    assert not is_kill(RECORD, b"pid=7")
    assert not is_kill(RECORD.replace(b"oom-kill:", b"oom: "), b"libpod-ab")


def test_of_a_cgroup_that_was_never_there_nothing_was_killed() -> None:
    assert kills_in("no-such-cgroup-anywhere") == 0
