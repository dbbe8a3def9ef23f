"""Which kind of tree: a cgroup where one can be had, else a walk."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from warren.process import cgroup, procfs
from warren.process.cgroup import Cgroups, CgroupTree
from warren.process.reaper import Reaper
from warren.process.tree import INSTANCE_VARIABLE, Tree, Trees
from warren.process.walk import Walks, WalkTree

TreeKind = Literal["cgroup", "walk"]


def choose_trees(kind: TreeKind | None, *, token: str, reaper: Reaper) -> Trees:
    """The trees of the kind asked for, or of the best kind. Raises ValueError: not to be had."""
    base = None if kind == "walk" else cgroup.find_base(token)
    if base is not None:
        return Cgroups(base, reaper)
    if kind == "cgroup":
        raise ValueError("trees: 'cgroup': want 'walk', as no writable cgroup2 is mounted here")
    return Walks(reaper)


def find_tree(instance: str, handle: str, *, pid: int, start: int, reaper: Reaper) -> Tree:
    """The tree an earlier supervisor started, whatever kind it was. `pid` 0: no main is known."""
    if handle and cgroup.is_below_mount(Path(handle)):
        return CgroupTree(Path(handle), instance, reaper)
    tree = WalkTree({INSTANCE_VARIABLE: instance}, reaper)
    if pid and procfs.is_same(pid, start):
        tree.lead(pid, start)
    return tree
