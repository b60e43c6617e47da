"""The board's appetite for how many use cases are live: beyond it nothing goes live, until the board raises it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bedplate.errors import Denied, NeedsApproval
from bedplate.kernel.approval import Stage
from bedplate.people.actions import apply_model
from bedplate.people.views import current_model
from bedplate.portfolio.actions import retire
from bedplate.releases.actions import gate, go_live

if TYPE_CHECKING:
    from tests.conftest import House


def crowd(house: House, most: int) -> list[str]:
    """Have as many live as the appetite allows."""
    file = house.model_file()
    assert file.appetites.live_use_cases == 3
    house.apply(file.model_copy(update={"appetites": file.appetites.model_copy(update={"live_use_cases": most})}))
    return [house.live(house.use_case(id=f"live-{n}")) for n in range(most)]


def test_beyond_the_appetite_nothing_goes_live(house: House) -> None:
    crowd(house, 2)
    subject = house.accepted(house.use_case(id="one-more"))
    digest, number = house.built(subject)
    with pytest.raises(Denied, match="2 use cases are live") as refused:
        go_live(house.governor, "leo.fischer", subject, digest, number)
    assert refused.value.controls == ("within-appetite",)
    assert "ask the board" in refused.value.hint
    lines = {line.control: line.state for line in gate(house.governor, "leo.fischer", subject, digest)}
    assert lines["within-appetite"] == "contradicted"
    (denied,) = house.events("kernel.action.denied")
    assert denied.stream == subject
    assert house.standing(subject).stage == "accepted"


def test_the_board_raises_it(house: House) -> None:
    crowd(house, 1)
    subject = house.accepted(house.use_case(id="one-more"))
    digest, number = house.built(subject)
    with pytest.raises(Denied):
        go_live(house.governor, "leo.fischer", subject, digest, number)
    current = current_model(house.engine)
    assert current is not None
    asked = house.asked(lambda: apply_model(house.governor, "jonas.weber", house.model_file(), current["model"]))
    assert house.approval(asked).stages == (Stage("board", "policy"),)
    house.grant(asked)
    with pytest.raises(NeedsApproval):
        go_live(house.governor, "leo.fischer", subject, digest, number)


def test_a_grant_does_not_pass_an_appetite_that_was_used_up_meanwhile(house: House) -> None:
    crowd(house, 1)
    first = house.accepted(house.use_case(id="first"))
    digest, number = house.built(first)
    house.apply(house.model_file(lambda text: text.replace("live_use_cases: 3", "live_use_cases: 2")))
    asked = house.asked(lambda: go_live(house.governor, "leo.fischer", first, digest, number))
    house.live(house.use_case(id="second"))
    with pytest.raises(Denied, match="2 use cases are live"):
        house.grant(asked)
    assert house.standing(first).stage == "accepted"


def test_what_is_live_may_be_released_again_and_what_is_retired_makes_room(house: House) -> None:
    (live,) = crowd(house, 1)
    digest, number = house.built(live, prompt="another")
    house.grant(house.asked(lambda: go_live(house.governor, "leo.fischer", live, digest, number)))
    assert house.standing(live).release == digest
    retire(house.governor, "mara.quinn", live, "it has ended")
    house.live(house.use_case(id="the-next"))
    house.sound()
