"""`warren db`: care for the manager's database, beside a running manager or without one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from warren.cli.options import Where
from warren.cli.out import put

DATABASE = "manager.sqlite"
DataDir = Annotated[Path | None, Parameter(env_var="WARREN_DATA_DIR", metavar="DIR")]


def check(*, data_dir: DataDir = None) -> int:
    """Say what is wrong with the database; nothing is changed.

    Exit status: 0 it is well, 1 it is not.

    Parameters
    ----------
    data_dir
        Of the manager.
    """
    from warren.store.upkeep import check as faults_of

    database = _database(data_dir)
    faults = faults_of(database)
    put(faults or [f"{database}: well"])
    return 1 if faults else 0


def backup(target: Path, /, *, data_dir: DataDir = None) -> int:
    """Copy the database as it is at one moment; a running manager is not held up.

    Parameters
    ----------
    target
        A file that does not exist yet.
    data_dir
        Of the manager.
    """
    from warren.store.upkeep import backup as copy

    copy(_database(data_dir), target)
    put([f"{target}: written"])
    return 0


def restore(source: Path, /, *, data_dir: DataDir = None) -> int:
    """Put a backup in the place of the database; no manager may be running.

    Parameters
    ----------
    source
        What `warren db backup` has written.
    data_dir
        Of the manager.
    """
    from warren.store.upkeep import restore as put_back

    database = _database(data_dir)
    kept = put_back(database, source)
    put([f"{database}: restored"] + ([f"{kept}: what was there before"] if kept else []))
    return 0


def _database(data_dir: Path | None) -> Path:
    return Where(data_dir=data_dir).directory / DATABASE
