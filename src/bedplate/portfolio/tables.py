"""The read tables of use cases, and of what they are worth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Integer, SmallInteger, Table, Text, insert, select, update

from bedplate.store.projector import upsert
from bedplate.store.tables import Projection, metadata

if TYPE_CHECKING:
    from bedplate.kernel.event import Event

usecase = Table(
    "usecase",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("sponsor", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("bucket", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("impact", Text, nullable=False),
    Column("autonomy", Text, nullable=False),
    Column("tier", SmallInteger, nullable=False),
    Column("value", SmallInteger, nullable=False),
    Column("feasibility", SmallInteger, nullable=False),
    Column("yearly_cents", BigInteger, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("path", Text, nullable=False),  # the golden path it was made from, NAME@VERSION
    Column("decision", Text, nullable=False),  # why it was declined or retired
    Column("proposed_at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("effort_days", Integer, nullable=False, server_default="0"),  # 0: nobody said
    Column("generative", Text, nullable=False, server_default="yes"),
    Column("contracts", Text, nullable=False, server_default="[]"),
    Column("answered", Text, nullable=False, server_default="{}"),  # feasibility, without the opinion about data
)
placement = Table(  # where on the 2×2 a use case was accepted, each time
    "placement",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("impact", Text, nullable=False),
    Column("autonomy", Text, nullable=False),
    Column("tier", SmallInteger, nullable=False),
)
idea = Table(
    "idea",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("tier", SmallInteger, nullable=False),
    Column("body", Text, nullable=False),  # whose clock runs
    Column("due", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # proposed, taken-up, declined, deferred
    Column("file", Text, nullable=False),
    Column("proposers", Text, nullable=False),
    Column("proposed_at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("condition", Text, nullable=False),  # under which it may come back
    Column("decided_by", Text, nullable=False),
    Column("decided_at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
value_measure = Table(  # the newest of each metric and month
    "value_measure",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("metric", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("milli", BigInteger, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("sd_milli", BigInteger, nullable=False),
    Column("unit", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("loss", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
value_month = Table(  # what calls and thumbs came to
    "value_month",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("up", BigInteger, nullable=False),
    Column("down", BigInteger, nullable=False),
    Column("cost_nano", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
stop_firing = Table(
    "stop_firing",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("period", Text, primary_key=True),  # the last month that was judged
    Column("realised_cents", BigInteger, nullable=False),
    Column("forecast_cents", BigInteger, nullable=False),
    Column("percent", Integer, nullable=False),
    Column("below", Integer, nullable=False),
    Column("then", Text, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("fired_at", BigInteger, nullable=False),
    Column("renewed_at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
_PLAIN = ("title", "owner", "sponsor", "domain", "bucket", "purpose", "impact", "autonomy", "tier")
_SCORES = ("value", "feasibility", "yearly_cents", "spec", "path")


def _proposed(connection: Connection, event: Event) -> None:
    values = {name: event.data[name] for name in _PLAIN + _SCORES}
    values |= {"reasons": json.dumps(event.data["reasons"]), "decision": ""}
    values |= {name: json.dumps(event.data.get(name, empty)) for name, empty in (("contracts", []), ("answered", {}))}
    values |= {"effort_days": event.data.get("effort_days", 0), "generative": event.data.get("generative", "yes")}
    upsert(connection, usecase, {"subject": event.stream}, {**values, "proposed_at": event.at, "last_seq": event.seq})


def _accepted(connection: Connection, event: Event) -> None:
    _decided(connection, event)
    place = {name: event.data[name] for name in ("impact", "autonomy", "tier")}
    connection.execute(insert(placement).values(subject=event.stream, seq=event.seq, at=event.at, **place))


def _suggested(connection: Connection, event: Event) -> None:
    query = select(idea.c.proposers, idea.c.state, idea.c.proposed_at).where(idea.c.subject == event.stream)
    before = connection.execute(query).one_or_none()
    proposers = sorted({event.actor, *(json.loads(before.proposers) if before is not None else ())})
    waits = before is not None and before.state == "proposed"  # its clock goes on
    values = {name: event.data[name] for name in ("title", "domain", "tier", "body", "due")}
    values |= {"file": json.dumps(event.data["idea"]), "proposers": json.dumps(proposers), "state": "proposed"}
    values |= {"proposed_at": before.proposed_at if before is not None and waits else event.at}
    values |= {"reason": "", "condition": "", "decided_by": "", "decided_at": 0, "last_seq": event.seq}
    upsert(connection, idea, {"subject": event.stream}, values)


def _weighed(connection: Connection, event: Event) -> None:
    values = {"state": event.data["outcome"], "reason": event.data["reason"], "condition": event.data["condition"]}
    values |= {"decided_by": event.actor, "decided_at": event.at, "due": event.data["due"], "last_seq": event.seq}
    connection.execute(update(idea).where(idea.c.subject == event.stream).values(**values))


def _decided(connection: Connection, event: Event) -> None:
    reason = str(event.data.get("reason", ""))
    connection.execute(
        update(usecase).where(usecase.c.subject == event.stream).values(decision=reason, last_seq=event.seq)
    )


def _measured(connection: Connection, event: Event) -> None:
    measures = event.data["measures"]
    for told in measures if isinstance(measures, list) else ():
        key = {"subject": event.stream, "metric": told["metric"], "period": told["period"]}
        values = {name: told[name] for name in ("milli", "n", "sd_milli", "unit", "currency", "loss")}
        values |= {"source": event.data["source"], "by": event.actor, "at": event.at, "last_seq": event.seq}
        upsert(connection, value_measure, key, values)


def _observed(connection: Connection, event: Event) -> None:
    values = {name: event.data[name] for name in ("calls", "failed", "up", "down", "cost_nano")}
    key = {"subject": event.stream, "period": event.data["period"]}
    upsert(connection, value_month, key, {**values, "last_seq": event.seq})


def _fired(connection: Connection, event: Event) -> None:
    values = {n: event.data[n] for n in ("realised_cents", "forecast_cents", "percent", "below", "then", "due")}
    key = {"subject": event.stream, "period": event.data["period"]}
    upsert(connection, stop_firing, key, {**values, "fired_at": event.at, "renewed_at": 0, "last_seq": event.seq})


def _renewed(connection: Connection, event: Event) -> None:
    open_ones = (stop_firing.c.subject == event.stream, stop_firing.c.renewed_at == 0)
    connection.execute(update(stop_firing).where(*open_ones).values(renewed_at=event.at, last_seq=event.seq))


PROJECTION = Projection(
    tables=(usecase, placement, idea, value_measure, value_month, stop_firing),
    handlers={
        "portfolio.value.recorded": _measured,
        "portfolio.value.observed": _observed,
        "portfolio.stop.fired": _fired,
        "portfolio.stop.renewed": _renewed,
        "portfolio.idea.proposed": _suggested,
        "portfolio.idea.decided": _weighed,
        "portfolio.usecase.proposed": _proposed,
        "portfolio.usecase.accepted": _accepted,
        "portfolio.usecase.declined": _decided,
        "portfolio.usecase.retired": _decided,
    },
)
