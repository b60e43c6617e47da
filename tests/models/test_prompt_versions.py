"""Prompts on record: versions, aliases and proposed cases through the one door, on a real ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bedplate.errors import Denied, InvalidInput
from bedplate.kernel.event import canonical
from bedplate.models.actions import alias_prompt, propose_case, record_evaluation, register_prompts
from bedplate.models.prompt import Versions, known_digests
from bedplate.models.run import Run
from bedplate.models.suite import Outcome
from bedplate.models.views import prompt_book, prompt_versions, prompts, proposed_cases
from bedplate.releases.actions import build
from bedplate.template import Message, Template

if TYPE_CHECKING:
    from tests.conftest import House

FIRST = Template("greeting", (), (Message("user", "Greet."),))
SECOND = Template("greeting", (), (Message("user", "Greet warmly."),))


def test_a_version_keeps_the_number_it_was_first_given(house: House) -> None:
    subject = house.live()
    for release, template in (("r1", FIRST), ("r2", SECOND), ("r3", FIRST)):
        register_prompts(house.governor, "leo.fischer", subject, release, [("greeting", template.digest)])

    assert prompt_versions(house.engine, subject) == {"greeting": Versions((FIRST.digest, SECOND.digest))}
    assert [(row["number"], row["release"]) for row in prompts(house.engine, subject)] == [(2, "r2"), (1, "r1")]
    assert known_digests(prompt_versions(house.engine, subject)) == {
        ("greeting", FIRST.digest),
        ("greeting", SECOND.digest),
    }
    register_prompts(house.governor, "leo.fischer", subject, "r4", [])
    assert len(house.events("models.prompt.registered")) == 3
    house.sound()


def test_an_alias_moves_on_record_by_those_who_may(house: House) -> None:
    subject = house.live()
    live = house.standing(subject).release
    register_prompts(house.governor, "leo.fischer", subject, "r1", [("greeting", FIRST.digest)])

    def move(by: str, alias: str, digest: str, previous: str = "") -> None:
        alias_prompt(house.governor, by, subject, "greeting", alias, digest=digest, previous=previous)

    move("leo.fischer", "candidate", FIRST.digest)
    assert prompt_versions(house.engine, subject)["greeting"].aliases == {"candidate": FIRST.digest}
    move("mara.quinn", "candidate", "", FIRST.digest)
    assert prompt_versions(house.engine, subject)["greeting"].aliases == {}
    for nobody in ("hanna.osei", "priya.raman", "daniel.moreau", "system"):
        with pytest.raises(Denied):
            move(nobody, "candidate", FIRST.digest)
    with pytest.raises(InvalidInput, match="only a release moves it"):
        move("leo.fischer", "live", FIRST.digest)
    assert house.standing(subject).release == live
    house.sound()


def test_the_book_of_a_release_holds_what_it_carries(house: House) -> None:
    subject = house.accepted()
    build(house.governor, "leo.fischer", house.bundle(subject), 1, [FIRST.content(), SECOND.content()])
    for template in (FIRST, SECOND):
        register_prompts(house.governor, "leo.fischer", subject, "r", [("greeting", template.digest)])

    book = prompt_book(house.engine, subject, {"greeting": SECOND.digest})

    assert book.render({"id": "greeting"}) == (
        [{"role": "user", "content": "Greet warmly."}],
        "greeting",
        SECOND.digest,
    )
    assert book.number("greeting", SECOND.digest) == 2
    with pytest.raises(InvalidInput, match="carries version 2"):
        book.render({"id": "greeting", "version": "1"})
    assert prompt_book(house.engine, subject, {}).templates == {}


def test_a_case_waits_until_an_evaluation_has_it(house: House) -> None:
    subject = house.live()
    for case in ("a", "b"):
        propose_case(house.governor, "leo.fischer", subject, case=case, feedback="f", call="c", expect="contains")
    assert [row["case"] for row in proposed_cases(house.engine, subject)] == ["a", "b"]
    with pytest.raises(Denied):
        propose_case(house.governor, "hanna.osei", subject, case="x", feedback="f", call="c", expect="contains")

    outcomes = (Outcome("a", passed=True, why="left unanswered"),)
    record_evaluation(house.governor, "leo.fischer", subject, Run("evals", "r", "suite", "evals.yaml", outcomes))

    assert [row["case"] for row in proposed_cases(house.engine, subject)] == ["b"]
    assert b"what was asked" not in canonical([dict(e.data) for e in house.events("models.case.proposed")])
    house.sound()
