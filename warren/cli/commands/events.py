"""`warren events`: past events, and new ones."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from warren.cli.answers import put_now
from warren.cli.asking import ask, say
from warren.cli.commands.logs import Follow, Tail
from warren.cli.options.common import AsJson, Where
from warren.cli.options.probe_flags import count, duration

if TYPE_CHECKING:
    from warren.model.cluster import Entry
    from warren.model.rpc import Cluster

HERE = Where()
_MOST = 1_000_000_000


def events(
    about: Annotated[str, Parameter(name="NAME", show_default=False)] = "",
    /,
    *,
    follow: Follow = False,
    tail: Tail = None,
    since: Annotated[str | None, Parameter(metavar="DURATION")] = None,
    as_json: AsJson = False,
    where: Where = HERE,
) -> int:
    """What happened to services, tasks and nodes, as far as it is kept.

    Parameters
    ----------
    about
        Only events of this service and its tasks, of this task such as web.2#7, or of this node.
    follow
        Follow new events, until Ctrl-C. Without --since and --tail, begin with the next one.
    tail
        Begin with the last N; 0: with the next event.
    since
        How far back to begin: 10m, 2h.
    as_json
        Print one JSON object a line.
    """
    is_known = not about
    begin = 0.0 if since is None else time.time() - duration("--since", since)
    most = None if tail is None else count("--tail", tail, 0, _MOST)
    seen: int | None = None if follow and since is None and most is None else 0

    async def question(cluster: Cluster) -> int:
        nonlocal seen, begin, is_known, most
        last = await cluster.last_event()
        if seen is None:
            seen = last
        elif last < seen:
            say(f"warren: {_older(last, seen)}")
            seen = last
        if most is not None:
            entries = await _last(cluster, most, seen, last, begin, about)
            is_known, most, seen = is_known or bool(entries), None, max(seen, last)
            put_now(_lines(entries, as_json=as_json))
        while True:
            # What has been printed is up to `seen`, so a new link continues from there.
            entries = await cluster.events(after=seen, since=begin, about=about)
            if not entries:
                if not is_known:
                    await _refuse_unknown(cluster, about)
                    is_known = True
                if not follow:
                    return 0
                # From here on the number decides: a clock may be set back.
                seen, begin = max(seen, last), 0.0
                entries = await cluster.events(after=seen, since=begin, about=about, wait=True)
            put_now(_lines(entries, as_json=as_json))
            seen = entries[-1].seq if entries else seen

    return ask(where, question, follows=follow)


async def _last(
    cluster: Cluster, most: int, after: int, last: int, begin: float, about: str
) -> list[Entry]:
    """The last so many matching events between two numbers. The search starts at the end, in pieces
    each twice as long as all before it, so that a long history is not read."""
    found: list[Entry] = []
    end, length = last, most
    while len(found) < most and end > after:
        start = max(after, end - length)
        found = await _between(cluster, start, end, begin, about) + found
        end, length = start, 2 * length
    return found[-most:] if most else []


async def _between(cluster: Cluster, after: int, end: int, begin: float, about: str) -> list[Entry]:
    """Those after one number, up to another."""
    from warren.model.rpc import EVENTS_AT_ONCE

    found: list[Entry] = []
    while after < end:
        entries = await cluster.events(
            after=after, since=begin, about=about, limit=min(end - after, EVENTS_AT_ONCE)
        )
        found += [entry for entry in entries if entry.seq <= end]
        after = entries[-1].seq if entries else end
    return found


def _older(last: int, seen: int) -> str:
    said = f"the manager's last event is number {last}, and number {seen} was seen"
    return f"{said}: an older state has been restored; going on with what comes"


async def _refuse_unknown(cluster: Cluster, name: str) -> None:
    """Raises NotFoundError where nothing has this name, neither now nor in the kept events."""
    from warren.client.pages import all_nodes
    from warren.model.errors import NotFoundError, shown
    from warren.model.identity import TaskId, parse_slot

    if await cluster.events(about=name, limit=1):
        return
    if any(node.name == name for node in await all_nodes(cluster)):
        return
    try:
        if "#" in name:
            await cluster.task(TaskId.parse(name))
        else:
            await cluster.service(name)
    except (NotFoundError, ValueError):
        if slot := parse_slot(name):
            wanted = f"want a service such as {slot[0]}, or a task of that slot such as {name}#1"
            raise NotFoundError(f"{shown(name)}: {wanted}") from None
        said = "there is no service, task or node of that name, and no event of one is kept"
        raise NotFoundError(f"{shown(name)}: {said}") from None


def _lines(entries: list[Entry], *, as_json: bool) -> list[str]:
    if as_json:
        from warren.cli.render import to_json

        return [to_json.line(to_json.event(entry)) for entry in entries]
    from warren.cli.render import to_text

    return [to_text.event(entry) for entry in entries]
