"""Addresses as they are written, and what is no address."""

from __future__ import annotations

import pytest

from warren.model.address import Address, TcpAddress, UnixAddress, parse_address
from warren.model.errors import SpecError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/warren.sock", UnixAddress("/run/warren.sock")),
        ("unix:here/w.sock", UnixAddress("here/w.sock")),
        ("unix:a:b", UnixAddress("a:b")),
        ("tcp:127.0.0.1:7300", TcpAddress("127.0.0.1", 7300)),
        ("tcp:127.9.9.9:1", TcpAddress("127.9.9.9", 1)),
        ("tcp:[::1]:7300", TcpAddress("::1", 7300)),
        ("tcp:localhost:0", TcpAddress("localhost", 0)),
    ],
)
def test_an_address_is_read_and_written_back(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "--addr: '': want unix:PATH or tcp:HOST:PORT"),
        ("/run/w.sock", "--addr: '/run/w.sock': want unix:PATH or tcp:HOST:PORT"),
        ("http://x", "--addr: 'http://x': want unix:PATH or tcp:HOST:PORT"),
        ("unix:", "--addr: 'unix:': want a path after unix:, without a NUL"),
        ("unix:a\0b", "--addr: 'unix:a\\x00b': want a path after unix:, without a NUL"),
        ("unix:/" + "x" * 76, "want a file name of at most 75 bytes"),
        ("tcp:127.0.0.1", "--addr: 'tcp:127.0.0.1': want tcp:HOST:PORT such as"),
        ("tcp::1:80", "--addr: 'tcp::1:80': want tcp:HOST:PORT such as"),
        ("tcp:localhost:http", "--addr: 'tcp:localhost:http': want tcp:HOST:PORT such as"),
        ("tcp:localhost:70000", "--addr: 'tcp:localhost:70000': want a port from 1 to 65535"),
        ("tcp:10.0.0.1:80", "--addr: 'tcp:10.0.0.1:80': want a host of this machine"),
        ("tcp:[::]:80", "--addr: 'tcp:[::]:80': want a host of this machine"),
        ("tcp:example.org:80", "--addr: 'tcp:example.org:80': want a host of this machine"),
    ],
)
def test_what_is_no_address_is_refused_with_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_address(text, field="--addr")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
