"""A little supervisor to be killed: `start DIR KIND COMMAND...`, `limited` alike with 64 MiB of
memory, `serve` alike with all that a runtime does meanwhile, or `adopt DIR KIND`.

It speaks in lines of JSON on stdout, and hears on stdin: the instance, then when to kill.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import trio

from tests.runtime.runtime_kit import launch, runtime_in
from warren.model.byte_size import ByteSize
from warren.model.check import Argv
from warren.model.service import Resources
from warren.model.task import End, Instance


async def record(instance: Instance) -> None:
    say(instance)


def say(value: object) -> None:
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


async def hear() -> str:
    return await trio.to_thread.run_sync(sys.stdin.readline)


async def main(what: str, directory: str, kind: str, *command: str) -> None:
    runtime = runtime_in(Path(directory), "cgroup" if kind == "cgroup" else "walk")
    if what == "serve":
        async with trio.open_nursery() as nursery:
            await nursery.start(runtime.serve)
            await runtime.start(launch(*command), record=record)
            await hear()
        return
    if what in ("start", "limited"):
        limits = Resources(memory=ByteSize(64 << 20)) if what == "limited" else Resources()
        running = await runtime.start(launch(*command, resources=limits), record=record)
        async with trio.open_nursery() as nursery:
            if await hear() == "check\n":
                check = Argv(("sh", "-c", "setsid sleep 1000 & exec sleep 1000"))
                nursery.start_soon(lambda: running.run(check, timeout=100, output_limit=1))
                await hear()
            await running.kill()
        return
    adopted = await runtime.adopt(msgspec.json.decode(await hear(), type=Instance))
    if isinstance(adopted, End):
        say(adopted)
        return
    result = await adopted.run(
        Argv(("sh", "-c", "echo $WARREN_INSTANCE")), timeout=9, output_limit=99
    )
    say(result.output.decode())
    await hear()
    say(await adopted.wait())
    await adopted.kill()
    say("killed")


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3], *sys.argv[4:])
