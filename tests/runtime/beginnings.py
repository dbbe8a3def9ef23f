"""A supervisor that was started oddly: `beginnings.py DIR KIND HOW` prints what its tasks find.

HOW is `library` (ignored signals, a mask, a umask and a limit stay as they are), `settled` (it is
Warren's own program), `refused ERRNO` (a seccomp filter refuses clone3), or `owned CGROUP` (it is
a user without rights, but in a cgroup of its own: see there). Printed are JSON lines:
for the instance and for an exec check, what `REPORT` wrote; then the instance's cgroup.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import struct
import sys
from pathlib import Path

import msgspec
import trio

from tests.runtime.runtime_kit import SH, launch, nowhere
from warren.model.check import Argv
from warren.process import procfs
from warren.process.choose_tree import TreeKind
from warren.process.defaults import settle
from warren.runtime.process import ProcessRuntime

REPORT = "grep -E '^Sig(Blk|Ign):' /proc/self/status; umask; ulimit -n"
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22


def begin_oddly() -> None:
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, 500))


def refuse_clone3(code: int) -> None:
    """Let clone3 fail for this process and all its children."""
    program = b"".join(
        struct.pack("HBBI", *line)
        for line in (
            (0x20, 0, 0, 0),  # load the system call's number
            (0x15, 0, 1, 435),  # is it clone3?
            (0x06, 0, 0, 0x00050000 | code),  # then it fails
            (0x06, 0, 0, 0x7FFF0000),
        )
    )
    buffer = ctypes.create_string_buffer(program)
    filtered = struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(_PR_SET_SECCOMP, 2, ctypes.c_char_p(filtered), 0, 0) == 0


def say(value: object) -> None:
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def become_owner(cgroup: str) -> None:
    """Be a user whose cgroup this is."""
    (Path(cgroup) / "cgroup.procs").write_text("0")
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    if not os.access(sys.executable, os.X_OK):  # root's own; the helper will do with any
        sys.executable = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable


async def check_with_a_daemon(directory: str) -> None:
    """Print how trees are kept, and how many processes an exec check's daemon has left."""
    runtime = ProcessRuntime(data_dir=Path(directory), node="here")
    async with trio.open_nursery() as nursery:
        await nursery.start(runtime.serve)
        running = await runtime.start(launch("sleep", "1000"), record=nowhere)
        daemon = Argv((SH, "-c", "setsid env -i sleep 1234.5 > /dev/null 2>&1 & sleep 0.1"))
        await running.run(daemon, timeout=20, output_limit=100)
        home = procfs.cgroup2_path(running.instance.pid or 0)
        say(runtime.trees.containment)
        paths = (procfs.cgroup2_path(stat.pid) for stat in procfs.all_stats())
        say(sum(f"{path}/".startswith(f"{home}/") for path in paths))
        await running.kill()
        nursery.cancel_scope.cancel()


async def main(directory: str, kind: TreeKind, how: str, *more: str) -> None:
    soft_limit = None
    if how == "owned":
        become_owner(*more)
        await check_with_a_daemon(directory)
        return
    if how == "refused":
        refuse_clone3(int(more[0]))
    else:
        begin_oddly()
    if how == "settled":
        soft_limit = settle()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 500
    runtime = ProcessRuntime(
        data_dir=Path(directory), node="here", trees=kind, soft_limit=soft_limit
    )
    launched = launch(SH, "-c", f"{REPORT}; exec sleep 1000")
    async with trio.open_nursery() as nursery:
        await nursery.start(runtime.serve)
        running = await runtime.start(launched, record=nowhere)
        result = await running.run(Argv((SH, "-c", REPORT)), timeout=20, output_limit=4096)
        log = runtime.logs.path(launched.task)
        with trio.fail_after(20):
            while log.read_text().count("\n") < 4:  # noqa: ASYNC110
                await trio.sleep(0.001)
        say(log.read_text())
        say(result.output.decode())
        pid = running.instance.pid
        assert pid is not None
        say([procfs.cgroup2_path(pid), runtime.trees.left().get(launched.id, "")])
        await running.kill()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    kind: TreeKind = "cgroup" if sys.argv[2] == "cgroup" else "walk"
    trio.run(main, sys.argv[1], kind, *sys.argv[3:])
