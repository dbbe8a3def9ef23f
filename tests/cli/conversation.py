"""Conversations with the command, as files: what is typed, and what must come back.

    # a remark
    % warren.yaml            a file, with the indented lines that follow
    $ warren service ls      a command; what follows is its output, to the last line
    ~ warren service ls      the same, asked again until this is the answer
    ! a line                 there is such a line on standard error, after those before it
    [3]                      the exit status, where it is not 0
    ...                      any lines

In a line `<any>` is any text, and `<pid>`, `<port>`, `<id>`, `<time>`, `<span>`, `<ago>`, `<ms>`
what they say. Columns are told apart by two spaces or more.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from support_up import run, wait_until

_HOLES = {
    "any": r".*",
    "pid": r"\d+",
    "port": r"\d+",
    "id": r"[a-z0-9.-]+",
    "time": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
    "span": r"(?:\d+[smhd])+",
    "ago": r"(?:now|(?:\d+[smhd])+ ago)",
    "ms": r"\d+\.\d ms",
}


class Turn(msgspec.Struct):
    """A command and its answer."""

    line: int
    typed: str
    is_awaited: bool
    out: list[str] = msgspec.field(default_factory=list[str])
    err: list[str] = msgspec.field(default_factory=list[str])
    status: int = 0


def read(path: Path, folder: Path) -> Iterator[Turn]:
    """The turns of a conversation; its files are written to the folder."""
    turn: Turn | None = None
    file: Path | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if file is not None and line.startswith("    "):
            file.write_text(file.read_text("utf-8") + line[4:] + "\n", encoding="utf-8")
            continue
        file = None
        if line.startswith(("$ ", "~ ", "% ", "#")) or not line:
            if turn is not None:
                yield turn
            turn = None
        if line.startswith("% "):
            file = folder / line[2:]
            file.write_text("", encoding="utf-8")
        elif line.startswith(("$ ", "~ ")):
            turn = Turn(number, line[2:], line[0] == "~")
        elif turn is not None and line.startswith("! "):
            turn.err.append(line[2:])
        elif turn is not None and (status := re.fullmatch(r"\[(\d+)\]", line)):
            turn.status = int(status[1])
        elif turn is not None:
            turn.out.append(line)
    if turn is not None:
        yield turn


def hold(turn: Turn, folder: Path, env: Mapping[str, str]) -> None:
    """Type the command until the answer is right, or once. Raises AssertionError."""
    said = ""

    def is_right() -> bool:
        nonlocal said
        program, *arguments = shlex.split(turn.typed)
        assert program == "warren"
        done = run(*arguments, cwd=folder, env=env)
        said = f"line {turn.line}: {turn.typed}\n{done.stdout}{done.stderr}[{done.returncode}]"
        return (
            done.returncode == turn.status
            and matches(turn.out, done.stdout.splitlines())
            and _has_lines(turn.err, done.stderr.splitlines())
        )

    if not turn.is_awaited:
        assert is_right(), said
        return
    try:
        wait_until(is_right, turn.typed)
    except AssertionError:
        raise AssertionError(said) from None


def matches(wanted: Sequence[str], lines: Sequence[str]) -> bool:
    """Whether the lines are what is wanted, all of them."""
    if not wanted:
        return not lines
    if wanted[0] == "...":
        return any(matches(wanted[1:], lines[skipped:]) for skipped in range(len(lines) + 1))
    return bool(lines) and _is(wanted[0], lines[0]) and matches(wanted[1:], lines[1:])


def _has_lines(wanted: Sequence[str], lines: Sequence[str]) -> bool:
    return matches(["...", *(part for line in wanted for part in (line, "..."))], lines)


def _is(wanted: str, line: str) -> bool:
    parts = re.split(r"<([a-z]+)>", _squeezed(wanted))
    pattern = "".join(
        _HOLES[part] if index % 2 else re.escape(part) for index, part in enumerate(parts)
    )
    return re.fullmatch(pattern, _squeezed(line)) is not None


def _squeezed(line: str) -> str:
    return re.sub(r"(?<=\S) {2,}", "  ", line)
