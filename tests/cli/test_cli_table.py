"""The table, the board and the words: values in, text out."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.cli.live.layout import View, chosen, lines, room_for_tasks
from warren.cli.live.screen import TextStyle
from warren.cli.live.summary import Summary
from warren.client.phrases import (
    ago,
    event_json,
    event_line,
    last_sample,
    one_line,
    span,
    state_of,
    state_word,
    why,
)
from warren.model.check import Outcome, Result, Sample
from warren.model.event import EventFacts, EventKind, TaskEvent
from warren.model.identity import TaskId
from warren.model.probe import ProbeKind, Verdict
from warren.model.task import End, Instance, Phase, ProbeStatus, Reason, TaskStatus
from warren.rules.health import Health

NOW = 1_000_000.0
WEB = TaskId("web", 1, 1)
CRASH = End(reason=Reason.EXITED, message="exited with code 3", at=NOW - 5, exit_code=3)


def status(task: TaskId = WEB, phase: Phase = Phase.RUNNING, **more: object) -> TaskStatus:
    return msgspec.structs.replace(TaskStatus(id=task, phase=phase), **more)


def running(task: TaskId = WEB, *, since: float = 12, ready: bool = True) -> TaskStatus:
    instance = Instance(id="web.1-1.1-ab", task=task, pid=7, started_at=NOW - since)
    return status(task, instance=instance, ready=ready)


def probed(*outcomes: tuple[ProbeKind, Result, str, float]) -> TaskStatus:
    probes = {
        kind: ProbeStatus(
            verdict=Verdict.HEALTHY, last=Sample(NOW - age, Outcome(result, detail, 0.1))
        )
        for kind, result, detail, age in outcomes
    }
    return msgspec.structs.replace(running(), probes=probes)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (status(phase=Phase.PENDING), "pending"),
        (status(phase=Phase.PENDING, pending_reason="port http: 80 is taken"), "pending"),
        (status(phase=Phase.STARTING), "starting"),
        (running(), "running 12s"),
        (msgspec.structs.replace(running(since=-3), phase=Phase.STARTING), "starting 0s"),
        (status(restart_at=NOW + 2.5), "backoff 3s"),
        (status(restart_at=NOW - 1), "starting"),
        (status(), "starting"),
        (status(phase=Phase.STOPPING), "stopping"),
        (status(phase=Phase.COMPLETE), "complete"),
        (status(phase=Phase.FAILED, restart_at=NOW + 9), "failed"),
        (status(phase=Phase.CRASHED), "crashed"),
        (msgspec.structs.replace(running(), phase=Phase.UNKNOWN), "unknown"),
    ],
)
def test_state_says_where_a_task_stands(task: TaskStatus, said: str) -> None:
    assert state_of(task, NOW) == said


def test_state_of_a_task_kept_for_the_next_supervisor_is_stopped() -> None:
    assert state_of(status(restart_at=NOW + 9), NOW, is_stopping=True) == "stopped"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0s"),
        (0.9, "0s"),
        (59.9, "59s"),
        (61, "1m01s"),
        (3600, "1h00m"),
        (86_400 * 3 + 7200, "3d02h"),
    ],
)
def test_span_has_at_most_two_units(seconds: float, said: str) -> None:
    assert span(seconds) == said
    assert ago(seconds) == ("now" if seconds < 1 else f"{said} ago")


def test_last_sample_prefers_what_did_not_pass() -> None:
    bad = (ProbeKind.READINESS, Result.FAIL, "HTTP 500", 9.0)
    good = (ProbeKind.LIVENESS, Result.PASS, "200 OK", 1.0)
    found = last_sample(probed(good, bad))
    assert found is not None
    assert (found[0], found[1].outcome.detail) == (ProbeKind.READINESS, "HTTP 500")
    assert last_sample(running()) is None


def test_why_prefers_what_is_wrong_now() -> None:
    assert why(running(), NOW) is None
    crashed = status(last_end=CRASH)
    assert why(crashed, NOW) == "ended 5s ago: exited with code 3"
    asked = msgspec.structs.replace(CRASH, reason=Reason.STOP_ASKED)
    assert why(status(last_end=asked), NOW) is None
    broken = ProbeStatus(verdict=Verdict.HEALTHY, warning="the liveness check cannot run: x")
    warned = msgspec.structs.replace(crashed, probes={ProbeKind.LIVENESS: broken})
    assert why(warned, NOW) == "the liveness check cannot run: x"
    queued = ProbeStatus(verdict=Verdict.HEALTHY, waited=3.5, longest_wait=3.5)  # S10
    queues = msgspec.structs.replace(crashed, probes={ProbeKind.READINESS: queued})
    assert why(queues, NOW) == "the readiness check has waited 3s for a place"
    failed = probed((ProbeKind.LIVENESS, Result.FAIL, "HTTP 500", 9.0))
    verdict = msgspec.structs.replace(failed.probes[ProbeKind.LIVENESS], verdict=Verdict.UNHEALTHY)
    ending = msgspec.structs.replace(failed, probes={ProbeKind.LIVENESS: verdict})
    assert why(ending, NOW) == "the liveness probe has failed: HTTP 500; it is being stopped"
    assert (state_word(ending, NOW), state_of(ending, NOW)) == ("stopping", "stopping")
    waiting = msgspec.structs.replace(warned, pending_reason="port http: 80 is taken")
    assert why(waiting, NOW) == "pending: port http: 80 is taken"


@pytest.mark.parametrize(
    ("kind", "message", "said"),
    [
        (EventKind.READY, "ready", "ready"),
        (EventKind.STARTED, "started, pid 7", "started, pid 7"),
        (EventKind.PENDING, "pending: no port", "pending: no port"),
        (EventKind.UNREADY, "not ready: x", "not ready: x"),
        (EventKind.PROBE_WARNING, "cannot run", "probe warning: cannot run"),
        (EventKind.PROBE_FAILED, "liveness probe failed once: x", "liveness probe failed once: x"),
        (EventKind.UNKNOWN, "paused, by hand", "unknown: paused, by hand"),
        (EventKind.STOPPING, "asked", "stopping: asked"),
        (EventKind.FINISHED, "stopped: asked", "stopped: asked"),
    ],
)
def test_event_line_says_what_happened(kind: EventKind, message: str, said: str) -> None:
    event = TaskEvent(at=NOW, task=WEB, kind=kind, message=message)
    line = event_line(running(), event)
    assert line[8:] == f" web.1#1 {said}"


@pytest.mark.parametrize(
    ("ended", "restart_in", "said"),
    [
        ("a; b", 1.0, "restarting in 1.0s: a; b"),
        ("code 3; restarting", None, "restarting: code 3; restarting"),
        (None, None, "restarting"),  # its end is not known
    ],
)
def test_event_line_of_a_restart_is_made_of_its_facts(
    ended: str | None, restart_in: float | None, said: str
) -> None:
    end = None if ended is None else End(reason=Reason.EXITED, message=ended, at=NOW)
    facts = EventFacts(restart_in=restart_in)
    event = TaskEvent(at=NOW, task=WEB, kind=EventKind.RESTARTING, message="x; y", facts=facts)
    assert event_line(status(last_end=end), event)[8:] == f" web.1#1 {said}"


def test_event_line_of_an_end_has_its_own_word() -> None:
    event = TaskEvent(at=NOW, task=WEB, kind=EventKind.FINISHED, message="failed: code 3")
    assert event_line(status(phase=Phase.FAILED), event).endswith("web.1#1 failed: code 3")


def test_event_json_is_one_line_whatever_was_printed() -> None:
    event = TaskEvent(at=1.5, task=WEB, kind=EventKind.UNREADY, message="a\n\x1b[2J")
    text = event_json(running(), event, None)
    row = json.loads(text)
    assert "\n" not in text
    assert row["at"] == "1970-01-01T00:00:01.500+00:00"
    assert (row["message"], row["pid"], row["health"]) == ("a\n\x1b[2J", 7, None)


@given(st.text())
def test_one_line_steers_no_terminal(text: str) -> None:
    assert one_line(text).isprintable()


def web(slot: int, **more: object) -> TaskStatus:
    return msgspec.structs.replace(status(TaskId("web", slot, 1)), **more)


def test_board_counts_the_newest_task_of_every_slot() -> None:
    board = Summary()
    board.set_service("web", 2)
    assert str(board.health("web")) == "0/2 healthy"
    board.note(web(1, ready=True))
    board.note(web(2, last_end=CRASH))
    board.note(web(3, ready=True))
    board.forget(web(3).id)  # no longer wanted
    board.forget(web(3).id)
    board.note(status(TaskId("gone", 1, 1), ready=True))
    assert str(board.health("web")) == "1/2 healthy, 1/2 restarting"
    board.note(status(TaskId("web", 2, 2), ready=True))
    board.note(web(2, phase=Phase.FAILED))  # late news of the one before
    assert board.healths() == {"web": Health(2, 2, 0)}
    assert [str(task.id) for task in board.tasks()] == ["web.1#1", "web.2#2"]
    board.note(web(1, phase=Phase.COMPLETE))
    assert str(board.health("web")) == "1/2 healthy, 1/2 complete"
    board.note(web(1, ready=True))
    assert board.health("gone") is None
    board.set_service("web", 3)
    assert str(board.health("web")) == "2/3 healthy"
    board.drop_service("web")
    assert board.healths() == {}


def test_board_counts_as_failed_what_nothing_follows() -> None:
    board = Summary()
    board.set_service("web", 2, runs_once=True)
    board.note(web(1, phase=Phase.FAILED, last_end=CRASH))
    board.note(web(2, phase=Phase.CRASHED))
    assert str(board.health("web")) == "0/2 healthy, 2/2 failed"
    board.set_service("web", 2)  # others follow now
    assert str(board.health("web")) == "0/2 healthy"


def test_table_shows_trouble_first_when_there_is_no_room() -> None:
    tasks = [msgspec.structs.replace(web(slot), ready=slot != 8) for slot in range(1, 10)]
    tasks[4] = msgspec.structs.replace(tasks[4], last_end=CRASH)
    assert [t.id.slot for t in chosen(tasks, 20)] == list(range(1, 10))
    assert [t.id.slot for t in chosen(tasks, 5)] == [1, 5, 8]
    assert [t.id.slot for t in chosen(tasks, 2)] == [8]


def test_table_shows_what_still_runs_first_while_all_stops() -> None:
    ends: dict[str, object] = {"phase": Phase.STOPPED, "last_end": CRASH}
    tasks = [web(slot, **ends) for slot in range(1, 30)]
    tasks[20] = running(tasks[20].id)
    tasks[25] = web(26, phase=Phase.STOPPING)
    tasks[27] = web(28)  # kept for the next supervisor: nothing of it runs
    assert [t.id.slot for t in chosen(tasks, 7)] == [1, 2, 3]
    assert [t.id.slot for t in chosen(tasks, 3, is_stopping=True)] == [21, 26]
    assert [t.id.slot for t in chosen(tasks, 7, is_stopping=True)] == [1, 2, 21, 26]


def test_table_says_which_probe_an_outcome_is_of_where_there_are_several() -> None:
    def row(*outcomes: tuple[ProbeKind, Result, str, float]) -> str:
        return lines(View(NOW, {"web": Health(1, 1, 0)}, [probed(*outcomes)]), 79, 24)[3].plain

    live = (ProbeKind.LIVENESS, Result.PASS, "200 OK", 0.0)
    ready = (ProbeKind.READINESS, Result.FAIL, "HTTP 500", 3.0)
    long = (ProbeKind.READINESS, Result.FAIL, "x" * 29, 3.0)
    assert row(live).endswith("  200 OK, now")
    assert row(live, ready).endswith("  ready: HTTP 500, 3s ago")
    assert row(live, long).endswith(f"  {'x' * 29}, 3s ago")  # it would not fit


@given(
    tasks=st.integers(0, 60),
    services=st.integers(1, 40),
    width=st.integers(20, 200),
    height=st.integers(4, 60),
    news=st.integers(0, 6),
)
def test_table_never_leaves_its_place(
    tasks: int, services: int, width: int, height: int, news: int
) -> None:
    healths = {f"service-{number}": Health(1, 2, number % 2) for number in range(services)}
    every = [
        msgspec.structs.replace(web(slot), last_end=CRASH if slot % 3 else None)
        for slot in range(1, tasks + 1)
    ]
    shown = chosen(every, room_for_tasks(healths, width, height, news))
    view = View(NOW, healths, shown, len(every) - len(shown), ["12:00:01 news" * 9] * news, "foot")
    drawn = lines(view, width, height)
    assert len(drawn) <= height
    assert all(line.cell_len <= width for line in drawn)
    if services <= 3 and height >= 12 and width >= 80:
        assert drawn[-1].plain == "foot"
        left_out = [line for line in drawn if "more task" in line.plain]
        assert bool(left_out) == (len(shown) < len(every))


def test_table_keeps_the_age_of_a_long_outcome() -> None:
    task = probed((ProbeKind.LIVENESS, Result.FAIL, "x" * 300, 65.0))
    row = lines(View(NOW, {"web": Health(0, 1, 0)}, [task]), 79, 24)[3]
    assert row.plain.endswith("x…, 1m05s ago")
    assert row.cell_len == 79


def test_brush_paints_over_what_stands_and_anew_on_another_size() -> None:
    brush = TextStyle()
    first = brush.paint(["a", "b", "c"], 80, 24)
    assert first == "\x1b[?2026h\x1b[?25l\ra\x1b[K\nb\x1b[K\nc\x1b[K\x1b[J\x1b[?2026l"
    assert brush.paint(["d"], 80, 24) == "\x1b[?2026h\r\x1b[2Ad\x1b[K\x1b[J\x1b[?2026l"
    assert brush.paint(["e"], 70, 24) == "\x1b[?2026h\x1b[2J\x1b[He\x1b[K\x1b[J\x1b[?2026l"
    assert brush.finish(["f"], 70, 24).endswith("f\x1b[K\x1b[J\x1b[?2026l\n\x1b[?25h")
