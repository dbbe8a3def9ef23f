"""Which data directories are taken, and how others are refused (S25)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support_cluster import Place
from support_up import run

from warren.wiring.data_dir import default_data_dir


@pytest.mark.parametrize("words", [["up"], ["manager", "run"], ["node", "run"], ["db", "check"]])
def test_data_directory_without_a_name_is_refused(tmp_path: Path, words: list[str]) -> None:
    done = run(*words, "--data-dir", "", cwd=tmp_path)
    said = "warren: --data-dir: '': want a directory such as /var/lib/warren\n"
    assert (done.returncode, done.stderr) == (2, said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [("", "'': want a directory"), ("d\udcff", "'d\\udcff': want UTF-8 text")],
)
def test_data_directory_in_the_environment_is_refused_by_its_own_name(
    given: str, said: str
) -> None:
    done = run("status", env={"WARREN_DATA_DIR": given, "WARREN_ADDR": ""})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"warren: WARREN_DATA_DIR: {said}")


def test_data_directory_is_found_through_a_link_and_may_be_long(tmp_path: Path) -> None:
    place = Place(tmp_path)
    real = tmp_path / ("d" * 120)
    real.mkdir(mode=0o700)
    place.data.symlink_to(real)
    with place.up():
        assert place.ask("node", "ls", "--json").count(place.node) == 1
        place.data.unlink()  # it was followed once, at the start
        assert run("status", "--data-dir", real, env={"WARREN_ADDR": ""}).returncode == 0


@pytest.mark.parametrize("link", ["home", "home/.local", "home/.local/share/warren", "xdg/warren"])
def test_default_data_directory_is_found_through_every_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    below = "home/.local/share/warren"
    if link.startswith("xdg"):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
        below = "xdg/warren"
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / link).symlink_to(real)
    assert default_data_dir() == real / Path(below).relative_to(link)
