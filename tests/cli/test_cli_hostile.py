"""Whatever stands on the command line, the answer is an exit status and no traceback."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from cyclopts import App
from fake_cluster import FakeCluster, Person, opened
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support_up import run

from warren.cli.app import app
from warren.model.check import Argv, Outcome, Result
from warren.model.service import ServiceSpec

STATUSES = {0, 1, 2, 3, 4, 5, 130}
SPECIAL = (
    "-", "--", "", " ", "web", "web.1#1", "web.0#0", "0", "-1", "1e999", "9" * 30, "1s", "-5s",
    "A=1", "=", "=x", "A", "http", "http=1", "http=99999", "unix:", "unix:x", "tcp:", "tcp:[::1]:0",
    "http://[", "http://x:99999/", "//", "a:b", "é", "\u202e", "\U0001f600", "{}", "$(x)", "'",
)  # fmt: skip
# No '/' and no '.': what is written is written in the test's own directory.
HOSTILE = st.binary(max_size=8).map(
    lambda raw: os.fsdecode(bytes(b for b in raw if b not in b"\0/."))
)


def commands(group: App, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Every command, with the names of its options."""
    for word in group:
        if word.startswith("-"):
            continue
        command = group[word]
        if command.default_command is None:
            yield from commands(command, (*name, word))
        else:
            arguments = command.assemble_argument_collection()
            yield (*name, word), [n for a in arguments for n in a.names if n.startswith("-")]


COMMANDS = sorted(commands(app))


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A command's name, then options of its own and anything else."""
    name, options = draw(st.sampled_from(COMMANDS))
    value = st.sampled_from(SPECIAL) | HOSTILE
    option = st.sampled_from([*options, "--help"])
    word = option | value | st.builds("{}={}".format, option, value)
    return [*name, *draw(st.lists(word, max_size=6))]


@pytest.fixture
def tame(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is started for good, and nobody outside is asked."""

    async def answer(*_args: object, **_kwargs: object) -> Outcome:
        return Outcome(Result.PASS, "asked")

    def done(*_args: object, **_kwargs: object) -> int:
        return 0

    monkeypatch.chdir(tmp_path)
    for place in (
        "warren.cli.commands.up._run", "warren.cli.commands.up._reporter",
        "warren.cli.commands.run.until_stopped", "warren.cli.commands.run._log_to_stderr",
    ):  # fmt: skip
        monkeypatch.setattr(place, done)
    monkeypatch.setattr("warren.checks.run_check", answer)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(words=lines())
def test_no_words_end_in_a_traceback(
    words: list[str], person: Person, tame: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = FakeCluster()
    cluster.have(ServiceSpec(name="web", command=Argv(["run"])))
    cluster.run_task("web", 1)

    def fake_open(_address: str) -> AbstractAsyncContextManager[FakeCluster]:
        return opened(cluster)

    monkeypatch.setattr("warren.client.connect.open_cluster", fake_open)
    monkeypatch.setattr("sys.stdin", io.StringIO("services: {web: {command: [run]}}"))
    status = person.types_raw(*words)
    assert status in STATUSES
    is_refused = any("\udc80" <= character <= "\udcff" for word in words for character in word)
    assert not is_refused or (status, person.raw) == (2, b"")
    assert person.err.count("\n") <= 1 or status != 2


@pytest.mark.parametrize(
    "words",
    [
        [b"check", b"exec", b"--", b"sh", b"\xff"],
        [b"service", b"ls", b"--data-dir", b"d\xff"],
        [b"service", b"rm", b"web", b"--\xff"],
        [b"up", b"\xff.yaml"],
    ],
)
def test_an_argument_that_is_no_text_is_refused(words: list[bytes]) -> None:
    done = run(*map(os.fsdecode, words))
    bad = next(word for word in words if b"\xff" in word)
    shown = repr(os.fsdecode(bad))
    assert (done.returncode, done.stderr) == (2, f"warren: argument: {shown}: want UTF-8 text\n")


def test_a_variable_that_is_no_text_is_refused(tmp_path: Path) -> None:
    done = run("service", "ls", env={"WARREN_DATA_DIR": f"{tmp_path}\udcff"})
    assert done.returncode == 2
    assert done.stderr.startswith("warren: WARREN_DATA_DIR: ")
    assert done.stderr.endswith(": want UTF-8 text\n")
