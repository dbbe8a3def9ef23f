"""Real container engines for tests: dockerd and Podman's service, each in folders of its own.

They leave the machine's network alone, but for a bridge of their own that goes with them: its
containers have addresses that this machine reaches, and no way out. An image of busybox is loaded,
made of the machine's own static busybox without any registry.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from warren.process import procfs

IMAGE = "warren-test/busybox:1"
_PATIENCE = 30.0  # seconds for an engine to answer
_CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[network]
network_backend = "cni"
network_config_dir = "{nets}"
default_network = "{net}"
cni_plugin_dirs = ["/usr/lib/cni", "/opt/cni/bin"]
[engine]
exit_command_delay = 5
"""


def lacking(kind: str) -> str | None:
    """What this machine lacks for an engine of this kind; None where it can run one."""
    if os.geteuid() != 0:
        return "needs root"
    programs = {"docker": ("dockerd", "containerd", "runc", "ip"), "podman": ("podman", "runc")}
    for program in (*programs[kind], "busybox"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return None


class RealEngine:
    """One engine. `folder` is short, as sockets' names are."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.folder = Path(tempfile.mkdtemp(prefix=f"w{kind[0]}-"))
        self.socket = self.folder / f"{kind}.sock"
        self.net = f"w{kind[0]}{os.getpid()}"
        self._subnet = f"10.{200 if kind == 'docker' else 201}.{os.getpid() % 250}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """As `--engine` takes it."""
        return f"{self.kind}=unix:{self.socket}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = (self.folder / "log").open("ab")
        command, env = self._docker() if self.kind == "docker" else self._podman()
        self._process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, **env}, start_new_session=True
        )
        log.close()
        deadline = time.monotonic() + _PATIENCE
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "log").read_text("utf-8", "replace")[-3000:]
                raise RuntimeError(f"{self.kind} does not start: {said}")
            time.sleep(0.02)  # nothing tells

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:  # httpx leaves one open that is refused
            if probe.connect_ex(str(self.socket)):
                return False
        try:
            return self.ask("GET", "/_ping").status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """As `kill -9` of its daemon; containers live on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        if self.kind == "docker":  # its zombie would look alive to the next one
            pidfile = self.folder / "exec/containerd/containerd.pid"
            with suppress(OSError, ValueError):
                _end(int(pidfile.read_text()))
            with suppress(OSError):
                pidfile.unlink()
            with suppress(OSError):
                (self.folder / "pid").unlink()

    def pause(self, signal_number: signal.Signals = signal.SIGSTOP) -> None:
        """It hangs, or goes on."""
        assert self._process is not None
        os.kill(self._process.pid, signal_number)

    def ask(
        self, method: str, path: str, *, json: object = None, content: bytes | None = None
    ) -> httpx.Response:
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://d", timeout=60
        ) as client:
            return client.request(method, path, json=json, content=content)

    def load(self, archive: bytes) -> None:
        answer = self.ask("POST", "/v1.41/images/load", content=archive)
        answer.raise_for_status()

    def containers(self) -> list[dict[str, object]]:
        """All of them, running or not, whosever."""
        found: list[dict[str, object]] = self.ask("GET", "/v1.41/containers/json?all=1").json()
        return found

    def close(self) -> None:
        """End it, and all that was started in it."""
        if self._process is not None and self._process.poll() is None and self.answers():
            for one in self.containers():
                self.ask("DELETE", f"/v1.41/containers/{one['Id']}?force=1&v=1")
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for stat in list(procfs.all_stats()):
            if str(self.folder) in _command_line(stat.pid):
                _end(stat.pid)
        for command in (["ip", "link", "del", self.net],):
            subprocess.run(command, check=False, capture_output=True)
        self._unmount()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _unmount(self) -> None:
        for _ in range(3):
            for line in Path("/proc/self/mounts").read_text().splitlines()[::-1]:
                point = line.split()[1]
                if point.startswith(str(self.folder)):
                    subprocess.run(["umount", "-l", point], check=False, capture_output=True)

    def _docker(self) -> tuple[list[str], Mapping[str, str]]:
        where = self.folder
        (where / "none.json").write_text('{"live-restore": true}')  # in place of the machine's own
        if not Path(f"/sys/class/net/{self.net}").exists():
            for words in (
                f"link add {self.net} type bridge",
                f"addr add {self._subnet}.1/24 dev {self.net}",
                f"link set {self.net} up",
            ):
                subprocess.run(["ip", *words.split()], check=True, capture_output=True)
        return [
            "dockerd", f"--data-root={where}/data", f"--exec-root={where}/exec",
            f"--pidfile={where}/pid", "-H", f"unix://{self.socket}", "--iptables=false",
            "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--userland-proxy=false",
            f"--bridge={self.net}", f"--config-file={where}/none.json",
        ], {}  # fmt: skip

    def _podman(self) -> tuple[list[str], Mapping[str, str]]:
        where = self.folder
        nets = where / "nets"
        nets.mkdir(exist_ok=True)
        plugins = [
            {
                "type": "bridge",
                "bridge": self.net,
                "isGateway": True,
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": f"{where}/ipam",
                    "ranges": [[{"subnet": f"{self._subnet}.0/24"}]],
                },
            }
        ]
        conf = {"cniVersion": "0.4.0", "name": self.net, "plugins": plugins}
        (nets / "net.conflist").write_text(json.dumps(conf))
        config = where / "containers.conf"
        config.write_text(_CONTAINERS_CONF.format(nets=nets, net=self.net))
        return [
            "podman", f"--root={where}/root", f"--runroot={where}/run", f"--tmpdir={where}/tmp",
            "--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime=runc",
            "system", "service", "--time=0", f"unix://{self.socket}",
        ], {"CONTAINERS_CONF": str(config)}  # fmt: skip


def _command_line(pid: int) -> str:
    try:
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except OSError:
        return ""


def _end(pid: int) -> None:
    """Kill a process, and wait until it is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while procfs.read_stat(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)  # it is no child of ours


@contextmanager
def running_engine(kind: str) -> Generator[RealEngine]:
    """An engine with the image in it."""
    engine = RealEngine(kind)
    try:
        engine.start()
        engine.load(busybox_image())
        yield engine
    finally:
        engine.close()


def busybox_image(
    name: str = IMAGE,
    *,
    config: Mapping[str, object] | None = None,
    files: Mapping[str, str] | None = None,
) -> bytes:
    """An archive that both engines load: a static busybox, and what else is given."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for directory in ("bin", "etc", "tmp", "proc", "sys", "dev", "root", "data"):
            _add(tar, directory, kind=tarfile.DIRTYPE, mode=0o1777 if directory == "tmp" else 0o755)
        _add(tar, "bin/busybox", Path(busybox).read_bytes(), mode=0o755)
        for applet in _applets(busybox):
            _add(tar, f"bin/{applet}", kind=tarfile.SYMTYPE, link="busybox")
        users = "root:x:0:0::/root:/bin/sh\nuser:x:1234:1234::/tmp:/bin/sh\n"
        _add(tar, "etc/passwd", users.encode())
        _add(tar, "etc/group", b"root:x:0:\nuser:x:1234:\n")
        for path, text in (files or {}).items():
            _add(tar, path, text.encode(), mode=0o755)
    blob = layer.getvalue()
    described = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], "WorkingDir": "/", **(config or {})},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(blob).hexdigest()}"]},
    }
    text = json.dumps(described).encode()
    digest = hashlib.sha256(text).hexdigest()
    manifest = [{"Config": f"{digest}.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        _add(tar, f"{digest}.json", text)
        _add(tar, "layer.tar", blob)
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    return archive.getvalue()


def _applets(busybox: str) -> Iterator[str]:
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    return (one for one in listed.stdout.split() if one not in ("busybox", "linuxrc"))


def _add(
    tar: tarfile.TarFile,
    name: str,
    data: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    link: str = "",
) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.size, entry.linkname = kind, mode, len(data), link
    tar.addfile(entry, io.BytesIO(data))
