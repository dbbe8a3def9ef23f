"""The images that an engine's tasks need: there already, or pulled by the engine, a few at once.

    wanted --there--> its id
       `----missing--> pull ... done, or failed: again in 1 s, 2 s ... 5 min     (S28)

Nobody waits long here: a start that has no image yet is told so, and asks again. So a pull takes
no place from other starts, its progress is the reason that its task tells, and it is no restart.
"""

from __future__ import annotations

import base64
import os
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import trio

from warren.engine.answers import Image, PullNews
from warren.engine.client import EngineClient, lines
from warren.engine.errors import EngineAwayError, EngineError, EngineRefusedError
from warren.model.container import Pull
from warren.model.duration import format_duration
from warren.model.interfaces import NotYetError
from warren.resilience.backoff import Backoff

PULLS_AT_ONCE = 2
PATIENCE = 0.5  # seconds that a start waits for a pull: one that needs no more is not told
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
FRESH = 10.0  # seconds that a pull counts as one of now, where each start wants one
SILENCE = 300.0  # seconds without any news, after which a pull has failed


@dataclass(eq=False)
class _Pull:
    """The pulls of one image, one after another."""

    over: trio.Event = field(default_factory=trio.Event)
    is_under_way: bool = False
    done_at: float | None = None  # in Trio's time, here and below
    again_at: float = 0.0
    failure: str = ""
    layers: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_PAUSE, LONGEST_PAUSE))

    def progress(self) -> str:
        """`43 %, 12 of 28 MB`; empty where that is not known yet."""
        done = sum(current for current, _ in self.layers.values())
        total = sum(total for _, total in self.layers.values())
        if not total:
            return ""
        return f" {100 * done // total} %, {done / 1e6:.0f} of {total / 1e6:.0f} MB"


class EngineImages:
    """The images of one engine. Pulls live in `nursery`."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._pulls: dict[str, _Pull] = {}
        self._places = trio.CapacityLimiter(PULLS_AT_ONCE)

    def __repr__(self) -> str:
        return f"<EngineImages {sum(one.is_under_way for one in self._pulls.values())} pulls>"

    async def ready(self, client: EngineClient, name: str, policy: Pull) -> Image:
        """The image, as the policy wants it. Raises NotYetError while it is not there, and
        EngineError."""
        pull = self._pulls.get(name)
        if policy is Pull.ALWAYS and not _is_fresh(pull):
            await self._pull(client, name)
        try:
            return await client.get(f"/images/{name}/json", Image)
        except EngineRefusedError as error:
            if not error.is_missing:
                raise NotYetError(f"image {name}: {error}") from None
        if policy is Pull.NEVER:
            wanted = "want it loaded here, or pull: missing"
            raise NotYetError(f"image {name}: is not on this node, and pull is never; {wanted}")
        await self._pull(client, name)
        try:
            return await client.get(f"/images/{name}/json", Image)
        except EngineRefusedError as error:
            raise NotYetError(f"image {name}: is not there though it was pulled: {error}") from None

    async def _pull(self, client: EngineClient, name: str) -> None:
        """Have it pulled; returns where that is done by now."""
        pull = self._pulls.setdefault(name, _Pull())
        now = trio.current_time()
        if not pull.is_under_way and now >= pull.again_at:
            pull.is_under_way, pull.over, pull.failure = True, trio.Event(), ""
            self._nursery.start_soon(self._run, client, name, pull)
        if pull.is_under_way:
            with trio.move_on_after(PATIENCE):
                await pull.over.wait()
        if pull.is_under_way:
            raise NotYetError(f"pulling image {name}{pull.progress()}")
        if pull.failure:
            wait = max(0.0, pull.again_at - trio.current_time())
            again = f"; again in {format_duration(round(wait))}" if wait >= 1 else ""
            raise NotYetError(f"image {name}: cannot be pulled: {pull.failure}{again}")

    async def _run(self, client: EngineClient, name: str, pull: _Pull) -> None:
        try:
            async with self._places:
                await self._fetch(client, name, pull)
            pull.done_at = trio.current_time()
            pull.backoff.reset()
        except EngineError as error:
            pull.failure = str(error)
            pull.again_at = trio.current_time() + pull.backoff.next()
        finally:
            pull.layers.clear()
            pull.is_under_way = False
            pull.over.set()

    async def _fetch(self, client: EngineClient, name: str, pull: _Pull) -> None:
        bare, tag = parts(name)
        query = {"fromImage": bare, "tag": tag}
        headers = credentials(name)
        async with (
            client.stream("POST", "/images/create", query=query, headers=headers) as chunks,
            aclosing(lines(chunks)) as items,
        ):
            while True:
                item: bytes | None = None
                with trio.move_on_after(SILENCE) as scope:
                    item = await anext(items, None)
                if scope.cancelled_caught:
                    raise EngineAwayError(f"no news of it for {SILENCE:.0f} s")
                if item is None:
                    return
                _note(pull, item)


def _note(pull: _Pull, item: bytes) -> None:
    try:
        news = msgspec.json.decode(item, type=PullNews)
    except msgspec.MsgspecError:
        return  # only progress is lost
    if news.error:
        raise EngineRefusedError(500, news.error)
    if news.id and news.progress_detail is not None and news.progress_detail.total:
        if news.status.startswith("Downloading"):
            detail = news.progress_detail
            pull.layers[news.id] = (min(detail.current, detail.total), detail.total)
    elif news.id in pull.layers:  # it is complete
        total = pull.layers[news.id][1]
        pull.layers[news.id] = (total, total)


def _is_fresh(pull: _Pull | None) -> bool:
    done_at = None if pull is None else pull.done_at
    return done_at is not None and trio.current_time() - done_at < FRESH


def parts(name: str) -> tuple[str, str]:
    """An image's name and its tag or digest: `latest` where it has none."""
    bare, at, digest = name.partition("@")
    if at:
        return bare, digest
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, "latest")


def registry_of(name: str) -> str:
    """The registry that an image's name means."""
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first
    return "docker.io"


def credentials(name: str) -> dict[str, str]:
    """The header with this user's credentials for an image's registry, from Docker's own
    configuration; none where there are none."""
    directory = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    try:
        config: dict[str, Any] = msgspec.json.decode((Path(directory) / "config.json").read_bytes())
        known: dict[str, dict[str, str]] = config.get("auths") or {}
        registry = registry_of(name)
        aliases = (registry, f"https://{registry}", "https://index.docker.io/v1/")
        names = aliases if registry == "docker.io" else aliases[:2]
        entry = next((known[one] for one in names if one in known), None)
        if not entry or not entry.get("auth"):
            return {}
        user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
    except (OSError, ValueError, AttributeError, TypeError, RuntimeError):
        return {}
    asked = {"username": user, "password": password, "serveraddress": registry}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(msgspec.json.encode(asked)).decode()}
