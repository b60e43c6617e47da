"""Shadow AI over the gateway, the API and its pages: seen, listed, adopted, declared."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import urllib3

from bedplate.errors import Conflict, Denied, InvalidInput
from bedplate.worker import Worker

if TYPE_CHECKING:
    from .conftest import House

HOSTILE = "<script>alert('seen')</script>"
NOW = 1_795_435_200_000_000
http = urllib3.PoolManager(retries=False)


def call(house: House, key: str, model: str) -> int:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hello"}]})
    answer = http.request(
        "POST", f"{house.url}/v1/chat/completions", body=body, headers={"authorization": f"Bearer {key}"}
    )
    return answer.status


def test_unknown_keys_and_models_at_the_gateway_become_sightings(house: House) -> None:
    assert call(house, "sk-proj-" + "a1B2" * 8, "gpt-4o") == 401
    assert call(house, house.key, "gpt-4o-of-nobody") == 403
    Worker(house.at).tell(house.at.clock())
    shown = house.client("priya.raman").get("/api/shadow/sightings", source="gateway")["sightings"]
    told = {(s["kind"], s["what"].partition(" #")[0], s["place"], s["provider"]) for s in shown}
    assert {
        ("key", "OpenAI key", "gateway", "OpenAI"),
        ("model", "gpt-4o-of-nobody", "usecase/hr-policy-assistant", "OpenAI"),
    } <= told
    heavy = next(s for s in shown if s["provider"] == "OpenAI" and s["kind"] == "key")
    assert any("a credential lies open" in p["why"] for p in heavy["points"])


def test_a_report_over_the_api_is_listed_scored_and_adopted(house: House) -> None:
    one = {
        "kind": "endpoint",
        "what": "api.openai.com",
        "where": HOSTILE,
        "provider": "OpenAI",
        "first": NOW,
        "last": NOW,
    }
    body = {"source": "egress", "name": "proxy.log", "digest": "b" * 64, "sightings": [one]}
    coe, mara = house.client("priya.raman"), house.client("mara.quinn")
    (seen,) = coe.post("/api/shadow/sightings", body)["ids"]
    with pytest.raises(Conflict, match="imported already"):
        coe.post("/api/shadow/sightings", body)
    with pytest.raises(InvalidInput, match="is not one of"):
        coe.get("/api/shadow/sightings", state="old")
    with pytest.raises(Denied):  # of nobody's team: the CoE settles it
        mara.post(f"/api/shadow/sightings/{seen}/dismiss", {"reason": "no"})
    page = house.page("/shadow?text=openai", "priya.raman")
    assert f'action="/shadow/{seen}/adopt"' in page
    assert "<script>alert" not in page
    assert f'action="/shadow/{seen}/adopt"' not in house.page("/shadow?text=openai", "mara.quinn")
    sent = house.send("POST", f"/shadow/{seen}/adopt", "priya.raman", {"into": "claims-mail"})
    assert (sent.status, sent.headers["location"]) == (303, f"/shadow/{seen}")
    page = house.page(f"/shadow/{seen}", "victor.lam")
    assert "/use-cases/claims-mail" in page
    file = house.send("GET", f"/shadow/{seen}/use-case.yaml", "victor.lam")
    assert b"id: claims-mail\n" in file.data
    assert b"<script" not in file.data


def test_a_sighting_is_explained_and_another_dismissed_on_its_page(house: House) -> None:
    coe = house.client("priya.raman")
    for name in ("explain", "dismiss"):
        one = {"kind": "sdk", "what": name, "where": "a repository", "team": "people", "first": NOW, "last": NOW}
        (seen,) = coe.post("/api/shadow/sightings", {"source": "code", "name": "x", "sightings": [one]})["ids"]
        form = {"reason": "agreed", "until": "soon"}
        answer = house.send("POST", f"/shadow/{seen}/{name}", "mara.quinn", form)
        if name == "explain":
            assert (answer.status, b"write it like 2027-01-31" in answer.data) == (422, True)
            until = re.search(r'name="until" value="([0-9-]+)"', house.page(f"/shadow/{seen}", "mara.quinn"))
            assert until is not None
            answer = house.send("POST", f"/shadow/{seen}/{name}", "mara.quinn", {**form, "until": until[1]})
        assert answer.status == 303
        assert coe.get(f"/api/shadow/sightings/{seen[:8]}")["state"] == {"explain": "explained"}.get(name, "dismissed")


def test_a_team_declares_from_the_page_and_nobody_else_may(house: House) -> None:
    assert 'action="/shadow/declare"' not in house.page("/shadow", "priya.raman")
    assert 'action="/shadow/declare"' in house.page("/shadow", "leo.fischer")
    form = {"team": "people", "what": "ChatGPT Team", "where": "recruiting", "why": "job adverts"}
    sent = house.send("POST", "/shadow/declare", "leo.fischer", form)
    assert sent.status == 303
    assert "ChatGPT Team" in house.page(sent.headers["location"], "leo.fischer")
    refused = house.send("POST", "/shadow/declare", "priya.raman", {**form, "where": "board"})
    assert (refused.status, b"holds no seat in people" in refused.data) == (403, True)


def test_headcounts_stand_beside_the_teams(house: House) -> None:
    coe = house.client("priya.raman")
    assert coe.post("/api/shadow/headcount", {"teams": {"people": 120}}) == {"teams": {"people": 120}}
    with pytest.raises(Denied):
        house.client("leo.fischer").post("/api/shadow/headcount", {"teams": {"people": 1}})
    page = house.page("/shadow", "victor.lam")
    assert re.search(
        r'People Team</a></th><td class="num">\d+</td><td class="num">120</td><td class="num">[\d.]+</td>', page
    )
