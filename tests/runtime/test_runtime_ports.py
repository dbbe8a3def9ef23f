"""Which task has which port (S23)."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from warren.model.interfaces import PortTakenError
from warren.process.free_ports import ephemeral_range, is_port_free
from warren.runtime.port_allocator import PortAllocator


def free(port: int) -> bool:
    return True


def test_any_ports_are_distinct_and_outside_the_ephemeral_range() -> None:  # S23
    ports = PortAllocator(is_free=free)
    found = [ports.claim(f"web.{n}#1", {"http": 0, "admin": 0}) for n in range(1, 300)]
    numbers = [number for one in found for number in one.values()]
    assert len(set(numbers)) == len(numbers)
    assert not set(numbers) & set(ephemeral_range())
    assert min(numbers) >= 10_000


def test_ports_stay_the_tasks_until_released() -> None:  # S23
    ports = PortAllocator(is_free=free)
    first = ports.claim("web.1#1", {"http": 0})
    assert ports.claim("web.1#1", {"http": 0}) == first
    ports.release("web.1#1")
    ports.release("web.1#1")
    assert ports.claim("web.1#1", {"http": 0}) == first
    assert "1 ports of 1 tasks" in repr(ports)


def test_previous_ports_are_kept_where_they_are_free() -> None:  # S23
    ports = PortAllocator(is_free=lambda port: port != 12_345)
    assert ports.claim("a.1#1", {"http": 0}, previous={"http": 23_456}) == {"http": 23_456}
    assert ports.claim("b.1#1", {"http": 0}, previous={"http": 12_345}) != {"http": 12_345}
    adopted = ports.claim("c.1#1", {"http": 0}, previous={"http": 12_345}, adopt=True)
    assert adopted == {"http": 12_345}


def test_fixed_port_taken_by_a_task_names_it_and_claims_nothing() -> None:  # S23
    ports = PortAllocator(is_free=free)
    ports.claim("web.1#1", {"http": 8080})
    with pytest.raises(PortTakenError) as caught:
        ports.claim("web.2#1", {"admin": 0, "http": 8080})
    assert str(caught.value) == "port http: 8080 is taken by web.1#1"
    assert "1 ports of 1 tasks" in repr(ports)


def test_no_port_left_is_said() -> None:
    ports = PortAllocator(is_free=lambda _: False)
    with pytest.raises(PortTakenError, match="no free port is left") as caught:
        ports.claim("web.1#1", {"http": 0})
    assert str(caught.value) == "port http: no free port is left on this node"


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1"])
def test_port_somebody_listens_on_is_not_free(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listener = socket.create_server((address, 0), family=family)
    except OSError:
        pytest.skip("no IPv6 here")
    with listener:
        port: int = listener.getsockname()[1]
        assert not is_port_free(port)
        own = Path("/proc/self/comm").read_text("utf-8").strip()
        holder = re.escape(f"port http: {port} is taken by pid {os.getpid()} ({own})")
        ports = PortAllocator()
        for _ in range(2):  # found, and known
            with pytest.raises(PortTakenError, match=f"^{holder}$"):
                ports.claim("web.1#1", {"http": port})
    assert is_port_free(port)


@pytest.mark.needs_root
def test_port_that_takes_a_right_is_not_said_to_be_taken() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if lowest <= 1:
        pytest.skip("here anybody may listen on any port")
    script = f"""
import os
from warren.runtime.port_allocator import PortAllocator
os.setresuid(65534, 65534, 65534)
try:
    PortAllocator().claim("web.1#1", {{"http": {lowest - 1}}})
except Exception as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ
    )
    wanted = f"want a port from {lowest} on, or root or CAP_NET_BIND_SERVICE for the supervisor"
    assert said.stdout == f"port http: no right to listen on {lowest - 1}: {wanted}\n"


def test_time_wait_does_not_make_a_port_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        server, _ = listener.accept()
        server.close()  # the side that closes first keeps the TIME_WAIT
        assert client.recv(1) == b""
        client.close()
    assert is_port_free(port)


def test_two_supervisors_on_one_machine_choose_apart() -> None:  # S23
    chosen = {
        PortAllocator(is_free=free, salt=str(n)).claim("web.1#1", {"http": 0})["http"]
        for n in range(20)
    }
    assert len(chosen) > 15


def test_port_taken_by_somebody_between_two_starts_is_given_up() -> None:  # S23
    taken: set[int] = set()
    ports = PortAllocator(is_free=lambda port: port not in taken)
    first = ports.claim("web.1#1", {"http": 0, "admin": 0})
    taken.add(first["http"])
    again = ports.claim("web.1#1", {"http": 0, "admin": 0})
    assert again["http"] != first["http"]
    assert again["admin"] == first["admin"]


def test_port_of_an_adopted_task_is_its_own_whoever_claims_to_have_it() -> None:  # S21
    ports = PortAllocator(is_free=lambda _: False)
    previous = {"http": 8080}
    assert ports.claim("web.1#1", {"http": 8080}, previous=previous, adopt=True) == previous
    assert ports.claim("web.2#1", {"http": 8080}, previous=previous, adopt=True) == previous
