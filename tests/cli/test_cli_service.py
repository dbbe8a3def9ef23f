"""`warren service create|update|scale|restart|rm` and `apply`: what they ask for, and waiting."""

from __future__ import annotations

import io
import json
import re
from collections import deque
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from fake_cluster import BORN, FakeCluster, Person, Step

from warren.client.wait import wait_health
from warren.model.check import Argv
from warren.model.errors import (
    LinkLostError,
    OverloadedError,
    UnavailableError,
    UnsupportedError,
)
from warren.model.service import Condition, Restart, ServiceSpec
from warren.model.task import End, Phase, Reason
from warren.model.view import NodeState, ServiceView

SPEC = ServiceSpec(name="web", command=Argv(["run"]), replicas=2)
replace = msgspec.structs.replace
NO_FILE = "there is no warren.yaml here; want the service file, such as: apply path/to/warren.yaml"


def ready(slot: int, number: int = 1) -> Step:
    return lambda cluster: cluster.run_task("web", slot, number=number)


UNPROVEN = "; no probe: only known to have started"


def pending(slot: int, reason: str) -> Step:
    def step(cluster: FakeCluster) -> None:
        cluster.put_task("web", slot, node=None, pending_reason=reason)
        cluster.say("pending", f"web.{slot}#1", reason)

    return step


def ended(slot: int, phase: Phase, end: End) -> Step:
    def step(cluster: FakeCluster) -> None:
        cluster.put_task("web", slot, phase=phase, last_end=end)
        cluster.say("finished", f"web.{slot}#1", end.message)

    return step


def cut(_: FakeCluster) -> None:
    raise LinkLostError("the peer has gone")


def test_create_asks_for_the_service_and_says_so(person: Person) -> None:
    assert person.types("service", "create", "web", "--replicas=2", "--", "run") == 0
    assert (person.out, person.err) == ("web: created\n", "")
    assert person.cluster.rows["web"].spec == SPEC


def test_create_waits_and_says_what_for(person: Person) -> None:
    person.cluster.script.extend(
        [pending(2, "no node has room"), ready(1), ready(1), ready(2)]  # one says nothing new
    )
    assert person.types("service", "create", "web", "--replicas=2", "--wait", "--", "run") == 0
    assert person.out == f"web: created\nweb: 2/2 healthy{UNPROVEN}\n"
    assert person.err.splitlines() == [
        "web: 0/2 healthy, waiting for web.1, web.2",
        "web: 0/2 healthy, waiting for web.2#1 (pending: no node has room), web.1",
        "web: 1/2 healthy, waiting for web.2#1 (pending: no node has room)",
    ]


def test_what_this_machine_does_not_have_is_said_and_not_refused(
    person: Person, file: Path
) -> None:
    asked = ["--user", "nosuch-x", "--cwd", "/nope", "--", "run"]
    assert person.types("service", "create", "web", *asked) == 0
    assert person.err.splitlines() == [
        "warren: warning: services.web.cwd: '/nope': is no directory on this machine",
        "warren: warning: services.web.user: 'nosuch-x': there is none on this machine",
    ]
    file.write_text("services: {db: {command: run, cwd: nope}}", encoding="utf-8")
    assert person.types("apply", str(file), "--dry-run") == 0
    assert re.fullmatch(
        r"warren: warning: services.db.cwd: '/.*: is no directory on this machine\n", person.err
    )


def test_wait_takes_a_node_that_does_not_answer_by_its_last_word(person: Person) -> None:
    person.cluster.have(replace(SPEC, replicas=1))
    person.cluster.run_task("web", 1, is_stale=True)
    assert person.types("service", "scale", "web", "1", "--wait") == 0
    said = f"web: 1/1 healthy (stale: the node does not answer){UNPROVEN}\n"
    assert person.out.endswith(said)


async def test_wait_looks_now_and_then_at_a_manager_that_cannot_be_watched(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One of an earlier version has no such method."""
    cluster, said = FakeCluster(), list[str]()
    cluster.have(replace(SPEC, replicas=1))
    cluster.refusals["watch"] = deque([UnsupportedError("the far side knows no watch")])

    class Progress:
        def tell(self, line: str, short: str = "") -> None:
            said.append(line)

    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            said.extend(await wait_health(cluster, ["web"], Progress(), lambda: BORN))

        nursery.start_soon(wait)
        await trio.sleep(30)
        assert said == ["web: 0/1 healthy, waiting for web.1"] * len(said)
        cluster.run_task("web", 1)
    assert said[-1] == f"web: 1/1 healthy{UNPROVEN}"
    assert 10 < len(said) < 20


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (NodeState.DOWN, "node n1 is down"),
        (NodeState.UNREACHABLE, "node n1 is unreachable"),
        (NodeState.STOPPED, "node n1 is stopped"),
        (None, "node n1 was removed"),
    ],
)
def test_wait_goes_on_while_the_node_has_no_session_and_says_so(
    person: Person, state: NodeState | None, why: str
) -> None:
    here = person.cluster.known_nodes.pop()
    if state is not None:
        person.cluster.known_nodes.append(replace(here, state=state))

    def comes_back(cluster: FakeCluster) -> None:
        cluster.known_nodes[:] = [here]
        cluster.run_task("web", 1)

    person.cluster.have(replace(SPEC, replicas=1))
    person.cluster.run_task("web", 1, is_stale=True)
    person.cluster.script.append(comes_back)
    assert person.types("service", "scale", "web", "1", "--wait") == 0
    waits = f"web: 0/1 healthy, 1/1 stale, waiting for web.1#1 (stale: {why})"
    assert person.err.splitlines() == [waits]
    assert person.out.endswith(f"web: 1/1 healthy{UNPROVEN}\n")


def test_wait_names_a_few_tasks_and_ctrl_c_ends_it(person: Person) -> None:
    person.cluster.have(replace(SPEC, replicas=5))
    assert person.types("service", "scale", "web", "5", "--wait") == 130
    waits = "web: 0/5 healthy, waiting for web.1, web.2, web.3 and 2 more"
    assert person.err.splitlines() == [
        waits, f"warren: the wait has ended; web goes on as asked: {waits}"
    ]  # fmt: skip


def test_wait_on_a_narrow_terminal_keeps_the_reason_and_room_for_ctrl_c(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    person.cluster.script.append(pending(1, "web.1#2 failed: exited with code 9; again in a while"))
    asked = ["--restart=on-failure", "--wait", "--", "run"]
    assert person.types("service", "create", "web", *asked) == 130
    shown = [line for line in person.err.split("\r\x1b[K") if line]
    assert shown[-2] == "web.1#1 (pending: web.1#2 failed: exited with code 9; again in a while)"
    assert len(shown[-2]) <= 80 - len("^C")
    assert shown[-1].startswith("warren: the wait has ended; web goes on as asked: web: 0/1")


def test_wait_gives_up_when_it_will_never_be(person: Person) -> None:
    end = End(reason=Reason.EXITED, message="exited with code 3", at=BORN, exit_code=3)
    person.cluster.script.append(ended(1, Phase.FAILED, end))
    never = ["--restart=never", "--wait"]
    assert person.types("service", "create", "web", *never, "--", "run") == 1
    assert person.err.splitlines()[-1] == "warren: web: web.1#1 has failed: exited with code 3"


def test_wait_takes_a_job_that_is_complete(person: Person) -> None:
    end = End(reason=Reason.EXITED, message="exited with code 0", at=BORN, exit_code=0)
    person.cluster.script.append(ended(1, Phase.COMPLETE, end))
    assert person.types("service", "create", "web", "--restart=never", "--wait", "--", "run") == 0
    assert person.out == "web: created\nweb: 1/1 complete\n"


def test_wait_on_a_job_is_for_its_end(person: Person) -> None:
    done = End(reason=Reason.EXITED, message="exited with code 0", at=BORN, exit_code=0)
    person.cluster.script.extend([ready(1), ready(2), ended(2, Phase.COMPLETE, done)])
    person.cluster.script.append(ended(1, Phase.COMPLETE, done))
    job = ["--replicas=2", "--restart=on-failure", "--liveness-cmd=true"]
    assert person.types("service", "create", "web", *job, "--wait", "--", "run") == 0
    assert person.out == "web: created\nweb: 2/2 complete\n"
    said = [line.partition(" (")[0] for line in person.err.splitlines()]
    # Nothing else ends it: under on-failure a task that has failed gets another, for ever. # S17
    assert said[-1] == "web: 1/2 healthy, 1/2 complete, waiting for exit 0 of web.1#1"


@pytest.mark.parametrize("probe", ["--health-cmd=true", "--startup-cmd=true", "--readiness-tcp=80"])
def test_wait_is_for_readiness_where_a_probe_says_it(person: Person, probe: str) -> None:
    person.cluster.script.append(ready(1))
    asked = ["--restart=on-failure", probe, "--wait", "--", "run"]
    assert person.types("service", "create", "web", *asked) == 0
    assert person.out.endswith("web: 1/1 healthy\n")


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (End(reason=Reason.EXITED, message="exited with code 3", at=BORN, exit_code=3), 3),
        (End(reason=Reason.SIGNALED, message="killed", at=BORN, signal="SIGKILL"), 137),
        (End(reason=Reason.PROBE_FAILED, message="probe", at=BORN, exit_code=0), 1),
        (End(reason=Reason.START_FAILED, message="no such file", at=BORN), 1),
    ],
)
def test_exit_code_hands_on_the_jobs_own(person: Person, end: End, status: int) -> None:
    person.cluster.have(replace(SPEC, replicas=1, restart=Restart(condition=Condition.NEVER)))
    person.cluster.script.append(ended(1, Phase.FAILED, end))
    assert person.types("service", "restart", "web", "--wait", "--exit-code") == status
    assert person.err.splitlines()[-1] == f"warren: web: web.1#1 has failed: {end.message}"
    person.cluster.script.append(ended(1, Phase.FAILED, end))
    assert person.types("service", "restart", "web", "--wait") == 1


def test_exit_code_wipes_the_line_of_progress_before_it_says_why(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    end = End(reason=Reason.EXITED, message="exited with code 3", at=BORN, exit_code=3)
    person.cluster.script.extend([ready(1), ended(1, Phase.FAILED, end)])
    asked = ["--restart=never", "--wait", "--exit-code", "--", "run"]
    assert person.types("service", "create", "web", *asked) == 3
    assert person.err.endswith("\r\x1b[Kwarren: web: web.1#1 has failed: exited with code 3\n")


def test_exit_code_is_of_a_job_alone(person: Person, file: Path) -> None:
    person.cluster.have(SPEC)
    file.write_text("services: {web: {command: [run]}}", encoding="utf-8")
    wanted = "want a job: restart on-failure or never, and no probe that says it is ready"
    for words in (
        ["service", "create", "new", "--wait", "--exit-code", "--", "run"],
        ["service", "update", "web", "--replicas=3", "--wait", "--exit-code"],
        ["service", "scale", "web", "3", "--wait", "--exit-code"],
        ["service", "restart", "web", "--wait", "--exit-code"],
        ["apply", str(file), "--wait", "--exit-code"],
    ):
        assert person.types(*words) == 2
        assert person.err == f"warren: --exit-code: {wanted}\n"
    assert person.types("service", "restart", "web", "--exit-code") == 2
    assert person.err == "warren: --exit-code: want --wait with it\n"
    assert not {"create", "update", "scale", "restart", "apply"} & {*person.cluster.calls}


def test_apply_hands_on_the_code_of_the_job_among_its_services(person: Person, file: Path) -> None:
    never = "{command: [run], restart: {condition: never}}"
    file.write_text(f"services: {{db: {{command: [run]}}, web: {never}}}", encoding="utf-8")
    end = End(reason=Reason.EXITED, message="exited with code 9", at=BORN, exit_code=9)
    person.cluster.script.append(lambda cluster: cluster.run_task("db", 1))
    person.cluster.script.append(ended(1, Phase.FAILED, end))
    assert person.types("apply", str(file), "--wait", "--exit-code") == 9


def test_wait_goes_on_where_a_failed_task_is_replaced(person: Person) -> None:
    end = End(reason=Reason.EXITED, message="exited with code 3", at=BORN, exit_code=3)
    person.cluster.script.extend([ended(1, Phase.FAILED, end), ready(1, 2)])
    assert person.types("service", "create", "web", "--wait", "--", "run") == 0


def test_wait_ends_at_its_timeout_and_says_what_was_missing(person: Person) -> None:
    person.cluster.have(SPEC)
    person.cluster.script.extend(ready(1) for _ in range(100_000))
    assert person.types("service", "scale", "web", "2", "--wait", "--timeout=50ms") == 1
    assert person.err.splitlines()[-1] == (
        "warren: gave up after 50ms: web: 1/2 healthy, waiting for web.2"
    )


def test_wait_survives_the_manager(person: Person) -> None:
    person.cluster.have(replace(SPEC, replicas=1))
    person.cluster.script.extend([ready(1), cut, ready(2)])
    person.cluster.closed.extend([])
    assert person.types("service", "scale", "web", "2", "--wait") == 0
    assert person.out == f"web: scaled to 2\nweb: 2/2 healthy{UNPROVEN}\n"
    assert person.err.count("warren: the peer has gone; trying again\n") == 1
    assert person.err.count("warren: the manager is back") == 1


def test_wait_of_a_service_that_is_removed_meanwhile_fails(person: Person) -> None:
    person.cluster.have(SPEC)
    person.cluster.script.append(lambda cluster: cluster.drop("web"))
    assert person.types("service", "restart", "web", "--wait") == 1
    assert person.err.splitlines()[-1] == "warren: web: was removed while it was waited for"


def test_update_waits_for_tasks_of_the_new_spec(person: Person) -> None:
    person.cluster.have(replace(SPEC, replicas=1))
    person.cluster.run_task("web", 1)
    person.cluster.script.append(ready(1, 2))
    assert person.types("service", "update", "web", "--user=root", "--wait") == 0
    assert person.err == "web: 1/1 healthy, waiting for web.1#1 (outdated)\n"


def test_scale_down_waits_for_those_that_go(person: Person) -> None:
    person.cluster.have(SPEC)
    person.cluster.run_task("web", 1)
    person.cluster.run_task("web", 2)
    person.cluster.script.append(lambda cluster: cluster.drop_task("web", 2))
    assert person.types("service", "scale", "web", "1", "--wait") == 0
    assert person.out == f"web: scaled to 1\nweb: 1/1 healthy{UNPROVEN}\n"
    assert person.err == "web: 1/1 healthy, waiting for web.2#1 (to go)\n"


def test_scale_to_what_is_says_so(person: Person) -> None:
    person.cluster.have(SPEC)
    assert person.types("service", "scale", "web", str(SPEC.replicas)) == 0
    assert person.out == "web: unchanged\n"


@pytest.mark.parametrize("number", ["-1", "10001", "x", "1.5", ""])
def test_scale_refuses_what_is_no_number_of_replicas(person: Person, number: str) -> None:
    person.cluster.have(SPEC)
    assert person.types("service", "scale", "web", "--", number) == 2
    assert f"REPLICAS: {number!r}: want a whole number from 0 to 10,000" in person.err


def test_rm_waits_until_it_is_gone(person: Person) -> None:
    person.cluster.have(SPEC)
    person.cluster.run_task("web", 1)
    person.cluster.script.extend(
        [lambda cluster: cluster.drop_task("web", 1), lambda cluster: cluster.drop("web")]
    )
    assert person.types("service", "rm", "web") == 0
    assert person.out == "web: removed\n"
    assert person.err.splitlines() == [
        "web: waiting for the end of web.1#1",
        "web: waiting for the end of everything",
    ]


def test_rm_without_waiting_returns_at_once(person: Person) -> None:
    person.cluster.have(SPEC)
    assert person.types("service", "rm", "web", "--no-wait") == 0
    assert person.out == "web: to be removed\n"
    assert person.cluster.rows["web"].is_removing


def test_rm_asks_again_where_the_link_was_lost_before_the_answer(person: Person) -> None:
    person.cluster.have(SPEC)
    person.cluster.refusals["remove"] = deque([LinkLostError("gone")])
    person.cluster.script.append(lambda cluster: cluster.drop("web"))
    assert person.types("service", "rm", "web") == 0
    assert person.cluster.calls.count("remove") == 2


def test_rm_that_was_done_before_the_link_was_lost_is_done(person: Person) -> None:
    person.cluster.have(SPEC)

    def vanish(cluster: FakeCluster) -> None:
        cluster.drop("web")
        raise LinkLostError("gone")

    person.cluster.script.append(vanish)
    assert person.types("service", "rm", "web") == 0
    assert person.out == "web: removed\n"


def test_rm_is_done_when_there_is_another_one_of_that_name(person: Person) -> None:
    person.cluster.have(SPEC)

    def again(cluster: FakeCluster) -> None:
        cluster.drop("web")
        cluster.rows["web"] = ServiceView(
            spec=SPEC, version=1, created_at=BORN + 9, updated_at=BORN
        )
        cluster.say("created", "web")

    person.cluster.script.append(again)
    assert person.types("service", "rm", "web") == 0


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (["service", "inspect", "web"], "service"),
        (["service", "ps", "web"], "tasks"),
        (["service", "update", "web", "--replicas=1"], "service"),
        (["service", "scale", "web", "1"], "service"),
        (["service", "restart", "web"], "restart"),
        (["service", "rm", "web"], "service"),
        (["service", "logs", "web"], "kept_logs"),
        (["service", "logs", "web", "--follow"], "kept_logs"),
        (["task", "inspect", "web.1#1"], "task"),
        (["task", "logs", "web.1#1"], "task"),
    ],
)
def test_what_is_not_there_is_3(person: Person, arguments: list[str], call: str) -> None:
    assert person.types(*arguments) == 3
    assert "there is no such" in person.err
    assert person.err.count("\n") == 1
    assert call in person.cluster.calls


def test_names_that_are_taken_disks_that_are_full_and_crowds_are_1(person: Person) -> None:
    person.cluster.have(SPEC)
    assert person.types("service", "create", "web", "--", "run") == 1
    assert person.err == "warren: service 'web': exists already\n"
    for error in (UnavailableError("the disk is full"), OverloadedError("too many calls")):
        person.cluster.refusals["restart"] = deque([error])
        assert person.types("service", "restart", "web") == 1
        assert person.err == f"warren: {error}\n"


def test_no_manager_is_4(person: Person) -> None:
    for arguments in (["service", "ls"], ["events", "--follow"], ["service", "scale", "web", "1"]):
        person.cluster.closed.append(LinkLostError("no manager at unix:/x: is it running?"))
        assert person.types(*arguments) == 4
        assert person.err == "warren: no manager at unix:/x: is it running?\n"


FILE = """\
services:
  web: {command: run, replicas: 2}
  db: {command: [postgres, -D, data]}
"""


def test_apply_says_what_became_of_every_service(person: Person, file: Path) -> None:
    file.write_text(FILE, encoding="utf-8")
    person.cluster.have(replace(SPEC, replicas=1, cwd=str(file.parent)))
    person.cluster.have(replace(SPEC, name="old"))
    assert person.types("apply", "-f", str(file)) == 0
    assert person.out == "web: scaled\ndb: created\n"
    assert person.types("apply", "-f", str(file), "--prune", "--dry-run") == 0
    assert person.out == "web: unchanged\ndb: unchanged\nold: would be removed\n"
    assert set(person.cluster.rows) == {"web", "db", "old"}
    assert person.types("apply", "--file", str(file), "--prune", "--json") == 0
    assert json.loads(person.out)[2] == {"service": "old", "action": "removed"}
    assert set(person.cluster.rows) == {"web", "db"}


def test_a_name_that_no_variable_has_is_said_at_submit_and_not_refused(
    person: Person, file: Path
) -> None:
    said = "warren: warning: services.web.command: $(PRT): there is no such variable, so it stays"
    assert person.types("service", "create", "web", "--", "run", "$(PRT)", "$(HOME)") == 0
    assert (person.out, person.err.startswith(said)) == ("web: created\n", True)
    assert person.types("service", "update", "web", "--replicas=2") == 0
    assert person.err.startswith(said)
    file.write_text("services: {web: {command: [run, $(PRT)]}}", encoding="utf-8")
    assert person.types("apply", str(file), "--json") == 0
    assert person.err.startswith(said)
    assert person.types("service", "update", "web", "--env=PRT=1") == 0
    assert person.err == ""


def test_apply_reads_standard_input_as_if_the_file_were_here(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(FILE))
    assert person.types("apply", "-f", "-") == 0
    assert person.cluster.rows["web"].spec.cwd == str(tmp_path)


@pytest.mark.parametrize("letter", ["#", "\u20ac"])
def test_apply_takes_no_more_from_standard_input_than_from_a_file(
    person: Person, file: Path, monkeypatch: pytest.MonkeyPatch, letter: str
) -> None:
    text = FILE + "# " + letter * ((4 << 20) // len(letter.encode()))
    file.write_text(text, encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    for given in (str(file), "-"):
        assert person.types("apply", given) == 2
        assert "want a file of at most 4 MiB" in person.err


def test_apply_waits_for_every_service_of_the_file(person: Person, file: Path) -> None:
    file.write_text("services: {web: {command: run}}", encoding="utf-8")
    person.cluster.script.append(ready(1))
    assert person.types("apply", "-f", str(file), "--wait") == 0
    assert person.out == f"web: created\nweb: 1/1 healthy{UNPROVEN}\n"
    assert person.types("apply", "-f", str(file), "--wait", "--json") == 0
    assert json.loads(person.out) == [{"service": "web", "action": "unchanged"}]
    assert person.err == f"web: 1/1 healthy{UNPROVEN}\n"


def test_wait_of_several_services_is_for_each(person: Person, file: Path) -> None:
    file.write_text(FILE, encoding="utf-8")
    person.cluster.script.extend(
        [ready(1), lambda cluster: cluster.run_task("db", 1), ready(2)]
    )  # fmt: skip
    assert person.types("apply", "-f", str(file), "--wait") == 0
    assert person.out.splitlines()[2:] == [
        f"web: 2/2 healthy{UNPROVEN}",
        f"db: 1/1 healthy{UNPROVEN}",
    ]


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", [], "warren.yaml: services: is missing"),
        (
            "services: {web: {command: x, replica: 1}}",
            [],
            "no such field; did you mean replicas? want one",
        ),
        ("services: {web: {command: x, health: {tcp: {port: db}}}}", [], "no such port"),
        (
            "services:\n  web:\n    image: nginx\n    ports: {http: 0}\n",
            [],
            "warren.yaml:4: services.web.ports.http: 0: want the number it listens on",
        ),
        (
            "services:\n  web:\n    command: x\n    resources:\n      memory: 1M\n",
            [],
            "warren.yaml:5: services.web.resources.memory: 1M: want at least 6M",
        ),
        ("services: {web: {command: x}}", ["--dry-run", "--wait"], "--wait: want either this or"),
        ("services: {web: {command: x}}", ["--timeout=1s"], "--timeout: '1s': want --wait"),
    ],
)
def test_apply_refuses(
    person: Person, file: Path, text: str, options: list[str], said: str
) -> None:  # S25
    file.write_text(text, encoding="utf-8")
    assert person.types("apply", "-f", str(file), *options) == 2
    assert said in person.err
    assert not person.cluster.rows


def test_restart_condition_of_the_fake_is_what_the_command_asks_for(person: Person) -> None:
    assert person.types("service", "create", "web", "--restart=never", "--", "run") == 0
    assert person.cluster.rows["web"].spec.restart == Restart(condition=Condition.NEVER)


def test_rm_takes_several_and_removes_those_there_are(person: Person) -> None:
    for name in ("a", "b", "c"):
        person.cluster.have(replace(SPEC, name=name))
    person.cluster.script.extend(lambda cluster, name=name: cluster.drop(name) for name in "bca")
    assert person.types("service", "rm", "a", "x", "b", "y", "c", "a") == 3
    assert person.out == "a: removed\nb: removed\nc: removed\n"
    assert person.err.splitlines()[-2:] == [
        "warren: service 'x': there is no such service",
        "warren: service 'y': there is no such service",
    ]
    assert person.cluster.calls.count("remove") == 3


def test_rm_of_several_says_each_once_over_a_lost_link(person: Person) -> None:
    for name in ("a", "b"):
        person.cluster.have(replace(SPEC, name=name))
    person.cluster.script.extend(
        [lambda cluster: cluster.drop("a"), cut, lambda cluster: cluster.drop("b")]
    )
    assert person.types("service", "rm", "a", "b") == 0
    assert person.out == "a: removed\nb: removed\n"
    assert person.cluster.calls.count("remove") == 2


def test_apply_takes_the_file_with_or_without_its_option(person: Person, file: Path) -> None:
    file.write_text("services: {web: {command: [run]}}", encoding="utf-8")
    assert person.types("apply", str(file)) == 0
    assert person.out == "web: created\n"
    assert person.types("apply", "-f", str(file)) == 0
    assert person.out == "web: unchanged\n"
    assert person.types("apply", str(file), "-f", str(file)) == 2
    assert person.err == "warren: FILE: want either FILE or --file, not both\n"
    assert person.types("apply", "--dry-run") == 2
    assert person.err == f"warren: FILE: {NO_FILE}\n"


def test_apply_takes_warren_yaml_as_up_does(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert person.types("apply") == 2
    assert person.err == f"warren: FILE: {NO_FILE}\n"
    (tmp_path / "warren.yaml").touch()
    assert person.types("apply") == 2
    assert person.err == "warren: warren.yaml: services: is missing: the file is empty\n"
    (tmp_path / "warren.yaml").write_text(FILE, encoding="utf-8")
    assert person.types("apply") == 0
    assert person.out == "web: created\ndb: created\n"


def test_apply_reads_standard_input_without_the_option_too(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("services: {web: {command: [run]}}"))
    assert person.types("apply", "-") == 0
    assert person.out == "web: created\n"


@pytest.mark.parametrize("is_piped", [False, True])
def test_apply_prune_with_no_services_removes_all(
    person: Person, file: Path, is_piped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    person.cluster.have(SPEC)
    person.cluster.have(replace(SPEC, name="db"))
    file.write_text("services: {}", encoding="utf-8")
    asked = ["apply", "-f", "-" if is_piped else str(file)]
    monkeypatch.setattr("sys.stdin", io.StringIO("services: {}"))
    assert person.types(*asked) == 2
    assert "services: {}: want a mapping of names to services" in person.err
    monkeypatch.setattr("sys.stdin", io.StringIO("services: {}"))
    assert person.types(*asked, "--prune") == 0
    assert person.out == "db: removed\nweb: removed\n"
    assert person.cluster.rows == {}


@pytest.mark.parametrize("text", ["", "services:", "services: []", "services: 7"])
def test_apply_prune_wants_an_empty_mapping_and_not_just_nothing(
    person: Person, file: Path, text: str
) -> None:
    person.cluster.have(SPEC)
    file.write_text(text, encoding="utf-8")
    assert person.types("apply", str(file), "--prune") == 2
    assert [*person.cluster.rows] == ["web"]
