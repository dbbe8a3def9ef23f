"""Where the tests of the command put a service file and keep a supervisor's things."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "warren.yaml"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"
