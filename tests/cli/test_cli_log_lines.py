"""Output as lines with times: by when each was written, by what the node has noted."""

from __future__ import annotations

import time

from warren.cli.render.log_lines import Lines
from warren.model.view import LogChunk, LogMark


def shown(*chunks: LogChunk) -> list[str]:
    """The lines, with times in seconds since the epoch."""
    found = b""

    def put(data: bytes) -> None:
        nonlocal found
        found += data

    lines = Lines("web.1", put, times=True)
    for chunk in chunks:
        lines.take(chunk)
    lines.end()
    return found.decode().splitlines()


def moment(at: float) -> str:
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))}.000"


def test_line_has_no_time_after_the_end_of_its_instance() -> None:
    # A node that notes times once a second has none between the last words and the first.
    noted = LogMark(at=107.0, offset=16)
    begins = LogMark(at=103.0, offset=5, task="web.1#2", instance="b")
    wanted = [
        f"web.1 {moment(103)} | last",
        f"web.1 --- web.1#2 began at {moment(103)}",
        f"web.1 {moment(107)} | first word",
    ]
    assert shown(LogChunk(data=b"last\nfirst word\n", marks=(begins, noted))) == wanted
    unfinished = LogChunk(data=b"last", marks=(LogMark(at=107.0, offset=16),))
    begins, noted = LogMark(at=103.0, offset=0, task="web.1#2"), LogMark(at=107.0, offset=11)
    assert shown(unfinished, LogChunk(data=b"first word\n", marks=(begins, noted))) == wanted
