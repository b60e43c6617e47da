from __future__ import annotations

import io
import socket
import subprocess
import sys
import time
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import pytest
from tests.cli.conftest import EXAMPLE, FIRST, clean, program, run

from bedplate import errors
from bedplate.cli.main import EXIT, code_of
from bedplate.cli.output import fields

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import House, Live

HEAVY = ("fastapi", "sqlalchemy", "genai_prices", "re2", "pydantic", "uvicorn", "cryptography")


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from bedplate.cli.main import outcome; code = outcome(['--help']);"
        f"print(code, sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=clean({}))
    assert done.stdout.splitlines()[-1] == "0 []"
    assert "Exit codes" in done.stdout


def test_help_is_quick() -> None:
    took = []
    for _ in range(3):
        began = time.monotonic()
        assert program("--help").returncode == 0
        took.append(time.monotonic() - began)
    assert min(took) < 1.5  # 0.2 s on a quiet machine; this catches an import, not a busy neighbour


def test_version() -> None:
    assert program("--version").stdout.strip() == "0.1.0"


@pytest.mark.parametrize(
    "command",
    ["", "key", "path", "incident", "release --help", "verify --help", "up --help", "doctor --help", "demo --help"],
)
def test_every_level_has_help(command: str) -> None:
    told = run(*command.split())
    assert told.code == 0
    assert "Usage: bedplate" in told.out


@pytest.mark.parametrize("arguments", [["frob"], ["plan"], ["refuse", "x"], ["status", "-o", "xml"], ["--frob"]])
def test_usage_errors_are_2_and_name_the_help(arguments: list[str]) -> None:
    told = run(*arguments)
    assert told.code == 2
    assert not told.out
    assert "--help" in told.err


def test_usage_errors_are_json_where_json_was_asked_for() -> None:
    told = run("plan", "-o", "json")
    assert (told.code, told.error["code"]) == (2, "usage")


def test_every_error_class_has_an_exit_code() -> None:
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.BedplateError):
            assert any(cls in EXIT for cls in error.__mro__)
    assert code_of(errors.Full("full")) == 7
    assert code_of(errors.BedplateError("?")) == 1


def test_an_unreachable_server_is_7(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    env = {"BEDPLATE_CONFIG_HOME": str(tmp_path), "BEDPLATE_TOKEN": "bpt_secret"}
    told = run("status", "--url", f"http://127.0.0.1:{port}", "-o", "json", **env)
    assert (told.code, told.error["code"]) == (7, "unreachable")
    assert "bpt_secret" not in told.err
    assert run("status", "--url", "ftp://x", **env).code == 3


def test_a_bad_token_is_7_and_not_repeated(house: House) -> None:
    for token in ("nonsense", "bpt_0123456789ab_" + "A" * 43):
        told = house.run("nobody", "status", "-o", "json", BEDPLATE_TOKEN=token)
        assert (told.code, told.error["code"]) == (7, "unauthenticated")
        assert token not in told.err


def test_not_signed_in_is_7(house: House) -> None:
    told = house.run("nobody", "status")
    assert told.code == 7
    assert "bedplate login" in told.err


def test_denied_json_carries_reasons_with_fixes(live: Live) -> None:
    told = live.house.run("victor.lam", "suspend", FIRST, "--reason", "x", "-o", "json")
    assert told.code == 5
    assert set(told.error) == {"code", "message", "hint", "reasons"}
    assert {"control", "reason", "fix"} == set(told.error["reasons"][0])


def test_what_does_not_exist_is_3(live: Live) -> None:
    for command in (
        ["status", "no-such"],
        ["approvals", "no-such"],
        ["call", "00000000-0000-7000-8000-000000000000"],
        ["prove", "00000000-0000-7000-8000-000000000000"],
        ["new", "x-y", "--from", "no-such"],
        ["incident", "show", "no/such"],
        ["gate", FIRST, "--release", "ffff"],
    ):
        assert live.house.run("leo.fischer", *command).code == 3, command


def test_bad_files_are_3_with_the_place(live: Live, tmp_path: Path) -> None:
    house, file = live.house, tmp_path / "file.yaml"
    assert house.run("leo.fischer", "plan", file).code == 3
    for text, place in (
        ("kind: use-case\nid: [\n", "file.yaml:3:1"),
        ("kind: nothing\n", "file.yaml:1:1 kind"),
        ("- a list\n", "file.yaml:1:1"),
        ("", "file.yaml:1:1"),
    ):
        file.write_text(text)
        told = house.run("leo.fischer", "apply", file)
        assert told.code == 3
        assert place in told.err, told.err
    file.write_bytes(b"kind: \xff\xfe")
    assert "not text" in house.run("leo.fischer", "plan", file).err
    good = (EXAMPLE / FIRST / "use-case.yaml").read_text()
    file.write_text(f"{good}frobnicate: 1\n")
    told = house.run("leo.fischer", "plan", file)
    assert told.code == 3
    assert f":{len(good.splitlines()) + 1}:1 frobnicate: unknown key; known here: " in told.err


def test_local_complaints_are_structured_in_json(tmp_path: Path) -> None:
    file = tmp_path / "om.yaml"
    file.write_text("kind: use-case\nid: [\n")
    told = run("plan", file, "-o", "json", BEDPLATE_CONFIG_HOME=str(tmp_path))
    assert set(told.error["complaints"][0]) == {"file", "line", "column", "path", "message"}


def test_folders_that_cannot_be_released_are_3(live: Live, tmp_path: Path) -> None:
    release = ("leo.fischer", "release", tmp_path)
    house = live.house
    assert "there is no folder" in house.run("leo.fischer", "release", tmp_path / "none").err
    assert "no use-case.yaml" in house.run(*release).err
    (tmp_path / "use-case.yaml").write_text((EXAMPLE / FIRST / "use-case.yaml").read_text())
    assert "--source handbook=FOLDER" in house.run(*release).err
    assert house.run(*release, "--source", "handbook").code == 3
    (tmp_path / ".hidden").write_bytes(b"\x00\xff")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\x00\xff")
    told = house.run(*release)
    assert told.code == 3
    assert "picture.png is not text" in told.err
    (tmp_path / "picture.png").write_bytes(b"a\0b")
    assert "binary" in house.run(*release).err
    (tmp_path / "picture.png").unlink()
    (tmp_path / "link.md").symlink_to("/etc/hostname")
    assert "is a link" in house.run(*release).err
    (tmp_path / "link.md").unlink()
    (tmp_path / "big.md").write_text("x" * ((1 << 20) + 1))
    assert "a file may hold" in house.run(*release).err
    (tmp_path / "big.md").unlink()
    for number in range(501):
        (tmp_path / f"{number}.md").touch()
    assert "more than 500 files" in house.run(*release).err


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    assert run("init", tmp_path, "--organisation", "Acme").code == 0
    kept = (tmp_path / "operating-model.yaml").read_text()
    again = run("init", tmp_path, "--organisation", "Other")
    assert again.code == 3
    assert (tmp_path / "operating-model.yaml").read_text() == kept
    assert run("init", tmp_path / "x", "--organisation", "A: [b").code == 3
    assert run("init", tmp_path / "x", "--organisation", "Acme", "--stage", "nirvana").code == 3
    assert run("init", tmp_path / "x", "--organisation", "Acme", "--people", tmp_path / "none").code == 3


def test_up_says_when_the_port_is_taken_or_a_setting_is_wrong(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        taken = program("up", "--port", str(sock.getsockname()[1]), "--data", tmp_path / "data")
    assert taken.returncode == 3
    assert "cannot listen on" in taken.stderr
    assert not (tmp_path / "data").exists()
    wrong = run("up", BEDPLATE_TICK_MS="soon")
    assert wrong.code == 3
    assert "BEDPLATE_TICK_MS" in wrong.err
    keyless = program("up", "--port", "0", "--data", tmp_path / "data", BEDPLATE_WITNESS=str(tmp_path))
    assert keyless.returncode == 3
    assert "--new-witness" in keyless.stderr


def test_unexpected_failures_are_one_line_and_1(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").mkdir()
    read = run("whoami", BEDPLATE_CONFIG_HOME=str(tmp_path))
    assert read.code == 3
    script = (
        "from bedplate.cli import main\n"
        "@main.app.command\ndef broken():\n    raise RuntimeError('boom')\n"
        "raise SystemExit(main.outcome(['broken']))"
    )
    for debug, traceback in (("0", False), ("1", True)):
        env = clean({"BEDPLATE_DEBUG": debug})
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "boom" in done.stderr
        assert ("Traceback" in done.stderr) is traceback


def test_a_reader_that_goes_away_hears_no_complaint() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "bedplate", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean({})
    ) as done:
        assert done.stdout is not None
        done.stdout.close()
        assert done.stderr is not None
        assert done.stderr.read() == b""


def test_tables_fit_narrow_terminals_and_pipes_are_not_wrapped(live: Live) -> None:
    narrow = live.house.run("victor.lam", "calls", "--limit", "3", COLUMNS="50")
    assert max(map(len, narrow.out.splitlines())) <= 50
    assert narrow.out.count(live.house.json("victor.lam", "calls", "--limit", "1")["calls"][0]["id"]) == 1
    piped = live.house.run("victor.lam", "calls", "--limit", "3")
    assert len(piped.out.splitlines()) == 4
    assert "\x1b" not in piped.out


def test_what_was_sent_to_us_cannot_steer_the_terminal() -> None:
    out = io.StringIO()
    with redirect_stdout(out):
        fields({"x": "\x1b[2J[bold]y[/bold] [1]"})
    assert "\x1b" not in out.getvalue()
    assert "[bold]y[/bold] [1]" in out.getvalue()


def test_what_is_copied_is_never_broken(house: House) -> None:
    code = house.run("x", "invite", "ada", "--name", "Ada", "--data", house.data, COLUMNS="40")
    assert max(map(len, code.out.split())) > 80
    assert len(code.out.splitlines()) == 2
