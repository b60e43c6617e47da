"""The pages of golden paths: which there are, and one with its envelope, versions and siblings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import Database
from tests.conftest import House as Records
from tests.paths.test_sibling import NAME, made, proposed, published

from bedplate.bootstrap import open_installation
from bedplate.config import Settings
from bedplate.console.app import create
from bedplate.console.paths import columns, lasted
from bedplate.paths.actions import Followed, note, withdraw
from bedplate.people.actions import invite, sign_in
from bedplate.releases.actions import ask_to_go_live
from bedplate.testing import SettableClock

if TYPE_CHECKING:
    from pathlib import Path

    from bedplate.installation import Installation

SECOND = 1_000_000


def page(at: Installation, path: str, token: str) -> tuple[int, str]:
    """Ask the console's application for a page, as a browser with this session would."""
    headers = [(b"cookie", f"bedplate_session={token}".encode()), (b"host", b"here")]
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "scheme": "http"}
    scope |= {"query_string": b"", "headers": headers, "server": ("here", 80), "client": ("there", 1), "root_path": ""}
    said: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    asyncio.run(create(at)(scope, receive, send))
    return said[0]["status"], b"".join(m.get("body", b"") for m in said[1:]).decode()


def test_a_path_shows_its_envelope_who_is_behind_and_how_long_it_took(tmp_path: Path) -> None:
    at = open_installation(Settings(data=tmp_path / "data", database=f"sqlite:///{tmp_path / 'one.db'}"))
    try:
        for person in ("priya.raman", "jonas.weber", "ruth.adeyemi"):
            invite(at.governor, "operator", person, person.title())
        records = Records(Database("sqlite", "", tmp_path), at.engine, SettableClock(), at.ledger, at.governor)  # type: ignore[arg-type]  # the installation's own
        records.apply(records.model_file())
        token = sign_in(at.governor, "jonas.weber", "session").text
        assert "bedplate path publish USE-CASE" in page(at, "/paths", token)[1]
        assert page(at, "/paths/none", token)[0] == 404
        found = published(records)
        origin = proposed(records, made(found, title="<b>Second</b>"))
        digest, number = records.built("usecase/second")
        note(at.governor, "leo.fischer", "usecase/second", digest, Followed(NAME, 1, ["<i>less</i>"], 90, 7))
        ask_to_go_live(at.governor, "leo.fischer", "usecase/second", digest, number, origin)
        listed = page(at, "/paths", token)[1]
        assert "0 of 1 behind" in listed
        status, shown = page(at, f"/paths/{NAME}", token)
        assert status == 200
        assert "&lt;b&gt;Second&lt;/b&gt;" in shown
        assert "every vote: &lt;i&gt;less&lt;/i&gt;" in shown
        assert "a tenth of the first" in shown
        assert "coe (technical): " in shown
        withdraw(at.governor, "jonas.weber", NAME, 1, "found wanting")
        assert "was withdrawn: found wanting" in page(at, f"/paths/{NAME}", token)[1]
    finally:
        asyncio.run(at.close())


def test_columns_are_as_high_as_it_took_and_say_who_is_within_a_tenth() -> None:
    first = {"subject": "usecase/one", "took": 100 * SECOND}
    siblings = [{"subject": f"usecase/s{n}", "took": took * SECOND} for n, took in enumerate((10, 50, 0))]
    found = columns(first, siblings)
    assert [(c.name, c.state) for c in found] == [("one", "acc"), ("s0", "ok"), ("s1", "warn")]
    assert found[1].height == pytest.approx(found[0].height / 10)
    assert columns(first, []) == columns({"subject": "usecase/one", "took": 0}, siblings) == []
    assert [lasted(t * SECOND) for t in (0, 3, 300, 86_400 * 3)] == ["", "3.0 s", "5.0 min", "3.0 days"]
