"""The options of a service: what they ask for, what they change, and what they refuse."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import msgspec
import pytest
from fake_cluster import FakeCluster, Person
from flag_words import is_sayable, words
from hypothesis import HealthCheck, given, settings

from tests.model.specs import specs
from warren.cli.app import app
from warren.cli.commands import service
from warren.cli.options.service_spec import CallerContext, new_spec
from warren.model.byte_size import ByteSize
from warren.model.check import Argv, ExecCheck, HttpCheck, Scheme, StatusRange, TcpCheck
from warren.model.duration import Duration
from warren.model.errors import ConflictError
from warren.model.probe import Probe
from warren.model.service import Condition, Resources, ServiceSpec

replace = msgspec.structs.replace
HERE = CallerContext(Path("/here"), {"FROM_HERE": "yes"})


def asked(*arguments: str) -> ServiceSpec:
    """The spec that `warren service create` makes of its arguments."""
    command, bound, _ = app.parse_args(["service", "create", *arguments], exit_on_error=False)
    assert command is service.create
    bound.apply_defaults()
    return new_spec(bound.args[0], bound.args[1:], bound.kwargs["flags"], HERE)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(specs().filter(is_sayable))
def test_any_spec_that_options_can_say_is_what_they_give(spec: ServiceSpec) -> None:
    assert asked(*words(spec)) == spec


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("path=/,port=80", HttpCheck(path="/", port=80)),
        ("port=80", HttpCheck(port=80)),
        ("/", HttpCheck()),
        ("/healthz:8080", HttpCheck(path="/healthz", port=8080)),
        ("/:http", HttpCheck(path="/", port="http")),
        ("/healthz:8080,status=204,header=Host:a.example",
         HttpCheck(path="/healthz", port=8080, status=StatusRange(204, 204),
                   headers={"Host": "a.example"})),
        ("/healthz:8080,host=::1", HttpCheck(path="/healthz", port=8080, host="::1")),
        ("port=80,header=X-A:1,header=X-B:2,header=X-A:3",
         HttpCheck(port=80, headers={"X-A": ("1", "3"), "X-B": "2"})),
        ("path=/a:b,port=web,scheme=https,verify=true",
         HttpCheck(path="/a:b", port="web", scheme=Scheme.HTTPS, verify=True)),
        ("port=80,header=Accept:text/html,application/json,header=X-A:",
         HttpCheck(port=80, headers={"Accept": "text/html,application/json", "X-A": ""})),
        (r"path=/x?a=1\,b=2,port=80", HttpCheck(path="/x?a=1,b=2", port=80)),
        (r"path=/back\\slash\,x=\y", HttpCheck(path=r"/back\slash,x=\y")),
        (r"path=/x\\,port=80", HttpCheck(path="/x\\", port=80)),
    ],
)  # fmt: skip
def test_http_option_says_the_check(text: str, check: HttpCheck) -> None:
    assert asked("web", f"--health-http={text}", "--", "run").health == Probe(http=check)


@pytest.mark.parametrize(
    ("option", "check"),
    [
        ("--health-tcp=port=6379", TcpCheck(port=6379)),
        ("--health-tcp=6379", TcpCheck(port=6379)),
        ("--health-tcp=host=::1,port=6379", TcpCheck(port=6379, host="::1")),
        ("--health-tcp=redis", TcpCheck(port="redis")),
        ("--health-cmd=pg_isready -U postgres", ExecCheck(Argv(["pg_isready", "-U", "postgres"]))),
        ("--health-cmd=sh -c 'exit 0; echo $X'",
         ExecCheck(Argv(["sh", "-c", "exit 0; echo $X"]))),
    ],
)  # fmt: skip
def test_tcp_and_cmd_options_say_the_check(option: str, check: TcpCheck | ExecCheck) -> None:
    probe = asked("web", option, "--", "run").health
    assert probe is not None
    assert probe.check == check


def test_everything_is_asked_for_by_its_option(tmp_path: Path) -> None:
    file = tmp_path / "web.env"
    file.write_text("A=1\nB=file\n", encoding="utf-8")
    spec = asked(
        "web", "--replicas=3", "--env=B=x=y", "--env=FROM_HERE", f"--env-file={file}",
        "--port=http=8080", "--port=admin", "--user=me", "--new-privileges", "--cwd=app",
        "--restart=on-failure",
        "--max-attempts=7", "--stop-signal=SIGINT", "--stop-grace=1m", "--liveness-tcp=http",
        "--liveness-interval=250ms", "--readiness-http=/ready:http", "--readiness-successes=2",
        "--startup-cmd=true", "--startup-retries=30", "--memory=1.5G", "--cpus=0.5", "--pids=200",
        "--", "run", "--fast", "--",
    )  # fmt: skip
    assert spec.command == Argv(["run", "--fast", "--"])
    assert spec.replicas == 3
    assert spec.env == {"A": "1", "B": "x=y", "FROM_HERE": "yes"}
    assert spec.ports == {"http": 8080, "admin": 0}
    assert (spec.user, spec.new_privileges, spec.cwd) == ("me", True, "/here/app")
    assert spec.restart.condition is Condition.ON_FAILURE
    assert spec.restart.max_attempts == 7
    assert (spec.stop.signal, spec.stop.grace) == ("INT", Duration(60))
    assert spec.liveness == Probe(tcp=TcpCheck("http"), interval=Duration(0.25))
    assert spec.readiness == Probe(http=HttpCheck("/ready", "http"), successes=2)
    assert spec.startup == Probe(exec=ExecCheck(Argv(["true"])), retries=30)
    assert spec.resources == Resources(memory=ByteSize(1536 << 20), cpu=0.5, pids=200)


REFUSALS = [
    (["Web", "--", "x"], "NAME: 'Web': want a name of a-z"),
    (["web"], "COMMAND: want the command to run after --"),
    (["web", "--", ""], "COMMAND: '': want at least the name of a program"),
    (["web", "--replicas=-1", "--", "x"], "--replicas: '-1': want a whole number from 0 to 10,000"),
    (["web", "--replicas=10001", "--", "x"], "--replicas: '10001': want a whole number from 0"),
    (["web", "--replicas=many", "--", "x"], "--replicas: 'many': want a whole number"),
    (["web", "--env", "=x", "--", "x"], "--env: '=x': want NAME=VALUE"),
    (["web", "--env", "NOWHERE", "--", "x"], "--env: 'NOWHERE': want NAME=VALUE; it has no value"),
    (["web", "--env=A=1", "--env=A=2", "--", "x"], "--env: 'A': is given twice"),
    (["web", "--env-file=/nowhere", "--", "x"], "--env-file: '/nowhere': want a file to read"),
    (["web", "--port=8080", "--", "x"], "--port: '8080': want NAME or NAME=NUMBER"),
    (["web", "--port=http=99999", "--", "x"], "--port http: '99999': want a whole number from 0"),
    (["web", "--port=http=", "--", "x"], "--port http: '': want a whole number"),
    (["web", "--port=a", "--port=a=1", "--", "x"], "--port: 'a': is given twice"),
    (["web", "--cwd=", "--", "x"], "--cwd: '': want a directory"),
    (["web", "--user=", "--", "x"], "--user: '': want a text that is not empty"),
    (["web", "--restart=often", "--", "x"],
     "--restart: 'often': want one of always, on-failure, never"),
    (["web", "--max-attempts=0", "--", "x"], "--max-attempts: '0': want a whole number from 1"),
    (["web", "--memory=lots", "--", "x"], "--memory: 'lots': want a number of bytes, such as 64M"),
    (["web", "--memory=1M", "--", "x"], "--memory: 1M: want at least 6M"),
    (["web", "--cpus=half", "--", "x"], "--cpus: 'half': want a number of cores, such as 0.5"),
    (["web", "--cpus=nan", "--", "x"], "--cpus: nan: want a number of cores from 0.01 to 8192"),
    (["web", "--cpus=0", "--", "x"], "--cpus: 0.0: want a number of cores from 0.01 to 8192"),
    (["web", "--pids=0", "--", "x"], "--pids: '0': want a whole number from 1 to 4,194,304"),
    (["web", "--stop-signal=NOPE", "--", "x"], "--stop-signal: 'NOPE': want a signal such as"),
    (["web", "--stop-grace=soon", "--", "x"], "--stop-grace: 'soon': want a duration such as"),
    (["web", "--health-http=", "--", "x"], "--health-http: '': want path=/,port=80 or PATH:PORT"),
    (["web", "--health-http=8080", "--", "x"], "--health-http: '8080': want path=/,port=80"),
    (["web", "--health-http=path=/,prot=80", "--", "x"],
     "--health-http prot: '80': no such key; want one of path, port, scheme"),
    (["web", "--health-http=path=/x?a=1,b=2", "--", "x"], "is written \\,)"),
    (["web", "--health-http=path=x", "--", "x"], "--health-http path: 'x': want a path such as"),
    (["web", "--health-http=port=0", "--", "x"], "--health-http port: '0': want 1 to 65535"),
    (["web", "--health-http=/:99999", "--", "x"], "--health-http port: '99999': want 1 to 65535"),
    (["web", "--health-http=/:A", "--", "x"], "a path with a colon is path=..."),
    (["web", "--health-http=scheme=ftp", "--", "x"], "scheme: 'ftp': want http or https"),
    (["web", "--health-http=status=99", "--", "x"], "status: '99': want a status such as 204"),
    (["web", "--health-http=verify=maybe", "--", "x"], "verify: 'maybe': want true or false"),
    (["web", "--health-http=header=X", "--", "x"], "header: 'X': want NAME:VALUE"),
    (["web", "--health-http=header=X Y:1", "--", "x"], "'X Y': want a header name"),
    (["web", "--health-http=header=Host:a,header=host:b", "--", "x"], "no server takes two"),
    (["web", "--health-http=host=a b", "--", "x"], "--health-http host: 'a b': want an address"),
    (["web", "--health-tcp=host=a,host=b", "--", "x"], "--health-tcp host: 'b': is given twice"),
    (["web", "--health-tcp=path=a", "--", "x"], "--health-tcp path: 'a': no such key; want host"),
    (["web", "--address=localhost", "--", "x"], "--address: 'localhost': want an address such as"),
    (["web", "--health-http=port=1,port=2", "--", "x"], "--health-http port: '2': is given twice"),
    (["web", "--health-http=host=a,host=b", "--", "x"], "--health-http host: 'b': is given twice"),
    (["web", "--health-tcp=", "--", "x"], "--health-tcp: '': want 1 to 65535, or the name"),
    (["web", "--health-tcp=70000", "--", "x"], "--health-tcp: '70000': want 1 to 65535"),
    (["web", "--health-cmd=", "--", "x"], "--health-cmd: '': want a command such as"),
    (["web", "--health-cmd=a 'b", "--", "x"], "want a command whose quotes are closed"),
    (["web", "--health-tcp=1", "--health-cmd=x", "--", "x"],
     "--health-tcp and --health-cmd: want one check in a group"),
    (["web", "--health-interval=5s", "--", "x"],
     "--health-interval: 5s: there is no check: want --health-http or --health-tcp"),
    (["web", "--health-tcp=1", "--health-interval=1ms", "--", "x"],
     "--health-interval: 1ms: want at least 10ms"),
    (["web", "--health-tcp=1", "--health-timeout=0", "--", "x"],
     "--health-timeout: 0s: want more than 0"),
    (["web", "--health-tcp=1", "--health-retries=0", "--", "x"],
     "--health-retries: '0': want a whole number from 1"),
    (["web", "--health-tcp=1", "--health-start-period=x", "--", "x"],
     "--health-start-period: 'x': want a duration"),
    (["web", "--liveness-tcp=1", "--liveness-successes=2", "--", "x"],
     "--liveness-successes: 2: want 1, or --readiness-successes"),
    (["web", "--health-tcp=1", "--startup-tcp=1", "--", "x"],
     "--health-*: beside --startup-*: want either"),
    (["web", "--health-tcp=web", "--port=http", "--", "x"],
     "--health-tcp: 'web': no such port; ports of this service: http"),
    (["web", "--health-http=/", "--", "x"], "--health-http: want a port's number or name"),
    (["web", "--port=a=1", "--port=b=1", "--", "x"], "--port: 1: is the port of a too"),
    (["web", "--image=nginx", "--port=http"], "--port: 0: want the number it listens on"),
    (["web", "--env", "A=1", "B=2", "--", "x"], "COMMAND: 'B=2': want it after --"),
    (["web", "x"], "COMMAND: 'x': want it after --"),
    (["web", "--health-htp=/", "--", "x"],
     "Unknown option: --health-htp. Did you mean --health-http?\n"),
    (["web", "--bogus"], "Unknown option: --bogus.\n"),
    (["web", "--health-tcp=1", "--health-interval", "-1s", "--", "x"],
     "--health-interval: '-1s': want a value that does not begin with - (or --health-interval=-1s"),
    (["web", "--health-interval", "--", "x"], "--health-interval: want a value after it"),
    (["web", "--health-interval", "--health-tcp=1"], "--health-interval: want a value after it"),
    (["web", "--health-tcp=1", "--health-tcp=2", "--", "x"], "specified multiple times"),
    (["web", "--no-health", "--", "x"], "Unknown option: --no-health"),
    (["web", "--timeout=3s", "--", "x"], "--timeout: '3s': want --wait with it"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"), REFUSALS, ids=[" ".join(words) for words, _ in REFUSALS]
)
def test_create_refuses_naming_option_value_and_what_would_be_right(
    person: Person, arguments: list[str], said: str
) -> None:  # S25
    assert person.types("service", "create", *arguments) == 2
    assert said in person.err
    assert person.err.startswith("warren: ")
    assert person.err.count("\n") == 1
    assert not person.out
    assert not person.cluster.rows


PROBE = Probe(http=HttpCheck("/old", "http"), interval=Duration(5), retries=7)
OLD = ServiceSpec(
    name="web", command=Argv(["old"]), env={"A": "1", "B": "2"}, ports={"http": 0}, health=PROBE,
    user="me",
)  # fmt: skip


@pytest.fixture
def old(cluster: FakeCluster) -> ServiceSpec:
    cluster.have(OLD)
    return OLD


def updated(person: Person, *arguments: str) -> ServiceSpec:
    assert person.types("service", "update", "web", *arguments) == 0, person.err
    assert person.out == "web: updated\n"
    return person.cluster.rows["web"].spec


def test_update_that_changes_nothing_says_so(person: Person, old: ServiceSpec) -> None:
    assert person.types("service", "update", "web", f"--replicas={old.replicas}") == 0
    assert person.out == "web: unchanged\n"
    assert person.cluster.rows["web"].spec == old


def test_update_shows_no_defaults_as_it_sets_none(person: Person) -> None:
    assert person.types("service", "create", "--help") == 0
    assert person.out.count("[default: ") > 20
    assert person.types("service", "update", "--help") == 0
    of_service = person.out.partition("Where the manager is")[0]
    assert "[default" not in of_service
    assert "Restarts in five minutes before the task has failed. Another" in squeezed(of_service)
    assert "Between attempts." in of_service


def squeezed(text: str) -> str:
    """As one line, without frames."""
    return " ".join(text.replace("\N{BOX DRAWINGS LIGHT VERTICAL}", " ").split())


def test_update_changes_what_is_given_and_nothing_else(person: Person, old: ServiceSpec) -> None:
    new = updated(
        person, "--env=A=9", "--env-rm=B", "--port=admin=81", "--replicas=4", "--", "new", "-x"
    )
    assert new == replace(
        old,
        env={"A": "9"},
        ports={"http": 0, "admin": 81},
        replicas=4,
        command=Argv(["new", "-x"]),
    )


@pytest.mark.parametrize(
    ("arguments", "probe"),
    [
        (["--health-interval=9s"], replace(PROBE, interval=Duration(9))),
        (["--health-tcp=80"], replace(PROBE, http=None, tcp=TcpCheck(80))),
        (["--health-http=/new:http", "--health-retries=1"],
         replace(PROBE, http=HttpCheck("/new", "http"), retries=1)),
        (["--no-health"], None),
        (["--no-health", "--health-tcp=80"], Probe(tcp=TcpCheck(80))),
    ],
)  # fmt: skip
def test_update_of_a_probe_keeps_what_is_not_given(
    person: Person, old: ServiceSpec, arguments: list[str], probe: Probe | None
) -> None:
    assert updated(person, *arguments) == replace(old, health=probe)


def test_update_changes_one_limit_and_removes_all(person: Person, old: ServiceSpec) -> None:
    limits = Resources(memory=ByteSize(64 << 20), pids=20)
    assert updated(person, "--memory=64M", "--pids=20").resources == limits
    assert updated(person, "--pids=30").resources == replace(limits, pids=30)
    assert updated(person, "--no-limits", "--cpus=2").resources == Resources(cpu=2)
    assert updated(person, "--no-limits") == old


def test_update_removes_one_probe_and_leaves_the_others(
    person: Person, cluster: FakeCluster
) -> None:
    split = replace(OLD, health=None, startup=PROBE, liveness=PROBE, readiness=PROBE)
    cluster.have(split)
    assert updated(person, "--no-startup") == replace(split, startup=None)
    assert updated(person, "--no-health") == replace(
        split, startup=None, liveness=None, readiness=None
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "update: want something to change"),
        (["--env-rm=C"], "--env-rm: 'C': there is none of that name; there is: A, B"),
        (["--port-rm=x"], "--port-rm: 'x': there is none of that name; there is: http"),
        (["--port-rm=http"], "--health-http: 'http': no such port; ports of this service: none"),
        (["--startup-tcp=1"], "--health-*: beside --startup-*: want either"),
        (["--liveness-retries=2"], "--liveness-retries: 2: there is no check"),
        (["--health-tcp=1", "--health-http=/:1"], "want one check in a group"),
        (["--restart=x"], "--restart: 'x': want one of always, on-failure, never"),
    ],
)
def test_update_refuses(
    person: Person, old: ServiceSpec, arguments: list[str], said: str
) -> None:  # S25
    assert person.types("service", "update", "web", *arguments) == 2
    assert said in person.err
    assert person.cluster.rows["web"].spec == old


def test_update_that_others_overtake_is_made_again_of_what_they_made(
    person: Person, old: ServiceSpec
) -> None:
    person.cluster.refusals["update"] = deque([ConflictError("changed meanwhile")] * 3)
    assert updated(person, "--replicas=2").replicas == 2
    assert person.cluster.calls.count("service") == 4


def test_update_that_others_always_overtake_fails(person: Person, old: ServiceSpec) -> None:
    person.cluster.refusals["update"] = deque([ConflictError("changed meanwhile")] * 5)
    assert person.types("service", "update", "web", "--replicas=2") == 1
    assert person.err == "warren: changed meanwhile\n"
