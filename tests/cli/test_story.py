from __future__ import annotations

import json
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.cli.conftest import EXAMPLE, FIRST, clean

from bedplate.sdk import Client

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Live


BOOK = EXAMPLE / "handbook"


@pytest.mark.parametrize(
    ("step", "code", "said"),
    [
        ("init", 0, "operating-model.yaml"),
        ("empty status", 0, ""),
        ("founding plan", 4, "must agree: board and coe"),
        ("founding", 6, "1 of coe (technical): jonas.weber"),
        ("own approval", 5, ""),
        ("approval", 0, "may vote"),
        ("first vote", 0, "still missing: 1 of board (policy)"),
        ("last vote", 0, "it was carried out"),
        ("plan", 4, "1 (low × assistive)"),
        ("apply", 6, "1 of domain (ownership): hanna.osei"),
        ("accept", 0, "it was carried out"),
        ("plan again", 0, "unchanged"),
        ("gate before", 3, ""),
        ("release", 6, "26 of 26 pass"),
        ("gate", 0, "evals-passed"),
        ("go live", 0, "it was carried out"),
    ],
)
def test_first_use_case_goes_live_step_by_step(live: Live, step: str, code: int, said: str) -> None:
    assert live.steps[step].code == code, live.steps[step]
    assert said in live.steps[step].out


def test_a_refusal_says_the_fix(live: Live) -> None:
    assert "nobody approves their own request" in live.steps["own approval"].err
    assert "fix (separation): ask somebody else" in live.steps["own approval"].err


def test_release_says_what_answered_and_the_gate(live: Live) -> None:
    said = live.steps["release"].out
    assert "answered by embedded extractive answerer" in said
    assert "waiting for approval" in said
    assert said.count("proven") == 10


def test_an_operating_model_in_force_changes_nothing(live: Live) -> None:
    again = live.house.run("priya.raman", "apply", live.model, "-o", "json")
    assert (again.code, again.data["state"]) == (0, "unchanged")
    assert live.house.run("priya.raman", "plan", live.model).code == 0


def test_plan_shows_a_change_and_its_body(live: Live, tmp_path: Path) -> None:
    changed = tmp_path / "om.yaml"
    text = live.model.read_text()
    changed.write_text(text.replace("approval_days: 14", "approval_days: 7"))
    told = live.house.run("priya.raman", "plan", changed)
    assert told.code == 4
    assert "~ approval_days: 14 → 7   (board)" in told.out
    assert live.house.json("priya.raman", "plan", changed)["needs"] == ["board"]


def test_status_of_all_and_of_one(live: Live) -> None:
    assert "live" in live.house.run("victor.lam", "status").out
    assert [u["id"] for u in live.house.json("victor.lam", "status")["use_cases"]] == [FIRST]
    one = live.house.json("victor.lam", "status", FIRST)
    assert set(one) == {"format_version", "use_case", "gate", "approvals", "incidents"}
    assert one["use_case"]["rung"] == "act"
    assert "gate of release 1" in live.house.run("victor.lam", "status", FIRST).out


def test_suspend_makes_the_gate_fail_and_resume_waits(live: Live) -> None:
    house = live.house
    assert house.run("victor.lam", "suspend", FIRST, "--reason", "drill").code == 5
    assert house.run("mara.quinn", "suspend", FIRST, "--reason", "drill").code == 0
    gate = house.run("mara.quinn", "gate", FIRST)
    assert gate.code == 5
    assert "fix not-suspended-release" in gate.out
    waits = house.run("mara.quinn", "resume", FIRST, "--reason", "drill over", "-o", "json")
    assert (waits.code, waits.data["state"]) == (6, "waiting")
    assert house.run("hanna.osei", "refuse", waits.data["approval"], "--reason", "too soon").code == 0
    again = house.run("mara.quinn", "resume", FIRST, "--reason", "really over", "-o", "json")
    assert house.run("hanna.osei", "approve", again.data["approval"]).code == 0
    assert house.json("mara.quinn", "status", FIRST)["use_case"]["suspended"] == ""
    states = {a["state"] for a in house.json("mara.quinn", "approvals", "--state", "any")["approvals"]}
    assert {"refused", "spent"} <= states


def test_keys_are_issued_listed_without_their_text_and_revoked(live: Live) -> None:
    house = live.house
    issued = house.json("leo.fischer", "key", "issue", FIRST, "--label", "short-lived", "--days", "1")
    assert issued["base_url"] == f"{house.url}/v1"
    listed = house.run("leo.fischer", "key", "list", FIRST)
    assert issued["id"] in listed.out
    assert issued["key"] not in listed.out
    assert house.run("leo.fischer", "key", "revoke", issued["id"], "--reason", "test over").code == 0
    ended = {k["id"]: k["revoked_at"] for k in house.json("leo.fischer", "key", "list", FIRST)["keys"]}
    assert ended[issued["id"]] > 0


def test_calls_and_one_call(live: Live) -> None:
    house = live.house
    found = house.json("victor.lam", "calls", "--verdict", "allow", "--text", live.call)["calls"]
    assert [c["id"] for c in found] == [live.call]
    assert "evaluation" in house.run("victor.lam", "calls").out
    shown = house.run("victor.lam", "call", live.call)
    assert "How many days of annual leave do I get?" in shown.out
    assert house.json("victor.lam", "call", live.call)["call"]["said"]
    assert house.run("victor.lam", "calls", "--text", "nothing holds this").out == ""


def test_an_incident_is_closed_and_a_release_that_waits_is_back_on_the_top_rung(live: Live, tmp_path: Path) -> None:
    house = live.house
    token = house.home("mara.quinn") / "tokens.json"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    # Harm is reported at the console; here straight at the API.
    opened = Client(house.url, _token(live, "mara.quinn")).post(
        f"/api/use-cases/{FIRST}/harm", {"title": "a wrong answer about pay"}
    )["incident"]
    assert "a wrong answer about pay" in house.run("mara.quinn", "incidents", "--open").out
    assert "person/mara.quinn" in house.run("mara.quinn", "incident", "show", opened).out
    assert house.run("mara.quinn", "incident", "close", opened, "--reason", "the source was corrected").code == 0
    assert house.json("mara.quinn", "incidents", "--open")["incidents"] == []
    assert house.json("mara.quinn", "incident", "show", opened)["incident"]["resolution"] == "the source was corrected"
    assert house.json("mara.quinn", "status", FIRST)["use_case"]["rung"] != "act"
    folder = _copied(tmp_path / "uc")
    (folder / "runbook.md").write_text("# Runbook\n\nAsk Mara.\n")
    with subprocess.Popen(
        [sys.executable, "-m", "bedplate", "release", str(folder), "--wait", "--source", f"handbook={BOOK}"],
        env=clean({"BEDPLATE_CONFIG_HOME": str(house.home("leo.fischer")), "BEDPLATE_URL": house.url}),
        stdout=subprocess.PIPE,
        text=True,
    ) as waiting:
        assert waiting.stdout is not None
        try:
            asked = next(line for line in waiting.stdout if line.startswith("approval "))
            answered = house.run("hanna.osei", "approve", asked.split()[1].rstrip(";"))
            assert answered.code == 0, answered.err
            assert "live release" in waiting.stdout.read()
        finally:
            waiting.terminate()
    assert waiting.returncode == 0
    assert house.json("mara.quinn", "status", FIRST)["use_case"]["rung"] == "act"


def test_a_release_that_fails_its_evals_is_denied_with_the_failures(live: Live, tmp_path: Path) -> None:
    folder = _copied(tmp_path / "uc")
    case = "  - id: impossible\n    question: What is annual leave?\n    expect:\n      contains: [xyzzy]\n"
    (folder / "evals.yaml").write_text("cases:\n" + case)
    denied = live.house.run("leo.fischer", "release", folder, "--source", f"handbook={BOOK}", "--wait", "-o", "json")
    assert denied.code == 5
    assert denied.data["state"] == "denied"
    assert [f["case"] for f in denied.data["failures"]] == ["impossible"]
    text = live.house.run("leo.fischer", "release", folder, "--source", f"handbook={BOOK}")
    assert text.code == 5
    assert "failed impossible" in text.out
    assert "fix evals-passed" in text.out


def _copied(folder: Path) -> Path:
    for file in [f for f in (EXAMPLE / FIRST).rglob("*") if f.is_file()]:
        target = folder / file.relative_to(EXAMPLE / FIRST)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.read_text())
    return folder


def _token(live: Live, person: str) -> str:
    stored = json.loads((live.house.home(person) / "tokens.json").read_text())
    return str(stored["servers"][live.house.url]["token"])
