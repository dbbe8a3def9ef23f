from __future__ import annotations

import socket
from pathlib import Path

import pytest

from warren.engine.places import EnginePlaces, parse_engines, sockets, usual_engines
from warren.model.errors import SpecError


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ([], None),
        (["none"], ()),
        (["unix:/x/y.sock"], (EnginePlaces("docker", ("/x/y.sock",)),)),
        (["unix:/run/podman/podman.sock"], (EnginePlaces("podman", ("/run/podman/podman.sock",)),)),
        (
            ["docker=unix:/a", "podman=unix:/b"],
            (EnginePlaces("docker", ("/a",)), EnginePlaces("podman", ("/b",))),
        ),
    ],
)
def test_options_name_engines(written: list[str], found: tuple[EnginePlaces, ...] | None) -> None:
    assert parse_engines(written) == found


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            ["tcp:127.0.0.1:2"],
            "--engine: 'tcp:127.0.0.1:2': want unix:PATH, docker=unix:PATH",
        ),
        (["/run/docker.sock"], "--engine: '/run/docker.sock': want unix:PATH"),
        (["none", "unix:/x"], "--engine: 'none': want it alone"),
        (["unix:/a", "unix:/b"], "--engine: 'unix:/b': docker is /a already; want one engine"),
    ],
)
def test_options_that_name_none_are_refused(written: list[str], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_engines(written)
    assert str(caught.value).startswith(said)


def test_engines_are_usually_at_their_sockets_and_at_docker_host() -> None:
    docker, podman = usual_engines({}, 1000)
    assert docker.paths == ("/var/run/docker.sock", "/run/user/1000/docker.sock")
    assert podman.paths == ("/run/podman/podman.sock", "/run/user/1000/podman/podman.sock")
    docker, podman = usual_engines({"DOCKER_HOST": "unix:///x/docker.sock"}, 0)
    assert docker.paths == ("/x/docker.sock",)
    docker, podman = usual_engines({"DOCKER_HOST": "unix:///x/podman.sock"}, 0)
    assert podman.paths == ("/x/podman.sock",)
    docker, podman = usual_engines({"DOCKER_HOST": "tcp://1.2.3.4:2375"}, 0)
    assert (docker.paths, podman.trouble) == ((), "")
    assert docker.trouble == "DOCKER_HOST is tcp://1.2.3.4:2375; only unix://PATH can be used"


def test_a_socket_of_docker_that_leads_to_podman_is_podmans(tmp_path: Path) -> None:
    own, link = tmp_path / "podman.sock", tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(own))
        link.symlink_to(own)
        (tmp_path / "file").touch()
        paths = (str(link), str(tmp_path / "none"), str(tmp_path / "file"))
        assert sockets(EnginePlaces("docker", paths)) == []
        assert sockets(EnginePlaces("podman", (str(own),))) == [str(own)]
