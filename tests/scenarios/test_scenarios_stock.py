"""Clients that know nothing but the schema and docs/protocol.md, and a real Warren."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_cluster import Place
from support_up import marked, unique

from tests.transport.stock_clients import CLIENTS, STEPS, converse, stock_client


@pytest.mark.parametrize("language", CLIENTS)
def test_stock_client_creates_scales_and_removes_real_processes(
    tmp_path: Path, language: str
) -> None:
    client = stock_client(language, tmp_path)
    place = Place(tmp_path)
    name = unique("stock")
    with place.up():
        done = converse(client, str(place.data / "warren.sock"), name, "sleep", "1000")
        assert done == STEPS
        assert marked(name) == {}
        place.ask("service", "inspect", name, status=3)
