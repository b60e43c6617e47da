"""The console in a real browser: by mouse, by keyboard, without scripts, on a phone, for a screen reader."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from bedplate.people.actions import invite

from .conftest import HOSTILE, NAME, until

if TYPE_CHECKING:
    from .conftest import House, Look

pytestmark = [pytest.mark.browser]
AXE = (Path(__file__).parent / "axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def test_signing_in_and_out(look: Look, house: House) -> None:
    code = invite(house.at.governor, "operator", "victor.lam", "Victor Lam").text
    page = look.page("")
    page.goto("/ledger")
    page.fill("#code", code)
    page.click("text=Use the invitation")
    page.wait_for_url("**/ledger")
    assert page.title() == "Ledger · Harbour Mutual · Bedplate"
    cookie = page.context.cookies()[0]
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("bedplate_session", True, "Lax")
    page.click("text=Sign out")
    page.wait_for_url("**/sign-in")
    page.goto("/")
    assert "/sign-in" in page.url


def test_approving_by_keyboard(look: Look, house: House) -> None:
    asked = [house.propose("by-keyboard"), house.propose("by-keyboard-too")]
    page = look.page()
    page.goto("/")
    rows = page.locator(".appr")
    count = rows.count()
    place = [rows.nth(i).get_attribute("id") for i in range(count)].index(f"a-{asked[0]}")
    for _ in range(place + 1):
        page.keyboard.press("j")
    assert page.locator(".appr.sel").get_attribute("id") == f"a-{asked[0]}"
    began = time.perf_counter()
    page.keyboard.press("a")
    page.locator(f"#a-{asked[0]}.done").wait_for()
    took = time.perf_counter() - began
    assert took < 2, took
    assert "carried out" in page.locator(f"#a-{asked[0]}").inner_text()
    assert page.locator("#qcount").inner_text() == str(count - 1)
    assert "approved" in page.locator("#live").inner_text()
    until(lambda: house.at.standing("usecase/by-keyboard").stage == "accepted")


def test_rejecting_needs_a_reason(look: Look, house: House) -> None:
    asked = house.propose("rejected-here")
    row = f"#a-{asked}"
    page = look.page()
    page.goto("/approvals")
    page.click(f"{row} button[value=reject]")
    page.locator(f"{row} .err").wait_for()
    assert "A refusal needs a reason." in page.locator(f"{row} .err").inner_text()
    assert page.locator(f"{row} input").get_attribute("aria-invalid") == "true"
    page.locator("h1").click()
    page.keyboard.press("r")
    assert page.evaluate("document.activeElement.id") == f"r-{asked}"
    page.keyboard.type("name an owner who works here")
    page.keyboard.press("Enter")
    page.locator(f"{row}.done").wait_for()
    assert "Rejected" in page.locator(row).inner_text()
    assert house.at.approval(f"approval/{asked}").votes[0].reason == "name an owner who works here"


def test_enter_in_the_reason_never_approves(look: Look, house: House) -> None:
    asked = house.propose("not-by-enter")
    page = look.page()
    page.goto("/approvals")
    page.fill(f"#r-{asked}", "only a thought")
    page.keyboard.press("Enter")
    page.wait_for_timeout(200)
    assert house.at.approval(f"approval/{asked}").state == "asked"


def test_charts_and_their_tables(look: Look) -> None:
    page = look.page()
    page.goto("/use-cases")
    rows = page.locator("tbody tr").count()
    assert page.locator("svg[aria-labelledby='mx-t mx-d'] a").count() == rows
    assert page.locator("svg[aria-labelledby='bb-t bb-d'] a").count() == rows
    page.locator("svg[aria-labelledby='mx-t mx-d'] a").first.click()
    page.wait_for_url("**/use-cases/*")
    page.goto(f"/use-cases/{NAME}")
    expect(page.locator(".plot canvas")).to_have_count(3)
    assert page.locator("svg.ladder .rg.on").count() == 1


def test_suspending_and_resuming_from_the_page(look: Look, house: House) -> None:
    page = look.page("mara.quinn")
    page.goto(f"/use-cases/{NAME}")
    page.click("button:text-is('Suspend')")
    page.locator("#outcome .problem").wait_for()
    assert "Suspending needs a reason." in page.locator("#outcome").inner_text()
    page.fill("#why-suspend", "a drill in the browser")
    page.keyboard.press("Enter")
    page.get_by_text("Suspended, every call is refused: a drill in the browser").wait_for()
    assert house.at.standing(f"usecase/{NAME}").suspended == "a drill in the browser"
    page.fill("#why-resume", "the drill is over")
    page.click("button:text-is('Resume')")
    page.locator("#outcome a").click()
    page.wait_for_url("**/approvals/*")
    approver = look.page()
    approver.goto(page.url)
    approver.keyboard.press("a")
    approver.locator(".t-good:text-is('spent')").wait_for()
    assert house.at.standing(f"usecase/{NAME}").suspended == ""


def test_a_proof_is_checked_on_the_page(look: Look, house: House) -> None:
    page = look.page("victor.lam")
    page.goto(f"/calls/{house.calls['hostile']}")
    assert HOSTILE in page.locator(".said").first.inner_text()
    page.click("text=Check proof")
    page.get_by_text("The proof holds").wait_for()
    assert page.locator(".steps li").count() == 4
    with page.expect_download() as download:
        page.click("text=Download the proof file")
    assert Path(download.value.path()).read_text().startswith("bedplate.dev/proof@v1\n")


def test_the_ledger_is_verified_on_the_page(look: Look) -> None:
    page = look.page("victor.lam")
    page.goto("/ledger")
    page.click("text=Verify now")
    page.get_by_text("Everything holds together").wait_for()
    assert "events" in page.locator("#verified").inner_text()


def test_the_palette_finds_and_goes(look: Look) -> None:
    page = look.page()
    page.goto("/")
    page.keyboard.press("Control+k")
    page.locator("#palette-list li").first.wait_for()
    page.keyboard.type("hr policy")
    page.keyboard.press("Enter")
    page.wait_for_url("**/use-cases/hr-policy-assistant")
    page.click("#cmdk")
    page.locator("#palette-list li").first.wait_for()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.tagName") == "A"
    page.keyboard.press("Escape")
    assert not page.locator("#palette").is_visible()


def test_the_theme_is_kept_without_a_flash(look: Look) -> None:
    page = look.page(color_scheme="light")
    page.goto("/")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    after = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert before != after
    page.goto("/calls")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == after


def test_approving_without_scripts(look: Look, house: House) -> None:
    asked = house.propose("without-scripts")
    page = look.page(java_script_enabled=False)
    page.goto("/")
    page.locator(f"#a-{asked} button[value=reject]").click()
    assert "A refusal needs a reason." in page.locator(".problem").inner_text()
    page.goto("/")
    assert not page.locator("#cmdk").is_visible()
    page.locator(f"#a-{asked} button[value=approve]").click()
    page.wait_for_url(f"**/approvals/{asked}")
    assert "spent" in page.locator(".title").inner_text()
    page.goto(f"/use-cases/{NAME}")
    assert page.locator(".monitor table").count() == 3


def test_no_sideways_scroll_on_a_phone(look: Look, house: House) -> None:
    page = look.page(viewport={"width": 390, "height": 844})
    for name, path in house.paths().items():
        _settled(page, path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
    wide = look.page("", viewport={"width": 390, "height": 844})
    wide.goto("/sign-in")
    assert wide.evaluate("document.documentElement.scrollWidth") <= 390


def test_it_prints(look: Look) -> None:
    page = look.page()
    page.goto("/use-cases")
    page.emulate_media(media="print")
    assert not page.locator(".filters").is_visible()
    assert page.locator("tbody tr").first.is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_anybody(look: Look, house: House, scheme: Any) -> None:
    page = look.page("mara.quinn", color_scheme=scheme)
    found = {name: _violations(page, path) for name, path in house.paths().items()}
    approver = look.page(color_scheme=scheme)
    found |= {f"approver {name}": _violations(approver, house.paths()[name]) for name in ("home", "approval")}
    approver.goto("/approvals")
    approver.locator("button[value=reject]").first.click()
    approver.locator(".err").wait_for()
    found["error"] = _violations(approver, "")
    stranger = look.page("", color_scheme=scheme)
    found |= {"sign in": _violations(stranger, "/sign-in"), "missing": _violations(stranger, "/nowhere")}
    assert {name: v for name, v in found.items() if v} == {}


def _settled(page: Any, path: str) -> None:
    page.goto(path)
    for place in page.locator(".plot").all():
        place.locator("canvas").wait_for()


def _violations(page: Any, path: str) -> list[str]:
    if path:
        _settled(page, path)
    page.evaluate(AXE)
    run = f"axe.run(document, {{runOnly: {json.dumps(TAGS)}}})"
    told = page.evaluate(f"{run}.then(r => r.violations.map(v => [v.id, v.nodes.slice(0, 3).map(n => n.html)]))")
    return [f"{rule}: {nodes}" for rule, nodes in told]
