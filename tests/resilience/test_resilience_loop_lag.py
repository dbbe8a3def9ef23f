"""Our own event loop's lag: a stalled loop is our error, not the service's fail (S1)."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import trio
import trio.testing

from tests.checks.check_servers import OK, answering, read_request, reset, serving
from warren.checks import Checker, LoopLag, run_check
from warren.model.check import Check, HttpCheck, Outcome, Result, TcpCheck
from warren.model.interfaces import Target

TIMEOUT = 0.5  # seconds


def stall_loop(seconds: float) -> None:
    """The fault itself: nothing else runs in this loop meanwhile."""
    time.sleep(seconds)


class Attempted:
    """Makes an attempt in the background and keeps its outcome."""

    outcome: Outcome

    async def __call__(self, check: Check, target: Target) -> None:
        self.outcome = await run_check(check, target, timeout=TIMEOUT)


@pytest.mark.parametrize("part", [0.5, 2.0])
async def test_timeout_while_our_loop_stalled_is_an_error(part: float) -> None:
    attempted = Attempted()
    async with serving(answering(then="hold")) as target, trio.open_nursery() as nursery:
        nursery.start_soon(attempted, HttpCheck(), target)
        await trio.testing.wait_all_tasks_blocked()
        stall_loop(TIMEOUT * part)  # S1
    assert attempted.outcome.result is Result.ERROR
    assert attempted.outcome.detail.startswith("our own event loop was stalled for ")


@pytest.mark.parametrize(
    ("then", "detail"),
    [("close", "closed without a response"), ("reset", "Connection reset by peer")],
)
async def test_fail_of_any_kind_while_our_loop_stalled_is_an_error(then: str, detail: str) -> None:
    async def stalling(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        stall_loop(TIMEOUT * 0.6)  # S1: the server is in our own loop
        if then == "reset":
            reset(stream)

    async with serving(stalling) as target:
        outcome = await run_check(HttpCheck(), target, timeout=TIMEOUT)
    assert outcome.result is Result.ERROR
    assert outcome.detail.startswith("our own event loop was stalled for 0.")
    assert outcome.detail.endswith(f"s; then: {detail}")


async def test_wrong_answer_while_our_loop_stalled_is_an_error_and_a_pass_is_a_pass() -> None:
    answers = iter([b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", OK])

    async def stalling(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        stall_loop(TIMEOUT * 0.6)
        await stream.send_all(next(answers))

    async with serving(stalling) as target:
        wrong = await run_check(HttpCheck(), target, timeout=TIMEOUT)
        right = await run_check(HttpCheck(), target, timeout=TIMEOUT)
    assert wrong.result is Result.ERROR
    assert wrong.detail.endswith("then: HTTP 503 Busy, want 200-399")  # S1
    assert right.result is Result.PASS  # it was answered, however late


async def test_fail_after_a_short_stall_is_a_fail() -> None:
    async def stalling(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        stall_loop(0.05)  # nearly all of the attempt, and nothing of its timeout

    async with serving(stalling) as target:
        outcome = await run_check(HttpCheck(), target, timeout=10)
    assert outcome.result is Result.FAIL


async def test_timeout_without_a_stall_is_a_fail() -> None:
    attempted = Attempted()
    async with serving(answering(then="hold")) as target, trio.open_nursery() as nursery:
        stall_loop(TIMEOUT)  # before the attempt: no excuse
        await trio.lowlevel.checkpoint()
        nursery.start_soon(attempted, HttpCheck(), target)
        await trio.testing.wait_all_tasks_blocked()
        stall_loop(TIMEOUT * 0.05)  # too short to be one
    assert attempted.outcome.result is Result.FAIL


async def test_answer_that_came_during_a_stall_is_read() -> None:
    attempted = Attempted()
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering_now = threading.Thread(target=answer_one, args=(server,))
        async with trio.open_nursery() as nursery:
            target = Target(ports={"http": server.getsockname()[1]})
            nursery.start_soon(attempted, HttpCheck(), target)
            await trio.testing.wait_all_tasks_blocked()
            answering_now.start()
            answering_now.join()
            stall_loop(TIMEOUT * 2)
    assert (attempted.outcome.result, attempted.outcome.detail) == (Result.PASS, "200 OK")


def answer_one(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(OK)


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def passes(lag: LoopLag, clock: Clock, *durations: float, waited: float = 0.0) -> None:
    for duration in durations:
        clock.now += duration
        lag.before_io_wait(waited)
        clock.now += waited
        lag.after_io_wait(waited)


def test_lag_blames_a_long_pass(clock: Clock) -> None:
    lag = LoopLag(clock)
    passes(lag, clock, 0.001, 0.3, 0.001)
    assert lag.blamed(0.0, 1.0) == pytest.approx(0.3)
    assert lag.blamed(0.0, 2.0) is None  # not a large part
    assert lag.blamed(0.25, 1.25) is None  # mostly before the attempt
    assert lag.blamed(0.2, 0.4) == pytest.approx(0.3)


def test_lag_counts_only_what_the_timeout_saw(clock: Clock) -> None:
    lag = LoopLag(clock)
    passes(lag, clock, 0.001, waited=0.9)
    passes(lag, clock, 5.0)
    assert lag.blamed(0.0, 1.0) is None  # it began when the attempt was nearly over
    assert lag.blamed(5.8, 6.8) is None  # it was over when the attempt had hardly begun
    assert lag.blamed(0.5, 1.5) == pytest.approx(5.0)


def test_lag_blames_a_kernel_that_answers_late(clock: Clock) -> None:
    lag = LoopLag(clock)  # a stopped process, a paused machine
    lag.before_io_wait(0.5)
    clock.now += 2.0
    lag.after_io_wait(0.5)
    assert lag.blamed(0.0, 1.0) == pytest.approx(1.5)


def test_lag_counts_the_pass_that_is_not_over(clock: Clock) -> None:
    lag = LoopLag(clock)  # a process that is stopped while a check runs
    passes(lag, clock, 0.001)
    clock.now += 3.0
    assert lag.blamed(0.0, clock.now, timeout=10) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("stalled", "ended", "timeout", "is_blamed"),
    [
        (3.0, 3.1, 10.0, True),
        (3.0, 13.0, 20.0, False),  # not a large part of the attempt
        (0.2, 0.21, 10.0, False),  # too short to break anything
        (0.2, 0.21, 0.5, True),  # much of what there was
    ],
)
def test_lag_blames_what_is_a_large_part_of_the_attempt_and_could_break_it(
    clock: Clock, stalled: float, ended: float, timeout: float, is_blamed: bool
) -> None:
    lag = LoopLag(clock)
    passes(lag, clock, stalled)
    passes(lag, clock, 0.0, waited=ended - stalled)
    assert (lag.blamed(0.0, ended, timeout=timeout) is not None) is is_blamed


async def test_lag_wakes_the_loop_only_while_there_are_attempts() -> None:
    lag = LoopLag.current()
    lag.begin()
    lag.finish()
    with trio.fail_after(5):
        while not lag.is_idle:
            await trio.lowlevel.checkpoint()
    lag.begin()
    assert not lag.is_idle
    lag.finish()


def test_lag_ignores_many_short_passes(clock: Clock) -> None:
    lag = LoopLag(clock)
    passes(lag, clock, *[0.005] * 1000, waited=0.001)
    assert lag.blamed(0.0, 1.0) is None
    assert repr(lag) == "<LoopLag stalls=0 longest=0.000s>"


async def test_lag_may_be_handed_in(clock: Clock) -> None:
    lag = LoopLag(clock)
    passes(lag, clock, 1.0)
    clock.now = 0.5
    async with serving(answering(then="hold")) as target:
        outcome = await Checker(lag=lag)(HttpCheck(), target, timeout=0.05)
    assert outcome.result is Result.ERROR
    assert outcome.detail == "our own event loop was stalled for 1.0s"


async def test_lag_is_one_per_run() -> None:
    assert LoopLag.current() is LoopLag.current()


def test_lag_of_one_run_is_not_anothers() -> None:
    async def current() -> LoopLag:
        await trio.lowlevel.checkpoint()
        return LoopLag.current()

    assert trio.run(current) is not trio.run(current)


async def test_a_virtual_clocks_jump_is_no_stall(autojump_clock: trio.testing.MockClock) -> None:
    lag = LoopLag.current()
    start = lag.clock()
    await trio.sleep(1000)
    assert lag.blamed(start, lag.clock()) is None
    assert autojump_clock.current_time() >= 1000
    assert TcpCheck().port is None
