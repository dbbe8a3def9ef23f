"""The echo of a terminal that is painted on: typed characters would tear the painting.

Invariants: it is off only inside the block and comes back however that is left, by a Ctrl-\\ too;
and nothing is set on a terminal of another job: the attempt would stop the process (SIGTTOU).
SIGKILL leaves it off; shells reset their terminal after a job that was killed.
"""

from __future__ import annotations

import os
import termios
from collections.abc import Generator
from contextlib import contextmanager, suppress

from warren.process.before_quit import before_quit

_LOCAL = 3  # where in a terminal's attributes its local modes are


class Echo:
    """That of the terminal behind a descriptor, if there is one."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._was_on = False

    @contextmanager
    def off(self, last_words: str) -> Generator[None, None, None]:
        """None inside the block. `last_words` are written before a Ctrl-\\ ends the process."""

        def end() -> None:
            self._restore()
            with suppress(OSError):
                os.write(self._descriptor, last_words.encode())

        with before_quit(end):
            self.turn_off()
            try:
                yield
            finally:
                self._restore()

    def turn_off(self) -> None:
        """Once more where the process was stopped: the shell has set the terminal meanwhile."""
        self._was_on = self._set(on=False) or self._was_on

    def _restore(self) -> None:
        if self._was_on:
            self._set(on=True)

    def _set(self, *, on: bool) -> bool:
        """Whether that has changed anything."""
        try:
            if os.tcgetpgrp(self._descriptor) != os.getpgrp():
                return False
            modes = termios.tcgetattr(self._descriptor)
            if bool(modes[_LOCAL] & termios.ECHO) == on:
                return False
            modes[_LOCAL] ^= termios.ECHO
            # Now: to wait until the output is written could take for ever, after a Ctrl-S.
            termios.tcsetattr(self._descriptor, termios.TCSANOW, modes)
        except (OSError, termios.error):  # no terminal, or one that is closed
            return False
        return True
