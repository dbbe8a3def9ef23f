"""What the parser of the command line refuses, in words that say what would be right."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cyclopts import CycloptsError, MissingArgumentError, UnknownOptionError

from warren.model.errors import shown
from warren.model.near import nearest

_NEGATIVE = re.compile(r"-[\d.]")


def told(error: CycloptsError, arguments: Sequence[str]) -> str:
    """The error as one sentence for people."""
    if isinstance(error, UnknownOptionError):
        return _unknown(error)
    if isinstance(error, MissingArgumentError) and error.keyword in arguments:
        rest = arguments[arguments.index(error.keyword) + 1 :]
        if rest and _NEGATIVE.match(rest[0]):
            wanted = f"want a value that does not begin with - (or {error.keyword}={rest[0]})"
            return f"{error.keyword}: {shown(rest[0])}: {wanted}"
    return str(error)


def _unknown(error: UnknownOptionError) -> str:
    """The parser's own hint takes the dashes for a likeness."""
    option = (error.token.keyword or error.token.value).partition("=")[0]
    known = [name for one in error.argument_collection if one.parse for name in one.names]
    meant = nearest(option, known)
    return f"Unknown option: {option}." + (f" Did you mean {meant}?" if meant else "")
