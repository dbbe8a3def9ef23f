"""A node of Warren written from a schema and docs/protocol.md alone.

    python node.py SCHEMA SOCKET NAME [HELLO]

Enrols as NAME (HELLO is JSON of further fields of its `NodeHello`), tells how the tasks it is
assigned stand, and prints a line of JSON for each that it is given. Then every line of its input, a
list [METHOD, PARAMETERS] in JSON, is a call of its session, and what it is answered with is a line
of output, `acknowledged` or `refused: WHY`. With a list [`look`, STATUSES] it has these ready for
who asks it how its tasks stand.
"""

# pyright: basic, reportAttributeAccessIssue=false

import asyncio
import json
import sys

import capnp


def say(line):
    print(line, flush=True)


def agent_of(warren, statuses):
    class Agent(warren.Agent.Server):
        async def assign(self, assignments, **_):
            for task in assignments.tasks:
                say(json.dumps({**task.task.to_dict(), "lastEnd": task._has("lastEnd")}))

        async def look(self, tasks, **_):
            return statuses

    return Agent()


async def main(schema, socket, name, more="{}"):
    warren = capnp.load(schema)
    stream = await capnp.AsyncIoStream.create_unix_connection(socket)
    gate = capnp.TwoPartyClient(stream).bootstrap().cast_as(warren.Gate)
    statuses = []
    hello = {"name": name, "id": name, **json.loads(more)}
    session = (await gate.enroll(hello=hello, agent=agent_of(warren, statuses))).session
    await session.reportTaskHealth(report={"isWhole": True})
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        method, parameters = json.loads(line)
        if method == "look":
            statuses[:] = parameters
            continue
        try:
            await getattr(session, method)(**parameters)
        except capnp.KjException as error:
            say(f"refused: {' '.join(error.description.split())}")
        else:
            say("acknowledged")


if __name__ == "__main__":
    asyncio.run(capnp.run(main(*sys.argv[1:])))
