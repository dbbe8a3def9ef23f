"""Which kind of tree: a cgroup where one is available, else a walk."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from warren.process import cgroup, procfs
from warren.process.cgroup import Cgroups, CgroupTree
from warren.process.controllers import leave_controllers, take_controllers
from warren.process.proc_walk import ProcWalks, WalkTree
from warren.process.reaper import Reaper
from warren.process.tree import INSTANCE_VARIABLE, ProcessTree, ProcessTrees

TreeKind = Literal["cgroup", "walk"]


def choose_trees(kind: TreeKind | None, *, token: str, reaper: Reaper) -> ProcessTrees:
    """The trees of the kind asked for, or of the best kind. Raises ValueError: not available."""
    base = None if kind == "walk" else cgroup.find_base(token)
    if base is not None:
        return Cgroups(base, reaper, take_controllers(base.parent))
    if kind == "cgroup":
        raise ValueError("trees: 'cgroup': want 'walk', as no writable cgroup2 is mounted here")
    return ProcWalks(reaper)


def leave_trees(trees: ProcessTrees) -> None:
    """Put back what was changed for their limits, where nothing is left that needs it."""
    if isinstance(trees, Cgroups) and trees.controllers.has_moved and not trees.base.exists():
        leave_controllers(trees.base.parent)


def find_tree(instance: str, handle: str, *, pid: int, start: int, reaper: Reaper) -> ProcessTree:
    """The tree an earlier supervisor started, of whatever kind. `pid` 0: no main is known."""
    if handle and cgroup.is_below_mount(Path(handle)):
        return CgroupTree(Path(handle), instance, reaper)
    tree = WalkTree({INSTANCE_VARIABLE: instance}, reaper)
    if pid and procfs.is_same(pid, start):
        tree.lead(pid, start)
    return tree
