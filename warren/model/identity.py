"""Names: services, tasks (`web.2#7`) and instances (`web.2-7.3-9f2c41ab`)."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

NAME = r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z"  # `$` would let a newline follow
NAME_WANTED = (
    "want a name of a-z, 0-9 and '-', 1 to 63 long, starting with a letter and not ending in '-'"
)
ServiceName = Annotated[str, msgspec.Meta(pattern=NAME)]

_NAME = re.compile(NAME)
_TASK = re.compile(
    r"(?P<service>[a-z][a-z0-9-]*)\.(?P<slot>[1-9]\d{0,8})#(?P<number>[1-9]\d{0,17})\Z", re.ASCII
)


def is_name(text: str) -> bool:
    """Whether the text may name a service or a port."""
    return _NAME.match(text) is not None


class TaskId(msgspec.Struct, frozen=True, order=True):
    """One attempt to fill a slot of a service. Written `web.2#7`: slot 2, the seventh attempt."""

    service: str
    slot: int
    number: int

    def __str__(self) -> str:
        return f"{self.service}.{self.slot}#{self.number}"

    @classmethod
    def parse(cls, text: str) -> TaskId:
        """Read the written form. Raises ValueError."""
        match = _TASK.match(text)
        if match is None or not is_name(match["service"]):
            raise ValueError(f"{text!r} is no task: want SERVICE.SLOT#NUMBER such as web.2#7")
        return cls(match["service"], int(match["slot"]), int(match["number"]))


def parse_slot(text: str) -> tuple[str, int] | None:
    """Service and number of a slot such as `web.2`; None where it is none."""
    match = _TASK.match(f"{text}#1")
    if match is None or "#" in text or not is_name(match["service"]):
        return None
    return match["service"], int(match["slot"])


def instance_id(task: TaskId, start: int, token: str) -> str:
    """The name of one start of a task, unique on every node, fit for a file or cgroup name."""
    return f"{instance_prefix(task)}{start}-{token}"


def instance_prefix(task: TaskId) -> str:
    """The prefix of the names of all instances of a task, and of no others."""
    return f"{task.service}.{task.slot}-{task.number}."
