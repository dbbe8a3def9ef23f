"""The thread that runs Cap'n Proto: asyncio with KJ's loop, and calls between it and Trio.

    Trio:  await portal.run(fn, ...)   ----> a task there; its value is returned
    there: await portal.answer(...)    ----> a task in a Trio nursery; its value is returned

A cancelled scope cancels the task there, and waits for it; a cancelled task there cancels the scope
of its task here. Only plain values cross: an object of Cap'n Proto that is freed in the wrong
thread crashes the process, and an exception refers to frames that refer to such objects.

There is one thread for a Trio run, however many users it has, and none without users. Its loop goes
on after an error of its own (no memory, say), with every connection; where the thread ends all the
same, its connections are lost, and the next call of `open_portal` makes a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from warren.model.errors import LinkLostError
from warren.resilience.boundary import told
from warren.resilience.conditions import Conditions
from warren.transport.mailbox import Mailbox, Selector
from warren.transport.schema import capnp
from warren.transport.stream import Stream
from warren.transport.wire_errors import WireError

T = TypeVar("T")
FIRST_PAUSE = 0.05  # seconds between two attempts of a loop that fails
LONGEST_PAUSE = 1.0
TROUBLE = "the RPC thread fails"
ENDED = "the thread that runs Cap'n Proto has ended"
_log = logging.getLogger("warren.transport")
_current: trio.lowlevel.RunVar[Portal | None] = trio.lowlevel.RunVar("warren portal", None)


@asynccontextmanager
async def open_portal(conditions: Conditions | None = None) -> AsyncGenerator[Portal, None]:
    """The portal of this Trio run: the first user starts it, the last one ends it. Its trouble is
    set in `conditions`. Raises OSError and RuntimeError where resources for a thread are short."""
    portal = _current.get()
    if portal is None or portal.ended.is_set():
        portal = Portal()
        _current.set(portal)
    portal.users += 1
    if conditions is not None:
        portal.conditions.append(conditions)
    try:
        yield portal
    finally:
        if conditions is not None:
            portal.conditions.remove(conditions)
        portal.users -= 1
        if not portal.users:
            if _current.get() is portal:
                _current.set(None)
            with trio.CancelScope(shield=True):
                await portal.stop()


class _Loop(asyncio.SelectorEventLoop):
    """Makes connections of our own kind: pycapnp passes its arguments on to this method."""

    async def create_connection(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, protocol_factory: Callable[[], Any], *_: object, stream: Stream
    ) -> tuple[Stream, Any]:
        protocol = protocol_factory()
        stream.begin(self, protocol)
        return stream, protocol


class _Errand:
    """One `run`: a Trio task that waits for a task there."""

    def __init__(self, waiter: trio.lowlevel.Task) -> None:
        self.waiter: trio.lowlevel.Task | None = waiter
        self.task: asyncio.Task[Any] | None = None
        self.is_cancelled = False
        self.value: Any = None
        self.bug: str | None = None

    def cancel(self) -> None:
        self.is_cancelled = True
        if self.task is not None:
            self.task.cancel()


class _Answer:
    """One `answer`: a task there that waits for a Trio task."""

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self.future = future
        self.scope = trio.CancelScope()

    def settle(self, value: Any) -> None:
        if not self.future.done():
            self.future.set_result(value)


class Portal:
    """The thread and its two mailboxes, started when made; to be stopped in the same Trio run.

    `ended` is set when the thread has ended, and the functions in `at_end` are called with the
    reason."""

    def __init__(self) -> None:
        self.users = 0
        self.ended = trio.Event()
        self.at_end = set[Callable[[str], None]]()
        self.conditions: list[Conditions] = []
        self._trio = trio.lowlevel.current_trio_token()
        self._selector = Selector()
        self._stop = asyncio.Event()
        self._errands = set[_Errand]()
        self._thread = threading.Thread(target=self._main, name="warren-rpc", daemon=True)
        self.there = Mailbox(self._wake_loop)
        self.here = Mailbox(self._wake_trio)
        try:
            self._loop = _Loop(self._selector)
        except BaseException:
            self._selector.close()
            raise
        try:
            self._thread.start()  # what is sent meanwhile waits for it
        except BaseException:
            self._loop.close()
            raise

    async def stop(self) -> None:
        """End everything there, and the thread."""
        self.there.put(self._stop.set)
        await self.ended.wait()
        self._thread.join()

    # Ctrl-C between two of its lines would leave the state of the two threads inconsistent.
    @trio.lowlevel.enable_ki_protection
    async def run(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run a coroutine function there; returns its plain value. Raises LinkLostError when the
        thread has ended."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.ended.is_set():
            raise LinkLostError(ENDED)
        errand = _Errand(trio.lowlevel.current_task())
        raise_cancel: Callable[[], Any] | None = None

        def abort(cancelled: Callable[[], Any]) -> trio.lowlevel.Abort:
            nonlocal raise_cancel
            raise_cancel = cancelled
            self.there.put(errand.cancel)
            return trio.lowlevel.Abort.FAILED  # until the task there has ended

        self._errands.add(errand)
        self.there.put(self._begin, errand, function, args)
        await trio.lowlevel.wait_task_rescheduled(abort)
        if errand.bug is not None:
            raise LinkLostError(errand.bug)
        if errand.is_cancelled and raise_cancel is not None:
            raise_cancel()
        return errand.value

    async def answer(
        self, nursery: Callable[[], trio.Nursery | None], function: Callable[..., Awaitable[T]],
        *args: Any,
    ) -> T | None:  # fmt: skip
        """Awaited there: run a function in a Trio nursery; returns its value. None where there is
        no nursery (any more), or where it was cancelled."""
        answer = _Answer(self._loop.create_future())
        self.here.put(self._begin_answer, nursery, answer, function, args)
        try:
            return await answer.future
        except asyncio.CancelledError:
            self.here.put(answer.scope.cancel)
            raise

    def _begin(self, errand: _Errand, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if errand.is_cancelled:
            self.here.put(self._finish, errand)
            return
        coroutine = function(*args)
        try:
            errand.task = self._loop.create_task(coroutine)
        except Exception as error:  # no memory, say: of this call alone
            coroutine.close()
            errand.bug = f"it cannot be called: {told(error)}"
            self.here.put(self._finish, errand)
            return
        errand.task.add_done_callback(functools.partial(self._note_done, errand))

    def _note_done(self, errand: _Errand, task: asyncio.Task[Any]) -> None:
        errand.task = None
        if not task.cancelled():
            errand.is_cancelled = False
            error = task.exception()
            if error is None:
                errand.value = task.result()
            else:
                _log.error("a call failed in the RPC thread, which is a bug", exc_info=error)
                errand.bug = f"a bug in Warren's transport: {type(error).__name__}: {error}"
        elif not errand.is_cancelled:
            errand.bug = "the thread that runs Cap'n Proto is ending"
        self.here.put(self._finish, errand)

    def _finish(self, errand: _Errand) -> None:
        self._errands.discard(errand)
        waiter, errand.waiter = errand.waiter, None
        if waiter is not None:
            trio.lowlevel.reschedule(waiter)

    def _begin_answer(
        self, nursery: Callable[[], trio.Nursery | None], answer: _Answer,
        function: Callable[..., Awaitable[Any]], args: tuple[Any, ...],
    ) -> None:  # fmt: skip
        found = nursery()
        try:
            if found is not None:
                found.start_soon(self._run_answer, answer, function, args)
                return
        except Exception:  # no memory, say: of this call alone
            _log.exception("a call cannot be answered")
        self.there.put(answer.settle, None)

    async def _run_answer(
        self, answer: _Answer, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]
    ) -> None:
        value = None
        try:
            with answer.scope:
                value = await function(*args)
        finally:
            self.there.put(answer.settle, value)

    def _main(self) -> None:
        why = ENDED
        try:
            asyncio.set_event_loop(self._loop)
            self._loop.set_exception_handler(_note_trouble)
            self._run_loop(self._loop.create_task(self._serve()))
        except BaseException as error:
            _log.exception("the thread that runs Cap'n Proto ends")
            why = f"{ENDED}: {told(error)}"
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()
            self.here.put(self._note_end, why)
            self._selector.catch_up()

    def _run_loop(self, served: asyncio.Task[None]) -> None:
        """Run until `served` is done. An error that ends a round of the loop ends nothing in it:
        connections go on, as an object of Cap'n Proto may outlive neither loop nor thread."""
        pause = FIRST_PAUSE
        while not served.done():
            began = time.monotonic()
            try:
                self._loop.run_until_complete(served)
            except BaseException as error:
                if served.done():
                    raise
                _log.error("in the RPC thread, which goes on: %s", told(error), exc_info=error)
                self.here.put(self._note_well_or_not, told(error))
                with contextlib.suppress(Exception):  # it is still pending, and done later
                    self._selector.catch_up()
                pause = FIRST_PAUSE if time.monotonic() > began + LONGEST_PAUSE else 2 * pause
                time.sleep(min(pause, LONGEST_PAUSE))
                self._loop.call_later(pause, self.here.put, self._note_well_or_not, None)

    def _note_well_or_not(self, message: str | None) -> None:
        for conditions in self.conditions:
            conditions.hold(TROUBLE, message)

    async def _serve(self) -> None:
        async with capnp.kj_loop():
            self.there.empty()
            await self._stop.wait()
            tasks = [errand.task for errand in list(self._errands) if errand.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _note_end(self, why: str) -> None:
        self.ended.set()
        for errand in list(self._errands):
            errand.bug = why
            self._finish(errand)
        for note in list(self.at_end):
            note(why)

    def _wake_loop(self, empty: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(empty)
        except RuntimeError:  # it is closed: no loop is left to wake
            return

    def _wake_trio(self, empty: Callable[[], None]) -> None:
        self._selector.before_waiting = functools.partial(self._wake_trio_now, empty)

    def _wake_trio_now(self, empty: Callable[[], None]) -> None:
        try:
            self._trio.run_sync_soon(empty)
        except trio.RunFinishedError:
            return


def _note_trouble(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Errors that asyncio cannot deliver. An answer to a call cancelled meanwhile is no trouble."""
    error = context.get("exception")
    if not isinstance(error, WireError):
        _log.error("in the RPC thread: %s", context.get("message"), exc_info=error)
