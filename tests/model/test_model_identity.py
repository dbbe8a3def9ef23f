"""Names: services, tasks and instances."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.specs import names, tasks
from warren.model.identity import TaskId, instance_id, is_name


@pytest.mark.parametrize("name", ["a", "web", "a1", "a-b", "a--b", "x" * 63])
def test_name_may_be(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "1a",
        "-a",
        "a-",
        "a_b",
        "a.b",
        "a b",
        "a\n",
        "\na",
        "\u00e9",
        "x" * 64,
        "web#1",
        "a/b",
    ],
)
def test_name_may_not_be(name: str) -> None:
    assert not is_name(name)


@given(names)
def test_name_of_the_rules_pattern_is_one(name: str) -> None:
    assert is_name(name)


def test_task_is_written_as_service_slot_and_number() -> None:
    assert str(TaskId("web", 2, 7)) == "web.2#7"
    assert TaskId.parse("web.2#7") == TaskId("web", 2, 7)


@given(tasks)
def test_task_written_and_read_is_the_same(task: TaskId) -> None:
    assert TaskId.parse(str(task)) == task


@pytest.mark.parametrize(
    "text",
    ["", "web", "web.2", "web#7", "web.0#7", "web.2#0", "web.02#7", "web.2#07", "web.-1#1",
     "Web.2#7",
     "web-.2#7", "web.2#7\n", " web.2#7", "web.2#7x", "a.b.2#7", "web.\u0662#7", "x" * 64 + ".1#1",
     "web.2#" + "9" * 5000],
)  # fmt: skip
def test_task_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no task: want SERVICE\.SLOT#NUMBER such as web\.2#7"):
        TaskId.parse(text)


@given(st.text() | st.from_regex(r"[a-z-]{1,3}\.\d{1,2}#\d{1,2}\n?"))
def test_task_of_any_text_reads_back_or_is_refused(text: str) -> None:
    try:
        read = str(TaskId.parse(text))
    except ValueError:
        return
    assert read == text


def test_tasks_are_in_the_order_of_service_slot_and_number() -> None:
    ordered = ["api.1#1", "web.2#7", "web.2#10", "web.10#1"]
    assert [str(task) for task in sorted(map(TaskId.parse, reversed(ordered)))] == ordered


@given(tasks, st.integers(1, 99))
def test_instance_is_named_after_its_task_and_start(task: TaskId, start: int) -> None:
    name = instance_id(task, start, "9f2c41ab")
    assert name == f"{task.service}.{task.slot}-{task.number}.{start}-9f2c41ab"
    assert not set(name) & set("/#\0 \n")
