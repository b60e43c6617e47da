"""Data contracts and the use cases that stand on them: who is affected, and incidents where data fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedplate.data import actions as data
from bedplate.data import views
from bedplate.data.contract import ContractFile, contract_of
from bedplate.data.odcs import is_odcs, read_odcs
from bedplate.document import Document, InvalidDocument
from bedplate.incidents.actions import Happening, open_incident
from bedplate.incidents.views import incidents
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import SECOND
from bedplate.kernel.event import canonical
from bedplate.portfolio.views import UseCase, use_cases

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from bedplate.data.actions import Run
    from bedplate.data.contract import Contract
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.model import OperatingModel

ENDED = frozenset({"declined", "retired"})
WATCH_EVERY = 60 * SECOND


@dataclass(frozen=True, slots=True)
class Reported:
    """What a report came to. `recorded` is False if the very same was reported before; `opened`: incidents."""

    recorded: bool
    state: str
    opened: tuple[str, ...]


def check_contract(document: Document, model: OperatingModel) -> Contract:
    """Read a contract, ours or of ODCS; `InvalidDocument` with every complaint, an owner who is nobody included."""
    odcs = is_odcs(document)
    found = read_odcs(document) if odcs else contract_of(document.read(ContractFile))
    wrong = []
    owner = ["team"] if odcs else ["owner"]
    if found.domain not in model.domains:
        known = ", ".join(sorted(model.domains))
        wrong.append(document.complain(["domain"], f"no domain {found.domain!r}; known: {known}"))
    person = model.authority.people.get(found.owner)
    if person is None:
        wrong.append(document.complain(owner, f"the owner, {found.owner}, is nobody in the operating model"))
    elif not any(seat.domain == found.domain for seat in person.seats):
        wrong.append(document.complain(owner, f"the owner, {found.owner}, has no seat in {found.domain}"))
    names = [check.name for check in found.checks]
    twice = [place for place, name in enumerate(names) if name in names[:place]]
    wrong += [document.complain(["checks", place, "name"], f"{names[place]!r} is there already") for place in twice]
    if wrong:
        raise InvalidDocument(wrong)
    return found


def declare(governor: Governor, engine: Engine, by: str, contract: Contract, text: str) -> None:
    """Record a contract, for the use cases that stand on it too."""
    data.declare(governor, by, contract, text.encode(), views.relying(engine, contract.id))


def report(governor: Governor, engine: Engine, by: str, contract_id: str, run: Run) -> Reported:
    """Record what a run found; where it fails, every live use case that names the contract gets an incident, once."""
    views.contract_named(engine, contract_id)
    before = views.run_digest(engine, contract_id, run.id)
    if before == run.digest:  # so long ago that the standing has forgotten it
        recorded = False
    else:
        data.unchanged(contract_id, run, before)
        recorded = data.check(governor, by, contract_id, run, views.relying(engine, contract_id))
    opened = open_for_failing(governor, engine, contract_id)
    return Reported(recorded, views.contract_states(engine, governor.clock())[contract_id].state, tuple(opened))


def affected(engine: Engine, contract_id: str) -> list[UseCase]:
    """List the use cases that name a contract and have not ended, by title."""
    return [u for u in standing_on(engine) if contract_id in u.contracts]


def standing_on(engine: Engine) -> list[UseCase]:
    """List the use cases that name any contract and have not ended, by title."""
    return [u for u in use_cases(engine) if u.contracts and u.stage not in ENDED]


def open_for_failing(governor: Governor, engine: Engine, contract_id: str = "") -> list[str]:
    """Open what incidents failing contracts still owe; returns their ids."""
    since = views.failing(engine)
    if contract_id:
        since = {name: at for name, at in since.items() if name == contract_id}
    opened: list[str] = []
    for use_case in use_cases(engine) if since else ():
        if use_case.stage != "live":
            continue
        owed = [n for n in use_case.contracts if n in since and not _known(engine, use_case.subject, n, since[n])]
        opened += [open_incident(governor, SYSTEM, _failing(engine, use_case, n, since[n])) for n in owed]
    return opened


class ContractWatch:
    """The worker's look at contracts: incidents that are owed because somebody went live, or a process ended, since."""

    def __init__(self, governor: Governor, engine: Engine) -> None:
        self._governor = governor
        self._engine = engine
        self._at = 0

    def round(self) -> bool:
        """Look once a minute; True if an incident was opened."""
        now = self._governor.clock()
        if 0 <= now - self._at < WATCH_EVERY:
            return False
        self._at = now
        return bool(open_for_failing(self._governor, self._engine))


def shown(engine: Engine, contract_id: str, now: int) -> dict[str, Any]:
    """Return all there is of one contract; `NotFound` if nobody declared it."""
    row = views.contract_named(engine, contract_id)
    checks = views.contract_checks(engine, [contract_id]).get(contract_id, [])
    return {
        **views.contract_states(engine, now)[contract_id].plain(),
        **{name: row[name] for name in ("description", "source", "file", "declared_by", "declared_at")},
        "failing_since": row["failing_since"],
        "checks": [
            {
                "name": c.name,
                "dimension": c.dimension,
                "fresh_hours": c.fresh_hours,
                "state": c.state(now),
                "value": c.value,
                "rows": c.rows,
                "at": c.at,
                "due": c.due,
                "run": c.run,
            }
            for c in checks
        ],
        "runs": [{n: v for n, v in run.items() if n != "last_seq"} for run in views.contract_runs(engine, contract_id)],
        "affected": [_told(u) for u in affected(engine, contract_id)],
    }


def _told(use_case: UseCase) -> dict[str, Any]:
    return {"id": use_case.id, "title": use_case.title, "stage": use_case.stage, "rung": use_case.rung}


def _known(engine: Engine, subject: str, contract_id: str, since: int) -> bool:
    return any(
        i["cause"] == f"contract/{contract_id}" and (not i["closed_at"] or i["opened_at"] >= since)
        for i in incidents(engine, subject)
    )


def _failing(engine: Engine, use_case: UseCase, contract_id: str, since: int) -> Happening:
    checks = [c for c in views.contract_checks(engine, [contract_id])[contract_id] if c.outcome == "failed"]
    frozen = {
        "contract": contract_id,
        "since": since,
        "failing": [{"check": c.name, "value": c.value, "rows": c.rows, "at": c.at, "run": c.run} for c in checks],
        "release": use_case.release,
        "rung": use_case.rung,
    }
    title = f"the data contract {contract_id} fails: {', '.join(c.name for c in checks)}"[:300]
    return Happening(use_case.subject, title, f"contract/{contract_id}", "breach", canonical(frozen))
