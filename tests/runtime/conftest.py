from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

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
