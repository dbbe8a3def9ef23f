"""The file of a `warren up`: its services are applied, and those no longer in it are removed.

A service that is still being removed when `up` starts, and is wanted again, is made anew once it is
gone. That needs the node, so it comes after the node has started; nothing else waits for it.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

from warren.client.watch import Watch
from warren.manager.program import Manager
from warren.model.errors import WarrenError
from warren.model.service import ServiceSpec
from warren.rules.environment import undefined
from warren.store.up_record import UpRecord, read_note, write_note

_log = logging.getLogger("warren.up")


class UpFile:
    """Applies the specs of a file, None where there is none. `is_applied`: all of it is
    applied."""

    def __init__(
        self, manager: Manager, specs: Sequence[ServiceSpec] | None, data_dir: Path
    ) -> None:
        self._manager = manager
        self._specs = specs
        self._directory = data_dir
        self._late: dict[str, ServiceSpec] = {}
        self._services: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<UpFile {len(self._late)} late>"

    @property
    def is_applied(self) -> bool:
        return not self._late

    async def apply(self) -> None:
        """Apply it, except for services being removed. Raises WarrenError."""
        before = read_note(self._directory)
        self._services = before.services
        if self._specs is not None:
            self._services = tuple(spec.name for spec in self._specs)
            for said in itertools.chain.from_iterable(map(undefined, self._specs)):
                _log.warning("%s", said)
            await self._remove_others(before.services)
            await self._manager.operator.apply(self._in_time(self._specs))
            if before.has_ended:
                self._manager.operator.run_again(self._services)
        write_note(self._directory, UpRecord(services=self._services, has_ended=False))

    async def serve(self) -> None:
        """Make services anew that were being removed, each as soon as it is gone."""
        watch = Watch()
        while self._late:
            await watch.next(self._manager.operator)
            await self._apply_late()

    def note_end(self) -> None:
        """Record that this `up` ends, on request or by itself: not by a `kill -9`. Written before
        the tasks are stopped, so that it is there if the end is then forced."""
        try:
            write_note(self._directory, UpRecord(services=self._services))
        except WarrenError as error:  # the disk is full, say: the tasks are still stopped gently
            _log.error("%s; the next up does not run jobs again that have ended", error)

    def _in_time(self, specs: Sequence[ServiceSpec]) -> list[ServiceSpec]:
        """What can be applied now; the reasons against the rest are logged."""
        services = self._manager.commit_log.cluster.services
        unread = self._manager.commit_log.quarantine.unread
        for spec in specs:
            if spec.name in unread:
                _log.error("service %s is set aside: %s", spec.name, unread[spec.name])
            elif spec.name in services and services[spec.name].is_removing:
                _log.warning("service %s is made anew once its removal is over", spec.name)
                self._late[spec.name] = spec
        return [spec for spec in specs if spec.name not in {*self._late, *unread}]

    async def _remove_others(self, before: Sequence[str]) -> None:
        for name in before:
            if name not in self._services and name in self._manager.commit_log.cluster.services:
                await self._manager.operator.remove(name)

    async def _apply_late(self) -> None:
        there = self._manager.commit_log.cluster.services
        for name, spec in list(self._late.items()):
            if name in there:
                continue
            try:
                await self._manager.operator.apply([spec])
            except WarrenError as error:  # the disk is full, say: it comes with the next change
                _log.warning("service %s cannot be made anew yet: %s", name, error)
            else:
                del self._late[name]
