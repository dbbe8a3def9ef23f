"""`warren node rm`: what changes a node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from warren.cli.answers import put
from warren.cli.asking import ask
from warren.cli.options.common import SWITCH, Where

if TYPE_CHECKING:
    from warren.model.rpc import Cluster

HERE = Where()


def rm(
    name: str,
    /,
    *,
    force: Annotated[bool, SWITCH] = False,
    where: Where = HERE,
) -> int:
    """Forget a node that is down; its tasks are replaced elsewhere.

    Parameters
    ----------
    name
        The node, as `node ls` shows it.
    force
        Also a node that is not down. Its tasks are lost: they are replaced elsewhere, and ended
        there as soon as it connects. Unless it is stopped it enrols again, as a new node.
    """

    async def question(cluster: Cluster) -> int:
        await cluster.remove_node(name, force=force)
        put([f"{name}: removed"])
        return 0

    return ask(where, question)
