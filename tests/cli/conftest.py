"""Where the tests of the command put a service file and keep a supervisor's things."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from fake_cluster import FakeCluster, Person, opened


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "warren.yaml"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def person(
    cluster: FakeCluster,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Person:
    """Somebody at a shell, with the fake cluster at every address."""

    def fake_open(_address: str) -> AbstractAsyncContextManager[FakeCluster]:
        return opened(cluster)

    monkeypatch.setattr("warren.client.connect.open_cluster", fake_open)
    for name in ("WARREN_ADDR", "WARREN_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    return Person(cluster, capfdbinary)
