"""The floors of a package and what is forbidden on them, read from its imports.

Nothing is imported: every file is parsed. `violations(folder)` gives sentences, one per breach; the
folder's own name is the package's. Imports inside functions and under TYPE_CHECKING count too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

FLOORS = {
    "model": 0,
    "rules": 1,
    "resilience": 1,
    "process": 2,
    "logs": 2,
    "net": 2,
    "engine": 2,
    "checks": 3,
    "runtime": 3,
    "store": 3,
    "transport": 3,
    "manifest": 3,
    "state": 3,
    "nursery": 4,
    "scheduler": 4,
    "manager": 5,
    "node": 5,
    "client": 6,
    "wiring": 7,
    "cli": 8,
}
ROOT = 9  # the package itself and what lies beside its `__init__.py`
LONGEST = 400  # lines of a file

PURE = ("model", "rules", "state", "scheduler")
IMPURE_MODULES = ("asyncio", "logging", "os", "random", "secrets", "socket", "time", "trio")
HOMES = {  # an outside, and the packages that may touch it
    "asyncio": ("transport",),
    "capnp": ("transport",),
    "sqlite3": ("store",),
    "subprocess": ("process",),
    "multiprocessing": ("process",),
    **{
        f"os.{name}": ("process",)
        for name in (
            *("fork", "forkpty", "kill", "killpg", "pidfd_open", "popen", "system"),
            *("posix_spawn", "posix_spawnp", "wait", "wait3", "wait4", "waitid", "waitpid"),
            *("execl", "execle", "execlp", "execlpe", "execv", "execve", "execvp", "execvpe"),
        )
    },
    "signal.pidfd_send_signal": ("process",),
    "signal.pthread_kill": ("process",),
    "signal.raise_signal": ("process",),
    "signal.set_wakeup_fd": ("process",),
    "signal.signal": ("process",),
    "trio.lowlevel.open_process": ("process",),
    "trio.run_process": ("process",),
    "trio.open_signal_receiver": ("process", "cli"),
    # The parts that a program is made of are put together in one room.
    "warren.manager.program.open_manager": ("wiring",),
    "warren.node.program.open_node": ("wiring",),
    "warren.nursery.dependencies.Dependencies": ("wiring", "node", "nursery"),
    "warren.runtime.port_allocator.PortAllocator": ("wiring",),
    "warren.runtime.engine.EngineRuntime": ("wiring",),
    "warren.runtime.process.ProcessRuntime": ("wiring",),
    "warren.store.journal.SqliteJournal": ("wiring", "store"),
    "warren.store.state.StateStore": ("wiring", "store"),
    "warren.transport.memory.memory_gate": ("wiring",),
    "warren.transport.server.serve_gate": ("wiring",),
}
CGROUP_MARKS = ("/sys/fs/cgroup", "cgroup.procs", "cgroup.kill", "cgroup.events")


class Module(NamedTuple):
    """One parsed file. `name` is dotted, from the package on; `package` is its floor's name."""

    name: str
    path: Path
    is_package: bool
    lines: int
    tree: ast.Module

    @property
    def package(self) -> str | None:
        """The package it stands in, None for the root."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 2 or (len(parts) == 2 and self.is_package) else None

    @property
    def is_cold(self) -> bool:
        return self.package in PURE


class Import(NamedTuple):
    """One thing a module imports: `a.b` and, for `from a.b import c`, the name `c`."""

    source: str
    name: str | None
    line: int

    @property
    def dotted(self) -> str:
        return f"{self.source}.{self.name}" if self.name else self.source


def violations(folder: Path) -> list[str]:
    """Every breach of the floors below this folder, as sentences with file and line."""
    modules = {module.name: module for module in read_modules(folder)}
    found: list[str] = []
    for module in modules.values():
        found += _length(module)
        found += _directions(module, modules)
        found += _outsides(module, folder.name)
        found += _cold(module)
    return found + _loops(modules) + _cycles(modules)


def built(folder: Path) -> dict[str, set[str]]:
    """The parts that files of a folder beside the package put together, by file."""
    found: dict[str, set[str]] = {}
    for module in read_modules(folder):
        for dotted, _ in _uses(module):
            if dotted.startswith("warren.") and dotted in HOMES:
                found.setdefault(module.path.name, set()).add(dotted.rpartition(".")[2])
    return found


def read_modules(folder: Path) -> Iterator[Module]:
    """Every Python file below the folder, parsed."""
    for path in sorted(folder.rglob("*.py")):
        parts = [folder.name, *path.relative_to(folder).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        text = path.read_text(encoding="utf-8")
        name = ".".join(parts[:-1] if is_package else parts)
        yield Module(name, path, is_package, len(text.splitlines()), ast.parse(text, str(path)))


def imports_of(module: Module) -> Iterator[Import]:
    """What a module imports, relative imports resolved."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, None, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(module, node)
            for alias in node.names:
                yield Import(source, alias.name, node.lineno)


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    kept = len(parts) - node.level + module.is_package
    return ".".join([*parts[:kept], *([node.module] if node.module else [])])


def _at(module: Module, line: int) -> str:
    return f"{module.path}:{line}: "


def _length(module: Module) -> list[str]:
    if module.lines <= LONGEST:
        return []
    return [f"{module.path}: has {module.lines} lines, more than {LONGEST}: split it"]


def _target(imported: Import, modules: Mapping[str, Module]) -> str:
    return imported.dotted if imported.dotted in modules else imported.source


def _directions(module: Module, modules: Mapping[str, Module]) -> Iterator[str]:
    root = module.name.split(".")[0]
    if module.package is not None and module.package not in FLOORS:
        yield f"{module.path}: {root}.{module.package} stands on no floor: give it one"
        return
    for imported in imports_of(module):
        if imported.source.split(".")[0] != root:
            continue
        target = modules.get(_target(imported, modules))
        if target is None:
            yield _at(module, imported.line) + f"imports {imported.dotted}, which is no module"
        elif target.package is None:
            if module.package is not None and imported.dotted != f"{root}.__version__":
                said = f"imports {imported.dotted} from the root; only __version__ may be"
                yield _at(module, imported.line) + said
        elif target.package in FLOORS and target.package != module.package:
            yield from _climbs(module, target, imported.line)


def _climbs(module: Module, target: Module, line: int) -> Iterator[str]:
    here = FLOORS[module.package] if module.package else ROOT
    assert target.package
    there = FLOORS[target.package]
    if there < here:
        return
    way = "on the same floor" if there == here else "above it"
    yield _at(module, line) + (
        f"{module.package} (floor {here}) imports {target.name} (floor {there}), {way}; "
        "imports go down only"
    )


def _outsides(module: Module, root: str) -> Iterator[str]:
    """Imports and uses of what only some packages may touch. The root may nothing."""
    seen: set[tuple[str, int]] = set()
    for dotted, line in _uses(module):
        home = next((name for name in HOMES if f"{dotted}.".startswith(f"{name}.")), None)
        if home is None or module.package in HOMES[home] or (home, line) in seen:
            continue
        seen.add((home, line))
        allowed = " and ".join(f"{root}/{package}/" for package in HOMES[home])
        yield _at(module, line) + f"uses {home}, which is for {allowed} alone"
    if module.package != "process":
        for text, line in _texts(module.tree):
            if any(mark in text for mark in CGROUP_MARKS):
                said = f"names {text!r}: cgroups are for {root}/process/ alone"
                yield _at(module, line) + said


def _uses(module: Module) -> Iterator[tuple[str, int]]:
    """Dotted names that a module imports or reaches through an import, with their lines."""
    known: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                known[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                known[alias.asname or alias.name] = f"{_absolute(module, node)}.{alias.name}"
    for imported in imports_of(module):
        yield imported.dotted, imported.line
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            dotted = _dotted(node, known)
            if dotted:
                yield dotted, node.lineno


def _dotted(node: ast.expr, known: Mapping[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value, known)
        return before and f"{before}.{node.attr}"
    return None


def _texts(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """String constants, docstrings left out."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value, node.lineno


def _cold(module: Module) -> Iterator[str]:
    """A pure package imports no clock, chance, log, system or event loop, and awaits nothing.

    A Protocol may promise `async def`: it is a word, not a deed.
    """
    if not module.is_cold:
        return
    for imported in imports_of(module):
        first = imported.dotted.split(".")[0]
        if first in IMPURE_MODULES:
            said = f"imports {first}; {module.package} is pure: take it as an argument"
            yield _at(module, imported.line) + said
    promised = {
        id(item)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and _is_protocol(node)
        for item in node.body
    }
    for node in ast.walk(module.tree):
        if isinstance(node, ast.AsyncFunctionDef) and id(node) not in promised:
            said = f"defines async {node.name}; {module.package} is pure and awaits nothing"
            yield _at(module, node.lineno) + said


def _is_protocol(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)


def _loops(modules: Mapping[str, Module]) -> list[str]:
    """asyncio may be met in one file of the whole tree."""
    files = [
        str(module.path)
        for module in modules.values()
        if any(imported.dotted.split(".")[0] == "asyncio" for imported in imports_of(module))
    ]
    return [f"{', '.join(files)}: asyncio in {len(files)} files; want one"] if files[1:] else []


def _cycles(modules: Mapping[str, Module]) -> list[str]:
    """Modules that import each other, however long the way round. `__version__` is no edge."""
    edges = {
        name: {
            _target(imported, modules)
            for imported in imports_of(module)
            if imported.name != "__version__"
        }
        & modules.keys()
        for name, module in modules.items()
    }
    return [f"import cycle: {' -> '.join(ring)}" for ring in _rings(edges)]


def _rings(edges: Mapping[str, Iterable[str]]) -> Iterator[list[str]]:
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> Iterator[list[str]]:
        if name in way:
            yield [*way[way.index(name) :], name]
        elif name not in done:
            for other in sorted(edges[name]):
                yield from walk(other, [*way, name])
            done.add(name)

    for name in sorted(edges):
        yield from walk(name, [])
