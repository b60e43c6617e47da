"""How vendors are governed: registering and reviewing them, and releasing only on what is on the register."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.clock import rfc3339
from bedplate.kernel.control import Control, Fail, Finding, Pass
from bedplate.kernel.decision import Case
from bedplate.kernel.manifest import Kind, Manifest
from bedplate.kernel.standing import Standing

if TYPE_CHECKING:
    from bedplate.kernel.event import Data, Event, Value

REGISTER = Action("vendors.register", "vendors:vendor:register", "Register a vendor, or change it.", registered=False)
REVIEW = Action(
    "vendors.review", "vendors:vendor:review", "Review a vendor: go on with it, or end it.", registered=False
)
RELY = Action("vendors.rely", "releases:release:build", "Say on which vendors a release relies.")

REMEMBERED = 16  # releases
ENDED = "ended"
CURRENT = "vendor-current"


def _review_ahead(case: Case) -> Finding:
    facts = case.attempt.facts
    if int(str(facts["due"])) > case.now:
        return Pass()
    return Fail("its next review is not in the future", "say by when it is looked at again: review.due, or --next DAY")


def _past() -> Case:
    return Case(Attempt(REVIEW, "canary", "vendor/canary", {"due": 0}), 1, None, None)


def _current(case: Case) -> Finding:
    standing, release = case.standing, str(case.attempt.facts["release"])
    relied = _object(standing, "vendors.releases").get(release)
    again = "release again: bedplate release"
    if not isinstance(relied, list):
        return Fail("it is not on record on which vendors this release relies", again, "not evidenced")
    known = _object(standing, "vendors.known")
    for row in relied:
        if not isinstance(row, list):
            raise TypeError("a target is a list")
        upstream, model, *names = map(str, row)
        if not names:
            fix = f"register it: bedplate apply vendor.yaml, then {again}"
            return Fail(f"nobody on the register of vendors supplies {model} at {upstream}", fix, "not evidenced")
        for name in names:
            wrong = _lapsed(name, known[name], case.now)
            if wrong is not None:
                return wrong
    return Pass()


def _lapsed(name: str, told: Value, now: int) -> Fail | None:
    if not isinstance(told, list):
        raise TypeError("what is known of a vendor is a list")
    state, due, terms = str(told[0]), int(str(told[1])), int(str(told[2]))
    if state == ENDED:
        return Fail(f"the vendor {name} was ended", "leave for another: bedplate vendor show " + name)
    if now >= due:
        fix = f"have it reviewed: bedplate vendor review {name}"
        return Fail(f"the review of the vendor {name} was due on {_last_day(due)}", fix, "stale")
    if now >= terms:
        fix = f"renew them: bedplate apply {name}.yaml"
        return Fail(f"the terms of the vendor {name} ended on {_last_day(terms)}", fix, "stale")
    return None


def _last_day(until: int) -> str:
    return rfc3339(until - 1)[:10]


def _unregistered() -> Case:
    """A release that asks a model of which nobody knows whose it is."""
    told: Data = {"0" * 64: [["https://canary", "canary"]]}
    standing = Standing("usecase/canary", tier=4).with_facts(vendors__releases=told)
    attempt = Attempt(Action("releases.golive", RELY.needs, ""), "canary", "usecase/canary", {"release": "0" * 64})
    return Case(attempt, 0, None, standing)


def _registered(standing: Standing, event: Event) -> Standing:
    return replace(standing, title=str(event.data["name"])).with_facts(
        vendors__state=["registered", event.data["review_due"], event.data["terms_until"]]
    )


def _reviewed(standing: Standing, event: Event) -> Standing:
    state = standing.facts.get("vendors.state")
    terms = state[2] if isinstance(state, list) else 0  # of no vendor on the register nothing is known
    return standing.with_facts(vendors__state=[event.data["outcome"], event.data["due"], terms])


def _relied(standing: Standing, event: Event) -> Standing:
    release, known = str(event.data["release"]), event.data["vendors"]
    if not isinstance(known, dict):
        return standing
    before = _object(standing, "vendors.releases")
    kept: dict[str, Value] = {**{r: told for r, told in before.items() if r != release}, release: event.data["targets"]}
    told = {**_object(standing, "vendors.known"), **known}
    kept = dict(list(kept.items())[-REMEMBERED:])
    # Whoever declared an interest in a vendor does not vote about what rests on it.
    supplied: dict[str, Value] = {r: [f"vendor/{name}" for name in _suppliers(rows)] for r, rows in kept.items()}
    return standing.with_facts(vendors__releases=kept, vendors__known=told, kernel__interests=supplied)


def _suppliers(rows: Value) -> list[str]:
    listed = [row for row in rows if isinstance(row, list)] if isinstance(rows, list) else []
    return sorted({str(name) for row in listed for name in row[2:]})


def _noted(standing: Standing, event: Event) -> Standing:
    data = event.data
    told = {**_object(standing, "vendors.known"), str(data["vendor"]): [data["state"], data["due"], data["terms"]]}
    return standing.with_facts(vendors__known=told)


def _object(standing: Standing | None, name: str) -> dict[str, Value]:
    found = standing.facts.get(name, {}) if standing is not None else {}
    if not isinstance(found, dict):
        raise TypeError(f"{name} must be an object")
    return found


MANIFEST = Manifest(
    plane="vendors",
    actions=(REGISTER, REVIEW, RELY),
    controls=(
        Control(
            "review-ahead",
            "change",
            "A vendor that is registered or kept on has its next review in the future.",
            _review_ahead,
            _past,
            actions=(REGISTER.name, REVIEW.name),
            always=True,
        ),
        Control(
            CURRENT,
            "release",
            "The vendors of its models are on the register, reviewed, and within their terms; what runs here has none.",
            _current,
            _unregistered,
        ),
    ),
    kinds=(
        Kind(
            "vendors.vendor.registered",
            {"name": "text", "spec": "text", "reviewer": "text", "review_due": "int", "terms_until": "int"},
            "A vendor is on the register, with its terms, its use of our data and how we would leave.",
            _registered,
        ),
        Kind(
            "vendors.vendor.reviewed",
            {"outcome": "text", "notes": "text", "due": "int"},
            "Somebody looked at the vendor again, and says whether we go on with it.",
            _reviewed,
        ),
        Kind(
            "vendors.vendor.noted",
            {"vendor": "text", "state": "text", "due": "int", "terms": "int"},
            "A vendor that this use case relies on was changed or reviewed.",
            _noted,
        ),
        Kind(
            "vendors.release.relied",
            {"release": "text", "targets": "list", "vendors": "object"},
            "The models that a release asks, and whose they are.",
            _relied,
        ),
    ),
)
