"""A socket as Cap'n Proto's thread has it: an asyncio transport of our own under KJ's stream.

asyncio's would do, except that what KJ writes and the far side does not read would pile up where it
is not counted, and that it asks the kernel for every eight bytes of a message's head. Here all
waiting bytes are in one place, counted; messages are counted as they pass; and reads and writes are
few and large.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from warren.transport.frames import FrameError, Frames
from warren.transport.peer_budget import PeerBudget, UnreadError

CHUNK = 64 << 10  # bytes read at once
INBOX = 256 << 10  # bytes that may wait for KJ, which takes a message at a time
TAKEN_WITHIN = 60.0  # seconds: a far side that takes nothing for so long is gone


class Loop(Protocol):
    """What we need of an asyncio loop."""

    def time(self) -> float: ...

    def call_soon(self, callback: Callable[..., object], *args: Any) -> object: ...

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> object: ...

    def add_reader(self, fd: socket.socket, callback: Callable[..., Any]) -> None: ...

    def add_writer(self, fd: socket.socket, callback: Callable[..., Any]) -> None: ...

    def remove_reader(self, fd: socket.socket) -> bool: ...

    def remove_writer(self, fd: socket.socket) -> bool: ...


class Stream:
    """One connection's bytes: implements an asyncio transport. `on_broken` is called with the
    reason where it is ended here."""

    def __init__(
        self,
        sock: socket.socket,
        on_broken: Callable[[str], None],
        *,
        calls: int,
        unread: int,
        message: int,
    ) -> None:
        sock.setblocking(False)
        self.traffic = PeerBudget(
            lambda: self._unsent, questions=calls, held=unread, message=message
        )
        self._sock = sock
        self._on_broken = on_broken
        self._coming = Frames(self.traffic.came, most=message)
        self._going = Frames(self.traffic.went, most=1 << 62)
        self._protocol: Any = None
        self._inbox = b""
        self._at = 0  # how far KJ has taken it
        self._is_reading = False  # KJ waits for bytes
        self._is_listening = False  # we wait for the kernel
        self._is_ended = False  # the far side sends no more
        self._outbox = deque[memoryview]()
        self._unsent = 0
        self._fresh: list[bytes] = []
        self._is_gathering = False
        self._is_blocked = False  # the kernel takes no more
        self._is_last = False  # nothing more will be written
        self._taken_at = 0.0  # when the kernel took something last, while it is blocked
        self._is_closed = False

    def begin(self, loop: Loop, protocol: Any) -> None:
        """Begin, with this protocol, in this loop."""
        self._loop = loop
        self._protocol = protocol
        protocol.connection_made(self)
        self._listen()

    # What KJ's protocol asks of a transport

    def is_closing(self) -> bool:
        return self._is_closed

    def is_reading(self) -> bool:
        return self._is_reading

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        self._hand_over()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._is_closed:
            return
        self._fresh.append(bytes(data))
        if not self._is_gathering:
            self._is_gathering = True
            self._loop.call_soon(self._gather)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._is_last = True
        self._gather()

    def close(self) -> None:
        """Close now. What the kernel takes at once of the waiting bytes is still sent."""
        self._gather()
        self._end()

    # Reading

    def _listen(self) -> None:
        if self._is_closed:
            return
        wants = not self._is_ended and len(self._inbox) - self._at < INBOX
        if wants and not self._is_listening:
            self._loop.add_reader(self._sock, self._receive)
        elif not wants and self._is_listening:
            self._loop.remove_reader(self._sock)
        self._is_listening = wants

    def _receive(self) -> None:
        try:
            data = self._sock.recv(CHUNK)
            self._coming.feed(data)
        except (BlockingIOError, InterruptedError):
            return
        except (FrameError, UnreadError) as error:
            self._break(str(error))
            return
        except OSError as error:
            self._lose(error)
            return
        self._inbox = self._inbox[self._at :] + data
        self._at = 0
        self._is_ended = not data
        self._hand_over()

    def _hand_over(self) -> None:
        while self._is_reading and self._at < len(self._inbox):
            space = self._protocol.get_buffer(-1)
            piece = self._inbox[self._at : self._at + len(space)]
            space[: len(piece)] = piece
            self._at += len(piece)
            self._protocol.buffer_updated(len(piece))
        if self._is_reading and self._is_ended and not self._is_closed:
            self._protocol.eof_received()
            self._lose(None)
        elif self._is_ended or not self._is_listening or len(self._inbox) >= INBOX:
            self._listen()

    # Writing

    def _gather(self) -> None:
        """Join what KJ has written since the last time into one piece."""
        self._is_gathering = False
        if self._is_closed:
            return
        if self._fresh:
            piece = b"".join(self._fresh)
            self._fresh.clear()
            try:
                self._going.feed(piece)
            except (FrameError, UnreadError) as error:
                self._break(str(error))
                return
            self._outbox.append(memoryview(piece))
            self._unsent += len(piece)
        if not self._is_blocked:
            self._flush()

    def _flush(self) -> None:
        try:
            while self._outbox:
                self._note_taken(self._sock.send(self._outbox[0]))
        except (BlockingIOError, InterruptedError):
            if not self._is_blocked:
                self._is_blocked = True
                self._taken_at = self._loop.time()
                self._loop.add_writer(self._sock, self._flush)
                self._loop.call_later(TAKEN_WITHIN, self._check_taken)
            return
        except OSError as error:
            self._lose(error)
            return
        if self._is_blocked:
            self._is_blocked = False
            self._loop.remove_writer(self._sock)
        if self._is_last:
            self._shut_down()

    def _note_taken(self, count: int) -> None:
        piece = self._outbox.popleft()
        self._unsent -= count
        if count < len(piece):
            self._outbox.appendleft(piece[count:])
        if self._is_blocked:
            self._taken_at = self._loop.time()

    def _check_taken(self) -> None:
        left = self._taken_at + TAKEN_WITHIN - self._loop.time()
        if not self._is_blocked or self._is_closed:
            return
        if left <= 0:
            self._break(f"it has taken nothing for {TAKEN_WITHIN:.0f} s")
        else:
            self._loop.call_later(left, self._check_taken)

    def _shut_down(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:  # the far side has gone
            return

    # Ends

    def _break(self, why: str) -> None:
        """End it because of what the far side does, once the present call is over: KJ may be in
        the middle of it."""
        if not self._is_closed:
            self._on_broken(why)
            self._lose(None)

    def _lose(self, error: OSError | None) -> None:
        self._end()
        self._loop.call_soon(self._protocol.connection_lost, error)

    def _end(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()
            self._outbox.clear()
            self._fresh.clear()
            self._unsent = 0
            self._inbox = b""
