"""Events and output, as they were and as they come: across links, tasks and nodes."""

from __future__ import annotations

import json
import time

import msgspec
import pytest
import trio
import trio.testing
from fake_cluster import BORN, FakeCluster, Person, Step

from warren.client.follow_logs import FollowedSlot, LogFollower
from warren.model.check import Argv
from warren.model.condition import NodeCondition
from warren.model.errors import LinkLostError
from warren.model.event import EventFacts
from warren.model.identity import TaskId
from warren.model.probe import ProbeKind
from warren.model.service import ServiceSpec
from warren.model.task import Phase, Reason
from warren.model.view import LogMark, LogWanted

SPEC = ServiceSpec(name="web", command=Argv(["run"]), replicas=2)
INTERRUPTED = 130


def said(kind: str, subject: str, message: str = "") -> Step:
    return lambda cluster: cluster.say(kind, subject, message)


def writes(slot: int, data: bytes, node: str = "n1") -> Step:
    return lambda cluster: cluster.write("web", slot, data, node=node)


def unplaced(slot: int, number: int) -> Step:
    def step(cluster: FakeCluster) -> None:
        cluster.put_task("web", slot, number=number, node=None)
        cluster.say("replaced", f"web.{slot}#{number}")

    return step


def cut(_: FakeCluster) -> None:
    raise LinkLostError("the peer has gone")


def cut_for_long(cluster: FakeCluster) -> None:
    cluster.closed.extend([LinkLostError("no manager at unix:/x")] * 3)
    raise LinkLostError("the peer has gone")


@pytest.fixture
def web(cluster: FakeCluster) -> FakeCluster:
    cluster.have(SPEC)
    cluster.run_task("web", 1)
    cluster.run_task("web", 2)
    return cluster


@pytest.fixture
def clock_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


# Events


def test_events_are_lines(person: Person, cluster: FakeCluster, clock_in_utc: None) -> None:
    cluster.say("ready", "web.1#1")
    cluster.say("ended", "web.1#1", "exited with\n code 3")
    cluster.say("removed", "web", "service web is\x1b[2J removed")
    cluster.say("scaled", "web", "replicas 1 -> 3", by="uid 1000")
    cluster.say("removed", "n1", "node n1 is removed", by="a\x1b[2J (operator)")
    assert person.types("events") == 0
    assert person.out == (
        "2025-11-24 16:00:00 web.1#1 ready\n"
        "2025-11-24 16:00:01 web.1#1 ended: exited with code 3\n"
        "2025-11-24 16:00:02 service web is\N{REPLACEMENT CHARACTER}[2J removed\n"
        "2025-11-24 16:00:03 web scaled: replicas 1 -> 3 by uid 1000\n"
        "2025-11-24 16:00:04 node n1 is removed by a\N{REPLACEMENT CHARACTER}[2J (operator)\n"
    )


def test_events_json_is_one_object_a_line(person: Person, cluster: FakeCluster) -> None:
    facts = EventFacts(
        phase=Phase.FAILED,
        probes=(ProbeKind.LIVENESS,),
        reason=Reason.PROBE_FAILED,
        replaces=TaskId("web", 1, 1),
    )
    cluster.say("ended", "web.1#1", "exited with code 3", reason="exited")
    cluster.say("restarted", "web", by="uid 1000")
    cluster.say("replaced", "web.1#2", facts=facts)
    cluster.say("moved", "web.1#2")  # as a later version says
    assert person.types("events", "--json") == 0
    first, second, third, fourth = map(json.loads, person.out.splitlines())
    assert first == {
        "seq": 1,
        "at": "2025-11-24T16:00:00.000+00:00",
        "kind": "ended",
        "subject": "web.1#1",
        "service": "web",
        "reason": "exited",
        "message": "exited with code 3",
        "by": None,
        "facts": {},
    }
    assert (second["reason"], second["by"]) == (None, "uid 1000")
    assert third["facts"] == {
        "phase": "failed",
        "probes": ["liveness"],
        "reason": "probe failed",
        "replaces": "web.1#1",
    }
    assert fourth["kind"] == "moved"


def test_events_of_more_than_one_call_are_all_there(person: Person, cluster: FakeCluster) -> None:
    for _ in range(2500):
        cluster.say("ready", "web.1#1")
    assert person.types("events", "--json") == 0
    assert [json.loads(line)["seq"] for line in person.out.splitlines()] == [*range(1, 2501)]


def test_events_since_are_those(
    person: Person, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        cluster.say("ready", "web.1#1")
    monkeypatch.setattr("warren.cli.commands.events.time.time", lambda: BORN + 4)
    assert person.types("events", "--since=2s", "--json") == 0
    assert [json.loads(line)["seq"] for line in person.out.splitlines()] == [3, 4, 5]
    assert person.types("events", "--since=soon") == 2
    assert "--since: 'soon': want a duration" in person.err


def test_following_events_begins_with_what_comes_and_ends_at_ctrl_c(
    person: Person, cluster: FakeCluster
) -> None:
    cluster.say("ready", "web.1#1")
    cluster.script.extend([said("ready", "web.2#1"), said("ended", "web.2#1")])
    assert person.types("events", "--follow", "--json") == INTERRUPTED
    assert [json.loads(line)["seq"] for line in person.out.splitlines()] == [2, 3]
    assert person.err == ""


def test_events_of_one_name_are_those(person: Person, cluster: FakeCluster) -> None:
    for subject in ("web", "web.1#1", "db", "web.2#1", "n1"):
        cluster.say("said", subject)
    for name, seqs in (("web", [1, 2, 4]), ("web.2#1", [4]), ("n1", [5])):
        assert person.types("events", name, "--json") == 0
        assert [json.loads(line)["seq"] for line in person.out.splitlines()] == seqs
    cluster.script.extend([said("a", "db"), said("b", "web.1#1")])
    assert person.types("events", "web", "--follow", "--json") == INTERRUPTED
    assert [json.loads(line)["kind"] for line in person.out.splitlines()] == ["b"]


def test_events_tail_is_the_last_so_many(person: Person, cluster: FakeCluster) -> None:
    for _ in range(2500):
        cluster.say("ready", "web.1#1")
        cluster.say("said", "db")
    for words, seqs in (
        (["--tail=3"], [4998, 4999, 5000]),
        (["web", "-n", "2"], [4997, 4999]),
        (["-n", "0"], []),
    ):
        assert person.types("events", *words, "--json") == 0
        assert [json.loads(line)["seq"] for line in person.out.splitlines()] == seqs
    for tail, seqs in (("1", [4999, 5001]), ("0", [5002])):
        cluster.script.append(said("a", "web.1#1"))
        assert person.types("events", "web", "-f", "-n", tail, "--json") == INTERRUPTED
        assert [json.loads(line)["seq"] for line in person.out.splitlines()] == seqs
    assert person.types("events", "nobody", "-n", "1") == 3
    assert person.types("events", "--tail=x") == 2
    assert "--tail: 'x': want a whole number from 0" in person.err


def test_events_tail_does_not_read_what_it_does_not_show(
    person: Person, cluster: FakeCluster
) -> None:
    cluster.say("said", "db")
    for _ in range(50_000):
        cluster.say("ready", "web.1#1")
    for words, most in ((["-n", "0"], 1), (["-n", "5"], 2), (["db", "-n", "1"], 20)):
        cluster.calls.clear()
        assert person.types("events", *words, "--json") == 0
        assert cluster.calls.count("events") <= most, words
    assert [json.loads(line)["seq"] for line in person.out.splitlines()] == [1]


def test_events_name_whom_they_are_about_once(person: Person, cluster: FakeCluster) -> None:
    cluster.say("replaced", "web.1#2", "web.1#2 replaces web.1#1: exit code 1")
    cluster.say("joined", "vm", "node vm has joined")
    cluster.say("ended", "web.1#1", "web.1#12 is another")
    cluster.say("removed", "web", "service web is removed")
    cluster.say("unready", "web.1#2", "not ready: readiness probe failed once: no")
    cluster.say("restarting", "web.1#2", "exit code 1; restarting in 2.0s")
    cluster.say("moved", "web.1#2", "to another place")
    assert person.types("events") == 0
    assert [line.split(" ", 2)[2] for line in person.out.splitlines()] == [
        "web.1#2 replaces web.1#1: exit code 1",
        "node vm has joined",
        "web.1#1 ended: web.1#12 is another",
        "service web is removed",
        "web.1#2 not ready: readiness probe failed once: no",
        "web.1#2 exit code 1; restarting in 2.0s",
        "web.1#2 moved: to another place",
    ]


def test_events_of_what_is_not_there_are_not_found(person: Person, cluster: FakeCluster) -> None:
    cluster.have(ServiceSpec(name="quiet", command=Argv(["x"])))
    cluster.put_task("quiet", 1)
    cluster.say("removed", "gone")
    for name in ("none", "quiet.1#2", "Not a name", "gone#"):
        for more in ([], ["--follow"], ["--since=1h"]):
            assert person.types("events", name, *more) == 3
            said = "there is no service, task or node of that name, and no event of one is kept"
            assert person.err == f"warren: {name!r}: {said}\n"
    assert person.types("events", "quiet.1") == 3
    wanted = "want a service such as quiet, or a task of that slot such as quiet.1#1"
    assert person.err == f"warren: 'quiet.1': {wanted}\n"
    for name in ("quiet", "quiet.1#1", "n1", "gone"):
        assert person.types("events", name, "--since=1s") == 0
        assert person.err == ""


def test_following_events_since_goes_on_when_the_clock_was_set_back(
    person: Person, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def earlier(cluster: FakeCluster) -> None:
        cluster.say("late", "web")
        cluster.entries[-1] = msgspec.structs.replace(cluster.entries[-1], at=BORN - 7200)

    for kind in ("old", "new"):
        cluster.say(kind, "web")
    cluster.script.extend([earlier, cut, earlier])
    monkeypatch.setattr("warren.cli.commands.events.time.time", lambda: BORN + 1.5)
    assert person.types("events", "--follow", "--since=1s", "--json") == INTERRUPTED
    assert [json.loads(line)["kind"] for line in person.out.splitlines()] == ["new", "late", "late"]


def test_following_events_survives_the_manager_with_none_lost_or_doubled(
    person: Person, cluster: FakeCluster
) -> None:
    cluster.script.extend(
        [said("a", "web"), cut, said("b", "web"), cut_for_long, said("c", "web")]
    )  # fmt: skip
    assert person.types("events", "--follow", "--json") == INTERRUPTED
    assert [json.loads(line)["kind"] for line in person.out.splitlines()] == ["a", "b", "c"]
    assert person.err.count("trying again") == 2  # once each, however long
    assert person.err.count("the manager is back") == 2
    assert cluster.links == 3


def test_following_events_goes_on_after_an_older_state_was_restored(
    person: Person, cluster: FakeCluster
) -> None:
    def restored(cluster: FakeCluster) -> None:
        del cluster.entries[1:]
        cut(cluster)

    steps = [said("a", "web"), said("b", "web"), said("c", "web"), restored, said("d", "web")]
    cluster.script.extend([*steps, cut, said("e", "web")])
    assert person.types("events", "--follow", "--json") == INTERRUPTED
    assert [json.loads(line)["kind"] for line in person.out.splitlines()] == [*"abcde"]
    told = "the manager's last event is number 1, and number 3 was seen: an older state has been"
    assert person.err.count(told) == 1


# Output


def test_service_logs_have_the_slot_in_front_of_every_line(
    person: Person, web: FakeCluster
) -> None:
    web.write("web", 1, "one\nzwölf und ein halb\nno end".encode())
    web.write("web", 2, b"two\n\n\xff\n")
    status = person.types_raw("service", "logs", "web")
    assert status == 0
    assert person.raw == (
        "web.1 | one\nweb.1 | zwölf und ein halb\nweb.1 | no end\n".encode()
        + b"web.2 | two\nweb.2 | \nweb.2 | \xff\n"
    )


def test_service_logs_tail_is_of_every_slot(person: Person, web: FakeCluster) -> None:
    web.write("web", 1, b"1\n2\n3\n")
    web.write("web", 2, b"4\n")
    assert person.types("service", "logs", "web", "--tail=2") == 0
    assert person.out == "web.1 | 2\nweb.1 | 3\nweb.2 | 4\n"
    assert person.types("service", "logs", "web", "-n", "0") == 0
    assert person.out == ""
    for wrong in ("x", "-1"):
        assert person.types("service", "logs", "web", f"--tail={wrong}") == 2
        assert f"--tail: {wrong!r}: want a whole number from 0" in person.err


def test_service_logs_say_which_slot_cannot_be_had(person: Person, web: FakeCluster) -> None:
    web.write("web", 1, b"one\n")
    web.write("web", 2, b"two\n", node="n2")
    web.put_task("web", 3, node=None)
    web.silent["n2"] = 1
    assert person.types("service", "logs", "web") == 1
    assert person.out == "web.1 | one\n"
    assert person.err == "warren: node n2 does not answer; what it has of web is left out\n"


def test_logs_say_why_there_is_no_output_where_it_is_lost(person: Person, web: FakeCluster) -> None:
    why = "/data/logs: is read-only; what web.1 and web.2 writes is lost, until it is started anew"
    told = (NodeCondition("disk", "is full", BORN), NodeCondition("output is lost", why, BORN))
    web.known_nodes[0] = msgspec.structs.replace(web.known_nodes[0], conditions=told)
    said = f"warren: node n1: output is lost: {why}\n"
    web.put_task("web", 3)
    for words in (["service", "logs", "web"], ["task", "logs", "web.1"]):
        assert person.types(*words) == 1
        assert (person.out, person.err) == ("", said)
    web.write("web", 3, b"an empty file is no output, either\n")
    web.logs["web", 1, "n1"] = web.logs["web", 2, "n1"] = b""
    assert person.types("service", "logs", "web") == 1
    assert person.err == said
    assert person.types("service", "logs", "web", "-n", "0") == 0  # nothing was asked for
    assert person.err == ""
    for slot in (1, 2):
        web.write("web", slot, b"x\n")
    assert person.types("service", "logs", "web") == 0
    assert person.err == ""


def test_following_logs_says_why_there_is_no_output_where_it_is_lost(
    person: Person, web: FakeCluster
) -> None:
    told = (NodeCondition("output is lost", "/data/logs: is read-only", BORN),)
    web.known_nodes[0] = msgspec.structs.replace(web.known_nodes[0], conditions=told)
    web.script.extend([writes(1, b"later\n")])
    assert person.types("service", "logs", "web", "-f") == INTERRUPTED
    assert person.out == "web.1 | later\n"
    assert "warren: node n1: output is lost: /data/logs: is read-only\n" in person.err


def test_service_logs_have_every_slot_that_is_kept(person: Person, web: FakeCluster) -> None:
    web.write("web", 1, b"scaled away\n")
    web.write("web", 2, b"of a task that waits\n")
    web.drop_task("web", 1)
    web.put_task("web", 2, number=2, node=None)
    assert person.types("service", "logs", "web") == 0
    assert person.out == "web.1 | scaled away\nweb.2 | of a task that waits\n"


def test_service_logs_have_a_line_between_instances_and_times(
    person: Person, web: FakeCluster, clock_in_utc: None
) -> None:
    web.write("web", 1, b"one\nno end")
    web.write("web", 1, b"two\n| three\n")
    web.marks["web", 1, "n1"] = [
        LogMark(offset=0, at=BORN, task="web.1#1", instance="a"),
        LogMark(offset=4, at=BORN + 1),
        LogMark(offset=10, at=BORN + 1.5),
        LogMark(offset=10, at=BORN + 2, task="web.1#2", instance="b"),
        LogMark(offset=22, at=BORN + 3.25),
    ]
    assert person.types("service", "logs", "web") == 0
    assert person.out.splitlines() == [
        "web.1 | one",
        "web.1 | no end",
        "web.1 --- web.1#2 began at 2025-11-24 16:00:02.000",
        "web.1 | two",
        "web.1 | | three",
    ]
    assert person.types("service", "logs", "web", "-t") == 0
    assert person.out.splitlines() == [
        "web.1 2025-11-24 16:00:01.000 | one",
        "web.1 2025-11-24 16:00:01.500 | no end",
        "web.1 --- web.1#2 began at 2025-11-24 16:00:02.000",
        "web.1 2025-11-24 16:00:03.250 | two",
        "web.1 2025-11-24 16:00:03.250 | | three",
    ]
    assert person.types("task", "logs", "web.1#1", "--timestamps") == 0
    assert person.out.splitlines() == [
        "2025-11-24 16:00:01.000 one",
        "2025-11-24 16:00:01.500 no end",
        "--- web.1#2 began at 2025-11-24 16:00:02.000",
        "2025-11-24 16:00:03.250 two",
        "2025-11-24 16:00:03.250 | three",
    ]


def test_following_logs_with_tail_0_begins_with_what_comes(
    person: Person, web: FakeCluster
) -> None:
    web.write("web", 1, b"1\n2\n")
    web.script.extend(
        [
            said("a", "web"),
            writes(1, b"3\n"),
            writes(2, b"4\n"),
            lambda cluster: cluster.run_task("web", 3),
            writes(3, b"5\n"),
        ]
    )
    assert person.types("service", "logs", "web", "-f", "-n", "0") == INTERRUPTED
    assert person.out.splitlines() == ["web.1 | 3", "web.2 | 4", "web.3 | 5"]


def test_following_logs_takes_up_what_comes(person: Person, web: FakeCluster) -> None:
    web.write("web", 1, b"before\n")
    web.script.extend(
        [
            writes(1, b"one\nhal"),
            writes(2, b"two\n"),
            writes(1, b"f\n"),
            unplaced(1, 2),
            lambda cluster: cluster.run_task("web", 1, number=2),  # the slot's log goes on
            writes(1, b"of the next\n"),
            lambda cluster: cluster.run_task("web", 3),
            writes(3, b"three\n"),
        ]
    )
    assert person.types("service", "logs", "web", "--follow") == INTERRUPTED
    assert person.out.splitlines() == [
        "web.1 | before",
        "web.1 | one",
        "web.2 | two",
        "web.1 | half",
        "web.1 | of the next",
        "web.3 | three",
    ]
    assert person.err == ""


def test_following_logs_with_tail_begins_there(person: Person, web: FakeCluster) -> None:
    web.write("web", 1, b"1\n2\n3\n")
    web.script.extend([writes(1, b"4\n5\n"), writes(2, b"6\n7\n8\n")])
    assert person.types("service", "logs", "web", "--follow", "--tail=1") == INTERRUPTED
    assert person.out.splitlines() == [f"web.1 | {n}" for n in (3, 4, 5)] + [
        f"web.2 | {n}" for n in (6, 7, 8)
    ]


def test_following_logs_survives_the_manager_with_nothing_lost_or_doubled(
    person: Person, web: FakeCluster
) -> None:
    web.script.extend(
        [writes(1, b"a\nb"), cut, writes(1, b"c\n"), cut_for_long, writes(2, b"d\n")]
    )  # fmt: skip
    assert person.types("service", "logs", "web", "--follow") == INTERRUPTED
    assert person.out.splitlines() == ["web.1 | a", "web.1 | bc", "web.2 | d"]
    assert person.err.count("trying again") == 2


def test_following_logs_moves_with_a_task_to_another_node(person: Person, web: FakeCluster) -> None:
    def moves(cluster: FakeCluster) -> None:
        cluster.logs["web", 1, "n1"] += b"last words\n"  # nobody has been told of these
        cluster.run_task("web", 1, number=2, node="n2")

    web.script.extend([writes(1, b"on n1\n"), moves, writes(1, b"on n2\n", "n2")])
    assert person.types("service", "logs", "web", "--follow") == INTERRUPTED
    assert person.out.splitlines() == ["web.1 | on n1", "web.1 | last words", "web.1 | on n2"]


async def test_following_logs_waits_for_a_node_that_does_not_answer_and_says_so_once(
    web: FakeCluster, autojump_clock: trio.testing.MockClock
) -> None:
    web.write("web", 1, b"one\n")
    web.write("web", 1, b"two\n", node="n2")
    web.silent["n2"] = 6
    heard: list[str] = []
    async with trio.open_nursery() as nursery:
        following = FollowedSlot(web, nursery, heard.append)
        for node in ("n1", "n2"):
            wanted = LogWanted(service="web", slot=1, node=node)
            following.add(LogFollower(wanted, lambda chunk: heard.append(chunk.data.decode())))
        await trio.sleep(20)
        web.write("web", 1, b"three\n", node="n2")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert heard == [
        "one\n",
        "warren: node n2 does not answer; waiting for it",
        "warren: node n2 answers again",
        "two\n",
        "three\n",
    ]
    assert web.calls.count("output") < 20


@pytest.mark.parametrize("is_away", [False, True])
async def test_following_logs_goes_on_where_a_service_is_made_anew(
    web: FakeCluster, autojump_clock: trio.testing.MockClock, *, is_away: bool
) -> None:
    web.write("web", 1, b"one\n")
    web.silent["n1"] = 3 if is_away else 0
    heard: list[str] = []
    async with trio.open_nursery() as nursery:
        following = FollowedSlot(web, nursery, lambda said: None)
        wanted = LogWanted(service="web", slot=1, node="n1")
        following.add(LogFollower(wanted, lambda chunk: heard.append(chunk.data.decode())))
        await trio.testing.wait_all_tasks_blocked()
        row = web.rows.pop("web")
        web.write("web", 1, b"two\n")
        await trio.sleep(20)
        assert "two\n" not in "".join(heard)
        web.rows["web"] = row
        await trio.sleep(20)
        nursery.cancel_scope.cancel()
    assert "".join(heard) == "one\ntwo\n"


async def test_following_many_logs_asks_for_64_in_a_call(
    web: FakeCluster, autojump_clock: trio.testing.MockClock
) -> None:
    heard: list[int] = []
    async with trio.open_nursery() as nursery:
        following = FollowedSlot(web, nursery, lambda said: None)
        for slot in range(1, 1101):
            log = LogFollower(
                LogWanted(service="web", slot=slot, node="n1"),
                lambda chunk, slot=slot: heard.append(slot) if chunk.data else None,
            )
            following.add(log)
        await trio.testing.wait_all_tasks_blocked()
        asked = web.calls.count("output")
        for slot in range(1, 1101):
            web.write("web", slot, b"%d\n" % slot)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert sorted(heard) == [*range(1, 1101)]
    assert asked <= 4 * 1100 / 64


def test_following_logs_ends_with_the_service(person: Person, web: FakeCluster) -> None:
    web.script.extend([writes(1, b"bye"), lambda cluster: cluster.drop("web")])
    assert person.types("service", "logs", "web", "--follow") == 0
    assert person.out == "web.1 | bye\n"
    assert person.err == "warren: web was removed\n"


def test_task_logs_are_the_bytes_themselves(person: Person, web: FakeCluster) -> None:
    web.write("web", 1, b"one\n\x1b[31mred\xff\0 no end")
    assert person.types_raw("task", "logs", "web.1#1") == 0
    assert person.raw == b"one\n\x1b[31mred\xff\0 no end"
    assert person.types("task", "logs", "web.2#1") == 0
    assert person.out == ""


def test_task_logs_of_a_slot_are_those_of_its_newest_task(person: Person, web: FakeCluster) -> None:
    web.write("web", 1, b"one\n")
    web.put_task("web", 1, number=2)
    assert person.types("task", "logs", "web.1") == 0
    assert person.out == "one\n"
    assert person.types("task", "logs", "web.9") == 3
    assert person.err == "warren: slot web.9 has no task\n"


def test_task_logs_of_a_slot_are_of_the_newest_task_that_was_placed(
    person: Person, web: FakeCluster
) -> None:
    web.write("web", 1, b"one\n")
    web.put_task("web", 1, number=2, node=None)  # it waits in backoff
    assert person.types("task", "logs", "web.1") == 0
    assert person.out == "one\n"
    web.put_task("web", 3, node=None)
    assert person.types("task", "logs", "web.3") == 3
    assert person.err == "warren: task web.3 has no output: it is not placed yet\n"


def test_following_a_task_ends_with_it(person: Person, web: FakeCluster) -> None:
    def ends(cluster: FakeCluster) -> None:
        cluster.logs["web", 1, "n1"] += b"last words\n"
        cluster.put_task("web", 1, phase=Phase.COMPLETE)
        cluster.say("finished", "web.1#1")

    web.script.extend([writes(1, b"one\n"), cut, writes(1, b"two\n"), ends])
    assert person.types("task", "logs", "web.1#1", "--follow") == 0
    assert person.out == "one\ntwo\nlast words\n"
