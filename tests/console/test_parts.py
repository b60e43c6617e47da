"""Parts of the console by themselves, and installations that are not in order."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from itertools import combinations
from math import hypot
from typing import TYPE_CHECKING, Any, cast

import pytest
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from bedplate.bootstrap import open_installation
from bedplate.config import Settings
from bedplate.console import chart
from bedplate.console.app import create
from bedplate.console.calls import checked
from bedplate.console.guard import same_origin
from bedplate.console.problem import problem_of
from bedplate.console.render import environment, left, moment, percent, tail, when
from bedplate.document import parse
from bedplate.errors import BedplateError, Denied, NeedsApproval
from bedplate.evidence.views import prove
from bedplate.kernel.clock import DAY, SECOND
from bedplate.people import actions as people
from bedplate.people.blank import blank_model
from bedplate.portfolio import actions as portfolio
from bedplate.portfolio.views import UseCase

from .conftest import EXAMPLE, NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bedplate.console.visit import Visit
    from bedplate.installation import Installation

    from .conftest import House

CASE = UseCase(
    subject="usecase/x",
    id="x",
    title="X",
    owner="o",
    sponsor="s",
    domain="d",
    bucket="efficiency",
    purpose="p",
    impact="low",
    autonomy="assistive",
    tier=1,
    value=3,
    feasibility=4,
    yearly_cents=100,
    reasons=(),
    spec="",
    path="",
    decision="",
    stage="live",
    release="r",
    rung="act",
    suspended="",
    breaches=(),
    glass_until=0,
    proposed_at=0,
    effort_days=0,
    generative="yes",
    contracts=(),
    answered={},
)


def test_dots_stand_in_their_quadrant_and_do_not_cover_each_other() -> None:
    cases = [CASE] * 12 + [replace(CASE, impact="high", autonomy="autonomous")]
    dots = chart.matrix(cases)
    assert all(d.x < 247 and d.y > 165 for d in dots[:12])
    assert dots[12].x > 247
    assert dots[12].y < 165
    assert min(hypot(a.x - b.x, a.y - b.y) for a, b in combinations(dots[:12], 2)) > 18
    assert [d.number for d in dots] == list(range(1, 14))


def test_bubbles_are_named_where_there_is_room() -> None:
    alone, together = chart.bubbles([CASE]), chart.bubbles([CASE, CASE, replace(CASE, value=1, yearly_cents=9)])
    assert alone[0].named
    assert [d.named for d in together] == [False, False, True]
    assert together[0].radius > together[2].radius


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "live"),
        ({"rung": "read"}, "lowered"),
        ({"breaches": ("incident/1",)}, "lowered"),
        ({"suspended": "why"}, "suspended"),
        ({"stage": "accepted", "rung": "off"}, "waiting"),
        ({"stage": "retired", "suspended": "why"}, "ended"),
    ],
)
def test_the_state_of_a_use_case_in_a_word(changes: dict[str, Any], state: str) -> None:
    assert chart.state_of(replace(CASE, **changes)) == state


def test_values_are_written_the_same_everywhere() -> None:
    at = 1_795_437_660 * SECOND
    assert when(at) == (
        '<time datetime="2026-11-23T12:41:00.000000Z" title="2026-11-23T12:41:00.000000Z">2026-11-23 12:41</time>'
    )
    assert moment("2026-11-23T12:41:00.000000Z") == when(at)
    assert moment("<b>") == "&lt;b&gt;"
    assert (left(at + 3 * DAY, at), left(at - 7200 * SECOND, at), left(at + 90 * SECOND, at)) == (
        "due in 3 d",
        "overdue 2 h",
        "due in 1 min",
    )
    assert (percent(400), percent(125), tail("usecase/x"), tail("x")) == ("40 %", "12.5 %", "x", "x")


def test_only_our_own_origin_counts() -> None:
    assert same_origin(Headers({"origin": "http://a:1", "host": "a:1"}))
    assert not same_origin(Headers({"origin": "http://a:2", "host": "a:1"}))
    assert not same_origin(Headers({"origin": "", "host": ""}))
    assert not same_origin(Headers({"sec-fetch-site": "cross-site", "origin": "http://a", "host": "a"}))


def test_errors_say_what_to_do_and_keep_their_insides() -> None:
    denied = problem_of(Denied("no", hint="ask", reasons=(("a", "b", "c"), ("d", "e", "f"))))
    assert (denied.status, denied.fix, len(denied.reasons)) == (403, "ask", 2)
    assert problem_of(NeedsApproval("wait", approval="approval/1")).approval == "1"
    assert problem_of(BedplateError("x")).status == 500
    assert "secret" not in problem_of(RuntimeError("secret")).message


def test_a_changed_proof_fails_at_its_step(house: House) -> None:
    at = house.at
    shard, row, name = at.calls.find(house.calls["answered"])
    at.seal()
    proof = prove(at.engine, shard, name, row.seq, row.entry, at.anchor.prove)
    visit = cast("Visit", _At(at))
    assert [s.held for s in checked(visit, proof).steps] == [True] * 4
    forged = checked(visit, replace(proof, call=proof.call.replace(b'"allow"', b'"deny" ')))
    assert [s.held for s in forged.steps] == [True, True, True, False]
    moved = checked(visit, replace(proof, event_path=proof.event_path[::-1]))
    assert [s.held for s in moved.steps] == [True, False, None, None]
    assert "step 2" in moved.fault


class _At:
    def __init__(self, at: Installation) -> None:
        self.at = at


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Installation]:
    at = open_installation(Settings(data=tmp_path))
    at.follower.look()
    yield at
    asyncio.run(at.close())


def _browse(at: Installation, person: str, **options: Any) -> TestClient:
    people.invite(at.governor, "operator", person, person)
    token = people.sign_in(at.governor, person, "session").text
    cookies = {"bedplate_session": token}
    headers = {"sec-fetch-site": "same-origin"}
    return TestClient(
        create(at), "http://127.0.0.1", cookies=cookies, headers=headers, follow_redirects=False, **options
    )


def _found(at: Installation, *, solo: bool = False) -> None:
    text = blank_model("Harbour Mutual", (EXAMPLE / "people.yaml").read_text())
    if solo:
        text = text.replace("posture: standard", "posture: solo")
    file = people.check_model(at.governor, parse(text, "operating-model.yaml"))
    with pytest.raises(NeedsApproval) as asked:
        people.apply_model(at.governor, "priya.raman", file, None)
    for voter in ("jonas.weber", "ruth.adeyemi"):
        at.vote(voter, asked.value.approval, yes=True, reason="agreed")


def test_before_anything_is_in_force_every_page_says_so(bare: Installation) -> None:
    browser = _browse(bare, "ruth.adeyemi")
    for path in ("/", "/use-cases", "/approvals", "/incidents", "/calls", "/ledger", "/me", "/palette"):
        answer = browser.get(path)
        assert answer.status_code == 200, path
        assert path == "/palette" or "No operating model is in force yet" in answer.text
    assert "Nothing waits for you." in browser.get("/").text
    assert "Look around as" not in browser.get("/sign-in").text


def test_without_a_demonstration_a_link_asks_before_it_signs_in(bare: Installation) -> None:
    browser = _browse(bare, "ruth.adeyemi")
    code = people.invite(bare.governor, "operator", "new", "New Person").text
    answer = browser.get(f"/sign-in?code={code}")
    assert answer.status_code == 200
    assert "Sign in as New Person" in answer.text
    assert browser.get("/sign-in?code=nonsense").status_code == 401
    cli = people.sign_in(bare.governor, "new", "cli").text
    stranger = TestClient(create(bare), "http://127.0.0.1", cookies={"bedplate_session": cli}, follow_redirects=False)
    assert stranger.get("/").status_code == 303


def test_solo_and_break_glass_are_on_every_page(bare: Installation) -> None:
    _found(bare, solo=True)
    browser = _browse(bare, "ruth.adeyemi")
    _propose(bare, "glassy", "Glassy")
    bare.governor.break_glass("ruth.adeyemi", "usecase/glassy", hours=1, reason="an emergency")
    bare.follower.look()
    for path in ("/", "/use-cases/glassy", "/ledger", "/nowhere"):
        text = browser.get(path).text
        assert "Posture solo" in text, path
        assert "Break-glass is open for usecase/glassy" in text, path
        assert "Posture: solo" in text, path


def test_a_hundred_use_cases_a_page(bare: Installation) -> None:
    _found(bare)
    for number in range(103):
        _propose(bare, f"case-{number:03}", f"Case {number:03}")
    browser = _browse(bare, "ruth.adeyemi")
    first, second = browser.get("/use-cases").text, browser.get("/use-cases?page=2").text
    assert first.count('<th scope="row"') == 100
    assert second.count('<th scope="row"') == 3
    assert "page 1 of 2" in first
    assert "Case 102" not in first
    assert "Case 102" in second
    assert browser.get("/use-cases?text=case-1").text.count('<th scope="row"') == 3
    assert "No use case matches." in browser.get("/use-cases?text=zzz").text
    took = []
    for _ in range(5):
        began = time.perf_counter()
        browser.get("/use-cases")
        took.append(time.perf_counter() - began)
    assert min(took) < 0.25, took


def test_records_that_were_changed_are_on_every_page(tmp_path: Path) -> None:
    at = open_installation(Settings(data=tmp_path))
    _found(at)
    _propose(at, NAME, "Tampered")
    browser = _browse(at, "ruth.adeyemi")
    cookies = dict(browser.cookies)
    with closing(sqlite3.connect(tmp_path / "bedplate.db")) as db, db:
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute("UPDATE event SET actor = 'somebody.else' WHERE seq = 2")
    told = browser.post("/ledger/verify")
    assert "event 2 was changed" in told.text
    assert "event 2 was changed" in browser.get("/").text
    asyncio.run(at.close())
    again = open_installation(Settings(data=tmp_path))
    try:
        again.follower.look()
        client = TestClient(create(again), "http://127.0.0.1", cookies=cookies, headers={"sec-fetch-site": "none"})
        for path in ("/", f"/use-cases/{NAME}", "/approvals", "/ledger"):
            answer = client.get(path)
            assert answer.status_code == 200, path
            assert "The records do not hold together" in answer.text
        assert client.post(f"/use-cases/{NAME}/suspend", data={"reason": "x"}).status_code == 500
        assert client.get("/ledger/2").status_code == 200
    finally:
        asyncio.run(again.close())


def test_a_page_that_breaks_says_nothing_of_its_insides(bare: Installation) -> None:
    browser = _browse(bare, "ruth.adeyemi")
    with closing(sqlite3.connect(bare.settings.data / "bedplate.db")) as db, db:
        db.execute("DROP TABLE incident")
    answer = browser.get("/incidents")
    assert answer.status_code == 500
    assert "Something broke" in answer.text
    assert "sqlite" not in answer.text.lower()
    assert "no such table" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def _propose(at: Installation, name: str, title: str) -> None:
    model = at.model()
    assert model is not None
    text = (EXAMPLE / NAME / "use-case.yaml").read_text()
    text = text.replace(f"id: {NAME}", f"id: {name}").replace("title: HR policy assistant", f"title: {title}")
    file = portfolio.check_use_case(parse(text, "use-case.yaml"), model)
    with pytest.raises(NeedsApproval):
        portfolio.propose(at.governor, "leo.fischer", file, model)


def test_every_template_compiles() -> None:
    pages = environment()
    names = pages.list_templates()
    assert "home.html" in names
    assert all(pages.get_template(name).name == name for name in names)
