"""What a container is created with. Pure: from a launch to the body of POST /containers/create."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from warren.engine.answers import Image
from warren.engine.differences import log_config
from warren.model.interfaces import Launch
from warren.model.mount import Mount, MountType
from warren.model.service import Resources, ServiceSpec

NODE, SERVICE = "warren.node", "warren.service"
TASK, INSTANCE = "warren.task", "warren.instance"
FEATURES = (
    "images",
    "args",
    "mounts",
    "read-only-root",
    "capabilities",
    "ulimits",
    "host-network",
    "no-network",
    "named-networks",
    "labels",
    "image-healthcheck",
    "memory-limit",
    "cpu-limit",
    "pids-limit",
)
"""What of a spec is honoured here, as `rules/requirements.py` names it."""


def labels(launch: Launch, token: str) -> dict[str, str]:
    """The identity of an instance: whose it is, and which; and the service's own."""
    return {
        **launch.spec.labels,
        NODE: token,
        SERVICE: launch.task.service,
        TASK: str(launch.task),
        INSTANCE: launch.id,
    }


def container_name(launch: Launch) -> str:
    """For people: the instance's."""
    return f"warren-{launch.id}"


def container_body(launch: Launch, *, image: Image, token: str, kind: str) -> Mapping[str, Any]:
    """The body. What a spec leaves out is the image's own; but its HEALTHCHECK, which an engine
    would run as well, beside what the service asks."""
    spec = launch.spec
    body: dict[str, Any] = {
        "Image": image.id,
        "Env": [f"{name}={value}" for name, value in launch.env.items()],
        "Labels": labels(launch, token),
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": _host_config(spec, kind),
    }
    if launch.command:  # an ENTRYPOINT of its own drops the image's CMD
        body["Entrypoint"] = list(launch.command)
        body["Cmd"] = []
    if launch.args is not None:
        body["Cmd"] = list(launch.args)
        if not launch.command and image.config is not None and image.config.entrypoint:
            # With the image's own ENTRYPOINT engines take no arguments for those of the image.
            body["Entrypoint"] = list(image.config.entrypoint)
    if spec.user is not None:
        body["User"] = spec.user
    if spec.cwd is not None:
        body["WorkingDir"] = spec.cwd
    return body


def _host_config(spec: ServiceSpec, kind: str) -> dict[str, Any]:
    config: dict[str, Any] = {
        "LogConfig": log_config(kind),
        "ReadonlyRootfs": spec.read_only,
        "CapAdd": list(spec.cap_add),
        "CapDrop": list(spec.cap_drop),
    }
    if spec.mounts:
        config["Mounts"] = [_mount(one) for one in spec.mounts]
    if spec.ulimits:
        config["Ulimits"] = [
            {"Name": name, "Soft": limit.soft, "Hard": limit.hard}
            for name, limit in spec.ulimits.items()
        ]
    config.update(_limits(spec.resources))
    if spec.network is not None:
        config["NetworkMode"] = spec.network
    if not spec.new_privileges:
        config["SecurityOpt"] = ["no-new-privileges"]
    return config


def _limits(asked: Resources) -> dict[str, Any]:
    """Of the container, its exec checks included (S27). It gets no swap besides its memory."""
    found = dict[str, Any]()
    if asked.memory is not None:
        found |= {"Memory": int(asked.memory), "MemorySwap": int(asked.memory)}
    if asked.cpu is not None:
        found["NanoCpus"] = round(asked.cpu * 1e9)
    if asked.pids is not None:
        found["PidsLimit"] = asked.pids
    return found


def _mount(mount: Mount) -> dict[str, Any]:
    found: dict[str, Any] = {
        "Type": mount.type.value,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }
    if mount.type is not MountType.TMPFS:
        found["Source"] = mount.source
    elif mount.size is not None:
        found["TmpfsOptions"] = {"SizeBytes": mount.size}
    return found
