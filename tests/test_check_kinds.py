"""A kind of check is a row: complete on every floor, and nothing else has to be touched for it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from check_kinds import PLACES, missing
from floors import violations

from warren.manifest.yaml_text import Document
from warren.model.check import Check, TcpCheck
from warren.model.check_kinds import CHECK_KINDS, NAMES, Cap, CheckKind, kind_of
from warren.model.decode import decode
from warren.model.probe import Probe

ROOT = Path(__file__).parent.parent


def test_every_kind_of_check_is_complete_on_every_floor() -> None:
    assert missing(ROOT) == []


def test_nothing_but_a_kinds_rows_and_modules_names_its_struct() -> None:
    modules = {f"warren/checks/{name}.py" for name in NAMES}
    own = modules | {"warren/model/check.py", "warren/cli/options/check_flags.py"}
    names = re.compile("|".join(rf"\b{kind.asks.__name__}\b" for kind in CHECK_KINDS))
    named = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "warren").rglob("*.py")
        if names.search(path.read_text("utf-8"))
    }
    assert sorted(named - own - ROWS.keys()) == []


@pytest.mark.parametrize("kind", CHECK_KINDS, ids=lambda kind: kind.name)
def test_example_of_a_kind_is_a_check_of_it(kind: CheckKind) -> None:
    data = Document(f"{kind.name}: {kind.example}", None).data
    check = decode(data, Probe).check
    assert type(check) is kind.asks
    assert kind_of(check) is kind
    assert kind.shown(check, True)


class Knock(Check, frozen=True):
    """A kind that is nowhere."""


def show(check: Check, shows_values: bool) -> str:
    return "knock"


def test_kind_that_is_nowhere_is_told_of_every_place() -> None:
    """The test above can fail: it names what is missing."""
    made_up = CheckKind(name="knock", asks=Knock, cap=Cap.EXEC, example="{}", shown=show)
    said = missing(ROOT, [*CHECK_KINDS, made_up])
    assert said == [f"knock: {place}" for place in PLACES]


def test_row_without_a_kind_is_told() -> None:
    said = missing(ROOT, CHECK_KINDS[:2])
    assert len(said) == 4
    assert all(line.startswith("exec: is a row of ") for line in said)


def test_row_that_is_not_true_of_its_struct_is_told() -> None:
    http, _, exec_ = CHECK_KINDS
    wrong = msgspec.structs.replace(exec_, commands=())
    leaky = msgspec.structs.replace(http, secrets=())
    blind = msgspec.structs.replace(http, asks=TcpCheck, asks_port=False)
    for kind, word in ((wrong, "commands are"), (leaky, "secrets are"), (blind, "asks_port is")):
        assert any(f"{kind.name}: {word} " in line for line in missing(ROOT, [kind]))


# A made-up kind is added to a copy of the tree: what is written there is all that a kind takes.

NEW = {
    "warren/model/knock_check.py": '''
"""Knock, and say these words."""

from __future__ import annotations

from collections.abc import Mapping

from warren.model.check import Check, check_host, check_port


class KnockCheck(Check, frozen=True):
    port: int | str | None = None
    host: str | None = None
    words: Mapping[str, str] = {}

    def __post_init__(self) -> None:
        check_port(self.port)
        check_host(self.host)


def show_knock(check: KnockCheck, shows_values: bool) -> str:
    said = [f"{name}: {value}" if shows_values else name for name, value in check.words.items()]
    return f"knock at {check.port} saying {', '.join(said)}"
''',
    "warren/checks/knock.py": '''
"""Knocks."""

from __future__ import annotations

from warren.checks.attempt import Attempt
from warren.checks.port_names import port_number
from warren.model.check import Outcome, Result
from warren.model.interfaces import Target
from warren.model.knock_check import KnockCheck
from warren.resilience.loop_lag import LoopLag


class KnockChecker:
    def __init__(self, *, lag: LoopLag | None = None) -> None:
        self._lag = lag

    async def __call__(self, check: KnockCheck, target: Target, *, timeout: float) -> Outcome:
        with Attempt(timeout, self._lag) as attempt:
            attempt.answer(Result.PASS, f"knocked at {port_number(check.port, target.ports)}")
        return attempt.outcome
''',
    "warren/cli/options/knock_option.py": '''
"""`--health-knock PORT`."""

from __future__ import annotations

from warren.model.errors import SpecError
from warren.model.knock_check import KnockCheck


def read_knock(option: str, text: str) -> KnockCheck:
    if not text.isdecimal():
        raise SpecError(option, "want a port", value=text)
    return KnockCheck(port=int(text))
''',
}
ROWS = {  # file -> what it has, and what stands before that now
    "warren/model/check_kinds.py": (
        ("\nCHECK_KINDS = (", "\nfrom warren.model.knock_check import KnockCheck, show_knock\n"),
        (
            ")\nNAMES = ",
            '    CheckKind(name="knock", asks=KnockCheck, cap=Cap.EXEC, example="{port: 80}",\n'
            '        shown=show_knock, asks_port=True, secrets=("words",)),\n',
        ),
    ),
    "warren/model/probe.py": (
        ("\nSHORTEST_INTERVAL", "from warren.model.knock_check import KnockCheck\n"),
        ("    interval: Duration = ", "    knock: KnockCheck | None = None\n"),
    ),
    "warren/checks/run.py": (
        ("from warren.checks.tcp ", "from warren.checks.knock import KnockChecker\n"),
        ("    }\n)\n", '        "knock": lambda shared: KnockChecker(lag=shared.lag),\n'),
    ),
    "warren/cli/options/check_options.py": (
        ("from warren.model.check ", "from warren.cli.options.knock_option import read_knock\n"),
        ("    }\n)\n", '        "knock": CheckOption("knock", "PORT", "Knock.", read_knock),\n'),
    ),
    "warren/cli/commands/check.py": (
        (
            "def _here(",
            "@app.command\ndef knock(port: int, /) -> int:\n"
            '    """Knock."""\n'
            "    from warren.model.interfaces import Target\n"
            "    from warren.model.knock_check import KnockCheck\n\n"
            '    return _ask(KnockCheck(port=port), Target(), "1s", as_json=True)\n\n\n',
        ),
    ),
    "warren/__init__.py": (
        ("    from warren.model.service ", "    from warren.model.knock_check import KnockCheck\n"),
        ('    "Probe",\n', '    "KnockCheck",\n'),
        ('    "Duration": "', '    "KnockCheck": "warren.model.knock_check",\n'),
    ),
    "schema/warren.capnp": (
        ("  }\n  interval @4 ", "    knock @NEXT :KnockCheck;\n"),
        (
            "struct ExecCheck {",
            "struct KnockCheck {\n  port :union {\n    only @0 :Void;\n    number @1 :Int32;\n"
            "    name @2 :Text;\n  }\n  host @3 :Text;\n  words @4 :List(Pair);\n}\n\n",
        ),
    ),
    "docs/service-file.md": (
        ("## What a program finds", "**knock**: `port`, `host`, `words`\n\n"),
    ),
    "tests/model/specs.py": (
        ("}\n\n\n@st.composite\ndef probes(", '    "knock": st.nothing(),\n'),
    ),
    "tests/cli/flag_words.py": (("}\n", '    "knock": str,\n'),),
}
USE = '''
import json, sys
from pathlib import Path

import trio
from check_kinds import missing

from warren.checks import ConcurrencyCaps, run_check
from warren.cli.options.service_flags import HealthFlags, ServiceFlags
from warren.cli.options.service_spec import CallerContext, new_spec, option_of
from warren.cli.render import to_json, to_text
from warren.manifest.service_file import dump_text, load_text
from warren.model.decode import decode
from warren.model.errors import SpecError
from warren.model.interfaces import Target
from warren.model.service import ServiceSpec
from warren.rules.admission import admit
from warren.rules.masking import masked
from warren.transport.codec import record, wire
from warren.transport.peer_budget import Budget

ASKED = "{port: PORT, words: {token: swordfish}}"
FILE = """services:
  web:
    command: [sleep, "9"]
    ports: {http: 80}
    health:
      knock: """ + ASKED

def refused(do):
    try:
        do()
    except SpecError as error:
        return str(error)

(spec,) = load_text(FILE.replace("PORT", "http"), admit=admit)
assert load_text(dump_text([spec])) == [spec]
hidden = masked(spec)
message = wire.ServiceSpec.new_message()
codec = record(ServiceSpec, wire.ServiceSpec.schema.node.id)
codec.fill(message, spec)
back = decode(codec.read(message.as_reader(), Budget(10_000)), ServiceSpec)
flags = ServiceFlags(health=HealthFlags(knock="7"))
made = new_spec("web", ["sleep", "9"], flags, CallerContext(Path("/"), {}))

places = []

async def watched(check, target, *, timeout):
    places.extend(place.kind for place in caps.places() if place.in_flight)
    return await run_check(check, target, timeout=timeout)

caps = ConcurrencyCaps(watched)

async def attempt():
    outcome = await caps(spec.health.check, Target(ports={"http": 80}), timeout=1)
    return outcome.detail

print(json.dumps({
    "missing": missing(Path(sys.argv[1])),
    "unknown port": refused(lambda: load_text(FILE.replace("PORT", "gone"), admit=admit)),
    "no mapping": refused(lambda: load_text(FILE.replace(ASKED, "80"))),
    "shown": to_text.probe(spec.health).split(", every")[0],
    "shown with values": to_text.probe(spec.health, shows_values=True).split(", every")[0],
    "hidden": to_json.spec(hidden)["health"]["knock"]["words"],
    "hidden is refused": refused(lambda: admit(hidden)),
    "there and back": back == spec,
    "by option": made.health.check.port,
    "option": option_of("health.knock.port"),
    "asked": trio.run(attempt),
    "its places": places,
}))
'''


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout with a made-up kind of check."""
    for folder in ("warren", "schema", "docs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.pyc"))
    for path in ("tests/model/specs.py", "tests/cli/flag_words.py", "tests/check_kinds.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    for path, text in NEW.items():
        (tmp_path / path).write_text(text.lstrip(), "utf-8")
    for path, rows in ROWS.items():
        text = (tmp_path / path).read_text("utf-8")
        for before, row in rows:
            assert text.count(before) == 1, (
                f"{path}: {before!r} is there {text.count(before)} times"
            )
            text = text.replace(before, row.replace("NEXT", str(next_ordinal(text))) + before)
        (tmp_path / path).write_text(text, "utf-8")
    (tmp_path / "tests" / "checks").mkdir()
    for name in (*NAMES, "knock"):
        (tmp_path / "tests" / "checks" / f"test_checks_{name}.py").touch()
    return tmp_path


def next_ordinal(schema: str) -> int:
    """The next free one of HealthCheck."""
    _, _, after = schema.partition("struct HealthCheck {")
    return 1 + max((int(n) for n in re.findall(r"@(\d+)", after.partition("\n}")[0])), default=0)


def run_in(copy: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env={"PYTHONPATH": f"{copy}:{copy / 'tests'}", "PATH": "/usr/bin:/bin"},
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_made_up_kind_takes_its_modules_and_rows_and_nothing_else(copy: Path) -> None:
    (copy / "use.py").write_text(USE, "utf-8")
    found = json.loads(run_in(copy, str(copy / "use.py"), str(copy)))
    assert found.pop("missing") == []
    at = "services.web.health.knock"
    hidden = "its value was hidden from the reader; want the value"
    assert found == {
        "unknown port": f"6: {at}.port: 'gone': no such port; ports of this service: http",
        "no mapping": f"6: {at}: 80: want a mapping such as {{port: 80}}",
        "shown": "knock at http saying token",
        "shown with values": "knock at http saying token: swordfish",
        "hidden": {"token": None},
        "hidden is refused": f"{at}.words.token: {hidden}",
        "there and back": True,
        "by option": 7,
        "option": "--health-knock",
        "asked": "knocked at 80",
        "its places": ["exec"],
    }
    asked = json.loads(run_in(copy, "-m", "warren", "check", "knock", "7"))
    assert (asked["outcome"], asked["check"]) == ("pass", {"knock": {"port": 7}})
    assert violations(copy / "warren") == []


def test_what_a_kind_takes_is_in_the_list_of_contributing() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    steps = text.partition("## Adding a check\n")[2].partition("\n## ")[0]
    assert not [path for path in ROWS if f"`{path}`" not in steps]
