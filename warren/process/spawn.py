"""Start programs: gated (instances) or at once (exec checks). Both synchronous, never half done.

    gated:   /bin/sh reads a byte -> [ moved into its tree, written down ] -> byte -> exec
    at once: exec -> moved into its tree -> whoever it forked before that moved too

A gate whose supervisor dies reads end-of-file and exits: a program never runs unrecorded.
The gate costs a second exec (0.5 ms of CPU, as much as the check itself), so checks, which need
no record, go without and their tree closes the race (`Tree.add`).

Descriptors: a program gets 0, 1 and 2, nothing else. It leads its own session.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence

from warren.process.context import Context, cannot_run

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# The gate is the shell's stdin, so that nothing of it is left open in the program. What the shell
# itself puts into the environment is taken out again.
_GATE = 'read -r _ || exit 125; unset {unwanted} _; exec "$@" </dev/null'
_SHELL_OWN = ("PWD", "OLDPWD", "SHLVL")


class Gated:
    """A program that waits at its gate. Exactly one of `open` and `close` must be called."""

    def __init__(self, pid: int, gate: int) -> None:
        self.pid = pid
        self._gate = gate

    def open(self) -> None:
        """Let the program run."""
        try:
            os.write(self._gate, b"\n")
        except BrokenPipeError:  # it was killed at the gate; its end tells
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Shut the gate: if it was not opened, the program never runs."""
        os.close(self._gate)

    def abandon(self) -> None:
        """Shut the gate and reap the shell behind it, which ends at once."""
        self.close()
        os.waitpid(self.pid, 0)


def spawn_gated(argv: Sequence[str], context: Context, *, output: int) -> Gated:
    """Start a resolved argv behind a gate. Raises CannotRunError."""
    unwanted = [name for name in _SHELL_OWN if name not in context.env]
    gate = _GATE.format(unwanted=" ".join(unwanted))
    # A shell drops variables whose name it could not write itself; env(1) brings them back.
    odd = [f"{k}={v}" for k, v in context.env.items() if not _IDENTIFIER.match(k)]
    through_env = ["/usr/bin/env", *odd] if odd else []
    try:
        reader, writer = os.pipe2(os.O_CLOEXEC)
    except OSError as error:
        raise cannot_run(error, argv[0]) from error
    try:
        shell = ["/bin/sh", "-c", gate, "warren-gate", *through_env, *argv]
        pid = _popen(shell, context, stdin=reader, output=output)
    except BaseException:
        os.close(writer)
        raise
    finally:
        os.close(reader)
    return Gated(pid, writer)


def spawn(argv: Sequence[str], context: Context, *, output: int) -> int:
    """Start a resolved argv at once; gives its pid. Raises CannotRunError."""
    return _popen(list(argv), context, stdin=subprocess.DEVNULL, output=output)


def _popen(argv: list[str], context: Context, *, stdin: int, output: int) -> int:
    who = context.credentials
    try:
        process = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=output,
            stderr=output,
            cwd=context.cwd or "/",
            env=context.env,
            start_new_session=True,
            user=None if who is None else who.uid,
            group=None if who is None else who.gid,
            extra_groups=None if who is None else who.groups,
        )
    except OSError as error:
        raise cannot_run(error, argv[0]) from error
    # From here on the pid is watched by pidfd and reaped by its owner, not by this object.
    process.returncode = 0
    return process.pid
