"""Data: the contracts, how they stand by their last results, and who stands on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.data import views
from bedplate.paths import contracts

from .visit import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

    from bedplate.portfolio.views import UseCase

ORDER = {"failing": 0, "stale": 1, "unchecked": 2, "passing": 3}
KIND = {"passing": "good", "failing": "bad", "stale": "warn", "unchecked": "mut"}
CHECK = {"passed": "good", "failed": "bad", "stale": "warn", "unchecked": "mut"}


def data(visit: Visit) -> Response:
    """Show every contract, those that do not hold first."""
    at = visit.at
    states = views.contract_states(at.engine, at.clock())
    standing: dict[str, list[UseCase]] = {name: [] for name in states}
    undeclared: dict[str, list[UseCase]] = {}
    for use_case in contracts.standing_on(at.engine):
        for name in use_case.contracts:
            (standing if name in states else undeclared).setdefault(name, []).append(use_case)
    found = sorted(states.values(), key=lambda c: (ORDER[c.state], c.title))
    held = {u.subject for c in found if c.state != "passing" for u in standing[c.id]}
    held |= {u.subject for users in undeclared.values() for u in users}
    return visit.show(
        "contracts.html",
        contracts=found,
        standing=standing,
        undeclared=sorted(undeclared.items()),
        kinds=KIND,
        counts={state: sum(c.state == state for c in found) for state in KIND},
        held=len(held),
        mend=sum(c.mend_days for c in found if c.state == "failing"),
    )


def contract(visit: Visit) -> Response:
    """Show one contract with its checks and runs."""
    found = contracts.shown(visit.at.engine, visit.part("id"), visit.at.clock())
    return visit.show("contract.html", contract=found, kinds=KIND, check_kinds=CHECK)


PAGES = (Page("/data", data), Page("/data/{id}", contract))
