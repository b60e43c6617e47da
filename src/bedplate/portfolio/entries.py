"""Reads of the value ledger: what was accepted to be reached, what was measured, observed, and which rules fired."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, func, select

from bedplate.kernel.standing import from_plain
from bedplate.store import tables as t

from .benefit import Hypothesis, StopRule
from .measure import Measure
from .tables import stop_firing, usecase, value_measure, value_month

if TYPE_CHECKING:
    from collections.abc import Collection

    from bedplate.kernel.standing import Standing

TAKEN = frozenset({"accepted", "live", "retired"})
AT_ONCE = 500  # names in one question
MOST_READ = 10_000  # files held as read


@dataclass(frozen=True, slots=True)
class Stake:
    """What a use case was accepted for. `live_at` is the moment of its first release, 0 before; `ended` of its end."""

    subject: str
    title: str
    owner: str
    domain: str
    bucket: str
    tier: int
    stage: str
    hypothesis: Hypothesis
    stop: StopRule | None
    live_at: int
    ended: int
    why: str  # why its stop rule holds its releases up; "" while none does
    due: int  # until when it may be renewed

    @property
    def id(self) -> str:
        """The use case's id."""
        return self.subject.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Firing:
    """A stop rule that fired. `renewed_at` is 0 while nobody renewed it."""

    subject: str
    period: str
    realised_cents: int
    forecast_cents: int
    percent: int
    below: int
    then: str
    due: int
    fired_at: int
    renewed_at: int


def stakes(engine: Engine, domains: Collection[str] | None = None, subject: str = "") -> list[Stake]:
    """List what was taken into the portfolio, by title; of these domains, or one use case, if named."""
    query = select(usecase.c.bucket, t.standing.c.body).join(t.standing, t.standing.c.subject == usecase.c.subject)
    query = query.where(t.standing.c.stage.in_(TAKEN))
    if subject:
        query = query.where(usecase.c.subject == subject)
    with engine.connect() as connection:
        rows = [(row.bucket, from_plain(json.loads(row.body))) for row in connection.execute(query)]
        mine = [(b, s) for b, s in rows if domains is None or s.domain in domains]
        specs = _specs(connection, {str(s.facts.get("portfolio.spec", "")) for _, s in mine})
        begun = _first(connection, "releases.release.live", subject)
        ended = _first(connection, "portfolio.usecase.retired", subject)
    found = []
    for bucket, standing in mine:
        spec = specs.get(str(standing.facts.get("portfolio.spec", "")))
        if spec is not None:
            gone = ended.get(standing.subject, 0) if standing.stage == "retired" else 0
            found.append(_stake(bucket, standing, spec, begun.get(standing.subject, 0), gone))
    return sorted(found, key=_title)


def measures(engine: Engine, subjects: Collection[str] | None = None) -> list[Measure]:
    """List the measures in force; of these use cases, if named."""
    columns = [value_measure.c[name] for name in Measure.__slots__]
    with engine.connect() as connection:
        if subjects is None:
            return [Measure(*row) for row in connection.execute(select(*columns))]
        names, found = sorted(subjects), []
        for first in range(0, len(names), AT_ONCE):
            some = value_measure.c.subject.in_(names[first : first + AT_ONCE])
            found += [Measure(*row) for row in connection.execute(select(*columns).where(some))]
    return found


def recorded(engine: Engine, subject: str) -> list[dict[str, Any]]:
    """List the measures of one use case as they were recorded, newest month first, with who did it and when."""
    query = select(value_measure).where(value_measure.c.subject == subject)
    query = query.order_by(value_measure.c.period.desc(), value_measure.c.metric)
    with engine.connect() as connection:
        return [dict(r._mapping) for r in connection.execute(query)]  # noqa: SLF001  public by documentation


def observed(engine: Engine, subject: str = "") -> dict[str, dict[str, tuple[int, int, int, int]]]:
    """Return answered calls, thumbs up and down, and nano-US-dollars by use case and month."""
    query = select(value_month)
    if subject:
        query = query.where(value_month.c.subject == subject)
    found: dict[str, dict[str, tuple[int, int, int, int]]] = {}
    with engine.connect() as connection:
        for row in connection.execute(query):
            told = (max(0, row.calls - row.failed), row.up, row.down, row.cost_nano)
            found.setdefault(row.subject, {})[row.period] = told
    return found


def firings(engine: Engine, subject: str = "") -> list[Firing]:
    """List the stop rules that fired, newest first."""
    query = select(*(stop_firing.c[name] for name in Firing.__slots__)).order_by(stop_firing.c.fired_at.desc())
    if subject:
        query = query.where(stop_firing.c.subject == subject)
    with engine.connect() as connection:
        return [Firing(*row) for row in connection.execute(query)]


def newest(engine: Engine) -> tuple[int, int]:
    """Return the newest events that changed a measure, or what a month came to; -1 where nothing is."""
    with engine.connect() as connection:
        measured, month = (
            connection.execute(select(func.coalesce(func.max(table.c.last_seq), -1))).scalar_one()
            for table in (value_measure, value_month)
        )
        return int(measured), int(month)


@dataclass(frozen=True, slots=True)
class Spec:
    """What of an accepted file the value ledger reads."""

    hypothesis: Hypothesis
    stop: StopRule | None


def _specs(connection: Connection, digests: Collection[str]) -> dict[str, Spec]:
    """Return what was accepted, by digest. What is kept under a digest never changes, so each is read once."""
    new = sorted({d for d in digests if d} - _read.keys())
    if len(_read) + len(new) > MOST_READ:
        _read.clear()
        new = sorted(d for d in digests if d)
    for first in range(0, len(new), AT_ONCE):
        query = select(t.blob.c.digest, t.blob.c.content).where(t.blob.c.digest.in_(new[first : first + AT_ONCE]))
        _read.update({digest: _spec(json.loads(content)) for digest, content in connection.execute(query)})
    return {d: _read[d] for d in digests if d in _read}


def _spec(body: dict[str, Any]) -> Spec:
    value, stop = body["value"], body.get("stop")
    of = Hypothesis(*(value[name] for name in ("unit", "baseline", "target", "per_month", "cents_per_unit")))
    return Spec(of, StopRule(stop["after_months"], stop["below_percent"], stop["then"]) if stop else None)


_read: dict[str, Spec] = {}


def _first(connection: Connection, kind: str, subject: str) -> dict[str, int]:
    query = select(t.event.c.stream, func.min(t.event.c.at)).where(t.event.c.kind == kind)
    if subject:
        query = query.where(t.event.c.stream == subject)
    return {stream: int(at) for stream, at in connection.execute(query.group_by(t.event.c.stream))}


def _stake(bucket: str, standing: Standing, spec: Spec, live_at: int, ended: int) -> Stake:
    return Stake(
        subject=standing.subject,
        title=standing.title,
        owner=standing.owner,
        domain=standing.domain,
        bucket=bucket,
        tier=standing.tier,
        stage=standing.stage,
        hypothesis=spec.hypothesis,
        stop=spec.stop,
        live_at=live_at,
        ended=ended,
        why=str(standing.facts.get("portfolio.stop", "")),
        due=int(str(standing.facts.get("portfolio.stop_due", 0))),
    )


def _title(stake: Stake) -> tuple[str, str]:
    return stake.title, stake.subject
