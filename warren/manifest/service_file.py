"""The service file: `services: NAME: {...}` in YAML, to specs and back.

What a file may contain beyond a spec is resolved here, once: `env_file` becomes `env`, short forms
their long ones (`forms.py`), and `cwd` is taken from the file's own folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

from warren.manifest.forms import expanded, written
from warren.manifest.yaml_text import Document, write
from warren.model.check_kinds import CHECK_KINDS
from warren.model.decode import DecodeError, decode
from warren.model.errors import SpecError
from warren.model.identity import NAME_WANTED, is_name
from warren.model.service import ServiceSpec
from warren.model.suggest import no_such_field

Admit = Callable[[ServiceSpec], ServiceSpec]

LONGEST_FILE = 4 << 20  # bytes
TOO_LONG = "want a file of at most 4 MiB"
HIDEABLE = {"env", *(name for kind in CHECK_KINDS for name in kind.secrets)}
_UNWRITTEN = ("name", "image_health")  # the key, and `health: none`
FIELDS = [*(f for f in ServiceSpec.__struct_fields__ if f not in _UNWRITTEN), "env_file"]


def load_file(
    path: Path | str, *, may_be_empty: bool = False, admit: Admit | None = None
) -> list[ServiceSpec]:
    """The specs of a file, in its order. Raises SpecError with file and line."""
    path = Path(path)
    try:
        text = _read(path, "file")
    except UnicodeDecodeError:
        raise SpecError("file", "want UTF-8 text", source=str(path)) from None
    except OSError as error:
        said = error.strerror or type(error).__name__
        raise SpecError("file", said, value=str(path)) from None
    base = path.resolve().parent
    return load_text(text, base=base, source=str(path), may_be_empty=may_be_empty, admit=admit)


def load_text(
    text: str,
    *,
    base: Path | None = None,
    source: str | None = None,
    may_be_empty: bool = False,
    admit: Admit | None = None,
) -> list[ServiceSpec]:
    """The specs of a YAML text. With a `base`, `cwd` and `env_file` are relative to it.
    `may_be_empty` takes `services: {}`, which most often is a mistake. A refusal of `admit`, a
    SpecError of a field of the file, gets its line."""
    document = Document(text, source)
    data = document.data
    if data is None:
        raise SpecError("services", "is missing: the file is empty", source=source)
    if not isinstance(data, dict):
        raise document.refuse((), "want a mapping with services", value=data)
    top = cast("dict[str, Any]", data)
    for key in top:
        if key != "services":
            raise document.refuse((key,), "no such field; want services", value=top[key])
    services: object = top.get("services")
    if not isinstance(services, dict) or not (services or may_be_empty):
        wanted = "want a mapping of names to services"
        raise document.refuse(("services",), wanted, value=cast("object", services))
    bodies = cast("dict[str, Any]", services)
    specs = [_service(document, name, body, base) for name, body in bodies.items()]
    return specs if admit is None else [_admitted(document, spec, admit) for spec in specs]


def dump_text(specs: Iterable[ServiceSpec]) -> str:
    """The file's text for these specs; `load_text` without a base returns them."""
    return write({"services": {spec.name: written(spec) for spec in specs}})


def _read(path: Path, field: str) -> str:
    """A text of bounded size: some files never end."""
    with path.open("rb") as file:
        data = file.read(LONGEST_FILE + 1)
    if len(data) > LONGEST_FILE:
        raise SpecError(field, TOO_LONG, value=str(path))
    return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def _service(document: Document, name: str, body: object, base: Path | None) -> ServiceSpec:
    place = ("services", name)
    if not is_name(name):
        raise document.refuse(place, NAME_WANTED, value=name)
    if body is None:
        body = {}
    if not isinstance(body, dict):
        raise document.refuse(place, "want a mapping", value=body)
    fields = dict(cast("dict[str, Any]", body))
    for field in fields:
        if field not in FIELDS:
            wanted = no_such_field(field, FIELDS)
            raise document.refuse((*place, field), wanted, fields[field])
    _read_env_files(document, name, fields, base)
    if base is not None and fields.get("image") is None:  # a container has its own directories
        _settle_cwd(document, name, fields, base)
    try:
        return decode({"name": name, **expanded(fields, base)}, ServiceSpec)
    except DecodeError as error:
        wanted = error.wanted
        if error.value is None and HIDEABLE & {*error.path[:-1]}:
            wanted = "want a value (null stands for one hidden from the reader)"
        raise document.refuse((*place, *error.path), wanted, error.value) from None


def _admitted(document: Document, spec: ServiceSpec, admit: Admit) -> ServiceSpec:
    try:
        return admit(spec)
    except SpecError as error:
        inside = error.field.removeprefix(f"services.{spec.name}.").split(".")
        line = document.line(("services", spec.name, *inside))
        raise SpecError(
            error.field, error.wanted, value=error.value, line=line, source=document.source
        ) from None


def _settle_cwd(document: Document, name: str, fields: dict[str, Any], base: Path) -> None:
    cwd = fields.get("cwd", ".")
    if not isinstance(cwd, str) or not cwd:
        raise document.refuse(("services", name, "cwd"), "want a directory", value=cwd)
    fields["cwd"] = str(base / cwd)


def _read_env_files(
    document: Document, name: str, fields: dict[str, Any], base: Path | None
) -> None:
    if "env_file" not in fields:
        return
    place = ("services", name, "env_file")
    named: object = fields.pop("env_file")
    files = cast("list[object]", named) if isinstance(named, list) else [named]
    env: dict[str, Any] = {}
    for file in files:
        if not isinstance(file, str) or not file:
            raise document.refuse(place, "want a file's name, or a list of them", value=file)
        try:
            env |= parse_env_file((base or Path()) / file)
        except SpecError as error:
            raise document.refuse(place, error.wanted, error.value) from None
    own: object = fields.get("env", {})
    if isinstance(own, dict):
        fields["env"] = env | cast("dict[str, Any]", own)


def parse_env_file(path: Path) -> dict[str, str]:
    """`NAME=VALUE` lines; `#` starts a comment line; quotes around a whole value are dropped.

    Raises SpecError.
    """
    try:
        text = _read(path, "env_file")
    except OSError as error:
        said = error.strerror or type(error).__name__
        raise SpecError("env_file", f"want a file to read: {said}", value=str(path)) from None
    except ValueError:  # not UTF-8, or a NUL in the file's name
        raise SpecError("env_file", "want a file of UTF-8 text", value=str(path)) from None
    env: dict[str, str] = {}
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or len(name.split()) != 1:
            wanted = f"want NAME=VALUE on line {number} of {path}"
            raise SpecError("env_file", wanted)  # the line itself may hold a secret
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        env[name.strip()] = value
    return env
