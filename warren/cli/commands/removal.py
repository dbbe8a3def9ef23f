"""Removing one service: requested, waited for and reported once, however often the link is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warren.model.errors import NotFoundError

if TYPE_CHECKING:
    from warren.cli.live.progress import Progress
    from warren.model.rpc import Cluster
    from warren.model.view import ServiceView


class Removal:
    """Its progress. `missing` says that there never was such a service."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._view: ServiceView | None = None
        self._is_asked = False
        self._is_told = False
        self.missing: NotFoundError | None = None

    async def ask(self, cluster: Cluster) -> None:
        """Request it. A second request, after a link lost before the answer, is harmless."""
        if self._is_asked or self.missing is not None:
            return
        try:
            if self._view is None:
                self._view = await cluster.service(self._name)
            await cluster.remove(self._name)
        except NotFoundError as error:
            if self._view is None:
                self.missing = error
        self._is_asked = True

    async def wait(self, cluster: Cluster, progress: Progress) -> None:
        """Wait until it is gone."""
        from warren.client.wait import wait_gone

        if self._view is not None and not self._is_told:
            await wait_gone(cluster, self._view, progress)

    def told(self, *, no_wait: bool) -> list[str]:
        """The message about it, once."""
        if self._view is None or self._is_told:
            return []
        self._is_told = True
        return [f"{self._name}: {'to be removed' if no_wait else 'removed'}"]
