"""Start programs: gated (instances, and checks as another user) or at once (other exec checks).

    gated:   the helper forks into the cgroup -> the child gets its program, waits at its gate
                 -> [ recorded ] -> byte -> exec
    at once: exec (`forking.py`) -> moved into its tree -> what it forked before that moved too

The helper (`starter.py`) is asked, and then only waited for: neither a fork nor the kernel's wait
for a move into a cgroup happens in the event loop. Every start has a socket of its own, whose far
end its child holds until it has become its program. So a start is never doubled: an end-of-file
without a message says that there is no child, and a new helper is asked.

A gate whose supervisor dies reads end-of-file and exits: a program never runs unrecorded. The
helper costs half a millisecond of CPU, as much as the check itself, so checks do without it where
they can and their tree closes the race (`ProcessTree.add`).

Descriptors: a program gets 0, 1 and 2, nothing else. It leads its own session.
"""

from __future__ import annotations

import array
import contextlib
import dataclasses
import errno
import marshal
import os
import re
import signal
import socket
import sys
import weakref
from collections.abc import Sequence

import trio

from warren.model.interfaces import CannotRunError, ShortageError
from warren.process import procfs
from warren.process.context import Context, cannot_exec, cannot_run
from warren.process.defaults import is_plain
from warren.process.forking import fork_and_exec
from warren.process.helper import Helper
from warren.process.readable import wait_readable

_ATTEMPTS = 3  # helpers that may end under one start
_PATIENCE = 10.0  # seconds until a helper that does not answer is killed
OPENS_WITHIN = 10.0  # seconds until a child that does not exec its program is given up
_LONGEST_WORD = 256
_ONE_HANDLE = socket.CMSG_SPACE(4)
_FAILED = re.compile(rb"E(\d+) (\w+)(?: of (\d+))?\Z")


class NotFoundError(CannotRunError):
    """There is no such program, or no such directory to run it in."""


class GatedStart:
    """A child that waits at its gate: our child. Its owner reaps it and closes `pidfd`."""

    def __init__(self, pid: int, pidfd: int, gate: socket.socket) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self._gate = gate
        self._program: _Program | None = None

    def tell(self, argv: Sequence[str], context: Context, *, output: int) -> None:
        """Send it its program once, which it prepares. Raises OSError, and CannotRunError where no
        program can be given that argv."""
        context.check(argv)
        self._program = _Program(argv, context)
        # In a file of its own the request may be as long as execve takes.
        payload = os.memfd_create("warren-start", os.MFD_CLOEXEC)
        try:
            os.write(payload, self._program.told())
            given = array.array("i", [output, payload])
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)]
            with contextlib.suppress(BrokenPipeError):  # it was killed; its end shows that
                self._gate.sendmsg([b"R"], ancillary, socket.MSG_NOSIGNAL)
        finally:
            os.close(payload)

    async def open(self, *, settle: float = 0.0) -> None:
        """Let the program run; returns once it does. Raises CannotRunError where it cannot, or
        where it does not within some seconds, as its directory is on a mount that is dead.

        It returns after `settle` seconds at the earliest: woken by the exec we would take the
        processor from a program that has just begun. Until it has returned it is unknown whether
        the program runs: kill its tree.
        """
        assert self._program is not None, "`tell` comes first"
        with self._gate:
            with contextlib.suppress(
                BrokenPipeError
            ):  # it was killed at the gate; its end shows that
                self._gate.send(b"\n", socket.MSG_NOSIGNAL)
            with trio.move_on_after(OPENS_WITHIN) as waiting:
                if settle:
                    await trio.sleep(settle)
                await wait_readable(self._gate.fileno())
            if waiting.cancelled_caught:
                self._program.refuse_silent(self.pid)
            with contextlib.suppress(ConnectionResetError):  # killed with our byte unread
                self._program.refuse(self._gate.recv(_LONGEST_WORD))

    def close(self) -> None:
        """Close the gate: if it was not opened, the program never runs. Harmless twice."""
        self._gate.close()

    def abandon(self) -> None:
        """Close the gate and release the child, which ends at once and must be reaped."""
        self.close()
        os.close(self.pidfd)


class Starter:
    """Asks the helper, which it starts at first use and again when it has ended.

    `soft_limit` of descriptors is what programs get; None leaves them the supervisor's own.
    """

    def __init__(self, *, soft_limit: int | None = None, options: Sequence[str] = ()) -> None:
        self._soft_limit = soft_limit
        self._options = options
        self._helper: Helper | None = None
        self._asking = trio.Lock()
        self._is_plain: bool | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Starter {self._helper!r}>"

    @property
    def helper_pid(self) -> int | None:
        """The helper's pid; None where there is none now."""
        return None if self._helper is None else self._helper.pid

    def open(self) -> None:
        """Start a helper, so that the first start need not wait for one. Raises CannotRunError."""
        self._is_closed = False
        self._living()

    def close(self) -> None:
        """End the helper; nothing is started any more, nor what is under way. Harmless twice."""
        self._is_closed = True
        self._let_go()

    def _let_go(self) -> None:
        """End the helper; the next start makes another."""
        if self._helper is not None:
            self._helper.close()
            self._helper = None

    async def start(
        self, argv: Sequence[str], context: Context, *, output: int, cgroup: str = ""
    ) -> GatedStart:
        """Start a resolved argv behind a gate, in that cgroup. Raises CannotRunError.

        Not cut short when cancelled: the answer takes a millisecond, and is needed to end it.
        """
        gated = await self.bear(argv[0], cgroup=cgroup)
        try:
            gated.tell(argv, context, output=output)
        except OSError as error:
            gated.abandon()
            _end_child(gated.pid)
            raise cannot_run(error, argv[0]) from error
        return gated

    async def bear(self, name: str, *, cgroup: str = "") -> GatedStart:
        """Fork a child in that cgroup, which is sent its program later. Raises CannotRunError,
        which names `name`. Not cut short when cancelled either."""
        birth = _Birth(cgroup)
        try:
            with trio.CancelScope(shield=True):
                while birth.lost < _ATTEMPTS:
                    gated = await self._attempt(birth)
                    if gated is not None:
                        return gated
        except OSError as error:
            raise cannot_run(error, name) from error
        raise CannotRunError(f"{name}: the helper that starts programs ended {_ATTEMPTS} times")

    async def _attempt(self, birth: _Birth) -> GatedStart | None:
        """Ask once; None where the helper ended before it had forked, or the child was killed as
        it was forked. A helper killed by another start counts for that one only."""
        gate, theirs = socket.socketpair()
        try:
            gate.setblocking(False)
            with theirs:
                helper = await self._ask(birth, theirs.fileno())
            gated = await self._answer(birth, gate, helper)
        except BaseException:
            gate.close()
            raise
        if gated is None:
            gate.close()
            async with self._asking:
                is_first = self._helper is helper
                if is_first and not await helper.has_ended():
                    if not birth.cgroup or birth.joins or helper.killer is not None:
                        raise helper.refusal()
                    birth.joins = True
                    return None
                birth.lost += is_first if helper.killer is None else helper.killer is birth
                if is_first:
                    self._let_go()
        return gated

    async def _ask(self, birth: _Birth, gate: int) -> Helper:
        async with self._asking:
            helper = self._living()
            with trio.move_on_after(_PATIENCE) as waiting:
                await helper.ask(gate, birth.cgroup, joins=birth.joins)
            if waiting.cancelled_caught:
                helper.kill(birth)
            return helper

    async def _answer(
        self, birth: _Birth, gate: socket.socket, helper: Helper
    ) -> GatedStart | None:
        with trio.move_on_after(_PATIENCE) as waiting:
            await wait_readable(gate.fileno())
        if waiting.cancelled_caught:
            helper.kill(birth)
            await wait_readable(gate.fileno())
        word, ancillary, _, _ = gate.recvmsg(_LONGEST_WORD, _ONE_HANDLE, socket.MSG_CMSG_CLOEXEC)
        if not word:
            return None
        if failed := _Failure.of(word):
            failed.reap()
            raise failed.error
        pid = int(word[1:])
        if not ancillary:  # there was no room for it among our descriptors
            gate.close()  # which ends the child
            _end_child(pid)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        pidfd = array.array("i", ancillary[0][2])[0]
        return GatedStart(pid, pidfd, gate)

    def _living(self) -> Helper:
        if self._is_closed:
            raise CannotRunError("nothing is started any more: the supervisor ends")
        if self._helper is None:
            try:
                self._helper = Helper(soft_limit=self._soft_limit, options=self._options)
            except OSError as error:
                what = f"{sys.executable}, the helper that starts programs"
                raise cannot_run(error, what) from error
            weakref.finalize(self, Helper.close, self._helper)
        return self._helper

    # At once

    def may_exec(self, context: Context) -> bool:
        """Whether a program with this context gets all that is promised, without the helper."""
        if self._is_plain is None:
            self._is_plain = is_plain()
        return context.credentials is None and self._is_plain

    def spawn(self, argv: Sequence[str], context: Context, *, output: int) -> int:
        """Start a resolved argv at once; returns its pid. Raises CannotRunError."""
        try:
            return fork_and_exec(argv, context, output=output, soft_limit=self._soft_limit)
        except OSError as error:
            raise cannot_exec(error, argv, context.env) from error


@dataclasses.dataclass(eq=False)
class _Birth:
    """One child to be forked. `lost` counts the helpers that have ended meanwhile.

    `joins`: it moves into its cgroup by itself. One that is killed as it is forked sends nothing;
    Linux from 6.14 on kills it where the cgroup, or our own, was once killed as a whole.
    """

    cgroup: str
    lost: int = 0
    joins: bool = False


@dataclasses.dataclass(frozen=True)
class _Failure:
    """What went wrong in the helper or a child, and at which stage; the child's pid where it could
    not send its own."""

    stage: str
    error: OSError
    pid: int | None

    @classmethod
    def of(cls, word: bytes) -> _Failure | None:
        """The failure in a message; None where it is another message."""
        failed = _FAILED.match(word)
        if failed is None:
            return None
        number = int(failed[1])
        pid = int(failed[3]) if failed[3] else None
        return cls(failed[2].decode(), OSError(number, os.strerror(number)), pid)

    def reap(self) -> None:
        """Reap a child that was not reported: it is in its cgroup until it has ended."""
        if self.pid is not None:
            _end_child(self.pid)


def _end_child(pid: int) -> None:
    """Reap a child that ends by itself: it is killed all the same, as it may have been stopped."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


class _Program:
    """What a child is sent of its program, and what its messages mean."""

    def __init__(self, argv: Sequence[str], context: Context) -> None:
        self._argv = argv
        self._context = context

    def told(self) -> bytes:
        """What a child is sent."""
        who = self._context.credentials
        return marshal.dumps(
            {
                "paths": [os.fsencode(path) for path in self._context.candidates(self._argv[0])],
                "argv": [os.fsencode(word) for word in self._argv],
                "env": {os.fsencode(k): os.fsencode(v) for k, v in self._context.env.items()},
                "cwd": os.fsencode(self._context.cwd or "/"),
                "ids": None if who is None else (who.uid, who.gid, tuple(who.groups)),
                "new_privileges": who is None or self._context.new_privileges,
            }
        )

    def refuse_silent(self, pid: int) -> None:
        """Raise CannotRunError, as its child has not become it in time; a ShortageError where the
        child has been stopped."""
        stat = procfs.read_stat(pid)
        if stat is not None and stat.is_stopped:
            raise ShortageError(f"{self._argv[0]}: its process was stopped before it began")
        where = self._context.cwd or "/"
        said = f"it or its directory {where} does not answer: want a mount that does"
        raise CannotRunError(f"{self._argv[0]}: {said}")

    def refuse(self, word: bytes) -> None:
        """Raise CannotRunError where the message says that it could not be run."""
        failed = _Failure.of(word)
        if failed is None:
            return
        name, where, error = self._argv[0], self._context.cwd or "/", failed.error
        match failed.stage:
            case "exec":
                raise cannot_exec(error, self._argv, self._context.env)
            case "find" | "cwd" if error.errno == errno.ENOENT:
                missing = where if failed.stage == "cwd" else name
                raise NotFoundError(f"{missing}: {error.strerror}")
            case "cwd":
                raise cannot_run(error, where)
            case stage:
                raise cannot_run(error, f"{name}: {stage}")
