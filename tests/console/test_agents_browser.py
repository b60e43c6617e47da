"""Agents, actions, runs and stops in a real browser: live, by keyboard, without scripts, on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from bedplate.agents import views

from .acted import ASSURED, CASE, KNOWN
from .conftest import Look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .acted import Acted

pytestmark = [pytest.mark.browser]
AXE = (Path(__file__).parent / "axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture
def look(acted: Acted, chromium: Any) -> Iterator[Look]:
    made = Look(acted.house, chromium)
    yield made
    for context in made.opened:
        context.close()
    assert [c for c in made.complaints if not c.startswith("Failed to load resource")] == []
    assert [url for url in made.asked if not url.startswith((acted.house.url, "data:"))] == []


def waiting(acted: Acted, name: str) -> str:
    """Have the agent ask for a payment; returns the page of the question."""
    run = acted.begin(name, f"Pay 310 EUR to {KNOWN}", ASSURED)
    asked = acted.ask(run, "pay", {"recipient": KNOWN, "amount": 310, "reference": name}, key="pay")
    return f"/actions/{asked.approval.removeprefix('approval/')}"


def test_a_run_is_followed_while_it_goes_on(look: Look, acted: Acted) -> None:
    run = acted.begin("live", "Read invoice 5")
    page = look.page()
    page.goto(acted.run("live"))
    expect(page.locator("#timeline")).to_contain_text("Nothing was done yet")
    acted.ask(run, "read_invoice", {"id": 5}, key="a")
    expect(page.locator("#s1")).to_contain_text("bank/read_invoice")
    acted.end(run)
    expect(page.locator("#timeline")).to_contain_text("done")
    expect(page.locator("#timeline[hx-trigger]")).to_have_count(0)


def test_an_action_is_agreed_to_by_keyboard(look: Look, acted: Acted) -> None:
    path = waiting(acted, "keyed")
    page = look.page()
    page.goto("/actions")
    page.locator(f"a[href='{path}']").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{path}")
    page.keyboard.press("a")
    expect(page.locator("h1 + .tag")).to_have_text("agreed")
    assert views.parked_action(acted.house.at.engine, f"approval/{path.rpartition('/')[2]}")["state"] == "granted"


def test_an_action_is_refused_without_scripts(look: Look, acted: Acted) -> None:
    path = waiting(acted, "scriptless")
    page = look.page(java_script_enabled=False)
    page.goto(path)
    page.click("button:text-is('Refuse')")
    assert "A refusal needs a reason" in page.locator("#e-form").inner_text()
    page.fill("#reason", "we owe them nothing")
    page.click("button:text-is('Refuse')")
    assert "we owe them nothing" in page.locator("main").inner_text()


def test_arguments_are_changed_in_place(look: Look, acted: Acted) -> None:
    path = waiting(acted, "changed in place")
    page = look.page("leo.fischer")
    page.goto(path)
    page.click("text=Change the arguments")
    page.fill("#arguments", page.locator("#arguments").input_value().replace("310", "290"))
    page.fill("#edit-reason", "the invoice says 290")
    page.click("text=Ask with these instead")
    page.wait_for_function(f"location.pathname !== '{path}'")
    row = page.locator("tr", has=page.locator("code:text-is('amount')"))
    assert row.locator("del").inner_text() == "310"
    assert row.locator("strong").inner_text() == "290"
    assert "changed by Leo Fischer" in row.inner_text()


def test_a_replay_goes_forward_and_back(look: Look, acted: Acted) -> None:
    page = look.page()
    page.goto(acted.run("injected"))
    page.click("text=Replay")
    page.click("a[rel=next]")
    page.click("a[rel=next]")
    expect(page.locator("#replay")).to_contain_text("Why people were asked")
    page.click("#replay a:text-is('step 1') >> nth=0")
    expect(page.locator("#h-r")).to_contain_text("bank/read_invoice")


def test_a_stop_is_not_raised_before_its_reach_was_seen(look: Look, acted: Acted) -> None:
    page = look.page()
    page.goto("/stops")
    assert page.locator("button.stop").count() == 0
    page.select_option("#target", f"{CASE}/clerk")
    page.click("text=See what it would stop")
    page.fill("#reason", "a try")
    page.click("button.stop")  # the browser asks for the tick
    assert views.stops(acted.house.at.engine, in_force=True) == []
    assert page.url.endswith("clerk")


def test_no_sideways_scroll_on_a_phone(look: Look, acted: Acted) -> None:
    page = look.page(viewport={"width": 390, "height": 844})
    for name, path in acted.paths().items():
        page.goto(path)
        for summary in page.locator("summary:visible").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_anybody(look: Look, acted: Acted, scheme: Any) -> None:
    page = look.page(color_scheme=scheme)
    found = {}
    for name, path in acted.paths().items():
        page.goto(path)
        for summary in page.locator("summary:visible").all():
            summary.click()
        page.evaluate("scrollTo(0, 0)")
        page.evaluate(AXE)
        run = "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}}).then(r => r.violations)"
        found[name] = [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in page.evaluate(run, TAGS)]
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
