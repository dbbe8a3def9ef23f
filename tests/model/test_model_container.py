"""What a container may be given: mounts, capabilities, limits, networks, labels (S25)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.model.byte_size import SIZE_WANTED, parse_size, show_size
from warren.model.check import Args, Argv, HttpCheck
from warren.model.container import Pull, Ulimit
from warren.model.decode import decode
from warren.model.errors import FieldError
from warren.model.mount import Mount, MountType, parse_mount
from warren.model.probe import Probe
from warren.model.service import ServiceSpec, has_same_instances


def image(**fields: Any) -> ServiceSpec:
    return ServiceSpec(name="web", image="nginx", **fields)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64M", 64 << 20), ("64m", 64 << 20), ("64MB", 64 << 20), ("64MiB", 64 << 20),
        ("1.5G", 3 << 29), ("512", 512), ("7b", 7), ("2k", 2048), ("1T", 1 << 40), (4096, 4096),
    ],
)  # fmt: skip
def test_sizes_are_read_in_powers_of_1024(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "M", "-1", "0", 0, -5, True, "64 M", "64X", "1e3", "9" * 20, 1 << 63, "٣", "1\n"]
)
def test_what_is_no_size_is_refused(text: str | int) -> None:
    with pytest.raises(ValueError, match=SIZE_WANTED):
        parse_size(text)


@given(st.integers(1, (1 << 63) - 1))
def test_any_size_comes_back_as_it_is_shown(size: int) -> None:
    assert parse_size(show_size(size)) == size


def test_sizes_are_shown_in_the_largest_unit_that_says_them() -> None:
    assert [show_size(one) for one in (64 << 20, 1 << 30, 1536, 1000)] == [
        "64M",
        "1G",
        "1536",
        "1000",
    ]


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("data:/var/lib/data", Mount(type=MountType.VOLUME, source="data", target="/var/lib/data")),
        ("/srv:/data", Mount(type=MountType.BIND, source="/srv", target="/data")),
        (
            "/srv:/data:ro",
            Mount(type=MountType.BIND, source="/srv", target="/data", read_only=True),
        ),
    ],
)
def test_the_short_form_of_a_mount_is_that_of_dockers_v(text: str, mount: Mount) -> None:
    assert decode(parse_mount(text), Mount) == mount
    assert str(mount) == text


def test_a_mount_shows_what_the_short_form_cannot_say() -> None:
    memory = Mount(type=MountType.TMPFS, target="/run", size=64 << 20, read_only=True)
    assert str(memory) == "type=tmpfs,target=/run,readonly,size=64M"
    colon = Mount(type=MountType.BIND, source="/a:b", target="/c")
    assert str(colon) == "type=bind,source=/a:b,target=/c"


@pytest.mark.parametrize("text", ["", "data", "/data", ":", "a:", ":/b", "a:/b:rx", "a:/b:ro:z"])
def test_what_is_no_short_form_of_a_mount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="want SOURCE:TARGET or SOURCE:TARGET:ro, such as data:/"):
        parse_mount(text)


MOUNT_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"target": "data"}, "target: 'data': want an absolute path in the container, such as /var"),
    ({"target": "/"}, "target: '/': want an absolute path in the container"),
    ({"target": "/./"}, "target: '/./': want an absolute path in the container"),
    ({"target": "/a/../b"}, "target: '/a/../b': want an absolute path in the container"),
    ({"target": "/a\0"}, "target: '/a\\x00': want UTF-8 text without a NUL"),
    ({"source": "./x"}, "source: './x': want a volume's name: letters, digits and _ . -, at least"),
    ({"source": "x"}, "source: 'x': want a volume's name"),
    ({"source": None}, "source: want a volume's name"),
    ({"type": MountType.BIND, "source": "x"}, "source: 'x': want an absolute path of the node"),
    ({"type": MountType.BIND, "source": "/x/.."}, "source: '/x/..': want an absolute path of the"),
    ({"type": MountType.BIND, "source": None}, "source: want an absolute path of the node"),
    ({"type": MountType.TMPFS, "source": "x"}, "source: 'x': want none: a tmpfs begins empty"),
    ({"size": 5}, "size: 5: want it for a tmpfs alone, not a volume"),
    ({"type": MountType.TMPFS, "source": None, "size": 0}, "size: 0: want a number of bytes"),
]


@pytest.mark.parametrize(("fields", "said"), MOUNT_REFUSALS)
def test_a_mount_that_cannot_be_is_refused(fields: dict[str, Any], said: str) -> None:
    good: dict[str, Any] = {"type": MountType.VOLUME, "source": "data", "target": "/data"}
    with pytest.raises(FieldError) as caught:
        Mount(**{**good, **fields})
    assert str(caught.value).startswith(said)


def test_two_mounts_in_one_place_are_refused() -> None:
    mounts = tuple(
        Mount(type=MountType.TMPFS, target=target) for target in ("/run", "/tmp", "/./run/")
    )
    with pytest.raises(FieldError, match=r"mounts: '/\./run/': want each target once"):
        image(mounts=mounts)


def test_capabilities_have_one_form() -> None:
    spec = image(cap_add=("cap_net_admin", "NET_ADMIN", "Net_Raw"), cap_drop=("all",))
    assert (spec.cap_add, spec.cap_drop) == (("NET_ADMIN", "NET_RAW"), ("ALL",))
    assert spec == image(cap_add=("NET_ADMIN", "CAP_NET_RAW"), cap_drop=("ALL",))


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"cap_add": ("NET_ADMN",)}, "cap_add: 'NET_ADMN': did you mean NET_ADMIN? want a capability"),
    ({"cap_drop": ("x",)}, "cap_drop: 'x': want a capability such as NET_ADMIN, or ALL"),
    ({"cap_add": ("KILL",), "cap_drop": ("KILL",)}, "cap_add: 'KILL': is in cap_drop too; want it"),
    ({"ulimits": {"nofiles": Ulimit(soft=1, hard=1)}}, "ulimits: 'nofiles': no such limit; did"),
    ({"ulimits": {"core": Ulimit(soft=-2, hard=1)}}, "ulimits.core: -2: want a number such as"),
    ({"ulimits": {"core": Ulimit(soft=2, hard=1)}}, "ulimits.core: 2: want soft to be at most"),
    ({"ulimits": {"core": Ulimit(soft=-1, hard=1)}}, "ulimits.core: -1: want soft to be at most"),
    ({"network": ""}, "network: '': want host, none, or the name of a network"),
    ({"network": "container:db"}, "network: 'container:db': want host, none, or the name of a"),
    ({"labels": {"": "x"}}, "labels: '': want a label's name, without '='"),
    ({"labels": {"a=b": "x"}}, "labels: 'a=b': want a label's name, without '='"),
    ({"labels": {"a.b": "\0"}}, "labels.a.b: '\\x00': want UTF-8 text without a NUL"),
    ({"labels": {"warren.task": "x"}}, "labels: 'warren.task': want a name that does not begin"),
    ({"runtime": "dokcer"}, "runtime: 'dokcer': no such runtime; did you mean docker? want one"),
    ({"runtime": "process"}, "runtime: 'process': want one of docker, podman, oci, containerd"),
    ({"args": Args(["\0"])}, "args: '\\x00': want UTF-8 text without a NUL"),
]


@pytest.mark.parametrize(("fields", "said"), REFUSALS)
def test_what_no_container_can_have_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(FieldError) as caught:
        image(**fields)
    assert str(caught.value).startswith(said)


OF_IMAGES: list[tuple[dict[str, Any], str]] = [
    ({"args": Args(["-v"])}, "args: ['-v']"),
    ({"args": Args()}, "args: []"),
    (
        {"mounts": (Mount(type=MountType.TMPFS, target="/run"),)},
        "mounts: ['type=tmpfs,target=/run']",
    ),
    ({"read_only": True}, "read_only: True"),
    ({"cap_add": ("KILL",)}, "cap_add: ['KILL']"),
    ({"cap_drop": ("ALL",)}, "cap_drop: ['ALL']"),
    ({"ulimits": {"core": Ulimit(soft=0, hard=1)}}, "ulimits: {'core': '0:1'}"),
    ({"network": "host"}, "network: 'host'"),
    ({"pull": Pull.ALWAYS}, "pull: 'always'"),
    ({"image_health": False}, "health: 'none'"),
]


@pytest.mark.parametrize(("fields", "said"), OF_IMAGES)
def test_what_only_a_container_can_have_is_refused_for_a_process(
    fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(FieldError) as caught:
        ServiceSpec(name="web", command=Argv(["run"]), **fields)
    wanted = "want an image beside it: a process has none of its own"
    assert str(caught.value) == f"{said}: {wanted}"


def test_labels_and_the_runtime_process_stand_without_an_image() -> None:
    spec = ServiceSpec(name="web", command=Argv(["run"]), labels={"a": "b"}, runtime="process")
    assert (spec.labels, spec.runtime, spec.has_own_address) == ({"a": "b"}, "process", False)
    with pytest.raises(FieldError, match="runtime: 'docker': want an image beside it, or process"):
        ServiceSpec(name="web", command=Argv(["run"]), runtime="docker")


def test_a_container_has_an_address_of_its_own_but_on_the_hosts_network() -> None:
    assert [image(network=one).has_own_address for one in (None, "front", "none", "host")] == [
        True,
        True,
        True,
        False,
    ]


def test_a_probe_takes_the_place_of_none() -> None:
    probe = Probe(http=HttpCheck())
    assert image(health=probe, image_health=False) == image(health=probe)
    assert not image(readiness=probe, image_health=False).image_health


def test_another_label_or_mount_means_another_instance() -> None:
    assert has_same_instances(image(), image(health=Probe(http=HttpCheck())))
    for fields in ({"labels": {"a": "b"}}, {"args": Args()}, {"pull": Pull.ALWAYS}):
        assert not has_same_instances(image(), image(**fields))
