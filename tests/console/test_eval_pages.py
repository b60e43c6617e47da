"""The evaluation pages: runs, samples, red teams, what was brought in, and two runs side by side."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from .conftest import NAME

if TYPE_CHECKING:
    from .conftest import House
    from .spent import Spent

RUNS = f"/evals/{NAME}"


@pytest.fixture
def house(spent: Spent) -> House:
    return spent.house


def test_the_newest_run_of_each_use_case_is_listed_with_its_interval(house: House) -> None:
    text = house.page("/evals", "victor.lam")
    assert "26 of 26 passed, 95 % interval 87.1 % to 100 %, 75 % needed" in text
    assert "65 of 65" in text
    assert text.index("HR policy assistant") < text.index("Benefits assistant")  # what is live comes first


def test_runs_say_what_was_asked_of_which_release_and_what_is_needed(house: House) -> None:
    text = house.page(RUNS, "victor.lam")
    assert "nothing released" in text
    assert "reached" in text
    assert "not shown" in text
    assert "redteam.yaml and attacks.yaml" in text
    trials = house.page(f"{RUNS}?purpose=trial", "victor.lam")
    assert trials.count("nothing released") == 2
    assert "No run is on record" in house.page("/evals/rota-helper", "victor.lam")
    assert house.send("GET", "/evals/nobody-proposed").status == 404


def test_a_run_shows_its_samples_failing_ones_first_each_with_its_call(house: House, spent: Spent) -> None:
    text = house.page(f"{RUNS}/{spent.trial}", "victor.lam")
    rows = text[text.index('aria-label="Samples"') :]
    assert rows.index("✕ failed") < rows.index("✓ passed")
    call = re.search(r'href="(/calls/[^"]+)" aria-label="[^"]*, call of report-sick-deadline"', rows)
    assert call is not None
    assert "evaluation" in house.page(call[1], "victor.lam")


def test_samples_are_filtered(house: House, spent: Spent) -> None:
    text = house.page(f"{RUNS}/{spent.trial}?show=failed", "victor.lam")
    assert "✓ passed" not in text
    assert "report-sick-deadline" in text
    assert "The gateway refused none." in house.page(f"{RUNS}/{spent.trial}?show=refused", "victor.lam")


def test_a_red_team_is_shown_by_family(house: House, spent: Spent) -> None:
    text = house.page(f"{RUNS}/{spent.attack}", "victor.lam")
    assert "attacks withstood" in text
    assert "Block rate" in text
    families = text[text.index('aria-label="Attacks by family"') : text.index('aria-label="Samples"')]
    for family in ("direct-injection", "jailbreak", "people-data"):
        assert f'<th scope="row">{family}</th>' in families


def test_what_was_brought_in_names_its_source(house: House, spent: Spent) -> None:
    text = house.page(f"{RUNS}/{spent.brought}", "victor.lam")
    assert "From <strong>promptfoo</strong>" in text
    assert "brought in from promptfoo" in house.page(RUNS, "victor.lam")
    assert "scored by &lt;b&gt;them&lt;/b&gt;" in text
    assert "Compare with what is live" not in text


def test_two_runs_are_compared_case_by_case(house: House, spent: Spent) -> None:
    text = house.page(f"{RUNS}/compare?after={spent.trial}", "victor.lam")
    assert "p = 0.5000" in text
    failing = text[text.index("Newly failing</h2>") :]
    assert "report-sick-deadline" in failing
    assert "does not say" in failing
    back = house.page(f"{RUNS}/compare?before={spent.trial}&after={_live(house)}", "victor.lam")
    assert "Newly passing</h2>" in back
    same = house.page(f"{RUNS}/compare?after={_live(house)}", "victor.lam")
    assert "No case went differently" in same


def test_runs_without_a_case_in_common_are_not_called_better_or_worse(house: House, spent: Spent) -> None:
    text = house.page(f"{RUNS}/compare?after={spent.brought}", "victor.lam")
    assert "nothing in common" in text
    assert "Not asked any more" in text


def test_without_a_live_release_there_is_nothing_to_compare_with(house: House) -> None:
    answer = house.send("GET", "/evals/rota-helper/compare?after=abcd")
    assert answer.status == 422
    assert "Choose two runs" in answer.data.decode()


@pytest.mark.parametrize("results", ["ffffffff", "compare", "nothing-such"])
def test_a_run_that_is_not_there_is_not_found(house: House, results: str) -> None:
    assert house.send("GET", f"{RUNS}/{results}").status == 404


def _live(house: House) -> str:
    found = house.client("victor.lam").get(f"/api/use-cases/{NAME}/evals", purpose="evals")["evals"]
    return str(found[0]["results"])
