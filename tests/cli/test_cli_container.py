"""The options of a container: what they ask for, what they change, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from warren.cli.app import app
from warren.cli.commands import service
from warren.cli.options import command_line
from warren.cli.options.service_spec import CallerContext, changed_spec, new_spec, option_of
from warren.cli.render.container_lines import container_lines, what_runs
from warren.model.check import Args, Argv
from warren.model.container import Pull, Ulimit
from warren.model.errors import SpecError
from warren.model.mount import Mount, MountType
from warren.model.service import ServiceSpec

replace = msgspec.structs.replace
HERE = CallerContext(Path("/here"), {})


def asked(*arguments: str) -> ServiceSpec:
    """What `warren service create web` makes of these."""
    _, bound, _ = app.parse_args(["service", "create", "web", *arguments], exit_on_error=False)
    bound.apply_defaults()
    return new_spec(bound.args[0], bound.args[1:], bound.kwargs["flags"], HERE)


def changed(old: ServiceSpec, *arguments: str) -> ServiceSpec:
    """What `warren service update web` makes of these."""
    _, bound, _ = app.parse_args(["service", "update", "web", *arguments], exit_on_error=False)
    flags = bound.kwargs.get("flags", service.NO_CHANGES)
    removals = bound.kwargs.get("removals", service.NO_REMOVALS)
    return changed_spec(old, bound.args[1:], flags, removals, HERE)


def volume(source: str, target: str, **more: Any) -> Mount:
    return Mount(type=MountType.VOLUME, source=source, target=target, **more)


def bind(source: str, target: str, **more: Any) -> Mount:
    return Mount(type=MountType.BIND, source=source, target=target, **more)


def test_everything_a_container_is_given_is_asked_for_by_its_option() -> None:
    spec = asked(
        "--image=web:1", "--runtime=podman", "--entrypoint=serve 'a b'", "--mount=data:/data",
        "-v", "./html:/html:ro", "--read-only", "--cap-drop=all", "--cap-add=cap_net_raw",
        "--ulimit=nofile=1024:4096", "--ulimit=core=-1", "--network=front", "--label=team=a=b",
        "--label=empty=", "--pull=never", "--no-healthcheck", "--cwd=/app", "--", "-v", "--x",
    )  # fmt: skip
    assert spec == ServiceSpec(
        name="web",
        image="web:1",
        runtime="podman",
        command=Argv(["serve", "a b"]),
        args=Args(["-v", "--x"]),
        mounts=(volume("data", "/data"), bind("/here/html", "/html", read_only=True)),
        read_only=True,
        cap_drop=("ALL",),
        cap_add=("NET_RAW",),
        ulimits={"nofile": Ulimit(soft=1024, hard=4096), "core": Ulimit(soft=-1, hard=-1)},
        network="front",
        labels={"team": "a=b", "empty": ""},
        pull=Pull.NEVER,
        image_health=False,
        cwd="/app",
    )


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("/srv:/data", bind("/srv", "/data")),
        ("../up:/up", bind("/up", "/up")),
        ("data:/data:rw", volume("data", "/data")),
        ("type=volume,source=data,target=/data,readonly", volume("data", "/data", read_only=True)),
        ("type=bind,src=/a:b,dst=/c,ro", bind("/a:b", "/c", read_only=True)),
        (r"type=bind,source=a\,type=b,destination=/c", bind("/here/a,type=b", "/c")),
        ("readonly,type=bind,source=/a,b,target=/c", bind("/a,b", "/c", read_only=True)),
        ("type=tmpfs,target=/run,tmpfs-size=64m",
         Mount(type=MountType.TMPFS, target="/run", size=64 << 20)),
    ],
)  # fmt: skip
def test_the_mount_option_has_dockers_two_forms(text: str, mount: Mount) -> None:
    assert asked("--image=i", f"--mount={text}").mounts == (mount,)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--entrypoint=x"], "--entrypoint: want --image with it, or the command after --"),
        (["--image=i", "--entrypoint="], "--entrypoint: '': want a command such as"),
        (["--image=i", "--entrypoint=a 'b"], '--entrypoint: "a \'b": want a command whose quotes'),
        (["--image=i", "--mount=data"], "--mount: 'data': want SOURCE:TARGET or SOURCE:TARGET:ro"),
        (["--image=i", "--mount=x:/x"], "--mount source: 'x': want a volume's name"),
        (["--image=i", "--mount=data:x"], "--mount target: 'x': want an absolute path in the"),
        (["--image=i", "--mount=data:/a", "-v", "b1:/a/"], "--mount: '/a/': want each target once"),
        (["--image=i", "--mount=type=bnd,target=/x"], "--mount type: 'bnd': want one of bind, vol"),
        (["--image=i", "--mount=type=bind,taget=/x"], "want SOURCE:TARGET or SOURCE:TARGET:ro"),
        (["--image=i", "--mount=type=tmpfs"], "--mount target: is missing"),
        (["--image=i", "--mount=type=tmpfs,target=/x,size=0"], "--mount size: '0': want a number"),
        (["--image=i", "--mount=src=/a,source=/b"], "--mount source: '/b': is given twice"),
        (["--image=i", "--cap-add=x"], "--cap-add: 'x': want a capability such as NET_ADMIN, or"),
        (["--image=i", "--cap-add=KILL", "--cap-drop=kill"], "--cap-add: 'KILL': is in cap_drop"),
        (["--image=i", "--ulimit=nofile"], "--ulimit: 'nofile': want NAME=SOFT or NAME=SOFT:HARD"),
        (["--image=i", "--ulimit=nofil=1"], "--ulimit: 'nofil': no such limit; did you mean nofi"),
        (["--image=i", "--ulimit=core=2:1"], "--ulimit: 2: want soft to be at most hard, 1"),
        (["--image=i", "--network=a b"], "--network: 'a b': want host, none, or the name of"),
        (["--image=i", "--pull=allways"], "--pull: 'allways': want one of missing, always, never"),
        (["--image=i", "--label=team"], "--label: 'team': want NAME=VALUE such as team=shop"),
        (["--image=i", "--label=a=1", "--label=a=2"], "--label: 'a': is given twice"),
        (["--image=i", "--label=warren.a=1"], "--label: 'warren.a': want a name that does not"),
        (["--image=i", "--runtime=dokcer"], "--runtime: 'dokcer': no such runtime; did you mean"),
        (["--runtime=docker", "--", "x"], "--runtime: 'docker': want an image beside it, or proc"),
        (["--mount=data:/x", "--", "x"], "--mount: ['data:/x']: want an image beside it: a proce"),
        (["--read-only", "--", "x"], "--read-only: True: want an image beside it"),
        (["--no-healthcheck", "--", "x"], "--no-healthcheck: 'none': want an image beside it"),
    ],
)
def test_what_no_container_can_have_is_refused_by_option(arguments: list[str], said: str) -> None:
    command_line.note([])
    with pytest.raises(SpecError) as caught:  # S25
        asked(*arguments)
    assert said in str(caught.value)


OLD = ServiceSpec(
    name="web",
    image="web:1",
    command=Argv(["serve"]),
    args=Args(["-v"]),
    mounts=(volume("data", "/data"), bind("/srv", "/srv")),
    cap_add=("NET_RAW",),
    cap_drop=("MKNOD", "CHOWN"),
    ulimits={"core": Ulimit(soft=0, hard=0)},
    network="front",
    labels={"team": "shop"},
    image_health=False,
)


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        (["--image=web:2"], {"image": "web:2"}),
        (["--", "-q"], {"args": Args(["-q"])}),
        (["--entrypoint=other"], {"command": Argv(["other"])}),
        (["--no-args", "--no-entrypoint"], {"args": None, "command": None}),
        (["--mount=new1:/data/"], {"mounts": (bind("/srv", "/srv"), volume("new1", "/data/"))}),
        (["--mount-rm=/data"], {"mounts": (bind("/srv", "/srv"),)}),
        (["--cap-add=mknod"], {"cap_add": ("NET_RAW", "MKNOD"), "cap_drop": ("CHOWN",)}),
        (["--cap-drop=net_raw"], {"cap_add": (), "cap_drop": ("MKNOD", "CHOWN", "NET_RAW")}),
        (["--cap-rm=NET_RAW", "--cap-rm=CHOWN"], {"cap_add": (), "cap_drop": ("MKNOD",)}),
        (["--ulimit=nofile=5"],
         {"ulimits": {"core": Ulimit(soft=0, hard=0), "nofile": Ulimit(soft=5, hard=5)}}),
        (["--ulimit-rm=core"], {"ulimits": {}}),
        (["--network=default"], {"network": None}),
        (["--label=zone=a"], {"labels": {"team": "shop", "zone": "a"}}),
        (["--label-rm=team"], {"labels": {}}),
        (["--healthcheck"], {"image_health": True}),
        (["--read-only", "--pull=always"], {"read_only": True, "pull": Pull.ALWAYS}),
        (["--replicas=2"], {"replicas": 2}),
    ],
)  # fmt: skip
def test_update_changes_what_is_given_of_a_container(
    arguments: list[str], fields: dict[str, Any]
) -> None:
    assert changed(OLD, *arguments) == replace(OLD, **fields)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mount-rm=/x"], "--mount-rm: '/x': there is no such target; there is: /data, /srv"),
        (["--cap-rm=kill"], "--cap-rm: 'KILL': is neither added nor dropped; there is: NET_RAW, "),
        (["--cap-rm=x"], "--cap-rm: 'x': want a capability such as NET_ADMIN"),
        (["--ulimit-rm=cpu"], "--ulimit-rm: 'cpu': there is none of that name; there is: core"),
        (["--label-rm=a"], "--label-rm: 'a': there is none of that name; there is: team"),
    ],
)
def test_update_refuses_to_remove_what_is_not_there(arguments: list[str], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        changed(OLD, *arguments)
    assert str(caught.value).startswith(said)


def test_an_image_in_the_place_of_a_process_runs_its_own_command() -> None:
    process = ServiceSpec(name="web", command=Argv(["run"]), cwd="/srv", env={"A": "1"})
    assert changed(process, "--image=i") == ServiceSpec(name="web", image="i", env={"A": "1"})
    with pytest.raises(SpecError, match="--entrypoint: want an image, or the command after --"):
        changed(process, "--entrypoint=x")


def test_refusals_of_the_manager_name_the_option() -> None:
    assert option_of("mounts[0].source") == "--mount"
    assert option_of("ports.http") == "--port"
    assert option_of("labels.team") == "--label"


def test_a_container_is_shown_in_words() -> None:
    shown = {title: text for title, text in container_lines(OLD) if text}
    assert shown == {
        "Arguments": "-v",
        "Mounts": "data:/data, /srv:/srv",
        "Capabilities": "-MKNOD -CHOWN +NET_RAW",
        "Limits": "core 0",
        "Network": "front",
        "Health check": "none, nor the image's own",
    }
    assert what_runs(OLD) == "web:1 serve -v"
    assert dict(container_lines(replace(OLD, args=Args())))["Arguments"] == "none"
    assert not any(text for _, text in container_lines(ServiceSpec(name="web", image="i")))


def test_of_a_container_only_paths_of_the_node_are_looked_for_here(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mounts = (bind("/nosuch-x", "/a"), bind("/", "/b"), volume("nosuch-x", "/c"))
    service.warn(ServiceSpec(name="web", image="i", cwd="/nosuch", user="nosuch-x", mounts=mounts))
    said = "warren: warning: services.web.mounts: '/nosuch-x': is not on this machine\n"
    assert capsys.readouterr().err == said
