"""Manager and node in one process, started under another node name than their directory has.

Its tasks are those of the old name. Where one of them runs the start is refused, as all of them
would be ended, and replaced after the lease of the old name. Where none does, as after an end in
order, others follow them at once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from warren.manager.program import Manager
from warren.manager.renamed_node import former_name
from warren.model.errors import WarrenError
from warren.model.node_description import PROCESS
from warren.model.plural import counted
from warren.model.task import TaskRecord
from warren.runtime.process import is_there
from warren.store.journal import recorded
from warren.wiring.parts import JOURNAL

_log = logging.getLogger("warren.manager")


class RenamedError(WarrenError):
    """What runs here is of a node of another name."""


def take_name(data_dir: Path, manager: Manager, name: str) -> None:
    """Before the node is there: from now on it has this name. Raises RenamedError where tasks of
    another name run, and UnavailableError."""
    node_id, records = recorded(data_dir / JOURNAL)
    cluster = manager.commit_log.cluster
    old = former_name(cluster, node_id, name)
    if old is None:
        return
    tasks = sorted(cluster.on_node(old))
    running = [str(task) for task in tasks if _may_run(records, str(task))]
    if running:
        first = running[0] if len(running) == 1 else f"{running[0]} and {len(running) - 1} more"
        said = f"this data directory belongs to node {old}, of which {first} still runs"
        done = f"nothing was started as {name}, and what runs was left alone"
        wanted = f"want --name {old} (of open_supervisor: node={old!r})"
        raise RenamedError(
            f"{data_dir}: {said}; {done}; {wanted}; after an end in order any name will do"
        )
    manager.operator.begin_anew_on(old)
    _log.warning(
        "node %s goes on as %s: others follow its %s", old, name, counted(len(tasks), "task")
    )


def _may_run(records: Mapping[str, TaskRecord | None], task: str) -> bool:
    """As far as can be known: of a record that cannot be read, and of another runtime, it may."""
    if task not in records:
        return False
    record = records[task]
    if record is None:
        return True
    instance = record.instance
    return instance is not None and (instance.runtime != PROCESS or is_there(instance))
