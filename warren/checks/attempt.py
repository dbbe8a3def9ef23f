"""One attempt over the network: its timeout, and the one place that interprets foreign errors.

    with Attempt(timeout, lag) as attempt:
        ...
        attempt.answer(Result.PASS, "200 OK")
    return attempt.outcome

Invariants: after the block there is an outcome (S1); a caller's cancellation and our own bugs
pass through; an answer once set stands, whatever becomes of the connection; a fail of any kind is
an error where our own loop was stalled for a large part of the attempt (`LoopLag`).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from types import TracebackType

import httpx
import trio

from warren.checks.detail import bounded
from warren.checks.port_names import UnknownPortError
from warren.model.check import Outcome, Result
from warren.model.duration import format_duration
from warren.net.dial import words
from warren.net.resolver import NoThreadError
from warren.resilience.loop_lag import LoopLag

# Errors that say that we, not the service, are out of something.
_OURS = {
    errno.EMFILE: "no file descriptors left",
    errno.ENFILE: "no file descriptors left on this machine",
    errno.ENOBUFS: "no buffers left",
    errno.ENOMEM: "no memory left",
    errno.ENOSPC: "no room to watch a connection: fs.epoll.max_user_watches is reached",
    errno.EADDRNOTAVAIL: "no local address or port left to connect from",
    errno.EAFNOSUPPORT: "no such kind of address on this machine",
}
# The request itself is invalid: a port, an address or a name in the Host header.
_SENSELESS = (UnknownPortError, httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError)
_FOREIGN = (httpx.TransportError, OSError, *_SENSELESS)


class Attempt:
    """The block in which one attempt is made. `waiting_for` says what a timeout was spent on,
    `known` what was known of the answer by then."""

    __slots__ = ("_answered", "_lag", "_scope", "_start", "_timeout", "known", "outcome",
                 "waiting_for")  # fmt: skip

    outcome: Outcome

    def __init__(self, timeout: float, lag: LoopLag | None = None) -> None:
        self.waiting_for = "connection"
        self.known = ""
        self._answered = False
        self._timeout = timeout
        self._lag = lag or LoopLag.current()
        self._start = self._lag.begin()
        self._scope = trio.CancelScope(deadline=trio.current_time() + timeout)

    def answer(self, result: Result, detail: str) -> None:
        """Set the outcome. `detail` is bounded already."""
        self._answered = True
        self.outcome = Outcome(result, detail, self._lag.clock() - self._start)

    def __enter__(self) -> Attempt:
        self._scope.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._lag.finish()
        if isinstance(error, trio.Cancelled):
            # The innermost wait may have noted what it waited for.
            self.waiting_for = next(iter(getattr(error, "__notes__", ())), self.waiting_for)
        self._scope.__exit__(kind, error, traceback)
        if self._scope.cancelled_caught:
            self._end(Result.FAIL, f"no {self.waiting_for} within {format_duration(self._timeout)}")
            return True
        if isinstance(error, _FOREIGN):
            self._end(*_meaning(error))
            return True
        if error is None:
            self._excuse(self.outcome.duration)
        return False

    def _end(self, result: Result, detail: str) -> None:
        """The attempt was cut, or broke: set the outcome, unless there is an answer already."""
        if self._answered:
            self._excuse(self.outcome.duration)
            return
        told = f"{self.known}, but {detail}" if self.known and result is Result.FAIL else detail
        self.answer(result, bounded(told))
        is_cut = self._scope.cancelled_caught
        self._excuse(self._timeout if is_cut else self.outcome.duration, is_cut=is_cut)

    def _excuse(self, seconds: float, *, is_cut: bool = False) -> None:
        """A fail that `seconds` of the attempt led to is our own error where we were stalled."""
        outcome = self.outcome
        if outcome.result is Result.FAIL:
            end = self._start + seconds
            stalled = self._lag.blamed(self._start, end, timeout=self._timeout)
            if stalled is not None:
                self.outcome = excused(outcome, stalled, is_cut=is_cut)


def excused(fail: Outcome, stalled: float, *, is_cut: bool) -> Outcome:
    """The error in place of a fail caused by `stalled` seconds that are our own fault."""
    said = f"our own event loop was stalled for {stalled:.1f}s"
    if not is_cut:
        said = bounded(f"{said}; then: {fail.detail}")
    return Outcome(Result.ERROR, said, fail.duration)


def _meaning(error: Exception) -> tuple[Result, str]:
    if isinstance(error, _SENSELESS):
        return Result.ERROR, bounded(str(error))
    for cause in _causes(error):
        if isinstance(cause, NoThreadError):
            return Result.ERROR, bounded(str(cause))
        # A resolver's error numbers are its own: EAI_MEMORY is no errno.
        if isinstance(cause, OSError) and not isinstance(cause, socket.gaierror):
            shortage = _OURS.get(cause.errno or 0)
            if shortage is not None:
                return Result.ERROR, shortage
    return Result.FAIL, bounded(_words(error))


def _words(error: Exception) -> str:
    told = words(error) if isinstance(error, OSError) else str(error)
    return told or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
