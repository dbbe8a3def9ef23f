"""What `warren up` writes, for programs too, and what becomes of it when nobody reads."""

from __future__ import annotations

import fcntl
import json
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path

from support_up import marked, unique, up, wait_until, write_services


def test_up_writes_json_that_programs_can_read(file: Path, data: Path) -> None:
    web = unique("web")
    write_services(file, {web: {"command": ["sleep", "1000"], "replicas": 2}})
    with up(file, data, "--json-log", "--log-level", "info") as command:
        command.read_until('"health":"2/2 healthy"')
        command.send(signal.SIGINT)
        assert command.wait() == 0
        rows = [json.loads(line) for line in command.lines]
        logged = [json.loads(line) for line in command.errors.splitlines()]
    fields = "at task service kind reason message phase ready restarts pid health facts"
    assert all(" ".join(row) == fields for row in rows)
    assert {row["service"] for row in rows} == {web}
    kinds = [row["kind"] for row in rows if row["task"] == f"{web}.1#1"]
    assert kinds == ["started", "ready", "stopping", "finished"]
    ready = next(row for row in rows if row["kind"] == "ready")
    assert (ready["ready"], ready["phase"], ready["restarts"]) == (True, "running", 0)
    assert any(row["message"].startswith("stopping 2 tasks") for row in logged)


def test_up_stops_gently_when_nobody_reads_its_output(file: Path, data: Path) -> None:
    name, noise = unique("gentle"), unique("noise")
    proof = file.parent / "proof"
    script = f"trap 'echo gently > {proof}; exit 0' TERM; while :; do sleep 0.05; done"
    again = {"delay": "100ms", "max_delay": "100ms", "max_attempts": 1000}
    write_services(
        file,
        {name: {"command": ["sh", "-c", script]}, noise: {"command": ["false"], "restart": again}},
    )
    with up(file, data) as command:
        command.read_until(f"{name}: 1/1 healthy")
        command.close_output()
        assert command.wait() == 1
        assert "Traceback" not in command.errors
    assert proof.read_text() == "gently\n"
    assert marked(name) == {}


def test_up_keeps_probing_while_its_output_is_stuck(file: Path, data: Path) -> None:
    """A pager that has read enough stops reading: that is no reason to stop supervising."""
    loud, web = unique("loud"), unique("web")
    again = {"delay": "10ms", "max_delay": "10ms", "max_attempts": 100_000}
    seen = file.parent / "seen"
    check = {"exec": {"command": ["sh", "-c", f"echo >> {seen}"]}, "interval": "50ms"}
    write_services(
        file,
        {
            loud: {"command": ["false"], "restart": again, "replicas": 4},
            web: {"command": ["sleep", "1000"], "readiness": check},
        },
    )
    with up(file, data) as command:
        command.read_until(f"{web}: 1/1 healthy")
        assert command.process.stdout is not None
        pipe = command.process.stdout.fileno()
        size = fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        wait_until(lambda: _waiting_in(pipe) > size - 512, "the pipe is full")
        before = seen.stat().st_size
        wait_until(lambda: seen.stat().st_size > before + 20, "twenty probes more")
        command.send(signal.SIGTERM)
        assert command.wait() == 0


def _waiting_in(pipe: int) -> int:
    buffer = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, buffer)
    return int.from_bytes(buffer, sys.byteorder)


def test_up_ends_though_nobody_ever_reads_what_it_wrote(file: Path, data: Path) -> None:
    loud = unique("loud")
    again = {"delay": "10ms", "max_delay": "10ms", "max_attempts": 100_000}
    write_services(file, {loud: {"command": ["false"], "restart": again, "replicas": 4}})
    with up(file, data) as command:
        command.read_until("started")
        assert command.process.stdout is not None
        pipe = command.process.stdout.fileno()
        size = fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        wait_until(lambda: _waiting_in(pipe) > size - 512, "the pipe is full")
        command.send(signal.SIGTERM)
        assert command.process.wait(20) == 0


def test_up_runs_without_standard_output(file: Path, data: Path) -> None:
    """The journal must not get the number of the closed stream."""
    write_services(file, {unique("job"): {"command": ["true"], "restart": {"condition": "never"}}})
    line = f"exec {sys.executable} -m warren up {file} --data-dir {data} >&- 2>&- <&-"
    assert subprocess.run(["sh", "-c", line], timeout=30, check=False).returncode == 0
    assert (data / "journal.sqlite").read_bytes().startswith(b"SQLite format 3\0")


def test_up_logs_to_standard_error_from_the_level_asked_for(file: Path, data: Path) -> None:
    name = unique("stray")
    write_services(file, {name: {"command": ["sleep", "1000"]}})
    with up(file, data) as command:
        command.read_until(f"{name}: 1/1 healthy")
        command.send(signal.SIGKILL)
        command.wait()
    for kept in data.glob("*.sqlite*"):  # with their write-ahead logs: no record is left
        kept.unlink()
    with up(file, data) as command:
        command.read_until(f"{name}: 1/1 healthy")
        assert len(marked(name)) == 1
        said = r"\d\d:\d\d:\d\d warning warren\.supervisor: ended \S+, which was in no record\n"
        assert re.fullmatch(said, command.errors)
