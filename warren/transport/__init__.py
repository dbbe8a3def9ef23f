"""The wire: the capabilities of `warren.model.rpc` over Cap'n Proto RPC, or within a process.

    server.serve_gate   offers a Gate at an address, Unix socket or loopback TCP
    client.open_gate    reaches one
    memory.memory_gate  the same between two parts of one process

    Trio                          |  one thread with asyncio and KJ (portal.py)
    proxy --> link.call() --------|--> request --> socket
    handler <-- nursery <---------|--- answer() <-- socket

Only plain values cross from one side to the other: Cap'n Proto's objects stay in its thread.
"""
