"""The thread that runs Cap'n Proto: asyncio with KJ's loop, and the way there and back.

    Trio:  await portal.run(fn, ...)   ----> a task there; its value comes back
    there: await portal.answer(...)    ----> a task in a Trio nursery; its value comes back

A cancelled scope cancels the task there, and waits for it; a cancelled task there cancels the scope
of its task here. Only plain values cross: an object of Cap'n Proto that dies in the wrong thread
takes the process with it, and an exception holds on to frames that hold on to such objects.

There is one thread for a Trio run, however many use it, and none when nobody does.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import selectors
import threading
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from warren.model.errors import LinkLostError
from warren.transport.faults import WireError
from warren.transport.schema import capnp
from warren.transport.stream import Stream

T = TypeVar("T")
ROUNDS_UNASKED = 4  # so many rounds of callbacks before the kernel is asked again
_log = logging.getLogger("warren.transport")
_current: trio.lowlevel.RunVar[Portal | None] = trio.lowlevel.RunVar("warren portal", None)


@asynccontextmanager
async def open_portal() -> AsyncGenerator[Portal, None]:
    """The portal of this Trio run: the first who asks starts it, the last who leaves ends it."""
    portal = _current.get()
    if portal is None:
        portal = Portal()
        _current.set(portal)
        portal.start()
    portal.users += 1
    try:
        yield portal
    finally:
        portal.users -= 1
        if not portal.users:
            _current.set(None)
            with trio.CancelScope(shield=True):
                await portal.stop()


class Mailbox:
    """Calls for another thread, made there in order. `wake` asks that thread to `empty` it.

    Putting is safe in any thread and at any moment, a finalizer's too: it takes no lock.
    """

    def __init__(self, wake: Callable[[Callable[[], None]], None]) -> None:
        self._wake = wake
        self._calls = deque[tuple[Callable[..., object], tuple[Any, ...]]]()
        self._is_awake = False

    def put(self, function: Callable[..., object], *args: Any) -> None:
        """Call it there, some time soon; never, if that thread's loop has ended."""
        self._calls.append((function, args))
        if not self._is_awake:
            self._is_awake = True
            self._wake(self.empty)

    def empty(self) -> None:
        """Make the calls. Never raises: that would end the whole Trio run."""
        self._is_awake = False  # before the first call is taken: what is put from now on wakes
        for _ in range(len(self._calls)):
            function, args = self._calls.popleft()
            try:
                function(*args)
            except Exception:
                _log.exception("a call between the threads failed, which is a bug")
        if self._calls and not self._is_awake:
            self._is_awake = True
            self._wake(self.empty)


class _Selector(selectors.EpollSelector):
    """Asks the kernel only now and then while there are callbacks to run: asyncio asks before each
    round of them, and a call takes seven. Before it waits, it does what was put off till then."""

    def __init__(self) -> None:
        super().__init__()
        self.before_waiting: Callable[[], None] | None = None
        self._unasked = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0 and self._unasked < ROUNDS_UNASKED:
            self._unasked += 1
            return []
        self._unasked = 0
        self.catch_up()
        return super().select(timeout)

    def catch_up(self) -> None:
        """Do what was put off."""
        if self.before_waiting is not None:
            before, self.before_waiting = self.before_waiting, None
            before()


class _Loop(asyncio.SelectorEventLoop):
    """Lets a connection be one of ours: pycapnp asks the loop for it, with what it was given."""

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
    """The thread and its two mailboxes. Made, started and stopped within one Trio run."""

    def __init__(self) -> None:
        self.users = 0
        self._trio = trio.lowlevel.current_trio_token()
        self._selector = _Selector()
        self._loop = _Loop(self._selector)
        self._stop = asyncio.Event()
        self._ended = trio.Event()
        self._errands = set[_Errand]()
        self._thread = threading.Thread(target=self._main, name="warren-rpc", daemon=True)
        self.there = Mailbox(self._wake_loop)
        self.here = Mailbox(self._wake_trio)

    def start(self) -> None:
        """Start the thread. What is sent meanwhile waits for it."""
        self._thread.start()

    async def stop(self) -> None:
        """End everything there, and the thread."""
        self.there.put(self._stop.set)
        await self._ended.wait()
        self._thread.join()

    # Ctrl-C between two of its lines would leave one thread with half of what the other knows.
    @trio.lowlevel.enable_ki_protection
    async def run(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run a coroutine function there; gives its plain value. Raises LinkLostError when the
        thread has ended."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._ended.is_set():
            raise LinkLostError("the thread that runs Cap'n Proto has ended")
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
        """Awaited there: run a function in a Trio nursery; gives its value. None where there is no
        nursery (any more), or where it was cancelled."""
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
        errand.task = self._loop.create_task(function(*args))
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
        if found is None:
            self.there.put(answer.settle, None)
        else:
            found.start_soon(self._run_answer, answer, function, args)

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
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(_note_trouble)
        try:
            self._loop.run_until_complete(self._serve())
        except Exception:
            _log.exception("the thread that runs Cap'n Proto ended by a bug")
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()
            self.here.put(self._note_end)
            self._selector.catch_up()

    async def _serve(self) -> None:
        async with capnp.kj_loop():
            self.there.empty()
            await self._stop.wait()
            tasks = [errand.task for errand in list(self._errands) if errand.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _note_end(self) -> None:
        self._ended.set()
        for errand in list(self._errands):
            errand.bug = "the thread that runs Cap'n Proto has ended"
            self._finish(errand)

    def _wake_loop(self, empty: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(empty)
        except RuntimeError:  # it is closed: nobody is there to hear
            return

    def _wake_trio(self, empty: Callable[[], None]) -> None:
        self._selector.before_waiting = functools.partial(self._wake_trio_now, empty)

    def _wake_trio_now(self, empty: Callable[[], None]) -> None:
        try:
            self._trio.run_sync_soon(empty)
        except trio.RunFinishedError:
            return


def _note_trouble(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio has nobody to tell. An answer to who has cancelled his call is no trouble."""
    error = context.get("exception")
    if not isinstance(error, WireError):
        _log.error("in the RPC thread: %s", context.get("message"), exc_info=error)
