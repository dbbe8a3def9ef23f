"""What the reads show, to people and to programs."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from fake_cluster import BORN, FakeCluster, Person, sample

from warren.cli.render import table
from warren.client.phrases import stamp
from warren.manifest.service_file import load_text
from warren.model.byte_size import ByteSize
from warren.model.check import Argv, ExecCheck, HttpCheck, Result, TcpCheck
from warren.model.check_places import CheckPlaces
from warren.model.cluster import Desired
from warren.model.condition import NodeCondition
from warren.model.duration import Duration
from warren.model.identity import TaskId
from warren.model.node_description import NodeDescription, RuntimeInfo
from warren.model.probe import Probe, ProbeKind, Verdict
from warren.model.service import Condition, Resources, Restart, ServiceSpec
from warren.model.task import End, Phase, ProbeStatus, Reason
from warren.model.usage import Usage
from warren.model.view import NodeState, NodeView

replace = msgspec.structs.replace
HEALTH = Probe(http=HttpCheck("/healthz", "http", headers={"Host": "a"}), interval=Duration(5))
SPEC = ServiceSpec(
    name="web", command=Argv(["serve", "a b"]), replicas=3, ports={"http": 0}, health=HEALTH,
    env={"SECRET": "hunter2"},
)  # fmt: skip
NASTY = "502 Bad\x1b[31m\nGateway"
LIVE = ProbeKind.LIVENESS


@pytest.fixture
def web(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """Slot 1 is well, slot 2 restarts after a failed probe, slot 3 finds no node."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: BORN + 60)
    cluster.have(SPEC)
    well = ProbeStatus(
        verdict=Verdict.HEALTHY,
        consecutive_successes=4,
        last=sample(Result.PASS, "200 OK", at=BORN + 58),
    )
    cluster.run_task("web", 1, probes={LIVE: well})
    bad = ProbeStatus(
        verdict=Verdict.UNHEALTHY,
        consecutive_failures=3,
        last=sample(Result.FAIL, NASTY, at=BORN + 30),
        warning="liveness could not be asked 3 times: no file descriptors left",
    )
    end = End(
        reason=Reason.PROBE_FAILED, message=f"liveness failed: {NASTY}", at=BORN + 31,
        signal="SIGTERM",
    )  # fmt: skip
    cluster.put_task(
        "web", 2, number=7, phase=Phase.RUNNING, restarts=4, last_end=end, probes={LIVE: bad},
        restart_at=BORN + 64, is_stale=True, slot_restarts=9,
    )  # fmt: skip
    cluster.put_task("web", 3, node=None, pending_reason="n1: port 80 is taken by db.1")
    return cluster


def test_wait_for_a_moment_is_shown_by_how_long_is_left_of_it(
    person: Person, web: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.put_task(
        "web", 4, number=2, node=None, pending_reason="web.4#1 failed", restart_at=BORN + 235
    )
    for since, said in ((60, "; starts in 2m55s"), (130, "; starts in 1m45s"), (240, "")):
        monkeypatch.setattr(time, "time", lambda at=BORN + since: at)
        assert person.types("task", "inspect", "web.4#2") == 0
        assert f"Pending: web.4#1 failed{said}\n" in person.out
        assert person.types("service", "ps", "web") == 0
        (line,) = (line for line in person.out.splitlines() if line.startswith("web.4#2"))
        assert line.endswith(f"pending: web.4#1 failed{said}")
        assert person.types("task", "inspect", "web.4#2", "--json") == 0
        shown = json.loads(person.out)
        assert shown["pending_reason"] == "web.4#1 failed"
        assert shown["restart_at"] == stamp(BORN + 235)


def test_service_inspect_shows_config_health_and_a_line_a_task(
    person: Person, web: FakeCluster
) -> None:
    assert person.types("service", "inspect", "web") == 0
    lines = person.out.splitlines()
    health = lines.index("Health: 1/3 healthy, 1/3 stale: the node does not answer")
    assert lines[:health] == [
        "Name: web",
        "Command: serve 'a b'",
        "Replicas: 3",
        "Ports: http any",
        "Variables: SECRET",
        "Restart: always, at most 5 in 5m",
        "Stop: SIGTERM, then 10s until the kill",
        "Health check: http GET /healthz on port http, 200-399, header Host, every 5s, "
        "timeout 10s, retries 3",
    ]
    assert [line.split("  ") for line in map(squeezed, lines[health + 1 :])] == [
        ["web.1#1", "n1", "running 1m00s", "ready", "0 restarts",
         "liveness pass: 200 OK, 2s ago"],
        [
            "web.2#7", "n1", "backoff 4s", "not ready", "4 restarts (9 in the slot)",
            "liveness fail: 502 Bad\N{REPLACEMENT CHARACTER}[31m Gateway, as of 30s ago",
            "liveness could not be asked 3 times: no file descriptors left; "
            "stale: the node does not answer",
        ],
        ["web.3#1", "-", "pending", "not ready", "0 restarts", "-",
         "pending: n1: port 80 is taken by db.1"],
    ]  # fmt: skip


def test_inspect_shows_values_of_variables_and_headers_when_asked(
    person: Person, web: FakeCluster
) -> None:
    secrets = replace(SPEC, env={"SECRET": "hunter 2"})
    web.rows["web"] = replace(web.rows["web"], spec=secrets)
    for words in (["service", "inspect", "web"], ["task", "inspect", "web.1#1"]):
        assert person.types(*words) == 0
        assert "hunter 2" not in person.out
        assert "header Host," in person.out
        assert person.types(*words, "--show-env") == 0
        assert "Variables: SECRET='hunter 2'\n" in person.out
        assert "header Host: a," in person.out
        assert person.types(*words, "--json") == 0
        assert json.loads(person.out)["spec"]["env"] == {"SECRET": "hunter 2"}


def test_a_job_that_is_done_is_complete_everywhere(person: Person) -> None:
    cluster = person.cluster
    cluster.have(replace(SPEC, replicas=1))
    end = End(reason=Reason.EXITED, message="exited with code 0", at=BORN, exit_code=0)
    cluster.put_task("web", 1, phase=Phase.COMPLETE, last_end=end)
    assert person.types("service", "ls") == 0
    assert "1/1 complete" in person.out
    assert person.types("service", "inspect", "web") == 0
    assert "Health: 1/1 complete" in person.out
    assert "not ready" not in person.out
    assert person.types("service", "ps", "web") == 0
    assert squeezed(person.out.splitlines()[1]).split("  ")[2:4] == ["complete", "-"]
    assert person.types("service", "ls", "--json") == 0
    assert json.loads(person.out)[0]["health"]["complete"] == 1


def test_a_job_that_has_failed_for_good_is_failed_everywhere(person: Person) -> None:
    cluster = person.cluster
    cluster.have(replace(SPEC, replicas=2, restart=Restart(condition=Condition.NEVER)))
    end = End(reason=Reason.EXITED, message="exited with code 3", at=BORN, exit_code=3)
    cluster.put_task("web", 1, phase=Phase.FAILED, last_end=end)
    cluster.put_task("web", 2, phase=Phase.FAILED, last_end=end, is_outdated=True)  # is replaced
    for command in (["ls"], ["inspect", "web"]):
        assert person.types("service", *command) == 0
        assert "0/2 healthy, 1/2 failed" in person.out
    assert person.types("service", "ls", "--json") == 0
    assert json.loads(person.out)[0]["health"]["failed"] == 1


def squeezed(line: str) -> str:
    """A table's line with two spaces between its columns."""
    while "   " in line:
        line = line.replace("   ", "  ")
    return line


def test_service_inspect_json_has_the_shape_that_is_promised(
    person: Person, web: FakeCluster
) -> None:
    assert person.types("service", "inspect", "web", "--json") == 0
    shape = json.loads(person.out)
    tasks = shape.pop("tasks")
    spec = shape.pop("spec")
    assert shape == {
        "name": "web",
        "replicas": 3,
        "health": {
            "healthy": 1,
            "total": 3,
            "restarting": 0,
            "complete": 0,
            "failed": 0,
            "stale": 1,
        },
    }
    assert load_text(json.dumps({"services": {"web": spec}})) == [SPEC]
    assert tasks[0] == {
        "id": "web.1#1",
        "slot": 1,
        "node": "n1",
        "state": "running",
        "ready": True,
        "restarts": 0,
        "slot_restarts": 0,
        "pending_reason": None,
        "restart_at": None,
        "last_end": None,
        "instance": {
            "id": "web.1-1.1-ab",
            "runtime": "process",
            "pid": 101,
            "started_at": "2025-11-24T16:00:00.000+00:00",
            "address": "127.0.0.1",
            "ports": {"http": 20001},
        },
        "probes": {
            "liveness": {
                "verdict": "healthy",
                "consecutive_failures": 0,
                "consecutive_successes": 4,
                "stale": False,
                "last": {
                    "outcome": "pass",
                    "detail": "200 OK",
                    "at": "2025-11-24T16:00:58.000+00:00",
                    "duration_ms": 1.2,
                    "waited_ms": 0.0,
                },
                "waited_ms": 0.0,
                "longest_wait_ms": 0.0,
            }
        },
    }
    assert tasks[1]["state"] == "backoff"
    assert tasks[1]["instance"] is None
    assert tasks[1]["probes"]["liveness"]["stale"] is True
    assert tasks[1]["probes"]["liveness"]["last"]["detail"] == NASTY
    assert tasks[1]["last_end"] == {
        "reason": "probe failed",
        "exit_code": None,
        "signal": "SIGTERM",
        "message": f"liveness failed: {NASTY}",
        "memory": None,
        "at": "2025-11-24T16:00:31.000+00:00",
    }
    assert tasks[2]["node"] is None
    assert tasks[2]["probes"] == {}
    assert tasks[2]["pending_reason"] == "n1: port 80 is taken by db.1"


def test_service_ls_shows_the_same_of_every_service(person: Person, web: FakeCluster) -> None:
    web.have(replace(SPEC, name="a", command=None, image="nginx", replicas=0))
    assert person.types("service", "ls") == 0
    assert [squeezed(line) for line in person.out.splitlines()] == [
        "NAME  HEALTH  RUNS",
        "a  0/0 healthy  nginx",
        "web  1/3 healthy, 1/3 stale: the node does not answer  serve 'a b'",
    ]
    assert person.types("service", "ls", "--json") == 0
    listed = json.loads(person.out)
    person.types("service", "inspect", "web", "--json")
    assert listed[1] == json.loads(person.out)


def test_nothing_there_is_an_empty_answer(person: Person) -> None:
    assert person.types("service", "ls") == 0
    assert person.out == "NAME  HEALTH  RUNS\n"
    for command in (["service", "ls"], ["task", "ls"]):
        assert person.types(*command, "--json") == 0
        assert json.loads(person.out) == []


def test_tasks_that_are_to_go_do_not_count(person: Person, web: FakeCluster) -> None:
    tasks = tuple(
        replace(task, desired=Desired.RUN if task.id.slot == 1 else Desired.STOP)
        for task in web.rows["web"].tasks
    )
    web.rows["web"] = replace(web.rows["web"], spec=replace(SPEC, replicas=1), tasks=tasks)
    person.types("service", "inspect", "web")
    assert "Health: 1/1 healthy\n" in person.out


def test_a_service_that_is_being_removed_says_so(person: Person, web: FakeCluster) -> None:
    web.rows["web"] = replace(web.rows["web"], is_removing=True)
    person.types("service", "ls")
    assert "(being removed)" in person.out


def test_ps_says_first_that_a_task_is_outdated_and_why_it_ended(
    person: Person, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: BORN + 60)
    cluster.have(SPEC)
    end = End(reason=Reason.SIGNALED, message="killed by SIGKILL", at=BORN, signal="SIGKILL")
    cluster.put_task("web", 1, phase=Phase.RUNNING, last_end=end, is_outdated=True)
    assert person.types("service", "ps", "web") == 0
    assert person.out.splitlines()[1].endswith("  outdated; killed by SIGKILL (ended 1m00s ago)")


def test_ps_and_task_ls_show_the_ports_that_tasks_got(person: Person, web: FakeCluster) -> None:
    instance = web.rows["web"].tasks[0].status.instance
    assert instance is not None
    many = {f"port-{number}": 30000 + number for number in range(9)}
    web.put_task("web", 3, phase=Phase.RUNNING, instance=replace(instance, ports=many))
    for words in (["service", "ps", "web"], ["task", "ls"]):
        assert person.types(*words) == 0
        heads, *rows = [squeezed(line).split("  ") for line in person.out.splitlines()]
        assert heads == ["TASK", "NODE", "STATE", "READY", "RESTARTS", "PORTS", "WHY"]
        assert [row[5] for row in rows] == [
            "http=20001", "-", "port-0=30000 port-1=30001 port-2=30002 …",
        ]  # fmt: skip
        assert person.types(*words, "--json") == 0
        assert json.loads(person.out)[0]["instance"]["ports"] == {"http": 20001}


@pytest.mark.parametrize("words", [["node", "ls"], ["node", "inspect", "n1"]])
def test_json_has_nothing_raw_that_a_terminal_acts_on(
    person: Person, cluster: FakeCluster, words: list[str]
) -> None:
    nasty = "a\u202eb\x1b[31m\x7f\x9b1m\u200b\U000e0001\u2028 h\u00e9 \N{RABBIT}"
    told = (NodeCondition("disk", nasty, BORN),)
    cluster.known_nodes[0] = replace(cluster.known_nodes[0], conditions=told)
    assert person.types(*words, "--json") == 0
    assert person.out.replace("\n", "").isprintable()
    assert (
        r"a\u202eb\u001b[31m\u007f\u009b1m\u200b\udb40\udc01\u2028 h\u00e9 ".replace(
            r"\u00e9", "\u00e9"
        )
        in person.out
    )
    shown: Any = json.loads(person.out)
    node = shown[0] if words[1] == "ls" else shown
    assert node["conditions"][0]["message"] == nasty


def test_ps_and_task_ls_show_tasks_and_with_all_those_that_have_ended(
    person: Person, web: FakeCluster
) -> None:
    web.have(replace(SPEC, name="db"))
    web.run_task("db", 1)
    gone = web.rows["db"].tasks[0]
    web.past.append(replace(gone, id=TaskId("web", 1, 9)))
    assert person.types("service", "ps", "web") == 0
    assert [line.split()[0] for line in person.out.splitlines()] == [
        "TASK", "web.1#1", "web.2#7", "web.3#1",
    ]  # fmt: skip
    assert "  4 (9 in the slot)  " in person.out
    assert person.types("service", "ps", "web", "--all") == 0
    assert "web.1#9" in person.out
    assert person.types("task", "ls", "--json") == 0
    assert [task["id"] for task in json.loads(person.out)] == [
        "db.1#1", "web.1#1", "web.2#7", "web.3#1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("phase", "fields", "state"),
    [
        (Phase.PENDING, {}, "pending"),
        (Phase.ASSIGNED, {}, "pending"),
        (Phase.STARTING, {}, "starting"),
        (Phase.RUNNING, {"restart_at": BORN + 99}, "backoff"),
        (Phase.STOPPING, {}, "stopping"),
        (Phase.COMPLETE, {}, "complete"),
        (Phase.FAILED, {}, "failed"),
        (Phase.CRASHED, {}, "crashed"),
        (Phase.STOPPED, {}, "stopped"),
    ],
)
def test_state_is_one_stable_word(
    person: Person, web: FakeCluster, phase: Phase, fields: dict[str, Any], state: str
) -> None:
    web.put_task("web", 1, phase=phase, **fields)
    assert person.types("service", "ps", "web", "--json") == 0
    assert json.loads(person.out)[0]["state"] == state


def test_task_inspect_shows_the_outcomes_that_are_kept(person: Person, web: FakeCluster) -> None:
    task = TaskId("web", 2, 7)
    web.history[task] = {
        LIVE: (
            sample(Result.PASS, "200 OK", at=BORN + 20),
            sample(Result.FAIL, NASTY, at=BORN + 30, seconds=0.5),
        )
    }
    assert person.types("task", "inspect", "web.2#7") == 0
    lines = [squeezed(line) for line in person.out.splitlines()]
    assert "State: backoff 4s (stale: the node does not answer)" in lines
    assert "Restarts: 4 (9 in the slot)" in lines
    assert lines[-4:] == [
        "liveness: unhealthy, 3 fails and 0 passes in a row (stale: the node does not answer)",
        "  warning: liveness could not be asked 3 times: no file descriptors left",
        "  2025-11-24 16:00:20  pass  1.2 ms  200 OK",
        "  2025-11-24 16:00:30  fail  500.0 ms  502 Bad\N{REPLACEMENT CHARACTER}[31m Gateway",
    ]
    assert person.types("task", "inspect", "web.2#7", "--json") == 0
    shape = json.loads(person.out)
    assert (shape["service"], shape["stale"], shape["desired"]) == ("web", True, "run")
    assert [one["outcome"] for one in shape["probes"]["liveness"]["history"]] == ["pass", "fail"]
    assert "no file descriptors left" in shape["probes"]["liveness"]["warning"]


def test_an_address_of_its_own_is_shown(person: Person, web: FakeCluster) -> None:  # S14
    web.have(ServiceSpec(name="db", image="postgres"))
    web.run_task("db", 1)
    (task,) = web.rows["db"].tasks
    running = task.status.instance
    assert running is not None
    replace = msgspec.structs.replace
    placed = replace(running, address="172.17.0.3", runtime="docker", ports={"sql": 5432})
    there = replace(task, status=replace(task.status, instance=placed))
    web.rows["db"] = replace(web.rows["db"], tasks=(there,))
    assert person.types("task", "inspect", "db.1#1") == 0
    (line,) = [one for one in person.out.splitlines() if one.startswith("Instance: ")]
    assert line.endswith(", at 172.17.0.3, sql 5432")
    assert ", docker, pid " in line
    nameless = replace(there, status=replace(there.status, instance=replace(placed, pid=None)))
    web.rows["db"] = replace(web.rows["db"], tasks=(nameless,))
    assert person.types("task", "inspect", "db.1#1") == 0
    assert ", docker, since " in person.out  # an engine's pid may not be known
    assert person.types("task", "inspect", "db.1#1", "--json") == 0
    assert json.loads(person.out)["instance"]["address"] == "172.17.0.3"


def test_usage_is_shown_with_its_limits(person: Person, web: FakeCluster) -> None:  # S27
    limits = Resources(memory=ByteSize(64 << 20), cpu=0.5, pids=20)
    limited = ServiceSpec(name="job", command=Argv(["work"]), resources=limits)
    web.have(limited)
    web.run_task("job", 1)
    web.usages[TaskId("job", 1, 1)] = Usage(
        memory_used=48 << 20, memory_peak=50 << 20, cpu_seconds=12.34, throttled_seconds=2,
        processes=3, processes_refused=7,
    )  # fmt: skip
    assert person.types("task", "inspect", "job.1#1") == 0
    said = "memory 48 MiB of 64 MiB, peak 50 MiB, cpu 12.3 s (throttled 2.0 s), pids 3 of 20"
    assert f"Usage: {said} (refused 7 times)" in person.out.splitlines()
    assert "Limits: memory 64M, cpu 0.5, pids 20" in person.out.splitlines()
    assert person.types("task", "inspect", "job.1#1", "--json") == 0
    shape = json.loads(person.out)
    assert shape["spec"]["resources"] == {"memory": "64M", "cpu": 0.5, "pids": 20}
    assert shape["usage"]["memory_used"] == 48 << 20
    assert person.types("task", "ls", "--usage") == 0
    heads, row, *others = [squeezed(line).split("  ") for line in person.out.splitlines()]
    assert heads[-4:] == ["MEMORY", "PEAK", "CPU", "PIDS"]
    assert row[-4:] == ["48 MiB", "50 MiB", "12.3s", "3 (7 refused)"]
    assert others[0][-4:] == ["-", "-", "-", "-"]
    assert person.types("task", "ls", "--usage", "--json") == 0
    first, *_, last = json.loads(person.out)
    assert (first["usage"]["processes_refused"], last["usage"]) == (7, None)
    assert person.types("task", "ls", "--json") == 0
    assert "usage" not in json.loads(person.out)[0]


def test_waits_for_a_place_are_shown(person: Person, web: FakeCluster) -> None:  # S10
    queued = ProbeStatus(verdict=Verdict.HEALTHY, waited=2.25, longest_wait=4.5)
    web.put_task("web", 1, phase=Phase.RUNNING, probes={LIVE: queued})
    assert person.types("task", "inspect", "web.1#1") == 0
    assert person.out.splitlines()[-2:] == [
        "liveness: healthy, 0 fails and 0 passes in a row",
        "  waits for a place, 2.2s by now; longest wait for a place 4.5s",
    ]
    assert person.types("service", "inspect", "web") == 0
    assert "the liveness check has waited 2s for a place" in person.out
    for name in ("service", "task"):
        assert (
            person.types(name, "inspect", "web" if name == "service" else "web.1#1", "--json") == 0
        )
        shape = json.loads(person.out)
        probe = (shape["tasks"][0] if name == "service" else shape)["probes"]["liveness"]
        assert (probe["waited_ms"], probe["longest_wait_ms"]) == (2250.0, 4500.0)
    past = ProbeStatus(verdict=Verdict.HEALTHY, longest_wait=4.5)
    web.put_task("web", 1, phase=Phase.RUNNING, probes={LIVE: past})
    assert person.types("task", "inspect", "web.1#1") == 0
    assert person.out.splitlines()[-1] == "  longest wait for a place 4.5s"


@pytest.mark.parametrize("written", ["web", "web.2", "web.2#", "Web.2#7", "web.0#1", ""])
def test_what_is_no_task_is_refused(person: Person, written: str) -> None:
    # The logs of a slot are those of its newest task.
    for command in ("inspect",) if written == "web.2" else ("inspect", "logs"):
        assert person.types("task", command, written) == 2
        assert f"TASK: {written!r}: want SERVICE.SLOT#NUMBER such as web.2#7" in person.err


def test_every_check_is_shown_with_its_numbers(person: Person, cluster: FakeCluster) -> None:
    cluster.have(
        ServiceSpec(
            name="web",
            command=Argv(["x"]),
            startup=Probe(exec=ExecCheck(Argv(["pg_isready", "-U", "a b"])), retries=30),
            liveness=Probe(tcp=TcpCheck(80), start_period=Duration(5), fast_interval=Duration(0.1)),
            readiness=Probe(tcp=TcpCheck("http"), successes=2),
            ports={"http": 80},
        )
    )
    person.types("service", "inspect", "web")
    for line in (
        "Startup: exec pg_isready -U 'a b', every 30s, timeout 10s, retries 30",
        "Liveness: tcp port 80, every 30s, timeout 10s, retries 3, start period 5s, "
        "fast interval 100ms",
        "Readiness: tcp port http, every 30s, timeout 10s, retries 3, successes 2",
    ):
        assert line in person.out.splitlines()


def test_nodes_are_shown(person: Person, web: FakeCluster) -> None:
    web.known_nodes.append(
        NodeView(name="n2", state=NodeState.DOWN, joined_at=BORN, lost_at=BORN + 20, warren="0.1.0")
    )
    assert person.types("node", "ls") == 0
    assert [squeezed(line) for line in person.out.splitlines()] == [
        "NODE  STATE  TASKS  WARREN  RUNTIMES  LABELS  CONDITIONS",
        "n1  ready  0",
        "n2  down 40s  0  0.1.0",
    ]
    assert person.types("node", "ls", "--json") == 0
    assert json.loads(person.out)[1] == {
        "name": "n2",
        "state": "down",
        "joined_at": "2025-11-24T16:00:00.000+00:00",
        "lost_at": "2025-11-24T16:00:20.000+00:00",
        "warren": "0.1.0",
        "tasks": 0,
        "address": "",
        "cpus": 0.0,
        "memory": 0,
        "labels": {},
        "features": [],
        "runtimes": [],
        "containment": "",
        "conditions": [],
        "places": [],
    }
    assert person.types("node", "inspect", "n1") == 0
    assert person.out.splitlines()[:2] == ["Node: n1", "State: ready"]
    assert person.out.splitlines()[-1].startswith("web.2#7  n1")
    assert person.types("node", "inspect", "n1", "--json") == 0
    assert [task["id"] for task in json.loads(person.out)["placed"]] == ["web.1#1", "web.2#7"]
    assert person.types("node", "inspect", "n3") == 3
    assert person.err == "warren: node 'n3': there is none of that name; there is: n1, n2\n"


def test_conditions_of_a_node_are_shown(person: Person, web: FakeCluster) -> None:
    told = (NodeCondition("disk", "it is full\n", BORN), NodeCondition("lag", "late", BORN))
    web.known_nodes[0] = NodeView(name="n1", state=NodeState.READY, joined_at=BORN, conditions=told)
    assert person.types("node", "ls") == 0
    assert squeezed(person.out.splitlines()[1]) == "n1  ready  0  disk, lag"
    assert person.types("node", "inspect", "n1") == 0
    assert person.out.splitlines()[5].startswith("Condition: disk since 2025-11-24 ")
    assert person.out.splitlines()[6].endswith(": late")
    assert person.types("node", "inspect", "n1", "--json") == 0
    assert json.loads(person.out)["conditions"][1] == {
        "kind": "lag", "message": "late", "since": "2025-11-24T16:00:00.000+00:00"
    }  # fmt: skip


def test_node_inspect_says_how_places_are_taken(person: Person, web: FakeCluster) -> None:  # S10
    places = (
        CheckPlaces(kind="network", cap=256),
        CheckPlaces(kind="exec", cap=4, in_flight=4, waiting=12, longest_wait=8.125),
    )
    web.known_nodes[0] = NodeView(name="n1", state=NodeState.READY, joined_at=BORN, places=places)
    assert person.types("node", "inspect", "n1") == 0
    assert person.out.splitlines()[5:7] == [
        "Places for network checks: 0 of 256 taken, 0 wait, longest wait 0.0s",
        "Places for exec checks: 4 of 4 taken, 12 wait, longest wait 8.1s",
    ]
    assert person.types("node", "inspect", "n1", "--json") == 0
    assert json.loads(person.out)["places"][1] == {
        "kind": "exec", "cap": 4, "in_flight": 4, "waiting": 12, "longest_wait_ms": 8125.0
    }  # fmt: skip


def test_node_inspect_says_how_trees_are_kept(person: Person, web: FakeCluster) -> None:
    kept = NodeView(name="n1", state=NodeState.READY, joined_at=BORN, containment="walk, weaker")
    web.known_nodes[0] = kept
    assert person.types("node", "inspect", "n1") == 0
    assert person.out.splitlines()[5] == "Containment: walk, weaker"
    assert person.types("node", "inspect", "n1", "--json") == 0
    assert json.loads(person.out)["containment"] == "walk, weaker"


def test_nodes_show_what_they_have_announced(person: Person, web: FakeCluster) -> None:
    described = NodeDescription(
        runtimes=(
            RuntimeInfo(name="process", features=("pids-limit", "cpu-limit")),
            RuntimeInfo(
                name="docker", version="27.1", features=("images",), unavailable="no\nsocket"
            ),
        ),
        features=("levitation",),
        labels={"zone": "a", "gpu": ""},
        address="10.0.0.7",
        cpus=1.5,
        memory=3 << 29,
    )
    web.known_nodes[0] = NodeView(
        name="n1", state=NodeState.READY, joined_at=BORN, description=described
    )
    assert person.types("node", "ls") == 0
    assert squeezed(person.out.splitlines()[1]) == "n1  ready  0  process  gpu= zone=a"
    assert person.types("node", "inspect", "n1") == 0
    assert person.out.splitlines()[5:12] == [
        "Address: 10.0.0.7",
        "CPUs: 1.5",
        "Memory: 1.5 GiB",
        "Labels: gpu=, zone=a",
        "Runtime: process: pids-limit, cpu-limit",
        "Runtime: docker 27.1, not available: no socket",
        "Features: levitation",
    ]
    assert person.types("node", "inspect", "n1", "--json") == 0
    shape = json.loads(person.out)
    assert {name: shape[name] for name in ("address", "cpus", "memory", "labels", "features")} == {
        "address": "10.0.0.7",
        "cpus": 1.5,
        "memory": 3 << 29,
        "labels": {"zone": "a", "gpu": ""},
        "features": ["levitation"],
    }
    assert shape["runtimes"] == [
        {
            "name": "process",
            "version": "",
            "features": ["pids-limit", "cpu-limit"],
            "unavailable": None,
            "no_limits": None,
        },
        {
            "name": "docker",
            "version": "27.1",
            "features": ["images"],
            "unavailable": "no\nsocket",
            "no_limits": None,
        },
    ]


def test_status_of_what_is_well_is_0(person: Person, web: FakeCluster) -> None:
    assert person.types("status") == 0
    assert person.out == (
        "Warren 0.1.0, pid 4321, up 1m00s\n0 services, 0 live tasks, 1/1 nodes ready\n"
    )
    assert person.types("status", "--json") == 0
    assert json.loads(person.out)["well"] is True


def test_status_of_what_is_not_well_is_1_with_a_line_for_each(
    person: Person, web: FakeCluster
) -> None:
    web.manager = replace(web.manager, trouble=("the disk is full",))
    web.known_nodes[:] = [
        NodeView(name="n1", state=NodeState.UNREACHABLE, joined_at=BORN, lost_at=BORN + 50)
    ]
    assert person.types("status") == 1
    assert person.out.splitlines()[2:] == [
        "trouble: the disk is full",
        "trouble: node n1 is unreachable 10s",
    ]
    web.manager = replace(  # as in a sentence about something else, a name says nothing of its node
        web.manager, trouble=("the disk of node n10 is full", "n1 is away"), troubled_nodes=("n1",)
    )
    web.known_nodes.append(
        NodeView(name="n", state=NodeState.UNREACHABLE, joined_at=BORN, lost_at=BORN + 50)
    )
    assert person.types("status") == 1
    assert person.out.splitlines()[2:] == [
        "trouble: the disk of node n10 is full",
        "trouble: n1 is away",
        "trouble: node n is unreachable 10s",
    ]
    web.manager = replace(web.manager, trouble=("the disk is full",), troubled_nodes=())
    web.known_nodes.clear()
    assert person.types("status", "--json") == 1
    assert json.loads(person.out)["trouble"][1] == "there is no node: nothing can run"


def test_columns_are_aligned_whatever_the_text() -> None:
    assert table.table(["A", "B"], [["xy", "1"], ["日本", "2"], ["é", "3"]]) == [
        "A     B",
        "xy    1",
        "日本  2",
        "é     3",
    ]
    assert table.aligned([]) == []


@pytest.mark.parametrize(
    ("line", "width", "shown"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本語", 4, "日…"), ("", 3, "")],
)
def test_lines_are_cut_to_the_columns_of_a_terminal(line: str, width: int, shown: str) -> None:
    assert table.cut(line, width) == shown


@pytest.mark.parametrize(
    ("line", "width", "shown"),
    [
        ("Tasks: 3", 8, ["Tasks: 3"]),
        ("a reason that is long", 12, ["a reason", "    that is", "    long"]),
        ("  a  abcdefghijkl", 9, ["  a  abcd", "    efghi", "    jkl"]),
        ("", 9, [""]),
    ],
)
def test_lines_go_on_below_where_a_terminal_ends(line: str, width: int, shown: list[str]) -> None:
    assert table.wrap(line, width) == shown


@pytest.mark.parametrize(
    "words", ["service inspect web", "task inspect web.2#7", "node inspect n1", "status"]
)
def test_details_are_whole_on_a_narrow_terminal(
    person: Person, web: FakeCluster, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    long = "x" * 300
    web.manager = replace(web.manager, trouble=(long,))
    status = replace(web.rows["web"].tasks[1].status, pending_reason=long)
    first, second, third = web.rows["web"].tasks
    tasks = (first, replace(second, status=status), third)
    web.rows["web"] = replace(web.rows["web"], tasks=tasks)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    person.types(*words.split())
    assert person.out.count("x") >= len(long)
    assert max(len(line) for line in person.out.splitlines()) <= 80


def test_a_service_that_is_never_restarted_says_no_more(
    person: Person, cluster: FakeCluster
) -> None:
    cluster.have(replace(SPEC, restart=Restart(condition=Condition.NEVER)))
    person.types("service", "inspect", "web")
    assert "Restart: never\n" in person.out


def test_node_inspect_counts_what_it_lists(person: Person, web: FakeCluster) -> None:
    web.known_nodes[0] = replace(web.known_nodes[0], tasks=1)
    web.put_task("web", 2, number=7, phase=Phase.COMPLETE)
    assert person.types("node", "inspect", "n1") == 0
    assert "Tasks: 1, and 1 that has ended\n" in person.out


def test_node_rm_forgets_a_node_that_is_down(web: FakeCluster, person: Person) -> None:
    assert person.types("node", "rm", "n1") == 1
    assert "n1 is ready" in person.err
    web.known_nodes.append(NodeView(name="n2", state=NodeState.DOWN, joined_at=BORN))
    assert person.types("node", "rm", "n2") == 0
    assert person.out == "n2: removed\n"
    assert person.types("node", "rm", "n1", "--force") == 0
    assert web.known_nodes == []
