"""A large organisation: 1,000 use cases, 10,000 releases and 1 million events, sealed as the ledger seals them.

One use case goes through the real door; its events are the pattern of all others. Rows are written many at a time, and
the read tables by the projector, as ever. A filled database is copied row by row into a second one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.parts.bundle import small_bundle
from sqlalchemy import Engine, Table, insert, select, update

from bedplate.bootstrap import open_engine_and_migrate, open_governor, open_ledger, wall_clock
from bedplate.config import Settings
from bedplate.document import parse
from bedplate.errors import NeedsApproval
from bedplate.kernel.clock import DAY
from bedplate.kernel.event import Draft, Event, canonical, seal, unseal
from bedplate.kernel.standing import plain
from bedplate.people.actions import apply_model, check_model, invite, sign_in
from bedplate.people.blank import blank_model
from bedplate.portfolio.actions import propose
from bedplate.portfolio.usecase import UseCaseFile
from bedplate.releases.actions import Finding, build, go_live, prove
from bedplate.store import tables as t
from bedplate.store.engine import writing
from bedplate.store.merkle import Frontier, leaf_hash
from bedplate.store.reads import read_approval, read_standing
from bedplate.testing import SettableClock

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from sqlalchemy import Connection

    from bedplate.kernel.governor import Governor
    from bedplate.kernel.model import OperatingModel
    from bedplate.releases.bundle import Bundle
    from bedplate.store.ledger import SqlLedger

MUTUAL = Path(__file__).parents[2] / "examples" / "harbour-mutual"
WEEKS, AT_ONCE, SEED = 104, 4_000, 7
NOMINAL = 13  # releases a use case would make for ten that it has time to make
TIERS = (1, 2, 3, 4)
MIX = (45, 30, 20, 5)
RATED = {1: ("low", "assistive"), 2: ("low", "autonomous"), 3: ("high", "assistive"), 4: ("high", "autonomous")}
VOTER = {"board": "ruth.adeyemi", "coe": "jonas.weber", "domain": "hanna.osei"}
SEAT = {"board": "board.chair", "coe": "coe.member", "domain": "domain.approver@people"}
MONITORS = ("unanswered", "ungrounded", "failed")
Many = tuple[int, str, list[Draft]]  # when, by whom, what


@dataclass
class Writer:
    """Appends events in bulk: sealed one by one, inserted many at a time, then folded into the read tables."""

    ledger: SqlLedger
    connection: Connection
    frontier: Frontier
    versions: dict[str, int] = field(default_factory=dict)
    waiting: list[Event] = field(default_factory=list)
    nodes: list[dict[str, Any]] = field(default_factory=list)
    still: set[str] = field(default_factory=set)  # subjects whose standing lags behind in its version alone

    def put(self, at: int, actor: str, drafts: list[Draft]) -> None:
        """Add what happened at one moment."""
        for draft in drafts:
            version = self.versions.get(draft.stream, 0) + 1
            self.versions[draft.stream] = version
            event_id = f"{self.frontier.size:032x}"
            told = {"action": "bench", "digest": ""}
            event = seal(draft, seq=self.frontier.size, id=event_id, version=version, at=at, actor=actor, authz=told)
            finished = self.frontier.append(leaf_hash(event.entry))
            self.nodes += [{"level": n.level, "index": n.index, "hash": n.hash} for n in finished]
            self.waiting.append(event)
        if len(self.waiting) >= AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        rows = [
            {
                "seq": e.seq,
                "entry": e.entry,
                "leaf": leaf_hash(e.entry),
                "id": e.id,
                "stream": e.stream,
                "version": e.version,
                "kind": e.kind,
                "actor": e.actor,
                "at": e.at,
            }
            for e in self.waiting
        ]
        self.connection.execute(insert(t.event), rows)
        self.connection.execute(insert(t.node), self.nodes)
        for event in self.waiting:
            if event.kind == "models.measure.recorded":  # moves no standing but its version
                self.still.add(event.stream)
                for projection in self.ledger.projector._projections:  # noqa: SLF001  a benchmark's short cut
                    if handler := projection.handlers.get(event.kind):
                        handler(self.connection, event)
            elif event.kind not in {"kernel.shard.beat", "kernel.action.denied"}:
                self.ledger.projector.apply(self.connection, event)
        self.waiting, self.nodes = [], []

    def end(self, at: int) -> None:
        """Write the rest, bring the standings' versions up, and move the head."""
        self.flush()
        newest: dict[str, int] = {}
        for seq, stream in self.connection.execute(
            select(t.event.c.seq, t.event.c.stream).where(t.event.c.kind == "models.measure.recorded")
        ):
            newest[stream] = max(seq, newest.get(stream, 0))
        for subject in self.still:
            standing = read_standing(self.connection, subject)
            if standing is not None:
                body = canonical(plain(replace(standing, version=self.versions[subject]))).decode()
                row = t.standing.c.subject == subject
                last = max(
                    newest[subject], self.connection.execute(select(t.standing.c.last_seq).where(row)).scalar_one()
                )
                self.connection.execute(update(t.standing).where(row).values(body=body, last_seq=last))
        head = {"size": self.frontier.size, "frontier": self.frontier.to_bytes(), "at": at}
        self.connection.execute(update(t.head).values(**head))


@dataclass(frozen=True)
class Pattern:
    """What one use case recorded on its way, by kind and action."""

    data: Mapping[str, Mapping[str, Any]]
    bundle: Bundle
    model: OperatingModel


def fill(folder: Path, *, cases: int, releases: int, events: int, say: Callable[[str], None]) -> tuple[Settings, str]:
    """Fill a data folder with SQLite; returns its settings and the session token of somebody."""
    settings = Settings(data=folder)
    engine = open_engine_and_migrate(settings)
    now = wall_clock()
    clock = SettableClock(now - (WEEKS + 1) * 7 * DAY)
    ledger, declared, identities = open_ledger(engine, clock)
    governor = open_governor(ledger, declared, clock, identities)
    pattern = _found(governor, ledger, clock)
    chance = random.Random(SEED)
    happened = list(_happenings(pattern, chance, cases, releases, now))
    rest = events - ledger.size() - sum(len(drafts) for _, _, drafts in happened)
    say(f"{sum(len(drafts) for _, _, drafts in happened):,} events of use cases, {max(0, rest):,} others")
    happened += list(_others(chance, cases, max(0, rest - 10), now))
    happened.sort(key=_when)
    with writing(engine.connect()) as connection, connection.begin():
        head = connection.execute(select(t.head)).one()
        writer = Writer(ledger, connection, Frontier.from_bytes(head.size, head.frontier))
        for stream, version in connection.execute(select(t.event.c.stream, t.event.c.version).order_by(t.event.c.seq)):
            writer.versions[stream] = version
        connection.execute(insert(t.blob), _bundles(pattern, cases, releases))
        for at, actor, drafts in happened:
            writer.put(at, actor, drafts)
        writer.end(happened[-1][0])
    clock.now = now
    token = sign_in(governor, "jonas.weber", "session").text
    say(f"{ledger.size():,} events in the ledger")
    engine.dispose()
    return settings, token


def copy(source: Engine, target: Engine) -> None:
    """Copy every row of every table into a migrated, empty database."""
    with source.connect() as reading, writing(target.connect()) as there, there.begin():
        for table in t.metadata.sorted_tables:
            _copy(reading, there, table)


def _copy(reading: Connection, there: Connection, table: Table) -> None:
    found = reading.execute(select(table), execution_options={"stream_results": True})
    for rows in found.mappings().partitions(AT_ONCE):
        there.execute(insert(table), [dict(row) for row in rows])


def _found(governor: Governor, ledger: SqlLedger, clock: SettableClock) -> Pattern:
    """Found the organisation and take one use case live, through the door."""
    people = (MUTUAL / "people.yaml").read_text()
    file = check_model(governor, parse(blank_model("Harbour Mutual", people), "operating-model.yaml"))
    for person in file.people:
        invite(governor, "operator", person.id, person.name)
    _agreed(governor, ledger, lambda: apply_model(governor, "priya.raman", file, None))
    with ledger.engine.connect() as connection:
        model = ledger.model_of(connection)
    assert model is not None
    text = (MUTUAL / "hr-policy-assistant" / "use-case.yaml").read_text()
    case = parse(text, "use-case.yaml").read(UseCaseFile)
    _agreed(governor, ledger, lambda: propose(governor, "leo.fischer", case, model))
    bundle = small_bundle(case.subject, PROMPT, 100, 1)
    digest = build(governor, "leo.fischer", bundle, 1, [b"prompt"])
    for control in ("prompt-pinned", "evals-passed", "sources-versioned", "runbook-present"):
        prove(governor, "leo.fischer", case.subject, digest, Finding(control, "proven", control, b""))
    _agreed(governor, ledger, lambda: go_live(governor, "leo.fischer", case.subject, digest, 1))
    data: dict[str, Mapping[str, Any]] = {}
    with ledger.engine.connect() as connection:
        for entry in connection.execute(select(t.event.c.entry).order_by(t.event.c.seq)).scalars():
            event = unseal(entry)
            name = f"{event.kind} {event.data['action']}" if event.kind == "kernel.approval.asked" else event.kind
            data[name] = event.data
    clock.advance(DAY)
    return Pattern(data, bundle, model)


def _agreed(governor: Governor, ledger: SqlLedger, does: Callable[[], object]) -> None:
    try:
        does()
    except NeedsApproval as asked:
        for index in range(9):
            with ledger.engine.connect() as connection:
                approval = read_approval(connection, asked.approval)
            assert approval is not None
            if not approval.missing():
                governor.carry_out(approval)
                return
            barred = {approval.requester, approval.owner, *(v.person for v in approval.votes)}
            _, stage, _ = approval.missing()[0]
            with ledger.engine.connect() as connection:
                model = ledger.model_of(connection)
            assert model is not None, index
            voter = next(v for v in model.authority.voters(stage, approval.domain) if v not in barred)
            governor.vote(voter, asked.approval, yes=True, reason="")


def _happenings(pattern: Pattern, chance: random.Random, cases: int, releases: int, now: int) -> Iterator[Many]:
    domains = sorted(pattern.model.domains)
    begin = now - WEEKS * 7 * DAY
    serial = made = 0
    for number in range(cases):
        subject, tier = f"usecase/case-{number:04}", chance.choices(TIERS, MIX)[0]
        domain = domains[number % len(domains)]
        impact, autonomy = RATED[tier]
        about: dict[str, Any] = {
            "owner": "leo.fischer",
            "domain": domain,
            "impact": impact,
            "autonomy": autonomy,
            "tier": tier,
        }
        about |= {"title": f"Use case {number:04}"}
        at = begin + chance.randrange((WEEKS - 2) * 7 * DAY)
        proposed = {**pattern.data["portfolio.usecase.proposed"], **about}
        proposed |= {"value": chance.randint(2, 5), "feasibility": chance.randint(2, 5)}
        proposed |= {
            "yearly_cents": chance.randrange(1_000_000, 90_000_000),
            "spec": pattern.data["portfolio.usecase.accepted"]["spec"],
        }
        yield at, "leo.fischer", [Draft("portfolio.usecase.proposed", subject, proposed)]
        serial += 1
        stages = _stages(pattern, tier, "accept")
        asked = {**pattern.data["kernel.approval.asked portfolio.accept"], "subject": subject, "domain": domain}
        asked |= {"stages": stages, "summary": f"take up Use case {number:04}", "expires": at + 14 * DAY}
        asked["facts"] = {**asked["facts"], **about}
        accepted = {**about, "spec": proposed["spec"]}
        done = yield from _approved(
            chance, serial, at, now, asked, [Draft("portfolio.usecase.accepted", subject, accepted)]
        )
        if not done:
            continue
        previous = ""
        for nth in range(NOMINAL * releases // cases // 10):
            at = max(done, at) + chance.randrange(1, 30) * DAY + chance.randrange(DAY)
            if at > now or made >= releases:
                break
            made += 1
            release = replace(pattern.bundle, use_case=subject, tokens_per_day=1_000 + nth).digest
            yield at, "leo.fischer", [Draft("releases.release.built", subject, {"release": release, "number": nth + 1})]
            proof = {**pattern.data["kernel.evidence.attached"], "digest": release, "expires": at + 90 * DAY}
            drafts = [
                Draft("kernel.evidence.attached", subject, {**proof, "control": c})
                for c in ("evals-passed", "red-teamed")
            ]
            at += chance.randrange(3 * DAY)
            yield at, "leo.fischer", drafts
            serial += 1
            asked = {**pattern.data["kernel.approval.asked releases.golive"], "subject": subject, "domain": domain}
            asked |= {"stages": _stages(pattern, tier, "release"), "expires": at + 14 * DAY}
            asked["facts"] = {"release": release, "number": nth + 1}
            asked["summary"] = f"release {nth + 1} of {subject} goes live"
            live: dict[str, Any] = {"release": release, "number": nth + 1, "previous": previous}
            went = yield from _approved(chance, serial, at, now, asked, [Draft("releases.release.live", subject, live)])
            if went:
                previous = release
                yield from _incident(chance, serial, subject, release, went, now)
                at = went


def _stages(pattern: Pattern, tier: int, what: str) -> list[dict[str, Any]]:
    stages = pattern.model.tiers[tier].approvals[what]
    return [{"body": s.body, "decides": s.decides, "quorum": s.quorum} for s in stages]


def _approved(
    chance: random.Random, serial: int, at: int, now: int, asked: dict[str, Any], then: list[Draft]
) -> Generator[Many, None, int]:
    approval = f"approval/{serial:08}"
    yield at, "leo.fischer", [Draft("kernel.approval.asked", approval, asked)]
    coe = any(s["body"] != "domain" for s in asked["stages"])
    late = 8 if coe and at > now - 84 * DAY else 3  # the CoE falls behind in the last quarter
    decided = at + int(chance.expovariate(1 / (late * DAY)))
    if decided > now:
        return 0
    drafts = []
    for index, stage in enumerate(asked["stages"]):
        vote: dict[str, Any] = {
            "stage": index,
            "seat": SEAT[stage["body"]],
            "answer": "yes",
            "reason": "",
            "solo": "no",
        }
        drafts += [
            (VOTER[stage["body"]], Draft("kernel.approval.voted", approval, vote)) for _ in range(stage["quorum"])
        ]
    for voter, draft in drafts:
        yield decided, voter, [draft]
    spent = Draft("kernel.approval.spent", approval, {"action": asked["action"]})
    yield decided, "leo.fischer", [Draft("kernel.approval.granted", approval, {}), spent, *then]
    return decided


def _incident(chance: random.Random, serial: int, subject: str, release: str, at: int, now: int) -> Iterator[Many]:
    if chance.random() > 0.12:
        return
    at += chance.randrange(20 * DAY)
    if at > now:
        return
    name = f"incident/{serial:08}"
    data: dict[str, Any] = {
        "subject": subject,
        "title": "unanswered: 41 % of 20 calls",
        "cause": "monitor/unanswered",
        "owner": "leo.fischer",
    }
    data |= {
        "severity": chance.choice(("breach", "breach", "harm")),
        "due": at + 7 * DAY,
        "evidence": EMPTY,
        "release": release,
    }
    lowered = Draft("incidents.rung.lowered", subject, {"incident": name, "rung": "propose"})
    yield at, "system", [Draft("incidents.incident.opened", name, data), lowered]
    closed = at + int(chance.expovariate(1 / (2 * DAY)))
    if closed < now:
        cleared = Draft("incidents.breach.cleared", subject, {"incident": name})
        yield closed, "leo.fischer", [Draft("incidents.incident.closed", name, {"resolution": "mended"}), cleared]


def _others(chance: random.Random, cases: int, count: int, now: int) -> Iterator[Many]:
    """What fills a real ledger beside decisions: monitors that look, shards that beat, attempts that are refused."""
    for _ in range(count):
        at = now - chance.randrange(WEEKS * 7 * DAY)
        sort = chance.random()
        if sort < 0.4:
            subject = f"usecase/case-{chance.randrange(cases):04}"
            data: dict[str, Any] = {
                "release": EMPTY,
                "monitor": chance.choice(MONITORS),
                "permille": chance.randrange(300),
                "limit": 400,
            }
            yield at, "system", [Draft("models.measure.recorded", subject, {**data, "calls": 200, "breach": "no"})]
        elif sort < 0.9:
            shard = f"shard-{chance.randrange(4)}"
            yield (
                at,
                "system",
                [Draft("kernel.shard.beat", f"shard/{shard}", {"shard": shard, "size": 1, "root": EMPTY})],
            )
        else:
            data = {
                "action": "portfolio.retire",
                "digest": EMPTY,
                "reasons": [["authority", "no seat", "ask"]],
            }
            yield at, "leo.fischer", [Draft("kernel.action.denied", "usecase/nobody", data)]


def _bundles(pattern: Pattern, cases: int, releases: int) -> list[dict[str, Any]]:
    made = [
        replace(pattern.bundle, use_case=f"usecase/case-{number:04}", tokens_per_day=1_000 + nth)
        for number in range(cases)
        for nth in range(NOMINAL * releases // cases // 10)
    ]
    return [{"digest": EMPTY, "content": b"{}"}, *({"digest": b.digest, "content": b.content()} for b in made)]


def _when(happening: Many) -> int:
    return happening[0]


def _sha(content: bytes) -> str:
    return sha256(content).hexdigest()


PROMPT, EMPTY = _sha(b"prompt"), _sha(b"{}")
