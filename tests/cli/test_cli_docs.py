"""docs/cli.md is what the command says of itself."""

from __future__ import annotations

import pytest

from tools.cli_docs import PAGE, page
from warren.cli.options.service_flags import GROUPS


@pytest.fixture
def generated() -> str:
    return page()


def test_cli_page_is_what_the_tool_writes(generated: str) -> None:
    assert PAGE.read_text(encoding="utf-8") == generated, "run `just cli-docs`"


def test_cli_page_has_every_command_with_every_option_explained(generated: str) -> None:
    for command in (
        "up", "manager run", "node run", "node ls", "node inspect", "service create", "service ls",
        "service inspect", "service ps", "service scale", "service update", "service restart",
        "service logs", "service rm", "apply", "task ls", "task inspect", "task logs", "events",
        "check http", "check tcp", "check exec", "db check", "db backup", "db restore", "status",
    ):  # fmt: skip
        assert f"\n## warren {command}\n" in generated
    assert "|  |" not in generated
    assert all(f"`--{group}-*`" in generated for group in GROUPS)
