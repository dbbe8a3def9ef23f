"""Model values to messages and back, by the model's type hints and the message schema.

A field has its Python name in camel case. What a hint becomes:

    X | None                 a null pointer, or a union whose `unset` is set
    int | str | None         a union, its members distinguished by their types
    tuple[X, ...], list[X]   a list
    Mapping[K, V]            a list of entries: the key, and then the value, or the value's fields
    enum                     an enumerant, by its name
    StatusRange              a group of `low` and `high`
    ByteSize | None          a union of `bytes` and, as earlier versions send it, `text`
    struct                   a struct; optional fields may be the members of its unnamed union
    a protocol of rpc.py     a capability

A mismatch between the model and the schema is found when the codec is made, not when a message
arrives.
"""

from __future__ import annotations

import enum
import functools
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, Union, cast, get_args, get_origin

import msgspec

from warren.model import bounds
from warren.model.byte_size import ByteSize
from warren.model.check import Args, Argv, StatusRange
from warren.model.check_places import CheckPlaces
from warren.model.cluster import Entry
from warren.model.condition import NodeCondition
from warren.model.decode import DecodeError, decode, to_json
from warren.model.event import EventFacts, TaskEvent
from warren.model.identity import TaskId
from warren.model.node_description import RuntimeInfo
from warren.model.report import Assignment, Assignments, Report, Told
from warren.model.service import ServiceSpec
from warren.model.task import TaskStatus
from warren.transport import field_codecs
from warren.transport.event_records import EntryRecord, FactsRecord, TaskEventRecord
from warren.transport.field_codecs import At, Field, Item, Record, camel
from warren.transport.methods import Interface, Method, interface, is_capability
from warren.transport.peer_budget import Budget
from warren.transport.schema import capnp, wire
from warren.transport.sifted import Sifted

Export = Callable[[type, object], Any]
"""Makes a capability of an object that implements a protocol."""
Hold = Callable[[type, Any, Mapping[str, object]], object]
"""Makes an object of a capability that implements a protocol, with these attributes."""


class MethodCodec(NamedTuple):
    """One method's parameters and result. `result` is None where it returns nothing."""

    method: Method
    wire_name: str
    parameters: tuple[tuple[str, Any, Field | None], ...]
    result: tuple[str, Field | None] | None

    def write_parameters(self, request: Any, arguments: Mapping[str, Any], export: Export) -> None:
        """Raises DecodeError."""
        for name, hint, field in self.parameters:
            with At(name):
                if field is None:
                    request._set(camel(name), export(hint, arguments[name]))
                else:
                    field.write(request, arguments[name])

    def read_parameters(self, reader: Any, hold: Hold, budget: Budget) -> dict[str, Any]:
        """Raises DecodeError."""
        arguments: dict[str, Any] = {}
        for name, hint, field in self.parameters:
            with At(name):
                arguments[name] = _read(reader, camel(name), hint, field, hold, budget)
        return arguments

    def write_result(self, results: Any, value: Any, export: Export) -> None:
        """Raises DecodeError."""
        if self.result is None:
            return
        name, field = self.result
        if field is not None:
            with At(name):
                field.write(results, value)
            return
        results._set(name, export(self.method.returns, value))
        for attribute in interface(self.method.returns).attributes:
            results._set(camel(attribute), getattr(value, attribute))

    def read_result(self, reader: Any, hold: Hold, budget: Budget) -> object:
        """Raises DecodeError."""
        if self.result is None:
            return None
        name, field = self.result
        with At(name):
            return _read(reader, name, self.method.returns, field, hold, budget)


@functools.cache
def method_codecs(kind: type) -> Mapping[str, MethodCodec]:
    """The codecs of a protocol's methods, by their Python names."""
    schema = schema_of(kind).schema
    table: Interface = interface(kind)
    known = {camel(name) for name in table.methods}
    _expect(known == set(schema.method_names_inherited), f"the methods of {table.name} differ")
    return {
        name: _method_codec(method, schema.methods_inherited[camel(name)])
        for name, method in table.methods.items()
    }


def schema_of(kind: type) -> Any:
    """The schema's interface for a protocol."""
    return getattr(wire, kind.__name__)


@functools.cache
def record(kind: type, schema_id: int) -> Record:
    """How a model's struct is written to a struct of this id, and read from it."""
    module = _structs()[schema_id]
    hints = {f.name: f.type for f in msgspec.structs.fields(kind)}
    for name in _READ_APART.get(kind, ()):
        del hints[name]
    fields = {name: _field(hint, module.schema, name) for name, hint in hints.items()}
    made = _RECORDS.get(kind, Record)
    return made(fields, _defaults(kind, module, fields))


def _defaults(kind: type, module: Any, fields: Mapping[str, Field]) -> Mapping[str, object]:
    """The model's defaults as they are read back from a message."""
    message = module.new_message()
    found: dict[str, object] = {}
    for each in msgspec.structs.fields(kind):
        if each.name in fields and each.default is not msgspec.NODEFAULT:
            fields[each.name].write(message, each.default)
            found[each.name] = fields[each.name].read(message.as_reader(), Budget(1000))
    return found


class _Assignments(Record):
    """Specs are written once, however many tasks use them."""

    def __init__(self, fields: Mapping[str, Field], defaults: Mapping[str, object]) -> None:
        super().__init__(fields, defaults)
        schema = wire.Assignment.schema
        self._spec = record(ServiceSpec, wire.ServiceSpec.schema.node.id)
        self._task = Record(
            {
                f.name: _field(f.type, schema, f.name)
                for f in msgspec.structs.fields(Assignment)
                if f.name != "spec"
            }
        )

    def fill(self, builder: Any, value: Assignments) -> None:
        super().fill(builder, value)
        places: dict[bytes, int] = {}
        indices: dict[int, int] = {}  # by identity: most tasks of a service share their spec
        specs: list[ServiceSpec] = []
        for task in value.tasks:
            if id(task.spec) not in indices:
                place = places.setdefault(to_json(task.spec), len(places))
                indices[id(task.spec)] = place
                specs[place:] = specs[place:] or [task.spec]
        field_codecs.Sequenced(self._spec, "specs").write(builder, "specs", specs)
        entries = builder.init("tasks", len(value.tasks))
        for index, task in enumerate(value.tasks):
            entry = entries._get(index)
            entry._set("spec", indices[id(task.spec)])
            self._task.fill(entry, task)

    def read(self, raw: Any, budget: Budget) -> object:
        plain = cast("dict[str, object]", super().read(raw, budget))
        with At("specs"):
            read = field_codecs.Sequenced(self._spec, "specs").read(raw._get("specs"), budget)
            specs: list[ServiceSpec] = []
            for index, each in enumerate(read):
                with At(index):
                    specs.append(decode(each, ServiceSpec))
        with At("tasks"):
            plain["tasks"] = [*self._tasks(raw._get("tasks"), specs, budget)]
        return plain

    def _tasks(self, raw: Any, specs: list[ServiceSpec], budget: Budget) -> list[object]:
        tasks: list[object] = []
        count = field_codecs.bounded(raw, bounds.list_bound("tasks"), budget)
        with At() as at:
            for at.step in range(count):
                entry = raw._get(at.step)
                task = cast("dict[str, object]", self._task.read(entry, budget))
                index: int = entry._get("spec")
                if index >= len(specs):
                    raise DecodeError(("spec",), index, f"want an index below {len(specs)}")
                tasks.append({**task, "spec": specs[index]})
        return tasks


class _Reports(Record):
    """Of a report every status and every event stands by itself (S20): what of it cannot be read is
    counted in `dropped`, which is said on this side alone."""

    def __init__(self, fields: Mapping[str, Field], defaults: Mapping[str, object]) -> None:
        super().__init__(fields, defaults)
        self._lists = {
            name: Sifted(record(kind, found.schema.node.id), kind, name)
            for name, kind, found in (
                ("statuses", TaskStatus, wire.TaskStatus),
                ("events", Told, wire.Told),
            )
        }

    def fill(self, builder: Any, value: Report) -> None:
        super().fill(builder, value)
        for name, items in self._lists.items():
            items.write(builder, name, getattr(value, name))

    def read(self, raw: Any, budget: Budget) -> object:
        plain = cast("dict[str, object]", super().read(raw, budget))
        count, last = 0, ""
        for name, items in self._lists.items():
            with At(name):
                plain[name], dropped = items.sift(raw._get(name), budget)
            count += dropped.count
            last = dropped.last or last
        if count:
            plain["dropped"], plain["last_dropped"] = count, last
        return plain


_READ_APART: Mapping[type, tuple[str, ...]] = {
    Assignments: ("tasks",),
    Report: ("statuses", "events", "dropped", "last_dropped"),
    TaskEvent: ("word",),
    Entry: ("kind", "word"),
}
_RECORDS: Mapping[type, type[Record]] = {
    TaskId: field_codecs.Named,
    Assignments: _Assignments,
    Report: _Reports,
    EventFacts: FactsRecord,
    TaskEvent: TaskEventRecord,
    Entry: EntryRecord,
}
_SIFTED = (TaskStatus, NodeCondition, CheckPlaces, RuntimeInfo)  # what a node tells of itself


def _method_codec(method: Method, schema: Any) -> MethodCodec:
    into, out = schema.param_type, schema.result_type
    parameters = {
        name: (name, hint, None if is_capability(hint) else _field(hint, into, name))
        for name, hint in method.parameters.items()
    }
    _expect(
        {camel(name) for name in parameters} == set(into.fieldnames),
        f"the parameters of {method.name} differ",
    )
    name, *_ = (*out.fieldnames, None)
    _expect((name is None) == (method.returns is type(None)), f"{method.name}: one returns nothing")
    result = None
    if name is not None:
        returns = method.returns
        result = (name, None if is_capability(returns) else _field(returns, out, name))
    return MethodCodec(method, camel(method.name), tuple(parameters.values()), result)


def _read(
    reader: Any, name: str, hint: Any, field: Field | None, hold: Hold, budget: Budget
) -> object:
    if field is not None:
        return decode(field.read(reader, budget), hint)
    if not reader._has(name):
        raise DecodeError((), None, f"want an object that is a {hint.__name__}")
    attributes = {each: reader._get(camel(each)) for each in interface(hint).attributes}
    return hold(hint, reader._get(name), attributes)


def _field(hint: Any, schema: Any, name: str) -> Field:
    """How a struct's field is written and read."""
    optional, kinds = _alternatives(hint)
    wire_name = camel(name)
    found = schema.fields.get(wire_name)
    _expect(found is not None, f"{schema} has no {wire_name}")
    proto = found.proto
    if proto.which() == "group":
        return _group(kinds, wire_name, found.schema, name)
    _expect(len(kinds) == 1, f"{wire_name} of {schema} is a union in the model alone")
    if get_origin(kinds[0]) is Mapping:
        return _entries(kinds[0], wire_name, found.schema.elementType, name)
    item = _item(kinds[0], proto.slot.type, lambda: found.schema, name)
    if optional and proto.discriminantValue != 0xFFFF:
        return field_codecs.Member(wire_name, item)
    is_pointer = proto.slot.type.which() in ("text", "data", "list", "struct")
    _expect(is_pointer or not optional, f"{wire_name} of {schema} cannot be missing")
    return field_codecs.Slot(wire_name, item, optional=optional)


def _item(hint: Any, proto: Any, schema: Callable[[], Any], name: str) -> Item:
    """How a value of this type is written to, and read from, a place of that type."""
    word: str = proto.which()
    if word == "struct":
        return record(hint, schema().node.id)
    if word == "enum":
        return field_codecs.Enumerant(hint, schema())
    if word == "list":
        element = str if hint in (Argv, Args) else get_args(hint)[0]
        inner = proto.list.elementType
        element = _bare(element)
        item = _item(element, inner, lambda: schema().elementType, name)
        if element in _SIFTED:
            return Sifted(item, element, name)
        return field_codecs.Sequenced(item, name)
    _expect(
        hint in (int, float, bool, str, bytes, type(None)) or issubclass(hint, float),
        f"{hint} as {word}",
    )
    return field_codecs.Scalar(word, name)


def _group(kinds: list[Any], name: str, schema: Any, bound: str) -> Field:
    if kinds == [StatusRange]:
        return field_codecs.Span(name)
    if kinds == [ByteSize]:
        return field_codecs.Size(name)
    members: dict[type, tuple[str, Item]] = {}
    for each, found in schema.fields.items():
        word = found.proto.slot.type.which()
        kind = next(kind for kind in (type(None), *kinds) if _fits(kind, word))
        schema_of_it = functools.partial(getattr, found, "schema")
        members[kind] = (each, _item(kind, found.proto.slot.type, schema_of_it, bound))
    _expect(len(members) == 1 + len(kinds), f"the members of {name} differ")
    return field_codecs.Choice(name, members)


def _fits(kind: type, word: str) -> bool:
    if kind is type(None) or word == "void":
        return kind is type(None) and word == "void"
    if word == "enum":
        return issubclass(kind, enum.Enum)
    return {"text": str, "float64": float}.get(word, int) in kind.__mro__


def _entries(hint: Any, name: str, schema: Any, bound: str) -> Field:
    key, value = (_bare(each) for each in get_args(hint))
    first, second, *_ = schema.fields_list
    key_item = _item(key, first.proto.slot.type, lambda: first.schema, bound)
    if isinstance(value, type) and issubclass(value, msgspec.Struct):
        inner = record(value, schema.node.id)
        return field_codecs.Entries(name, (first.proto.name, key_item), inner, bound=bound)
    repeats = get_origin(value) in (types.UnionType, Union)  # one value, or several
    value_item = _item(
        str if repeats else value, second.proto.slot.type, lambda: second.schema, bound
    )
    named = (second.proto.name, value_item)
    may_hide = "hidden" in schema.fields
    keyed = (first.proto.name, key_item)
    return field_codecs.Entries(name, keyed, named, bound=bound, may_hide=may_hide, repeats=repeats)


def _alternatives(hint: Any) -> tuple[bool, list[Any]]:
    """Whether it may be None, and what else it may be."""
    hint = _bare(hint)
    options = get_args(hint) if get_origin(hint) in (types.UnionType, Union) else (hint,)
    kinds = [_bare(each) for each in options if each is not type(None)]
    return len(kinds) < len(options), kinds


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


@functools.cache
def _structs() -> Mapping[int, Any]:
    modules = (getattr(wire, name) for name in dir(wire))
    found = [module for module in modules if hasattr(module, "new_message")]
    return {module.schema.node.id: module for module in found}


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise TypeError(f"model and schema do not fit: {otherwise}")


__all__ = ["DecodeError", "Export", "Hold", "MethodCodec", "capnp", "method_codecs", "record"]
