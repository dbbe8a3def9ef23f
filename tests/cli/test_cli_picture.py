"""docs/up.svg: drawn from a real run, and fetching nothing from anywhere."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

PICTURE = Path(__file__).parent.parent.parent / "docs" / "up.svg"


def test_picture_shows_the_quick_start_and_names_no_address() -> None:
    text = PICTURE.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    shown = "".join(root.itertext()).replace("\N{NO-BREAK SPACE}", " ")
    assert "warren up examples/quickstart.yaml" in shown
    assert re.search(r"web\s*3/3 healthy", shown)
    assert re.search(r"flaky\s*0/1 healthy, 1/1 restarting", shown)
    assert set(re.findall(r"https?://[^\"' )]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "font-family: monospace" in text
