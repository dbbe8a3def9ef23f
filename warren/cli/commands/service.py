"""`warren service create|update|scale|restart|rm`: what changes a service, and waiting for it."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from warren.cli.answers import put, put_now
from warren.cli.asking import LateError, ask, say
from warren.cli.options.command_line import command_after_dashes
from warren.cli.options.common import SWITCH, Where
from warren.cli.options.probe_flags import count, duration
from warren.cli.options.service_flags import RemovalFlags, ServiceChanges, ServiceFlags
from warren.cli.options.service_spec import (
    CallerContext,
    changed_spec,
    in_options,
    is_nothing,
    new_spec,
)
from warren.model.duration import Duration
from warren.model.errors import ConflictError, InvalidError, SpecError, shown
from warren.model.mount import MountType

if TYPE_CHECKING:
    from warren.model.rpc import Cluster
    from warren.model.service import ServiceSpec
    from warren.model.view import ServiceView

TRIES = 5  # of an update that others overtake

HERE = Where()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Wait:
    """Whether to wait.

    Parameters
    ----------
    wait
        Wait until it is healthy; a job (--restart on-failure or never, and no probe that says when
        it is ready), until it is complete or has failed for good. Under on-failure that never
        happens, however often it fails, as a failed task is replaced.
    timeout
        Give up waiting after this long, and fail.
    exit_code
        With --wait: exit with the exit code of the failed job instead of 1.
    """

    wait: Annotated[bool, SWITCH] = False
    timeout: Annotated[str | None, Parameter(metavar="DURATION")] = None
    exit_code: Annotated[bool, SWITCH] = False

    def check(self, *specs: ServiceSpec) -> None:
        """Refuse to return the exit code of a service that is not a job. Raises SpecError."""
        from warren.rules.health import is_job

        if self.exit_code and not any(map(is_job, specs)):
            wanted = "want a job: restart on-failure or never, and no probe that says it is ready"
            raise SpecError("--exit-code", wanted)

    @property
    def seconds(self) -> float | None:
        """How long to wait at most. Raises SpecError."""
        if self.exit_code and not self.wait:
            raise SpecError("--exit-code", "want --wait with it")
        if self.timeout is None:
            return None
        if not self.wait:
            raise SpecError("--timeout", "want --wait with it", value=self.timeout)
        return duration("--timeout", self.timeout)


NO_WAIT = Wait()
NO_FLAGS = ServiceFlags()
NO_CHANGES = ServiceChanges()
NO_REMOVALS = RemovalFlags()


def create(
    name: str,
    /,
    *command: str,
    flags: ServiceFlags = NO_FLAGS,
    wait: Wait = NO_WAIT,
    where: Where = HERE,
) -> int:
    """Create a service: a command under probes, with any number of replicas.

    Parameters
    ----------
    name
        Of a-z, 0-9 and '-'.
    command
        After `--`: the program and its arguments, or those of an --image. No shell runs it.
        $(NAME) becomes the value of that variable, and $$ becomes $: for the $$ of a shell write
        $$$$.
    """
    spec = new_spec(name, command_after_dashes(command), flags, _here())
    seconds = wait.seconds
    wait.check(spec)

    async def question(cluster: Cluster) -> int:
        with _option_names(name):
            await cluster.create(spec)
        put([f"{name}: created"])
        warn(spec)
        return 0

    return ask(where, question) or _then(where, name, wait, seconds)


def update(
    name: str,
    /,
    *command: str,
    flags: ServiceChanges = NO_CHANGES,
    removals: RemovalFlags = NO_REMOVALS,
    wait: Wait = NO_WAIT,
    where: Where = HERE,
) -> int:
    """Change the given fields of a service, and nothing else.

    Parameters
    ----------
    name
        The service.
    command
        After `--`: another command, or other arguments of an image.
    """
    words = command_after_dashes(command)
    if is_nothing(words, flags, removals):
        raise SpecError("update", "want something to change, such as --replicas 3 or --env K=V")
    around, seconds = _here(), wait.seconds

    def change(spec: ServiceSpec) -> ServiceSpec:
        changed = changed_spec(spec, words, flags, removals, around)
        wait.check(changed)
        return changed

    async def question(cluster: Cluster) -> int:
        with _option_names(name):
            old, new = await _update(cluster, name, change)
        put([f"{name}: {'unchanged' if new.version == old.version else 'updated'}"])
        warn(new.spec)
        return 0

    return ask(where, question) or _then(where, name, wait, seconds)


def scale(name: str, replicas: str, /, *, wait: Wait = NO_WAIT, where: Where = HERE) -> int:
    """Change the number of replicas.

    Parameters
    ----------
    name
        The service.
    replicas
        0 to 10,000.
    """
    number, seconds = count("REPLICAS", replicas, 0, 10_000), wait.seconds

    async def question(cluster: Cluster) -> int:
        old = await cluster.service(name)
        if wait.exit_code:
            wait.check(old.spec)
        new = await cluster.scale(name, number)
        is_same = new.version == old.version
        put([f"{name}: unchanged" if is_same else f"{name}: scaled to {number}"])
        return 0

    return ask(where, question) or _then(where, name, wait, seconds)


def restart(name: str, /, *, wait: Wait = NO_WAIT, where: Where = HERE) -> int:
    """Replace every task, one slot at a time.

    Parameters
    ----------
    name
        The service.
    """
    seconds = wait.seconds

    async def question(cluster: Cluster) -> int:
        if wait.exit_code:
            wait.check((await cluster.service(name)).spec)
        await cluster.restart(name)
        put([f"{name}: restarting"])
        return 0

    return ask(where, question) or _then(where, name, wait, seconds)


def rm(
    *names: str,
    no_wait: Annotated[bool, SWITCH] = False,
    where: Where = HERE,
) -> int:
    """Remove services and everything that belongs to them; returns when they are gone.

    Parameters
    ----------
    names
        The services.
    no_wait
        Return when the manager has recorded the removal.
    """
    from warren.cli.commands.removal import Removal
    from warren.cli.live.progress import Progress

    if not names:
        raise SpecError("NAMES", "want the name of a service, or of several")
    removals = [Removal(name) for name in dict.fromkeys(names)]

    async def question(cluster: Cluster) -> int:
        for removal in removals:
            await removal.ask(cluster)
        for removal in removals:
            if not no_wait:
                with Progress() as progress:
                    await removal.wait(cluster, progress)
            put_now(removal.told(no_wait=no_wait))
        return 0

    status = ask(where, question, heals=not no_wait)
    *others, last = [None, *(removal.missing for removal in removals if removal.missing)]
    for missing in others:
        if missing is not None:
            say(f"warren: {missing}")
    if last is not None:
        raise last
    return status


def warn(*specs: ServiceSpec) -> None:
    """Warn on standard error of what is allowed and most often a mistake."""
    from warren.rules.environment import undefined

    for spec in specs:
        for said in (*undefined(spec), *_absent(spec)):
            say(f"warren: warning: {said}")


def _absent(spec: ServiceSpec) -> Generator[str, None, None]:
    """What does not exist on this machine. Another node may have it, so it is only a warning."""
    if spec.image is not None:  # its directories and users are in there
        for mount in spec.mounts:
            if mount.type is MountType.BIND and not os.path.lexists(mount.source or ""):
                said = f"services.{spec.name}.mounts: {shown(mount.source)}"
                yield f"{said}: is not on this machine"
        return
    if spec.cwd is not None:
        try:
            is_directory = stat.S_ISDIR(os.stat(spec.cwd).st_mode)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            is_directory = False
        except OSError:  # without permission to look it is unknown
            is_directory = True
        if not is_directory:
            yield f"services.{spec.name}.cwd: {shown(spec.cwd)}: is no directory on this machine"
    name = (spec.user or "").partition(":")[0]
    if name and not name.isdecimal() and not _has_account(name):
        yield f"services.{spec.name}.user: {shown(name)}: there is none on this machine"


def _has_account(name: str) -> bool:
    import pwd

    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


async def _update(
    cluster: Cluster, name: str, change: Callable[[ServiceSpec], ServiceSpec]
) -> tuple[ServiceView, ServiceView]:
    """Change a service from its present version; after a conflict, from the newer one. Returns it
    as it was and as it is."""
    for left in range(TRIES - 1, -1, -1):
        old = await cluster.service(name)
        try:
            return old, await cluster.update(change(old.spec), base=old.version)
        except ConflictError:
            if not left or old.is_removing:
                raise
    raise AssertionError


def _then(where: Where, name: str, wait: Wait, seconds: float | None) -> int:
    """Wait for it, if asked to. A manager that goes away meanwhile is waited for too."""
    if not wait.wait:
        return 0
    return wait_for(where, [name], seconds, hands_on=wait.exit_code)


def wait_for(
    where: Where,
    names: list[str],
    seconds: float | None,
    *,
    aside: bool = False,
    hands_on: bool = False,
) -> int:
    """Wait until these services are healthy or complete, and say so; `aside`, on standard error.
    With `hands_on` the code of a job that has failed is the status. Raises WaitError.
    """
    from warren.cli.live.progress import Progress
    from warren.client.wait import WaitError, wait_health

    with Progress() as progress:

        async def question(cluster: Cluster) -> int:
            said = await wait_health(cluster, names, progress, time.time)
            progress.end()
            if aside:
                say("\n".join(said))
            else:
                put(said)
            return 0

        try:
            return ask(where, question, heals=True, within=seconds)
        except KeyboardInterrupt:
            progress.end()
            say(f"warren: the wait has ended; {_all(names)} on as asked: {progress.said}")
            raise
        except LateError:
            waited = progress.said or ", ".join(names)
            raise WaitError(f"gave up after {Duration(seconds or 0)}: {waited}") from None
        except WaitError as error:
            if not hands_on or error.exit_code is None:
                raise
            progress.end()
            say(f"warren: {error}")
            return error.exit_code


def _all(names: list[str]) -> str:
    return f"{', '.join(names)} {'goes' if len(names) == 1 else 'go'}"


@contextmanager
def _option_names(name: str) -> Generator[None, None, None]:
    """A refusal of the manager names the option in place of the field."""
    try:
        yield
    except InvalidError as error:
        raise InvalidError(in_options(error, name)) from None


def _here() -> CallerContext:
    return CallerContext(Path.cwd(), os.environ)
