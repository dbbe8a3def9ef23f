"""Who has connected is known to the gate, for every link, before a byte of theirs is parsed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest
import trio

from tests.transport.wire_links import KINDS, Played, serving
from warren.model.principal import Principal, PrincipalKind
from warren.model.rpc import Gate
from warren.transport.connection import AcceptedConnection

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "wire_process.py"
NOBODY = 65534
OWN = {
    "memory": Principal(PrincipalKind.EMBEDDED, uid=os.geteuid()),
    "unix": Principal(PrincipalKind.LOCAL, uid=os.geteuid()),
    "tcp": Principal(PrincipalKind.LOOPBACK),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_the_gate_is_made_for_a_principal(kind: str, tmp_path: Path) -> None:
    met: list[Principal] = []

    def make(connection: AcceptedConnection) -> Gate:
        met.append(connection.principal)
        return cast("Gate", Played(login=Played(last_event=1)))

    async with serving(kind, tmp_path, make) as (dial, _), dial() as gate:
        assert await (await gate.login()).last_event() == 1
    assert met == [OWN[kind]]


def program(*args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *args],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")},
            "PYTHONPATH": str(ROOT),
        },
    )


@pytest.mark.needs_root
@pytest.mark.parametrize("uid", [0, NOBODY])
async def test_the_kernel_says_which_user_a_peer_is(uid: int) -> None:
    # Not in `tmp_path`, which other users may not enter.
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        os.chown(folder, NOBODY, NOBODY)
        path = str(Path(folder) / "w.sock")
        server = stack.enter_context(program("tell", path, str(NOBODY)))
        try:
            assert server.stdout
            said = await trio.to_thread.run_sync(server.stdout.readline)
            assert said == "serving\n"
            with program("ask", path, str(uid)) as peer:
                answer, _ = await trio.to_thread.run_sync(peer.communicate)
        finally:
            server.kill()
    assert answer == f"{uid}\n"
