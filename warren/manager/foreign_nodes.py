"""Nodes that belong to another manager: refused, and shown for as long as they come back.

A manager whose state was lost begins anew with another id. Its nodes keep their tasks and accept
nothing from it until an operator of the node says so: it would end tasks that it does not know.
"""

from __future__ import annotations

import logging

from warren.model.errors import ConflictError
from warren.model.report import NodeHello
from warren.model.view import NodeState, NodeView

WHAT_TO_DO = (
    "put that manager's state back (warren db restore FILE), or start the node once with"
    " --new-manager: tasks that are not of the new manager are then ended"
)
_log = logging.getLogger("warren.manager")


class ForeignNodes:
    """Those that were refused within the last `kept_for` seconds, by name."""

    def __init__(self, manager_id: str, *, kept_for: float) -> None:
        self._manager_id = manager_id
        self._kept_for = kept_for
        self._seen: dict[str, tuple[NodeHello, float, float]] = {}  # first and last seen

    def __repr__(self) -> str:
        return f"<ForeignNodes {sorted(self._seen)}>"

    def refuse(self, hello: NodeHello, now: float) -> None:
        """Raises ConflictError where the node belongs to another manager."""
        if hello.manager in ("", self._manager_id):
            self._seen.pop(hello.name, None)
            return
        if hello.name not in self.current(now):
            _log.warning("node %s refuses: it belongs to another manager", hello.name)
            self._seen[hello.name] = (hello, now, now)
        self._seen[hello.name] = (hello, self._seen[hello.name][1], now)
        said = f"node {hello.name} belongs to another manager than this one ({self._manager_id})"
        raise ConflictError(f"manager: {hello.manager!r}: {said}; {WHAT_TO_DO}")

    def note_moved(self, by: float) -> None:
        """The clock has moved on by so many seconds: move the times of these along."""
        self._seen = {
            name: (hello, first, last + by) for name, (hello, first, last) in self._seen.items()
        }

    def current(self, now: float) -> dict[str, NodeView]:
        """Their views."""
        self._seen = {
            name: seen for name, seen in self._seen.items() if seen[2] > now - self._kept_for
        }
        return {
            name: NodeView(
                name=name, state=NodeState.REFUSING, joined_at=first, warren=hello.warren
            )
            for name, (hello, first, _) in self._seen.items()
        }
