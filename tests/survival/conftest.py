"""Every test here has a data directory of its own, and leaves no process behind."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from support_cluster import Place, cleared


@pytest.fixture
def place(tmp_path: Path) -> Generator[Place, None, None]:
    with cleared(Place(tmp_path)) as found:
        yield found
