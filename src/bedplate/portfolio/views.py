"""Reads: the portfolio and one use case, with the standing that decides its calls."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Engine, Row, select

from bedplate.errors import NotFound
from bedplate.kernel.standing import Standing, from_plain
from bedplate.store.tables import standing

from .tables import usecase


@dataclass(frozen=True, slots=True)
class UseCase:
    """A use case as it is shown: what its team said, and its standing."""

    subject: str
    id: str
    title: str
    owner: str
    sponsor: str
    domain: str
    bucket: str
    purpose: str
    impact: str
    autonomy: str
    tier: int
    value: int
    feasibility: int
    yearly_cents: int
    reasons: tuple[str, ...]
    spec: str
    path: str
    decision: str
    stage: str
    release: str
    rung: str
    suspended: str
    breaches: tuple[str, ...]
    glass_until: int
    proposed_at: int
    effort_days: int  # 0: nobody said
    generative: str
    contracts: tuple[str, ...]
    answered: dict[str, int]  # feasibility, without the opinion about data

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {name: getattr(self, name) for name in _NAMES}


_NAMES = tuple(field.name for field in fields(UseCase))
_COLUMNS = (*usecase.columns.keys(), "body")


def use_cases(engine: Engine) -> list[UseCase]:
    """List all use cases, by title."""
    query = select(usecase, standing.c.body).join(standing, standing.c.subject == usecase.c.subject)
    with engine.connect() as connection:
        return [_shown(row) for row in connection.execute(query.order_by(usecase.c.title))]


def use_case(engine: Engine, subject: str) -> UseCase:
    """Return one use case by subject (`usecase/ID`); `NotFound` if nobody proposed it."""
    query = select(usecase, standing.c.body).join(standing, standing.c.subject == usecase.c.subject)
    with engine.connect() as connection:
        row = connection.execute(query.where(usecase.c.subject == subject)).one_or_none()
    if row is None:
        raise NotFound(f"there is no {subject}", hint="list them: bedplate status")
    return _shown(row)


def _shown(row: Row[Any]) -> UseCase:
    return _read(tuple(row))


@lru_cache(maxsize=4096)  # of what a row says, which is all it depends on: pages list a thousand that seldom change
def _read(values: tuple[Any, ...]) -> UseCase:
    row = SimpleNamespace(**dict(zip(_COLUMNS, values, strict=True)))
    now: Standing = from_plain(json.loads(row.body))
    return UseCase(
        subject=row.subject,
        id=row.subject.partition("/")[2],
        title=now.title or row.title,
        owner=now.owner or row.owner,
        sponsor=row.sponsor,
        domain=now.domain or row.domain,
        bucket=row.bucket,
        purpose=row.purpose,
        impact=now.impact or row.impact,
        autonomy=now.autonomy or row.autonomy,
        tier=now.tier or row.tier,
        value=row.value,
        feasibility=row.feasibility,
        yearly_cents=row.yearly_cents,
        reasons=tuple(json.loads(row.reasons)),
        spec=row.spec,
        path=row.path,
        decision=row.decision,
        stage=now.stage,
        release=now.release,
        rung=now.rung.name.lower(),
        suspended=now.suspended,
        breaches=now.breaches,
        glass_until=now.glass_until,
        proposed_at=row.proposed_at,
        effort_days=row.effort_days,
        generative=row.generative,
        contracts=tuple(json.loads(row.contracts)),
        answered=json.loads(row.answered),
    )
