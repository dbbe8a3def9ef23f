"""Pulls, of a made-up engine: a few at once, their progress, their pauses (S28)."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import trio

from tests.engine.engine_double import engine_double
from warren.engine.client import EngineClient
from warren.model.container import Pull
from warren.model.interfaces import NotYetError
from warren.runtime import engine_images
from warren.runtime.engine_images import EngineImages, credentials, parts


class Registry:
    """An engine whose registry has some images; `pulls` has what was asked of it."""

    def __init__(self, *images: str) -> None:
        self.images = set(images)
        self.here = set[str]()
        self.pulls = list[str]()
        self.hold: trio.Event | None = None
        self.first = b""  # what it tells before it is held
        self.most_at_once = self._at_once = 0

    async def answer(self, method: str, target: str) -> AsyncGenerator[bytes]:
        parsed = urlsplit(target)
        if parsed.path.startswith("/images/") and method == "GET":
            name = parsed.path.removeprefix("/images/").removesuffix("/json")
            if name not in self.here:
                yield b'404 {"message": "no such image"}'
                return
            yield b"200 " + json.dumps({"Id": f"sha256:{name}", "Config": None}).encode()
            return
        query = {name: values[0] for name, values in parse_qs(parsed.query).items()}
        name = f"{query['fromImage']}:{query['tag']}"
        self.pulls.append(name)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        yield b"200 "
        if self.hold is not None:
            yield self.first
            await self.hold.wait()
        self._at_once -= 1
        if name in self.images:
            self.here.add(name)
            yield b'{"status": "Status: Downloaded newer image"}\n'
        else:
            yield b'{"errorDetail": {"message": "x"}, "error": "manifest for it not found"}\n'


@asynccontextmanager
async def opened(
    registry: Registry,
) -> AsyncGenerator[tuple[EngineImages, EngineClient]]:
    async with (
        engine_double(registry.answer) as double,
        aclosing(EngineClient(double.path)) as client,
        trio.open_nursery() as nursery,
    ):
        yield EngineImages(nursery), client
        nursery.cancel_scope.cancel()


async def test_what_is_there_is_not_asked_for_unless_always() -> None:
    registry = Registry("web:1")
    registry.here.add("web:1")
    async with opened(registry) as (images, client):
        for policy in (Pull.MISSING, Pull.NEVER):
            assert (await images.ready(client, "web:1", policy)).id == "sha256:web:1"
        assert registry.pulls == []
        assert (await images.ready(client, "web:1", Pull.ALWAYS)).id == "sha256:web:1"
        assert registry.pulls == ["web:1"]


async def test_a_missing_one_is_pulled_and_never_means_never() -> None:
    registry = Registry("web:1")
    async with opened(registry) as (images, client):
        with pytest.raises(NotYetError, match="is not on this node, and pull is never"):
            await images.ready(client, "web:1", Pull.NEVER)
        assert registry.pulls == []
        assert (await images.ready(client, "web:1", Pull.MISSING)).id == "sha256:web:1"
    assert registry.pulls == ["web:1"]


async def test_its_progress_is_what_a_start_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_images, "PATIENCE", 0.0)
    registry = Registry("web:1")
    registry.hold = trio.Event()
    registry.first = (
        b'{"status": "Pulling from library/web", "id": "1"}\n'
        b'{"status": "Downloading", "progressDetail": {"current": 4000000, "total": 8000000},'
        b' "id": "aa"}\n'
        b'{"status": "Downloading", "progressDetail": {"current": 1, "total": 20000000},'
        b' "id": "bb"}\n'
        b'{"status": "Download complete", "progressDetail": {}, "id": "aa"}\nno news at all\n'
    )
    async with opened(registry) as (images, client):
        said = set[str]()
        with trio.fail_after(10):
            while not any("%" in one for one in said):
                with pytest.raises(NotYetError) as caught:
                    await images.ready(client, "web:1", Pull.MISSING)
                said.add(str(caught.value))
                await trio.lowlevel.checkpoint()
            registry.hold.set()
            while registry.here == set():
                await trio.lowlevel.checkpoint()
    assert "pulling image web:1 28 %, 8 of 28 MB" in said
    assert registry.pulls == ["web:1"]  # one, however often it was asked for


async def test_two_are_pulled_at_once_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_images, "PATIENCE", 0.0)
    names = [f"web:{number}" for number in range(5)]
    registry = Registry(*names)
    registry.hold = trio.Event()
    async with opened(registry) as (images, client):
        for name in names:
            with pytest.raises(NotYetError):
                await images.ready(client, name, Pull.MISSING)
        with trio.fail_after(10):
            while len(registry.pulls) < 2:
                await trio.lowlevel.checkpoint()
            registry.hold.set()
            while len(registry.here) < 5:
                await trio.lowlevel.checkpoint()
    assert registry.most_at_once == 2


async def test_a_failed_pull_is_tried_again_after_a_pause_that_grows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_images, "FIRST_PAUSE", 1000.0)
    registry = Registry()
    async with opened(registry) as (images, client):
        for _ in range(3):
            with pytest.raises(NotYetError) as caught:
                await images.ready(client, "web:1", Pull.MISSING)
            said = "image web:1: cannot be pulled: manifest for it not found; again in 1000s"
            assert str(caught.value) == said
    assert registry.pulls == ["web:1"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("nginx", ("nginx", "latest")),
        ("nginx:1.25", ("nginx", "1.25")),
        ("localhost:5000/a/b", ("localhost:5000/a/b", "latest")),
        ("localhost:5000/a/b:c", ("localhost:5000/a/b", "c")),
        ("nginx@sha256:ab", ("nginx", "sha256:ab")),
    ],
)
def test_names_have_a_tag_or_digest(name: str, split: tuple[str, str]) -> None:
    assert parts(name) == split


def test_credentials_are_those_of_the_users_docker_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert credentials("nginx") == {}
    auth = base64.b64encode(b"me:se:cret").decode()
    config = {"auths": {"https://index.docker.io/v1/": {"auth": auth}, "r.example:5000": {}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (header,) = credentials("nginx").values()
    told = json.loads(base64.urlsafe_b64decode(header))
    assert told == {"username": "me", "password": "se:cret", "serveraddress": "docker.io"}
    assert credentials("r.example:5000/a") == {}
    assert credentials("other.example/a") == {}
    (tmp_path / "config.json").write_text("[")
    assert credentials("nginx") == {}
