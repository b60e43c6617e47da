"""Vendors: the register and its reviews, what a release relies on, and what stops if one stops."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.conftest import MUTUAL

from bedplate.document import InvalidDocument, parse
from bedplate.errors import Denied, InvalidInput, NotFound
from bedplate.kernel.clock import DAY
from bedplate.paths.concentration import concentration, herfindahl
from bedplate.paths.thread import Offer, recipe
from bedplate.releases.actions import gate, go_live
from bedplate.vendors.actions import check_vendor, register, rely, review
from bedplate.vendors.vendor import Supply, Target, end_of, suppliers
from bedplate.vendors.views import relying, reviews, vendor_named, vendors

if TYPE_CHECKING:
    from tests.conftest import House

    from bedplate.vendors.vendor import VendorFile

TEXT = (MUTUAL / "vendors" / "northlight.yaml").read_text().replace("2026-10-06", "2025-05-06")
NORTH = "https://api.northlight.example/v1"
OFFERS = {"north": Offer(NORTH, "northlight-2", "north"), "embedded": Offer("embedded", "e", "embedded")}


def read(house: House, text: str = TEXT, use_cases: tuple[str, ...] = ()) -> VendorFile:
    known = {v.id for v in vendors(house.engine, house.clock())}
    return check_vendor(parse(text, "vendor.yaml"), house.model, known, use_cases, house.clock())


def registered(house: House, text: str = TEXT) -> str:
    file = read(house, text)
    register(house.governor, "priya.raman", file, relying(house.engine, file.id))
    return file.id


def relies(house: House, subject: str, digest: str, *targets: Target) -> None:
    known = {v.supply: v.known() for v in vendors(house.engine, house.clock())}
    rely(house.governor, "leo.fischer", subject, digest, targets, known)


def line(house: House, subject: str, digest: str) -> tuple[str, str]:
    lines = gate(house.governor, "leo.fischer", subject, digest)
    return next((one.state, one.summary) for one in lines if one.control == "vendor-current")


def test_whose_a_model_is() -> None:
    maker, host = Supply("maker", ("Omni-*",), ()), Supply("host", (), ("https://*.host.example/*", "west"))
    every = [maker, host]
    assert suppliers(Target("https://eu.host.example/v1", "omni-4"), every) == ["host", "maker"]
    assert suppliers(Target("https://other.example/v1", "omni-4"), every) == ["maker"]
    assert suppliers(Target("https://other.example/v1", "x", ("west",)), every) == ["host"]
    assert suppliers(Target("https://other.example/v1", "x"), every) == []
    for own in ("embedded", "local", "http://127.0.0.1:8080/v1", "http://localhost:11434"):
        assert suppliers(Target(own, "omni-4"), every) == []


def test_the_herfindahl_index() -> None:
    assert herfindahl({}) == -1
    assert herfindahl({(): 5}) == -1  # what is answered here is nobody's
    assert herfindahl({("a",): 7}) == 10_000
    assert herfindahl({("a",): 1, ("b",): 1}) == 5_000
    assert herfindahl({("a", "b"): 2, ("b",): 2, (): 96}) == 6_250  # a quarter and three quarters


def test_a_vendor_is_registered_reviewed_and_overdue(house: House) -> None:
    registered(house)
    found = vendor_named(house.engine, "northlight", house.clock())
    assert (found.state, found.review, found.terms, found.reviewed_at) == ("registered", "planned", "running", 0)
    house.clock.now = end_of("2027-05-31") - 1
    assert vendor_named(house.engine, "northlight", house.clock()).review == "soon"
    house.clock.advance(1)
    assert vendor_named(house.engine, "northlight", house.clock()).review == "overdue"
    with pytest.raises(InvalidInput, match="needs its notes"):
        review(house.governor, "jonas.weber", "northlight", "kept", " ", end_of("2027-12-31"))
    with pytest.raises(Denied, match="next review is not in the future"):
        review(house.governor, "jonas.weber", "northlight", "kept", "looked", end_of("2027-05-31"))
    with pytest.raises(Denied, match="needs vendors:vendor:review"):
        review(house.governor, "leo.fischer", "northlight", "kept", "looked", end_of("2027-12-31"))
    with pytest.raises(NotFound, match="no vendor other"):
        review(house.governor, "jonas.weber", "other", "kept", "looked", end_of("2027-12-31"))
    review(house.governor, "jonas.weber", "northlight", "kept", "terms read again", end_of("2027-12-31"))
    found = vendor_named(house.engine, "northlight", house.clock())
    assert (found.state, found.review, found.reviewed_by) == ("kept", "planned", "jonas.weber")
    assert [r["notes"] for r in reviews(house.engine, "northlight")] == ["terms read again"]
    house.sound()


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (("due: 2027-05-31", "due: 2024-05-31"), r"review.due: 2024-05-31 is past"),
        (("jonas.weber", "nobody.here"), r"review.reviewer: nobody.here is nobody"),
        (("upstream: embedded", "vendor: southlight"), r"exit_plan.vendor: no vendor 'southlight' is on the register"),
        (("2025-05-06", "2029-01-01"), r"exit_plan.tested_on: 2029-01-01 is still to come"),
        (("valid_until: 2027-09-30", "valid_until: soon"), r"vendor.yaml:12:\d+ terms.valid_until: expected a day"),
        (('models: ["northlight-*"]', 'models: ["*"]'), r"models.0: is not written as it must be"),
        (("retention_days: 30", "retention_days: 30\n  sold_on: no"), r"data_use.sold_on: unknown key"),
        (("client)}", "client), use_cases: [hr-helper]}"), r"products.0.use_cases.0: there is no use case 'hr-helper'"),
    ],
)
def test_an_entry_that_does_not_hold_together_names_the_place(house: House, edit: tuple[str, str], says: str) -> None:
    assert edit[0] in TEXT
    with pytest.raises(InvalidDocument, match=says):
        read(house, TEXT.replace(*edit, 1))


def test_a_release_of_a_high_tier_owes_vendors_that_are_current(house: House) -> None:
    subject = house.accepted(house.tier(3))
    digest, _ = house.built(subject)
    assert line(house, subject, digest)[0] == "proven"  # it asks nobody's model
    asked = Target(NORTH, "northlight-2")
    relies(house, subject, digest, asked, Target("embedded", "e"))
    assert line(house, subject, digest) == (
        "not evidenced",
        f"nobody on the register of vendors supplies northlight-2 at {NORTH}",
    )
    registered(house)
    relies(house, subject, digest, asked)
    assert line(house, subject, digest)[0] == "proven"
    assert relying(house.engine, "northlight") == [subject]
    size = house.ledger.size()
    relies(house, subject, digest, asked)
    assert house.ledger.size() == size
    house.clock.now = end_of("2027-05-31")
    assert line(house, subject, digest) == ("stale", "the review of the vendor northlight was due on 2027-05-31")
    due = end_of("2028-05-31")
    review(house.governor, "jonas.weber", "northlight", "kept", "looked", due, relying(house.engine, "northlight"))
    assert line(house, subject, digest)[0] == "proven"
    house.clock.now = end_of("2027-09-30")
    assert line(house, subject, digest) == ("stale", "the terms of the vendor northlight ended on 2027-09-30")
    due = house.clock() + DAY
    review(house.governor, "jonas.weber", "northlight", "ended", "they sold", due, relying(house.engine, "northlight"))
    assert line(house, subject, digest) == ("contradicted", "the vendor northlight was ended")
    other, _ = house.built(subject, prompt="f" * 64)
    gone = "it is not on record on which vendors this release relies"
    assert line(house, subject, other)[0] == "proven"
    assert line(house, subject, "0" * 64) == ("not evidenced", gone)
    house.sound()


def test_what_stops_if_a_vendor_stops(house: House) -> None:
    file = house.model_file()
    house.apply(file.model_copy(update={"appetites": file.appetites.model_copy(update={"live_use_cases": 9})}))
    names = ("alone", "backed", "spare", "home", "embeds", "desk")
    subjects = {name: house.live(house.use_case(id=name)) for name in names}
    registered_with = read(house, TEXT.replace("client)}", "client), use_cases: [desk]}"), names)
    register(house.governor, "priya.raman", registered_with)
    north, here = {"upstream": NORTH, "model": "northlight-2"}, {"upstream": "embedded", "model": "e"}
    far = {"upstream": "https://far.example/v1", "model": "far-1"}
    made = {
        "alone": {**north, "fallbacks": (north,)},
        "backed": {**north, "fallbacks": (far, here)},
        "spare": {**here, "fallbacks": (north,)},
        "home": here,
        "embeds": {**here, "embedding": north},
        "desk": here,
    }
    recipes = {
        subjects[name]: recipe(replace(house.bundle(subjects[name]), **fields), "prompt")  # type: ignore[arg-type]  # fields of the bundle, by name
        for name, fields in made.items()
    }
    found = concentration(house.engine, recipes, OFFERS, house.clock())
    shares = {share.id: share for share in found.shares}
    assert {hit.id: hit.effect for hit in shares["northlight"].hits} == {
        "alone": "stops",
        "desk": "stops",
        "backed": "degrades",
        "embeds": "degrades",
        "spare": "unaffected",
    }
    whys = {hit.id: hit.why for hit in shares["northlight"].hits}
    assert whys["backed"] == "far-1 answers instead of northlight-2"
    assert whys["desk"] == "it runs on Northlight Desk (assistant in the mail client)"
    assert {hit.id: hit.effect for hit in shares["unregistered"].hits} == {"backed": "unaffected"}
    assert shares["northlight"].yearly_permille == 333
    assert (found.live, found.herfindahl_calls, found.vendor_calls) == (6, -1, 0)
    assert found.plain(money=False)["shares"][0]["cost_nano"] is None


def test_an_interest_in_a_vendor_bars_from_deciding_about_what_rests_on_it(house: House) -> None:
    interest = "conflicts:\n  - {person: hanna.osei, about: vendor/northlight, why: her brother's firm}\n"
    house.apply(house.model_file(lambda text: f"{text}\n{interest}"))
    registered(house)
    subject = house.accepted()
    digest, number = house.built(subject)
    relies(house, subject, digest, Target(NORTH, "northlight-2", ("north",)))
    asked = house.asked(lambda: go_live(house.governor, "leo.fischer", subject, digest, number))
    with pytest.raises(Denied, match=r"declared a conflict of interest about vendor/northlight: her brother's firm"):
        house.vote("hanna.osei", asked)
    other, later = house.built(subject, prompt="other")
    again = house.asked(lambda: go_live(house.governor, "leo.fischer", subject, other, later))
    assert house.vote("hanna.osei", again).state == "granted"
