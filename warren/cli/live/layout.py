"""The live table as lines of text: values in, lines out, nothing drawn here.

    web 3/3 healthy   flaky 0/1 healthy, 1/1 restarting
    TASK       STATE        READY  RESTARTS  LAST CHECK
    web.1#1    running 12s  yes           0  200 OK, now
    flaky.1#1  backoff 3s   no            4  HTTP 500, want 200-399, 1s ago
      ended 2s ago: liveness probe failed 2 times: HTTP 500, want 200-399
    12:00:01 flaky.1#1 restarting in 4.0s

Invariant: at most `height` lines of at most `width` cells. What does not fit is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.text import Text

from warren.client.phrases import ago, last_sample, one_line, state_of, state_word, why
from warren.model.check import Result
from warren.model.probe import ProbeKind
from warren.model.task import Phase, TaskStatus
from warren.rules.health import Health

GAP = "  "
_TITLES = ("TASK", "STATE", "READY", "RESTARTS")
_WIDEST_STATE = len("running 59m59s")  # fixed, so that nothing moves while ages grow
_STYLES = {
    "running": "green",
    "starting": "yellow",
    "pending": "yellow",
    "backoff": "yellow",
    "stopping": "yellow",
    "complete": "green",
    "failed": "bold red",
    "crashed": "bold red",
}
_KINDS = {
    ProbeKind.STARTUP: "start",
    ProbeKind.LIVENESS: "live",
    ProbeKind.READINESS: "ready",
    ProbeKind.UNKNOWN: "?",
}


class View(NamedTuple):
    """What the table shows. `now` is wall time; `tasks` are those chosen by `chosen`."""

    now: float
    healths: Mapping[str, Health]
    tasks: Sequence[TaskStatus]
    left_out: int = 0
    news: Sequence[str] = ()
    footer: str = ""
    is_stopping: bool = False


def chosen(
    tasks: Sequence[TaskStatus], room: int, *, is_stopping: bool = False
) -> list[TaskStatus]:
    """The tasks to show in so many lines: those with trouble first, in the given order. Once all
    are being stopped, those that still run."""
    lines = [2 if _has_why(task) else 1 for task in tasks]
    if sum(lines) <= room:
        return list(tasks)

    def by_need(i: int) -> tuple[bool, bool, bool, int]:
        return (is_stopping and not _is_there(tasks[i]), tasks[i].ready, lines[i] == 1, i)

    kept = list[int]()
    left = room - 1  # one line says how many are left out
    for index in sorted(range(len(tasks)), key=by_need):
        if lines[index] > left:
            break
        kept.append(index)
        left -= lines[index]
    return [tasks[index] for index in sorted(kept)]


def room_for_tasks(healths: Mapping[str, Health], width: int, height: int, news: int) -> int:
    """How many lines there are for tasks: news gets at most a quarter, besides spare lines."""
    above = len(_header(healths, width, height)) + 2  # a blank line and the titles
    below = min(news, height // 4)
    return max(1, height - above - (below + 1 if below else 0) - 1)


def lines(view: View, width: int, height: int) -> list[Text]:
    """The table, from top to bottom."""
    found = [*_header(view.healths, width, height), Text()]
    found += _table(view, width)
    if view.left_out:
        found.append(Text(f"{GAP}... and {view.left_out} more tasks", style="dim"))
    room = height - len(found) - bool(view.footer)
    news = view.news[-(room - 1) :] if room > 1 else ()
    if news:
        found += [Text(), *(Text(line, style="dim") for line in news)]
    if view.footer:
        found.append(Text(view.footer, style="bold" if view.is_stopping else "dim"))
    for line in found:
        line.truncate(width, overflow="ellipsis")
    return found[:height]


def _header(healths: Mapping[str, Health], width: int, height: int) -> list[Text]:
    if not healths:
        said = "no services yet: `warren service create` or `warren apply` makes one"
        return [Text(said, style="dim")]
    rows = [Text()]
    most = max(1, height // 4)
    for count, (name, health) in enumerate(healths.items()):
        entry = _service(name, health)
        if rows[-1].cell_len and rows[-1].cell_len + 3 + entry.cell_len > width:
            if len(rows) == most:
                rows[-1].append(f"   and {len(healths) - count} more", style="dim")
                break
            rows.append(Text())
        rows[-1].append("   " if rows[-1].cell_len else "").append_text(entry)
    return rows


def _service(name: str, health: Health) -> Text:
    style = "green" if health.is_good else "red" if health.restarting or health.failed else "yellow"
    return Text.assemble((name, "bold"), " ", (str(health), style))


def _table(view: View, width: int) -> list[Text]:
    task = max([len(_TITLES[0]), *(len(str(status.id)) for status in view.tasks)])
    widths = (min(task, width // 3), _WIDEST_STATE, len(_TITLES[2]), len(_TITLES[3]))
    titles = [title.ljust(size) for title, size in zip(_TITLES, widths, strict=True)]
    found = [Text(GAP.join([*titles, "LAST CHECK"]), style="dim")]
    for status in view.tasks:
        found.append(_row(status, view, widths, width))
        reason = why(status, view.now)
        if reason is not None:
            found.append(Text(f"{GAP}{one_line(reason)}", style="dim"))
    return found


def _row(status: TaskStatus, view: View, widths: tuple[int, ...], width: int) -> Text:
    state = state_of(status, view.now, is_stopping=view.is_stopping)
    word = state_word(status, view.now, is_stopping=view.is_stopping)
    row = Text(_cell(str(status.id), widths[0]))
    row.append(GAP).append(_cell(state, widths[1]), style=_STYLES.get(word, ""))
    ready = ("yes", "green") if status.ready else ("no", "red")
    if status.phase is Phase.COMPLETE:
        ready = ("-", "dim")
    row.append(GAP).append(_cell(ready[0], widths[2]), style=ready[1])
    restarts = str(status.restarts).rjust(widths[3])
    row.append(GAP).append(restarts, style="yellow" if status.restarts else "dim").append(GAP)
    return row.append_text(_outcome(status, view.now, width - row.cell_len))


def _outcome(status: TaskStatus, now: float, width: int) -> Text:
    found = last_sample(status)
    if found is None:
        return Text()
    kind, sample = found
    passed = sample.outcome.result is Result.PASS
    when = f", {ago(now - sample.at)}"
    detail = Text(one_line(sample.outcome.detail), style="" if passed else "red")
    named = Text(f"{_KINDS[kind]}: ").append_text(detail)
    if len(status.probes) > 1 and named.cell_len + len(when) <= width:
        detail = named
    detail.truncate(max(width - len(when), 1), overflow="ellipsis")
    return detail.append(when, style="dim")


def _cell(text: str, width: int) -> str:
    return (text if len(text) <= width else text[: width - 1] + "…").ljust(width)


def _is_there(status: TaskStatus) -> bool:
    """Whether any part of it runs."""
    is_stopping = status.phase is Phase.STOPPING
    return is_stopping or (status.instance is not None and not status.phase.is_end)


def _has_why(status: TaskStatus) -> bool:
    return why(status, 0.0) is not None
