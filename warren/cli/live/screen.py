"""The live table on a terminal: painted over itself, on change and once a second for the ages.

One write per painting and no erasing before it, so nothing flickers. It stays where it stands,
without the alternate screen: what was last seen remains.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Sequence

import trio
from rich.console import Console
from rich.text import Text

from warren.cli.live.layout import View, chosen, lines, room_for_tasks
from warren.cli.live.reporter import Look
from warren.cli.live.summary import Summary
from warren.cli.live.terminal_echo import Echo
from warren.cli.output_queue import Outlet
from warren.client.phrases import event_line, one_line
from warren.model.event import TaskEvent
from warren.model.identity import TaskId
from warren.model.service import Condition, ServiceSpec
from warren.model.task import TaskStatus

SLOWEST = 1.0  # seconds between paintings: ages
FASTEST = 0.1
NEWS_SHOWN = 6
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"  # show it at once; unknown to old terminals, harmless
_CLEAR_LINE, _CLEAR_BELOW, _CLEAR_ALL = "\x1b[K", "\x1b[J", "\x1b[2J\x1b[H"


class Screen:
    """A `Reporter` that paints. `console` None looks at the terminal."""

    def __init__(self, outlet: Outlet) -> None:
        self._board = Summary()
        self._outlet = outlet
        self._look: Look = lambda task: None
        self._news = deque[str](maxlen=NEWS_SHOWN)
        self._footer = "Ctrl-C stops"
        self._is_stopping = False
        self._is_finished = False
        self._changed = trio.Event()
        self._console = Console(force_terminal=True, highlight=False)
        self._brush = TextStyle()
        self._echo = Echo(1)

    @property
    def closed(self) -> trio.Event:
        return self._outlet.closed

    def note(self, status: TaskStatus, event: TaskEvent) -> None:
        self._board.note(status)
        self.say(event_line(status, event))

    def say(self, line: str) -> None:
        """Show a line below the table for a while."""
        self._news.append(one_line(line))
        self._changed.set()

    def set_service(self, spec: ServiceSpec) -> None:
        runs_once = spec.restart.condition is Condition.NEVER
        self._board.set_service(spec.name, spec.replicas, runs_once=runs_once)
        self._changed.set()

    def drop_service(self, name: str) -> None:
        self._board.drop_service(name)
        self._changed.set()

    def forget(self, task: TaskId) -> None:
        self._board.forget(task)
        self._changed.set()

    def attach(self, look: Look) -> None:
        self._look = look

    def note_stopping(self, message: str) -> None:
        self._is_stopping = True
        self._footer = message
        self._changed.set()

    def finish(self) -> None:
        self._is_finished = True
        self._changed.set()

    async def serve(self) -> None:
        with self._echo.off(last_words=f"\n{_SHOW_CURSOR}"):
            await self._paint()

    async def _paint(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_terminal)
            while not self._is_finished:
                await self._outlet.write(self._brush.paint(self._lines(), *_size()))
                await trio.sleep(FASTEST)
                with trio.move_on_after(SLOWEST - FASTEST):
                    await self._changed.wait()
                self._changed = trio.Event()
            self._footer = ""
            await self._outlet.write(self._brush.finish(self._lines(), *_size()))
            nursery.cancel_scope.cancel()

    def view(self, width: int, height: int) -> View:
        """What there is to show now, chosen to fit."""
        healths = self._board.healths()
        tasks = self._board.tasks()
        room = room_for_tasks(healths, width, height, len(self._news))
        shown = chosen(tasks, room, is_stopping=self._is_stopping)
        return View(
            now=time.time(),
            healths=healths,
            tasks=self._fresh(shown),
            left_out=len(tasks) - len(shown),
            news=tuple(self._news),
            footer=self._footer,
            is_stopping=self._is_stopping,
        )

    def _fresh(self, shown: Sequence[TaskStatus]) -> list[TaskStatus]:
        """The same tasks as they stand now: outcomes of checks are no transitions."""
        return [self._look(old.id) or old for old in shown]

    def _lines(self) -> list[str]:
        width, height = _size()
        view = self.view(width, height)
        return [self._coded(line) for line in lines(view, width, height)]

    def _coded(self, line: Text) -> str:
        with self._console.capture() as capture:
            self._console.print(line, end="", no_wrap=True, crop=False, overflow="ignore")
        return capture.get()

    async def _watch_terminal(self) -> None:
        with trio.open_signal_receiver(signal.SIGWINCH, signal.SIGCONT) as signals:
            async for number in signals:
                if number == signal.SIGCONT:
                    self._brush = TextStyle()  # the shell has written below
                    self._echo.turn_off()
                self._changed.set()


class TextStyle:
    """Knows what stands on the terminal, and paints over it."""

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None
        self._height = 0

    def paint(self, lines: Sequence[str], width: int, height: int) -> str:
        """What to write so that these lines stand where the last ones stood."""
        start = _HIDE_CURSOR if self._size is None else ""
        if self._size not in (None, (width, height)):
            start += _CLEAR_ALL  # the terminal may have broken our lines anew
        elif self._height > 1:
            start += f"\r\x1b[{self._height - 1}A"
        else:
            start += "\r"
        self._size = (width, height)
        self._height = len(lines)
        body = "\n".join(line + _CLEAR_LINE for line in lines)
        return f"{_BEGIN}{start}{body}{_CLEAR_BELOW}{_END}"

    def finish(self, lines: Sequence[str], width: int, height: int) -> str:
        """The last painting, which stays."""
        return f"{self.paint(lines, width, height)}\n{_SHOW_CURSOR}"


def _size() -> tuple[int, int]:
    """Width and height to use: the last column is left free, as a full line may wrap."""
    try:
        size = os.get_terminal_size(1)
    except OSError:
        return 79, 24
    return max(size.columns - 1, 20) if size.columns else 79, max(size.lines, 4) or 24
