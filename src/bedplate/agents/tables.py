"""Read tables: actions that wait or waited for people, stops, breakers that opened, windows. Runs are in `runstore`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, SmallInteger, Table, Text, insert, select, update

from bedplate.store.projector import upsert
from bedplate.store.tables import Projection, metadata

from .governance import PERFORM
from .stop import DRILL_SCOPE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bedplate.kernel.event import Event, Value

parked = Table(
    "parked",
    metadata,
    Column("approval", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("content", Text, nullable=False),  # the journal record that holds the arguments
    Column("tool", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("arguments_sha256", Text, nullable=False),
    Column("amount_micro", BigInteger, nullable=False),
    Column("unit", Text, nullable=False),
    Column("tier", SmallInteger, nullable=False),
    Column("state", Text, nullable=False),  # as the approval's; or answer, edit, take-over
    Column("asked_at", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),  # in the words of whoever refused or settled it
    Column("by", Text, nullable=False),
    Column("now", Text, nullable=False),  # the approval that took its place, or the record of the answer
    Column("told", SmallInteger, nullable=False),  # how far it was escalated
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "action"),
    Index(None, "state", "asked_at"),
    Index(None, "subject", "asked_at"),
    Index(None, "run"),
)
stop = Table(
    "stop",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", Text, nullable=False, index=True),
    Column("scope", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("lifted_at", BigInteger, nullable=False),
    Column("lifted_by", Text, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
tripped = Table(
    "tripped",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", Text, nullable=False, index=True),
    Column("scope", Text, nullable=False),
    Column("signal", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("closed_at", BigInteger, nullable=False),
    Column("closed_by", Text, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
glimpse = Table(
    "glimpse",
    metadata,
    Column("approval", Text, primary_key=True),
    Column("person", Text, primary_key=True),
    Column("seen_at", BigInteger, nullable=False),
    Column("answered_at", BigInteger, nullable=False),
    Column("answer", Text, nullable=False),  # yes, no, or how it was settled
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "person", "answered_at"),
)
drill = Table(
    "drill",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", Text, nullable=False, index=True),
    Column("scope", Text, nullable=False),
    Column("ms", Integer, nullable=False),
    Column("points", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
notice = Table(
    "notice",
    metadata,
    Column("approval", Text, primary_key=True),
    Column("person", Text, primary_key=True),
    Column("step", SmallInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "person", "at"),
)
planted = Table(
    "planted",
    metadata,
    Column("commitment", Text, primary_key=True),
    Column("subject", Text, nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("approval", Text, nullable=False),  # "" until it was answered
    Column("judged_at", BigInteger, nullable=False),
    Column("passed_by", Text, nullable=False),  # who let it pass, the last of them; "": nobody
    Column("last_seq", BigInteger, nullable=False),
)


def _asked(connection: Connection, event: Event) -> None:
    data = event.data
    if data["action"] != PERFORM.name:
        return
    facts = cast("Mapping[str, Value]", data["facts"])
    texts = {name: str(facts.get(name, "")) for name in ("agent", "run", "action", "content", "tool", "class", "unit")}
    values = {
        **texts,
        "subject": data["subject"],
        "arguments_sha256": facts["arguments_sha256"],
        "amount_micro": int(str(facts.get("amount_micro", 0))),
        "tier": int(str(facts.get("tier", 0))),
        "state": "asked",
        "asked_at": event.at,
        "expires": data["expires"],
        "ended_at": 0,
        "reason": "",
        "by": "",
        "now": "",
        "told": 0,
        "last_seq": event.seq,
    }
    upsert(connection, parked, {"approval": event.stream}, values)


def _moved(state: str, *, ends: bool) -> Callable[[Connection, Event], None]:
    def move(connection: Connection, event: Event) -> None:
        values = {"state": state, "last_seq": event.seq}
        if ends:
            values |= {"ended_at": event.at}
        if state == "refused":
            values |= {"reason": str(event.data["reason"]), "by": event.actor}
        match = (parked.c.approval == event.stream) & parked.c.state.in_(("asked", "granted"))
        connection.execute(update(parked).where(match).values(**values))

    return move


def _voted(connection: Connection, event: Event) -> None:
    _answered(connection, event.stream, event, str(event.data["answer"]))


def _settled(connection: Connection, event: Event) -> None:
    data, how = event.data, str(event.data["how"])
    values = {"state": how, "reason": data["reason"], "by": event.actor, "now": data["now"], "ended_at": event.at}
    match = parked.c.approval == data["approval"]
    connection.execute(update(parked).where(match).values(**values, last_seq=event.seq))
    _answered(connection, str(data["approval"]), event, how)


def _answered(connection: Connection, approval: str, event: Event, answer: str) -> None:
    if connection.execute(select(parked.c.approval).where(parked.c.approval == approval)).first() is None:
        return
    known = (glimpse.c.approval == approval) & (glimpse.c.person == event.actor)
    values = {"answered_at": event.at, "answer": answer, "last_seq": event.seq}
    if connection.execute(update(glimpse).where(known).values(**values)).rowcount == 0:
        row = {"approval": approval, "person": event.actor, "seen_at": 0}  # answered without having looked
        connection.execute(insert(glimpse).values(**row, **values))


def _seen(connection: Connection, event: Event) -> None:
    key = {"approval": event.stream, "person": str(event.data["person"])}
    match = (glimpse.c.approval == key["approval"]) & (glimpse.c.person == key["person"])
    if connection.execute(select(glimpse.c.person).where(match)).first() is None:
        values = {"seen_at": event.at, "answered_at": 0, "answer": "", "last_seq": event.seq}
        connection.execute(insert(glimpse).values(**key, **values))


def _raised(connection: Connection, event: Event) -> None:
    row = {"seq": event.seq, "subject": event.stream, "scope": event.data["scope"], "reason": event.data["reason"]}
    row |= {"by": event.actor, "at": event.at, "lifted_at": 0, "lifted_by": "", "last_seq": event.seq}
    connection.execute(insert(stop).values(**row))


def _lifted(connection: Connection, event: Event) -> None:
    match = (stop.c.subject == event.stream) & (stop.c.scope == event.data["scope"]) & (stop.c.lifted_at == 0)
    values = {"lifted_at": event.at, "lifted_by": event.actor, "last_seq": event.seq}
    connection.execute(update(stop).where(match).values(**values))


def _drilled(connection: Connection, event: Event) -> None:
    row = {name: event.data[name] for name in ("scope", "ms", "points", "outcome", "summary")}
    row |= {"seq": event.seq, "subject": event.stream, "by": event.actor, "at": event.at, "last_seq": event.seq}
    connection.execute(insert(drill).values(**row))
    if str(event.data["scope"]).startswith(DRILL_SCOPE):
        _lifted(connection, event)


def _tripped(connection: Connection, event: Event) -> None:
    row = {name: event.data[name] for name in ("scope", "signal", "why")}
    row |= {"seq": event.seq, "subject": event.stream, "at": event.at, "closed_at": 0, "closed_by": ""}
    connection.execute(insert(tripped).values(**row, last_seq=event.seq))


def _closed(connection: Connection, event: Event) -> None:
    match = (tripped.c.subject == event.stream) & (tripped.c.scope == event.data["scope"]) & (tripped.c.closed_at == 0)
    values = {"closed_at": event.at, "closed_by": event.actor, "last_seq": event.seq}
    connection.execute(update(tripped).where(match).values(**values))


def _reminded(connection: Connection, event: Event) -> None:
    step = event.data["step"]
    match = parked.c.approval == event.stream
    connection.execute(update(parked).where(match).values(told=step, last_seq=event.seq))
    for person in cast("list[str]", event.data["people"]):
        values = {"step": step, "at": event.at, "last_seq": event.seq}
        upsert(connection, notice, {"approval": event.stream, "person": person}, values)


def _planted(connection: Connection, event: Event) -> None:
    row = {"commitment": event.data["commitment"], "subject": event.stream, "at": event.at, "last_seq": event.seq}
    connection.execute(insert(planted).values(**row, approval="", judged_at=0, passed_by=""))


def _judged(connection: Connection, event: Event) -> None:
    data = event.data
    values = {"approval": data["approval"], "judged_at": event.at, "last_seq": event.seq}
    if data["answer"] == "yes":
        values |= {"passed_by": data["person"]}
    match = planted.c.commitment == data.get("commitment", "")
    connection.execute(update(planted).where(match).values(**values))


PROJECTION = Projection(
    tables=(parked, stop, tripped, glimpse, drill, notice, planted),
    handlers={
        "kernel.approval.asked": _asked,
        "kernel.approval.granted": _moved("granted", ends=False),
        "kernel.approval.refused": _moved("refused", ends=True),
        "kernel.approval.expired": _moved("expired", ends=True),
        "kernel.approval.voided": _moved("voided", ends=True),
        "kernel.approval.spent": _moved("spent", ends=True),
        "kernel.approval.voted": _voted,
        "agents.action.settled": _settled,
        "agents.action.seen": _seen,
        "agents.action.reminded": _reminded,
        "agents.test.planted": _planted,
        "agents.test.judged": _judged,
        "agents.stop.raised": _raised,
        "agents.stop.lifted": _lifted,
        "agents.stop.drilled": _drilled,
        "agents.breaker.tripped": _tripped,
        "agents.breaker.closed": _closed,
    },
)
