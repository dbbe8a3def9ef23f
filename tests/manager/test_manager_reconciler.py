"""What has to be planned for thousands of tasks is many plans, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.scheduler.planning_kit import node_row, service_row, spec, task_row
from warren.manager.commit_log import CommitLog
from warren.manager.reconciler import AT_ONCE, Reconciler
from warren.model.cluster import Change, PutNode, PutService, PutTask
from warren.state.cluster_state import Touched
from warren.store.state import StateStore

NOON = 1_000_000.0  # wall time
REPLICAS = 5 * AT_ONCE // 2


async def test_tasks_of_a_lost_node_are_moved_in_plans_of_bounded_size(
    autojump_clock: MockClock,
) -> None:
    wanted = spec(replicas=REPLICAS)
    rows = [task_row(f"web.{n}#1", wanted, node="n1", ready=True) for n in range(1, REPLICAS + 1)]
    sizes = list[int]()

    def measure(changes: Sequence[Change], touched: Touched) -> None:
        sizes.append(sum(isinstance(change, PutTask) for change in changes))

    with closing(StateStore.open(None)) as store:
        commit_log = CommitLog(store, now=lambda: NOON)
        nodes = [PutNode(node_row("n1", lost_at=NOON - 60)), PutNode(node_row("n2"))]
        commit_log.commit([*nodes, PutService(service_row(wanted)), *map(PutTask, rows)])
        reconciler = Reconciler(commit_log, connected=lambda: {"n2"}, lease=15.0)
        commit_log.on_commit.append(measure)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reconciler.run)
            await wait_all_tasks_blocked()
            assert trio.current_time() == 0.0  # nothing else had to happen
            nursery.cancel_scope.cancel()
        assert len(commit_log.cluster.on_node("n2")) == REPLICAS
        assert max(sizes) <= AT_ONCE + 1  # one that is moved is two rows
        assert len(sizes) >= 2 * REPLICAS // (AT_ONCE + 1)
