"""The pages Data and Vendors, as HTML: what is declared, what does not hold, what is due, and reviewing a vendor."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from bedplate.kernel.clock import rfc3339

from .conftest import EXAMPLE, NAME

if TYPE_CHECKING:
    from .conftest import House

OURS = (EXAMPLE / "contracts" / "staff-handbook.yaml").read_text()
VENDOR = (EXAMPLE / "vendors" / "northlight.yaml").read_text().replace("2026-10-06", "2025-10-06")
CHECK = "published-equals-approved"


def test_contracts_are_shown_with_what_does_not_hold(house: House) -> None:
    leo = house.client("leo.fischer")
    leo.apply("data-contract", "contract.yaml", OURS.replace("Staff handbook", "Staff <b>handbook</b>"))
    page = house.page("/data", "ruth.adeyemi")
    assert "Staff &lt;b&gt;handbook&lt;/b&gt;" in page
    assert ">unchecked</span>" in page
    row = {"check": CHECK, "passed": "no", "value": "<i>7</i> of 23", "rows": 23}
    leo.post("/api/contracts/staff-handbook/results", {"at": rfc3339(time.time_ns() // 1000), "results": [row]})
    page = house.page("/data", "ruth.adeyemi")
    assert re.search(r"Failing</span><b class=\"bad\">1</b>", page)
    page = house.page("/data/staff-handbook", "victor.lam")
    assert "&lt;i&gt;7&lt;/i&gt; of 23" in page
    assert "Failing since" in page
    assert house.send("GET", "/data/nothing", "victor.lam").status == 404
    assert house.send("GET", "/data", "").status == 303


def test_vendors_are_shown_and_reviewed(house: House) -> None:
    product = VENDOR.replace("client)}", f"client), use_cases: [{NAME}]}}")
    house.client("priya.raman").apply("vendor", "vendor.yaml", product)
    page = house.page("/vendors", "ruth.adeyemi")
    assert "If Northlight AI stops" in page
    assert f'<a href="/use-cases/{NAME}">' in page
    assert "it runs on Northlight Desk" in page
    assert "Herfindahl index, spend" in page
    mine = house.page("/vendors", "leo.fischer")
    assert "Herfindahl index, spend" not in mine  # what other domains spend is not Leo's to read
    assert "If Northlight AI stops" in mine
    assert "Go on with it" not in house.page("/vendors/northlight", "leo.fischer")
    assert "Go on with it" in house.page("/vendors/northlight", "jonas.weber")
    said = {"notes": "read again", "next": "2028-05-31", "outcome": "kept"}
    assert house.send("POST", "/vendors/northlight/review", "leo.fischer", said).status == 403
    assert house.send("POST", "/vendors/northlight/review", "jonas.weber", {**said, "next": "31.5."}).status == 422
    assert house.send("POST", "/vendors/northlight/review", "jonas.weber", said).status == 303
    page = house.page("/vendors/northlight", "victor.lam")
    assert "read again" in page
    assert "next by 2028-05-31" in page
