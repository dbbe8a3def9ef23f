"""The supervisor's end of the helper that starts programs: its process, and asking it.

The helper is started from the source that was read with this module: whatever is installed
meanwhile, it has the supervisor's own version.
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

from warren.model.interfaces import ShortageError

_DYING = 0.1  # seconds, and as many again, from a last descriptor's end to the process's
_SCRIPT = Path(__file__).with_name("starter.py").read_bytes()


class Helper:
    """One helper, from its start to `close`. Raises OSError where resources for it are short."""

    def __init__(self, *, soft_limit: int | None, options: Sequence[str] = ()) -> None:
        self.killer: object = None
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.setblocking(False)
            with theirs:
                self._process = _start(theirs.fileno(), soft_limit, options)
        except BaseException:
            self._socket.close()
            raise

    def __repr__(self) -> str:
        return f"<Helper {self.pid}>"

    @property
    def pid(self) -> int:
        """Its pid."""
        return self._process.pid

    async def ask(self, gate: int, cgroup: str, *, joins: bool = False) -> None:
        """Ask for a child that gets this end of its start's socket, forked into that cgroup or
        joining it. Where the helper has ended, only we hold that end then.

        One task at a time. Raises OSError.
        """
        word = b"J" if joins else b"B"
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [gate]))]
        while True:
            try:
                self._socket.sendmsg([word, os.fsencode(cgroup)], ancillary, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._socket)
            except (BrokenPipeError, ConnectionResetError):
                return
            else:
                return

    def kill(self, killer: object) -> None:
        """Kill it: requests it has not carried out end with it."""
        self.killer = self.killer or killer
        self._process.kill()

    async def has_ended(self) -> bool:
        """Whether it has, or is about to: its descriptors are closed a moment before."""
        pause = 0.001
        while self._process.poll() is None:
            if pause > _DYING:
                return False
            await trio.sleep(pause)
            pause *= 2
        return True

    def refusal(self) -> Exception:
        """Why a start has got no answer from it though it has not ended."""
        if self.killer is not None:  # a busy machine, or it waits in the kernel
            return ShortageError("the helper that starts programs was killed and is not gone yet")
        return OSError(errno.EMFILE, os.strerror(errno.EMFILE))  # it had no room for the socket

    def close(self) -> None:
        """End it and reap it. Harmless twice."""
        self._socket.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()


def _start(control: int, soft_limit: int | None, options: Sequence[str]) -> subprocess.Popen[bytes]:
    script = os.memfd_create("warren-starter", os.MFD_CLOEXEC)
    try:
        os.write(script, _SCRIPT)
        limit = "-" if soft_limit is None else str(soft_limit)
        return subprocess.Popen(
            [sys.executable, "-I", "-S", f"/dev/fd/{script}", limit, *options],
            stdin=control,
            stdout=subprocess.DEVNULL,
            pass_fds=[script],
            cwd="/",
            env={"PATH": os.defpath},  # not ours; and none at all would look half-started
            start_new_session=True,
        )
    finally:
        os.close(script)
