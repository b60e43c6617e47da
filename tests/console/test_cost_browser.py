"""Cost, prompts and evaluations in a real browser: charts, forms, without scripts, on a phone, for a screen reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from .conftest import NAME, Look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .spent import Spent

pytestmark = [pytest.mark.browser]
AXE = (Path(__file__).parent / "axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PROMPT = f"/prompts/{NAME}/greeting"


@pytest.fixture
def look(spent: Spent, chromium: Any) -> Iterator[Look]:
    made = Look(spent.house, chromium)
    yield made
    for context in made.opened:
        context.close()
    assert [c for c in made.complaints if not c.startswith("Failed to load resource")] == []
    assert [url for url in made.asked if not url.startswith((spent.house.url, "data:"))] == []


def test_both_charts_are_drawn_and_again_in_the_other_theme(look: Look, spent: Spent) -> None:
    page = look.page("victor.lam", color_scheme="light")
    page.goto(f"/cost?{spent.span}")
    expect(page.locator(".spend canvas")).to_have_count(2)
    expect(page.locator(".spend .u-legend").first).to_contain_text("HR policy assistant")
    before = _painted(page)
    assert before > 1_000
    page.evaluate("document.querySelector('.spend canvas').dataset.old = 'yes'")
    page.click("#theme")
    expect(page.locator(".spend canvas[data-old]")).to_have_count(0)
    expect(page.locator(".spend canvas")).to_have_count(2)


def test_the_chart_tells_the_amount_under_the_pointer(look: Look, spent: Spent) -> None:
    page = look.page("victor.lam")
    page.goto(f"/cost?{spent.span}")
    page.locator(".spend .u-over").first.hover()
    expect(page.locator(".spend .u-legend").first).to_contain_text("$")


def test_costs_of_one_use_case_are_asked_for_by_keyboard(look: Look) -> None:
    page = look.page("victor.lam")
    page.goto("/cost")
    page.focus("#use_case")
    page.keyboard.type("HR")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**use_case=hr-policy-assistant*")
    assert page.locator("#use_case").input_value() == NAME
    with page.expect_download() as download:
        page.click("text=The whole table as CSV")
    assert Path(download.value.path()).read_text().startswith("team,use_case,model")


def test_filling_in_a_prompt_without_leaving_the_page(look: Look) -> None:
    page = look.page("victor.lam")
    page.goto(PROMPT)
    page.fill("#v-person", "Mara")
    page.click("button:text-is('Fill in')")
    expect(page.locator("#filled .problem")).to_contain_text("needs the variable 'days'")
    page.fill("#v-days", "5")
    page.select_option("#v-tone", "warm")
    page.focus("#v-note")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#filled .said").last).to_have_text("Warmly tell Mara about the 5 days. ")
    assert page.locator("#v-person").input_value() == "Mara"


def test_moving_an_alias_on_the_page(look: Look, spent: Spent) -> None:
    page = look.page("mara.quinn")
    page.goto(PROMPT)
    page.fill("#alias", "live")
    page.click("button:text-is('Set')")
    expect(page.locator("#outcome .problem")).to_contain_text("only a release moves it")
    page.fill("#alias", "in-browser")
    page.keyboard.press("Enter")
    expect(page.locator(".plain")).to_contain_text("in-browser")
    assert "in-browser" in spent.house.page(PROMPT)


def test_everything_can_be_done_without_scripts(look: Look, spent: Spent) -> None:
    page = look.page("mara.quinn", java_script_enabled=False)
    page.goto(f"/cost?{spent.span}")
    assert not page.locator(".spend").first.is_visible()
    page.locator("summary").first.click()
    assert page.locator("[aria-label='Cost a day'] tr").count() > 40
    page.goto(PROMPT)
    page.fill("#v-person", "Mara")
    page.locator("form.stack button").click()
    assert "needs the variable" in page.locator(".problem").inner_text()
    page.fill("#v-days", "5")
    page.select_option("#v-tone", "plain")
    page.locator("form.stack button").click()
    assert "Warmly tell Mara" in page.locator("#filled").inner_text()
    page.goto(f"/evals/{NAME}")
    page.click("text=Compare case by case")
    assert "Two runs" in page.locator("h1").inner_text()


def test_no_sideways_scroll_on_a_phone(look: Look, spent: Spent) -> None:
    page = look.page("leo.fischer", viewport={"width": 390, "height": 844})
    for name, path in spent.paths().items():
        _settled(page, path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_anybody(look: Look, spent: Spent, scheme: Any) -> None:
    page = look.page("leo.fischer", color_scheme=scheme)
    found = {}
    for name, path in spent.paths().items():
        _settled(page, path)
        for summary in page.locator("summary").all():
            summary.click()
        page.evaluate("scrollTo(0, 0)")  # what is under the header that stays on top would count as too small
        found[name] = _violations(page)
    page.goto(PROMPT)
    page.click("button:text-is('Fill in')")
    page.locator("#filled .problem").wait_for()
    found["refused"] = _violations(page)
    auditor = look.page("victor.lam", color_scheme=scheme)
    auditor.goto(PROMPT)
    found["without a seat for it"] = _violations(auditor)
    assert {name: v for name, v in found.items() if v} == {}


def _settled(page: Any, path: str) -> None:
    page.goto(path)
    for place in page.locator(".spend, .plot").all():
        place.locator("canvas").wait_for()


def _painted(page: Any) -> int:
    """Count the pixels of the first chart that are not empty."""
    return int(
        page.evaluate(
            "() => { const c = document.querySelector('.spend canvas');"
            " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            " let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; }"
        )
    )


def _violations(page: Any) -> list[str]:
    page.evaluate(AXE)
    run = f"axe.run(document, {{runOnly: {json.dumps(TAGS)}}})"
    told = page.evaluate(f"{run}.then(r => r.violations.map(v => [v.id, v.nodes.slice(0, 3).map(n => n.html)]))")
    return [f"{rule}: {nodes}" for rule, nodes in told]
