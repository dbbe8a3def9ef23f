"""The live table on a real terminal: what stands there, and what is left of it."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest
from support_up import TRAPPING, marked, unique, wait_until, write_services
from tiny_terminal import Terminal

APP = Path(__file__).parent.parent.parent / "examples" / "app.py"


def write_two(file: Path) -> tuple[str, str]:
    """A service that is well, and one that keeps failing."""
    web, flaky = unique("web"), unique("flaky")
    command = [sys.executable, str(APP)]
    http = {"http": {"path": "/"}, "interval": "200ms", "timeout": "5s", "retries": 2}
    slow = {"delay": "9m", "max_delay": "10m"}
    ports = {"http": 0}
    services: dict[str, dict[str, object]] = {
        web: {"command": command, "replicas": 3, "ports": ports, "readiness": http},
        flaky: {"command": [*command, "0.5"], "ports": ports, "health": http, "restart": slow},
    }
    write_services(file, services)
    return web, flaky


def test_table_tells_all_on_80_by_24(file: Path, data: Path) -> None:
    web, flaky = write_two(file)
    with Terminal("up", file, "--data-dir", data) as terminal:
        terminal.wait_for("backoff ")
        terminal.wait_for(f"{web} 3/3 healthy")
        screen = terminal.wait_for(f"{flaky}.1#1 restarting in")
        assert len(screen) <= 24
        assert terminal.grid.overflows == []
        assert not terminal.grid.is_cursor_shown
        assert screen[0] == f"{web} 3/3 healthy   {flaky} 0/1 healthy, 1/1 restarting"
        assert screen[2].split() == ["TASK", "STATE", "READY", "RESTARTS", "LAST", "CHECK"]
        for slot in (1, 2, 3):
            row = rf"{web}\.{slot}#1 +running \d+s +yes +0  200 OK, (now|\ds ago)"
            assert re.fullmatch(row, screen[2 + slot])
        row = rf"{flaky}\.1#1 +backoff \d+m\d\ds +no +2  HTTP 500 .*, (now|\ds ago)"
        assert re.fullmatch(row, screen[6])
        assert re.match(r"  ended (now|\d+s ago): liveness probe failed 2 times: ", screen[7])
        assert screen[-1] == "Ctrl-C stops"


def test_what_is_typed_does_not_tear_the_table(file: Path, data: Path) -> None:
    name = unique("typed")
    write_services(file, {name: {"command": ["sleep", "1000"]}})
    with Terminal("up", file, "--data-dir", data) as terminal:
        assert terminal.echoes
        terminal.wait_for(f"{name} 1/1 healthy")
        assert not terminal.echoes
        terminal.press(b"xyzzy\n\n")
        terminal.resize(79, 23)  # it paints once more, after what was typed
        terminal.wait_for(lambda text: re.search(r"running [1-9]s", text) is not None)
        assert "xyzzy" not in "\n".join(terminal.grid.shown())
        terminal.press(b"\x03")
        assert terminal.wait() == 0
        assert terminal.echoes


@pytest.mark.parametrize(
    ("keys", "status"),
    [(b"\x1c", -signal.SIGQUIT), (b"\x03\x03", 128 + signal.SIGINT)],
)
def test_echo_comes_back_however_up_ends(file: Path, data: Path, keys: bytes, status: int) -> None:
    name = unique("echo")
    write_services(file, {name: {"command": ["sh", "-c", TRAPPING], "stop": {"grace": "10m"}}})
    with Terminal("up", file, "--data-dir", data) as terminal:
        terminal.wait_for(f"{name} 1/1 healthy")
        log = data / "logs"
        wait_until(
            lambda: any(b"trapping" in p.read_bytes() for p in log.rglob("*") if p.is_file()),
            "it ignores TERM",
        )
        terminal.press(keys[:1])
        if keys[1:]:
            terminal.wait_for("Ctrl-C again forces")
            terminal.press(keys[1:])
        assert terminal.wait() == status
        assert terminal.echoes
        assert terminal.grid.is_cursor_shown
    for pid in marked(name):
        os.kill(pid, signal.SIGKILL)


def test_ctrl_c_on_a_terminal_stops_and_leaves_the_table_standing(file: Path, data: Path) -> None:
    web, _ = write_two(file)
    with Terminal("up", file, "--data-dir", data) as terminal:
        terminal.wait_for(f"{web} 3/3 healthy")
        terminal.press(b"\x03")
        assert terminal.wait() == 0
        screen = terminal.grid.shown()
        assert terminal.grid.is_cursor_shown
        assert any(re.match(rf"{web}\.1#1 +stopped +no", line) for line in screen)
        assert not any("Ctrl-C" in line for line in screen)
        assert sum("READY" in line for line in screen) == 1
    assert marked(web) == {}


def test_ctrl_c_shows_what_it_waits_for_and_a_second_one_forces(file: Path, data: Path) -> None:
    name = unique("stubborn")
    spec = {"command": ["sh", "-c", TRAPPING], "stop": {"grace": "10m"}}
    write_services(file, {name: spec})
    with Terminal("up", file, "--data-dir", data) as terminal:
        terminal.wait_for(f"{name} 1/1 healthy")
        log = data / "logs"
        wait_until(
            lambda: any(b"trapping" in p.read_bytes() for p in log.rglob("*") if p.is_file()),
            "it ignores TERM",
        )
        terminal.press(b"\x03")
        screen = terminal.wait_for("stopping 1 task, Ctrl-C again forces")
        assert any(re.match(rf"{name}\.1#1 +stopping +no", line) for line in screen)
        terminal.press(b"\x03")
        assert terminal.wait() == 128 + signal.SIGINT
    assert marked(name) == {}


def test_table_follows_the_size_of_the_terminal(file: Path, data: Path) -> None:
    name = unique("many")
    write_services(file, {name: {"command": ["sleep", "1000"], "replicas": 12}})
    with Terminal("up", file, "--data-dir", data) as terminal:
        terminal.wait_for(f"{name} 12/12 healthy")
        terminal.resize(50, 10)
        screen = terminal.wait_for(lambda text: "more tasks" in text and "stops" in text)
        assert len(screen) <= 10
        assert sum("running" in line for line in screen) + _left_out(screen) == 12
        assert _left_out(screen) < 12
        terminal.resize(120, 40)
        screen = terminal.wait_for(lambda text: text.count("running") == 12)
        assert "more tasks" not in "\n".join(screen)


def _left_out(screen: list[str]) -> int:
    found = re.search(r"\.\.\. and (\d+) more tasks", "\n".join(screen))
    assert found
    return int(found[1])


def test_a_closed_terminal_stops_all_gently(file: Path, data: Path, tmp_path: Path) -> None:
    name = unique("gentle")
    proof = tmp_path / "proof"
    script = f"trap 'echo gently > {proof}; exit 0' TERM; while :; do sleep 0.05; done"
    write_services(file, {name: {"command": ["sh", "-c", script]}})
    with Terminal("up", file, "--data-dir", data) as terminal:
        terminal.wait_for(f"{name} 1/1 healthy")
        terminal.hang_up()
        assert terminal.process.wait(30) in (0, 1)  # SIGHUP and the failing write race
    assert proof.read_text() == "gently\n"
    assert marked(name) == {}


def test_plain_writes_lines_on_a_terminal_too(file: Path, data: Path) -> None:
    name = unique("plain")
    write_services(file, {name: {"command": ["sleep", "1000"]}})
    with Terminal("up", file, "--data-dir", data, "--plain") as terminal:
        terminal.wait_for(f"{name}: 1/1 healthy")
        assert "TASK" not in "\n".join(terminal.grid.shown())
