"""What the documents say can be done is what can be done."""

from __future__ import annotations

import configparser
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import warren
from warren.cli import main
from warren.manifest.service_file import FIELDS, load_file, load_text
from warren.model.check_kinds import CHECK_KINDS
from warren.model.container import Ulimit
from warren.model.mount import Mount
from warren.model.probe import Probe
from warren.model.service import Resources, Restart, Stop
from warren.rules.lifecycle import diagram

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def section(title: str) -> str:
    """The text of README.md's section."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.M | re.S)
    assert found, f"README.md has no section {title}"
    return found[1]


def fenced(text: str, language: str) -> list[str]:
    """The code blocks of this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def quick_start() -> list[str]:
    (block,) = fenced(section("Quick start"), "sh")
    return block.splitlines()


def test_quick_start_is_two_command_lines() -> None:
    first, second = quick_start()
    assert first.endswith(".venv/bin/warren up examples/quickstart.yaml")
    assert second.endswith(".venv/bin/python -m pytest -q")


def test_quick_start_needs_neither_ensurepip_nor_root_nor_an_unpinned_package() -> None:
    for line in quick_start():
        assert line.startswith("python3 -m venv --without-pip .venv && python3 -m pip --python ")
        assert " -c constraints.txt " in line
        assert "sudo" not in line


def test_ci_runs_both_commands_as_readme_has_them() -> None:
    reads = re.search(r"^mapfile -t commands < <\((awk .*)\)$", CI, re.M)
    assert reads, "want .ci/run to read its commands from README.md"
    read = subprocess.run(
        ["bash", "-c", reads[1]], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert read.stdout.splitlines() == quick_start()
    assert '"${as_nobody[@]}" "${commands[0]}"' in CI
    assert '"${as_nobody[@]}" "${commands[1]}"' in CI


def test_ci_checks_what_a_developer_checks() -> None:
    assert "just check\n" in CI


def test_readmes_service_files_load() -> None:
    blocks = fenced(README, "yaml")
    assert blocks
    for block in blocks:
        assert load_text(block, base=ROOT)


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.name for path in EXAMPLES])
def test_examples_load(path: Path) -> None:
    assert load_file(path)


QUICK_START = f"""
.venv/bin/warren up --plain {ROOT}/examples/quickstart.yaml >quick.log &
until grep "web: 3/3 healthy" quick.log; do sleep 0.1; done
kill %1; wait %1
"""


@pytest.mark.parametrize("before", ["", QUICK_START], ids=["at first", "after the quick start"])
def test_readmes_commands_run_in_a_clone_that_has_a_venv_and_no_more(
    tmp_path: Path, before: str
) -> None:
    # The other one wants an engine: tests/scenarios/test_scenarios_engines.py asks for the like.
    block, _ = fenced(section("By command"), "sh")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    path = os.pathsep.join(
        folder for folder in os.defpath.split(os.pathsep) if not (Path(folder) / "warren").exists()
    )
    said = run_in_bash(f"set -o monitor\n{before}\n{block}\nwait %1", tmp_path, PATH=path)
    assert "Health: 3/3 healthy" in said
    assert "hello: removed" in said
    assert ("flaky" in said) == bool(before)  # its services are there again


def test_operations_commands_run(tmp_path: Path) -> None:
    block = next(one for one in fenced(OPERATIONS, "sh") if "warren db" in one)
    block = block.replace("/backup/", f"{tmp_path}/")
    until = "until warren status; do sleep 0.1; done"
    run_in_bash(f"set -o monitor\nwarren up & {until}\n{block}\nkill %1; wait %1", tmp_path)
    assert (tmp_path / "warren.sqlite").exists()


def units() -> dict[str, str]:
    """The units of docs/operations.md, by their files' names."""
    (block,) = fenced(OPERATIONS, "ini")
    _, *parts = re.split(r"^# /etc/systemd/system/(\S+)$", block, flags=re.M)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_units_are_enabled_and_run_what_was_installed() -> None:
    install, enable = (
        next(one for one in fenced(OPERATIONS, "sh") if word in one)
        for word in ("pip", "systemctl")
    )
    to_opt = quick_start()[0].replace(".venv", "/opt/warren").split(" && ")[:2]
    assert install.splitlines()[:2] == to_opt
    for name, text in units().items():
        parser = configparser.ConfigParser(strict=True, interpolation=None)
        parser.read_string(text)
        assert parser["Install"]["WantedBy"] == "multi-user.target"
        program, *words = parser["Service"]["ExecStart"].split()
        assert program == "/opt/warren/bin/warren"
        assert main([*words, "--help"]) == 0
        assert name.removesuffix(".service") in enable.split()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_units_are_what_systemd_takes(tmp_path: Path) -> None:
    files = [tmp_path / name for name in units()]
    for file, text in zip(files, units().values(), strict=True):
        here = text.replace("/opt/warren/bin/warren", shutil.which("true") or "")
        file.write_text(here, encoding="utf-8")
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True
    )
    about_ours = [line for line in said.stderr.splitlines() if "warren" in line]
    assert (said.returncode, about_ours) == (0, [])


def run_in_bash(script: str, directory: Path, **more: str) -> str:
    """What the script says, which must succeed; `warren` is this one, its data in the directory."""
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "WARREN_DATA_DIR": str(directory),
        **more,
    }
    said = subprocess.run(
        ["bash", "-euc", f"trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}"],
        cwd=directory, env=env, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout


def test_readmes_library_example_runs(tmp_path: Path) -> None:
    (block,) = fenced(section("As a library"), "python")
    script = tmp_path / "example.py"
    script.write_text(block, encoding="utf-8")
    said = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, timeout=60
    )
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    assert lines[0] == "2/2 healthy"
    for task in ("web.1#1", "web.2#1"):
        for said in ("ready", "stopped: scaled down to 0"):
            assert lines.count(f"{task} {said}") == 1


LIBRARY = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", fenced(LIBRARY, "python"), ids=["all methods", "signals"])
def test_librarys_examples_run_and_print_what_they_say(tmp_path: Path, block: str) -> None:
    script = tmp_path / "example.py"
    script.write_text(block, encoding="utf-8")
    said = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, timeout=90
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines() == re.findall(r"^ *print\(.*\)  # (.*)$", block, re.M)


def test_librarys_page_names_every_method_option_and_error() -> None:
    options = inspect.signature(warren.open_supervisor).parameters
    public = [
        name
        for kind in (warren.Supervisor, warren.Service)
        for name in dir(kind)
        if not name.startswith("_")
    ]
    words = [*options, *public, *(name for name in warren.__all__ if not name.startswith("_"))]
    assert not [word for word in words if not re.search(rf"`[^`\n]*\b{word}\b[^`\n]*`", LIBRARY)]


def test_diagram_of_a_tasks_life_is_the_tables() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    assert fenced(text, "mermaid") == [diagram()]


PARTS = (Restart, Stop, Resources, Mount, Ulimit)


def test_every_field_of_the_service_file_is_documented() -> None:
    text = (ROOT / "docs" / "service-file.md").read_text("utf-8")
    known: set[str] = {*FIELDS}
    for part in (Probe, *(kind.asks for kind in CHECK_KINDS), *PARTS):
        known.update(part.__struct_fields__)
    assert not [field for field in sorted(known) if f"`{field}`" not in text]


def test_links_between_documents_lead_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    dead = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in documents
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text("utf-8"))
        if not (document.parent / target).exists()
    ]
    assert not dead
