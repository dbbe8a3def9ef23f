from __future__ import annotations

from typing import Any

from warren.engine.answers import Config, Image
from warren.engine.container_body import container_body, container_name
from warren.model.check import Args, Argv
from warren.model.container import Ulimit
from warren.model.identity import TaskId
from warren.model.interfaces import Launch
from warren.model.mount import Mount, MountType
from warren.model.service import ServiceSpec

IMAGE = Image(id="sha256:ab", config=Config(entrypoint=("run",)))


def body(
    *command: str, args: Args | None = None, kind: str = "docker", **spec: Any
) -> dict[str, Any]:
    launch = Launch(
        id="web.2-7.3-ab",
        task=TaskId("web", 2, 7),
        spec=ServiceSpec(name="web", image="nginx", **spec),
        command=Argv(command),
        args=args,
        env={"A": "1"},
        ports={},
    )
    assert container_name(launch) == "warren-web.2-7.3-ab"
    return dict(container_body(launch, image=IMAGE, token="t", kind=kind))


def test_a_bare_spec_leaves_all_to_the_image_but_privileges_and_health() -> None:
    found = body()
    host = found.pop("HostConfig")
    assert found == {
        "Image": "sha256:ab",
        "Env": ["A=1"],
        "Labels": {
            "warren.node": "t",
            "warren.service": "web",
            "warren.task": "web.2#7",
            "warren.instance": "web.2-7.3-ab",
        },
        "Healthcheck": {"Test": ["NONE"]},
    }
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert "NetworkMode" not in host
    assert body(new_privileges=True)["HostConfig"].get("SecurityOpt") is None
    assert body(kind="podman")["HostConfig"]["LogConfig"]["Type"] == "k8s-file"


def test_command_is_the_entrypoint_and_args_the_cmd() -> None:
    assert (body("a", "b")["Entrypoint"], body("a", "b")["Cmd"]) == (["a", "b"], [])
    assert body("a", args=Args(["c"]))["Cmd"] == ["c"]
    assert "Entrypoint" not in body()
    # Where they replace the image's, its entrypoint is told too: an engine would add its arguments.
    assert body(args=Args())["Entrypoint"] == body(args=Args(["c"]))["Entrypoint"] == ["run"]
    assert body(args=Args())["Cmd"] == []


def test_every_field_of_a_container_is_passed_on() -> None:
    found = body(
        user="me:us",
        cwd="/srv",
        read_only=True,
        cap_add=("NET_ADMIN",),
        cap_drop=("ALL",),
        ulimits={"nofile": Ulimit(soft=10, hard=20)},
        network="host",
        labels={"team": "shop"},
        mounts=(
            Mount(type=MountType.BIND, source="/a", target="/b", read_only=True),
            Mount(type=MountType.VOLUME, source="data", target="/c"),
            Mount(type=MountType.TMPFS, target="/d", size=4096),
        ),
    )
    host = found["HostConfig"]
    assert (found["User"], found["WorkingDir"]) == ("me:us", "/srv")
    assert found["Labels"]["team"] == "shop"
    assert (host["ReadonlyRootfs"], host["CapAdd"], host["CapDrop"]) == (
        True,
        ["NET_ADMIN"],
        ["ALL"],
    )
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 10, "Hard": 20}]
    assert host["NetworkMode"] == "host"
    assert host["Mounts"] == [
        {"Type": "bind", "Target": "/b", "ReadOnly": True, "Source": "/a"},
        {"Type": "volume", "Target": "/c", "ReadOnly": False, "Source": "data"},
        {"Type": "tmpfs", "Target": "/d", "ReadOnly": False, "TmpfsOptions": {"SizeBytes": 4096}},
    ]
