"""What a container is given, in lines for people."""

from __future__ import annotations

import shlex

from warren.model.container import Pull
from warren.model.service import ServiceSpec


def container_lines(spec: ServiceSpec) -> list[tuple[str, str]]:
    """Title and text; an empty text where there is nothing to say."""
    return [
        ("Arguments", _arguments(spec)),
        ("Mounts", ", ".join(map(str, spec.mounts))),
        ("Root file system", "read-only" if spec.read_only else ""),
        ("Capabilities", _capabilities(spec)),
        ("Limits", ", ".join(f"{name} {limit}" for name, limit in spec.ulimits.items())),
        ("Network", spec.network or ""),
        ("Pull", "" if spec.pull is Pull.MISSING else spec.pull.value),
        ("Health check", "" if spec.image_health else "none, nor the image's own"),
    ]


def what_runs(spec: ServiceSpec) -> str:
    """The command, or the image with what replaces its own."""
    command = shlex.join(spec.command or ())
    if spec.image is None:
        return command
    return " ".join(filter(None, (spec.image, command, shlex.join(spec.args or ()))))


def _arguments(spec: ServiceSpec) -> str:
    if spec.args is None:
        return ""
    return shlex.join(spec.args) or "none"


def _capabilities(spec: ServiceSpec) -> str:
    dropped = [f"-{name}" for name in spec.cap_drop]
    return " ".join([*dropped, *(f"+{name}" for name in spec.cap_add)])
