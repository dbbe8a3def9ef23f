"""`kill -9` of a real manager under a write load, again and again (S22).

WARREN_KILLS is how often (20), WARREN_SEED from what chance; `just soak` asks for more.
"""

from __future__ import annotations

import os
import random

import trio
from support_cluster import Place, pids_of
from support_up import Command, unique, wait_until
from write_load import Client

from warren.store.backup import check

KILLS = int(os.environ.get("WARREN_KILLS", "20"))
SEED = int(os.environ.get("WARREN_SEED", "1"))
CLIENTS = 3


async def test_manager_killed_under_load_keeps_all_it_acknowledged(place: Place) -> None:
    chance = random.Random(SEED)
    still = unique("still")
    address = f"unix:{place.data}/warren.sock"
    names = [[unique(f"w{number}") for _ in range(2)] for number in range(CLIENTS)]
    clients = [Client(address, mine, random.Random(chance.random())) for mine in names]
    with place.node_run() as node:
        with place.manager() as manager:
            asked = ["--replicas", "3", "--wait", "--", "sleep", "99d"]
            place.ask("service", "create", still, *asked)
            before = place.tasks(still)
            place.kill(manager)
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(client.run)
            for _ in range(KILLS):
                await manager_that_dies(place, chance)
                assert check(place.data / "manager.sqlite") == []
            with await trio.to_thread.run_sync(place.manager) as manager:
                for client in clients:
                    await client.finish()
                assert [said for client in clients for said in client.broken] == []
                assert sum(client.acknowledged for client in clients) > KILLS
                try:
                    await trio.to_thread.run_sync(expect_rest, place, clients, still)
                except AssertionError as error:
                    error.add_note(f"node:\n{node.errors}\nmanager:\n{manager.errors}")
                    error.add_note(place.ask("task", "ls", "--all") + place.ask("service", "ls"))
                    raise
                assert pids_of(place.tasks(still)) == pids_of(before)
                assert [task["restarts"] for task in place.tasks(still)] == [0, 0, 0]
                assert place.ask("db", "check") == f"{place.data}/manager.sqlite: well\n"
                await trio.to_thread.run_sync(remove_all, place)
        node.send(15)
        assert node.wait() == 0, node.errors


async def manager_that_dies(place: Place, chance: random.Random) -> None:
    """A manager's life: some are over before they answer."""
    with Command("manager", "run", cwd=place.folder, env=place.env) as command:
        if chance.random() < 0.7:
            await trio.to_thread.run_sync(
                wait_until, lambda: "listening at" in command.errors, "the manager listens"
            )
        await trio.sleep(chance.uniform(0.0, chance.choice([0.2, 0.4, 1.2])))  # and its death
        assert command.process.poll() is None, command.errors
        place.kill(command)


def expect_rest(place: Place, clients: list[Client], still: str) -> None:
    """What was acknowledged runs, and nothing else."""
    wanted = {still: 3} | {
        name: known.spec.replicas
        for client in clients
        for name, known in client.known.items()
        if known is not None
    }

    def is_so() -> bool:
        services = {service["name"]: service for service in place.services()}
        running = [pid for service in services.values() for pid in pids_of(service["tasks"])]
        return {
            name: service["health"]["healthy"] for name, service in services.items()
        } == wanted and sorted(place.pids()) == sorted(running)

    wait_until(is_so, "everything is at rest")


def remove_all(place: Place) -> None:
    """And nothing stays behind."""
    for service in place.services():
        place.ask("service", "rm", service["name"])
    assert place.pids() == {}
    left = (place.data / "logs").rglob
    wait_until(lambda: not list(left("*.log*")), "their output goes when nothing writes it")
