"""Service files: what a file may say, and that nothing but SpecError ever comes of one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.model.specs import WEIRD, specs
from warren.manifest.service_file import dump_text, load_file, load_text, parse_env_file
from warren.manifest.yaml_text import Document, plain_scalar
from warren.model.check import Argv, HttpCheck, StatusRange, TcpCheck
from warren.model.errors import SpecError
from warren.model.service import ServiceSpec

generous = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def load_one(fields: str, base: Path | None = None) -> ServiceSpec:
    (spec,) = load_text(f"services:\n  web:\n    command: [run]\n{fields}", base=base)
    return spec


# Words


@pytest.mark.parametrize(
    ("word", "value"),
    [("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("y", "y"), ("N", "N"),
     ("true", True), ("True", True), ("FALSE", False), ("tRUE", "tRUE"), ("null", None),
     ("~", None),
     ("", None), ("12", 12), ("-7", -7), ("+7", 7), ("007", 7), ("0o17", "0o17"), ("0x1f", "0x1f"),
     ("1_000", "1_000"), ("1:30", "1:30"), ("1e3", 1000.0), ("1.5", 1.5), (".5", 0.5), ("1.", 1.0),
     ("-.5e-1", -0.05), (".inf", ".inf"), (".nan", ".nan"), ("2026-11-24", "2026-11-24"),
     ("12\n", "12\n"), ("\u0661\u0662", "\u0661\u0662"), ("9" * 30, "9" * 30), ("<<", "<<")],
)  # fmt: skip
def test_unquoted_word_means_what_yaml_1_2_says(word: str, value: object) -> None:
    assert plain_scalar(word) == value
    assert type(plain_scalar(word)) is type(value)


def test_quoted_words_are_strings() -> None:
    data = Document("a: 'no'\nb: \"12\"\nc: |\n  12\nd: 'null'\n").data
    assert data == {"a": "no", "b": "12", "c": "12\n", "d": "null"}


def test_characters_beyond_the_first_plane_may_be_written_as_json_writes_them() -> None:
    text = json.dumps({"services": {"web": {"command": ["x"], "env": {"A": "\U0001f600"}}}})
    assert "\\ud83d" in text
    (spec,) = load_text(text)
    assert spec.env == {"A": "\U0001f600"}


@pytest.mark.parametrize("field", ["replicas", "user", "cwd", "\\uDC00"])
def test_half_a_surrogate_pair_is_refused_with_its_line(field: str) -> None:
    text = f'services:\n  web:\n    command: [x]\n    "{field}": "\\uD800"'
    with pytest.raises(SpecError, match="want text without half a surrogate pair") as caught:
        load_text(text)
    assert caught.value.line in (2, 4)


def test_merge_keys_fill_in_what_is_not_given() -> None:
    text = "b: &b {x: 1, y: 1}\nc: &c {y: 2, z: 2}\nd: {<<: [*b, *c], x: 3}\ne: {<<: *c}\n"
    data = Document(text).data
    assert data["d"] == {"x": 3, "y": 1, "z": 2}  # the first of a list wins
    assert data["e"] == {"y": 2, "z": 2}


def test_quoted_merge_key_is_a_key() -> None:
    assert Document('"<<": 1').data == {"<<": 1}


def test_aliases_are_written_out() -> None:
    spec = load_one("    liveness: &p {tcp: {port: 1}, retries: 9}\n    readiness: *p\n")
    assert spec.liveness == spec.readiness


def test_document_knows_the_line_of_what_it_has() -> None:
    document = Document("a:\n  b:\n    - 1\n    - 2\n")
    assert [document.line(path) for path in [("a",), ("a", "b"), ("a", "b", 1)]] == [1, 2, 4]
    assert document.line(("a", "b", 1, "c", "d")) == 4
    assert document.line(("z",)) == 1


def test_file_starts_with_a_byte_order_mark_or_not(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("\N{BOM}services: {web: {command: x}}", encoding="utf-8")
    assert [spec.name for spec in load_file(str(tmp_path / "a.yaml"))] == ["web"]


# Values


@pytest.mark.parametrize(
    ("written", "command"),
    [("redis-server --port 1", ["redis-server", "--port", "1"]),
     ("run 'a b' \"c d\"", ["run", "a b", "c d"]),
     ("[a, '']", ["a", ""]), ("[sh, -c, 'a | b']", ["sh", "-c", "a | b"])],
)  # fmt: skip
def test_command_is_a_list_or_is_split_as_a_shell_would(written: str, command: list[str]) -> None:
    (spec,) = load_text(f"services:\n  web:\n    command: {written}\n")
    assert spec.command == Argv(command)


@pytest.mark.parametrize(
    ("written", "low", "high"), [("204", 204, 204), ("200-299", 200, 299), ("'204'", 204, 204)]
)
def test_status_is_a_code_or_a_range(written: str, low: int, high: int) -> None:
    spec = load_one(f"    health: {{http: {{port: 1, status: {written}}}}}\n")
    assert spec.health is not None
    check = spec.health.check
    assert check == HttpCheck(port=1, status=StatusRange(low, high))
    assert isinstance(check, HttpCheck)
    assert low in check.status
    assert high + 1 not in check.status
    assert hash(check.status) == hash(StatusRange(low, high))
    assert StatusRange.parse(repr(check.status)) == check.status


def test_probe_has_the_defaults_of_the_words() -> None:
    probe = load_one("    health: {tcp: {}}\n").health
    assert probe is not None
    assert probe.check == TcpCheck()
    numbers = (probe.interval, probe.timeout, probe.retries, probe.successes)
    assert numbers == (30, 10, 3, 1)
    assert (probe.start_period, probe.initial_delay, probe.pace) == (0, 0, 1)


@pytest.mark.parametrize(
    ("numbers", "pace"),
    [("interval: 500ms", 0.5), ("interval: 5s", 1), ("interval: 9s, fast_interval: 7s", 7)],
)
def test_probe_pace_is_the_fast_interval(numbers: str, pace: float) -> None:
    probe = load_one(f"    health: {{tcp: {{}}, {numbers}}}\n").health
    assert probe is not None
    assert probe.pace == pace


def test_stop_signal_has_its_number() -> None:
    assert load_one("    stop: {signal: QUIT}\n").stop.number == 3


# The file's own folder


def test_cwd_is_of_the_files_folder(tmp_path: Path) -> None:
    assert load_one("", tmp_path).cwd == str(tmp_path)
    assert load_one("    cwd: a/b\n", tmp_path).cwd == str(tmp_path / "a/b")
    assert load_one("    cwd: /srv\n", tmp_path).cwd == "/srv"
    assert load_one("    cwd: a\n").cwd == "a"
    assert load_one("").cwd is None
    file = tmp_path / "warren.yaml"
    file.write_text("services: {web: {command: x, cwd: a}}", encoding="utf-8")
    assert [spec.cwd for spec in load_file(file)] == [str(tmp_path / "a")]


@pytest.mark.parametrize("cwd", ["''", "3", "[]"])
def test_cwd_that_is_none_is_refused(cwd: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^4: services\.web\.cwd: .*: want a directory$"):
        load_one(f"    cwd: {cwd}\n", tmp_path)


def test_env_files_are_read_in_order_and_env_comes_last(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=1\nB=1\nC=1\n", encoding="utf-8")
    (tmp_path / "b.env").write_text("B=2\nC=2\n", encoding="utf-8")
    spec = load_one("    env_file: [a.env, b.env]\n    env: {C: '3'}\n", tmp_path)
    assert spec.env == {"A": "1", "B": "2", "C": "3"}
    assert load_one("    env_file: b.env\n", tmp_path).env == {"B": "2", "C": "2"}


def test_env_file_beside_an_env_that_is_none_is_refused_for_it(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=1\n", encoding="utf-8")
    with pytest.raises(
        SpecError, match=r"^5: services\.web\.env: 3: want a mapping such as {NAME: value}$"
    ):
        load_one("    env_file: a.env\n    env: 3\n", tmp_path)


def test_env_file_has_names_values_and_comments(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    lines = ["# a comment", "", "  A = 1 ", "B='x y'", 'C="#"', "D=a=b", "E=", "F='"]
    lines += ["G=y\u2028\x0cz", "H=\"a'"]
    file.write_bytes("\r\n".join(lines).encode())
    assert parse_env_file(file) == {
        "A": "1", "B": "x y", "C": "#", "D": "a=b", "E": "", "F": "'", "G": "y\u2028\x0cz",
        "H": "\"a'",
    }  # fmt: skip


@pytest.mark.parametrize("line", ["A", "=1", "export A=1", " = "])
def test_env_file_with_a_bad_line_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"A=1\n\n{line}\n", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_one("    env_file: .env\n", tmp_path)
    said = "4: services.web.env_file: want NAME=VALUE on line 3 of "
    assert str(caught.value) == f"{said}{tmp_path / '.env'}"


def test_env_file_of_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    with pytest.raises(SpecError, match="want a file of UTF-8 text"):
        load_one("    env_file: .env\n", tmp_path)
    with pytest.raises(SpecError, match="want a file to read: Is a directory"):
        load_one("    env_file: .\n", tmp_path)


# Whatever is written


def load_or_refuse(text: str) -> None:
    """Load, or be told in one bounded line; and what is loaded can be written and read again."""
    try:
        loaded = load_text(text)
    except SpecError as error:
        said = str(error)
    else:
        said = "loaded"
        assert load_text(dump_text(loaded)) == loaded
    assert said.isprintable() or "\n" not in said
    assert said.encode()
    assert len(said) < 1000


_pieces = st.sampled_from(
    [*WEIRD, "services:", "\n  web:", "\n    command: x", "\n    env:", "\n    health:", "{", "}",
     "[", "]", ": ", "- ", "\n", "  ", "&a ", "*a", "<<: *a", "!!int ", "? ", "|\n", "%TAG ! !\n",
     '"\\', "\\ud800", "\\UFFFFFFFF", '"', "1e999", "tcp: {}", "replicas: ", "interval: "]
)  # fmt: skip


@generous
@given(st.text() | st.lists(_pieces, max_size=15).map("".join))
def test_any_text_loads_or_is_refused(text: str) -> None:
    load_or_refuse(text)
    load_or_refuse(f"services:\n  web:\n    {text}")
    load_or_refuse(f"services: {{web: {{command: x, health: {{tcp: {{}}, {text}}}}}}}")


@generous
@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_with_broken_characters_loads_or_is_refused(text: str) -> None:
    load_or_refuse(text)


@generous
@given(st.lists(specs(), min_size=1, max_size=2), st.data())
def test_any_mutated_file_loads_or_is_refused(some: list[ServiceSpec], data: st.DataObject) -> None:
    text = dump_text(some)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 10)))
        text = text[:start] + data.draw(_pieces | st.text(max_size=3)) + text[end:]
    load_or_refuse(text)


@generous
@given(st.text(), st.booleans())
def test_any_field_with_any_value_loads_or_is_refused(value: str, is_quoted: bool) -> None:
    written = repr(value) if is_quoted else value
    for field in ("replicas", "env", "env: {A", "ports: {a", "user", "cwd", "restart", "stop"):
        closing = "}" if "{" in field else ""
        load_or_refuse(f"services:\n  web:\n    command: x\n    {field}: {written}{closing}\n")


@generous
@given(st.text() | st.sampled_from(WEIRD), st.booleans())
def test_any_field_of_a_container_with_any_value_loads_or_is_refused(
    value: str, is_quoted: bool
) -> None:
    written = repr(value) if is_quoted else value
    for field in (
        "args", "mounts", "mounts: [", "mounts: [{type: tmpfs, target: /x, size", "read_only",
        "mounts: [{type: bind, target", "cap_add: [", "ulimits: {core", "ulimits: {core: {soft",
        "network", "labels: {a", "pull", "runtime", "health",
    ):  # fmt: skip
        closing = "".join({"[": "]", "{": "}"}[c] for c in reversed(field) if c in "[{")
        colon = "" if field.endswith("[") else ":"
        text = f"    {field}{colon} {written}{closing}\n"
        load_or_refuse(f"services:\n  web:\n    image: x\n{text}")


def test_file_without_end_is_refused() -> None:
    with pytest.raises(SpecError, match="file: '/dev/zero': want a file of at most 4 MiB"):
        load_file(Path("/dev/zero"))
    with pytest.raises(SpecError, match="env_file: '/dev/zero': want a file of at most 4 MiB"):
        parse_env_file(Path("/dev/zero"))
