"""Value over the API: recorded, brought in as a file, added up, printed, and only for who may see what things cost."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

import pytest
from tests import served
from tests.served import CLAIMS, EXAMPLE, HR, RIGHTS

from bedplate.document import InvalidDocument
from bedplate.errors import Denied, InvalidInput, NotFound
from bedplate.people.blank import blank_model
from bedplate.sdk import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.served import Harbour

HEAD = "use_case,metric,period,value,n,sd,unit,currency,loss\n"
MONTH = "2026-01"  # long over, whatever the day


@pytest.fixture(scope="module")
def harbour() -> Iterator[Harbour]:
    with served.Server(served.fresh(), tick_ms="50") as server:
        at = served.harbour(server)
        model = blank_model("Harbour Mutual", (EXAMPLE / "people.yaml").read_text())
        rich = model + "\nmoney: {currency: EUR, per_usd_permille: 900}\n"
        at.approve(lambda: at.person("priya").apply("operating-model", "operating-model.yaml", rich), "ruth")
        yield at
    assert "Traceback" not in server.said(), server.said()


@pytest.fixture(scope="module")
def booked(harbour: Harbour) -> dict[str, Any]:
    """A file of three use cases, brought in by the Centre of Excellence."""
    rows = (
        f"{HR},benefit,{MONTH},1200.50,40,3,,EUR,\n"
        f"{HR},people,{MONTH},400,,,,EUR,\n"
        f"{RIGHTS},benefit,{MONTH},-300,,,,EUR,letters had to be sent again\n"
        f"{CLAIMS},infrastructure,{MONTH},90.10,,,,EUR,\n"
    )
    body = {"name": "value.csv", "text": HEAD + rows}
    assert harbour.person("priya").post("/api/value/import", body) == {"new": 4, "changed": 0, "same": 0}
    assert harbour.person("priya").post("/api/value/import", body) == {"new": 0, "changed": 0, "same": 4}
    return harbour.person("victor").get("/api/value")


def test_everything_adds_up_the_same_way_by_anything(booked: dict[str, Any]) -> None:
    assert booked["currency"] == "EUR"
    total = booked["total"]
    assert (total["use_cases"], total["realised"]["cents"], total["total_cost_cents"]) == (3, 90_050, 49_010)
    assert total["net_cents"] == 90_050 - 49_010
    assert total["realised"]["without_interval_cents"] == 30_000
    for by in ("by_bucket", "by_domain", "by_tier"):
        assert sum(g["net_cents"] for g in booked[by]) == total["net_cents"]
    assert [m["period"] for m in booked["months"]] == [] or booked["months"][0]["period"] >= MONTH


def test_a_domain_sees_its_own_value_only(harbour: Harbour, booked: dict[str, Any]) -> None:
    daniel = harbour.person("daniel")
    theirs = daniel.get("/api/value")
    assert [u["id"] for u in theirs["use_cases"]] == [CLAIMS]
    assert theirs["total"]["total_cost_cents"] < booked["total"]["total_cost_cents"]
    assert HR not in daniel.text("/api/value.csv")
    with pytest.raises(NotFound):
        daniel.get(f"/api/use-cases/{HR}/value")
    assert [u["id"] for u in harbour.person("victor").get("/api/value", domain="claims")["use_cases"]] == [CLAIMS]


def test_somebody_without_a_seat_sees_none(harbour: Harbour) -> None:
    code = harbour.person("priya").post("/api/invitations", {"person": "new.one", "name": "New"})["code"]
    stranger = Client(harbour.url)
    stranger.login(code=str(code))
    for path in ("/api/value", "/api/value.csv", "/api/value.pdf", f"/api/use-cases/{HR}/value", "/api/board"):
        with pytest.raises(Denied, match="gateway:cost:read"):
            stranger.get(path)


def test_one_use_case_is_told_month_by_month_with_who_recorded_what(harbour: Harbour, booked: dict[str, Any]) -> None:
    told = harbour.person("victor").get(f"/api/use-cases/{RIGHTS}/value")
    (month,) = [m for m in told["months"] if m["period"] == MONTH]
    assert (month["benefit"]["cents"], month["benefit"]["low"], month["basis"]) == (-30_000, None, "imported")
    (measure,) = told["measures"]
    assert (measure["by"], measure["source"]) == ("priya.raman", "value.csv")
    assert measure["loss"] == "letters had to be sent again"
    assert booked["total"]["use_cases"] == 3


def test_a_file_with_one_wrong_row_changes_nothing_and_names_it(harbour: Harbour, booked: dict[str, Any]) -> None:
    text = f"{HEAD}{HR},count,{MONTH},5,,,,,\n{HR},people,{MONTH},1,,,,USD,\n"
    with pytest.raises(InvalidDocument) as wrong:
        harbour.person("priya").post("/api/value/import", {"name": "value.csv", "text": text})
    (complaint,) = wrong.value.complaints
    assert (complaint.file, complaint.line, complaint.path) == ("value.csv", 3, "currency")
    assert "the operating model counts in EUR (money.currency)" in complaint.message
    assert harbour.person("victor").get("/api/value")["total"] == booked["total"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"period": "2026-13", "value": "1"}, "write it like 2026-10"),
        ({"period": "9999-01", "value": "1"}, "has not begun"),
        ({"period": MONTH, "value": "-5", "metric": "benefit"}, "that is a loss"),
        ({"period": MONTH, "value": "7", "unit": "hours"}, "the hypothesis counts"),
        ({"period": MONTH, "value": "7", "metric": "joy"}, "no metric 'joy'"),
    ],
)
def test_what_cannot_be_recorded_says_why(harbour: Harbour, body: dict[str, str], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        harbour.person("leo").post(f"/api/use-cases/{HR}/value", body)


def test_somebody_of_another_domain_records_nothing(harbour: Harbour) -> None:
    with pytest.raises(Denied, match="portfolio:value:record"):
        harbour.person("daniel").post(f"/api/use-cases/{HR}/value", {"period": MONTH, "value": "9"})


def test_the_table_is_one_for_spreadsheets(harbour: Harbour, booked: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(harbour.person("victor").text("/api/value.csv"))))
    assert {r["use_case"] for r in rows} == {HR, RIGHTS, CLAIMS}
    assert sum(int(r["net_cents"]) for r in rows) == booked["total"]["net_cents"]
    assert {r["low_cents"] for r in rows if r["use_case"] == RIGHTS} == {""}


@pytest.mark.parametrize("path", ["/api/value.pdf", "/api/board.pdf"])
def test_a_report_is_one_page(harbour: Harbour, path: str) -> None:
    made = harbour.person("victor").file(path)
    assert made.startswith(b"%PDF-")
    assert re.findall(rb"/Type\s*/Pages\b.*?/Count (\d+)", made, re.DOTALL) == [b"1"]


def test_the_board_is_told_what_waits_for_it_and_what_moved(harbour: Harbour) -> None:
    spec = served.use_case("benefits-desk", affects_rights="yes")
    with pytest.raises(Exception, match="must agree"):
        harbour.person("leo").apply("use-case", "use-case.yaml", spec)
    told = harbour.person("victor").get("/api/board", days=7)
    (decision,) = told["decisions"]
    assert decision["subject"] == "usecase/benefits-desk"
    assert "board" in decision["missing"]
    assert {m["id"] for m in told["movement"]["live"]} == {HR, RIGHTS}
    assert "benefits-desk" in {m["id"] for m in told["movement"]["proposed"]}
    assert told["appetite"]["live"] == 2
    assert [r["touched"] for r in told["rules"]] == [["founded"], ["money"]]


def test_nothing_is_renewed_that_did_not_fall_short(harbour: Harbour) -> None:
    with pytest.raises(Exception, match="there is nothing to renew"):
        harbour.person("leo").post(f"/api/use-cases/{HR}/renew", {"reason": "it goes well"})
