"""Data contracts: read in two forms, judged by their last results, and what releases and live use cases owe them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.conftest import MUTUAL

from bedplate.data.actions import rely
from bedplate.data.contract import HOUR, Checked, permille, state_of
from bedplate.data.odcs import read_odcs
from bedplate.data.results import parse_results, run_of
from bedplate.data.views import contract_checks, contract_states
from bedplate.document import InvalidDocument, parse
from bedplate.errors import Conflict, Denied, InvalidInput, NotFound
from bedplate.incidents.actions import close
from bedplate.incidents.views import incidents
from bedplate.kernel.clock import rfc3339
from bedplate.paths.contracts import ContractWatch, Reported, affected, check_contract, declare, report, shown
from bedplate.portfolio.usecase import DataPart
from bedplate.releases.actions import gate, go_live

if TYPE_CHECKING:
    from tests.conftest import House

    from bedplate.data.contract import Contract

FOLDER = MUTUAL / "contracts"
OURS = (FOLDER / "staff-handbook.yaml").read_text()
ODCS = (FOLDER / "claims-history.odcs.yaml").read_text()
CHECKS = ("every-section-has-an-owner", "reviewed-this-year", "one-rule-per-topic", "published-equals-approved")
ID = "staff-handbook"


def read(house: House, text: str = OURS) -> Contract:
    return check_contract(parse(text, "contract.yaml"), house.model)


def declared(house: House, text: str = OURS) -> None:
    declare(house.governor, house.engine, "leo.fischer", read(house, text), text)


def results(at: int, run: str, failing: str = "", checks: tuple[str, ...] = CHECKS) -> str:
    rows = [f"  - {{check: {c}, passed: {'no' if c == failing else 'yes'}, value: 1 of 2, rows: 2}}" for c in checks]
    return "\n".join([f"run: {run}", f'at: "{rfc3339(at)}"', "results:", *rows])


def told(house: House, run: str, failing: str = "", *, before: int = 0) -> Reported:
    text = results(house.clock() - before, run, failing)
    file = parse_results(text, "results.yaml")
    return report(house.governor, house.engine, "leo.fischer", ID, run_of(file))


def state(house: House) -> str:
    return contract_states(house.engine, house.clock())[ID].state


def naming(house: House) -> str:
    """Have a use case accepted whose data comes under the contract; returns its subject."""
    data = [DataPart.model_validate({**d.model_dump(), "contract": ID}) for d in house.use_case().data]
    return house.accepted(house.use_case(data=[d.model_dump() for d in data]))


def test_a_contract_is_as_good_as_its_worst_check() -> None:
    fresh = Checked("a", "accuracy", 1, "passed", at=10 * HOUR)
    assert state_of([fresh], 10 * HOUR) == "passing"
    assert state_of([fresh], 11 * HOUR) == "stale"
    assert state_of([fresh, Checked("b", "accuracy", 1)], 10 * HOUR) == "unchecked"
    assert state_of([Checked("a", "accuracy", 1, "failed", at=HOUR)], 99 * HOUR) == "failing"
    assert state_of([], 0) == "unchecked"
    assert permille([fresh, Checked("b", "accuracy", 1), Checked("c", "accuracy", 1)], 10 * HOUR) == 333


def test_results_move_a_contract_from_unchecked_to_stale(house: House) -> None:
    declared(house)
    assert state(house) == "unchecked"
    assert told(house, "one") == Reported(recorded=True, state="passing", opened=())
    found = contract_states(house.engine, house.clock())[ID]
    assert (found.passed_permille, found.checked_at, found.mend_days) == (1000, house.clock(), 3)
    assert told(house, "two", CHECKS[1]).state == "failing"
    assert contract_states(house.engine, house.clock())[ID].passed_permille == 750
    assert told(house, "late", before=HOUR).state == "failing"  # an older run says nothing about now
    house.clock.advance(HOUR)
    assert told(house, "three").state == "passing"
    house.clock.advance(24 * HOUR)  # the check that is good for a day only
    assert state(house) == "stale"
    house.sound()


def test_the_same_run_again_changes_nothing(house: House) -> None:
    declared(house)
    text = results(house.clock(), "one")
    run = run_of(parse_results(text, "results.yaml"))
    assert report(house.governor, house.engine, "leo.fischer", ID, run).recorded
    size = house.ledger.size()
    assert not report(house.governor, house.engine, "leo.fischer", ID, run).recorded
    assert house.ledger.size() == size
    other = run_of(parse_results(results(house.clock(), "one", CHECKS[0]), "results.yaml"))
    with pytest.raises(Conflict, match="reported with other results"):
        report(house.governor, house.engine, "leo.fischer", ID, other)
    assert state(house) == "passing"


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (("id: staff-handbook", "id: staff-handbook\nsla: 1"), r"contract.yaml:4:\d+ sla: unknown key"),
        (("owner: mara.quinn", "owner: nobody.here"), r"owner: the owner, nobody.here, is nobody"),
        (("owner: mara.quinn", "owner: daniel.moreau"), r"owner: the owner, daniel.moreau, has no seat in people"),
        (("domain: people", "domain: finance"), r"domain: no domain 'finance'; known: claims, people"),
        (("name: one-rule-per-topic", "name: reviewed-this-year"), r"checks.2.name: 'reviewed-this-year' is there"),
        (("dimension: timeliness", "dimension: beauty"), r"checks.1.dimension: Input should be 'accuracy'"),
    ],
)
def test_a_contract_that_does_not_hold_together_names_the_place(house: House, edit: tuple[str, str], says: str) -> None:
    assert edit[0] in OURS
    with pytest.raises(InvalidDocument, match=says):
        read(house, OURS.replace(*edit, 1))


def test_an_odcs_file_declares_its_rules_as_checks(house: House) -> None:
    found = read(house, ODCS)
    assert (found.id, found.owner, found.domain, found.source, found.mend_days) == (
        "claims-history",
        "daniel.moreau",
        "claims",
        "odcs 3.1.0",
        40,
    )
    assert {c.name: c.dimension for c in found.checks} == {
        "claim:enough-rows": "coverage",
        "claim.claim_id:required": "completeness",
        "claim.claim_id:unique": "uniqueness",
        "claim.cause:known-cause": "conformity",
        "claim.paid_cents:required": "completeness",
        "claim.paid_cents:not-negative": "conformity",
        "sla:latency": "freshness",
    }
    assert {c.fresh_hours for c in found.checks} == {24}  # delivered once a day
    declare(house.governor, house.engine, "daniel.moreau", found, ODCS)
    (event,) = house.events("data.contract.declared")
    with house.engine.connect() as connection:
        assert house.kept(str(event.data["spec"]))["id"] == "claims-history", connection


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (("v3.1.0", "v2.2.2"), r"c.yaml:2:\d+ apiVersion: expected v3.0.x or v3.1.x; found 'v2.2.2'"),
        (("role: Data Owner", "role: reader"), r"team: expected a member with role: owner"),
        (("value: 40", "value: soon"), r"customProperties: bedplate.mendDays: expected a whole number; found 'soon'"),
    ],
)
def test_an_odcs_file_that_cannot_be_read_names_the_place(edit: tuple[str, str], says: str) -> None:
    with pytest.raises(InvalidDocument, match=says):
        read_odcs(parse(ODCS.replace(*edit, 1), "c.yaml"))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("r.yaml", "at: yesterday\nresults:\n  - {check: a, passed: yes}", r"r.yaml:1:1 at: at: 'yesterday' is not"),
        ("r.yaml", "at: 2026-11-23T02:00:00\nresults:\n  - {check: a, passed: yes}", r"with its zone"),
        ("r.json", '{"at": "2026-11-23T02:00:00Z",\n "results": [{"check": "a"}]}', r"r.json:2:.*passed: required"),
        ("r.csv", "check,passed\na,perhaps\n", r"r.csv:2:1 passed: expected yes or no; found 'perhaps'"),
        ("r.csv", "check,ok\na,yes\n", r"r.csv:1:1 ok: unknown column"),
        ("r.csv", "check,passed,rows\na,yes,-4\n", r"r.csv:2:1 rows: expected a whole number; found '-4'"),
    ],
)
def test_results_that_cannot_be_read_name_the_place(name: str, text: str, says: str) -> None:
    with pytest.raises(InvalidDocument, match=says):
        parse_results(text, name, at="2026-11-23T02:00:00Z" if name.endswith("csv") else "")


def test_results_that_cannot_be_are_refused_and_change_nothing(house: House) -> None:
    declared(house)
    size = house.ledger.size()
    with pytest.raises(InvalidInput, match="3600 seconds in the future"):
        told(house, "early", before=-HOUR)
    unknown = run_of(parse_results(results(house.clock(), "x", checks=("never-declared",)), "r.yaml"))
    with pytest.raises(InvalidInput, match="declares no check 'never-declared'"):
        report(house.governor, house.engine, "leo.fischer", ID, unknown)
    with pytest.raises(NotFound, match="no data contract other"):
        report(house.governor, house.engine, "leo.fischer", "other", unknown)
    assert house.ledger.size() == size
    with pytest.raises(Denied, match="needs data:contract:check"):
        report(house.governor, house.engine, "victor.lam", ID, unknown)
    assert state(house) == "unchecked"


def test_a_contract_stays_in_its_domain(house: House) -> None:
    declared(house)
    taken = OURS.replace("owner: mara.quinn\ndomain: people", "owner: daniel.moreau\ndomain: claims")
    with pytest.raises(Denied, match="belongs to people, not to claims"):
        declare(house.governor, house.engine, "priya.raman", read(house, taken), taken)
    with pytest.raises(Denied, match="needs data:contract:declare"):
        declare(house.governor, house.engine, "daniel.moreau", read(house, taken), taken)


def test_a_release_stands_only_on_contracts_that_are_kept(house: House) -> None:
    subject = naming(house)
    digest, number = house.built(subject)

    def line() -> tuple[str, str]:
        lines = gate(house.governor, "leo.fischer", subject, digest)
        return next((one.state, one.summary) for one in lines if one.control == "contract-kept")

    def stands() -> None:
        checks = contract_checks(house.engine, [ID])
        rely(house.governor, "leo.fischer", subject, {ID: checks.get(ID, [])})

    stands()
    assert line() == ("not evidenced", f"the data contract {ID} is not declared")
    with pytest.raises(Denied, match="is not declared"):
        go_live(house.governor, "leo.fischer", subject, digest, number)
    declared(house)  # from here on its standing follows by itself
    assert line()[0] == "not evidenced"
    told(house, "one", CHECKS[3])
    assert line() == ("contradicted", f"the data contract {ID} fails: {CHECKS[3]}")
    house.clock.advance(HOUR)
    told(house, "two")
    assert line()[0] == "proven"
    house.clock.advance(24 * HOUR)
    assert line()[0] == "stale"
    told(house, "three")
    size = house.ledger.size()
    stands()
    assert house.ledger.size() == size  # nothing is different
    house.grant(house.asked(lambda: go_live(house.governor, "leo.fischer", subject, digest, number)))
    assert house.standing(subject).stage == "live"
    house.sound()


def test_a_live_use_case_whose_data_fails_gets_one_incident(house: House) -> None:
    declared(house)
    told(house, "good")
    data = [{**d.model_dump(), "contract": ID} for d in house.use_case().data]
    subject = house.live(house.use_case(data=data))
    assert [u.subject for u in affected(house.engine, ID)] == [subject]
    house.clock.advance(HOUR)
    opened = told(house, "bad", CHECKS[0]).opened
    assert len(opened) == 1
    assert house.standing(subject).breaches == opened
    (found,) = incidents(house.engine, subject)
    assert (found["cause"], found["owner"], found["title"]) == (
        f"contract/{ID}",
        "mara.quinn",
        f"the data contract {ID} fails: {CHECKS[0]}",
    )
    house.clock.advance(HOUR)
    watch = ContractWatch(house.governor, house.engine)
    assert told(house, "worse", CHECKS[1]).opened == ()
    assert not watch.round()
    close(house.governor, "mara.quinn", subject, opened[0], "the section has an owner again")
    assert told(house, "same", CHECKS[1]).opened == ()  # it failed all along
    house.clock.advance(HOUR)
    assert told(house, "mended").state == "passing"
    house.clock.advance(HOUR)
    assert len(told(house, "again", CHECKS[2]).opened) == 1
    assert shown(house.engine, ID, house.clock())["affected"][0]["id"] == subject.partition("/")[2]


def test_the_worker_opens_what_somebody_went_live_with(house: House) -> None:
    data = [{**d.model_dump(), "contract": ID} for d in house.use_case().data]
    subject = house.live(house.use_case(data=data))
    declared(house)
    told(house, "bad", CHECKS[0])
    house.clock.advance(HOUR)
    assert len(incidents(house.engine, subject)) == 1
    other = house.live(house.use_case(id="second-helper", data=data))
    watch = ContractWatch(house.governor, house.engine)
    assert watch.round()
    assert len(incidents(house.engine, other)) == 1
    house.clock.advance(2 * 60_000_000)
    assert not watch.round()
