"""A client of Warren written from schema/warren.capnp and docs/protocol.md alone.

    python client.py SCHEMA SOCKET NAME COMMAND...

Creates a service of one replica, waits until it is healthy, scales it to two, removes it, and waits
until it is gone. Prints a line for each step.
"""

# pyright: basic, reportAttributeAccessIssue=false

import asyncio
import sys

import capnp


async def main(schema, socket, name, command):
    warren = capnp.load(schema)
    stream = await capnp.AsyncIoStream.create_unix_connection(socket)
    gate = capnp.TwoPartyClient(stream).bootstrap().cast_as(warren.Gate)
    cluster = (await gate.login()).cluster
    print("logged in", flush=True)
    seq = (await cluster.lastEvent()).seq

    await cluster.create(spec={"name": name, "command": command})
    print("created", flush=True)
    seq = await wait_healthy(cluster, name, seq)
    print("healthy: 1", flush=True)

    await cluster.scale(name, 2)
    print("scaled", flush=True)
    seq = await wait_healthy(cluster, name, seq)
    print("healthy: 2", flush=True)

    await cluster.remove(name)
    print("removed", flush=True)
    await wait_gone(cluster, name, seq)
    print("gone", flush=True)


async def wait_healthy(cluster, name, seq):
    while True:
        service = (await cluster.service(name)).service
        ready = sum(task.status.ready for task in service.tasks)
        if ready == service.spec.replicas:
            return seq
        seq = await next_event(cluster, seq)


async def wait_gone(cluster, name, seq):
    while True:
        try:
            await cluster.service(name)
        except capnp.KjException as error:
            if "not-found: " in error.description:
                return
            raise
        seq = await next_event(cluster, seq)


async def next_event(cluster, seq):
    events = (await cluster.events(after=seq, wait=True)).events
    return max((event.seq for event in events), default=seq)


if __name__ == "__main__":
    asyncio.run(capnp.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])))
