"""What a container is created with. Pure: from a launch to the body of POST /containers/create."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from warren.engine.differences import log_config
from warren.model.interfaces import Launch

NODE, SERVICE = "warren.node", "warren.service"
TASK, INSTANCE = "warren.task", "warren.instance"


def labels(launch: Launch, token: str) -> dict[str, str]:
    """The identity of an instance: whose it is, and which."""
    return {
        NODE: token,
        SERVICE: launch.task.service,
        TASK: str(launch.task),
        INSTANCE: launch.id,
    }


def container_name(launch: Launch) -> str:
    """For people: the instance's."""
    return f"warren-{launch.id}"


def container_body(launch: Launch, *, image: str, token: str, kind: str) -> Mapping[str, Any]:
    """The body. What a spec leaves out is the image's own."""
    spec = launch.spec
    body: dict[str, Any] = {
        "Image": image,
        "Env": [f"{name}={value}" for name, value in launch.env.items()],
        "Labels": labels(launch, token),
        "HostConfig": _host_config(launch, kind),
    }
    if launch.command:
        body["Entrypoint"] = list(launch.command)
        body["Cmd"] = []
    if spec.user is not None:
        body["User"] = spec.user
    if spec.cwd is not None:
        body["WorkingDir"] = spec.cwd
    return body


def _host_config(launch: Launch, kind: str) -> dict[str, Any]:
    config: dict[str, Any] = {"LogConfig": log_config(kind)}
    if not launch.spec.new_privileges:
        config["SecurityOpt"] = ["no-new-privileges"]
    return config
