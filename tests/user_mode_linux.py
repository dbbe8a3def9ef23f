"""Boots a Linux of its own on this machine's files: Debian's `user-mode-linux`, as a program.

It has the whole of cgroup2, which this machine may not have. Its root is this machine's, read-only,
with an empty `/run`; the package need not be installed:

    mkdir .uml && cd .uml && apt-get download user-mode-linux && dpkg-deb -x *.deb .
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
_UNPACKED = ROOT / ".uml" / "usr" / "bin" / "linux.uml"
_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
ln -s /proc/self/fd /dev/fd
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up 2>/dev/null
export HOME=/run TMPDIR=/run PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
export PYTHONDONTWRITEBYTECODE=1
cd {root}
{command}
echo "exit code $?"
mount -o remount,ro / 2>/dev/null
echo o >/proc/sysrq-trigger
sleep 60
"""


def linux() -> str | None:
    """The program; None where there is none."""
    return str(_UNPACKED) if _UNPACKED.is_file() else shutil.which("linux.uml")


def boot(directory: Path, command: list[str], *, memory: str = "512M", timeout: float = 300) -> str:
    """Run a command there, as root in the repository; returns all that it said, and `exit code N`.
    `directory` is for this machine's files of it."""
    program = linux()
    assert program is not None, "ask `linux` first"
    init = directory / "init"
    init.write_text(_INIT.format(root=shlex.quote(str(ROOT)), command=shlex.join(command)), "utf-8")
    init.chmod(0o755)
    kernel = f"mem={memory} root=/dev/root rootfstype=hostfs rootflags=/ ro init={init}"
    done = subprocess.run(
        [program, *kernel.split(), "con=null", "con0=fd:0,fd:1", "quiet", f"uml_dir={directory}/"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(directory), "TMPDIR": "/dev/shm"},
        timeout=timeout,
    )
    return done.stdout.decode("utf-8", "replace").replace("\r\n", "\n")


def pytest_there(*arguments: str) -> list[str]:
    """The command that runs these tests in one process."""
    alone = ("-o", "addopts=", "-p", "no:cacheprovider", "-q", "--strict-markers", "-rA")
    return [sys.executable, "-m", "pytest", *alone, "--basetemp=/run/pytest", *arguments]
