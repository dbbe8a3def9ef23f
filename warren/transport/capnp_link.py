"""One connection of Cap'n Proto: its proxies call the far side, and incoming calls run in Trio.

Methods whose names begin with `_kj_` run in the portal's thread, and only they touch objects of
Cap'n Proto; all others run in Trio.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import socket
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, cast

import trio

from warren.model.decode import DecodeError
from warren.model.errors import LinkLostError, OverloadedError
from warren.model.rpc import Gate
from warren.transport.call_limits import CallLimits
from warren.transport.codec import MethodCodec, method_codecs, schema_of
from warren.transport.connection import Connection, Limits
from warren.transport.methods import Method, is_capability, proxy
from warren.transport.peer_budget import LEAST, Budget
from warren.transport.portal import Portal
from warren.transport.schema import capnp
from warren.transport.stream import Stream
from warren.transport.wire_errors import WireFault, answer, fault_of, parse_fault, wire_error

UNFINISHED = 4  # open questions, as a multiple of the calls in flight
OBJECTS = 64  # that a connection may always hold, however few calls it may make
_GATE = 0  # the number of what the far side offers


class RemoteObject:
    """A capability of the far side, held by its number. Once unreferenced it is released."""

    def __init__(self, link: CapnpLink, kind: type, key: int) -> None:
        self._link = link
        self._codecs = method_codecs(kind)
        self._key = key

    def __repr__(self) -> str:
        return repr(self._link.connection.peer)

    def __del__(self) -> None:
        self._link.release(self._key)

    async def __call__(self, method: Method, arguments: dict[str, Any]) -> Any:
        return await self._link.call(self._key, self._codecs[method.name], arguments)


class CapnpLink:
    """One end of a connection. `run` is its life."""

    def __init__(self, portal: Portal, connection: Connection, limits: Limits) -> None:
        self.connection = connection
        self._portal = portal
        self._limits = limits
        self._nursery: trio.Nursery | None = None
        self._kj_held: dict[int, Any] = {}
        self._kj_keys = itertools.count(_GATE + 1)
        self._kj_places = CallLimits(limits.calls)
        self._kj_exports: weakref.WeakSet[Any] = weakref.WeakSet()
        self._offer: Gate | None = None
        self._kj_rpc: Any = None
        self._kj_watch: Any = None
        self._kj_stream: Any = None
        self._kj_budget = Budget(0)

    async def run(
        self,
        sock: socket.socket,
        offer: Gate | None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run the protocol over a connected socket, which it closes, until the connection is gone:
        as a server that offers a gate, or a client that asks for one."""
        self._offer = offer
        self._portal.at_end.add(self.connection.note_closed)
        try:
            async with self._receiving():
                await self._portal.run(self._kj_open, sock, offer)
                task_status.started()
                await self.connection.closed.wait()
        finally:
            self._portal.at_end.discard(self.connection.note_closed)
            self.connection.note_closed("closed on this side")
            with trio.CancelScope(shield=True), contextlib.suppress(LinkLostError):
                await self._portal.run(self._kj_close, sock)
            self.connection.ended.set()

    def gate(self) -> RemoteObject:
        """What the far side offers."""
        return RemoteObject(self, Gate, _GATE)

    async def call(self, key: int, codec: MethodCodec, arguments: dict[str, Any]) -> Any:
        """Call a capability of the far side. Raises the far side's error, and LinkLostError."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.connection.closed.is_set():
            raise self._lost()
        fault, value = await self._portal.run(self._kj_call, key, codec, arguments)
        if fault is None:
            return value
        if fault.word == "lost":
            raise self._lost(fault.message)
        raise fault.error(self.connection.peer)

    def release(self, key: int) -> None:
        """Release a capability. Safe at any moment, in any thread."""
        self._portal.there.put(self._kj_held.pop, key, None)

    async def _answer(
        self, target: object, name: str, arguments: dict[str, Any]
    ) -> tuple[WireFault | None, Any]:
        fault, value = await answer(target, name, arguments)
        if target is self._offer and fault is None:
            hello = arguments.get("hello")
            self.connection.note_known(None if hello is None else hello.name)
        if fault is not None and self.connection.closed.is_set():  # the caller's own link
            fault = WireFault("lost", "it is closing")
        return fault, value

    @contextlib.asynccontextmanager
    async def _receiving(self) -> AsyncGenerator[None, None]:
        """Incoming calls run in this block, and not after it."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                yield
            finally:
                self._nursery = None  # before it closes: it starts nothing more then
                nursery.cancel_scope.cancel()

    def _lost(self, why: str = "") -> LinkLostError:
        why = self.connection.why or why
        return LinkLostError(f"the link to {self.connection.peer} is lost: {why}")

    # ---- in the thread of the portal ----

    async def _kj_open(self, sock: socket.socket, offer: Gate | None) -> None:
        note = functools.partial(self._portal.here.put, self.connection.note_broken)
        limits = self._limits
        stream = Stream(
            sock,
            note,
            calls=UNFINISHED * limits.calls,
            unread=limits.unread,
            message=limits.message,
        )
        self._kj_budget = stream.traffic.budget
        self._kj_stream = await capnp.AsyncIoStream.create_connection(stream=stream)
        words = limits.message // 8
        if offer is None:
            self._kj_rpc = capnp.TwoPartyClient(self._kj_stream, traversal_limit_in_words=words)
            self._kj_held[_GATE] = self._kj_rpc.bootstrap().cast_as(schema_of(Gate))
        else:
            served = self._kj_export(Gate, offer)
            self._kj_rpc = capnp.TwoPartyServer(
                self._kj_stream, bootstrap=served, traversal_limit_in_words=words
            )
        self._kj_watch = self._kj_rpc.on_disconnect()
        self._kj_watch.add_done_callback(self._kj_note_closed)

    def _kj_note_closed(self, future: Any) -> None:
        if not future.cancelled():
            future.exception()
            self._portal.here.put(self.connection.note_closed, "the far side has closed it")

    async def _kj_close(self, sock: socket.socket) -> None:
        self._kj_held.clear()
        if self._kj_rpc is not None:
            self._kj_watch.cancel()
            self._kj_rpc.close()
        if self._kj_stream is not None:
            self._kj_stream.close()
        else:
            sock.close()
        self._kj_watch = self._kj_rpc = self._kj_stream = None

    async def _kj_call(
        self, key: int, codec: MethodCodec, arguments: dict[str, Any]
    ) -> tuple[WireFault | None, Any]:
        capability = self._kj_held.get(key)
        if capability is None:
            return WireFault("lost", "closed on this side"), None
        try:
            request = capability._request(codec.wire_name)
            codec.write_parameters(request, arguments, self._kj_export)
            response = await request.send()
            return None, codec.read_result(response, self._kj_hold, self._kj_budget)
        except DecodeError as error:
            return WireFault("invalid", str(error.named())), None
        except capnp.KjException as error:
            return _kj_fault(error, codec), None

    def _kj_hold(self, kind: type, capability: Any, attributes: Mapping[str, object]) -> object:
        key = next(self._kj_keys)
        self._kj_held[key] = capability
        return cast("object", proxy(kind, RemoteObject(self, kind, key), **attributes))

    def _kj_export(self, kind: type, target: object) -> Any:
        served = _served(kind)(functools.partial(self._kj_answer, target))
        self._kj_exports.add(served)
        return served

    def _kj_check_exports(self, codec: MethodCodec) -> None:
        """A far side that releases no objects gets no more of them."""
        count = len(self._kj_exports)
        if is_capability(codec.method.returns) and count >= max(OBJECTS, self._limits.calls):
            raise OverloadedError(f"this connection holds {count} objects; want some let go")

    async def _kj_answer(self, target: object, codec: MethodCodec, context: Any) -> None:
        try:
            self._kj_check_exports(codec)
            with self._kj_places.taken(codec.method.name):
                fault = await self._kj_answer_within(target, codec, context)
        except OverloadedError as error:
            fault = WireFault("overloaded", str(error))
        if fault is not None:
            raise wire_error(fault) from None

    async def _kj_answer_within(
        self, target: object, codec: MethodCodec, context: Any
    ) -> WireFault | None:
        try:
            arguments = codec.read_parameters(context.params, self._kj_hold, self._kj_budget)
        except DecodeError as error:
            return WireFault("invalid", str(error.named()))
        except capnp.KjException as error:
            return WireFault("invalid", f"want a message as the schema has it: {error.description}")
        answered = await self._portal.answer(
            lambda: self._nursery, self._answer, target, codec.method.name, arguments
        )
        if answered is None:
            return WireFault("lost", "it is closing")
        fault, value = answered
        try:
            if fault is None:
                codec.write_result(context.results, value, self._kj_export)
                fault = self._kj_too_large(codec, context.results)
        except DecodeError as error:
            return fault_of(error, codec.method.name)
        return fault

    def _kj_too_large(self, codec: MethodCodec, results: Any) -> WireFault | None:
        """An answer that the far side would take for the end of the connection is none."""
        size, most = 8 * results.total_size.word_count, self._limits.message - LEAST
        if size <= most:
            return None
        said = f"{codec.wire_name}: the answer has {size >> 20} MiB"
        wanted = f"want less asked for at once: a message has {self._limits.message >> 20}"
        return WireFault("invalid", f"{said}; {wanted}")


@functools.cache
def _served(kind: type) -> Any:
    """The class of a protocol's objects for pycapnp, which looks for `NAME_context` and awaits it.
    They are made with the function that answers, given a method's codec and pycapnp's context."""

    def begin(self: Any, take: Callable[[MethodCodec, Any], Awaitable[None]]) -> None:
        for codec in method_codecs(kind).values():
            setattr(self, f"{codec.wire_name}_context", functools.partial(take, codec))

    return type(f"Served{kind.__name__}", (schema_of(kind).Server,), {"__init__": begin})


def _kj_fault(error: Any, codec: MethodCodec) -> WireFault:
    if error.type == "DISCONNECTED":
        return WireFault("lost", "it was closed or reset")
    if error.type == "UNIMPLEMENTED":
        return WireFault(
            "unsupported", f"the far side knows no {codec.wire_name}: it is of another version"
        )
    return parse_fault(error.description)
