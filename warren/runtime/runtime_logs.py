"""The output of a node's tasks, whichever runtimes it is of: a `LogSource` of several.

A slot's output is asked of the runtime of its last instance; of a slot that has had none since this
supervisor began, of the first that has kept some. Runtimes that share a source count as one, and
with one source nothing stands in between: then a cursor also holds over a change of runtime.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import msgspec
import trio

from warren.model.identity import TaskId
from warren.model.interfaces import Growing, LogSource
from warren.model.view import LogPiece, LogWanted, SlotName


class RuntimeLogs:
    """`source` is the output of all. `named` has that of each runtime, by its name."""

    def __init__(self, named: Mapping[str, LogSource]) -> None:
        self._named = named
        self._sources = list({id(one): one for one in named.values()}.values())
        self._last: dict[tuple[str, int], LogSource] = {}

    def __repr__(self) -> str:
        return f"<RuntimeLogs of {', '.join(self._named)}>"

    @property
    def source(self) -> LogSource:
        """What to ask."""
        return self._sources[0] if len(self._sources) == 1 else self

    def note(self, task: TaskId, runtime: str) -> None:
        """The slot of this task has an instance of that runtime."""
        if len(self._sources) > 1:
            self._last[task.service, task.slot] = self._named[runtime]

    # LogSource

    async def pieces(self, wanted: Sequence[LogWanted], limit: int) -> list[LogPiece]:
        await trio.lowlevel.checkpoint()
        found = list[LogPiece]()
        for source, places in self._by_source([(one.service, one.slot) for one in wanted]):
            for piece in await source.pieces([wanted[place] for place in places], limit):
                found.append(msgspec.structs.replace(piece, index=places[piece.index]))
        return sorted(found, key=lambda piece: piece.index)

    @contextmanager
    def watching(self, slots: Sequence[SlotName]) -> Generator[Growing]:
        with ExitStack() as stack:
            parts = [
                stack.enter_context(source.watching([slots[place] for place in places]))
                for source, places in self._by_source([(one.service, one.slot) for one in slots])
            ]
            yield _AnyGrowing(parts)

    def kept(self) -> list[SlotName]:
        found = {(one.service, one.slot): one for each in self._sources for one in each.kept()}
        return [found[key] for key in sorted(found)]

    def services(self) -> set[str]:
        return {service for each in self._sources for service in each.services()}

    def purge(self, service: str) -> None:
        for each in self._sources:
            each.purge(service)
        for key in [key for key in self._last if key[0] == service]:
            del self._last[key]

    def _by_source(self, slots: Sequence[tuple[str, int]]) -> Iterable[tuple[LogSource, list[int]]]:
        """Which source has which of these slots, by their places in the sequence."""
        found: dict[int, tuple[LogSource, list[int]]] = {}
        for place, slot in enumerate(slots):
            source = self._last.get(slot) or self._keeper(*slot)
            found.setdefault(id(source), (source, []))[1].append(place)
        return found.values()

    def _keeper(self, service: str, slot: int) -> LogSource:
        wanted = SlotName(service=service, slot=slot)
        return next((one for one in self._sources if wanted in one.kept()), self._sources[0])


class _AnyGrowing:
    """Whether any of these grows."""

    def __init__(self, parts: Sequence[Growing]) -> None:
        self._parts = parts

    async def wait(self) -> None:
        """Wait for the first."""
        if not self._parts:
            await trio.sleep_forever()
        async with trio.open_nursery() as nursery:

            async def wait_one(part: Growing) -> None:
                await part.wait()
                nursery.cancel_scope.cancel()

            for part in self._parts:
                nursery.start_soon(wait_one, part)
