"""What is set aside, so that a row which cannot be processed stops no other.

    a step raises -> halves of its names are tried, each alone -> those that still raise are aside

A service that is aside does not change, on disk or on a node, until it is edited or the manager
starts anew. One whose rows cannot be read is aside until they are mended. Each is a line in
`warren status`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from warren.model.cluster import Change, DropService, DropTask, RowFault
from warren.model.errors import UnavailableError

KEPT = 100  # refused reports that are listed one by one
MEND = "want `warren db mend` while the manager is stopped"
_log = logging.getLogger("warren.manager")


class Quarantine:
    """What is aside, and why. `faults` are the rows that could not be read at the start."""

    def __init__(self, faults: Sequence[RowFault] = ()) -> None:
        self._services: dict[str, str] = {}
        self._reports: dict[str, str] = {}
        self._unread: dict[str, str] = {}
        self._nodes: dict[str, str] = {}
        for fault in faults:
            found = self._nodes if fault.table == "nodes" else self._unread
            found.setdefault(fault.owner, str(fault))
            _log.error("a row cannot be read and is set aside: %s", fault)

    def __repr__(self) -> str:
        return f"<Quarantine of {len(self._services)} services, {len(self._unread)} unread>"

    @property
    def services(self) -> Mapping[str, str]:
        """Services that are not planned for, and why."""
        return self._services

    @property
    def unread(self) -> Mapping[str, str]:
        """Services whose rows cannot be read, and why: nodes keep what they have of them."""
        return self._unread

    def add_service(self, name: str, why: str) -> None:
        """Stop planning for this one."""
        _log.error("service %s is set aside, nothing of it changes: %s", name, why)
        self._services[name] = why

    def release_service(self, name: str) -> bool:
        """It was edited, and is planned for again. Whether it was aside."""
        return self._services.pop(name, None) is not None

    def add_report(self, subject: str, why: str) -> None:
        """A node's report of something cannot be taken."""
        _log.error("what is reported of %s is set aside: %s", subject, why)
        if len(self._reports) < KEPT:
            self._reports[subject] = why

    def release_report(self, subject: str) -> None:
        """Its present report can be taken."""
        self._reports.pop(subject, None)

    def forget(self, changes: Iterable[Change]) -> None:
        """These changes drop something: no node reports it any more."""
        if not self._reports:
            return
        for change in changes:
            if isinstance(change, DropTask):
                self.release_report(str(change.id))
            elif isinstance(change, DropService):
                of_it = [one for one in self._reports if one.startswith(f"{change.name}.")]
                for subject in of_it:
                    self.release_report(subject)

    def release_node(self, name: str) -> None:
        """It has enrolled, so that its row was written anew."""
        self._nodes.pop(name, None)

    def troubles(self) -> Iterator[str]:
        """One line for people for each."""
        for name, why in self._unread.items():
            yield f"service {name} is set aside, its tasks are left alone: {why}; {MEND}"
        for name, why in self._services.items():
            yield f"service {name} is set aside, nothing of it changes until it is edited: {why}"
        for name, why in self._nodes.items():
            yield f"node {name} is taken for lost until it enrols: {why}"
        for subject, why in self._reports.items():
            yield f"what is reported of {subject} is set aside: {why}"


def isolate(
    names: Sequence[str], attempt: Callable[[Collection[str]], None]
) -> Iterator[tuple[str, Exception]]:
    """Attempt something for names together; where that raises, for halves of them, down to single
    ones. Returns those that raise alone. A failure of the disk is raised: it is not due to a
    name."""
    try:
        attempt(names)
    except UnavailableError:
        raise
    except Exception as error:  # whatever it is: it is to stop no other name
        if len(names) == 1:
            yield names[0], error
        elif names:
            middle = len(names) // 2
            yield from isolate(names[:middle], attempt)
            yield from isolate(names[middle:], attempt)
        else:
            raise


def told(error: Exception) -> str:
    """The exception, on one line of bounded length."""
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
