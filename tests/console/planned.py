"""A house with a portfolio: data contracts that pass and that do not, ideas in every state, and a use case."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from bedplate.data.actions import Result, Run, check, declare
from bedplate.data.contract import ContractFile, contract_of
from bedplate.document import parse
from bedplate.kernel.clock import DAY
from bedplate.people.actions import invite
from bedplate.people.blank import blank_model

from .conftest import EXAMPLE, NAME, House, _settle

if TYPE_CHECKING:
    from bedplate.installation import Installation

SECTION = """
portfolio:
  weights: {value: 40, feasibility: 25, data: 20, control: 15}
  buckets: {efficiency: 50, augmentation: 30, transformation: 20}
  capacity: {person_days: 420, cents: 30000000}
  domains:
    people: {person_days: 220, cents: 15000000}
    claims: {person_days: 260, cents: 20000000}
  tiers: {"3": 3, "4": 1}
bodies:
  board: {mandate: Policy and business risk of every use case., decides_within_days: 10}
  coe: {mandate: Technical standards of every use case., decides_within_days: 5}
  domain: {mandate: Owns its use cases and their value., decides_within_days: 7}
"""
CONTRACTS = {  # state, mend_days
    "claims-history": ("failing", 30),
    "policy-register": ("passing", 0),
    "customer-letters": ("unchecked", 12),
    "staff-master": ("stale", 8),
    "handbook": ("passing", 0),
}
CLAIMS: tuple[dict[str, Any], ...] = (
    {"id": "claims-sorter", "title": "Claims triage", "bucket": "augmentation", "contracts": ["claims-history"],
     "saves": (14, 5, 3200, 75), "days": 140, "yes": ["affects-rights"], "scores": (4, 3, 3), "range": 30},
    {"id": "claims-router", "title": "Claims routing", "bucket": "augmentation", "contracts": ["claims-history"],
     "saves": (6, 2, 3000, 75), "days": 90, "yes": [], "scores": (4, 4, 3), "range": 10},
    {"id": "letter-drafts", "title": "Letters to customers, drafted", "bucket": "efficiency",
     "contracts": ["customer-letters", "policy-register"], "saves": (25, 9, 2600, 80), "days": 110,
     "yes": ["customer-facing"], "scores": (5, 3, 4), "range": 20},
    {"id": "cover-checker", "title": "Cover check at the desk", "bucket": "efficiency",
     "contracts": ["policy-register"], "saves": (9, 3, 5200, 70), "days": 70, "yes": [], "scores": (4, 4, 4)},
    {"id": "fraud-signals", "title": "Signals of fraud", "bucket": "transformation",
     "contracts": ["claims-history", "policy-register"], "saves": (40, 10, 300, 900), "days": 180,
     "yes": ["affects-rights", "decides-alone"], "scores": (3, 2, 2), "range": 50, "generative": "no"},
    {"id": "renewal-prices", "title": "Prices at renewal", "bucket": "transformation",
     "contracts": ["policy-register", "claims-history"], "saves": (30, 12, 900, 400), "days": 200,
     "yes": ["affects-rights"], "scores": (3, 3, 2), "range": 40, "generative": "no"},
)  # fmt: skip
PEOPLE: tuple[dict[str, Any], ...] = (
    {"id": "leave-planner", "title": "Planner of leave", "bucket": "efficiency", "contracts": ["staff-master"],
     "saves": (12, 4, 700, 70), "days": 40, "yes": [], "scores": (4, 4, 4)},
    {"id": "policy-answers", "title": "Answers from the employee handbook", "bucket": "efficiency",
     "contracts": ["handbook"], "saves": (20, 6, 300, 70), "days": 25, "yes": [], "scores": (5, 4, 4)},
    {"id": "interview-notes", "title": "Notes of interviews", "bucket": "augmentation", "contracts": [],
     "saves": (45, 20, 160, 70), "days": 35, "yes": ["special-data"], "scores": (4, 3, 2), "range": 25},
    {"id": "skills-map", "title": "Map of skills", "bucket": "transformation", "contracts": ["staff-master"],
     "saves": (60, 25, 120, 90), "days": 95, "yes": [], "scores": (3, 2, 3), "range": 40, "after": ["leave-planner"]},
)  # fmt: skip


DECIDED: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("interview-notes", "declined", {"reason": "Nobody owns the recordings.", "condition": "They have an owner."}),
    ("cover-checker", "taken-up", {"reason": "The register passes, and the desk asks for it."}),
    ("skills-map", "deferred", {"reason": "Not before the leave planner.", "until": "2027-06-30"}),
)


def begin(house: House) -> None:
    """Found the organisation, declare contracts, propose ideas, and decide about some."""
    for person in YAML().load((EXAMPLE / "people.yaml").read_text())["people"]:
        invite(house.at.governor, "operator", person["id"], person["name"])
    _settle(house, "priya.raman", ("jonas.weber", "ruth.adeyemi"), "operating-model", model())
    for name, (state, mend) in CONTRACTS.items():
        _contract(house.at, name, state, mend)
    for told in CLAIMS:
        house.client("daniel.moreau").apply("idea", "idea.yaml", idea(domain="claims", **told))
    for told in PEOPLE:
        house.client("mara.quinn").apply("idea", "idea.yaml", idea(domain="people", **told))
    _settle(house, "leo.fischer", ("hanna.osei",), "use-case", (EXAMPLE / NAME / "use-case.yaml").read_text())
    for name, outcome, said in DECIDED:
        by = "sofia.brandt" if name in {i["id"] for i in CLAIMS} else "priya.raman"
        by = "hanna.osei" if name == "skills-map" else by
        body = {"outcome": outcome, "condition": "", "until": "", **said}
        house.client(by).post(f"/api/ideas/{name}/decision", body)
    house.at.follower.look()


def idea(**told: Any) -> str:
    """Return the text of an idea's file."""
    baseline, target, per_month, cents = told["saves"]
    technology, people, change = told["scores"]
    file = {
        "kind": "idea",
        "id": told["id"],
        "title": told["title"],
        "domain": told["domain"],
        "purpose": told.get("purpose", f"{told['title']}: less work by hand, and answers the same day."),
        "bucket": told["bucket"],
        "value": {
            "hypothesis": f"Fewer minutes for each case of {told['title'].lower()}.",
            "unit": "minutes per case",
            "baseline": baseline,
            "target": target,
            "per_month": per_month,
            "cents_per_unit": cents,
            **({"uncertain_percent": told["range"]} if "range" in told else {}),
        },
        "feasibility": {
            "technology": {"score": technology},
            "people": {"score": people, "evidence": "Asked the team."},
            "change": {
                "score": change,
                **({"low": max(1, change - 1), "high": min(5, change + 1)} if "range" in told else {}),
            },
        },
        "answers": {q: "yes" if q in told["yes"] else "no" for q in QUESTIONS},
        "contracts": told["contracts"],
        "effort_days": told["days"],
        "cost_cents": told["days"] * 20_000,
        "generative": told.get("generative", "yes"),
        **({"after": told["after"]} if "after" in told else {}),
    }
    return json.dumps(file)  # JSON is YAML


QUESTIONS = ("affects-rights", "special-data", "customer-facing", "regulated-advice", "acts-alone", "decides-alone")


def model() -> str:
    """Return Harbour Mutual's operating model with a portfolio and its bodies' clocks."""
    return blank_model("Harbour Mutual", (EXAMPLE / "people.yaml").read_text()) + SECTION


def _contract(at: Installation, name: str, state: str, mend: int) -> None:
    text = f"""
kind: data-contract
id: {name}
title: {name.replace("-", " ").capitalize()}
owner: daniel.moreau
domain: claims
mend_days: {mend}
checks:
  - {{name: no empty keys, dimension: completeness}}
  - {{name: loaded today, dimension: freshness}}
"""
    declare(at.governor, "daniel.moreau", contract_of(parse(text, "contract.yaml").read(ContractFile)), text.encode())
    if state == "unchecked":
        return
    moment = at.clock() - (30 * DAY if state == "stale" else 0)
    results = (
        Result("no empty keys", passed=True, value="0", rows=9000),
        Result("loaded today", passed=state != "failing", value="1", rows=9000),
    )
    check(at.governor, "daniel.moreau", name, Run(f"run-{name}", moment, results))
