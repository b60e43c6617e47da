"""Calls, the live tail, guardrails and upstreams in a real browser: live, by keyboard, without scripts, on a phone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from .called import CARD
from .conftest import NAME, Look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .called import Called

pytestmark = [pytest.mark.browser]
AXE = (Path(__file__).parent / "axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SECRET = f"my key is sk-proj-{'a1B2c3D4' * 6}"


@pytest.fixture
def look(called: Called, chromium: Any) -> Iterator[Look]:
    made = Look(called.house, chromium)
    yield made
    for context in made.opened:
        context.close()
    assert [c for c in made.complaints if not c.startswith("Failed to load resource")] == []
    assert [url for url in made.asked if not url.startswith((called.house.url, "data:"))] == []


def test_calls_appear_as_they_are_recorded(look: Look, called: Called) -> None:
    page = look.page()
    page.goto("/calls/tail")
    expect(page.locator("#tail-state")).to_have_text("live")
    before = page.locator("#tail tbody tr").count()
    made = called.house.ask("How many days of annual leave do I get?")
    expect(page.locator(f"#tail tbody tr a[href='/calls/{made}']")).to_have_count(1)
    assert page.locator("#tail tbody tr").count() > before, "a canary's may have come, too"


def test_a_paused_tail_holds_what_comes_and_then_shows_it(look: Look, called: Called) -> None:
    page = look.page()
    page.goto("/calls/tail")
    expect(page.locator("#tail-state")).to_have_text("live")
    page.keyboard.press("p")
    expect(page.locator("#tail-state")).to_have_text("paused")
    made = called.house.ask("How much notice must I give?")
    expect(page.locator("#tail-pause")).to_contain_text(re.compile(r"Go on, \d+ new"))  # a canary's may have come, too
    assert page.locator(f"#tail a[href='/calls/{made}']").count() == 0
    page.click("#tail-pause")
    expect(page.locator(f"#tail a[href='/calls/{made}']")).to_have_count(1)
    expect(page.locator("#tail-state")).to_have_text("live")


def test_a_tail_of_refused_calls_passes_others_over(look: Look, called: Called) -> None:
    page = look.page()
    page.goto("/calls/tail")
    page.select_option("#verdict", "deny")
    page.click("text=Watch")
    page.wait_for_url("**verdict=deny*")
    expect(page.locator("#tail-state")).to_have_text("live")
    called.house.ask("How many days of annual leave do I get?")
    refused = called.house.ask(SECRET)
    expect(page.locator(f"#tail tbody tr a[href='/calls/{refused}']")).to_have_count(1)
    assert set(page.locator("#tail tbody td:nth-child(4)").all_inner_texts()) == {"deny"}


def test_a_reconnected_tail_shows_what_came_meanwhile_once(look: Look, called: Called) -> None:
    page = look.page()
    page.goto("/calls/tail")
    expect(page.locator("#tail-state")).to_have_text("live")
    page.context.set_offline(True)
    made = called.house.ask("How many days of study leave do I get?")
    page.context.set_offline(False)
    expect(page.locator(f"#tail a[href='/calls/{made}']")).to_have_count(1)


def test_a_tail_without_scripts_is_a_list_with_a_link(look: Look, called: Called) -> None:
    page = look.page(java_script_enabled=False)
    page.goto("/calls/tail?verdict=allow")
    assert not page.locator("#tail-pause").is_visible()
    made = called.house.ask("How many days of annual leave do I get?")
    page.click("text=Look again")
    assert page.locator(f"#tail a[href='/calls/{made}']").count() == 1
    assert page.locator("#verdict").input_value() == "allow"


def test_calls_are_searched_by_keyboard(look: Look, called: Called) -> None:
    page = look.page()
    page.goto("/calls")
    page.locator("summary").focus()
    page.keyboard.press("Enter")
    page.fill("#finding", "any")
    page.fill("#min_latency", "1800")
    page.select_option("#route", "live")
    page.keyboard.press("Tab")
    page.focus("#min_latency")
    page.keyboard.press("Enter")
    page.wait_for_url("**finding=any*")
    assert page.locator("#min_latency").input_value() == "1800"
    page.locator(f"a[href='/calls/{called.ids['tools']}']").click()
    expect(page.locator("h1")).to_contain_text(called.ids["tools"][-12:])


def test_a_call_is_compared_with_a_neighbour(look: Look, called: Called) -> None:
    page = look.page()
    page.goto(f"/calls/{called.ids['tools']}")
    page.fill("#with", called.ids["before"])
    page.keyboard.press("Enter")
    page.wait_for_url("**/diff?with=*")
    assert page.locator("del").count() > 0
    assert page.locator("ins").count() > 0
    page.locator("#with").select_option(index=2)
    page.click("button:text-is('Compare')")
    expect(page.locator("h2").first).to_have_text("What differs")


def test_a_citation_leads_to_its_passage(look: Look, called: Called) -> None:
    page = look.page()
    page.goto(f"/calls/{called.ids['tools']}")
    page.click("text='[1]' >> nth=0")
    assert page.url.endswith("#p1")


def test_a_finding_is_marked_without_scripts(look: Look, called: Called) -> None:
    page = look.page(java_script_enabled=False)
    page.goto(f"/calls/{called.ids['observed']}")
    page.click("text=Not a phone number")
    page.wait_for_url("**#findings")
    assert page.locator(".marks .t-bad").inner_text() == "wrong"
    page.goto("/guardrails")
    row = page.locator("tr", has=page.locator("th[scope=row]:text-is('phone number')"))
    assert "nobody has judged" not in row.inner_text()


def test_a_text_is_tried_without_leaving_the_page(look: Look) -> None:
    page = look.page()
    page.goto("/guardrails")
    page.fill("#t-text", f"card {CARD} and {SECRET}")
    page.focus("#t-text")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#tried .t-bad").first).to_have_text("is stopped")
    expect(page.locator("#tried mark").first).to_have_text(CARD)
    page.fill("#t-text", " ")
    page.click("text=See what would happen")
    expect(page.locator("#tried .problem")).to_contain_text("nothing to look at")


def test_a_text_is_tried_without_scripts(look: Look) -> None:
    page = look.page(java_script_enabled=False)
    page.goto(f"/guardrails?use_case={NAME}&days=7")
    page.fill("#t-text", f"card {CARD}")
    page.select_option("#t-way", "output")
    page.click("text=See what would happen")
    assert CARD in page.locator("#tried mark").inner_text()
    assert page.locator("#t-way").input_value() == "output"
    assert page.locator("#days").input_value() == "7"


def test_no_sideways_scroll_on_a_phone(look: Look, called: Called) -> None:
    page = look.page(viewport={"width": 390, "height": 844})
    for name, path in called.paths().items():
        page.goto(path)
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name


def test_the_navigation_fits_on_one_line(look: Look) -> None:
    page = look.page(viewport={"width": 1440, "height": 900})
    page.goto("/upstreams")
    assert page.locator(".top").bounding_box()["height"] < 60


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_anybody(look: Look, called: Called, scheme: Any) -> None:
    page = look.page(color_scheme=scheme)
    found = {}
    for name, path in called.paths().items():
        page.goto(path)
        if name == "tail":
            expect(page.locator("#tail-state")).to_have_text("live")
        for summary in page.locator("summary:visible").all():
            summary.click()
        page.evaluate("scrollTo(0, 0)")  # what is under the header that stays on top would count as too small
        found[name] = _violations(page)
    page.goto("/guardrails")
    page.fill("#t-text", f"card {CARD} and {SECRET}")
    page.click("text=See what would happen")
    page.locator("#tried mark").first.wait_for()
    found["tried"] = _violations(page)
    stranger = look.page("mallory", color_scheme=scheme)
    for name in ("call", "two calls", "upstreams"):
        stranger.goto(called.paths()[name])
        found[f"{name} without a seat"] = _violations(stranger)
    assert {name: v for name, v in found.items() if v} == {}


def _violations(page: Any) -> list[str]:
    page.evaluate(AXE)
    run = f"axe.run(document, {{runOnly: {json.dumps(TAGS)}}})"
    told = page.evaluate(f"{run}.then(r => r.violations.map(v => [v.id, v.nodes.slice(0, 3).map(n => n.html)]))")
    return [f"{rule}: {nodes}" for rule, nodes in told]
