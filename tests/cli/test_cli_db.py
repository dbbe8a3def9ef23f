"""`warren db check` and `mend`, on databases with rows that no manager can deal with."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.scheduler.planning_kit import failure, node_row, service_row, spec, task_row
from warren.cli import main
from warren.model.cluster import Plan, PutNode, PutService, PutTask
from warren.model.task import Phase
from warren.scheduler.planner import plan
from warren.state.cluster_state import ClusterState, Touched
from warren.store.state import StateStore

WELL = "manager.sqlite: well"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "manager.sqlite"
    with closing(StateStore.open(path)) as store:
        rows = [
            PutNode(node_row("n1")),
            PutService(service_row(spec("web", 2))),
            PutService(service_row(spec("other"))),
            *(PutTask(task_row(f"web.{slot}#7", spec("web", 2), node="n1")) for slot in (1, 2)),
            PutTask(task_row("other.1#1", spec("other"), node="n1", epoch=4)),
        ]
        store.commit(rows, now=1.0)
    return path


def spoil(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as other, other:
        other.execute(statement)


def warren(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    status = main(["db", words[0], "--data-dir", str(words[1])])  # pyright: ignore
    return status, capsys.readouterr().out


@pytest.mark.parametrize(
    ("statement", "said", "left"),
    [
        (
            "UPDATE tasks SET failed_before = 9223372036854775807 WHERE slot = 2",
            "tasks: web.2#7: 1 task forgotten, the slot gets a new one",
            ["other.1#1", "web.1#7"],
        ),
        (
            "UPDATE specs SET spec = '{' WHERE service = 'web'",
            "specs: web at revision 1: 2 tasks forgotten",
            ["other.1#1"],
        ),
        (
            "UPDATE services SET spec = '{' WHERE name = 'web'",
            "service web: forgotten, with its tasks; create it anew",
            ["other.1#1"],
        ),
        (
            "UPDATE nodes SET epoch = 9223372036854775807",
            "node n1: taken for lost until it enrols",
            ["other.1#1", "web.1#7", "web.2#7"],
        ),
        (
            "UPDATE services SET spec = CAST(x'7bff' AS TEXT) WHERE name = 'web'",
            "service web: forgotten, with its tasks; create it anew",
            ["other.1#1"],
        ),
        (
            "UPDATE services SET name = CAST(x'77ff' AS TEXT) WHERE name = 'web'",
            "service w\\xff: forgotten, with its tasks; create it anew",
            ["other.1#1"],
        ),
        (
            "UPDATE tasks SET service = CAST(x'77ff' AS TEXT) WHERE service = 'web' AND slot = 2",
            "tasks: w\\xff.2#7: 1 task forgotten, the slot gets a new one",
            ["other.1#1", "web.1#7"],
        ),
        (
            "UPDATE nodes SET name = CAST(x'6eff' AS TEXT)",
            "node n\\xff: taken for lost until it enrols",
            ["other.1#1", "web.1#7", "web.2#7"],
        ),
    ],
)
def test_db_mend_forgets_what_cannot_be_read(
    database: Path,
    capsys: pytest.CaptureFixture[str],
    statement: str,
    said: str,
    left: list[str],
) -> None:
    spoil(database, statement)
    status, out = warren(capsys, "check", database.parent)
    assert status == 1, out
    status, out = warren(capsys, "mend", database.parent)
    assert status == 0, out
    assert f"{database}.before-mend: what was there before" in out
    assert said in out
    assert out.splitlines()[-1].endswith(WELL)
    with closing(StateStore.open(database)) as store:
        found = store.load()
    assert sorted(str(row.id) for row in found.tasks) == left
    assert found.faults == ()
    for row in found.services:
        if row.name == "web" and left != ["other.1#1", "web.1#7", "web.2#7"]:
            assert row.first_number == 8
    with closing(sqlite3.connect(f"{database}.before-mend")) as kept:
        assert kept.execute("SELECT count(*) FROM tasks").fetchone() == (3,)


def test_db_mend_leaves_a_well_database_alone(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = database.read_bytes()
    for word in ("check", "mend"):
        assert warren(capsys, word, database.parent) == (0, f"{database}: well\n")
    assert database.read_bytes() == before


def test_db_check_finds_and_mend_forgets_what_cannot_be_planned_for(
    database: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = task_row("web.1#7", spec("web", 2), node="n1", phase=Phase.FAILED)
    status = msgspec.structs.replace(failed.status, last_end=failure())
    with closing(StateStore.open(database)) as store:
        store.commit([PutTask(msgspec.structs.replace(failed, status=status))], now=1.0)

    def stumbling(
        world: ClusterState, touched: Touched, *, aside: Collection[str], **given: Any
    ) -> Plan:
        """Has a bug that a failed task of `web` brings out."""
        rows = [] if "web" in aside else world.of_service("web")
        if any(row.phase is Phase.FAILED for row in rows):
            raise OverflowError("Python int too large")
        return plan(world, touched, aside=aside, **given)

    monkeypatch.setattr("warren.manager.reconciler.plan", stumbling)
    status, out = warren(capsys, "check", database.parent)
    assert status == 1
    assert "service web: cannot be planned for: OverflowError: Python int too large" in out
    status, out = warren(capsys, "mend", database.parent)
    assert status == 0
    assert "service web: its tasks are forgotten, it gets new ones" in out
    with closing(StateStore.open(database)) as store:
        assert [str(row.id) for row in store.load().tasks] == ["other.1#1"]
        assert len(store.load().services) == 2


def test_db_check_finds_what_cannot_be_planned_for_beyond_the_first_plans(
    database: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(StateStore.open(database)) as store:
        rows = [PutService(service_row(spec(n, most))) for n, most in (("many", 900), ("web", 3))]
        store.commit(rows, now=1.0)

    def stumbling(
        world: ClusterState, touched: Touched, *, aside: Collection[str], **given: Any
    ) -> Plan:
        """Has a bug that the third task of `web` brings out."""
        if "web" not in aside and len(world.of_service("web")) == 3:
            raise OverflowError("Python int too large")
        return plan(world, touched, aside=aside, **given)

    monkeypatch.setattr("warren.manager.reconciler.plan", stumbling)
    status, out = warren(capsys, "check", database.parent)
    assert status == 1
    assert "service web: cannot be planned for: OverflowError: Python int too large" in out
