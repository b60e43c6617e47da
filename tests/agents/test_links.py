"""Links to single actions: they open one for one person who is signed in, and sign nobody in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from bedplate.agents.link import PREFIX, Links
from bedplate.api.app import create
from bedplate.errors import Conflict, Denied, InvalidInput
from bedplate.kernel.clock import DAY
from bedplate.paths.oversight import followed, link_to
from bedplate.people.actions import invite, sign_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agents.acting import Acting


@pytest.fixture
def links(agent: Acting) -> Links:
    return Links(agent.door.parts.salt)


def made(agent: Acting, links: Links, person: str = "hanna.osei") -> tuple[str, str]:
    asked = agent.pay().approval
    path = link_to(links, asked, person, agent.house.approval(asked).expires)
    return asked, path.removeprefix("/links/")


def test_a_link_opens_its_action_for_its_person(agent: Acting, links: Links) -> None:
    asked, link = made(agent, links)
    assert link.startswith(PREFIX)
    assert followed(agent.at, link, "hanna.osei").id == asked


def test_a_link_that_was_passed_on_is_nobodys(agent: Acting, links: Links) -> None:
    _, link = made(agent, links)
    with pytest.raises(Denied, match="somebody else"):
        followed(agent.at, link, "ruth.adeyemi")


@pytest.mark.parametrize(
    "spoil",
    [lambda t: t[:-3] + "aaa", lambda t: t[5:], lambda _: "bpl_.", lambda _: "bpl_é", lambda t: t * 30,
     lambda t: t[:9] + "A" + t[10:]],
)  # fmt: skip
def test_a_link_that_was_changed_is_none(agent: Acting, links: Links, spoil: Callable[[str], str]) -> None:
    _, link = made(agent, links)
    with pytest.raises(InvalidInput, match="not made here"):
        followed(agent.at, spoil(link), "hanna.osei")


def test_a_link_of_another_installation_is_none(agent: Acting) -> None:
    _, link = made(agent, Links(b"another"))
    with pytest.raises(InvalidInput, match="not made here"):
        followed(agent.at, link, "hanna.osei")


def test_a_link_ends_with_what_it_leads_to(agent: Acting, links: Links) -> None:
    _, link = made(agent, links)
    agent.clock.advance(15 * DAY)
    with pytest.raises(InvalidInput, match="over"):
        followed(agent.at, link, "hanna.osei")


def test_a_link_holds_no_vote(agent: Acting, links: Links) -> None:
    asked, link = made(agent, links, "mara.quinn")
    followed(agent.at, link, "mara.quinn")
    assert agent.house.approval(asked).votes == ()
    with pytest.raises(Denied, match="may not do this"):
        agent.at.vote("mara.quinn", followed(agent.at, link, "mara.quinn").id, yes=True, reason="")


def test_a_link_is_of_no_more_use_once_it_was_answered(agent: Acting, links: Links) -> None:
    asked, link = made(agent, links)
    agent.agree(asked)
    with pytest.raises(Conflict):
        agent.at.vote("hanna.osei", followed(agent.at, link, "hanna.osei").id, yes=True, reason="")


def test_the_api_opens_a_link_to_its_person_only_and_takes_their_vote(agent: Acting, links: Links) -> None:
    asked, link = made(agent, links)
    with TestClient(create(agent.at)) as client:

        def sent(method: str, path: str, person: str, **more: Any) -> Any:
            invite(agent.house.governor, "operator", person, person, known=True)
            token = sign_in(agent.house.governor, person, "session").text
            return client.request(method, path, headers={"authorization": f"Bearer {token}"}, **more)

        assert client.get(f"/links/{link}").status_code == 401
        assert sent("GET", f"/links/{link}", "ruth.adeyemi").status_code == 403
        found = sent("GET", f"/links/{link}", "hanna.osei")
        assert (found.status_code, found.json()["arguments"]) == (200, {"amount": 2000, "payee": "Ada Ltd"})
        assert sent("POST", f"/links/{link}/votes", "ruth.adeyemi", json={"answer": "yes"}).status_code == 403
        told = sent("POST", f"/links/{link}/votes", "hanna.osei", json={"answer": "yes"})
        assert (told.status_code, told.json()["state"]) == (200, "granted")
        measured = sent("GET", "/oversight", "victor.lam").json()["reviewers"]
        assert [(r["person"], r["answers"]) for r in measured] == [("hanna.osei", 1)]
        assert sent("GET", "/inbox", "hanna.osei").json() == {"actions": []}
        assert sent("POST", "/people/hanna.osei/restore", "sofia.brandt", json={"reason": "x"}).status_code == 403
    assert agent.house.approval(asked).state == "granted"
