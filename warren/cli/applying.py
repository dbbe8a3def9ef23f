"""`warren apply`: make what a service file says so."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from warren.cli.client import ask
from warren.cli.edit import HERE, NO_WAIT, Wait, wait_for
from warren.cli.options import SWITCH, AsJson, Where
from warren.cli.out import put
from warren.model.errors import SpecError
from warren.model.view import Action

if TYPE_CHECKING:
    from warren.model.link import Cluster
    from warren.model.service import ServiceSpec
    from warren.model.view import Applied

_LONGEST_FILE = 64 << 20  # characters of standard input


def apply(
    *,
    file: Annotated[str, Parameter(name=["--file", "-f"], allow_leading_hyphen=True)],
    dry_run: Annotated[bool, SWITCH] = False,
    prune: Annotated[bool, SWITCH] = False,
    as_json: AsJson = False,
    wait: Wait = NO_WAIT,
    where: Where = HERE,
) -> int:
    """Make the services of a file so.

    Parameters
    ----------
    file
        The service file, or - for standard input.
    dry_run
        Only say what would be done.
    prune
        Remove every service that is not in the file.
    """
    if dry_run and wait.wait:
        raise SpecError("--wait", "want either this or --dry-run")
    specs, seconds = _read(file), wait.seconds

    async def question(cluster: Cluster) -> int:
        parts = await cluster.apply(specs, prune=prune, dry_run=dry_run)
        if as_json:
            from warren.cli import shapes

            put([shapes.text(shapes.applied(parts))])
        else:
            put(_said(part, dry_run=dry_run) for part in parts)
        return 0

    status = ask(where, question)
    if status or not wait.wait:
        return status
    return wait_for(where, [spec.name for spec in specs], seconds, aside=as_json)


def _read(file: str) -> list[ServiceSpec]:
    from warren.model.specfile import load_file, load_text

    if file != "-":
        return load_file(Path(file))
    try:
        text = sys.stdin.read(_LONGEST_FILE + 1)
    except UnicodeDecodeError:
        raise SpecError("file", "want UTF-8 text", source="(standard input)") from None
    if len(text) > _LONGEST_FILE:
        raise SpecError("file", "want at most 64 MiB", source="(standard input)")
    return load_text(text, base=Path.cwd(), source="(standard input)")


def _said(part: Applied, *, dry_run: bool) -> str:
    would = "would be " if dry_run and part.action is not Action.UNCHANGED else ""
    return f"{part.service}: {would}{part.action.value}"
