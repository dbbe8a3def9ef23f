"""Draws the diagram of a task's life into docs/architecture.md, from the table itself."""

from __future__ import annotations

import re
from pathlib import Path

from warren.rules.lifecycle import diagram

PAGE = Path(__file__).parent.parent / "docs" / "architecture.md"


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    block = f"```mermaid\n{diagram()}```"
    PAGE.write_text(re.sub(r"```mermaid\n.*?```", block, text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
