"""Names are looked up in threads of their own, of which no name takes all (S1, S10)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from functools import partial

import pytest
import trio

from tests.checks.check_servers import CALM, OK, Found, answering, resolve_by, serving
from tests.processes import wait_until
from warren.model.check import Check, HttpCheck, Outcome, Result, TcpCheck
from warren.model.interfaces import Target
from warren.net.resolver import PER_NAME, THREADS, Resolver, look_up

TIME = 5.0
SHORT = 0.1


class ScriptedResolver:
    """Answers names with 127.0.0.1; but those under `hung.example` only when it is `freed`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.freed = threading.Event()

    def answer(self, host: str, port: int) -> Found:
        self.asked.append(host)
        if host.endswith("hung.example"):
            self.freed.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Generator[ScriptedResolver]:
    made = ScriptedResolver()
    resolve_by(monkeypatch, made.answer)
    yield made
    made.freed.set()


async def ask_at_once(check: Check, hosts: list[str], *, timeout: float = SHORT) -> list[Outcome]:
    """One attempt at each, all at the same time."""
    outcomes: list[Outcome] = []

    async def ask(host: str) -> None:
        outcomes.append(await CALM(check, Target(address=host), timeout=timeout))

    async with trio.open_nursery() as nursery:
        for host in hosts:
            nursery.start_soon(ask, host)
    return outcomes


@pytest.mark.parametrize("kind", [TcpCheck, HttpCheck])
async def test_names_that_hang_delay_no_other_service(
    kind: type[TcpCheck | HttpCheck], resolver: ScriptedResolver
) -> None:
    await ask_at_once(kind(port=1), ["hung.example"] * 100)
    others = trio.to_thread.current_default_thread_limiter()
    assert others.borrowed_tokens == 0  # S10: who reads logs has its threads
    async with serving(answering(OK)) as target:
        for host in ("localhost", "LOCALHOST.", "well.example"):
            check = kind(host=host)
            outcome = await CALM(check, target, timeout=TIME)
            assert outcome.result is Result.PASS, host  # S1, S10
    assert resolver.asked == ["hung.example"] * PER_NAME + ["well.example"]


@pytest.mark.parametrize("kind", [TcpCheck, HttpCheck])
async def test_names_attempt_without_a_thread_is_an_error_and_without_an_answer_a_fail(
    kind: type[TcpCheck | HttpCheck], resolver: ScriptedResolver
) -> None:
    first = await ask_at_once(kind(port=1), ["hung.example"] * PER_NAME)
    told = {(outcome.result, outcome.detail) for outcome in first}
    assert told == {(Result.FAIL, "no address of hung.example within 100ms")}  # S1
    (outcome,) = await ask_at_once(kind(port=1), ["hung.example"])
    said = f"no thread free to look up hung.example: {PER_NAME} lookups of it have not ended"
    assert (outcome.result, outcome.detail) == (Result.ERROR, said)  # S1
    assert outcome.duration < SHORT  # no attempt spends all of its time on waiting for a thread


async def test_names_that_hang_are_bounded_in_all(resolver: ScriptedResolver) -> None:
    hosts = [f"{number}.hung.example" for number in range(THREADS)]
    await ask_at_once(TcpCheck(port=1), hosts)
    (outcome,) = await ask_at_once(TcpCheck(port=1), ["well.example"])
    said = f"no thread free to look up well.example: {THREADS} lookups of names have not ended"
    assert (outcome.result, outcome.detail) == (Result.ERROR, said)  # S1
    (outcome,) = await ask_at_once(TcpCheck(port=1), ["localhost"], timeout=TIME)
    assert outcome.result is Result.FAIL
    assert "Connection refused" in outcome.detail


async def test_names_threads_come_back_and_nothing_is_kept_of_them(
    resolver: ScriptedResolver,
) -> None:
    await ask_at_once(TcpCheck(port=1), ["hung.example"] * (PER_NAME + 1))
    lookups = Resolver.current()
    assert repr(lookups) == f"<Resolver {PER_NAME}/{THREADS} names=1>"
    resolver.freed.set()
    await wait_until(lambda: repr(lookups) == f"<Resolver 0/{THREADS} names=0>")
    async with trio.open_nursery() as nursery:  # and who has to wait for one gets it
        for _ in range(3 * PER_NAME):
            nursery.start_soon(partial(look_up, "hung.example", 1))
    assert repr(lookups) == f"<Resolver 0/{THREADS} names=0>"


async def test_names_lack_of_threads_is_an_error(
    resolver: ScriptedResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr("trio._core._thread_cache.start_thread_soon", refuse)
    monkeypatch.setattr("trio._threads.start_thread_soon", refuse)
    (outcome,) = await ask_at_once(TcpCheck(port=1), ["well.example"], timeout=TIME)
    assert outcome.result is Result.ERROR  # S1
    assert outcome.detail == "no thread for a name lookup: can't start new thread"
    assert repr(Resolver.current()) == f"<Resolver 0/{THREADS} names=0>"


async def test_names_that_are_numbers_need_no_resolver(resolver: ScriptedResolver) -> None:
    assert [one.sockaddr[0] for one in await look_up("127.1", 80)] == ["127.0.0.1"]
    assert [one.sockaddr[0] for one in await look_up("fe80::1%lo", 80)] == ["fe80::1"]
    assert resolver.asked == []


async def test_names_of_all_letters_are_asked_for_in_ascii(resolver: ScriptedResolver) -> None:
    await look_up("straße.example", 80)
    await look_up("my_db", 80)
    assert resolver.asked == ["xn--strae-oqa.example", "my_db"]
    for wrong in ("ü..example", "a..b", "\0"):
        with pytest.raises(socket.gaierror):
            await look_up(wrong, 80)
