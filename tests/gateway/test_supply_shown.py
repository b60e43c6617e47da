"""The upstreams as the API and the command line show them, from a running server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests import served

from bedplate.cli.main import outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.served import Harbour

FILE = """
kind: upstreams
upstreams:
  - {name: own, url: "http://127.0.0.1:9/v1", shape: openai, key: {env: OWN_KEY}, description: ours}
"""


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harbour]:
    file = tmp_path_factory.mktemp("upstreams") / "upstreams.yaml"
    file.write_text(FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OWN_KEY", "sk-do-not-show")
        server = served.Server(served.fresh(), tick_ms="600000", upstreams=str(file)).start()
    with server:
        yield served.harbour(server)
    assert "sk-do-not-show" not in server.said()


def test_a_reader_sees_them_without_a_key(harbour: Harbour) -> None:
    told = harbour.person("victor").get("/api/upstreams")
    assert [u["name"] for u in told["upstreams"]] == ["embedded", "own"]
    own = told["upstreams"][1]
    assert (own["url"], own["key"], own["state"]) == ("http://127.0.0.1:9/v1", "env OWN_KEY", "closed")
    assert (own["in_flight"], own["first_byte_p50_ms"], own["last_error"]) == (0, -1, "")
    assert "sk-do-not-show" not in json.dumps(told)


def test_who_has_no_seat_is_told_who_may(harbour: Harbour) -> None:
    code = str(harbour.person("priya").post("/api/invitations", {"person": "new.one", "name": "New"})["code"])
    _, signed = harbour.api("POST", "/api/login", {"code": code})
    status, told = harbour.api("GET", "/api/upstreams", token=signed["token"])
    assert status == 403
    assert "victor.lam" in told["error"]["hint"]


def test_the_command_shows_them(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BEDPLATE_URL", harbour.url)
    monkeypatch.setenv("BEDPLATE_TOKEN", harbour.token("victor"))
    assert outcome(["upstreams"]) == 0
    shown = capsys.readouterr().out
    assert "own" in shown
    assert "closed" in shown
    assert outcome(["upstreams", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["upstreams"][1]["name"] == "own"


def test_the_command_reads_a_file_as_the_server_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "upstreams.yaml"
    file.write_text(FILE)
    monkeypatch.delenv("OWN_KEY", raising=False)
    assert outcome(["upstreams", "--check", str(file)]) == 3
    assert "upstreams.yaml:4:" in capsys.readouterr().err
    monkeypatch.setenv("OWN_KEY", "sk-do-not-show")
    assert outcome(["upstreams", "--check", str(file)]) == 0
    shown = capsys.readouterr()
    assert "http://127.0.0.1:9/v1" in shown.out
    assert "sk-do-not-show" not in shown.out + shown.err


def test_the_command_prints_providers_to_copy_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(["upstreams", "--presets"]) == 0
    assert "https://api.openai.com/v1" in capsys.readouterr().out
