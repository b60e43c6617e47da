"""Data contracts and vendors over the API and the command line: declared, checked, relied on by a release, reviewed."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests import served
from tests.served import EXAMPLE, HR, RIGHTS

from bedplate.cli import main, remembered
from bedplate.errors import Denied, InvalidInput, NotFound
from bedplate.kernel.clock import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.served import Harbour

ID = "staff-handbook"
OURS = (EXAMPLE / "contracts" / "staff-handbook.yaml").read_text()
VENDOR = (EXAMPLE / "vendors" / "northlight.yaml").read_text().replace("2026-10-06", "2025-10-06")
CHECKS = ("every-section-has-an-owner", "reviewed-this-year", "one-rule-per-topic", "published-equals-approved")


@pytest.fixture(scope="module")
def harbour() -> Iterator[Harbour]:
    with served.Server(served.fresh()) as server:
        yield served.harbour(server)
    assert "Traceback" not in server.said(), server.said()


def ran(run: str, failing: str = "", at: int | None = None) -> dict[str, Any]:
    rows = [{"check": c, "passed": "no" if c == failing else "yes", "value": "1 of 2", "rows": 2} for c in CHECKS]
    return {"run": run, "at": rfc3339(at if at is not None else time.time_ns() // 1000), "results": rows}


def naming() -> str:
    spec = served.use_case()
    assert "personal: no}" in spec
    return spec.replace("personal: no}", f"personal: no, contract: {ID}}}", 1)


def test_a_use_case_goes_live_on_a_contract_and_is_stopped_by_it(harbour: Harbour) -> None:
    leo = harbour.person("leo")
    told = leo.plan("data-contract", "contract.yaml", OURS)
    assert (told["new"], told["changed"], told["affected"]) == (True, True, [])
    shown = leo.apply("data-contract", "contract.yaml", OURS)
    assert (shown["state"], shown["owner"], len(shown["checks"])) == ("unchecked", "mara.quinn", 4)
    assert leo.plan("data-contract", "contract.yaml", OURS)["changed"] is False
    served.accept(harbour, leo, naming(), "hanna")
    made = leo.release(HR, served.files_of(naming()))
    states = {line["control"]: line["state"] for line in made["gate"]}
    assert (made["state"], states["contract-kept"]) == ("denied", "not evidenced")
    told = leo.post(f"/api/contracts/{ID}/results", ran("first"))
    assert told == {"run": "first", "recorded": True, "state": "passing", "opened": []}
    assert served.go_live(harbour, served.files_of(naming()), "hanna")
    told = leo.post(f"/api/contracts/{ID}/results", ran("second", CHECKS[2]))
    assert told["state"] == "failing"
    (opened,) = told["opened"]
    assert leo.use_case(HR)["breaches"] == [opened]
    frozen = leo.get(f"/api/incidents/{opened.partition('/')[2]}")["frozen"]
    assert [c["check"] for c in frozen["failing"]] == [CHECKS[2]]
    assert leo.release(HR, served.files_of(naming()))["state"] == "denied"
    (listed,) = leo.get("/api/contracts")["contracts"]
    assert (listed["passed_permille"], listed["affected"]) == (750, 1)
    assert [u["id"] for u in leo.get(f"/api/contracts/{ID}")["affected"]] == [HR]


def test_bad_reports_are_refused(harbour: Harbour) -> None:
    leo = harbour.person("leo")
    leo.apply("data-contract", "contract.yaml", OURS)
    with pytest.raises(InvalidInput, match="in the future"):
        leo.post(f"/api/contracts/{ID}/results", ran("x", at=time.time_ns() // 1000 + 3600_000_000))
    with pytest.raises(InvalidInput, match="at: 'today' is not a time"):
        leo.post(f"/api/contracts/{ID}/results", {**ran("x"), "at": "today"})
    with pytest.raises(InvalidInput, match="color"):
        leo.post(f"/api/contracts/{ID}/results", {**ran("x"), "color": "red"})
    with pytest.raises(NotFound, match="no data contract nothing"):
        leo.post("/api/contracts/nothing/results", ran("x"))
    with pytest.raises(Denied, match="data:contract:check"):
        harbour.person("victor").post(f"/api/contracts/{ID}/results", ran("x"))


def test_a_vendor_is_registered_and_reviewed(harbour: Harbour) -> None:
    leo, priya = harbour.person("leo"), harbour.person("priya")
    with pytest.raises(Denied, match="vendors:vendor:register"):
        leo.apply("vendor", "vendor.yaml", VENDOR)
    product = VENDOR.replace("client)}", f"client), use_cases: [{RIGHTS}]}}")
    found = priya.apply("vendor", "vendor.yaml", product)
    assert (found["state"], found["review"], found["entry"]["review"]["due"]) == ("registered", "planned", "2027-05-31")
    assert priya.plan("vendor", "vendor.yaml", product)["changed"] is False
    told = harbour.person("ruth").get("/api/vendors/concentration")
    (share,) = told["shares"]
    assert [(hit["id"], hit["effect"]) for hit in share["hits"]] == [(RIGHTS, "stops")]
    assert share["yearly_cents"] > 0
    body = {"outcome": "kept", "notes": "the terms were read again", "next": "2028-01-31"}
    with pytest.raises(InvalidInput, match="'soon' is not a day"):
        priya.post("/api/vendors/northlight/reviews", {**body, "next": "soon"})
    found = priya.post("/api/vendors/northlight/reviews", body)
    assert (found["state"], [r["notes"] for r in found["reviews"]]) == ("kept", ["the terms were read again"])
    with pytest.raises(NotFound, match="no vendor southlight"):
        priya.get("/api/vendors/southlight")


def test_the_command_line_says_the_same(
    harbour: Harbour, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("BEDPLATE_URL", harbour.url)
    monkeypatch.setattr(remembered, "token", lambda _url: harbour.token("priya"))

    def said(*tokens: str) -> str:
        assert main.outcome(tokens) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    folder = EXAMPLE / "contracts"
    assert "is in force" in said("apply", str(folder / "claims-history.odcs.yaml"))
    rows = folder / "claims-history-results.csv"
    now = rfc3339(time.time_ns() // 1000)
    assert "claims-history failing" in said("contract", "check", "claims-history", str(rows), "--at", now)
    assert "reported before" in said("contract", "check", "claims-history", str(rows), "--at", now)
    assert "1204 duplicates" in said("contract", "show", "claims-history")
    told = json.loads(said("contract", "list", "-o", "json"))
    assert {c["id"]: c["state"] for c in told["contracts"]}["claims-history"] == "failing"
    file = tmp_path / "vendor.yaml"
    file.write_text(VENDOR)
    assert main.outcome(("plan", str(file))) in {0, 4}
    assert "is in force" in said("apply", str(file))
    capsys.readouterr()
    assert "northlight" in said("vendor", "list")
    assert "Exit" in said("vendor", "show", "northlight") or "exit plan" in said("vendor", "show", "northlight")
    assert "looked at again by 2028-02-29" in said(
        "vendor", "review", "northlight", "--notes", "read", "--next", "2028-02-29"
    )
    assert "northlight" in said("vendor", "concentration")
    wrong = tmp_path / "results.csv"
    wrong.write_text("check,passed\na,perhaps\n")
    assert main.outcome(("contract", "check", "claims-history", str(wrong), "--at", now)) == 3
    assert "results.csv:2:1 passed" in capsys.readouterr().err
