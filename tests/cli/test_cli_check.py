"""`warren check`: what it prints, and its exit status, in all its forms."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support_up import run


class Server(ThreadingHTTPServer):
    """Answers the status its path names, and keeps what it was asked."""

    def __init__(self, address: tuple[str, int], family: socket.AddressFamily) -> None:
        self.address_family = family
        self.seen: list[tuple[str, dict[str, str]]] = []
        super().__init__(address, Handler)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.path, headers))
        found = re.match(r"/(\d{3})", self.path)
        self.send_response(int(found[1]) if found else 200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def serve(host: str, family: socket.AddressFamily) -> Generator[Server, None, None]:
    with Server((host, 0), family) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server() -> Generator[Server, None, None]:
    yield from serve("127.0.0.1", socket.AF_INET)


@pytest.fixture
def server6() -> Generator[Server, None, None]:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 on this machine")
    yield from serve("::1", socket.AF_INET6)


@pytest.fixture
def closed_port() -> Generator[int, None, None]:
    with socket.socket() as held:  # bound and not listening: refused, and nobody else gets it
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def url(server: Server, path: str = "/", host: str = "127.0.0.1") -> str:
    return f"http://{host}:{server.server_port}{path}"


def test_check_http_passes(server: Server) -> None:
    done = run("check", "http", url(server, "/healthz?deep=1"))
    assert re.fullmatch(r"pass  200 OK  \d+\.\d ms\n", done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert server.seen[-1][0] == "/healthz?deep=1"


def test_check_http_fails(server: Server) -> None:
    done = run("check", "http", url(server, "/503"))
    assert done.stdout.startswith("fail  HTTP 503 Service Unavailable, want 200-399  ")
    assert (done.returncode, done.stderr) == (1, "")


def test_check_http_sends_what_it_is_told(server: Server) -> None:
    headers = ["--header", "X-One: 1", "--header", "X-Two:a:b", "--header", "User-Agent:"]
    done = run("check", "http", url(server), *headers, "--host", "example.org")
    assert done.returncode == 0
    sent = server.seen[-1][1]
    assert (sent["x-one"], sent["x-two"], sent["host"]) == ("1", "a:b", "example.org")
    assert "user-agent" not in sent


def test_check_http_judges_by_the_range_given(server: Server) -> None:
    assert run("check", "http", url(server, "/404"), "--status", "400-404").returncode == 0
    assert run("check", "http", url(server, "/200"), "--status", "204").returncode == 1


def test_check_http_asks_host_names_and_ipv6(server: Server, server6: Server) -> None:
    assert run("check", "http", url(server, host="localhost")).returncode == 0
    assert run("check", "http", url(server6, host="[::1]")).returncode == 0
    assert server6.seen[-1][1]["host"] == f"[::1]:{server6.server_port}"
    assert run("check", "tcp", f"[::1]:{server6.server_port}").returncode == 0


def test_check_http_refused_is_a_fail(closed_port: int) -> None:
    done = run("check", "http", f"http://127.0.0.1:{closed_port}", "--timeout", "5s")
    assert done.stdout.startswith(f"fail  127.0.0.1:{closed_port}: Connection refused  ")
    assert done.returncode == 1


def test_check_http_as_json(server: Server) -> None:
    done = run("check", "http", url(server, "/500"), "--json", "--status", "200")
    answer = json.loads(done.stdout)
    assert list(answer) == ["outcome", "detail", "duration_ms", "check"]
    assert answer["outcome"] == "fail"
    assert answer["detail"] == "HTTP 500 Internal Server Error, want 200"
    assert 0 < answer["duration_ms"] < 10_000
    assert answer["check"]["http"]["port"] == server.server_port
    assert done.returncode == 1


def test_check_tcp(server: Server, closed_port: int) -> None:
    done = run("check", "tcp", f"localhost:{server.server_port}")
    assert re.fullmatch(r"pass  connected  \d+\.\d ms\n", done.stdout)
    assert done.returncode == 0
    refused = run("check", "tcp", f"127.0.0.1:{closed_port}")
    assert refused.stdout.startswith(f"fail  127.0.0.1:{closed_port}: Connection refused  ")
    assert refused.returncode == 1


def test_check_tcp_of_an_unknown_name_is_a_fail() -> None:
    done = run("check", "tcp", "no-such-host.invalid:80", "--json")
    assert json.loads(done.stdout)["outcome"] == "fail"
    assert done.returncode == 1


def test_check_exec() -> None:
    passed = run("check", "exec", "--", "sh", "-c", "echo fine")
    assert passed.stdout.startswith("pass  exit code 0: fine  ")
    assert passed.returncode == 0
    failed = run("check", "exec", "--", "sh", "-c", "echo worse >&2; exit 3")
    assert failed.stdout.startswith("fail  exit code 3: worse  ")
    assert failed.returncode == 1


def test_check_exec_that_cannot_run_is_an_error(tmp_path: Path) -> None:
    done = run("check", "exec", "--", str(tmp_path / "nothing"))
    assert done.stdout.startswith("error  ")
    assert "no such file" in done.stdout
    assert done.returncode == 5
    lost = run("check", "exec", "--cwd", tmp_path / "nowhere", "--", "true")
    assert "no such directory" in lost.stdout
    assert lost.returncode == 5
    assert run("check", "exec", "--user", "no-such-user", "--", "true").returncode == 5


def test_check_exec_has_the_environment_of_a_task_and_what_it_is_told(tmp_path: Path) -> None:
    script = 'echo "$A|$SECRET|$(pwd)"'
    where = ["--cwd", tmp_path, "--env", "A=b=c", "--json"]
    done = run("check", "exec", *where, "--", "sh", "-c", script, env={"SECRET": "secret"})
    assert json.loads(done.stdout)["detail"] == f"exit code 0: b=c||{tmp_path}"


@pytest.mark.needs_root
def test_check_exec_as_another_user() -> None:
    done = run("check", "exec", "--user", "nobody", "--cwd", "/", "--", "id", "-un")
    assert done.stdout.startswith("pass  exit code 0: nobody")


def test_check_exec_is_cut_at_its_timeout_and_leaves_nothing(tmp_path: Path) -> None:
    mark = f"WARREN_TEST={os.getpid()}.{tmp_path.name}"
    script = "(setsid sleep 1000 &); sleep 1000"
    done = run("check", "exec", "--timeout", "300ms", "--env", mark, "--", "sh", "-c", script)
    assert done.stdout.startswith("fail  no exit within 300ms")
    assert done.returncode == 1
    assert not [pid for pid in Path("/proc").iterdir() if _has(pid, mark)]


def _has(process: Path, mark: str) -> bool:
    try:
        return mark.encode() in (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def test_check_exec_takes_options_of_the_command_after_the_dashes() -> None:
    done = run("check", "exec", "--json", "--", "echo", "--json", "--", "-n", "--help")
    assert json.loads(done.stdout)["detail"] == "exit code 0: --json -- -n --help"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http"], "URL"),
        (["http", "localhost"], "URL: 'localhost': want a URL such as"),
        (["http", "ftp://localhost/"], "want a URL such as"),
        (["http", "http://"], "want a URL such as"),
        (["http", "http://a:99999/"], "want a URL such as"),
        (["http", "http://a:0/"], "want a port of 1 to 65535"),
        (["http", "http://me@a/"], "want no user in it"),
        (["http", "http://a/ b"], "want a path such as /healthz, without spaces"),
        (["http", "http://a/ü"], "want ASCII"),
        (["http", "http://a/", "--status", "99"], "--status: '99': want a status"),
        (["http", "http://a/", "--header", "novalue"], "--header: 'novalue': want NAME:VALUE"),
        (["http", "http://a/", "--header", "a b:c"], "want a header name"),
        (["http", "http://a/", "--header", "host:1", "--header", "Host:2"], "no server takes two"),
        (["http", "http://a/", "--header", "host:b", "--host", "c"], "--host: 'c': want either"),
        (["http", "http://a/", "--timeout", "soon"], "--timeout: 'soon': want a duration"),
        (["http", "http://a/", "--timeout", "0"], "--timeout: '0': want more than 0"),
        (["http", "http://a/", "--frob"], "--frob"),
        (["tcp"], "ADDRESS"),
        (["tcp", "localhost"], "ADDRESS: 'localhost': want HOST:PORT"),
        (["tcp", "localhost:http"], "want HOST:PORT"),
        (["tcp", "::1:80"], "want HOST:PORT"),
        (["tcp", "localhost:70000"], "want HOST:PORT"),
        (["exec"], "COMMAND: want a command after --"),
        (["exec", "--env", "novalue", "--", "true"], "--env: 'novalue': want NAME=VALUE"),
        (
            ["exec", "--user", "0:4294967295", "--", "true"],
            "--user: '0:4294967295': want ids from 0 to 4294967294",
        ),
        (["frob"], "frob"),
    ],
)
def test_check_refuses_wrong_usage_in_one_line(arguments: list[str], said: str) -> None:
    done = run("check", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
