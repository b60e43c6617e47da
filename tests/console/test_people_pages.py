"""The page of the bodies: who sits where, who decides, and recording what somebody has shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.people.raci import DECISIONS

if TYPE_CHECKING:
    from .conftest import House


def test_the_page_shows_every_body_and_who_decides_about_a_use_case(house: House) -> None:
    page = house.page("/people")
    for words in ("AI Risk Board", "AI Centre of Excellence", "Ruth Adeyemi", "Who decides about a use case"):
        assert words in page
    assert page.count('<tr><th scope="row" class="wrap">') >= len(DECISIONS) - 1
    assert "needs releases:release:build" in page
    assert "The operating model asks for no competence" in page


def test_a_use_case_that_is_not_there_is_said(house: House) -> None:
    answer = house.send("GET", "/people?use_case=nothing")
    assert answer.status == 422
    assert "There is no use case" in answer.data.decode()


def test_a_training_of_a_competence_that_nobody_declared_is_refused_with_the_fix(house: House) -> None:
    form = {"what": "mara.quinn juggling", "evidence": "seen", "on": ""}
    answer = house.send("POST", "/people/training", "priya.raman", form)
    assert answer.status == 403
    assert "declare it in `competences`" in answer.data.decode()
    wrong = house.send("POST", "/people/training", "priya.raman", {**form, "on": "2027-02-31"})
    assert (wrong.status, "Write it like 2027-01-31" in wrong.data.decode()) == (422, True)
