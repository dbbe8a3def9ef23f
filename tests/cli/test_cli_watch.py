"""`service ps --watch`, and the example of docs/protocol.md, against a real `up`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from support_up import PATIENCE, Command, unique

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def name() -> str:
    return unique("web")


@pytest.fixture
def env(tmp_path: Path, name: str) -> Generator[dict[str, str]]:
    """Of commands; a service of one task is running."""
    tmp_path.chmod(0o700)
    file = tmp_path / "warren.yaml"
    file.write_text(f"services: {{{name}: {{command: [sleep, '1000']}}}}", encoding="utf-8")
    with Command("up", file, "--data-dir", tmp_path / "data", "--plain") as up:
        up.wait_for(f"{name}: 1/1 healthy")
        yield {"WARREN_ADDR": f"unix:{tmp_path}/data/warren.sock"}
        up.process.terminate()
        up.process.wait(PATIENCE)


def warren(env: dict[str, str], *words: str) -> None:
    with Command(*words, env=env) as command:
        assert command.process.wait(PATIENCE) == 0, command.errors


def test_watch_prints_the_tasks_that_change_until_the_service_is_removed(
    env: dict[str, str], name: str
) -> None:
    with Command("service", "ps", name, "--watch", env=env) as watch:
        assert watch.read_until("TASK").split()[:3] == ["TASK", "NODE", "STATE"]
        assert watch.read_until(f"{name}.1#1").split()[4] == "yes"
        warren(env, "service", "scale", name, "2")
        watch.read_until(lambda line: line.startswith(f"{name}.2#1") and " yes " in line)
        warren(env, "service", "scale", name, "1")
        watch.read_until(lambda line: line.split() == [f"{name}.2", "gone"])
        warren(env, "service", "rm", name)
        assert watch.process.wait(PATIENCE) == 0
        assert watch.errors == f"{name}: removed\n"


def test_watch_prints_a_line_of_json_for_each(env: dict[str, str], name: str) -> None:
    with Command("service", "ps", name, "--watch", "--json", env=env) as watch:
        first = json.loads(watch.read_until("{"))
        assert (first["id"], first["ready"]) == (f"{name}.1#1", True)
        warren(env, "service", "scale", name, "0")
        gone = json.loads(watch.read_until('"gone"'))
        assert gone == {"service": name, "slot": 1, "gone": True}


def test_watch_of_no_service_and_beside_all_is_refused(env: dict[str, str], name: str) -> None:
    for words, status, said in (
        ([unique("nope"), "--watch"], 3, "no such service"),
        ([name, "--watch", "--all"], 2, "--watch: cannot be given beside --all"),
    ):
        with Command("service", "ps", *words, env=env) as command:
            assert command.process.wait(PATIENCE) == status
            assert said in command.errors


def test_example_of_the_protocol_page_prints_what_is_ready(env: dict[str, str], name: str) -> None:
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    example = page.partition("```python\n")[2].partition("```")[0]
    text = example.replace("unix:/var/lib/warren/warren.sock", env["WARREN_ADDR"])
    text = text.replace('"web"', f'"{name}"')
    with subprocess.Popen(
        [sys.executable, "-u", "-c", text], stdout=subprocess.PIPE, text=True
    ) as ran:
        assert ran.stdout is not None
        assert ran.stdout.readline() == f"['{name}.1#1']\n"
        ran.kill()
