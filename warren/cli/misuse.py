"""The command line parser's refusals, in words that say what would be right."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cyclopts import (
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from warren.model.errors import shown
from warren.model.suggest import nearest

_NEGATIVE = re.compile(r"-[\d.]")


def told(error: CycloptsError, arguments: Sequence[str]) -> str:
    """The error as one sentence for people."""
    if isinstance(error, UnknownOptionError):
        return _unknown(error)
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        return _no_command(error, error.unused_tokens[0])
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        command = _command(error)
        wanted = f"want nothing more after {command} (`{command} --help` has what it takes)"
        return f"{shown(error.unused_tokens[0])}: {wanted}"
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        return _missing(error, error.argument.name, arguments)
    return str(error)


def _missing(error: MissingArgumentError, name: str, arguments: Sequence[str]) -> str:
    if error.keyword is None:
        return f"{name}: is missing; want it after {_command(error)}"
    if error.keyword in arguments:
        rest = arguments[arguments.index(error.keyword) + 1 :]
        if rest and _NEGATIVE.match(rest[0]):
            wanted = f"want a value that does not begin with - (or {error.keyword}={rest[0]})"
            return f"{error.keyword}: {shown(rest[0])}: {wanted}"
    return f"{error.keyword}: want a value after it"


def _no_command(error: UnknownCommandError, word: str) -> str:
    """All commands, as the parser's own list ends at eight."""
    known = [name for name in error.app or () if not name.startswith("-")]
    if word.startswith("-"):
        wanted = f"want the command first, and its options after it: warren COMMAND {word} ..."
        return f"{shown(word)}: {wanted}"
    meant = nearest(word, known)
    hint = f"did you mean {meant}? " if meant else ""
    return f"{shown(word)}: no such command; {hint}want one of {', '.join(known)}"


def _command(error: CycloptsError) -> str:
    return " ".join(("warren", *(error.command_chain or ())))


def _unknown(error: UnknownOptionError) -> str:
    """The parser's own hint counts the dashes as a similarity."""
    option = (error.token.keyword or error.token.value).partition("=")[0]
    known = [name for one in error.argument_collection if one.parse for name in one.names]
    meant = nearest(option, known)
    return f"Unknown option: {option}." + (f" Did you mean {meant}?" if meant else "")
