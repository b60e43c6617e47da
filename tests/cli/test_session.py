from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.cli.conftest import FIRST, clean, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import House, Live


def test_whoami_names_the_seats(live: Live) -> None:
    assert live.house.json("hanna.osei", "whoami")["seats"] == ["domain.approver@people"]
    assert "domain.approver@people" in live.house.run("hanna.osei", "whoami").out


def test_login_stores_a_token_only_its_owner_can_read(house: House) -> None:
    file = house.home("jonas.weber") / "tokens.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(json.loads(file.read_text())["servers"]) == [house.url]


def test_an_invitation_works_once_and_logout_ends_the_token(live: Live) -> None:
    house = live.house
    told = house.json("priya.raman", "invite", "tomas.lindgren", "--name", "Tomas Lindgren")
    assert told["link"] == f"{house.url}/sign-in?code={told['code']}"
    assert house.run("tomas.lindgren", "login", "--code", told["code"], "--url", house.url).code == 0
    assert house.run("other", "login", "--code", told["code"]).code == 7
    token = json.loads((house.home("tomas.lindgren") / "tokens.json").read_text())["servers"][house.url]["token"]
    assert house.run("nobody", "whoami", BEDPLATE_TOKEN=token).code == 0
    assert house.run("tomas.lindgren", "logout").code == 0
    assert house.run("tomas.lindgren", "whoami").code == 7
    ended = house.run("nobody", "whoami", "-o", "json", BEDPLATE_TOKEN=token)
    assert (ended.code, ended.error["code"]) == (7, "unauthenticated")
    assert token not in ended.err


def test_the_url_of_the_last_login_is_the_default(house: House) -> None:
    assert run("whoami", BEDPLATE_CONFIG_HOME=str(house.home("jonas.weber"))).code == 0


def test_a_password_signs_in(live: Live) -> None:
    house = live.house
    assert house.run("victor.lam", "password", BEDPLATE_PASSWORD="short").code == 3
    assert house.run("victor.lam", "password", BEDPLATE_PASSWORD="correct horse battery").code == 0
    other = ("other", "login", "--person", "victor.lam")
    assert house.run(*other, BEDPLATE_PASSWORD="correct horse battery").code == 0
    wrong = house.run(*other, "-o", "json", BEDPLATE_PASSWORD="wrong horse battery")
    assert wrong.code == 7
    assert "wrong horse" not in wrong.err


def test_nothing_is_asked_without_a_terminal(house: House) -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "bedplate", "login", "--person", "victor.lam", "--url", house.url],
        stdin=subprocess.DEVNULL,
        env=clean({"BEDPLATE_CONFIG_HOME": str(house.home("other"))}),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert asked.returncode == 3
    assert "no terminal" in asked.stderr


def test_a_code_is_asked_at_a_terminal_and_not_echoed(live: Live) -> None:
    code = live.house.json("priya.raman", "invite", "sofia.brandt", "--name", "Sofia Brandt")["code"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "bedplate", "login", "--url", live.house.url],
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
        env=clean({"BEDPLATE_CONFIG_HOME": str(live.house.home("sofia.brandt"))}),
        start_new_session=True,
    ) as asked:
        os.close(theirs)
        seen = b""
        while b"code: " not in seen:
            seen += os.read(ours, 1024)
        os.write(ours, code.encode() + b"\n")
        out, _ = asked.communicate(timeout=30)
    os.close(ours)
    assert b"signed in" in out
    assert code.encode() not in seen + out


def test_a_damaged_token_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text("{")
    damaged = run("whoami", BEDPLATE_CONFIG_HOME=str(tmp_path))
    assert damaged.code == 3
    assert "tokens.json cannot be read" in damaged.err


def test_changed_public_keys_are_not_taken_silently(house: House) -> None:
    home = house.home("trusting")
    assert house.run("trusting", "keys").code == 0
    other = "bedplate.local/other+aaaaaaaa+AaHbHhYy"
    (home / "keys.json").write_text(json.dumps({"servers": {house.url: {"keys": [other]}}}))
    assert house.run("trusting", "keys").code == 3
    assert house.run("trusting", "keys", "--replace", "-o", "json").data["keys"][0].startswith("bedplate.local/")
    assert house.run("trusting", "keys").code == 0


def test_the_operator_on_the_host_cannot_invite_a_malformed_id(house: House) -> None:
    assert house.run("x", "invite", "Not An Id", "--name", "X", "--data", house.data).code == 3


def test_issued_keys_do_not_open_the_governance_api(live: Live) -> None:
    refused = live.house.run("nobody", "status", FIRST, "-o", "json", BEDPLATE_TOKEN=live.key)
    assert (refused.code, refused.error["code"]) == (7, "unauthenticated")
    assert live.key not in refused.err
