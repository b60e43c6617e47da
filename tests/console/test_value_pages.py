"""Value and the board's pack as pages: what they show, to whom, and a renewal asked from there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.console.months import HEIGHT, LEFT, TOP, WIDTH, drawing
from bedplate.people.actions import invite
from bedplate.portfolio.benefit import Amount, Sum

from .conftest import NAME

if TYPE_CHECKING:
    from .conftest import House

CENTS = st.integers(-(10**11), 10**11)
COST = st.integers(0, 10**11)


@pytest.fixture
def house(worth: House) -> House:  # the one that has months behind it
    return worth


def section(page: str, heading: str) -> str:
    found = re.search(rf"<h2[^>]*>{heading}</h2>.*?</section>", page, re.DOTALL)
    assert found is not None, heading
    return found[0]


def test_value_adds_up_and_says_what_has_no_interval(house: House) -> None:
    page = house.page("/value", "victor.lam")
    told = house.client("victor.lam").get("/api/value")
    assert f"<b>{round(told['total']['forecast_cents'] / 100):,}</b>" in page
    assert f"<b>{round(told['total']['net_cents'] / 100):,}</b>" in page
    assert '<span class="bad">-1,210</span>' in section(page, "Use cases")
    assert "900 of what was realised has no interval" in page
    for by in ("bucket", "domain", "tier"):
        rows = section(house.page(f"/value?by={by}", "victor.lam"), "Added up")
        assert f">{round(told['total']['net_cents'] / 100):,}</span></td>" in rows.partition("Together")[2]


def test_the_chart_says_what_its_table_says(house: House) -> None:
    page = section(house.page(f"/value/{NAME}", "victor.lam"), "Month by month")
    told = house.client("victor.lam").get(f"/api/use-cases/{NAME}/value")
    over = [m["period"] for m in told["months"] if m["over"]]
    assert re.findall(r'<th scope="row">(\d{4}-\d{2})</th>', page) == over[::-1]
    assert page.count('class="bg fore"') == len(over)
    measured = [m for m in told["months"] if m["benefit"]["low"] is not None]
    assert page.count('class="b-most"') == len(measured) == 4


def test_a_filter_leaves_the_others_out(house: House) -> None:
    page = house.page("/value?bucket=transformation", "victor.lam")
    assert f'href="/value/{NAME}"' not in page
    assert 'href="/value/rota-helper"' in page
    assert "<b onmouseover" not in page  # what a team wrote is text


def test_a_stop_rule_that_fired_is_said_with_its_clock_and_its_question(house: House) -> None:
    page = house.page("/value", "victor.lam")
    assert "agreed were 50 %" in section(page, "Stop rules that fired")
    one = section(house.page(f"/value/{NAME}", "victor.lam"), "Stop rule")
    assert re.search(rf'href="/approvals/[0-9a-f-]+">renew usecase/{NAME}: it reached \d+ %', one)
    assert "Ask to renew" not in one  # a member of no domain may not
    use_case = house.page(f"/use-cases/{NAME}", "victor.lam")
    assert "stop rule fired" in use_case


def test_a_renewal_is_asked_with_a_reason(house: House) -> None:
    assert "Ask to renew" in house.page(f"/value/{NAME}", "leo.fischer")
    path = f"/value/{NAME}/renew"
    assert house.send("POST", path, "leo.fischer", {"reason": ""}).status == 422
    asked = house.send("POST", path, "leo.fischer", {"reason": "the roll-out was late"})
    found = house.at.approvals("asked", subject=f"usecase/{NAME}")
    assert "the roll-out was late" in found[0].summary
    assert asked.status in {200, 303}
    assert "the roll-out was late" in house.page(f"/value/{NAME}", "leo.fischer")


def test_the_board_sees_one_page(house: House) -> None:
    page = house.page("/board?days=366", "victor.lam")
    assert "Went live (1)" in page
    assert f'href="/use-cases/{NAME}"' in section(page, "Movement")
    assert "founded" in section(page, "Operating-model changes")
    assert "Accepted (0)" in house.page("/board?days=7", "victor.lam")


@pytest.mark.parametrize(
    ("path", "kind"), [("/value.pdf", b"%PDF"), ("/board.pdf?days=90", b"%PDF"), ("/value.csv", b"use_case,")]
)
def test_what_is_linked_can_be_taken_away(house: House, path: str, kind: bytes) -> None:
    answer = house.send("GET", path, "victor.lam")
    assert answer.status == 200
    assert answer.data.startswith(kind)


def test_somebody_without_a_seat_sees_no_value(house: House) -> None:
    invite(house.at.governor, "operator", "new.one", "New One")
    for path in ("/value", "/value.csv", "/value.pdf", f"/value/{NAME}", "/board", "/board.pdf"):
        answer = house.send("GET", path, "new.one")
        assert answer.status == 403
        assert b"gateway:cost:read" in answer.data


@given(st.lists(st.tuples(COST, CENTS, COST, COST, COST), max_size=30))
def test_whatever_the_amounts_everything_is_drawn_within_the_picture(
    rows: list[tuple[int, int, int, int, int]],
) -> None:
    sums = [
        (str(n), Sum(forecast, Amount(cents, below, above), 0, {"tokens": cost, "people": cost // 2}))
        for n, (forecast, cents, below, above, cost) in enumerate(rows)
    ]
    drawn = drawing(sums)
    for column in drawn.columns:
        for box in column.boxes:
            assert LEFT <= box.x <= box.x + box.width <= LEFT + WIDTH + 0.2
            assert TOP - 0.2 <= box.y <= box.y + box.height <= TOP + HEIGHT + 0.2
        for end in (column.low, column.high):
            assert end is None or TOP - 0.2 <= end <= TOP + HEIGHT + 0.2
    assert 2 <= len(drawn.grid) <= 12
