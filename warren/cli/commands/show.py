"""`warren service ls|inspect|ps`, `task`, `node` and `status`: reads, for people and programs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from warren.cli.answers import put, put_now
from warren.cli.asking import ask, say
from warren.cli.options.common import SWITCH, AsJson, Where
from warren.model.errors import SpecError

if TYPE_CHECKING:
    from warren.model.identity import TaskId
    from warren.model.rpc import Cluster
    from warren.model.view import ManagerStatus, NodeView

HERE = Where()
ShowEnv = Annotated[
    bool,
    Parameter(help="Show the values of variables and headers too; --json always has them."),
    SWITCH,
]
Past = Annotated[bool, Parameter(name="--all"), SWITCH]


def service_ls(*, as_json: AsJson = False, where: Where = HERE) -> int:
    """List services with their health."""
    from warren.client.pages import all_services

    async def question(cluster: Cluster) -> int:
        views = await all_services(cluster)
        if as_json:
            from warren.cli.render import to_json

            put([to_json.text([to_json.service(view, time.time()) for view in views])])
        else:
            from warren.cli.render import table, to_text

            put(table.fitted(to_text.services(views)))
        return 0

    return ask(where, question)


def service_inspect(
    name: str,
    /,
    *,
    show_env: ShowEnv = False,
    as_json: AsJson = False,
    where: Where = HERE,
) -> int:
    """One service: its probes, its health, and its tasks.

    Parameters
    ----------
    name
        The service.
    """

    async def question(cluster: Cluster) -> int:
        view = await cluster.service(name)
        if as_json:
            from warren.cli.render import to_json

            put([to_json.text(to_json.service(view, time.time()))])
        else:
            from warren.cli.render import table, to_text

            put(table.wrapped(to_text.service(view, time.time(), shows_values=show_env)))
        return 0

    return ask(where, question)


def service_ps(
    name: str,
    /,
    *,
    past: Past = False,
    watch: Annotated[bool, SWITCH] = False,
    as_json: AsJson = False,
    where: Where = HERE,
) -> int:
    """The tasks of a service.

    RESTARTS are those of the task; `5 (12 in the slot)`: and of the tasks before it in its slot.
    PORTS are those that its instance got. `outdated` is a task of an older spec, which will be
    replaced.

    Parameters
    ----------
    name
        The service.
    past
        Include ended tasks, as far as they are kept.
    watch
        Then print tasks that change, until the service is removed; with --json a line for each.
    """
    if watch and past:
        raise SpecError("--watch", "cannot be given beside --all")
    if watch:
        return _watch(where, name, as_json=as_json)
    return _tasks(where, name, past=past, as_json=as_json)


def task_ls(
    *,
    past: Past = False,
    usage: Annotated[bool, SWITCH] = False,
    as_json: AsJson = False,
    where: Where = HERE,
) -> int:
    """List the tasks of every service.

    Parameters
    ----------
    past
        Include ended tasks, as far as they are kept.
    usage
        Show the memory, cpu time and processes of each, which its node reads now.
    """
    return _tasks(where, "", past=past, as_json=as_json, usage=usage)


def task_inspect(
    task: str,
    /,
    *,
    show_env: ShowEnv = False,
    as_json: AsJson = False,
    where: Where = HERE,
) -> int:
    """One task, with the last outcomes of its probes.

    Parameters
    ----------
    task
        Such as web.2#7, as `service ps` shows it.
    """
    asked = task_id(task)

    async def question(cluster: Cluster) -> int:
        detail = await cluster.task(asked)
        if as_json:
            from warren.cli.render import to_json

            put([to_json.text(to_json.detail(detail, time.time()))])
        else:
            from warren.cli.render import table, to_text

            put(table.wrapped(to_text.task(detail, time.time(), shows_values=show_env)))
        return 0

    return ask(where, question)


def node_ls(*, as_json: AsJson = False, where: Where = HERE) -> int:
    """List nodes."""
    from warren.client.pages import all_nodes

    async def question(cluster: Cluster) -> int:
        views = await all_nodes(cluster)
        if as_json:
            from warren.cli.render import to_json

            put([to_json.text([to_json.node(view) for view in views])])
        else:
            from warren.cli.render import table, to_text

            put(table.fitted(to_text.nodes(views, time.time())))
        return 0

    return ask(where, question)


def node_inspect(name: str, /, *, as_json: AsJson = False, where: Where = HERE) -> int:
    """One node, and the tasks that are placed on it.

    Parameters
    ----------
    name
        The node, as `node ls` shows it.
    """
    from warren.client.pages import all_nodes

    async def question(cluster: Cluster) -> int:
        view = _named(await all_nodes(cluster), name)
        placed = [task for task in await cluster.tasks() if task.node == name]
        if as_json:
            from warren.cli.render import to_json

            shape = to_json.node(view)
            shape["placed"] = [to_json.task(task, time.time()) for task in placed]
            put([to_json.text(shape)])
        else:
            from warren.cli.render import table, to_text

            put(table.wrapped(to_text.node(view, placed, time.time())))
        return 0

    return ask(where, question)


def status(*, as_json: AsJson = False, where: Where = HERE) -> int:
    """Show whether Warren itself is well."""
    from warren.client.pages import all_nodes

    async def question(cluster: Cluster) -> int:
        seen = await cluster.status()
        trouble = _trouble(seen, await all_nodes(cluster))
        if as_json:
            from warren.cli.render import to_json

            put([to_json.text(to_json.manager(seen, trouble))])
        else:
            from warren.cli.render import table, to_text

            put(table.wrapped(to_text.manager(seen, trouble, time.time())))
        return 1 if trouble else 0

    return ask(where, question)


def task_id(written: str) -> TaskId:
    """The task that is meant. Raises SpecError."""
    from warren.model.errors import SpecError
    from warren.model.identity import TaskId

    try:
        return TaskId.parse(written)
    except ValueError:
        wanted = "want SERVICE.SLOT#NUMBER such as web.2#7"
        raise SpecError("TASK", wanted, value=written) from None


def _tasks(where: Where, service: str, *, past: bool, as_json: bool, usage: bool = False) -> int:
    async def question(cluster: Cluster) -> int:
        views = await cluster.tasks(service=service, past=past)
        told = await cluster.usage(service=service) if usage else None
        usages = None if told is None else {one.task: one.usage for one in told}
        if as_json:
            from warren.cli.render import to_json

            shapes = [to_json.task(view, time.time()) for view in views]
            if usages is not None:
                for view, shape in zip(views, shapes, strict=True):
                    found = usages.get(view.id)
                    shape["usage"] = found and to_json.usage(found)
            put([to_json.text(shapes)])
        else:
            from warren.cli.render import table, to_text

            put(table.fitted(to_text.tasks(views, time.time(), usages)))
        return 0

    return ask(where, question)


def _watch(where: Where, service: str, *, as_json: bool) -> int:
    from warren.cli.render import table, to_json, to_text
    from warren.client.watch import Watch
    from warren.model.errors import NotFoundError
    from warren.model.view import WatchWanted

    watch = Watch(WatchWanted(service=service))
    is_begun = False

    async def question(cluster: Cluster) -> int:
        nonlocal is_begun
        while True:
            known = {view.id: view for view in watch.tasks}
            answer = await watch.next(cluster)
            now = time.time()
            changed = sorted(
                (view for view in answer.tasks if known.get(view.id) != view),  # not seen before
                key=lambda view: view.id,
            )
            if as_json:
                shapes = [to_json.task(view, now) for view in changed]
                shapes += [to_json.gone(slot) for slot in answer.gone_slots]
                put_now([to_json.line(shape) for shape in shapes])
            elif is_begun:
                lines = to_text.changed_tasks(changed, answer.gone_slots, watch.tasks, now)
                put_now(table.fitted(lines))
            elif watch.services:
                put_now(table.fitted(to_text.tasks(changed, now)))
            if not watch.services:
                if not is_begun:
                    raise NotFoundError(f"no such service: {service}")
                say(f"{service}: removed")
                return 0
            is_begun = True

    return ask(where, question, follows=True)


def _named(views: list[NodeView], name: str) -> NodeView:
    from warren.model.errors import NotFoundError, shown

    for view in views:
        if view.name == name:
            return view
    known = ", ".join(view.name for view in views) or "none"
    raise NotFoundError(f"node {shown(name)}: there is none of that name; there is: {known}")


def _trouble(seen: ManagerStatus, views: list[NodeView]) -> list[str]:
    """What the manager reports, and nodes that are not in its report."""
    from warren.cli.render.to_text import node_state
    from warren.model.view import NodeState

    trouble = [*seen.trouble]
    trouble += [
        f"node {view.name} is {node_state(view, time.time())}"
        for view in views
        if view.state is not NodeState.READY and view.name not in seen.troubled_nodes
    ]
    if not views:
        trouble.append("there is no node: nothing can run")
    return trouble
