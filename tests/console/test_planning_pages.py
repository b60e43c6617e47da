"""The portfolio's pages, its commands and its API, on a house with ideas and data contracts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.conftest import run

from bedplate.errors import Conflict, Denied, InvalidInput, NotFound

from .conftest import EXAMPLE
from .planned import CLAIMS, idea

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Result

    from .conftest import House

FORM = {
    "id": "claim-notes", "title": "Notes <b>of</b> claims", "domain": "claims", "bucket": "efficiency",
    "generative": "yes", "purpose": "Writes the note of a call about a claim.", "hypothesis": "Less typing.",
    "unit": "minutes a call", "baseline": "9", "target": "3", "per_month": "1,000", "cents_per_unit": "75",
    "technology": "4", "technology.low": "3", "technology.high": "5", "people": "3", "people.evidence": "Asked them.",
    "change": "3", "contracts": "claims-history, policy-register", "effort_days": "45", "cost": "1000",
    "q.affects-rights": "no", "q.special-data": "no", "q.customer-facing": "no", "q.regulated-advice": "no",
    "q.acts-alone": "no", "q.decides-alone": "no",
}  # fmt: skip


@pytest.fixture
def house(planned: House) -> House:
    return planned


def ask(house: House, person: str, *arguments: str) -> Result:
    token = house.client(person).token
    return run(*arguments, BEDPLATE_URL=house.url, BEDPLATE_TOKEN=token, COLUMNS="200")


def test_the_portfolio_shows_the_trap_with_its_numbers_and_the_data_work_first(house: House) -> None:
    text = house.page("/portfolio")
    assert "The trap: generative AI on data that is not in order." in text
    assert "Claims history (failing)" in text
    told = house.client("victor.lam").get("/api/portfolio/balance", ideas="yes")["trap"]
    assert f"{told['generative_days']:,} of {told['days']:,} days" in text
    assert [w["contract"]["id"] for w in told["work"]][:1] == ["claims-history"]
    assert "The trap" not in house.page("/portfolio?ideas=no")  # what was taken up stands on data that passes
    for chart in ("Value by feasibility", "Impact by autonomy", "target 50 % of the effort"):
        assert chart.lower() in text.lower()


def test_the_ranking_is_the_same_on_the_page_in_the_api_and_on_the_command_line(house: House) -> None:
    told = house.client("victor.lam").get("/api/portfolio/rank")
    order = [r["proposal"]["title"] for r in told["ranked"]]
    page = house.page("/portfolio")
    table = page[page.index('aria-label="Ranking"') :]
    places = [table.index(f">{title}</a>") for title in order]
    assert places == sorted(places)
    shown = ask(house, "victor.lam", "portfolio", "rank").out
    assert [line.split()[0] for line in shown.splitlines()[1 : len(order) + 1]] == [
        str(n + 1) for n in range(len(order))
    ]
    assert ("holds when any one weight" in shown) == told["holds"]
    assert set(told["weights"]) == {"value", "feasibility", "data", "control"}


def test_the_best_set_is_told_with_its_proof_and_compared_side_by_side(house: House) -> None:
    shown = ask(house, "victor.lam", "portfolio", "select")
    assert "proven: no other set is worth more (gap 0 %)" in shown.out
    assert "taken up before, and counted first: cover-checker" in shown.out
    less = ask(house, "victor.lam", "portfolio", "select", "--against-days", "120")
    assert "falls out" in less.out
    page = house.page("/portfolio/what-if?b_days=120")
    assert "fraud-signals" in less.out
    assert "Signals of fraud" in page
    assert "proven: none is worth more" in page
    refused = ask(house, "victor.lam", "portfolio", "select", "--must", "nothing-here")
    assert (refused.code, "'nothing-here' is no proposal" in refused.err) == (3, True)
    assert house.send("GET", "/portfolio/what-if?a_days=-5").status == 422


def test_ideas_are_listed_with_their_clocks_and_what_was_decided(house: House) -> None:
    text = house.page("/ideas")
    assert "due in 4 d" in text  # the CoE has five
    assert "It may come back: They have an owner." in text
    only = house.page("/ideas?state=declined")
    assert "Notes of interviews" in only
    assert "Claims routing" not in only
    assert "overdue" in ask(house, "victor.lam", "idea", "list", "--state", "overdue").err + text
    shown = ask(house, "victor.lam", "idea", "show", "claims-sorter")
    assert "claims-history is failing, 50 % of its checks pass" in shown.out
    assert "sibling idea/claims-router" in shown.out


def test_an_idea_is_proposed_by_the_form_looked_at_first_and_kept_when_something_is_wrong(house: House) -> None:
    wrong = house.send("POST", "/ideas", "daniel.moreau", {**FORM, "target": "30", "contracts": "ghost", "people": "9"})
    text = wrong.data.decode()
    assert wrong.status == 422
    assert "the benefit would be negative" in text
    assert "people: Input should be less than or equal to 5" in text
    assert 'value="minutes a call"' in text  # nothing typed is lost
    dangling = house.send("POST", "/ideas", "daniel.moreau", {**FORM, "contracts": "ghost"})
    assert "no data contract" in dangling.data.decode()
    looked = house.send("POST", "/ideas", "daniel.moreau", {**FORM, "step": "look"})
    assert "It would score" in looked.data.decode()
    with pytest.raises(NotFound):
        house.client("victor.lam").get("/api/ideas/claim-notes")
    sent = house.send("POST", "/ideas", "daniel.moreau", {**FORM, "step": "propose"})
    assert (sent.status, sent.headers["location"]) == (303, "/ideas/claim-notes")
    page = house.page("/ideas/claim-notes")
    assert "Notes &lt;b&gt;of&lt;/b&gt; claims" in page
    assert "a trial on our material worked" in page
    taken = house.send("POST", "/ideas", "daniel.moreau", FORM)
    assert "There is an idea claim-notes already" in taken.data.decode()
    again = house.page("/ideas/new?again=claim-notes", "daniel.moreau")
    assert 'value="1000"' in again
    assert (
        house.send("POST", "/ideas", "daniel.moreau", {**FORM, "again": "claim-notes", "effort_days": "44"}).status
        == 303
    )
    assert house.client("victor.lam").get("/api/ideas/claim-notes")["file"]["effort_days"] == 44


def test_a_decision_is_taken_on_the_page_by_whoever_may(house: House) -> None:
    path = "/ideas/leave-planner"
    assert "Record the decision" in house.page(path, "hanna.osei")
    assert "You cannot decide about it" in house.page(path, "mara.quinn")
    half = house.send("POST", f"{path}/decision", "hanna.osei", {"outcome": "declined", "reason": "Not <i>now</i>."})
    assert half.status == 422
    assert "Not &lt;i&gt;now&lt;/i&gt;." in half.data.decode()
    refused = house.send("POST", f"{path}/decision", "mara.quinn", {"outcome": "taken-up", "reason": "I want it."})
    assert refused.status == 403
    done = house.send("POST", f"{path}/decision", "hanna.osei", {"outcome": "taken-up", "reason": "It pays."})
    assert done.status == 303
    draft = house.send("GET", f"{path}/use-case.yaml")
    assert draft.data.decode().startswith("# Made of the idea leave-planner")


def test_an_idea_goes_from_a_file_to_a_folder_on_the_command_line(house: House, tmp_path: Path) -> None:
    file = EXAMPLE / "ideas" / "claims-triage.yaml"
    plan = ask(house, "daniel.moreau", "plan", str(file))
    assert (plan.code, "duplicate idea/claims-sorter" in plan.out) == (4, True)
    assert "claims-triage is proposed; the coe decides by" in ask(house, "daniel.moreau", "apply", str(file)).out
    assert ask(house, "daniel.moreau", "plan", str(file)).code == 0
    own = ask(house, "daniel.moreau", "idea", "decide", "claims-triage", "taken-up", "--reason", "Mine.")
    assert own.code == 5
    lone = ask(house, "ruth.adeyemi", "idea", "decide", "claims-triage", "declined", "--reason", "Too early.")
    assert "--condition" in lone.err
    ask(house, "ruth.adeyemi", "idea", "decide", "claims-triage", "taken-up", "--reason", "The trial convinces.")
    made = ask(house, "daniel.moreau", "idea", "take-up", "claims-triage", "--to", str(tmp_path / "triage"))
    assert made.code == 0
    assert ask(house, "daniel.moreau", "plan", str(tmp_path / "triage" / "use-case.yaml")).code == 4
    assert ask(house, "daniel.moreau", "idea", "take-up", "claims-triage", "--to", str(tmp_path / "triage")).code == 3
    assert "warning:" in ask(house, "victor.lam", "portfolio", "balance", "--ideas").out


def test_the_api_refuses_what_it_cannot_use_and_records_nothing(house: House) -> None:
    daniel = house.client("daniel.moreau")
    before = house.at.ledger.size()
    for text in ("kind: idea\n", idea(domain="moon", **CLAIMS[0]), "kind: [", "{}"):
        with pytest.raises(InvalidInput):
            daniel.post("/api/ideas", {"name": "idea.yaml", "text": text})
    wrong: list[dict[str, Any]] = [{"days": -1}, {"aim": "glory"}, {"must": "x"}, {"surplus": 1}]
    for body in wrong:
        with pytest.raises(InvalidInput):
            daniel.post("/api/portfolio/select", body)
    with pytest.raises(Conflict):
        daniel.text("/api/ideas/claims-router/draft")
    with pytest.raises(NotFound):
        daniel.post("/api/ideas/nobody/decision", {"outcome": "taken-up", "reason": "It pays."})
    assert house.at.ledger.size() == before
    with pytest.raises(Denied):
        house.client("victor.lam").post("/api/ideas", {"name": "idea.yaml", "text": idea(domain="claims", **CLAIMS[1])})
    assert len(re.findall("scores", str(daniel.get("/api/ideas/questions")))) == 3
