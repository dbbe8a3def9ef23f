"""What a message says is what was meant, or is refused by field, value and what would be right."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.model.specs import WEIRD, probes, specs
from tests.rules.test_rules_admission import TOO_LARGE, web_with
from tests.transport.wire_values import VALUES, values
from warren.manifest.service_file import dump_text
from warren.model.check import HIDDEN, Argv, ExecCheck, HttpCheck, TcpCheck
from warren.model.cluster import Entry
from warren.model.decode import DecodeError, decode
from warren.model.duration import Duration
from warren.model.errors import SpecError
from warren.model.event import EventFacts, EventKind, TaskEvent
from warren.model.identity import TaskId
from warren.model.probe import Probe, ProbeKind
from warren.model.report import Assignment, Assignments
from warren.model.rpc import Cluster
from warren.model.service import Resources, Restart, ServiceSpec, Stop
from warren.model.task import Phase, TaskStatus
from warren.model.view import LogChunk, LogMark, WatchWanted
from warren.rules.admission import admit
from warren.transport.codec import method_codecs, record
from warren.transport.field_codecs import SHOWN_BYTES
from warren.transport.peer_budget import Budget
from warren.transport.schema import capnp, schema_path, wire

OLD = Path(__file__).parent / "old" / "warren-0.1.capnp"
generous = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def written(value: msgspec.Struct) -> bytes:
    """The value as a message."""
    schema = getattr(wire, type(value).__name__)
    message = schema.new_message()
    record(type(value), schema.schema.node.id).fill(message, value)
    return message.to_bytes()


def read(message: bytes, kind: type[Any]) -> Any:
    """The value a message means."""
    schema = getattr(wire, kind.__name__)
    with schema.from_bytes(message) as reader:
        return decode(record(kind, schema.schema.node.id).read(reader, Budget(1 << 20)), kind)


def spec_message(**fields: Any) -> Any:
    """A message as a stock client might make it."""
    return wire.ServiceSpec.new_message(**{"name": "web", "command": ["run"], **fields})


def refusal(message: Any, kind: type[Any] = ServiceSpec) -> str:
    with pytest.raises(DecodeError) as caught:
        read(message.to_bytes(), kind)
    return str(caught.value.named("spec"))


@pytest.mark.untraced
@pytest.mark.parametrize("kind", VALUES)
@generous
@given(data=st.data())
def test_any_value_comes_back_from_its_message(kind: type[msgspec.Struct], data: Any) -> None:
    value = data.draw(values(kind))
    assert read(written(value), kind) == value


@generous
@given(specs())
def test_a_spec_keeps_the_order_of_what_is_a_mapping(spec: ServiceSpec) -> None:
    back = read(written(spec), ServiceSpec)
    assert [*back.env.items()] == [*spec.env.items()]
    assert [*back.ports.items()] == [*spec.ports.items()]
    if spec.health and spec.health.http:
        assert back.health.http.headers.items() == spec.health.http.headers.items()
        assert [*back.health.http.headers] == [*spec.health.http.headers]


def test_a_spec_that_names_no_defaults_names_none_on_the_far_side() -> None:
    spec = ServiceSpec(
        name="web",
        command=Argv(["run"]),
        startup=Probe(tcp=TcpCheck()),
        readiness=Probe(http=HttpCheck(path="/ready"), interval=Duration(1)),
        stop=Stop(grace=Duration(3)),
    )
    assert dump_text([read(written(spec), ServiceSpec)]) == dump_text([spec])


@generous
@given(probes(successes=True))
def test_any_probe_comes_back_beside_others(probe: Probe) -> None:
    spec = ServiceSpec(name="web", image="i", readiness=probe)
    assert read(written(spec), ServiceSpec).readiness == probe


@pytest.mark.parametrize("word", WEIRD)
def test_a_weird_word_comes_back_wherever_it_stands(word: str) -> None:
    name = word.replace("=", "") or "A"
    spec = ServiceSpec(
        name="web",
        command=Argv(["run", word]),
        env={name: word, "B": word},
        user=word.lstrip(":") or None,
    )
    assert read(written(spec), ServiceSpec) == spec


def test_what_a_message_leaves_out_has_warrens_defaults() -> None:
    assert read(spec_message().to_bytes(), ServiceSpec) == ServiceSpec(
        name="web", command=Argv(["run"])
    )
    message = spec_message()
    message.init("health").init("http")
    message.init("restart")
    message.init("stop")
    message.init("resources")
    assert read(message.to_bytes(), ServiceSpec) == ServiceSpec(
        name="web",
        command=Argv(["run"]),
        health=Probe(http=HttpCheck()),
        restart=Restart(),
        stop=Stop(),
        resources=Resources(),
    )


def test_an_event_goes_between_versions_that_keep_by_whom_and_that_do_not(tmp_path: Path) -> None:
    text = schema_path().read_text("utf-8")
    path = tmp_path / "warren.capnp"
    later = r"^  (by @7|facts @8|what @9) :.*\n"
    path.write_text(re.sub(later, "", text, count=3, flags=re.M), "utf-8")
    before = capnp.SchemaParser().load(str(path))
    assert "by" not in before.Entry.schema.fields
    old = before.Entry.new_message(at=1.0, kind="scaled", subject="web", message="m", seq=3)
    told = Entry(at=1.0, kind=EventKind.SCALED, subject="web", message="m", seq=3)
    assert read(old.to_bytes(), Entry) == told
    new = written(msgspec.structs.replace(told, by="uid 1000"))
    assert read(new, Entry).by == "uid 1000"
    with before.Entry.from_bytes(new) as reader:
        assert (reader.kind, reader.subject, reader.seq) == ("scaled", "web", 3)


def test_an_event_of_a_later_kind_keeps_its_word_and_one_of_an_earlier_manager_its_kind() -> None:
    moved = Entry(at=1.0, kind=EventKind.UNKNOWN, word="moved", subject="web", message="m")
    assert read(written(moved), Entry) == moved
    with wire.Entry.from_bytes(written(moved)) as reader:
        assert (reader.kind, str(reader.what)) == ("moved", "unknown")
    placed = msgspec.structs.replace(moved, kind=EventKind.PLACED, word="")
    with wire.Entry.from_bytes(written(placed)) as reader:
        assert (reader.kind, str(reader.what)) == ("placed", "placed")
    first = capnp.SchemaParser().load(str(OLD))
    message = first.Entry.new_message(at=1.0, kind="placed", subject="web", message="m")
    old = message.to_bytes()
    with wire.Entry.from_bytes(old) as reader:
        assert str(reader.what) == "unknown"
    assert read(old, Entry) == placed
    with first.Entry.from_bytes(written(placed)) as reader:
        assert (reader.kind, reader.message) == ("placed", "m")


def test_an_event_that_is_not_to_be_taken_for_one_of_the_managers_stays_unknown() -> None:
    entry = Entry(at=1.0, kind=EventKind.UNKNOWN, word="removed", subject="web.1#1", message="m")
    assert read(written(entry), Entry) == entry


def test_what_cannot_be_read_of_an_event_hides_no_other() -> None:
    results = wire.Cluster.schema.methods_inherited["events"].result_type
    codec = method_codecs(Cluster)["events"]
    good = Entry(at=1.0, kind=EventKind.READY, subject="web.1#1", message="m", seq=3)
    facts = EventFacts(changed=("E" * 2000,))
    entries = [
        msgspec.structs.replace(good, kind=EventKind.UPDATED, facts=facts, seq=1),
        msgspec.structs.replace(good, subject="s" * 2000, seq=2),
        good,
    ]
    message = capnp._MallocMessageBuilder().init_root(results)
    codec.write_result(message, entries, _no_object)
    found = codec.read_result(message.as_reader(), _no_object, Budget(1000))
    assert isinstance(found, list)
    first, second, third = cast("list[Entry]", found)
    assert first == msgspec.structs.replace(entries[0], facts=None)
    assert (second.seq, second.kind) == (2, EventKind.UNKNOWN)
    assert second.message.startswith("this event cannot be read: subject")
    assert third == good


def _no_object(*_: object) -> None:
    raise AssertionError("events are plain data")


def test_an_event_of_a_node_goes_to_earlier_managers_and_comes_from_earlier_nodes() -> None:
    event = TaskEvent(at=1.0, task=TaskId("web", 1, 1), kind=EventKind.READY, message="ready")
    facts = EventFacts(pid=7, exit_code=-1, phase=Phase.FAILED, probes=(ProbeKind.STARTUP,))
    first = capnp.SchemaParser().load(str(OLD))
    with first.TaskEvent.from_bytes(written(msgspec.structs.replace(event, facts=facts))) as reader:
        assert (str(reader.kind), reader.message) == ("ready", "ready")
    old = first.TaskEvent.new_message(at=1.0, kind="ready", message="ready")
    old.task.service, old.task.slot, old.task.number = "web", 1, 1
    assert read(old.to_bytes(), TaskEvent) == event


def test_a_text_with_a_lone_surrogate_is_shown_and_breaks_nothing() -> None:
    told = Entry(at=1.0, kind=EventKind.ENDED, subject="web", message="a\udc80b")
    assert read(written(told), Entry).message == "a\\udc80b"


def test_a_spec_that_many_tasks_share_stands_once() -> None:
    spec = ServiceSpec(name="web", image="i" * 1000)
    twin = ServiceSpec(name="web", image="i" * 1000)
    ids = _ids(50)
    tasks = tuple(Assignment(task=each, spec=twin if each.slot % 2 else spec) for each in ids)
    message = written(Assignments(generation=1, tasks=tasks))
    assert len(message) < 10_000
    back = read(message, Assignments)
    assert back.tasks == tasks
    assert len({id(task.spec) for task in back.tasks}) == 1


def test_specs_of_another_order_are_told_apart() -> None:
    one = ServiceSpec(name="web", image="i", env={"A": "1", "B": "2"})
    two = ServiceSpec(name="web", image="i", env={"B": "2", "A": "1"})
    first, second = _ids(2)
    tasks = (Assignment(task=first, spec=one), Assignment(task=second, spec=two))
    back = read(written(Assignments(generation=1, tasks=tasks)), Assignments)
    assert [[*task.spec.env] for task in back.tasks] == [["A", "B"], ["B", "A"]]


def test_text_that_is_none_is_not_shown_in_full() -> None:
    message = wire.WatchWanted.new_message()
    message._set("service", b"\xff" * 1_000_000)
    with pytest.raises(DecodeError) as refused:
        read(message.to_bytes(), WatchWanted)
    assert len(cast("bytes", refused.value.value)) <= SHOWN_BYTES


def test_what_was_lost_of_a_log_may_be_more_than_a_count() -> None:
    marks = (LogMark(offset=2**40, at=1.0),)
    chunk = LogChunk(data=b"x", cursor="1", lost=2**40, marks=marks)
    assert read(written(chunk), LogChunk) == chunk


def _ids(count: int) -> list[TaskId]:
    return [TaskId("web", slot, 1) for slot in range(1, count + 1)]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "Web"}, "name: 'Web': want a name of a-z"),
        ({"name": ""}, "name: '': want a name of a-z"),
        ({"command": []}, "command: []: want at least the name of a program"),
        ({"command": ["a", b"\xff"]}, "command[1]: b'\\xff': want UTF-8 text"),
        ({"image": ""}, "image: '': want a text that is not empty"),
        ({"replicas": -1}, "replicas: -1: want a whole number >= 0"),
        ({"replicas": 10_001}, "replicas: 10001: want a whole number <= 10000"),
        ({"env": [{"name": "A=", "value": ""}]}, "env: 'A=': want a variable's name"),
        ({"env": [{"name": "A"}, {"name": "A"}]}, "env[1]: 'A': is given twice"),
        ({"ports": [{"name": "http", "number": 70_000}]}, "ports.http: 70000: want 1 to 65535"),
        ({"ports": [{"name": "No"}]}, "ports: 'No': want a name of a-z"),
        ({"stop": {"signal": "HUPP"}}, "stop.signal: 'HUPP': want a signal such as TERM"),
        ({"stop": {"grace": -1.0}}, "stop.grace: -1.0: want a duration from 0 to 366d"),
        ({"restart": {"window": math.nan}}, "restart.window: nan: want a finite number"),
        ({"restart": {"maxAttempts": 0}}, "restart.max_attempts: 0: want a whole number >= 1"),
        ({"resources": {"cpu": {"value": math.inf}}}, "resources.cpu: inf: want a finite"),
        ({"resources": {"memory": {"text": b"\xff"}}}, "resources.memory: b'\\xff': want UTF-8"),
        ({"args": ["x"]}, "args: ['x']: want an image beside it: a process has none"),
        ({"readOnly": True}, "read_only: True: want an image beside it"),
        ({"imageHealth": False}, "health: 'none': want an image beside it"),
        ({"runtime": "dokcer"}, "runtime: 'dokcer': no such runtime; did you mean docker?"),
        ({"labels": [{"name": "a", "hidden": True}]}, "labels.a: '\\x00hidden': want UTF-8"),
        ({"labels": [{"name": "a"}, {"name": "a"}]}, "labels[1]: 'a': is given twice"),
        ({"image": "i", "mounts": [{"target": "x"}]}, "mounts[0].target: 'x': want an absolute"),
        ({"image": "i", "mounts": [{"target": "/x"}]}, "mounts[0].source: want an absolute path"),
        ({"image": "i", "mounts": [{"type": "tmpfs", "target": "/x", "size": {"bytes": -1}}]},
         "mounts[0].size: -1: want a number of bytes"),
        ({"image": "i", "capAdd": ["x"]}, "cap_add: 'x': want a capability such as NET_ADMIN"),
        ({"image": "i", "ulimits": [{"name": "core", "soft": 2}]}, "ulimits.core: 2: want soft to"),
        ({"image": "i", "ulimits": [{"name": "x"}]}, "ulimits: 'x': no such limit; want one of"),
        ({"image": "i", "network": "a b"}, "network: 'a b': want host, none, or the name of"),
        ({"health": {}}, "health: {}: want exactly one of http, tcp and exec"),
        ({"health": {"tcp": {}, "interval": math.nan}}, "health.interval: nan: want a finite"),
        ({"health": {"tcp": {}, "interval": 0.001}}, "health.interval: 1ms: want at least 10ms"),
        ({"health": {"tcp": {}, "retries": 0}}, "health.retries: 0: want a whole number >= 1"),
        ({"health": {"tcp": {}, "successes": 2}}, "health.successes: 2: want 1 for this probe"),
        ({"health": {"tcp": {"port": {"number": 70_000}}}}, "health.tcp.port: 70000: want 1 to"),
        ({"health": {"http": {"path": "x"}}}, "health.http.path: 'x': want a path such as"),
        ({"health": {"http": {"status": {"low": 99}}}}, "health.http.status: '99-399': want a"),
        ({"health": {"exec": {}}}, "health.exec.command: []: want at least the name"),
        ({"health": {"tcp": {}}, "startup": {"tcp": {}}}, "health: 'beside startup': want"),
    ],
)  # fmt: skip
def test_a_wrong_value_in_a_message_is_refused_by_field(fields: Any, said: str) -> None:
    assert refusal(spec_message(**fields)).startswith(f"spec.{said}")


def test_a_spec_with_nothing_to_run_is_refused() -> None:
    message = wire.ServiceSpec.new_message(name="web")
    assert refusal(message).startswith("spec.command: want the command to run")


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The schema as it may be one day: more enumerants, members and fields."""
    text = schema_path().read_text("utf-8")
    for old, new in (
        ("never @2;", "never @2; sometimes @3;"),
        ("exec @3 :ExecCheck;", "exec @3 :ExecCheck; grpc @12 :Text;"),
        ("    name @3 :Text;", "    name @3 :Text; any @10 :Void;"),
        ("newPrivileges @15 :Bool;", "newPrivileges @15 :Bool; colour @28 :Text;"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path_factory.mktemp("newer") / "warren.capnp"
    path.write_text(text, "utf-8")
    return capnp.SchemaParser().load(str(path))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"restart": {"condition": "sometimes"}},
            "spec.restart.condition: 3: want one of always, onFailure, never"
            " (a newer peer may know more)",
        ),
        ({"health": {"grpc": "x"}}, "spec.health: {}: want exactly one of http, tcp and"),
        (
            {"health": {"http": {"port": {"any": None}}}},
            "spec.health.http.port: '?': want one of only, number, name"
            " (a newer peer may know more)",
        ),
    ],
)
def test_a_word_of_a_newer_peer_is_refused_with_those_known(
    newer: Any, fields: Any, said: str
) -> None:
    message = newer.ServiceSpec.new_message(name="web", command=["run"], **fields)
    assert refusal(message).startswith(said)


def test_a_field_of_a_newer_peer_is_no_hindrance(newer: Any) -> None:
    message = newer.ServiceSpec.new_message(name="web", command=["run"], colour="red")
    assert read(message.to_bytes(), ServiceSpec) == ServiceSpec(name="web", command=Argv(["run"]))


def test_a_task_that_cannot_be_is_refused() -> None:
    message = wire.TaskStatus.new_message(id={"service": "Web", "slot": 1, "number": 1})
    assert refusal(message, TaskStatus) == (
        "spec.id: 'Web.1#1': want a task's name, SERVICE.SLOT#NUMBER such as web.2#7"
    )


def test_an_index_of_a_spec_that_is_not_there_is_refused() -> None:
    message = wire.Assignments.new_message(specs=[], tasks=[{"spec": 3, "task": _id("web")}])
    assert refusal(message, Assignments) == "spec.tasks[0].spec: 3: want an index below 0"


def test_a_wrong_spec_among_assignments_is_refused_by_its_place() -> None:
    message = wire.Assignments.new_message(specs=[{"name": "web"}])
    assert refusal(message, Assignments).startswith("spec.specs[0].command: want the command to")


def _id(service: str) -> dict[str, Any]:
    return {"service": service, "slot": 1, "number": 1}


def test_checks_of_every_kind_are_told_apart() -> None:
    for probe in (
        Probe(http=HttpCheck(port="web")),
        Probe(tcp=TcpCheck(port=80)),
        Probe(exec=ExecCheck(Argv(["x"]))),
    ):
        spec = ServiceSpec(name="web", image="i", liveness=probe)
        assert read(written(spec), ServiceSpec) == spec


def test_a_hidden_value_is_null_on_the_wire_and_marked() -> None:
    check = HttpCheck(headers={"Authorization": HIDDEN, "X-A": "a"})
    codec = record(HttpCheck, wire.HttpCheck.schema.node.id)
    message = wire.HttpCheck.new_message()
    codec.fill(message, check)
    first, second = message.as_reader().headers
    assert (first.name, first._has("value"), first.hidden) == ("Authorization", False, True)
    assert (second.name, second.value, second.hidden) == ("X-A", "a", False)
    assert decode(codec.read(message.as_reader(), Budget(10)), HttpCheck) == check


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"failedBefore": 2**63 - 1}, "spec.failed_before: 9223372036854775807: want 0 to 10000"),
        ({"restarts": -1}, "spec.restarts: -1: want 0 to 1000000000"),
        ({"sequence": 2**63 - 1}, "spec.sequence: 9223372036854775807: want 0 to 9007199254740992"),
        ({"pendingReason": "x" * 300_000}, "spec.pending_reason: 'xxx"),
        ({"instance": {"pid": {"value": -5}}}, "spec.instance.pid: -5: want 0 to 2147483647"),
        ({"lastEnd": {"message": "x" * 17_000}}, "spec.last_end.message: 'xxx"),
        ({"lastEnd": {"at": math.inf}}, "spec.last_end.at: inf: want a finite number"),
    ],
)
def test_status_beyond_all_bounds_is_refused_by_field(fields: dict[str, Any], wanted: str) -> None:
    message = wire.TaskStatus.new_message(**fields)
    message.id = {"service": "web", "slot": 1, "number": 1}
    instance = {"id": "i", "task": {"service": "web", "slot": 1, "number": 1}}
    if "instance" in fields:
        for name, value in instance.items():
            setattr(message.instance, name, value)
    said = refusal(message, TaskStatus)
    assert said.startswith(wanted)
    assert "want" in said


def test_list_beyond_all_bounds_is_refused_before_it_is_read() -> None:
    said = refusal(spec_message(env=[{"name": f"N{n}", "value": ""} for n in range(10_001)]))
    assert said == "spec.env: '10001 items': want at most 10000"


@pytest.mark.parametrize("fields", [fields for fields, _ in TOO_LARGE])
def test_spec_that_is_refused_at_submit_is_refused_by_whoever_reads_it(
    fields: dict[str, Any],
) -> None:  # S25
    spec = web_with(fields)
    with pytest.raises(SpecError) as refused:
        admit(spec)
    with pytest.raises(DecodeError) as unread:
        read(written(spec), ServiceSpec)
    there, here = unread.value.named("services.web"), refused.value
    assert there.wanted == here.wanted
    assert here.field.startswith(there.field.partition("[")[0])  # an entry has a number there
