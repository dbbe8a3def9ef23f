from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from tests.engines import RealEngine, lacking, running_engine
from tests.runtime.runtime_kit import kinds, runtime_in
from warren.process.choose_tree import TreeKind
from warren.runtime.process import ProcessRuntime


@pytest.fixture(params=kinds())
def kind(request: pytest.FixtureRequest) -> TreeKind:
    return request.param


@pytest.fixture
def runtime(kind: TreeKind, tmp_path: Path) -> Generator[ProcessRuntime]:
    runtime = runtime_in(tmp_path, kind)
    with closing(runtime.starter):
        runtime.starter.open()
        yield runtime


@pytest.fixture(scope="session", params=["docker", "podman"])
def engine(request: pytest.FixtureRequest) -> Generator[RealEngine]:
    """A real engine, one of each kind for all tests."""
    lacks = lacking(request.param)
    if lacks is not None:
        pytest.skip(f"no {request.param} here: {lacks}")
    with running_engine(request.param) as engine:
        yield engine
