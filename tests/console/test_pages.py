"""Pages without a browser: who may see them, what is sent with them, what they refuse, what they escape."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from bedplate.console.app import PLANES
from bedplate.console.guard import POLICY
from bedplate.evidence.views import events
from bedplate.incidents.actions import Happening, close, open_incident
from bedplate.incidents.clock import DUE
from bedplate.incidents.escalation import Escalation
from bedplate.incidents.ladder import UNPROVEN
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import SECOND
from bedplate.kernel.governor import Governor
from bedplate.people.actions import invite
from bedplate.store.note import VerifierKey
from bedplate.store.proof import Proof, verify

from .conftest import HOSTILE, NAME, until

if TYPE_CHECKING:
    from .conftest import House

EVERY = sorted({(page.method, page.path) for plane in PLANES for page in plane.PAGES})
PRIVATE = [(method, path) for method, path in EVERY if path != "/sign-in"]


def filled(path: str) -> str:
    """Return an address with something in each of its places."""
    known = {"seq": "0", "monitor": "failed", "prompt": "system", "results": "none"}
    return re.sub(r"\{(\w+)(:path)?\}", lambda place: known.get(place[1], "x"), path)


@pytest.mark.parametrize(("method", "path"), EVERY)
def test_every_route_carries_the_policy(house: House, method: str, path: str) -> None:
    answer = house.send(method, filled(path), "victor.lam")
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.status < 500
    house.sessions.pop("victor.lam")  # signing out was among them


@pytest.mark.parametrize("path", ["/static/console.css", "/static/nothing.css", "/nowhere", "/use-cases/a/b/c/d"])
def test_files_and_missing_pages_carry_the_policy(house: House, path: str) -> None:
    answer = house.send("GET", path)
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.status == (200 if path.endswith("console.css") else 404)


@pytest.mark.parametrize(("method", "path"), PRIVATE)
def test_who_has_not_signed_in_is_sent_to_the_form(house: House, method: str, path: str) -> None:
    path = filled(path)
    answer = house.send(method, path, "")
    assert (answer.status, answer.headers["location"].split("?")[0]) == (303, "/sign-in")
    assert house.send(method, path, "", hx_request="true").headers["hx-redirect"].startswith("/sign-in")


def test_a_stranger_learns_nothing_from_a_missing_page(house: House) -> None:
    answer = house.send("GET", "/nowhere", "")
    assert answer.status == 404
    assert "Harbour" not in answer.data.decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "", "origin": "https://evil.example"},
        {"sec_fetch_site": "", "origin": "null"},
        {"sec_fetch_site": ""},
        {"sec_fetch_site": "cross-site", "origin": "HOST"},
    ],
)
def test_a_change_from_elsewhere_is_refused(house: House, headers: dict[str, str]) -> None:
    headers = {k: house.url if v == "HOST" else v for k, v in headers.items()}
    before = house.at.ledger.size()
    answer = house.send("POST", f"/use-cases/{NAME}/suspend", "mara.quinn", {"reason": "forged"}, **headers)
    assert answer.status == 403
    assert "another site" in answer.data.decode()
    assert house.at.standing(f"usecase/{NAME}").suspended == ""
    assert all(
        e["data"].get("reason") != "forged" for e in house.client("victor.lam").get("/api/ledger/events")["events"]
    )
    assert house.at.ledger.size() >= before


@pytest.mark.parametrize("headers", [{"sec_fetch_site": "none"}, {"sec_fetch_site": "", "origin": "HOST"}])
def test_a_change_from_our_own_page_is_heard(house: House, headers: dict[str, str]) -> None:
    headers = {k: house.url if v == "HOST" else v for k, v in headers.items()}
    answer = house.send("POST", f"/use-cases/{NAME}/suspend", "mara.quinn", {"reason": " "}, **headers)
    assert answer.status == 422


@pytest.mark.parametrize("what", ["call", "home", "use cases", "use case", "proposed", "approvals", "event", "ledger"])
def test_hostile_text_stays_text(house: House, what: str) -> None:
    text = house.page(house.paths()[what])
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "<b onmouseover" not in text
    assert "tests <b>" not in text
    assert " 49 " not in text


def test_hostile_text_is_shown_as_it_was_said(house: House) -> None:
    text = house.page(f"/calls/{house.calls['hostile']}")
    assert HOSTILE.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;") in text
    name = house.page("/", "mallory")
    assert "Mallory &lt;i&gt;&amp; co&lt;/i&gt; &lt;script&gt;alert(2)&lt;/script&gt;" in name


def test_no_page_says_the_word_or_reaches_out(house: House) -> None:
    for path in house.paths().values():
        text = house.page(path)
        assert "compliant" not in text.lower()
        assert not re.search(r"""(src|href|action|hx-\w+)=["']?(https?:)?//""", text), path
        assert " style=" not in text, path
        assert "<style" not in text, path
        assert "Answers come from: embedded extractive answerer" in text
        assert "Harbour Mutual" in text


def test_a_vote_that_cannot_count_says_why_in_place(house: House) -> None:
    path = f"/approvals/{house.waiting[0]}/votes"
    answer = house.send("POST", path, form={"decision": "reject", "reason": " "}, hx_request="true")
    assert answer.status == 422
    assert answer.data.startswith(b'<li class="appr"')
    assert "A refusal needs a reason." in answer.data.decode()
    separated = house.send("POST", path, "leo.fischer", {"decision": "approve"}, hx_request="true")
    assert separated.status == 403
    assert "nobody approves their own request" in separated.data.decode()
    assert "Hanna Osei" in separated.data.decode() or "hanna.osei" in separated.data.decode()
    assert house.send("POST", path, form={"decision": "perhaps"}).status == 422
    assert house.send("POST", path, form={"decision": "reject", "reason": "x" * 5_000}).status == 422
    assert house.send("POST", path, form={"decision": "reject", "reason": "x" * 70_000}).status == 413
    assert house.send("POST", "/approvals/none/votes", form={"decision": "approve"}).status == 404
    plain = house.send("POST", path, form={"decision": "reject", "reason": ""})
    assert plain.status == 422
    assert plain.data.startswith(b"<!doctype html>")
    assert "A refusal needs a reason." in plain.data.decode()


def test_what_is_settled_cannot_be_voted_on(house: House) -> None:
    spent = next(a for a in house.at.approvals("spent")).id.removeprefix("approval/")
    answer = house.send("POST", f"/approvals/{spent}/votes", form={"decision": "approve"})
    assert answer.status == 409
    assert "there is nothing to vote on" in answer.data.decode()


def test_an_approval_shows_what_is_decided_and_who_is_missing(house: House) -> None:
    text = house.page(f"/approvals/{house.waiting[0]}", "victor.lam")
    approval = house.at.approval(f"approval/{house.waiting[0]}")
    assert approval.digest in text
    assert "who can: " in text
    assert "Hanna Osei" in text
    assert "You cannot vote on this" in text
    assert "file runbook.md" in text
    assert re.search(r"\b(\d+) of \1 proven", text)
    model = next(a for a in house.at.approvals("spent") if a.action == "people.apply")
    founded = house.page(f"/approvals/{model.id.removeprefix('approval/')}")
    assert "Ruth Adeyemi" in founded
    assert "Jonas Weber" in founded


def test_a_use_case_says_why(house: House) -> None:
    text = house.page(f"/use-cases/{NAME}")
    for expected in ("Mara Quinn", "Gwen Parry", "questions answered no", "not-suspended-release", "proven", "propose"):
        assert expected in text
    assert "Your seats may not suspend it." in house.page(f"/use-cases/{NAME}", "victor.lam")
    nobody = house.page("/use-cases/claims-triage")
    assert "affect a person" in nobody
    assert "tier 4" in nobody
    assert house.send("GET", "/use-cases/nobody-proposed").status == 404


def test_who_may_not_suspend_is_told_who_may(house: House) -> None:
    path = f"/use-cases/{NAME}/suspend"
    answer = house.send("POST", path, "victor.lam", {"reason": "because"}, hx_request="true")
    assert answer.status == 403
    assert "who may: " in answer.data.decode()
    assert "<html" not in answer.data.decode()
    page = house.send("POST", path, "victor.lam", {"reason": "because"})
    assert page.status == 403
    assert "What to do" in page.data.decode()
    assert house.send("POST", "/use-cases/nobody-proposed/suspend", "mara.quinn", {"reason": "x"}).status == 404


def test_suspending_and_resuming(house: House) -> None:
    path = f"/use-cases/{NAME}"
    assert house.send("POST", f"{path}/suspend", "mara.quinn", {"reason": "a drill"}).headers["location"] == path
    assert "Suspended, every call is refused: a drill" in house.page(path)
    assert "a drill" in house.page("/")
    asked = house.send("POST", f"{path}/resume", "mara.quinn", {"reason": "drill over"}, hx_request="true")
    assert asked.status == 202
    assert "See the approval" in asked.data.decode()
    where = house.send("POST", f"{path}/resume", "mara.quinn", {"reason": "drill over"}).headers["location"]
    assert where.startswith("/approvals/")
    assert house.send("POST", f"{where}/votes", form={"decision": "approve"}).headers["location"] == where
    assert "spent" in house.page(where)
    assert house.at.standing(f"usecase/{NAME}").suspended == ""


def test_monitors_as_numbers(house: House) -> None:
    answer = house.send("GET", f"/use-cases/{NAME}/series/unanswered")
    series = json.loads(answer.data)
    assert series["limit"][0] == 40
    assert series["value"][0] > 40
    assert len(series["t"]) == len(series["value"]) == len(series["limit"])
    assert house.send("GET", "/use-cases/nobody-proposed/series/unanswered").status == 404


def test_an_incident_is_closed_by_its_owner_with_a_resolution(house: House) -> None:
    path = house.incident()
    text = house.page(path)
    assert "Frozen evidence" in text
    assert "due in" in text
    assert "Its owner closes it" in text
    assert house.send("POST", f"{path}/close", "mara.quinn", {"resolution": ""}, hx_request="true").status == 422
    assert house.send("POST", f"{path}/close", "victor.lam", {"resolution": "fine"}).status == 403
    house.client("mara.quinn").post(f"/api/use-cases/{NAME}/harm", {"title": "A wrong answer", "details": "about pay"})
    harm = house.incident()
    assert "about pay" in house.page(harm, "mara.quinn")
    assert house.send("POST", f"{harm}/close", "mara.quinn", {"resolution": "The page was corrected"}).status == 303
    assert "The page was corrected" in house.page(harm)
    assert "A wrong answer" in house.page("/incidents")
    assert "A wrong answer" not in house.page("/incidents?state=open")
    asked = house.send("POST", f"/use-cases/{NAME}/resume", "mara.quinn", {"reason": "corrected"}).headers["location"]
    house.send("POST", f"{asked}/votes", form={"decision": "approve"})


def test_calls_are_found_by_what_is_on_record(house: House) -> None:
    refused = house.page(f"/calls?use_case={NAME}&verdict=deny")
    assert house.calls["refused"] in refused
    assert house.calls["answered"] not in refused
    assert house.calls["answered"] in house.page(f"/calls?text={house.calls['answered']}")
    assert "No call is on record." in house.page("/calls?use_case=rota-helper&page=999999999999999999999")
    assert "build a release and have it approved" in house.page(f"/calls/{house.calls['refused']}")
    assert house.send("GET", "/calls/none").status == 404
    assert house.send("GET", "/calls/none/proof").status == 404


def test_a_proof_is_checked_step_by_step_and_holds_offline(house: House) -> None:
    path = f"/calls/{house.calls['answered']}"
    part = house.send("POST", f"{path}/check", "victor.lam", {}, hx_request="true").data.decode()
    assert part.count("✓") == 4
    assert "The proof holds" in part
    assert "The proof holds" in house.send("POST", f"{path}/check", "victor.lam", {}).data.decode()
    answer = house.send("GET", f"{path}/proof")
    assert "attachment" in answer.headers["content-disposition"]
    keys = [VerifierKey.parse(line) for line in house.client("victor.lam").public_keys().split()]
    assert verify(Proof.parse(answer.data), keys).call["id"] == house.calls["answered"]


def test_the_ledger_is_filtered_paged_and_verified(house: House) -> None:
    text = house.page("/ledger?kind=kernel.model.applied")
    assert text.count("kernel.model.applied</code>") == 1
    assert "No event matches." in house.page("/ledger?stream=nothing")
    older = house.page("/ledger?before=5")
    assert 'href="/ledger/4"' in older
    assert 'href="/ledger/5"' not in older
    part = house.send("POST", "/ledger/verify", "victor.lam", {}, hx_request="true").data.decode()
    assert "Everything holds together" in part
    assert "asked by <span" in part
    assert "Everything holds together" in house.send("POST", "/ledger/verify", form={}).data.decode()
    assert "checked" in house.page("/")


def test_an_event_is_proved_in_the_ledger(house: House) -> None:
    text = house.page("/ledger/3")
    assert "give the root that was signed at" in text
    newest = house.at.ledger.size() - 1
    assert "give the root that was signed at" in house.page(f"/ledger/{newest}")
    for wrong in ("99999999", "-1", "x", "9" * 30):
        assert house.send("GET", f"/ledger/{wrong}").status == 404


def test_today_is_counted_as_calls_come_in(house: House) -> None:
    before = house.page("/")
    house.ask("How much notice must I give?")
    after = house.page("/")
    count = re.compile(r"Calls today</span><b>(\d+)</b>")
    first, second = (int(count.search(t)[1]) for t in (before, after))  # type: ignore[index]  # it is on every home page
    assert second == first + 1


def test_an_invitation_signs_in_once(house: House) -> None:
    code = invite(house.at.governor, "operator", "newcomer", "New Comer").text
    shown = house.send("GET", f"/sign-in?code={code}", "", sec_fetch_site="cross-site")
    assert "Sign in as New Comer" in shown.data.decode()
    answer = house.send("POST", "/sign-in", "", {"code": code, "next": "/ledger"})
    assert (answer.status, answer.headers["location"]) == (303, "/ledger")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("bedplate_session=bpt_")
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert "Secure" not in cookie
    again = house.send("POST", "/sign-in", "", {"code": code})
    assert again.status == 401
    assert "has ended" in again.data.decode()


def test_over_tls_the_cookie_is_pinned_to_the_host(house: House) -> None:
    code = invite(house.at.governor, "operator", "secured", "Secured").text
    answer = house.send("POST", "/sign-in", "", {"code": code}, x_forwarded_proto="https")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-bedplate_session=bpt_")
    assert "Secure" in cookie
    assert "Path=/;" in cookie


@pytest.mark.parametrize("away", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"])
def test_signing_in_never_leads_away(house: House, away: str) -> None:
    code = invite(house.at.governor, "operator", "traveller", "Traveller").text
    assert house.send("POST", "/sign-in", "", {"code": code, "next": away}).headers["location"] == "/"


def test_a_password_signs_in_and_a_session_ends(house: House) -> None:
    word = "a long enough password"
    form = {"password": word, "again": word}
    assert house.send("POST", "/me/password", "gwen.parry", {**form, "again": "other"}).status == 422
    assert house.send("POST", "/me/password", "gwen.parry", {"password": "short", "again": "short"}).status == 422
    assert house.send("POST", "/me/password", "gwen.parry", form).status == 303
    assert "Your password is set" in house.page("/me?done=password", "gwen.parry")
    assert house.send("POST", "/sign-in", "", {"person": "gwen.parry", "password": "wrong"}).status == 401
    assert house.send("POST", "/sign-in", "", {"person": "nobody", "password": word}).status == 401
    answer = house.send("POST", "/sign-in", "", {"person": "gwen.parry", "password": word})
    house.sessions["gwen.parry"] = answer.headers["set-cookie"].split("=", 1)[1].split(";")[0]
    assert "domain.sponsor@people" in house.page("/me", "gwen.parry")
    assert house.send("POST", "/sign-out", "gwen.parry", {}).headers["location"] == "/sign-in"
    assert house.send("GET", "/", "gwen.parry").status == 303


def test_one_click_links_are_for_this_machine_only(house: House) -> None:
    links = house.at.settings.data / "demo-links.json"
    token = house.client("victor.lam").token
    links.write_text(json.dumps({"victor.lam": {"name": "Victor Lam", "seats": ["audit.reader"], "token": token}}))
    shown = house.send("GET", "/sign-in", "").data.decode()
    assert "Look around as" in shown
    assert token not in shown
    away: list[dict[str, Any]] = [
        {"x_forwarded_for": "10.0.0.9"},
        {"forwarded": "for=10.0.0.9"},
        {"host": "elsewhere.example"},
    ]
    for headers in away:
        assert "Look around as" not in house.send("GET", "/sign-in", "", **headers).data.decode()
        assert house.send("GET", "/sign-in?as=victor.lam", "", **headers).status == 200
    assert "set-cookie" not in house.send("GET", "/sign-in?as=victor.lam", "", sec_fetch_site="cross-site").headers
    assert house.send("GET", "/sign-in?as=ruth.adeyemi", "").status == 401
    answer = house.send("GET", "/sign-in?as=victor.lam&next=/calls", "")
    assert (answer.status, answer.headers["location"]) == (303, "/calls")
    session = answer.headers["set-cookie"].split("=", 1)[1].split(";")[0]
    assert session != token
    house.sessions["clicked"] = session
    assert house.send("POST", "/sign-out", "clicked", {}).status == 303
    assert house.send("GET", "/", "clicked").headers["location"].startswith("/sign-in")
    house.sessions.pop("clicked")
    assert house.send("GET", "/sign-in?as=victor.lam", "").status == 303  # signing out ended the session, not the link
    code = invite(house.at.governor, "operator", "visitor", "Visitor").text
    assert house.send("GET", f"/sign-in?code={code}", "").status == 303
    links.write_text("{")
    assert house.send("GET", "/sign-in", "").status == 422
    links.unlink()


def test_a_key_of_a_use_case_opens_no_page(house: House) -> None:
    house.sessions["key"] = house.key
    assert house.send("GET", "/", "key").status == 303
    house.sessions.pop("key")


def test_the_palette_lists_pages_use_cases_and_decisions(house: House) -> None:
    text = house.page("/palette")
    for expected in ("Approvals", "HR policy assistant", "Take up".lower(), "incident"):
        assert expected in text.lower() or expected in text


def test_the_last_vote_takes_the_release_live(house: House) -> None:
    asked = house.propose("last-vote")
    answer = house.send("POST", f"/approvals/{asked}/votes", form={"decision": "approve"}, hx_request="true")
    assert "carried out" in answer.data.decode()
    assert 'id="qcount" hx-swap-oob="true"' in answer.data.decode()
    until(lambda: house.at.standing("usecase/last-vote").stage == "accepted")
    refused = house.propose("refused-one")
    form = {"decision": "reject", "reason": "say whose it is"}
    answer = house.send("POST", f"/approvals/{refused}/votes", form=form, hx_request="true")
    assert "Rejected" in answer.data.decode()
    assert "say whose it is" in house.page(f"/approvals/{refused}")
    assert "say whose it is" in house.page("/use-cases/refused-one")


def test_an_incident_that_went_up_is_on_top_of_the_home_of_whoever_it_went_to(house: House) -> None:
    at, now = house.at, house.at.clock()
    past = Governor(at.ledger, at.catalogue, lambda: now - DUE[UNPROVEN] - SECOND, at.identities)  # type: ignore[arg-type]  # it is one
    what = Happening(f"usecase/{NAME}", "nobody looked after this", "canary/x", UNPROVEN, b"{}")
    incident = open_incident(past, SYSTEM, what)
    Escalation(at.engine, at.governor).round()
    told = [e for e in events(at.engine, kind="incidents.incident.escalated") if e.stream == incident]
    assert [e.data["people"] for e in told] == [["hanna.osei"]]
    assert re.search(r'id="h-w".*?<li class="line">\S*?<span[^>]*>escalated to you', house.page("/"), re.DOTALL)
    assert "escalated to you" not in house.page("/", "leo.fischer")
    page = house.page(f"/incidents/{incident.partition('/')[2]}")
    assert "Overdue: it went up 1 step, to" in page
    assert "Hanna Osei" in page
    close(at.governor, "mara.quinn", what.subject, incident, "looked after now")
