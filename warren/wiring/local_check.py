"""Run a command in a task's context without a task: what an exec check by hand needs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from warren.model.check import Argv
from warren.model.interfaces import CommandResult, RunInContext
from warren.process.choose_tree import choose_trees
from warren.process.command import run_command
from warren.process.context import Context, credentials_of
from warren.process.program_lookup import Found
from warren.process.reaper import Reaper
from warren.process.spawn import Starter
from warren.process.tree import ProcessTree
from warren.rules.environment import DEFAULT_PATH, INHERITED


def run_here(*, cwd: Path, user: str | None, env: Mapping[str, str]) -> RunInContext:
    """A `RunInContext` with the environment a task would get, and `env` on top."""

    async def run(argv: Argv, *, timeout: float, output_limit: int) -> CommandResult:
        reaper = Reaper()
        reaper.prepare()
        # A walk and not a cgroup: it leaves nothing in the file system.
        trees = choose_trees("walk", token="check", reaper=reaper)  # noqa: S106

        def branch() -> ProcessTree:
            return trees.create()

        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        context = Context(
            env={"PATH": DEFAULT_PATH, **inherited, **env},
            cwd=str(cwd),
            credentials=credentials_of(user),
        )
        with closing(Starter()) as starter:
            return await run_command(
                Found(context.resolve(argv)),
                context,
                branch=branch,
                reaper=reaper,
                starter=starter,
                timeout=timeout,
                output_limit=output_limit,
            )

    return run
