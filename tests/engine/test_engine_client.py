from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
import pytest
import trio

from tests.engine.engine_double import engine_double
from warren.engine import client as client_module
from warren.engine.answers import Container, Listed, Networks, Version
from warren.engine.client import EngineClient, agreed, lines
from warren.engine.errors import EngineAwayError, EngineRefusedError


@pytest.mark.parametrize(
    ("newest", "oldest", "both"),
    [
        ("1.41", "1.12", "1.41"),  # Debian 12
        ("1.47", "1.24", "1.47"),
        ("1.99", "1.44", "1.51"),  # of ours the highest
        ("1.41", "", "1.41"),
    ],
)
def test_the_highest_version_both_have_is_agreed_on(newest: str, oldest: str, both: str) -> None:
    assert agreed(Version(api_version=newest, min_api_version=oldest)) == both


@pytest.mark.parametrize(
    ("newest", "oldest", "said"),
    [
        ("1.40", "1.12", "its API has the versions 1.12 to 1.40; want one from 1.41 to 1.51"),
        ("1.90", "1.60", "its API has the versions 1.60 to 1.90; want one from 1.41 to 1.51"),
        ("new", "1.12", "it tells API versions '1.12' to 'new'; want numbers such as 1.41"),
    ],
)
def test_an_engine_without_one_is_told_what_is_wanted(newest: str, oldest: str, said: str) -> None:
    with pytest.raises(EngineAwayError, match=said):
        agreed(Version(api_version=newest, min_api_version=oldest))


async def test_every_request_after_the_first_names_the_agreed_version() -> None:
    def answer(method: str, target: str) -> tuple[int, bytes]:
        if target == "/version":
            return 200, b'{"ApiVersion": "1.45", "MinAPIVersion": "1.24", "New": [1]}'
        return 200, b'[{"Id": "a", "Labels": null, "State": "running"}]'

    async with (
        engine_double(answer) as double,
        aclosing(EngineClient(double.path)) as client,
    ):
        await client.connect()
        listed = await client.get("/containers/json", list[Listed], query={"all": "true"})
    assert double.asked == [("GET", "/version"), ("GET", "/v1.45/containers/json?all=true")]
    assert listed == [Listed(id="a", state="running")]
    assert listed[0].label("any") == ""


@pytest.mark.parametrize(
    ("status", "body", "said", "is_conflict"),
    [
        (404, b'{"message": "no such container"}', "no such container", False),
        (409, b'{"message": "is not running"}', "is not running", True),
        (500, b'{"cause": "container state improper", "message": "it\\nis"}', "it is", True),
        (500, b"<html>", "<html>", False),
        (500, b"", "HTTP 500", False),
    ],
)
async def test_a_no_is_told_in_one_line(
    status: int, body: bytes, said: str, is_conflict: bool
) -> None:
    async with (
        engine_double(lambda method, target: (status, body)) as double,
        aclosing(EngineClient(double.path)) as client,
    ):
        with pytest.raises(EngineRefusedError) as caught:
            await client.do("POST", "/x")
    assert (str(caught.value), caught.value.status) == (said, status)
    assert (caught.value.is_conflict, caught.value.is_missing) == (is_conflict, status == 404)


async def test_what_is_not_there_silent_or_mad_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with aclosing(EngineClient("/nonexistent/docker.sock")) as client:
        with pytest.raises(EngineAwayError, match="no such file"):
            await client.ping()
    answers = [b'{"Id": 7, "State": {}}', b"x" * 3_000]
    monkeypatch.setattr(client_module, "MOST_READ", 2_000)
    async with (
        engine_double(lambda method, target: (200, answers.pop(0))) as double,
        aclosing(EngineClient(double.path)) as client,
    ):
        with pytest.raises(EngineAwayError, match="cannot be read: Expected `str`"):
            await client.get("/x", Container)
        with pytest.raises(EngineAwayError, match="more than"):
            await client.get("/x", Container)
    monkeypatch.setattr(client_module, "PATIENCE", 0.05)
    with trio.socket.socket(trio.socket.AF_UNIX) as silent:
        await silent.bind(f"\0warren-{id(silent)}")
        silent.listen(1)
        name = silent.getsockname()
        async with aclosing(EngineClient(name if isinstance(name, str) else name.decode())) as one:
            with pytest.raises(EngineAwayError, match="no answer within"):
                await one.ping()


async def test_one_that_was_closed_meanwhile_does_not_answer() -> None:
    client = EngineClient("/nonexistent/docker.sock")
    await client.aclose()
    with pytest.raises(EngineAwayError, match="was given up"):
        await client.ping()
    with pytest.raises(EngineAwayError, match="was given up"):
        async with client.stream("GET", "/events"):
            pass


async def test_lines_of_a_stream_are_cut_where_they_end_and_none_is_endless(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def chunks(*parts: bytes) -> AsyncGenerator[bytes]:
        for part in parts:
            await trio.lowlevel.checkpoint()
            yield part

    async with aclosing(chunks(b'{"a"', b": 1}\n\n", b'{"b": 2}')) as parts:
        assert [json.loads(line) async for line in lines(parts)] == [{"a": 1}, {"b": 2}]
    monkeypatch.setattr(client_module, "MOST_LINE", 10)
    async with aclosing(chunks(b"x" * 8, b"x" * 8)) as parts, aclosing(lines(parts)) as found:
        with pytest.raises(EngineAwayError, match="an item has more"):
            await anext(found)


def test_an_address_is_found_wherever_an_engine_tells_it() -> None:
    for shape in (
        {"IPAddress": "10.0.0.2"},
        {"Networks": {"bridge": {"IPAddress": "10.0.0.2"}, "none": None}},
        {"IPAddress": "", "Networks": {"n": {"IPAddress": "10.0.0.2"}}},
    ):
        assert msgspec.convert(shape, Networks).address() == "10.0.0.2"
    assert msgspec.convert({"Networks": {"n": {"GlobalIPv6Address": "fd::2"}}}, Networks).address()
    assert Networks().address() == ""
