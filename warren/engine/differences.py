"""Where Docker and Podman differ, though both speak the Engine API. All of it is here.

| what | Docker | Podman |
|---|---|---|
| name in /version | a component `Engine` | a component `Podman Engine` |
| killed for want of memory | `OOMKilled` | on cgroup v1 only in the kernel's log |
| the events of an end, in a filter | `die`, `destroy` | `died`, `remove` |
| not in the state for what is asked | 409 | 500, in words |
| an exec that cannot be run | never has a pid | code 126 or 127, the reason on stderr |
| the pid of an exec that has ended | kept | 0 |
| times of output | to the nanosecond | to the second |
| its own copy of output | json-file, two files | k8s-file, one file that begins anew |
| after an exec | nothing | two of `conmon` stay, 300 s by default |
"""

from __future__ import annotations

import re
from typing import Any

from warren.engine.answers import Exec, Version
from warren.engine.errors import one_line

DOCKER, PODMAN = "docker", "podman"
KINDS = (DOCKER, PODMAN)
LOG_SIZE = "1m"
LONGEST_RELEASE = 100  # characters
_CODES = (126, 127)  # of an exec whose program was not run, or its own
_IN_WORDS = re.compile(rb"Error: .{0,300}(OCI |exec failed|unable to start container process)")
_IMPROPER = "container state improper"
_PROGRAM = re.compile(r'exec: "(?P<name>[^"]*)": (?:stat [^:]*: )?(?P<why>[^:]+)')
_WHYS = {
    "executable file not found in $PATH": "there is no such program in the image",
    "no such file or directory": "there is no such program in the image",
    "permission denied": "may not be executed in the image",
}


def kind_of(version: Version) -> str:
    """Which engine it is."""
    names = [one.name.lower() for one in version.components or ()]
    return PODMAN if any("podman" in name for name in names) else DOCKER


def release_of(version: Version) -> str:
    """The engine's own version, of bounded length."""
    told = version.version
    for one in version.components or ():
        if "engine" in one.name.lower() and one.version:
            told = one.version
            break
    return one_line(told)[:LONGEST_RELEASE]


def could_not_run(kind: str, ended: Exec, output: bytes) -> bool:
    """Whether the engine failed to start an exec, and its code is not the program's own (S13)."""
    if ended.exit_code not in _CODES:
        return False
    return bool(_IN_WORDS.match(output)) if kind == PODMAN else not ended.pid


def is_improper(said: str) -> bool:
    """Whether an engine refuses as something is not in the state for what is asked."""
    return _IMPROPER in said


def explained(said: str) -> str:
    """What an engine says of a program that it could not run, in fewer words; else as it is."""
    found = _PROGRAM.search(said)
    if found is None or found["why"] not in _WHYS:
        return said
    return f"{found['name']}: {_WHYS[found['why']]}"


def end_events(kind: str) -> list[str]:
    """The events, as a filter has them, after which a container has ended or is no more. Podman
    itself tells of its end as `die`, and where it is removed running not at all."""
    return ["died", "remove"] if kind == PODMAN else ["die", "destroy"]


def log_config(kind: str) -> dict[str, Any]:
    """The engine's own copy of the output: a bounded buffer, until it is copied."""
    if kind == PODMAN:
        return {"Type": "k8s-file", "Config": {"max-size": LOG_SIZE}}
    return {"Type": "json-file", "Config": {"max-size": LOG_SIZE, "max-file": "2"}}
