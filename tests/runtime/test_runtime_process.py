"""The process runtime's contract: context, ends, signals, exec checks, refusals."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio

from tests.processes import marked, only_descriptors, open_handles, wait_until, zombies
from tests.runtime.runtime_kit import SH, launch, naughty, nowhere, runtime_in, wait_ready
from warren.model.check import Argv
from warren.model.interfaces import CannotRunError, RunningInstance, Runtime
from warren.model.service import Resources
from warren.model.task import End, Instance, Reason
from warren.process.choose_tree import TreeKind
from warren.process.tree import INSTANCE_VARIABLE
from warren.runtime.process import ProcessRuntime

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change users")


async def output_of(runtime: ProcessRuntime, *command: str, **context: str) -> str:
    """What a program wrote, from its start to its end."""
    launched = launch(*command, **context)  # type: ignore[arg-type]
    running = await runtime.start(launched, record=nowhere)
    end = await running.wait()
    await running.kill()
    written = runtime.logs.path(launched.task).read_text()
    assert end.exit_code == 0, written
    return written


def test_process_runtime_plays_the_runtime(runtime: ProcessRuntime) -> None:
    played: Runtime = runtime
    assert "ProcessRuntime" in repr(played)


async def test_environment_is_the_launch_and_the_marks_only(
    runtime: ProcessRuntime,
) -> None:  # S23
    os.environ["OF_THE_SUPERVISOR"] = "1"
    try:
        launched = launch("env", env={"GIVEN": "a b=c\nd", "with.dot": "x"})
        running = await runtime.start(launched, record=nowhere)
        await running.wait()
        await running.kill()
    finally:
        del os.environ["OF_THE_SUPERVISOR"]
    text = runtime.logs.path(launched.task).read_text()
    assert "GIVEN=a b=c\nd\n" in text
    assert "with.dot=x\n" in text
    names = {line.partition("=")[0] for line in text.splitlines() if line != "d"}
    assert names == {"GIVEN", "PATH", "with.dot", "WARREN_INSTANCE", "WARREN_TOKEN"}
    assert f"WARREN_INSTANCE={launched.id}\n" in text


async def test_arguments_reach_the_program_untouched(runtime: ProcessRuntime) -> None:
    argv = ("printf", "<%s>", "a b", "$HOME", "*", "", "'\"\\", "-n")
    assert await output_of(runtime, *argv) == "<a b><$HOME><*><><'\"\\><-n>"


async def test_program_has_three_descriptors_its_own_session_and_directory(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:  # S23
    with (tmp_path / "held").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        script = (
            "ls /proc/self/fd | wc -l; pwd; cut -d' ' -f1,6 /proc/$$/stat; readlink /proc/$$/fd/0"
        )
        text = await output_of(runtime, SH, "-c", script, cwd=str(tmp_path))
    count, directory, ids, stdin = text.splitlines()
    assert count == "4"  # ls holds the directory it lists
    assert directory == str(tmp_path)
    pid, session = ids.split()
    assert pid == session
    assert stdin == "/dev/null"


async def test_usage_is_told_as_far_as_its_tree_knows_it(
    runtime: ProcessRuntime, kind: TreeKind
) -> None:  # S27
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    usage = await running.usage()
    assert (usage is None) == (kind == "walk")  # every cgroup tells the time that it has used
    assert usage is None or usage.cpu_seconds is not None
    await running.kill()
    assert await running.usage() is None


async def test_a_limit_is_held_or_nothing_is_started(runtime: ProcessRuntime) -> None:
    limited = launch("sleep", "1000", resources=Resources(pids=20))  # S27
    if "pids-limit" in runtime.info.features:
        await (await runtime.start(limited, record=nowhere)).kill()
        return
    assert runtime.info.no_limits
    with pytest.raises(CannotRunError, match=r"^resources"):
        await runtime.start(limited, record=nowhere)
    assert await runtime.sweep(frozenset()) == []


@as_root
@pytest.mark.parametrize("user", ["nobody", "65534", "nobody:nogroup", "nobody:65534"])
async def test_user_and_group_are_those_asked_for(runtime: ProcessRuntime, user: str) -> None:
    text = await output_of(runtime, SH, "-c", "id -u; id -g; id -G", user=user)
    assert text.split() == ["65534", "65534", "65534"]


@as_root
async def test_user_holds_for_exec_checks_too(runtime: ProcessRuntime) -> None:  # S13
    running = await runtime.start(launch("sleep", "1000", user="nobody"), record=nowhere)
    result = await running.run(Argv(("id", "-u")), timeout=10, output_limit=100)
    assert result.output == b"65534\n"
    await running.kill()


@pytest.mark.parametrize(
    ("script", "reason", "message", "code", "name"),
    [
        ("exit 0", Reason.EXITED, "exited with code 0", 0, None),
        ("exit 3", Reason.EXITED, "exited with code 3", 3, None),
        ("kill -KILL $$", Reason.SIGNALED, "killed by SIGKILL", None, "SIGKILL"),
        ("kill -TERM $$", Reason.SIGNALED, "killed by SIGTERM", None, "SIGTERM"),
    ],
)
async def test_end_says_what_happened(
    runtime: ProcessRuntime,
    script: str,
    reason: Reason,
    message: str,
    code: int | None,
    name: str | None,
) -> None:  # S18
    running = await runtime.start(launch(SH, "-c", script), record=nowhere)
    end = await running.wait()
    assert (end.reason, end.message) == (reason, message)
    assert (end.exit_code, end.signal) == (code, name)
    await running.kill()
    assert await running.wait() == end


async def test_wait_by_several_gives_one_end_though_one_is_cancelled(
    runtime: ProcessRuntime,
) -> None:
    played: RunningInstance = await runtime.start(launch("sleep", "1000"), record=nowhere)
    ends = list[End]()
    impatient = trio.CancelScope()

    async def first() -> None:
        with impatient:
            await played.wait()

    async def another() -> None:
        ends.append(await played.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(another)
        nursery.start_soon(another)
        await trio.testing.wait_all_tasks_blocked()
        impatient.cancel()
        await trio.testing.wait_all_tasks_blocked()
        await played.signal(signal.SIGTERM)
    assert [end.signal for end in ends] == ["SIGTERM", "SIGTERM"]
    await played.signal(signal.SIGTERM)
    await played.kill()
    await played.signal(signal.SIGTERM)


async def test_wait_returns_though_a_daemon_lives_on_and_kill_ends_it(
    runtime: ProcessRuntime,
) -> None:  # S15
    launched = naughty("abandons")
    running = await runtime.start(launched, record=nowhere)
    await wait_ready(runtime, launched)
    assert (await running.wait()).message == "exited with code 3"
    assert marked(INSTANCE_VARIABLE, launched.id)
    await running.kill()
    assert marked(INSTANCE_VARIABLE, launched.id) == []


async def test_record_comes_before_the_program(runtime: ProcessRuntime, tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    seen = list[tuple[Instance, bool]]()
    launched = launch("touch", str(witness))

    async def record(instance: Instance) -> None:
        seen.append((instance, witness.exists()))

    running = await runtime.start(launched, record=record)
    await running.wait()
    assert seen == [(running.instance, False)]
    assert witness.exists()
    assert running.instance.id == launched.id
    await running.kill()


# Refusals


@pytest.mark.parametrize(
    ("command", "context", "message"),
    [
        (["nginx-x"], {}, "nginx-x: not found in PATH /usr/bin:/bin"),
        (["/no/such"], {}, "/no/such: no such file"),
        (["/etc/passwd"], {}, "/etc/passwd: not executable"),
        (["/etc"], {}, "/etc: is a directory"),
        (["true"], {"cwd": "/no/where"}, "/no/where: no such directory to run true in"),
        (["true"], {"user": "nobody-x"}, "user 'nobody-x': no such user on this machine"),
        (["true"], {"user": "root:grp-x"}, "group 'grp-x': no such group on this machine"),
    ],
)
async def test_start_refuses_and_names_what_is_wrong(
    runtime: ProcessRuntime, command: list[str], context: dict[str, str], message: str
) -> None:
    handles = open_handles()
    launched = launch(*command, env={"PATH": "/usr/bin:/bin"}, **context)  # type: ignore[arg-type]
    with pytest.raises(CannotRunError) as caught:
        await runtime.start(launched, record=nowhere)
    assert str(caught.value) == message
    assert runtime.trees.left() == {}
    assert open_handles() == handles


async def test_without_descriptors_start_and_run_say_so_and_leave_nothing(
    runtime: ProcessRuntime,
) -> None:  # S1
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    before = zombies()
    handles = open_handles()
    refused = list[str]()
    for spare in range(12):
        # Whichever step runs out of descriptors: it is told, and nothing stays.
        with only_descriptors(spare):
            try:
                await running.run(Argv(("true",)), timeout=10, output_limit=9)
            except CannotRunError as error:
                refused.append(str(error))
        with only_descriptors(spare):
            try:
                other = await runtime.start(launch("sleep", "1000"), record=nowhere)
                await other.kill()
            except CannotRunError as error:
                refused.append(str(error))
        assert open_handles() == handles
    assert all("no file descriptors left" in message for message in refused)
    assert len(refused) > 5
    assert zombies() == before
    await running.kill()
    assert marked("WARREN_TOKEN", runtime.token) == []
    assert runtime.trees.left() == {}


def no_base(token: str) -> None:
    """A machine without cgroup2."""


def test_cgroups_wanted_where_there_are_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warren.process.cgroup.find_base", no_base)
    with pytest.raises(ValueError, match="want 'walk'"):
        runtime_in(tmp_path, "cgroup")
    assert "Walks" in repr(ProcessRuntime(data_dir=tmp_path, node="here"))


# Exec checks


async def test_run_tells_code_output_and_duration(runtime: ProcessRuntime) -> None:  # S13
    launched = launch("sleep", "1000", env={"GIVEN": "yes"})
    running = await runtime.start(launched, record=nowhere)
    script = "echo $GIVEN $WARREN_INSTANCE; echo err >&2; exit 127"
    result = await running.run(Argv((SH, "-c", script)), timeout=10, output_limit=100)
    assert result.exit_code == 127
    assert result.output == f"yes {launched.id}\nerr\n".encode()
    assert 0 < result.duration < 10
    killed = await running.run(Argv((SH, "-c", "kill -9 $$")), timeout=10, output_limit=0)
    assert (killed.exit_code, killed.signal, killed.timed_out) == (None, "SIGKILL", False)
    with pytest.raises(CannotRunError, match="nothing-x: not found in PATH"):
        await running.run(Argv(("nothing-x",)), timeout=10, output_limit=0)
    await running.kill()
    with pytest.raises(CannotRunError, match="has ended"):
        await running.run(Argv(("true",)), timeout=10, output_limit=0)


async def test_run_keeps_the_first_bytes_and_reads_the_rest(runtime: ProcessRuntime) -> None:  # S13
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    script = "yes | head -c 3000000; exit 5"
    result = await running.run(Argv((SH, "-c", script)), timeout=20, output_limit=4096)
    assert result.exit_code == 5
    assert result.output == b"y\n" * 2048
    await running.kill()


@pytest.mark.parametrize(
    "script",
    [
        "echo out; exec sleep 1000",
        "echo out; exec >&- 2>&-; exec sleep 1000",
        "trap '' TERM; echo out; setsid sleep 1000 & while :; do wait; done",
        "echo out; while :; do setsid sleep 0.05 & done",
    ],
)
async def test_run_is_cut_at_its_timeout_with_all_it_started(
    runtime: ProcessRuntime, script: str
) -> None:  # S13
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    alone = [running.instance.pid]
    before = zombies()
    result = await running.run(Argv((SH, "-c", script)), timeout=0.2, output_limit=4)
    assert result.timed_out
    assert result.exit_code is None
    assert result.output == b"out\n"
    assert marked(INSTANCE_VARIABLE, running.instance.id) == alone
    assert zombies() == before
    await running.kill()


async def test_grandchild_that_holds_the_pipe_delays_nothing_and_dies(
    runtime: ProcessRuntime,
) -> None:  # S13
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    alone = [running.instance.pid]
    before = zombies()
    script = "setsid sh -c 'sleep 1000 & exec sleep 1000' & (exit 1) & echo done; exit 0"
    result = await running.run(Argv((SH, "-c", script)), timeout=100, output_limit=100)
    assert result.exit_code == 0
    assert result.output == b"done\n"
    assert result.duration < 50
    assert marked(INSTANCE_VARIABLE, running.instance.id) == alone
    assert zombies() <= before
    await running.kill()


async def test_many_runs_at_once_do_not_disturb_each_other(runtime: ProcessRuntime) -> None:
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    seen = list[bytes]()

    async def one(number: int) -> None:
        script = f"setsid sleep 1000 & echo {number}"
        result = await running.run(Argv((SH, "-c", script)), timeout=50, output_limit=10)
        seen.append(result.output)

    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(one, number)
    assert sorted(map(int, seen)) == list(range(30))
    assert len(marked(INSTANCE_VARIABLE, running.instance.id)) == 1
    await running.kill()


# Services


async def test_serving_reaps_orphans_while_their_instance_lives(
    runtime: ProcessRuntime, kind: TreeKind
) -> None:
    # Where only a walk finds them, one that leads a session may as well be an embedder's child.
    orphan = "setsid true" if kind == "cgroup" else "true"
    before = zombies()
    async with trio.open_nursery() as nursery:
        await nursery.start(runtime.serve)
        launched = launch(SH, "-c", f"for i in 1 2 3; do ({orphan} &) ; done; exec sleep 1000")
        running = await runtime.start(launched, record=nowhere)
        program = Path(f"/proc/{running.instance.pid}/comm")
        await wait_until(lambda: program.read_text() == "sleep\n")  # all have been left behind
        await wait_until(lambda: zombies() <= before)
        await running.kill()
        nursery.cancel_scope.cancel()
    assert zombies() <= before
