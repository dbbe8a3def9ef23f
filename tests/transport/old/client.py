"""A client of Warren 0.1, of whose schema it has a copy.

    python client.py SCHEMA SOCKET NAME COMMAND...

Lists the services, creates one, waits until it is healthy, scales it to two, lists tasks and nodes,
and reads the events. Prints a line for each step.
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
    say("services", (service.spec.name for service in (await cluster.services()).services))
    first = seq = (await cluster.lastEvent()).seq

    await cluster.create(spec={"name": name, "command": command})
    seq = await wait_healthy(cluster, name, seq)
    say("healthy", ["1"])
    await cluster.scale(name, 2)
    seq = await wait_healthy(cluster, name, seq)
    say("healthy", ["2"])

    tasks = (await cluster.tasks(service=name)).tasks
    say("tasks", (f"{task.id.slot} {task.status.phase}" for task in tasks))
    say("nodes", (str(node.state) for node in (await cluster.nodes()).nodes))
    events = (await cluster.events(after=first)).events
    say("events", sorted({event.kind for event in events if event.service == name}))
    await cluster.remove(name)


async def wait_healthy(cluster, name, seq):
    while True:
        service = (await cluster.service(name)).service
        if sum(task.status.ready for task in service.tasks) == service.spec.replicas:
            return seq
        events = (await cluster.events(after=seq, wait=True)).events
        seq = max((event.seq for event in events), default=seq)


def say(what, words):
    print(f"{what}: {', '.join(words)}", flush=True)


if __name__ == "__main__":
    asyncio.run(capnp.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])))
