"""`warren apply`: make services match a service file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from warren.cli.answers import put
from warren.cli.asking import ask
from warren.cli.commands.service import HERE, NO_WAIT, Wait, wait_for, warn
from warren.cli.options.common import SERVICE_FILE, SWITCH, AsJson, Where
from warren.model.errors import SpecError
from warren.model.view import Action

if TYPE_CHECKING:
    from warren.model.rpc import Cluster
    from warren.model.service import ServiceSpec
    from warren.model.view import Applied


_NO_FILE = (
    f"there is no {SERVICE_FILE} here; want the service file, such as: apply path/to/{SERVICE_FILE}"
)


def apply(
    path: Annotated[
        str | None, Parameter(name="FILE", allow_leading_hyphen=True, show_default=False)
    ] = None,
    /,
    *,
    file: Annotated[
        str | None,
        Parameter(name=["--file", "-f"], allow_leading_hyphen=True, show_default=False),
    ] = None,
    dry_run: Annotated[bool, SWITCH] = False,
    prune: Annotated[bool, SWITCH] = False,
    as_json: AsJson = False,
    wait: Wait = NO_WAIT,
    where: Where = HERE,
) -> int:
    """Make services match a file.

    Parameters
    ----------
    path
        The service file, or - for standard input [default: warren.yaml, where there is one].
    file
        The same, as an option.
    dry_run
        Only print what would be done.
    prune
        Remove every service that is not in the file; with `services: {}`, all there are.
    """
    if dry_run and wait.wait:
        raise SpecError("--wait", "want either this or --dry-run")
    specs, seconds = _read(_chosen(path, file), may_be_empty=prune), wait.seconds
    wait.check(*specs)

    async def question(cluster: Cluster) -> int:
        parts = await cluster.apply(specs, prune=prune, dry_run=dry_run)
        if as_json:
            from warren.cli.render import to_json

            put([to_json.text(to_json.applied(parts))])
        else:
            put(_said(part, dry_run=dry_run) for part in parts)
        warn(*specs)
        return 0

    status = ask(where, question)
    if status or not wait.wait:
        return status
    names = [spec.name for spec in specs]
    return wait_for(where, names, seconds, aside=as_json, hands_on=wait.exit_code)


def _chosen(path: str | None, file: str | None) -> str:
    if path is not None and file is not None:
        raise SpecError("FILE", "want either FILE or --file, not both")
    chosen = file if path is None else path
    if chosen is None and SERVICE_FILE.exists():
        return str(SERVICE_FILE)
    if chosen is None:
        raise SpecError("FILE", _NO_FILE)
    return chosen


def _read(file: str, *, may_be_empty: bool) -> list[ServiceSpec]:
    from warren.manifest.service_file import LONGEST_FILE, TOO_LONG, load_file, load_text
    from warren.rules.admission import admit

    if file != "-":
        return load_file(Path(file), may_be_empty=may_be_empty, admit=admit)
    try:
        text = sys.stdin.read(LONGEST_FILE + 1)
        length = len(text.encode())
    except UnicodeError:
        raise SpecError("file", "want UTF-8 text", source="(standard input)") from None
    if length > LONGEST_FILE:
        raise SpecError("file", TOO_LONG, source="(standard input)")
    return load_text(
        text,
        base=Path.cwd(),
        source="(standard input)",
        may_be_empty=may_be_empty,
        admit=admit,
    )


def _said(part: Applied, *, dry_run: bool) -> str:
    would = "would be " if dry_run and part.action is not Action.UNCHANGED else ""
    return f"{part.service}: {would}{part.action.value}"
