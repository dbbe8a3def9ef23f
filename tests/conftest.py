"""What every test may lean on: the marks that say where a test can run, and what is left out.

`pytest` alone leaves out what is slow, and says so before it starts; `just check` runs all of it.
Both have a process for every processor. Tests that are asked for by their place run here, in one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import settings

from tests.engines import RealEngine, lacking, running_engine
from warren.store import log_sync

# Whole programs, and what is repeated for many seeds or steps; besides what is marked `slow`.
# Coverage would slow these down much, and programs that are killed would not live to write it.
SLOW = (
    "tests/survival/",
    "tests/scenarios/",
    "tests/sim/",
    "tests/cli/test_cli_check.py",
    "tests/cli/test_cli_conversations.py",
    "tests/cli/test_cli_flags.py",
    "tests/cli/test_cli_output.py",
    "tests/cli/test_cli_real.py",
    "tests/cli/test_cli_terminal.py",
    "tests/cli/test_cli_up.py",
    "tests/cli/test_cli_watch.py",
    "tests/logs/test_logs_watcher.py",
    "tests/nursery/test_nursery_real.py",
    "tests/scheduler/test_scheduler_planner_simulation.py",
    "tests/runtime/test_runtime_leaks.py",
    "tests/store/test_store_state_faults.py",
    "tests/test_check_kinds.py",
    "tests/test_docs.py",
    "tests/test_lossless.py",
    "tests/transport/test_transport_stock.py",
)
UNTRACED = (*SLOW, "tests/test_floors.py")
settings.register_profile("quick", max_examples=25)  # of a property that does not say how many
_MOST_WORKERS = 4  # what is timed shall not wait for a processor


@pytest.fixture(autouse=True)
def syncs_take_no_virtual_time(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that jumps when nothing runs would not wait for a thread."""
    if "autojump_clock" in request.fixturenames:
        monkeypatch.setattr(log_sync, "in_thread", _in_loop)


async def _in_loop(function: Callable[[], None], _limiter: object) -> None:
    await trio.lowlevel.checkpoint()
    function()


@pytest.fixture(scope="session", params=["docker", "podman"])
def engine(request: pytest.FixtureRequest) -> Generator[RealEngine]:
    """A real engine, one of each kind for all tests."""
    lacks = lacking(request.param)
    if lacks is not None:
        pytest.skip(f"no {request.param} here: {lacks}")
    with running_engine(request.param) as engine:
        yield engine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the slow tests too")


def pytest_report_header(config: pytest.Config) -> str:
    if config.option.all:
        return "all tests, the slow ones too: about a quarter of an hour on two cores"
    return "the quick tests, about 3 minutes on two cores; the slow ones come with --all"


@pytest.hookimpl(tryfirst=True)  # `-m` sees the marks made here
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs root where there is none; `-ra` counts and shows the reason."""
    for item in items:
        if _place(item).startswith(UNTRACED):
            item.add_marker("untraced")
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("needs_root"):
                item.add_marker(pytest.mark.skip(reason="needs root"))
    if config.option.all or _names_something(config):
        return
    slow = [item for item in items if _is_slow(item)]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not _is_slow(item)]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return 0 if _names_something(config) else min(len(os.sched_getaffinity(0)), _MOST_WORKERS)


class Workers:
    """What the process that gives out the tests tells those that run them."""

    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["names_something"] = _names_something(node.config)


def pytest_configure(config: pytest.Config) -> None:
    if not (config.option.all or _names_something(config)):
        settings.load_profile("quick")
    if config.pluginmanager.hasplugin("dsession"):
        config.pluginmanager.register(Workers())


def _names_something(config: pytest.Config) -> bool:
    """Whether somebody has asked for these tests by their place."""
    told: dict[str, bool] = getattr(config, "workerinput", {})
    asked = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    return told.get("names_something", asked)


def _is_slow(item: pytest.Item) -> bool:
    return _place(item).startswith(SLOW) or item.get_closest_marker("slow") is not None


def _place(item: pytest.Item) -> str:
    return Path(item.path).relative_to(item.config.rootpath).as_posix()
