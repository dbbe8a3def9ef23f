"""What people write of a container, in short and in full, and what is refused of it by line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from warren.manifest.service_file import dump_text, load_text
from warren.model.check import Args, Argv
from warren.model.container import Pull, Ulimit
from warren.model.errors import SpecError
from warren.model.mount import Mount, MountType
from warren.model.service import ServiceSpec

FULL = """\
services:
  web:
    image: registry.example/web:1.4
    command: [serve]
    args: --verbose 'a b'
    mounts:
      - data:/var/lib/data
      - /etc/web:/etc/web:ro
      - {type: bind, source: /srv, target: /srv, read_only: true}
      - {type: tmpfs, target: /run, size: 64M}
    read_only: true
    cap_drop: [all]
    cap_add: [cap_net_bind_service]
    ulimits: {nofile: 1024, core: {soft: 0, hard: -1}}
    network: front
    labels: {team: shop}
    pull: always
    runtime: podman
    health: none
"""


def load(body: dict[str, Any], base: Path | None = None) -> ServiceSpec:
    text = yaml.safe_dump({"services": {"web": {"image": "i", **body}}})
    return load_text(text, base=base)[0]


def test_a_file_says_all_that_a_container_is_given() -> None:
    (spec,) = load_text(FULL)
    assert spec == ServiceSpec(
        name="web",
        image="registry.example/web:1.4",
        command=Argv(["serve"]),
        args=Args(["--verbose", "a b"]),
        mounts=(
            Mount(type=MountType.VOLUME, source="data", target="/var/lib/data"),
            Mount(type=MountType.BIND, source="/etc/web", target="/etc/web", read_only=True),
            Mount(type=MountType.BIND, source="/srv", target="/srv", read_only=True),
            Mount(type=MountType.TMPFS, target="/run", size=64 << 20),
        ),
        read_only=True,
        cap_drop=("ALL",),
        cap_add=("NET_BIND_SERVICE",),
        ulimits={"nofile": Ulimit(soft=1024, hard=1024), "core": Ulimit(soft=0, hard=-1)},
        network="front",
        labels={"team": "shop"},
        pull=Pull.ALWAYS,
        runtime="podman",
        image_health=False,
    )
    text = dump_text([spec])
    assert load_text(text) == [spec]
    assert "health: none" in text
    assert "nofile: 1024\n" in text


def test_no_arguments_and_those_of_the_image_are_two_things() -> None:
    assert load({}).args is None
    assert load({"args": []}).args == Args()
    assert load_text(dump_text([load({"args": []})]))[0].args == Args()


def test_paths_of_the_node_are_relative_to_the_file_and_those_inside_are_not(
    tmp_path: Path,
) -> None:
    mounts = ["./html:/html:ro", "../up:/up", {"type": "bind", "source": "a/b", "target": "/b"}]
    spec = load({"mounts": mounts}, base=tmp_path)
    sources = [mount.source for mount in spec.mounts]
    assert sources == [f"{tmp_path}/html", f"{tmp_path.parent}/up", f"{tmp_path}/a/b"]
    assert spec.cwd is None  # the image's own
    assert load({"cwd": "/app"}, base=tmp_path).cwd == "/app"
    assert load({"mounts": ["data:/data"]}, base=tmp_path).mounts[0].source == "data"


LONG = "{type: volume, source: data, target: /var/lib/data}"
SHORT = "want SOURCE:TARGET or SOURCE:TARGET:ro, such as data:/var/lib/data"
ULIMIT = "want a number such as 1024, or {soft: 1024, hard: 4096}; -1 is no limit"
FIELDS = [
    ("mounts: data:/data", "4: services.web.mounts: 'data:/data': want a list"),
    ("mounts: [data]", f"4: services.web.mounts[0]: 'data': {SHORT}"),
    (
        "mounts:\n    - a1:/a\n    - 5",
        f"6: services.web.mounts[1]: 5: {SHORT}, or a mapping such as {LONG}",
    ),
    (
        "mounts:\n    - a1:/a\n    - {type: bnd, target: /x}",
        "6: services.web.mounts[1].type: 'bnd': want one of bind, volume, tmpfs",
    ),
    (
        "mounts:\n    - a1:/a\n    - {type: bind, targt: /x}",
        "6: services.web.mounts[1].targt: '/x': no such field; did you mean target? want one of "
        "type, target, source, read_only, size",
    ),
    ("mounts: [{type: bind}]", "4: services.web.mounts[0].target: is missing"),
    ("mounts: [{target: /x}]", "4: services.web.mounts[0].type: is missing"),
    (
        "mounts: [{type: tmpfs, target: /x, size: big}]",
        "4: services.web.mounts[0].size: 'big': want a number of bytes, such as 64M or 67108864",
    ),
    (
        "mounts: [{type: tmpfs, target: /x, size: [1]}]",
        "4: services.web.mounts[0].size: [1]: want a whole number or nothing",
    ),
    (
        "mounts: ['x:/x']",
        "4: services.web.mounts[0].source: 'x': want a volume's name: letters, digits and _ . -, "
        "at least two (a path of the node begins with /)",
    ),
    ("mounts: ['a1:/x', 'b1:/x']", "4: services.web.mounts: '/x': want each target once"),
    ("ulimits: 5", "4: services.web.ulimits: 5: want a mapping such as {nofile: 1024}"),
    ("ulimits: {core: 0, nofile: x}", f"4: services.web.ulimits.nofile: 'x': {ULIMIT}"),
    ("ulimits: {nofile: true}", f"4: services.web.ulimits.nofile: True: {ULIMIT}"),
    ("ulimits: {nofile: {soft: 5}}", "4: services.web.ulimits.nofile.hard: is missing"),
    (
        "ulimits:\n      core: 0\n      nofile: {soft: x, hard: 5}",
        "6: services.web.ulimits.nofile.soft: 'x': want a whole number",
    ),
    (
        "ulimits: {nofile: {soft: 1, hrd: 5}}",
        "4: services.web.ulimits.nofile.hrd: 5: no such field; did you mean hard? "
        "want one of soft, hard",
    ),
    (
        "ulimits: {nofil: 5}",
        "4: services.web.ulimits: 'nofil': no such limit; did you mean nofile? want one of core, "
        "cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, "
        "sigpending, stack",
    ),
    ("cap_add: NET_RAW", "4: services.web.cap_add: 'NET_RAW': want a list"),
    (
        "cap_add: [NET_RAV]",
        "4: services.web.cap_add: 'NET_RAV': did you mean NET_RAW? "
        "want a capability such as NET_ADMIN, or ALL",
    ),
    ("args: [1]", "4: services.web.args[0]: 1: want a string (quote it)"),
    ("read_only: 1", "4: services.web.read_only: 1: want true or false"),
    (
        "network: 'a b'",
        "4: services.web.network: 'a b': want host, none, or the name of a network",
    ),
    (
        "runtime: process",
        "4: services.web.runtime: 'process': "
        "want one of docker, podman, oci, containerd beside an image",
    ),
]


@pytest.mark.parametrize(("field", "refusal"), FIELDS, ids=[field for field, _ in FIELDS])
def test_a_bad_field_of_a_container_is_refused_in_one_line(field: str, refusal: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_text(f"services:\n  web:\n    image: x\n    {field}\n")
    assert str(caught.value) == refusal


def test_a_path_of_the_node_without_a_file_to_start_from_is_refused() -> None:
    with pytest.raises(SpecError, match=r"mounts\[0\]\.source: '\./a': want an absolute path"):
        load({"mounts": ["./a:/a"]})
