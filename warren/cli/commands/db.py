"""`warren db`: maintain the manager's database, with or without a running manager."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from warren.cli.answers import put
from warren.cli.options.common import Where
from warren.wiring.data_dir import DATABASE, given_data_dir

DataDir = Annotated[
    Path | None, Parameter(env_var="WARREN_DATA_DIR", metavar="DIR", converter=given_data_dir)
]


def check(*, data_dir: DataDir = None) -> int:
    """Report what is wrong with the database; nothing is changed.

    Exit status: 0 it is well, 1 it is not.

    Parameters
    ----------
    data_dir
        The manager's directory.
    """
    from warren.store.backup import check as faults_of

    database = _database(data_dir)
    faults = faults_of(database)
    if not faults:
        faults = [f"{database}: {said}" for said in _unplanned(database).values()]
    put(faults or [f"{database}: well"])
    return 1 if faults else 0


def mend(*, data_dir: DataDir = None) -> int:
    """Drop what no manager can read or process; no manager may be running.

    The database is copied first. What runs of a task that is forgotten is ended by its node, and
    its slot gets a new task.

    Parameters
    ----------
    data_dir
        The manager's directory.
    """
    from warren.store.backup import check as faults_of
    from warren.store.lock import locked
    from warren.store.repair import forget_service, forget_tasks, keep, mend_rows

    database = _database(data_dir)
    with locked(database.parent, role="manager"):
        if not faults_of(database) and not _unplanned(database):
            put([f"{database}: well"])
            return 0
        put([f"{keep(database)}: what was there before", *mend_rows(database)])
        for name in _unplanned(database):
            forget_tasks(database, name)
            put([f"service {name}: its tasks are forgotten, it gets new ones"])
        for name in _unplanned(database):
            forget_service(database, name)
            put([f"service {name}: forgotten; create it anew"])
        faults = faults_of(database)
    put(faults or [f"{database}: well"])
    return 1 if faults else 0


def backup(target: Path, /, *, data_dir: DataDir = None) -> int:
    """Copy the database as it is at one moment; a running manager is not blocked.

    Parameters
    ----------
    target
        A file that does not exist yet.
    data_dir
        The manager's directory.
    """
    from warren.store.backup import backup as copy

    copy(_database(data_dir), target)
    put([f"{target}: written"])
    return 0


def restore(source: Path, /, *, data_dir: DataDir = None) -> int:
    """Replace the database with a backup; no manager may be running.

    Parameters
    ----------
    source
        What `warren db backup` has written.
    data_dir
        The manager's directory.
    """
    from warren.store.backup import restore as put_back

    database = _database(data_dir)
    kept = put_back(database, source)
    put([f"{database}: restored"] + ([f"{kept}: what was there before"] if kept else []))
    return 0


def _unplanned(database: Path) -> Mapping[str, str]:
    """What is wrong with services that a manager would set aside, by name: tried on a copy."""
    from warren.wiring.trial_plan import unplanned

    found = unplanned(database)
    return {name: f"service {name}: cannot be planned for: {why}" for name, why in found.items()}


def _database(data_dir: Path | None) -> Path:
    return Where(data_dir=data_dir).directory / DATABASE
