"""Reads: the indexed sources of a use case; data contracts, how they stand, and who stands on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, select

from bedplate.errors import NotFound

from .contract import Checked, ContractState, permille, state_of
from .tables import contract, contract_check, contract_run, contract_use, source

if TYPE_CHECKING:
    from collections.abc import Collection


def sources(engine: Engine, subject: str) -> list[dict[str, Any]]:
    """List the versions of a use case's sources, newest first."""
    query = select(source).where(source.c.subject == subject).order_by(source.c.indexed_at.desc())
    with engine.connect() as connection:
        return [dict(r._mapping) for r in connection.execute(query)]  # noqa: SLF001  public by documentation


def contract_states(engine: Engine, now: int) -> dict[str, ContractState]:
    """Return how every declared contract stands, by id, in the order of their titles."""
    with engine.connect() as connection:
        rows = connection.execute(select(contract).order_by(contract.c.title, contract.c.id)).all()
    checks = contract_checks(engine)
    return {row.id: _state(row, checks.get(row.id, []), now) for row in rows}


def contract_checks(engine: Engine, contracts: Collection[str] | None = None) -> dict[str, list[Checked]]:
    """Return the checks of these contracts, or of all, with their last results, in the order of the files."""
    query = select(contract_check).order_by(contract_check.c.contract, contract_check.c.place)
    if contracts is not None:
        query = query.where(contract_check.c.contract.in_(sorted(contracts)))
    found: dict[str, list[Checked]] = {}
    with engine.connect() as connection:
        for r in connection.execute(query):
            one = Checked(r.name, r.dimension, r.fresh_hours, r.outcome, r.value, r.rows, r.at, r.run)
            found.setdefault(r.contract, []).append(one)
    return found


def contract_named(engine: Engine, contract_id: str) -> dict[str, Any]:
    """Return what is declared of one contract; `NotFound` if nobody declared it."""
    with engine.connect() as connection:
        row = connection.execute(select(contract).where(contract.c.id == contract_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no data contract {contract_id}", hint="list them: bedplate contract list")
    return dict(row._mapping)  # noqa: SLF001  as above


def contract_runs(engine: Engine, contract_id: str, limit: int = 20) -> list[dict[str, Any]]:
    """List the newest runs of a contract's checks."""
    query = select(contract_run).where(contract_run.c.contract == contract_id)
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(contract_run.c.at.desc(), contract_run.c.last_seq.desc()).limit(limit))
        return [dict(r._mapping) for r in rows]  # noqa: SLF001  as above


def run_digest(engine: Engine, contract_id: str, run: str) -> str:
    """Return the digest of what was reported as this run; "" if nothing was."""
    where = (contract_run.c.contract == contract_id) & (contract_run.c.run == run)
    with engine.connect() as connection:
        return connection.execute(select(contract_run.c.digest).where(where)).scalar_one_or_none() or ""


def relying(engine: Engine, contract_id: str) -> list[str]:
    """List the use cases whose newest release stands on a contract."""
    query = select(contract_use.c.subject).where(contract_use.c.contract == contract_id)
    with engine.connect() as connection:
        return list(connection.execute(query.order_by(contract_use.c.subject)).scalars())


def failing(engine: Engine) -> dict[str, int]:
    """Return the contracts that fail, and since when."""
    query = select(contract.c.id, contract.c.failing_since).where(contract.c.failing_since > 0)
    with engine.connect() as connection:
        return {row.id: row.failing_since for row in connection.execute(query.order_by(contract.c.id))}


def _state(row: Any, checks: list[Checked], now: int) -> ContractState:  # noqa: ANN401  a row
    return ContractState(
        id=row.id,
        title=row.title,
        owner=row.owner,
        domain=row.domain,
        state=state_of(checks, now),
        passed_permille=permille(checks, now),
        checked_at=max((check.at for check in checks), default=0),
        mend_days=row.mend_days,
    )
