"""A data directory whose supervisor is started under another name than before.

A node's tasks are those of its name. Under another one it would be another node: what runs would be
ended, and replaced after the lease of the old name. So it is refused while the old name has tasks;
where it has none the node goes on under the new one, and the old one is forgotten.
"""

from __future__ import annotations

from warren.model.errors import ConflictError
from warren.model.plural import counted
from warren.model.report import NodeHello
from warren.state.cluster_state import ClusterState


def other_names(cluster: ClusterState, node_id: str, name: str) -> list[str]:
    """Other names than this one under which the data directory with this id has enrolled."""
    return [row.name for row in cluster.nodes.values() if row.id == node_id and row.name != name]


def former_name(cluster: ClusterState, node_id: str, name: str) -> str | None:
    """The other name that has the tasks of this data directory. None where it has some under this
    name too: then there is a copy of it somewhere."""
    here = cluster.nodes.get(name)
    if not node_id or (here is not None and here.id == node_id and cluster.count_on(name)):
        return None
    return next((o for o in other_names(cluster, node_id, name) if cluster.count_on(o)), None)


def refuse_renamed(cluster: ClusterState, hello: NodeHello) -> None:
    """Raises ConflictError for a node that has tasks under another name. A process that was
    admitted once goes on."""
    here = cluster.nodes.get(hello.name)
    if here is not None and (here.id, here.epoch) == (hello.id, hello.epoch):
        return
    old = former_name(cluster, hello.id, hello.name)
    if old is None:
        return
    said = f"this data directory belongs to node {old}, which has {_tasks(cluster, old)}"
    wanted = f"want --name {old}, or `warren node rm {old}` first, which gives them up"
    copied = "where the directory was copied, want journal.sqlite removed from the copy"
    raise ConflictError(f"name: {hello.name!r}: {said}; {wanted}; {copied}")


def _tasks(cluster: ClusterState, name: str) -> str:
    return counted(cluster.count_on(name), "task")
