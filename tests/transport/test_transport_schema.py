"""The schema only grows, and it is where a program finds it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from warren.transport.codec import method_codecs
from warren.transport.methods import CAPABILITIES
from warren.transport.schema import capnp, schema_path, wire

ROOT = Path(__file__).parents[2]
RECORDED = Path(__file__).parent / "ordinals.txt"


def ordinals() -> Iterator[str]:
    """A line for every field, enumerant, method and parameter: what old messages rely on."""
    for name in dir(wire):
        node = getattr(wire, name)
        if hasattr(node, "new_message"):
            yield from _fields(name, node.schema)
        elif hasattr(node, "schema") and hasattr(node.schema, "methods"):
            yield from _methods(name, node.schema)
        elif hasattr(node, "schema") and hasattr(node.schema, "enumerants"):
            for word, ordinal in node.schema.enumerants.items():
                yield f"enum {name}.{word} @{ordinal}"


def _fields(name: str, schema: Any) -> Iterator[str]:
    for field in schema.fields_list:
        proto = field.proto
        place = f"{name}.{proto.name}"
        member = "" if proto.discriminantValue == 0xFFFF else f" |{proto.discriminantValue}"
        if proto.which() == "group":
            yield f"group {place}{member}"
            yield from _fields(place, field.schema)
        else:
            default = _default(proto.slot) if proto.slot.hadExplicitDefault else ""
            kind = _type(proto.slot.type, field)
            yield f"field {place} @{_ordinal(proto)} :{kind}{member}{default}"


def _ordinal(proto: Any) -> str:
    return str(proto.ordinal.explicit) if proto.ordinal.which() == "explicit" else "?"


def _type(proto: Any, field: Any) -> str:
    word = str(proto.which())
    if word == "list":
        element = proto.list.elementType
        plain = str(element.which())
        return f"List({_named(field.schema.elementType) if plain in NAMED else plain})"
    return _named(field.schema) if word in NAMED else word


NAMED = ("struct", "enum", "interface")


def _named(schema: Any) -> str:
    return str(schema.node.displayName).rpartition(":")[2]


def _default(slot: Any) -> str:
    word = str(slot.defaultValue.which())
    return f" = {getattr(slot.defaultValue, word)}"


def _methods(name: str, schema: Any) -> Iterator[str]:
    for parent in schema.superclasses:
        yield f"interface {name} extends {_named(parent)}"
    for ordinal, method in enumerate(schema.node.interface.methods):
        yield f"method {name}.{method.name} @{ordinal}"
        found = schema.methods[method.name]
        yield from _fields(f"{name}.{method.name}()", found.param_type)
        yield from _fields(f"{name}.{method.name}->", found.result_type)


def test_ordinals_are_append_only() -> None:
    """Where this fails with lines that are not recorded, append them; with lines that are gone,
    put back what they name: a peer of an earlier version relies on it."""
    recorded = RECORDED.read_text("utf-8").splitlines()
    now = sorted(ordinals())
    assert [line for line in recorded if line not in now] == [], "gone from the schema"
    assert [line for line in now if line not in recorded] == [], "not recorded"


def test_the_record_would_notice_a_changed_type_default_or_number(tmp_path: Path) -> None:
    for old, new in (
        ("retries @6 :Int32 = 3;", "retries @6 :Int64 = 3;"),
        ("retries @6 :Int32 = 3;", "retries @6 :Int32 = 4;"),
        ("http @1 :HttpCheck;\n    tcp @2", "tcp @1 :TcpCheck;\n    http @2"),
        ("always @0;\n  onFailure @1;", "onFailure @0;\n  always @1;"),
        ("restart @3 (name", "restart2 @3 (name"),
    ):
        text = schema_path().read_text("utf-8")
        changed = text.replace(old, new).replace("http @2 :TcpCheck", "http @2 :HttpCheck")
        assert changed != text
        path = tmp_path / "warren.capnp"
        path.write_text(changed, "utf-8")
        other = capnp.SchemaParser().load(str(path))
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(globals(), "wire", other)
            assert set(RECORDED.read_text("utf-8").splitlines()) - set(ordinals())


@pytest.mark.parametrize("kind", CAPABILITIES)
def test_every_protocol_fits_the_schema(kind: type) -> None:
    assert method_codecs(kind)


def test_the_schema_is_inside_the_wheel(tmp_path: Path) -> None:
    # Beside this Python, as the development extra puts it there.
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if uv is None:
        pytest.skip("needs uv")
    command = [uv, "build", "--quiet", "--wheel", "--out-dir", str(tmp_path)]
    built = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    if "hatchling" in built.stderr:
        pytest.skip(f"uv cannot get hatchling: {built.stderr[-500:]}")
    assert built.returncode == 0, built.stderr
    (made,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(made) as wheel:
        text = wheel.read("warren/schema/warren.capnp")
    assert text == (ROOT / "schema" / "warren.capnp").read_bytes()


def test_a_checkout_uses_its_own_schema() -> None:
    assert schema_path() == ROOT / "schema" / "warren.capnp"
