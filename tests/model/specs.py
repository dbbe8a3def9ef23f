"""Arbitrary specs and records, for properties: every field, and the strings YAML gets wrong."""

from __future__ import annotations

import signal
from typing import Any

from hypothesis import strategies as st

from warren.model.byte_size import LARGEST, ByteSize
from warren.model.check import (
    Args,
    Argv,
    Check,
    ExecCheck,
    HttpCheck,
    Scheme,
    StatusRange,
    TcpCheck,
)
from warren.model.check_kinds import NAMES
from warren.model.container import (
    CAPABILITIES,
    LARGEST_LIMIT,
    NO_LIMIT,
    OWN_LABELS,
    RUNTIMES,
    ULIMITS,
    Pull,
    Ulimit,
)
from warren.model.duration import LONGEST, Duration
from warren.model.identity import TaskId
from warren.model.mount import Mount, MountType, place_of
from warren.model.probe import SHORTEST_INTERVAL, Probe, ProbeKind, Verdict
from warren.model.service import (
    LEAST_CPU,
    LEAST_MEMORY,
    MOST_CPU,
    MOST_PIDS,
    Condition,
    Resources,
    Restart,
    ServiceSpec,
    Stop,
)
from warren.model.task import End, Instance, Phase, Reason, RestartHistory, TaskRecord

# Words that a YAML reader may take for something else, or a writer fail to quote.
WEIRD = [
    "", " ", "  lead", "trail  ", "\n", "a\nb", "\na", "a\n", "a\n\n b\n", "\r", "a\r\nb", "\t",
    "a\tb", "~", "null", "Null", "NULL", "true", "True", "TRUE", "false", "yes", "no", "on",
    "off", "y", "n", "1", "-1", "+1", "0", "007", "0o17", "0x1f", "1_000", "1e3", "1.", ".5",
    "1.5", "-0.0", "1:30", ".inf", "-.inf", ".nan", "NaN", "2026-11-24",
    "2001-12-14t21:59:43.10-05:00", "<<", "=", "-", "- a", "--- a", "---", "...", "?", "? a", ":",
    "a:", "a: b", ": a", "#", "a #b", "# a", "&a", "*a", "!a", "!!str a", "|", ">", ">-", "%",
    "%YAML 1.1", "@a", "`a`", "{a: b}", "[a]", "{", "]", "'", '"', "'a'", '"a"', "a'b", "\\",
    "\\n", "$(PORT)", "$$", "a,b", "\N{BOM}", "a\N{BOM}b", "\x85", "\N{NO-BREAK SPACE}",
    "\N{LINE SEPARATOR}", "\x07", "\x1b[0m", "\x7f", "\ufffe", "\U0010ffff",
    "\N{ARABIC-INDIC DIGIT ONE}\N{ARABIC-INDIC DIGIT TWO}", "h\u00e9llo", "\N{RABBIT}", "x" * 300,
    "word " * 60,
]  # fmt: skip

_SIGNALS = sorted(name.removeprefix("SIG") for name in signal.Signals.__members__)
_letters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])

words = st.sampled_from(WEIRD) | st.text(_letters, max_size=20)
filled = words.filter(bool)
names = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True) | st.sampled_from(
    ["y", "n", "no", "on", "off", "yes", "null", "true", "e", "a" * 63]
)
durations = st.builds(
    Duration,
    st.floats(0, LONGEST)
    | st.integers(0, int(LONGEST))
    | st.sampled_from([0.001, 0.25, 90.0, 86400.0]),
)
_counts = st.integers(1, 1_000_000)
_argvs = st.tuples(filled, st.lists(words, max_size=4)).map(lambda two: Argv([two[0], *two[1]]))
_check_ports = st.none() | st.integers(1, 65535) | filled
_printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
_headers = st.dictionaries(
    st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True).filter(
        lambda name: name.lower() != "host"
    ),
    _printable | st.lists(_printable, min_size=2, max_size=3).map(tuple),
    max_size=4,
)
_addresses = st.sampled_from(["127.0.0.1", "::1", "10.0.0.7", "fe80::1", "::ffff:1.2.3.4"])
_hosts = st.none() | _addresses | st.sampled_from(["localhost", "a.example", "x", "a_b"])
_codes = st.integers(100, 599)
_statuses = st.tuples(_codes, _codes).map(lambda ends: StatusRange(min(ends), max(ends)))
_variables = st.sampled_from([w for w in WEIRD if w and "=" not in w]) | st.text(
    st.characters(exclude_characters="\0=", exclude_categories=["Cs"]), min_size=1, max_size=12
)

CHECKS: dict[str, st.SearchStrategy[Check]] = {
    "http": st.builds(
        HttpCheck,
        path=_printable.map(lambda text: "/" + text.replace(" ", "+")),
        port=_check_ports,
        scheme=st.sampled_from(Scheme),
        headers=_headers,
        status=_statuses,
        verify=st.booleans(),
        host=_hosts,
    ),
    "tcp": st.builds(TcpCheck, port=_check_ports, host=_hosts),
    "exec": st.builds(ExecCheck, _argvs),
}


@st.composite
def probes(draw: st.DrawFn, *, successes: bool = False) -> Probe:
    """A probe; with more than one pass needed only if asked for."""
    name = draw(st.sampled_from(NAMES))
    paces = durations.filter(lambda pace: pace >= SHORTEST_INTERVAL)
    check: dict[str, Any] = {name: draw(CHECKS[name])}
    interval = draw(paces)
    return Probe(
        **check,
        interval=interval,
        timeout=draw(durations.filter(bool)),
        retries=draw(_counts),
        successes=draw(_counts) if successes else 1,
        start_period=draw(durations),
        initial_delay=draw(durations),
        fast_interval=draw(st.none() | paces.map(lambda pace: min(pace, interval))),
    )


restarts = st.builds(
    Restart,
    condition=st.sampled_from(Condition),
    max_attempts=_counts,
    window=durations,
    delay=durations,
    max_delay=durations,
    reset_after=durations,
)
stops = st.builds(
    Stop,
    signal=st.sampled_from(_SIGNALS),
    grace=durations,
    failure_grace=st.none() | durations,
)
resources = st.builds(
    Resources,
    memory=st.none() | st.integers(LEAST_MEMORY, LARGEST).map(ByteSize),
    cpu=st.none() | st.floats(LEAST_CPU, MOST_CPU),
    pids=st.none() | st.integers(1, MOST_PIDS),
)


_targets = words.map(lambda word: f"/{word}").filter(
    lambda path: bool(place_of(path)) and ".." not in path.split("/")
)
_volumes = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,20}", fullmatch=True)
_mounts = st.lists(
    st.builds(Mount, type=st.just(MountType.BIND), source=_targets, target=_targets)
    | st.builds(
        Mount,
        type=st.just(MountType.VOLUME),
        source=_volumes,
        target=_targets,
        read_only=st.booleans(),
    )
    | st.builds(
        Mount,
        type=st.just(MountType.TMPFS),
        source=st.none(),
        target=_targets,
        size=st.none() | st.integers(1, 2**62),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda mount: place_of(mount.target),
).map(tuple)
_limits = st.integers(0, LARGEST_LIMIT)
_ulimits = (
    st.tuples(_limits, _limits).map(lambda two: Ulimit(soft=min(two), hard=max(two)))
    | _limits.map(lambda soft: Ulimit(soft=soft, hard=NO_LIMIT))
    | st.just(Ulimit(soft=NO_LIMIT, hard=NO_LIMIT))
)
_labels = st.dictionaries(
    _variables.filter(lambda name: not name.startswith(OWN_LABELS)), words, max_size=3
)


@st.composite
def _container_fields(draw: st.DrawFn) -> dict[str, Any]:
    """Any of the fields that stand beside an image alone."""
    added = draw(st.lists(st.sampled_from(CAPABILITIES), unique=True, max_size=3).map(tuple))
    dropped = draw(st.just(("ALL",)) | st.just(("MKNOD", "NET_RAW")))
    return {
        "args": draw(st.none() | st.lists(words, max_size=3).map(Args)),
        "mounts": draw(st.just(()) | _mounts),
        "read_only": draw(st.booleans()),
        "cap_add": added,
        "cap_drop": () if {*added} & {*dropped} else dropped,
        "ulimits": draw(st.dictionaries(st.sampled_from(ULIMITS), _ulimits, max_size=3)),
        "network": draw(st.none() | st.sampled_from(["host", "none", "front", "My_net.1"])),
        "pull": draw(st.sampled_from(Pull)),
        "runtime": draw(st.none() | st.sampled_from(RUNTIMES[1:])),
        "image_health": draw(st.booleans()),
    }


_NOTHING: st.SearchStrategy[dict[str, Any]] = st.just({})


@st.composite
def specs(draw: st.DrawFn) -> ServiceSpec:
    """Any service that may be asked for."""
    optional = st.none() | filled
    command = draw(st.none() | _argvs)
    image = draw(filled if command is None else optional)
    some = st.none() | probes()
    kinds: dict[str, Any] = {"health": draw(some)}
    if kinds["health"] is None:
        kinds = {
            "startup": draw(some),
            "liveness": draw(some),
            "readiness": draw(st.none() | probes(successes=True)),
        }
    if image is None:
        kinds["runtime"] = draw(st.sampled_from([None, "process"]))
    else:
        kinds |= draw(_NOTHING | _container_fields())
    return ServiceSpec(
        name=draw(names),
        address=draw(_addresses),
        command=command,
        image=image,
        labels=draw(_labels),
        replicas=draw(st.integers(0, 10_000)),
        env=draw(st.dictionaries(_variables, words, max_size=5)),
        user=draw(optional.filter(is_user)),
        new_privileges=draw(st.booleans()),
        cwd=draw(optional),
        ports=draw(st.dictionaries(names, st.integers(0, 65535), max_size=3)),
        restart=draw(st.just(Restart()) | restarts),
        stop=draw(st.just(Stop()) | stops),
        resources=draw(st.just(Resources()) | resources),
        **kinds,
    )


def is_user(text: str | None) -> bool:
    """Whether a spec takes it: no id is too great."""
    parts = (text or "x").partition(":")[::2]
    return parts[0] != "" and not any(part.isdecimal() and len(part) > 9 for part in parts)


tasks = st.builds(TaskId, names, st.integers(1, 10_000), st.integers(1, 2**31))
walls = st.floats(0, 2**33)
ends = st.builds(
    End,
    reason=st.sampled_from(Reason),
    message=words,
    at=walls,
    exit_code=st.none() | st.integers(0, 255),
    signal=st.none() | st.sampled_from(["SIGKILL", "SIGTERM"]),
)
instances = st.builds(
    Instance,
    id=words,
    task=tasks,
    pid=st.none() | st.integers(1, 2**22),
    started_at=walls,
    address=st.sampled_from(["127.0.0.1", "::1"]),
    ports=st.dictionaries(names, st.integers(1, 65535), max_size=3),
    handle=st.dictionaries(words, words, max_size=3),
)
records = st.builds(
    TaskRecord,
    id=tasks,
    spec=specs(),
    phase=st.sampled_from(Phase),
    instance=st.none() | instances,
    starts=st.integers(0, 1000),
    history=st.builds(
        RestartHistory,
        st.lists(walls, max_size=5).map(tuple),
        st.integers(0, 99),
        st.integers(0, 99),
    ),
    last_end=st.none() | ends,
    ready_since=st.none() | walls,
    proven=st.dictionaries(st.sampled_from(ProbeKind), st.sampled_from(Verdict)),
    failed_before=st.integers(0, 99),
)
