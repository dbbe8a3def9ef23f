"""`warren check`: one attempt of a check, run by hand exactly as a probe would run it.

Exit status: 0 pass, 1 fail, 5 error (the check itself could not run), 2 not understood.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from warren.cli.options.check_flags import (
    argv,
    headers,
    http_question,
    tcp_question,
    variables,
)
from warren.model.check import Check, ExecCheck, Outcome, Result
from warren.model.check_kinds import kind_of
from warren.model.duration import Duration, parse_duration
from warren.model.errors import FieldError, SpecError
from warren.model.service import check_user

if TYPE_CHECKING:
    from warren.model.interfaces import Target

EXIT = {Result.PASS: 0, Result.FAIL: 1, Result.ERROR: 5}

app = App(
    name="check",
    help="Run one check by hand, as a probe would run it.\n\n"
    "Exit status: 0 pass, 1 fail, 5 the check could not run, 2 not understood.",
)
Timeout = Annotated[str, Parameter(name="--timeout")]
AsJson = Annotated[bool, Parameter(name="--json", negative=())]
Many = Parameter(negative=())


@app.command
def http(
    url: str,
    /,
    *,
    header: Annotated[list[str] | None, Many] = None,
    host: str | None = None,
    status: str = "200-399",
    verify: Annotated[bool, Parameter(negative=())] = False,
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> int:
    """GET a URL and judge the status.

    Parameters
    ----------
    url
        Such as http://localhost:8080/healthz or https://[::1]/.
    header
        NAME:VALUE, may be repeated, also with the same name; an empty value removes a default
        header.
    host
        The Host header, and the name asked for in TLS.
    status
        What passes: a status, or a range of them.
    verify
        Check the server's certificate.
    timeout
        For the whole attempt: 10s, 500ms.
    as_json
        Print a JSON object.
    """
    from warren.model.interfaces import Target

    given = headers(header or [], host)
    check, address = http_question(url, headers=given, status=status, verify=verify)
    return _ask(check, Target(address=address), timeout, as_json=as_json)


@app.command
def tcp(address: str, /, *, timeout: Timeout = "10s", as_json: AsJson = False) -> int:
    """Connect and close; nothing is sent.

    Parameters
    ----------
    address
        HOST:PORT, such as localhost:6379 or [::1]:80.
    timeout
        For the whole attempt: 10s, 500ms.
    as_json
        Print a JSON object.
    """
    from warren.model.interfaces import Target

    check, host = tcp_question(address)
    return _ask(check, Target(address=host), timeout, as_json=as_json)


@app.command(name="exec")
def exec_(
    *command: str,
    cwd: Path | None = None,
    user: str | None = None,
    env: Annotated[list[str] | None, Many] = None,
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> int:
    """Run a command; exit code 0 passes. It gets a task's environment, not the shell's.

    Parameters
    ----------
    command
        After `--`, as in: warren check exec -- redis-cli ping
    cwd
        The directory it runs in.
    user
        NAME, UID, NAME:GROUP or UID:GID; for root only.
    env
        NAME=VALUE beside PATH, HOME, LANG and TZ, may be repeated.
    timeout
        From when it has started: 10s, 500ms.
    as_json
        Print a JSON object.
    """
    words = argv(command)
    given = variables(env or [])
    try:
        check_user("--user", user)
    except FieldError as error:
        raise SpecError(error.field, error.wanted, value=error.value) from None
    return _ask(ExecCheck(words), _here(cwd, user, given), timeout, as_json=as_json)


def _here(cwd: Path | None, user: str | None, env: Mapping[str, str]) -> Target:
    from warren.model.interfaces import Target
    from warren.wiring.local_check import run_here

    return Target(run=run_here(cwd=(cwd or Path()).absolute(), user=user, env=env))


def _ask(check: Check, target: Target, timeout: str, *, as_json: bool) -> int:
    seconds = _seconds(timeout)
    import trio

    from warren.checks import run_check

    async def attempt() -> Outcome:
        return await run_check(check, target, timeout=seconds)

    outcome = trio.run(attempt)
    _tell(check, outcome, as_json=as_json)
    return EXIT[outcome.result]


def _seconds(written: str) -> Duration:
    try:
        seconds = parse_duration(written)
    except ValueError as error:
        raise SpecError("--timeout", str(error), value=written) from None
    if seconds <= 0:
        raise SpecError("--timeout", "want more than 0", value=written)
    return seconds


def _tell(check: Check, outcome: Outcome, *, as_json: bool) -> None:
    from warren.client.phrases import one_line
    from warren.model.decode import to_json

    milliseconds = round(outcome.duration * 1000, 3)
    if not as_json:
        text = f"{outcome.result.value}  {one_line(outcome.detail)}  {milliseconds:.1f} ms"
    else:
        fields = {
            "outcome": outcome.result.value,
            "detail": outcome.detail,
            "duration_ms": milliseconds,
            "check": {kind_of(check).name: check},
        }
        text = to_json(fields).decode()
    print(text)  # noqa: T201 - the answer
