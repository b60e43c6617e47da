"""Read tables of how things pass through the organisation: every wait, every use case's way, every release's fate.

They follow the ledger by their own rows alone, so that `fill` can make them later for a ledger that is older than they.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    Row,
    SmallInteger,
    Table,
    Text,
    insert,
    select,
    update,
)

from bedplate.kernel.event import Event, unseal
from bedplate.store import tables as t
from bedplate.store.engine import writing
from bedplate.store.projector import upsert
from bedplate.store.tables import Projection, metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bedplate.kernel.event import Value

# One wait: of a subject, in one step, for one body. `began` and `ended` are microseconds, `ended` 0 while it waits.
wait = Table(
    "wait",
    metadata,
    Column("stream", Text, primary_key=True),  # the approval, incident, idea or use case whose events begin and end it
    Column("place", BigInteger, primary_key=True, autoincrement=False),  # an approval's stage; else where it began
    Column("subject", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("what", Text, nullable=False),  # the action that waits, or an incident's severity
    Column("body", Text, nullable=False),  # board, coe or domain
    Column("domain", Text, nullable=False),
    Column("tier", SmallInteger, nullable=False),
    Column("lacking", SmallInteger, nullable=False),  # votes
    Column("began", BigInteger, nullable=False),
    Column("ended", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),  # done, refused, expired, stopped; "" while it waits
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "ended"),
    Index(None, "last_seq"),
    Index(None, "subject", "step", "ended"),
)
# The first time that a use case reached each point of its way; 0: not yet.
milestone = Table(
    "milestone",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("domain", Text, nullable=False),
    Column("tier", SmallInteger, nullable=False),
    Column("release", Text, nullable=False),  # live now
    Column("proposed", BigInteger, nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("asked", BigInteger, nullable=False),  # to go live
    Column("live", BigInteger, nullable=False),
    Column("ended", BigInteger, nullable=False),  # declined or retired
    Column("last_seq", BigInteger, nullable=False),
)
# A release that was built, and each time that it went live: `round` counts those from 0.
delivery = Table(
    "delivery",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("release", Text, primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("domain", Text, nullable=False),
    Column("built", BigInteger, nullable=False),
    Column("live", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),  # the first time that something went wrong with it while live
    Column("why", Text, nullable=False),  # an incident's severity, rolled-back or suspended
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "live"),
)
ACCEPT, GO_LIVE, RESUME = "portfolio.accept", "releases.golive", "incidents.resume"
STEP_OF: Mapping[str, str] = {ACCEPT: "acceptance", GO_LIVE: "approval", RESUME: "resume"}
STEPS: Mapping[str, str] = {
    "idea": "idea to decision",
    "tier": "decision to tier",
    "acceptance": "acceptance",
    "evidence": "evidence",
    "approval": "release approval",
    "live": "going live",
    "resume": "resuming",
    "restore": "restoring",
    "other": "other approvals",
}


def fill(engine: Engine) -> int:
    """Make the tables for a ledger that is older than they; returns how many events were read, 0 if they are there."""
    kinds = t.event.c.kind.in_(tuple(PROJECTION.handlers))
    with engine.connect() as connection:
        if any(connection.execute(select(table).limit(1)).first() for table in PROJECTION.tables):
            return 0
        if connection.execute(select(t.event.c.seq).where(kinds).limit(1)).first() is None:
            return 0
    with writing(engine.connect()) as connection, connection.begin():
        connection.execute(select(t.head.c.id).with_for_update())  # on PostgreSQL this row is the writer's lock
        if any(connection.execute(select(table).limit(1)).first() for table in PROJECTION.tables):
            return 0  # another process did it meanwhile
        entries = connection.execute(select(t.event.c.entry).where(kinds).order_by(t.event.c.seq)).scalars().all()
        for entry in entries:
            event = unseal(bytes(entry))
            PROJECTION.handlers[event.kind](connection, event)
    return len(entries)


def _idea(connection: Connection, event: Event) -> None:
    if not _waits(connection, event.stream, "idea"):  # proposed anew while it waits, it goes on waiting
        data = event.data
        tier, body = int(str(data["tier"])), str(data["body"])
        _begin(connection, event, "idea", event.stream, body=body, domain=str(data["domain"]), tier=tier)


def _idea_decided(connection: Connection, event: Event) -> None:
    found = _end(connection, event, (wait.c.stream == event.stream) & (wait.c.step == "idea"))
    if found is not None and event.data["outcome"] == "taken-up":
        _begin(connection, event, "tier", event.stream, body="domain", domain=found.domain, tier=found.tier)


def _proposed(connection: Connection, event: Event) -> None:
    data = event.data
    about = {"domain": data["domain"], "tier": data["tier"], "ended": 0, "last_seq": event.seq}
    known = _milestone(connection, event.stream)
    if known is None:
        none = {"release": "", "accepted": 0, "asked": 0, "live": 0}
        connection.execute(insert(milestone).values(subject=event.stream, proposed=event.at, **none, **about))
    elif not known.live:  # what runs keeps its tier until the change is accepted
        connection.execute(update(milestone).where(milestone.c.subject == event.stream).values(**about))
    # A use case that an idea became keeps its name: that is how the file is drafted.
    _end(connection, event, (wait.c.stream == f"idea/{event.stream.partition('/')[2]}") & (wait.c.step == "tier"))


def _accepted(connection: Connection, event: Event) -> None:
    data = event.data
    _reach(connection, event, "accepted", domain=data["domain"], tier=data["tier"])
    known = _milestone(connection, event.stream)
    if known is not None and not known.release and not _waits(connection, event.stream, "evidence"):
        _begin(connection, event, "evidence", event.stream, body="domain", domain=known.domain, tier=known.tier)


def _over(connection: Connection, event: Event) -> None:
    values = {"ended": event.at, "release": "", "last_seq": event.seq}
    connection.execute(update(milestone).where(milestone.c.subject == event.stream).values(**values))
    mine = (wait.c.subject == event.stream) & wait.c.step.in_(("tier", "evidence", "live"))
    _end(connection, event, mine, "stopped")


def _asked(connection: Connection, event: Event) -> None:
    data = event.data
    subject, action, facts = str(data["subject"]), str(data["action"]), cast("Mapping[str, Value]", data["facts"])
    known = _milestone(connection, subject)
    tier = facts["tier"] if isinstance(facts.get("tier"), int) else known.tier if known is not None else 0
    for place, stage in enumerate(cast("Sequence[Mapping[str, Any]]", data["stages"])):
        row = {
            "stream": event.stream,
            "place": place,
            "subject": subject,
            "step": STEP_OF.get(action, "other"),
            "what": action,
            "body": stage["body"],
            "domain": data["domain"],
            "tier": tier,
            "lacking": stage["quorum"],
            "began": event.at,
            "ended": 0,
            "outcome": "",
            "last_seq": event.seq,
        }
        connection.execute(insert(wait).values(**row))
    if action == GO_LIVE:
        _end(connection, event, (wait.c.subject == subject) & (wait.c.step == "evidence"))
        if known is not None and not known.asked:
            values = {"asked": event.at, "last_seq": event.seq}
            connection.execute(update(milestone).where(milestone.c.subject == subject).values(**values))


def _voted(connection: Connection, event: Event) -> None:
    mine = (wait.c.stream == event.stream) & (wait.c.place == event.data["stage"])
    if event.data["answer"] != "yes":
        _end(connection, event, mine, "refused")
        return
    fewer = {"lacking": wait.c.lacking - 1, "last_seq": event.seq}
    connection.execute(update(wait).where(mine, wait.c.ended == 0, wait.c.lacking > 0).values(**fewer))
    _end(connection, event, mine & (wait.c.lacking == 0))


def _granted(connection: Connection, event: Event) -> None:
    _end(connection, event, wait.c.stream == event.stream)
    asked = connection.execute(select(wait).where(wait.c.stream == event.stream).limit(1)).first()
    if asked is not None and asked.what == GO_LIVE:
        _begin(connection, event, "live", asked.subject, body="domain", domain=asked.domain, tier=asked.tier)


def _closed_as(outcome: str) -> Callable[[Connection, Event], None]:
    def handle(connection: Connection, event: Event) -> None:
        _end(connection, event, wait.c.stream == event.stream, outcome)
        if outcome == "expired":  # what was granted and not used: nobody takes it live any more
            asked = connection.execute(select(wait).where(wait.c.stream == event.stream).limit(1)).first()
            if asked is not None and asked.what == GO_LIVE:
                _end(connection, event, (wait.c.subject == asked.subject) & (wait.c.step == "live"), outcome)

    return handle


def _built(connection: Connection, event: Event) -> None:
    release, known = event.data["release"], _milestone(connection, event.stream)
    if known is None or _newest(connection, event.stream, str(release)) is not None:
        return
    key = {"subject": event.stream, "release": release, "round": 0, "domain": known.domain}
    fate = {"built": event.at, "live": 0, "failed": 0, "why": "", "last_seq": event.seq}
    connection.execute(insert(delivery).values(**key, **fate))
    if not _waits(connection, event.stream, "evidence"):
        _begin(connection, event, "evidence", event.stream, body="domain", domain=known.domain, tier=known.tier)


def _live(connection: Connection, event: Event) -> None:
    release, previous = str(event.data["release"]), str(event.data["previous"])
    for step in ("live", "evidence"):  # with break-glass nobody is asked
        _end(connection, event, (wait.c.subject == event.stream) & (wait.c.step == step))
    _reach(connection, event, "live", release=release)
    if release == previous:
        return  # up the ladder again, or reviewed: nothing was changed
    before = _newest(connection, event.stream, release)
    if before is None:
        return
    if not before.live:
        _deliver(connection, event, before, live=event.at)
        return
    _fail(connection, event, event.stream, previous, "rolled-back")
    again = {**before._mapping, "round": before.round + 1, "live": event.at}  # noqa: SLF001  public by documentation
    connection.execute(insert(delivery).values(**{**again, "failed": 0, "why": "", "last_seq": event.seq}))


def _opened(connection: Connection, event: Event) -> None:
    data = event.data
    subject = str(data["subject"])
    known = _milestone(connection, subject)
    domain, tier = (known.domain, known.tier) if known is not None else ("", 0)
    about = {"subject": subject, "what": str(data["severity"]), "body": "domain", "domain": domain, "tier": tier}
    _begin(connection, event, "restore", event.stream, **about)
    _fail(connection, event, subject, str(data["release"]), str(data["severity"]))


def _restored(connection: Connection, event: Event) -> None:
    _end(connection, event, (wait.c.stream == event.stream) & (wait.c.step == "restore"))


def _suspended(connection: Connection, event: Event) -> None:
    known = _milestone(connection, event.stream)
    if known is not None and known.release:
        _fail(connection, event, event.stream, known.release, "suspended")


def _begin(connection: Connection, event: Event, step: str, stream: str, **about: str | int) -> None:
    row: dict[str, str | int] = {"subject": stream, "what": "", "domain": "", "tier": 0, "lacking": 0}
    row |= {"began": event.at, "ended": 0, "outcome": "", "last_seq": event.seq}
    upsert(connection, wait, {"stream": stream, "place": event.seq}, {**row, "step": step, **about})


def _end(connection: Connection, event: Event, mine: Any, outcome: str = "done") -> Row[Any] | None:  # noqa: ANN401  a condition
    """End every wait of these that goes on; returns one of them."""
    found = connection.execute(select(wait).where(mine, wait.c.ended == 0).limit(1)).first()
    if found is not None:
        values = {"ended": event.at, "outcome": outcome, "last_seq": event.seq}
        connection.execute(update(wait).where(mine, wait.c.ended == 0).values(**values))
    return found


def _waits(connection: Connection, subject: str, step: str) -> bool:
    mine = (wait.c.subject == subject) & (wait.c.step == step) & (wait.c.ended == 0)
    return connection.execute(select(wait.c.stream).where(mine).limit(1)).first() is not None


def _milestone(connection: Connection, subject: str) -> Row[Any] | None:
    return connection.execute(select(milestone).where(milestone.c.subject == subject)).one_or_none()


def _reach(connection: Connection, event: Event, point: str, **values: Value) -> None:
    mine = milestone.c.subject == event.stream
    connection.execute(update(milestone).where(mine).values(last_seq=event.seq, **values))
    first = {point: event.at}
    connection.execute(update(milestone).where(mine, milestone.c[point] == 0).values(**first))


def _newest(connection: Connection, subject: str, release: str) -> Row[Any] | None:
    mine = (delivery.c.subject == subject) & (delivery.c.release == release)
    return connection.execute(select(delivery).where(mine).order_by(delivery.c.round.desc()).limit(1)).one_or_none()


def _deliver(connection: Connection, event: Event, row: Row[Any], **values: Value) -> None:
    mine = (delivery.c.subject == row.subject) & (delivery.c.release == row.release) & (delivery.c.round == row.round)
    connection.execute(update(delivery).where(mine).values(last_seq=event.seq, **values))


def _fail(connection: Connection, event: Event, subject: str, release: str, why: str) -> None:
    row = _newest(connection, subject, release)
    if row is not None and row.live and not row.failed:
        _deliver(connection, event, row, failed=event.at, why=why)


PROJECTION = Projection(
    tables=(wait, milestone, delivery),
    handlers={
        "portfolio.idea.proposed": _idea,
        "portfolio.idea.decided": _idea_decided,
        "portfolio.usecase.proposed": _proposed,
        "portfolio.usecase.accepted": _accepted,
        "portfolio.usecase.declined": _over,
        "portfolio.usecase.retired": _over,
        "kernel.approval.asked": _asked,
        "kernel.approval.voted": _voted,
        "kernel.approval.granted": _granted,
        "kernel.approval.refused": _closed_as("stopped"),
        "kernel.approval.expired": _closed_as("expired"),
        "kernel.approval.voided": _closed_as("stopped"),
        "releases.release.built": _built,
        "releases.release.live": _live,
        "incidents.incident.opened": _opened,
        "incidents.incident.closed": _restored,
        "incidents.usecase.suspended": _suspended,
    },
)
