"""Agents, actions, runs, oversight and stops without a browser: what they show, change, refuse and count."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from bedplate.agents import views
from bedplate.agents.link import Links
from bedplate.agents.oversight import agreement, reviewers
from bedplate.agents.run import Step
from bedplate.console.oversight import banded
from bedplate.console.runs import counted
from bedplate.kernel.clock import SECOND
from bedplate.paths import agents as paths
from bedplate.paths.agents import Sought

from .acted import ASSURED, CASE, KNOWN, THIEF
from .conftest import until

if TYPE_CHECKING:
    from .acted import Acted
    from .conftest import House


@pytest.fixture
def house(acted: Acted) -> House:
    return acted.house


def text(page: str) -> str:
    """Return what a person reads, without tags and with single blanks."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


# Agents


def test_agents_are_listed_with_who_answers_and_what_holds_them_up(house: House) -> None:
    page = text(house.page("/agents"))
    assert "payer Pays invoices of suppliers Mara Quinn" in page
    assert re.search(r"clerk Writes notes Mara Quinn propose with 1 tool .* breaker open", page)
    assert "tool/bank/note transport" in page
    assert "Nobody knows what became of these" in page
    assert "20,000.00 EUR" in page  # its limits


def test_a_breaker_is_closed_from_the_page_by_those_who_may_and_for_a_reason(house: House) -> None:
    path, form = f"/agents/{CASE}/breakers/close", {"scope": "agent/clerk", "reason": "looked at it"}
    from bedplate.agents.actions import trip  # noqa: PLC0415  as the watch does

    trip(house.at.governor, f"usecase/{CASE}", scope="agent/clerk", signal="denials", why="5 refused in a row")
    house.at.follower.look()
    assert "5 refused in a row" in house.page("/agents", "leo.fischer")
    assert house.send("POST", path, "victor.lam", form).status == 403
    assert house.send("POST", path, "leo.fischer", {**form, "reason": " "}).status == 422
    assert views.trips(house.at.engine, is_open=True)[0]["scope"] == "agent/clerk"


# The queue


def test_the_queue_shows_what_expires_first_first(acted: Acted) -> None:
    page = acted.house.page("/actions")
    shown = re.findall(r'<th scope="row" class="wrap"><a href="/actions/([^"]+)"', page)
    rows = {r["approval"].partition("/")[2]: r["expires"] for r in views.queue(acted.house.at.engine)[0]}
    assert len(shown) == len(rows) >= 2
    assert [rows[name] for name in shown] == sorted(rows.values())


def test_the_queue_is_filtered_and_counts_are_of_the_filter(acted: Acted) -> None:
    page = text(acted.house.page(f"/actions?use_case={ASSURED}"))
    assert "1 action , the first to expire first" in page
    assert "▲ recipient" in page
    page = text(acted.house.page("/actions?state=any&tier=4&agent=payer&tool=bank/pay"))
    assert "950.00 EUR" not in page
    assert "let through" in page
    assert "0 actions" in text(acted.house.page("/actions?agent=nobody"))


def test_who_may_read_nothing_sees_no_action_and_is_told_why(acted: Acted) -> None:
    page = text(acted.house.page("/actions", "sofia.brandt"))  # of another team
    assert "agents:action:read" in page
    assert "bank/pay" not in re.sub(r"Tool.*Tier", "", page)
    assert acted.house.send("GET", f"/actions/{acted.parked['tainted']}", "sofia.brandt").status == 403
    assert acted.house.send("GET", acted.run("injected"), "sofia.brandt").status == 403
    assert "injected" not in acted.house.page("/runs", "sofia.brandt")


def test_what_nobody_answered_in_time_waits_no_more(acted: Acted) -> None:
    engine, now = acted.house.at.engine, acted.house.at.clock()
    later = now + 10 * 24 * 3_600 * SECOND
    every = Sought()
    assert paths.queue(engine, every, now)
    assert paths.queue(engine, every, later) == []
    counts, then = paths.counts(engine, every, now), paths.counts(engine, every, later)
    assert then["expired"] == counts.get("expired", 0) + counts["asked"]
    assert {r["state"] for r in paths.queue(engine, Sought(state="expired"), later)} == {"expired"}


# One action


def test_an_action_shows_its_arguments_where_they_come_from_and_why_people_are_asked(acted: Acted) -> None:
    page = acted.house.page(f"/actions/{acted.parked['tainted']}")
    said = text(page)
    assert f"recipient {THIEF} read in step 1 from bank/read_invoice" in said
    assert "recipient was read in step 1 from bank/read_invoice" in said
    assert "a payment of more than 200 EUR" in said
    assert "<script>alert('ref')" not in page
    assert "never called" in said


def test_an_action_is_compared_with_what_was_done_before_and_the_edit(acted: Acted) -> None:
    said = text(acted.house.page(f"/actions/{acted.parked['edited']}"))
    assert f"recipient {KNOWN} in the task always the same" in said
    assert re.search(r"amount 400 350 changed by Leo Fischer new ; was 900 · 120", said)
    assert "what was asked before" in said
    before = acted.house.page(f"/actions/{acted.parked['first']}")
    assert f"/actions/{acted.parked['edited']}" in before
    assert 'value="approve"' not in before


def test_what_was_done_shows_who_agreed_how_long_they_looked_and_the_result(acted: Acted) -> None:
    said = text(acted.house.page(f"/actions/{acted.parked['done']}"))
    assert "let through" in said
    assert re.search(r"Hanna Osei , first .{16} ; agreed after 0\.\d s", said)
    assert "R-900" in said


def test_opening_an_action_is_on_record_once(acted: Acted) -> None:
    approval = f"approval/{acted.parked['tainted']}"
    for _ in range(2):
        acted.house.page(f"/actions/{acted.parked['tainted']}", "mara.quinn")
    seen = [one for one in paths.looks(acted.house.at.engine, approval) if one["person"] == "mara.quinn"]
    assert len(seen) == 1
    assert seen[0]["seen_at"] > 0
    leo = acted.house.client("leo.fischer")
    for _ in range(2):
        assert leo.get(f"/api/actions/{approval}")["arguments"]["recipient"] == THIEF


def waiting(acted: Acted, name: str, amount: int) -> str:
    """Have the agent ask for a payment; returns what people are asked."""
    run = acted.begin(name, f"Pay {amount} EUR to {KNOWN}", ASSURED)
    asked = acted.ask(run, "pay", {"recipient": KNOWN, "amount": amount, "reference": name}, key="pay")
    assert asked.verdict == "ask"
    return asked.approval.removeprefix("approval/")


def test_a_refusal_needs_a_reason_and_reaches_the_agent(acted: Acted) -> None:
    name = waiting(acted, "refused", 310)
    path = f"/actions/{name}/votes"
    short = acted.house.send("POST", path, form={"decision": "reject", "reason": ""})
    assert (short.status, b"A refusal needs a reason" in short.data) == (422, True)
    assert acted.house.send("POST", path, "leo.fischer", {"decision": "approve", "reason": ""}).status == 403
    assert acted.house.send("POST", path, form={"decision": "reject", "reason": "we paid it"}).status == 303
    again = acted.ask(
        acted.runs["refused"], "pay", {"recipient": KNOWN, "amount": 310, "reference": "refused"}, key="pay"
    )
    assert again.verdict == "deny"
    assert "we paid it" in again.reasons[0][1]


def test_an_edit_that_the_rules_forbid_is_refused_in_place_and_kept_in_the_form(acted: Acted) -> None:
    name = waiting(acted, "edits", 320)
    path = f"/actions/{name}/edit"
    forbidden = json.dumps({"recipient": "XX99", "amount": 320, "reference": "edits"})
    for arguments, reason, told in (
        (forbidden, "why", "nobody pays accounts of XX"),
        ("{", "why", "cannot be read"),
        ("[1]", "why", "no JSON object"),
        (forbidden, "", "needs a reason"),
    ):
        sent = acted.house.send("POST", path, "leo.fischer", {"arguments": arguments, "reason": reason})
        page = sent.data.decode()
        assert 400 <= sent.status < 500
        assert told in html.unescape(page)
        assert html.escape(arguments, quote=True).replace("&quot;", "&#34;") in page
    assert acted.house.send("POST", path, "victor.lam", {"arguments": forbidden, "reason": "why"}).status == 403
    assert views.parked_action(acted.house.at.engine, f"approval/{name}")["state"] == "asked"


def test_answering_and_taking_over_close_the_question(acted: Acted) -> None:
    answered, taken = waiting(acted, "answered", 330), waiting(acted, "taken", 340)
    sent = acted.house.send("POST", f"/actions/{answered}/answer", "leo.fischer", {"answer": "use 300", "reason": ""})
    assert sent.status == 303
    assert "use 300" in text(acted.house.page(f"/actions/{answered}"))
    bare = acted.house.send("POST", f"/actions/{taken}/take-over", "leo.fischer", {"reason": ""})
    assert bare.status == 422
    sent = acted.house.send("POST", f"/actions/{taken}/take-over", "leo.fischer", {"reason": "I pay it by hand"})
    assert sent.status == 303
    said = text(acted.house.page(f"/actions/{taken}"))
    assert "taken over by Leo Fischer" in said
    assert "I pay it by hand" in said
    ask = {"recipient": KNOWN, "amount": 330, "reference": "answered"}
    assert acted.ask(acted.runs["answered"], "pay", ask, key="pay").result == "use 300"


def test_a_vote_from_another_site_is_refused(acted: Acted) -> None:
    path = f"/actions/{acted.parked['tainted']}/votes"
    form = {"decision": "approve", "reason": ""}
    assert acted.house.send("POST", path, form=form, sec_fetch_site="cross-site").status == 403
    assert views.parked_action(acted.house.at.engine, f"approval/{acted.parked['tainted']}")["state"] == "asked"


# Runs


def test_a_run_is_a_timeline_with_reasons_taint_and_its_questions(acted: Acted) -> None:
    page = acted.house.page(acted.run("injected"))
    said = text(page)
    assert re.search(r"1 \S+ s bank/read_invoice allow done", said)
    assert "nobody pays accounts of XX" in said
    assert "▲ recipient was read in step 1 from bank/read_invoice" in said
    assert f"/actions/{acted.parked['tainted']}" in page
    assert "hx-trigger" in page
    assert "hx-trigger" not in acted.house.page(acted.run("usual"))  # it ended


def test_the_timeline_is_sent_again_only_when_it_moved(acted: Acted) -> None:
    run = acted.begin("moving", "look")
    page = acted.house.page(acted.run("moving"))
    live = html.unescape(re.search(r'hx-get="([^"]+)"', page)[1])  # type: ignore[index]  # it runs
    assert acted.house.send("GET", live, hx_request="true").status == 204
    acted.ask(run, "read_invoice", {"id": 3}, key="a")
    moved = acted.house.send("GET", live, hx_request="true")
    assert (moved.status, b"read_invoice" in moved.data, b"<html" in moved.data) == (200, True, False)


def test_each_step_is_replayed_with_what_was_known_then(acted: Acted) -> None:
    first = text(acted.house.page(acted.run("injected") + "?step=1"))
    assert "at the start task" in first
    assert "untrusted" not in first
    page = acted.house.page(acted.run("injected") + "?step=3")
    third = text(page)
    assert "untrusted step 1 bank/read_invoice" in third
    assert "3 of 40" in third
    assert '"parent": "injected 1"' in third
    assert 'rel="prev"' in page
    assert 'rel="next"' not in page
    assert acted.house.send("GET", acted.run("injected") + "?step=99").status == 404
    assert acted.house.send("GET", "/runs/nobody").status == 404


def test_counts_of_a_replay_are_those_of_the_store(acted: Acted) -> None:
    for name in ("usual", "injected", "lost"):
        run, steps = acted.house.at.runs.run(acted.runs[name]), acted.house.at.runs.steps(acted.runs[name])
        assert run is not None
        got = counted(steps)
        assert (got.steps, got.actions, got.denied, got.asked, got.amount) == (
            run.steps,
            run.actions,
            run.denied,
            run.asked,
            run.amount,
        )
    refused = Step("tool", verdict="deny", state="denied", times=7, class_="write", amount=9)
    assert counted([refused]).denied == 7
    assert counted([refused]).amount == 0


def test_a_run_with_a_slash_in_its_name_has_a_page(acted: Acted) -> None:
    acted.begin("folder/of", "anything")
    assert "/runs/folder%2Fof%201" in acted.house.page("/runs")
    assert acted.house.send("GET", "/runs/folder%2Fof%201").status == 200


def test_runs_are_paged_without_holes(acted: Acted) -> None:
    for n in range(52):
        acted.begin(f"many {n}", "x", ASSURED)
    page = acted.house.page(f"/runs?use_case={ASSURED}")
    older = html.unescape(re.search(r'rel="next" href="([^"]+)"', page)[1])  # type: ignore[index]  # there is one
    first, rest = (
        re.findall(r'<tr><th scope="row" class="wrap"><a href="([^"]+)"', p)
        for p in (page, acted.house.page(f"/runs{older}"))
    )
    assert len(first) == 50
    assert not set(first) & set(rest)
    assert acted.run("injected") in rest


def test_what_nobody_knows_is_concluded_by_those_who_may(acted: Acted) -> None:
    action, page = acted.done["lost"], acted.run("lost")
    assert f"/acts/{action}/conclude" in acted.house.page(page)
    path, form = f"/acts/{action}/conclude", {"state": "ok", "reason": "the bank shows it"}
    assert acted.house.send("POST", path, "victor.lam", form).status == 403
    assert acted.house.send("POST", path, form={**form, "reason": ""}).status == 422
    sent = acted.house.send("POST", path, form=form)
    assert (sent.status, sent.headers["location"]) == (303, page)
    assert "Nobody knows what became of step" not in acted.house.page(page)


# Oversight


def row(approval: str, person: str, seen: int, answered: int, answer: str = "yes") -> dict[str, Any]:
    return {"approval": approval, "person": person, "seen_at": seen, "answered_at": answered, "answer": answer}


def test_reviewers_are_counted_by_how_they_looked() -> None:
    rows = [row(f"a{n}", "ann", SECOND, 2 * SECOND) for n in range(20)]
    rows += [
        row("a0", "bob", SECOND, 41 * SECOND, "no"),
        row("a1", "bob", 0, 5 * SECOND),
        row("b", "bob", 1, 2, "edit"),
    ]
    ann, bob = reviewers(rows, [("ann", "yes"), ("ann", "no")], [("ann", "let a test pass")])
    assert (ann.person, ann.answers, ann.hasty, ann.median_us, ann.overrides) == ("ann", 20, 20, SECOND, 0)
    assert (ann.tests, ann.missed, ann.lowered, ann.stamps) == (2, 1, "let a test pass", True)
    assert (bob.no, bob.settled, bob.blind, bob.overrides, bob.stamps) == (1, 1, 1, 666, False)
    assert agreement(rows) == {"ann": 500, "bob": 500}
    assert dict(banded(rows)) == {
        "without looking": 1,
        "under 3 s": 21,
        "3 to 10 s": 0,
        "10 to 30 s": 0,
        "30 s to 2 min": 1,
        "2 to 10 min": 0,
        "over 10 min": 0,
    }


def test_nineteen_quick_answers_are_too_few_to_say_anything() -> None:
    (ann,) = reviewers([row(f"a{n}", "ann", SECOND, 2 * SECOND) for n in range(19)])
    assert not ann.stamps


def test_the_page_of_oversight_names_who_answered(acted: Acted) -> None:
    page = text(acted.house.page("/oversight"))
    assert re.search(r"Ruth Adeyemi \d+ \d+ 0 0 0 %", page)
    assert "unopened" in page  # Leo edited without having opened it
    assert "Ruth Adeyemi" not in text(acted.house.page("/oversight", "sofia.brandt")).partition("Reviewers")[2]


# Stops


def test_a_stop_shows_what_it_reaches_and_needs_two_steps(acted: Acted) -> None:
    page = text(acted.house.page(f"/stops?target={CASE}/clerk"))
    assert "What stopping clerk of payments holds up now 1 agent 0 runs in progress 0 actions waiting" in page
    assert "Last tried" in page  # its use case was
    assert "never tried" in text(acted.house.page(f"/stops?target={ASSURED}"))
    whole = text(acted.house.page("/stops?target=ALL"))
    assert "holds up now 4 agents" in whole
    assert "refunds (tier 3)" in whole  # nobody drilled it
    form = {"target": f"{CASE}/clerk", "reason": "it writes nonsense"}
    assert acted.house.send("POST", "/stops/raise", form=form).status == 422
    assert acted.house.send("POST", "/stops/raise", form={**form, "seen": "yes", "reason": ""}).status == 422
    assert acted.house.send("POST", "/stops/raise", "victor.lam", {**form, "seen": "yes"}).status == 403
    assert acted.house.send("GET", "/stops?target=nobody/else").status == 422
    assert views.stops(acted.house.at.engine, in_force=True) == []
    assert acted.house.send("POST", "/stops/raise", form={**form, "seen": "yes"}).status == 303
    assert "clerk of payments is stopped" in text(acted.house.page("/stops"))
    assert "it writes nonsense" in text(acted.house.page("/agents"))
    asked = acted.house.send("POST", "/stops/lift", "leo.fischer", {"target": f"{CASE}/clerk", "reason": "mended"})
    assert asked.headers["location"].startswith("/approvals/")
    for person in ("jonas.weber", "priya.raman", "ruth.adeyemi", "tomas.lindgren"):
        acted.house.client(person).vote(f"approval/{asked.headers['location'].rpartition('/')[2]}", "yes", "agreed")
    until(lambda: not views.stops(acted.house.at.engine, in_force=True))
    assert "nothing is stopped" in text(acted.house.page("/stops"))


# Around them


def test_what_agents_did_is_no_call(acted: Acted) -> None:
    assert "bank/pay" not in acted.house.page("/calls?route=live")
    assert acted.house.page("/calls")
    assert acted.house.page("/guardrails")


def test_actions_do_not_drown_other_approvals(acted: Acted) -> None:
    assert acted.parked["tainted"] not in acted.house.page("/approvals")
    assert 'href="/actions"' in acted.house.page("/approvals")
    assert re.search(r'<a href="/actions">\d+ actions? of agents</a>', acted.house.page("/"))
    approval = acted.house.page(f"/approvals/{acted.parked['tainted']}")
    assert f"/actions/{acted.parked['tainted']}" in approval


def test_values_are_written_as_people_read_them() -> None:
    found = dict(paths.leaves("", {"a": {"b": [1, True, None]}, "c": [], "d": "", "e": 0, "f": {}}))
    assert {name: paths.written(value) for name, value in found.items()} == {
        "a.b.0": "1",
        "a.b.1": "yes",
        "a.b.2": "nothing",
        "c": "(empty)",
        "d": "(empty)",
        "e": "0",
        "f": "(empty)",
    }


# Links


def test_a_link_leads_its_person_to_the_action_and_nobody_else(acted: Acted) -> None:
    house = acted.house
    row = views.queue(house.at.engine)[0][0]
    links = Links(house.at.agents.parts.salt)
    link = links.make(row["approval"], "hanna.osei", house.at.clock() + 3600 * SECOND)
    answer = house.send("GET", f"/links/{link}", "hanna.osei")
    assert (answer.status, answer.headers["location"]) == (303, f"/actions/{row['approval'].partition('/')[2]}")
    assert house.send("GET", f"/links/{link}", "victor.lam").status in {401, 403}
    assert house.send("GET", f"/links/{link}x", "hanna.osei").status in {401, 403, 422}
