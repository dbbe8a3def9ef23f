"""Warren stands on its floors, and the checker of floors can fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from floors import LONGEST, built, violations

WARREN = Path(__file__).parent.parent / "warren"


def test_warren_stands_on_its_floors() -> None:
    found = violations(WARREN)
    assert not found, "\n".join(["the floors (see CONTRIBUTING.md):", *found])


def test_tools_and_benchmarks_build_only_scripted_nodes_and_what_they_measure() -> None:
    assert built(WARREN.parent / "tools") == {}
    assert built(WARREN.parent / "bench") == {
        "scripted.py": {"Dependencies", "open_node"},
        "staging.py": {"Dependencies", "PortAllocator", "SqliteJournal", "open_node"},
        # One part alone is measured.
        "exec_cpu.py": {"ProcessRuntime"},
        "reports.py": {"memory_gate"},
        "restart.py": {"ProcessRuntime"},
        "rpc.py": {"serve_gate"},
    }


def tree(folder: Path, files: dict[str, str]) -> Path:
    root = folder / "warren"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for package in [path.parent, *path.parent.parents]:
            if package == folder:
                break
            (package / "__init__.py").touch()
        path.write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param(
            {"model/a.py": "import warren.rules.b", "rules/b.py": ""},
            "model (floor 0) imports warren.rules.b (floor 1), above it",
            id="up",
        ),
        pytest.param(
            {"rules/a.py": "def f():\n  from ..cli import b", "cli/b.py": ""},
            "rules (floor 1) imports warren.cli.b (floor 8), above it",
            id="up-relative-inside-a-function",
        ),
        pytest.param(
            {
                "checks/a.py": "if TYPE_CHECKING:\n  from warren.runtime.b import C",
                "runtime/b.py": "",
            },
            "checks (floor 3) imports warren.runtime.b (floor 3), on the same floor",
            id="sideways-for-types-only",
        ),
        pytest.param(
            {"cli/a.py": "from warren import up", "__init__.py": "def up(): ..."},
            "imports warren.up from the root; only __version__ may be",
            id="the-root-from-inside",
        ),
        pytest.param(
            {"cli/a.py": "import warren.spare", "spare.py": ""},
            "imports warren.spare from the root",
            id="a-module-beside-the-root",
        ),
        pytest.param({"misc/a.py": ""}, "warren.misc stands on no floor", id="unknown-package"),
        pytest.param(
            {"cli/a.py": "import warren.node.gone"}, "which is no module", id="unknown-module"
        ),
        pytest.param(
            {"cli/a.py": "from warren.cli import b", "cli/b.py": "from .c import x", "cli/c.py":
             "import warren.cli.a"},
            "import cycle: warren.cli.a -> warren.cli.b -> warren.cli.c -> warren.cli.a",
            id="cycle",
        ),
        pytest.param(
            {"cli/__init__.py": "from .a import x", "cli/a.py": "from warren.cli import y"},
            "import cycle: warren.cli -> warren.cli.a -> warren.cli",
            id="cycle-through-a-package",
        ),
        pytest.param(
            {"checks/a.py": "import asyncio.events"},
            "uses asyncio, which is for warren/transport/ alone",
            id="asyncio",
        ),
        pytest.param(
            {"transport/a.py": "import asyncio", "transport/b.py": "from asyncio import Future"},
            "asyncio in 2 files; want one",
            id="asyncio-twice",
        ),
        pytest.param({"node/a.py": "import capnp"}, "uses capnp, which is for", id="capnp"),
        pytest.param(
            {"manager/a.py": "from sqlite3 import connect"},
            "uses sqlite3, which is for warren/store/ alone",
            id="sqlite",
        ),
        pytest.param(
            {"runtime/a.py": "import subprocess"},
            "a.py:1: uses subprocess, which is for warren/process/ alone",
            id="subprocess",
        ),
        pytest.param(
            {"runtime/a.py": "import os as system\nsystem.killpg(1, 9)"},
            "a.py:2: uses os.killpg",
            id="kill-under-another-name",
        ),
        pytest.param({"node/a.py": "from os import fork"}, "uses os.fork", id="fork"),
        pytest.param(
            {"model/a.py": "import signal\nsignal.pidfd_send_signal(3, 9)"},
            "a.py:2: uses signal.pidfd_send_signal",
            id="sending",
        ),
        pytest.param(
            {"nursery/a.py": "import trio\ntrio.lowlevel.open_process([])"},
            "uses trio.lowlevel.open_process",
            id="trio-process",
        ),
        pytest.param(
            {"nursery/a.py": "import trio\ntrio.open_signal_receiver(2)"},
            "uses trio.open_signal_receiver, which is for warren/process/ and warren/cli/ alone",
            id="receiving",
        ),
        pytest.param(
            {
                "cli/a.py": "from warren.store.state import StateStore",
                "store/state.py": "",
            },
            "a.py:1: uses warren.store.state.StateStore, which is for warren/wiring/ and"
            " warren/store/ alone",
            id="building",
        ),
        pytest.param(
            {"runtime/a.py": 'where = f"/sys/fs/cgroup/{1}"'},
            "cgroups are for warren/process/ alone",
            id="cgroup",
        ),
        *(
            pytest.param({f"{package}/a.py": f"from {name} import x"}, f"imports {name};",
                         id=f"{name}-in-{package}")
            for package in ("model", "rules")
            for name in ("trio", "time", "random", "logging", "os")
        ),
        pytest.param(
            {"rules/a.py": "class A:\n  async def b(self): ..."},
            "a.py:2: defines async b; rules is pure and awaits nothing",
            id="async-rule",
        ),
        pytest.param(
            {"cli/a.py": "\n" * (LONGEST + 1)}, f"has {LONGEST + 1} lines, more than", id="long"
        ),
    ],
)  # fmt: skip
def test_floors_refuse(tmp_path: Path, files: dict[str, str], said: str) -> None:
    found = violations(tree(tmp_path, files))
    assert len(found) >= 1
    assert any(said in line for line in found), found


def test_floors_allow_what_the_design_allows(tmp_path: Path) -> None:
    files = {
        "__init__.py": '__version__ = "1"\nfrom warren.cli import x',
        "__main__.py": "from warren.cli import main",
        "model/a.py": "import signal\nfrom typing import Protocol\nsignal.Signals\n"
        "class Waits(Protocol):\n  async def wait(self): ...",
        "process/a.py": "import os, subprocess\nos.killpg(1, 9)\nwhere = '/sys/fs/cgroup'",
        "process/b.py": "from warren.process import a",
        "checks/a.py": '"""Not in /sys/fs/cgroup."""\nimport os, socket\nos.getpid()',
        "transport/a.py": "import asyncio, capnp\nasyncio.run",
        "store/a.py": "import sqlite3",
        "nursery/a.py": "from ..rules import b\nfrom ..model.a import Waits",
        "rules/b.py": "from warren.model.a import Waits\n" + "\n" * (LONGEST - 1),
        "cli/__init__.py": "from warren import __version__\nimport trio\n"
        "trio.open_signal_receiver(2)",
    }
    assert violations(tree(tmp_path, files)) == []
