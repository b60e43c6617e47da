"""How data is governed: which version of a source may be answered from, and which data contracts are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.canary import model_for_canaries
from bedplate.kernel.control import Control, Fail, Finding, Pass
from bedplate.kernel.decision import Case
from bedplate.kernel.manifest import Kind, Manifest
from bedplate.kernel.standing import Standing

if TYPE_CHECKING:
    from bedplate.kernel.event import Data, Event, Value

INDEX = Action("data.index", "data:source:index", "Index a version of a source for retrieval.")
DECLARE = Action("data.declare", "data:contract:declare", "Declare a data contract, or change it.", registered=False)
CHECK = Action("data.check", "data:contract:check", "Report what a contract's checks found.", registered=False)
RELY = Action("data.rely", "data:source:index", "Say on which data contracts a release stands.")

REMEMBERED = 16  # versions
RUNS = 64  # of a contract, whose results are recognised without the read tables
NAMED = 3  # checks that a refusal names


def _indexed(standing: Standing, event: Event) -> Standing:
    """Note when a version of a source was last read anew, and how many days that may be ago (0: any number)."""
    known = standing.facts.get("data.indexed", {})
    if not isinstance(known, dict):
        raise TypeError("when sources were indexed must be an object")
    version = str(event.data["version"])
    kept = {
        **{v: told for v, told in known.items() if v != version},
        version: [event.at, event.data.get("max_age_days", 0)],
    }
    return standing.with_facts(data__indexed=dict(list(kept.items())[-REMEMBERED:]))


def checks_of(standing: Standing) -> dict[str, list[Value]]:
    """Return what a contract's standing holds of its checks: dimension, hours, outcome and time, by name."""
    return {name: row for name, row in _object(standing.facts, "data.checks").items() if isinstance(row, list)}


def runs_of(standing: Standing) -> dict[str, Value]:
    """Return the digests of a contract's newest results, by run."""
    return _object(standing.facts, "data.runs")


def relied_on(standing: Standing) -> dict[str, dict[str, Value]]:
    """Return what a use case's standing holds of the contracts it stands on, by id."""
    return {name: told for name, told in _object(standing.facts, "data.contracts").items() if isinstance(told, dict)}


def _declared(standing: Standing, event: Event) -> Standing:
    data, before = event.data, checks_of(standing)
    checks: dict[str, Value] = {}
    for row in _list(data, "checks"):
        if isinstance(row, list):
            name, dimension, hours = row
            old = before.get(str(name), [dimension, hours, "", 0])
            checks[str(name)] = [dimension, hours, *(old[2:] if old[0] == dimension else ["", 0])]
    named = replace(standing, title=str(data["title"]), owner=str(data["owner"]), domain=str(data["domain"]))
    return named.with_facts(data__checks=checks)


def _checked(standing: Standing, event: Event) -> Standing:
    data, checks = event.data, dict(checks_of(standing))
    at = int(str(data["checked_at"]))
    for row in _list(data, "results"):
        known = checks.get(str(row[0])) if isinstance(row, list) else None
        if isinstance(row, list) and known is not None and int(str(known[3])) <= at:
            checks[str(row[0])] = [*known[:2], row[1], at]
    runs = {**runs_of(standing), str(data["run"]): data["digest"]}
    return standing.with_facts(data__checks=dict(checks), data__runs=dict(list(runs.items())[-RUNS:]))


def _relied(standing: Standing, event: Event) -> Standing:
    told: dict[str, Value] = {}
    for one in _list(event.data, "contracts"):
        if isinstance(one, dict):
            told[str(one["contract"])] = one
    return standing.with_facts(data__contracts=told)


def _noted(standing: Standing, event: Event) -> Standing:
    known = relied_on(standing)
    name = str(event.data["contract"])
    return standing.with_facts(data__contracts={**known, name: dict(event.data)}) if name in known else standing


def _kept(case: Case) -> Finding:
    standing = case.standing
    if standing is None:
        return Fail("no standing", "propose the use case", "not evidenced")
    if "data.contracts" not in standing.facts:
        return Pass()  # it names none; building a release that names one says so
    found = [(rank, said) for rank, said in (_broken(name, told, case.now) for name, told in _told(standing)) if said]
    return min(found, key=_rank)[1] if found else Pass()


def _told(standing: Standing) -> list[tuple[str, dict[str, Value]]]:
    if not isinstance(standing.facts["data.contracts"], dict):
        raise TypeError("what a use case stands on must be an object")
    return sorted(relied_on(standing).items())


def _rank(found: tuple[int, Fail]) -> int:
    return found[0]


def _broken(name: str, told: dict[str, Value], now: int) -> tuple[int, Fail | None]:
    """Say why a release must not stand on a contract; the graver, the lower the number."""
    failing, unchecked, due = told["failing"], told["unchecked"], int(str(told["due"]))
    if not isinstance(failing, list) or not isinstance(unchecked, list):
        raise TypeError("checks must be lists")
    see = f"bedplate contract show {name}"
    if told["known"] != "yes":
        fix = f"declare it: bedplate apply {name}.yaml, then release again"
        return 1, Fail(f"the data contract {name} is not declared", fix, "not evidenced")
    if failing:
        fix = f"mend the data and report it: bedplate contract check {name} results.yaml"
        return 0, Fail(f"the data contract {name} fails: {_some(failing)}", fix)
    if unchecked:
        fix = f"report results: bedplate contract check {name} results.yaml"
        return 2, Fail(f"the data contract {name} was never checked for {_some(unchecked)}", fix, "not evidenced")
    if now >= due:
        return 3, Fail(f"results of the data contract {name} are older than it allows", f"check again; {see}", "stale")
    return 4, None


def _some(names: list[Value]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(str, names[:NAMED])) + more


def _failing() -> Case:
    """A release that stands on a contract that fails."""
    told: Value = {"contract": "canary", "known": "yes", "failing": ["canary"], "unchecked": [], "due": 1}
    standing = Standing("usecase/canary", tier=1).with_facts(data__contracts={"canary": told})
    attempt = Attempt(Action("releases.golive", "releases:release:build", ""), "canary", "usecase/canary")
    return Case(attempt, 0, None, standing)


def _owned(case: Case) -> Finding:
    if case.model is None:
        raise ValueError("no operating model")
    facts, standing = case.attempt.facts, case.standing
    owner, domain = str(facts["owner"]), str(facts["domain"])
    if standing is not None and standing.domain and standing.domain != domain:
        return Fail(
            f"this data contract belongs to {standing.domain}, not to {domain}",
            f"leave domain: {standing.domain}, or declare another contract",
        )
    person = case.model.authority.people.get(owner)
    if person is None:
        return Fail(f"the owner, {owner}, is nobody in the operating model", "name an owner who has a seat")
    if not any(seat.domain == domain for seat in person.seats):
        return Fail(f"{owner} has no seat in {domain}", f"name somebody of {domain}, or give {owner} a seat there")
    return Pass()


def _nobodys() -> Case:
    facts: Data = {"owner": "nobody", "domain": "nowhere"}
    return Case(Attempt(DECLARE, "canary", "contract/canary", facts), 0, model_for_canaries(), None)


def _object(facts: object, name: str) -> dict[str, Value]:
    found = facts.get(name, {}) if isinstance(facts, dict) else {}
    if not isinstance(found, dict):
        raise TypeError(f"{name} must be an object")
    return found


def _list(data: Data, name: str) -> list[Value]:
    found = data[name]
    if not isinstance(found, list):
        raise TypeError(f"{name} must be a list")
    return found


MANIFEST = Manifest(
    plane="data",
    actions=(INDEX, DECLARE, CHECK, RELY),
    controls=(
        Control(
            "contract-owned",
            "change",
            "A data contract has an owner with a seat in its domain, and stays in that domain.",
            _owned,
            _nobodys,
            actions=(DECLARE.name,),
            always=True,
        ),
        Control(
            "contract-kept",
            "release",
            "Every data contract that the use case names is declared, and its checks passed and are fresh.",
            _kept,
            _failing,
            always=True,
        ),
    ),
    kinds=(
        Kind(
            "data.source.indexed",
            {
                "source": "text",
                "version": "text",
                "passages": "int",
                "files": "int",
                "personal": "text",
                "max_age_days": "int",
            },
            "A source was chunked and indexed; the version is the digest of its passages.",
            _indexed,
        ),
        Kind(
            "data.contract.declared",
            {
                "title": "text",
                "owner": "text",
                "domain": "text",
                "description": "text",
                "source": "text",
                "mend_days": "int",
                "spec": "text",
                "file": "text",
                "checks": "list",
            },
            "An owner promises something of data, with the checks that show it.",
            _declared,
        ),
        Kind(
            "data.contract.checked",
            {"run": "text", "checked_at": "int", "results": "list", "digest": "text"},
            "What the checks of a contract found in one run.",
            _checked,
        ),
        Kind(
            "data.contract.relied",
            {"contracts": "list"},
            "A release of this use case stands on these data contracts, which stood like this.",
            _relied,
        ),
        Kind(
            "data.contract.noted",
            {"contract": "text", "known": "text", "failing": "list", "unchecked": "list", "due": "int"},
            "A data contract that this use case stands on has changed, or was checked.",
            _noted,
        ),
    ),
)
