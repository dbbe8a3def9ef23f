"""Bad files: one line each, with the field, the value, what would be right, and where (S25)."""

from __future__ import annotations

from pathlib import Path

import pytest

from warren.manifest.service_file import load_file, load_text
from warren.manifest.yaml_text import BUDGET, DEEPEST
from warren.model.decode import DecodeError, from_json
from warren.model.errors import FieldError, SpecError, shown
from warren.model.service import ServiceSpec
from warren.model.task import TaskRecord

SPEC_FIELDS = (
    "command, image, args, replicas, env, user, new_privileges, cwd, ports, health, startup, "
    "liveness, readiness, restart, stop, resources, address, mounts, read_only, cap_add, cap_drop, "
    "ulimits, network, labels, pull, runtime, env_file"
)
PROBE_FIELDS = (
    "http, tcp, exec, interval, timeout, retries, successes, start_period, initial_delay, "
    "fast_interval"
)
DURATION = "want a duration such as 10, 10s, 500ms or 1m30s (a bare number is seconds)"
SIZE = "want a number of bytes, such as 64M or 67108864"
CORES = "want a number of cores from 0.01 to 8192, such as 1.5"
PORT = "want 1 to 65535 or the name of a port"
HOST = "want an address such as 127.0.0.1 or ::1, or a host's name"
STATUS = "want a status such as 204, or a range such as 200-399, within 100-599"
IDS = "want ids from 0 to 4294967294"
TEXT = "want UTF-8 text without a NUL character"
NAME = "want a name of a-z, 0-9 and '-', 1 to 63 long, starting with a letter and not ending in '-'"
CHECK = "want exactly one of http, tcp and exec"
PROBE = "{http: {path: /healthz, port: 8080}}"

BESIDE = "want an image beside it: a process has none of its own"

# What stands on line 4, under `services: web: command: x`, and what is said of it.
FIELDS = [
    ("replicas: -1", "replicas: -1: want a whole number >= 0"),
    ("replicas: 10001", "replicas: 10001: want a whole number <= 10000"),
    ("replicas: two", "replicas: 'two': want a whole number"),
    ("replicas: 1.5", "replicas: 1.5: want a whole number"),
    ("replicas: true", "replicas: True: want a whole number"),
    ("replicas: 1e400", "replicas: inf: want a whole number"),
    ("replica: 1", f"replica: 1: no such field; did you mean replicas? want one of {SPEC_FIELDS}"),
    ("comand: x", f"comand: 'x': no such field; did you mean command? want one of {SPEC_FIELDS}"),
    (
        "health: {tcp: {}, retrys: 5}",
        f"health.retrys: 5: no such field; did you mean retries? want one of {PROBE_FIELDS}",
    ),
    ("name: web", f"name: 'web': no such field; want one of {SPEC_FIELDS}"),
    ('"a\\nb": 1', f"'a\\nb': 1: no such field; want one of {SPEC_FIELDS}"),
    ("env: [A=b]", "env: ['A=b']: want a mapping such as {NAME: value}"),
    ("env: {A: x, B: 1}", "env.B: 1: want a string (quote it)"),
    ("env: {A: true}", "env.A: True: want a string (quote it)"),
    ("env: {A: 1.5}", "env.A: 1.5: want a string (quote it)"),
    ("env: {A: }", "env.A: want a value (null stands for one hidden from the reader)"),
    ("env: {a.b: 1}", "env.a.b: 1: want a string (quote it)"),
    ('env: {A: "\\0"}', f"env.A: '\\x00': {TEXT}"),
    ('env: {a.7: "\\0"}', f"env.a.7: '\\x00': {TEXT}"),
    ('env: {A: "\\ud800"}', "env.A: '\\ud800': want text without half a surrogate pair"),
    ('env: {"\\0": a}', f"env: '\\x00': {TEXT}"),
    ("env: {A=B: x}", "env: 'A=B': want a variable's name, without '='"),
    ('env: {"": x}', "env: '': want a variable's name, without '='"),
    ("user: 0", "user: 0: want a string (quote it) or nothing"),
    ("user: ''", "user: '': want a text that is not empty, or no such field"),
    ("user: '4294967296'", f"user: '4294967296': {IDS}"),
    ("user: '0:4294967295'", f"user: '0:4294967295': {IDS}"),
    (f"user: '{'9' * 70}'", f"user: '{'9' * 56}...: {IDS}"),
    ("user: ':0'", "user: ':0': want NAME, UID, NAME:GROUP or UID:GID"),
    ("image: ''", "image: '': want a text that is not empty, or no such field"),
    ('cwd: "a\\0"', f"cwd: 'a\\x00': {TEXT}"),
    ("ports: {http: 65536}", "ports.http: 65536: want 1 to 65535, or 0 for any free port"),
    ("ports: {http: -1}", "ports.http: -1: want 1 to 65535, or 0 for any free port"),
    ("ports: {a: 1, b: x}", "ports.b: 'x': want a whole number"),
    ("ports: {HTTP: 80}", f"ports: 'HTTP': {NAME}"),
    ("ports: 80", "ports: 80: want a mapping such as {http: 8080}"),
    ("health: {}", f"health: {{}}: {CHECK}"),
    ("health: {interval: 1s}", f"health: {{'interval': '1s'}}: {CHECK}"),
    ("health: {tcp: {}, http: {}}", f"health: {{'tcp': {{}}, 'http': {{}}}}: {CHECK}"),
    ("stop: 10s", "stop: '10s': want a mapping such as {grace: 10s}"),
    ("health: 5", f"health: 5: want a mapping such as {PROBE}"),
    (
        'health: {exec: "curl x"}',
        "health.exec: 'curl x': want a mapping such as {command: pg_isready -U postgres}",
    ),
    ("health: {tcp: {}, every: 5}", f"health.every: 5: no such field; want one of {PROBE_FIELDS}"),
    ("health: {tcp: {}, interval: 9ms}", "health.interval: 9ms: want at least 10ms"),
    ("health: {tcp: {}, interval: often}", f"health.interval: 'often': {DURATION}"),
    (
        "health: {tcp: {}, interval: 400d}",
        "health.interval: '400d': want a duration from 0 to 366d",
    ),
    ("health: {tcp: {}, interval: -1}", "health.interval: -1: want a duration from 0 to 366d"),
    (
        "health: {tcp: {}, interval: [1]}",
        "health.interval: [1]: want a duration such as 10s or 500ms",
    ),
    ("health: {tcp: {}, fast_interval: 0}", "health.fast_interval: 0s: want at least 10ms"),
    (
        "health: {tcp: {}, interval: 500ms, fast_interval: 1s}",
        "health.fast_interval: 1s: want at most the interval, 500ms",
    ),
    ("health: {tcp: {}, timeout: 0}", "health.timeout: 0s: want more than 0"),
    ("health: {tcp: {}, retries: 0}", "health.retries: 0: want a whole number >= 1"),
    ("health: {tcp: {}, successes: 2}", "health.successes: 2: want 1 for this probe"),
    ("startup: {tcp: {}, successes: 2}", "startup.successes: 2: want 1 for this probe"),
    ("liveness: {tcp: {}, successes: 2}", "liveness.successes: 2: want 1 for this probe"),
    ("health: {tcp: {port: 0}}", f"health.tcp.port: 0: {PORT}"),
    ("health: {tcp: {port: 65536}}", f"health.tcp.port: 65536: {PORT}"),
    ("health: {tcp: {port: ''}}", f"health.tcp.port: '': {PORT}"),
    (
        "health: {tcp: {port: 1.5}}",
        "health.tcp.port: 1.5: want a whole number or a string (quote it) or nothing",
    ),
    ("health: {tcp: {path: a}}", "health.tcp.path: 'a': no such field; want one of port, host"),
    (
        "health: {http: {path: x}}",
        "health.http.path: 'x': want a path such as /healthz, without spaces",
    ),
    (
        "health: {http: {path: /a b}}",
        "health.http.path: '/a b': want a path such as /healthz, without spaces",
    ),
    ("health: {http: {path: /ü}}", "health.http.path: '/ü': want ASCII; percent-encode the rest"),
    ("health: {http: {scheme: ftp}}", "health.http.scheme: 'ftp': want one of http, https"),
    ("health: {http: {status: 99}}", f"health.http.status: 99: {STATUS}"),
    ("health: {http: {status: 400-200}}", f"health.http.status: '400-200': {STATUS}"),
    ("health: {http: {status: 2xx}}", f"health.http.status: '2xx': {STATUS}"),
    ("health: {http: {status: true}}", f"health.http.status: True: {STATUS}"),
    ("health: {http: {status: [200]}}", f"health.http.status: [200]: {STATUS}"),
    ("health: {http: {verify: 1}}", "health.http.verify: 1: want true or false"),
    ("health: {http: {verify: no}}", "health.http.verify: 'no': want true or false"),
    (
        "health: {http: {headers: {X A: b}}}",
        "health.http.headers: 'X A': want a header name such as X-Probe",
    ),
    (
        'health: {http: {headers: {A: "b\\r\\n"}}}',
        "health.http.headers.A: 'b\\r\\n': want printable ASCII on one line",
    ),
    (
        "health: {http: {headers: {Host: a, host: b}}}",
        "health.http.headers.Host: 'b': want it once: no server takes two",
    ),
    (
        "health: {http: {headers: {A: []}}}",
        "health.http.headers.A: []: want a value, or a list of them",
    ),
    ("health: {http: {host: a b}}", f"health.http.host: 'a b': {HOST}"),
    ("health: {tcp: {host: ''}}", f"health.tcp.host: '': {HOST}"),
    ("address: localhost", "address: 'localhost': want an address such as 127.0.0.1 or ::1"),
    ("address: fe80::1%lo", "address: 'fe80::1%lo': want an address such as 127.0.0.1 or ::1"),
    (
        "health: {http: {headers: {A: 1}}}",
        "health.http.headers.A: 1: want a string (quote it) or a list",
    ),
    ("health: {exec: {}}", "health.exec.command: is missing"),
    (
        "health: {exec: {command: []}}",
        "health.exec.command: []: want at least the name of a program",
    ),
    (
        "health: {exec: {command: ''}}",
        "health.exec.command: '': want at least the name of a program",
    ),
    ("health: {exec: {command: 5}}", "health.exec.command: 5: want a list of words, or one string"),
    ("health: {exec: {command: [a, 1]}}", "health.exec.command[1]: 1: want a string (quote it)"),
    ('health: {exec: {command: [a, "\\0"]}}', f"health.exec.command: '\\x00': {TEXT}"),
    (
        """health: {exec: {command: "a 'b"}}""",
        """health.exec.command: "a 'b": want a command whose quotes are closed """
        "(No closing quotation)",
    ),
    (
        "restart: {condition: sometimes}",
        "restart.condition: 'sometimes': want one of always, on-failure, never",
    ),
    ("restart: {max_attempts: 0}", "restart.max_attempts: 0: want a whole number >= 1"),
    ("restart: always", "restart: 'always': want a mapping such as {condition: always}"),
    ("stop: {signal: SIGTERM}", "stop.signal: 'SIGTERM': want a signal such as TERM, INT or QUIT"),
    ("stop: {signal: 15}", "stop.signal: 15: want a string (quote it)"),
    ("stop: {grace: soon}", f"stop.grace: 'soon': {DURATION}"),
    ("resources: {cpu: 0}", f"resources.cpu: 0.0: {CORES}"),
    ("resources: {cpu: 1e9}", f"resources.cpu: 1000000000.0: {CORES}"),
    ("resources: {pids: many}", "resources.pids: 'many': want a whole number or nothing"),
    (
        "resources: {pids: 0}",
        "resources.pids: 0: want a number of processes and threads from 1 to 4194304",
    ),
    ("resources: {memory: 5M}", "resources.memory: 5M: want at least 6M"),
    ("resources: {memory: 0}", f"resources.memory: 0: {SIZE}"),
    ("resources: {memory: much}", f"resources.memory: 'much': {SIZE}"),
    ("resources: {memory: [1]}", f"resources.memory: [1]: {SIZE}"),
    ("resources: {memory: -1}", f"resources.memory: -1: {SIZE}"),
    ("resources: 1G", "resources: '1G': want a mapping such as {memory: 512M}"),
    ("args: [-v]", f"args: ['-v']: {BESIDE}"),
    ("args: 5", "args: 5: want a list of words, or one string"),
    ("mounts: ['data:/data']", f"mounts: ['data:/data']: {BESIDE}"),
    ("read_only: true", f"read_only: True: {BESIDE}"),
    ("cap_add: [NET_RAW]", f"cap_add: ['NET_RAW']: {BESIDE}"),
    ("ulimits: {nofile: 5}", f"ulimits: {{'nofile': '5'}}: {BESIDE}"),
    ("network: host", f"network: 'host': {BESIDE}"),
    ("pull: never", f"pull: 'never': {BESIDE}"),
    ("pull: allways", "pull: 'allways': want one of missing, always, never"),
    ("health: none", f"health: 'none': {BESIDE}"),
    (
        "image_health: false",
        f"image_health: False: no such field; did you mean health? want one of {SPEC_FIELDS}",
    ),
    ("runtime: docker", "runtime: 'docker': want an image beside it, or process"),
    ("labels: [a=b]", "labels: ['a=b']: want a mapping such as {team: shop}"),
    ("labels: {a: 5}", "labels.a: 5: want a string (quote it)"),
    (
        "labels: {warren.a: x}",
        "labels: 'warren.a': want a name that does not begin with warren.: those are Warren's own",
    ),
    ("replicas: !!int 3", "replicas: 'tag:yaml.org,2002:int': want no tag"),
    ("env: {A: !!str 3}", "env.A: 'tag:yaml.org,2002:str': want no tag"),
    (
        "env: !!python/object:os.system {}",
        "env: 'tag:yaml.org,2002:python/object:os.system': want no tag",
    ),
    ("env: !x [a]", "env: '!x': want no tag"),
    ("<<: 3", "<<: want a mapping to merge"),
    ("<<: [{replicas: 2}, 3]", "<<: want a mapping to merge"),
    ("env: &a {b: *a}", "env.b: contains itself through an alias"),
    ("env: {[a]: b}", "env: has a key that is no string"),
    ("command: y", "command: is given twice, first on line 3"),
    ("env_file: 3", "env_file: 3: want a file's name, or a list of them"),
    ("env_file: [a, '']", "env_file: 'a': want a file to read: No such file or directory"),
    ("env_file: ['']", "env_file: '': want a file's name, or a list of them"),
    ('env_file: "a\\0"', "env_file: 'a\\x00': want a file of UTF-8 text"),
]


@pytest.mark.parametrize(("field", "refusal"), FIELDS, ids=[field for field, _ in FIELDS])
def test_bad_field_is_refused_in_one_line(
    field: str, refusal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as caught:
        load_text(f"services:\n  web:\n    command: x\n    {field}\n", source="a.yaml")
    assert str(caught.value) == f"a.yaml:4: services.web.{refusal}"


FILES = [
    ("", "services: is missing: the file is empty"),
    ("# nothing\n---\n", "services: is missing: the file is empty"),
    ("web", "1: (the whole): 'web': want a mapping with services"),
    ("[]", "1: (the whole): []: want a mapping with services"),
    ("\n\nweb: {}", "3: web: {}: no such field; want services"),
    ("services:\nx: 1", "2: x: 1: no such field; want services"),
    ("services:", "1: services: want a mapping of names to services"),
    ("services: [a]", "1: services: ['a']: want a mapping of names to services"),
    ("services: {}", "1: services: {}: want a mapping of names to services"),
    ("services:\n  web: 3", "2: services.web: 3: want a mapping"),
    ("services:\n  Web: {}", f"2: services.Web: 'Web': {NAME}"),
    ('services:\n  "": {}', f"2: services.: '': {NAME}"),
    ('services:\n  "a\\n": {}', f"2: services.'a\\n': 'a\\n': {NAME}"),
    (
        "services:\n  web:",
        "2: services.web.command: want the command to run, such as [redis-server]",
    ),
    (
        "services:\n  web:\n    command: x\n    health: {tcp: {}}\n    startup: {tcp: {}}",
        "4: services.web.health: 'beside startup': "
        "want either health alone, or startup, liveness and readiness",
    ),
    (
        "services:\n  web:\n    health:\n      tcp: {}\n      interval:\n        9ms\n",
        "5: services.web.health.interval: 9ms: want at least 10ms",
    ),
    (
        "services:\n  web:\n    command:\n    - a\n    - 1",
        "5: services.web.command[1]: 1: want a string (quote it)",
    ),
    (
        "a: [",
        "1: file: want YAML: while parsing a flow node, "
        "expected the node content, but found '<stream end>'",
    ),
    ("a: b: c", "1: file: want YAML: mapping values are not allowed here"),
    ("a: *b", "1: file: want YAML: found undefined alias 'b'"),
    (
        "a: 1\n---\nb: 1",
        "2: file: want YAML: expected a single document in the stream, but found another document",
    ),
    (
        "\ta: 1",
        "1: file: want YAML: while scanning for the next token, "
        "found character '\\t' that cannot start any token",
    ),
    (
        "a: &x 1\nb: &x 2",
        "2: file: want YAML: found duplicate anchor 'x'; first occurrence, second occurrence",
    ),
    ("a: \0", "file: want YAML: unacceptable character #x0000: special characters are not allowed"),
    ("!x {a: b}", "1: (the whole): '!x': want no tag"),
    ("!x a: b", "1: (the whole): '!x': want no tag"),
    ("&a [*a]", "1: [0]: contains itself through an alias"),
    ("<<: &a {<<: *a}", "1: <<.<<: contains itself through an alias"),
    ("[" * 5000, "file: is nested too deeply"),
    ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "file: is nested too deeply"),
    ("x" * (1 << 20) + "x", "file: '1048577 characters': want at most 1 MiB"),
]


@pytest.mark.parametrize(("text", "refusal"), FILES, ids=[text[:30] for text, _ in FILES])
def test_bad_file_is_refused_in_one_line(text: str, refusal: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_text(text)
    assert str(caught.value) == refusal


@pytest.mark.parametrize("escape", ["\\UFFFFFFFF", "\\U00110000"])
def test_character_beyond_unicode_is_refused(escape: str) -> None:
    with pytest.raises(SpecError, match=r"^file: want YAML: "):
        load_text(f'a: "{escape}"')


def chained_aliases(count: int) -> str:
    """Each the inside of the next: shallow to the parser, deep when written out."""
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, count))]
    return "\n".join(lines)


def bomb(levels: int, width: int = 10) -> str:
    lines = ["a0: &a0 x"]
    for level in range(1, levels):
        aliases = ", ".join([f"*a{level - 1}"] * width)
        lines.append(f"a{level}: &a{level} [{aliases}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (chained_aliases(2000), "file: is nested too deeply"),
        (bomb(12), f"has more than {BUDGET} values once aliases are written out"),
        (
            "a: &a " + "x" * 500_000 + "\nb: [" + "*a, " * 1000 + "]",
            f"has more than {BUDGET} values once aliases are written out",
        ),
        (
            "a: &a {? " + "x" * 500_000 + "\n : 1}\nb: [" + "*a, " * 1000 + "]",
            f"has more than {BUDGET} values once aliases are written out",
        ),
    ],
    ids=["chain", "billion", "long value", "long key"],
)
def test_bomb_of_aliases_is_refused_while_it_is_small(text: str, refusal: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_text(text)
    said = str(caught.value)
    assert refusal in said
    assert len(said) < 500


def test_refused_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "warren.yaml"
    file.write_bytes(b"services:\n  web:\n    command: \xff\n")
    with pytest.raises(SpecError) as caught:
        load_file(file)
    assert str(caught.value) == f"{file}: file: want UTF-8 text"
    file.unlink()
    with pytest.raises(SpecError) as caught:
        load_file(file)
    assert str(caught.value) == f"file: {shown(str(file))}: No such file or directory"
    file.write_text("services:\n  web:\n    replicas: 1\n    replicas: 2\n", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_file(file)
    assert str(caught.value) == (
        f"{file}:4: services.web.replicas: is given twice, first on line 3"
    )


@pytest.mark.parametrize(
    ("text", "path", "wanted"),
    [
        (b"{", (), "want JSON: Input data was truncated"),
        (b"", (), "want JSON: Input data was truncated"),
        (b"\xff", (), "want JSON: JSON is malformed: invalid character (byte 0)"),
        (b"[" * 100_000, (), "want JSON: maximum recursion depth exceeded"),
        (b"[]", (), "want a mapping"),
        (b"{}", ("name",), "is missing"),
        (b'{"name":"web\\n","command":["x"]}', ("name",), NAME),
        (b'{"name":"web","command":[1]}', ("command", 0), "want a string (quote it)"),
    ],
)
def test_bad_json_of_a_spec_is_refused(
    text: bytes, path: tuple[str | int, ...], wanted: str
) -> None:
    with pytest.raises(DecodeError) as caught:
        from_json(text, ServiceSpec)
    assert caught.value.path == path
    assert caught.value.wanted.startswith(wanted)
    assert str(caught.value.named("spec")).startswith("spec")


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ('"phase":99', ("phase",)),
        ('"proven":{"liveness":"x"}', ("proven",)),
        ('"proven":{"x":"healthy"}', ()),
        ('"history":[1]', ("history",)),
        ('"history":{"times":["x"]}', ("history", "times", 0)),
        ('"last_end":{"reason":"x","message":"","at":0}', ("last_end", "reason")),
        ('"instance":{"id":"a","task":"web.1#1","started_at":0}', ("instance", "task")),
    ],
)
def test_bad_json_of_a_record_is_refused(field: str, path: tuple[str | int, ...]) -> None:
    good = '"id":{"service":"web","slot":1,"number":1},"spec":{"name":"web","command":["x"]}'
    assert from_json(f"{{{good}}}", TaskRecord).starts == 0
    with pytest.raises(DecodeError) as caught:
        from_json(f"{{{good},{field}}}", TaskRecord)
    assert caught.value.path == path
    assert caught.value.wanted


def test_shown_value_is_short_and_on_one_line() -> None:
    assert shown("a\nb") == r"'a\nb'"
    assert len(shown("x" * 1000)) == 60


def test_field_error_is_readable_on_its_own() -> None:
    assert str(FieldError("path", "x", "want a path")) == "path: 'x': want a path"
