"""The composition root: the only file that knows every part."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

import bedplate.agents.governance as agents_governance
import bedplate.agents.tables as agents_tables
import bedplate.data.governance as data_governance
import bedplate.data.tables as data_tables
import bedplate.evidence.governance as evidence_governance
import bedplate.evidence.tables as evidence_tables
import bedplate.gateway.governance as gateway_governance
import bedplate.gateway.tables as gateway_tables
import bedplate.incidents.governance as incidents_governance
import bedplate.incidents.tables as incidents_tables
import bedplate.kernel.governance as kernel_governance
import bedplate.models.governance as models_governance
import bedplate.models.tables as models_tables
import bedplate.paths.governance as paths_governance
import bedplate.paths.tables as paths_tables
import bedplate.people.flow.tables as flow_tables
import bedplate.people.governance as people_governance
import bedplate.people.tables as people_tables
import bedplate.portfolio.governance as portfolio_governance
import bedplate.portfolio.tables as portfolio_tables
import bedplate.releases.governance as releases_governance
import bedplate.releases.tables as releases_tables
import bedplate.shadow.governance as shadow_governance
import bedplate.shadow.tables as shadow_tables
import bedplate.vendors.governance as vendors_governance
import bedplate.vendors.tables as vendors_tables
from bedplate.agents.actions import carry_out_lift, carry_out_window
from bedplate.agents.door import AgentDoor
from bedplate.agents.human import People
from bedplate.agents.parts import Parts as AgentParts
from bedplate.agents.record import ActRecorder
from bedplate.agents.runstore import RunStore
from bedplate.agents.token import Mint
from bedplate.agents.watch import Watch
from bedplate.agents.window import Windows
from bedplate.data.index import Index
from bedplate.errors import BedplateError, Conflict, InvalidInput, NeedsApproval, NotFound, Tampered
from bedplate.evidence.audit import audit
from bedplate.evidence.views import events
from bedplate.gateway.actions import give_held, pass_held
from bedplate.gateway.budget import Budgets
from bedplate.gateway.door import Door
from bedplate.gateway.grounding import Numbered
from bedplate.gateway.held import Kept
from bedplate.gateway.localmodel import MODEL as LOCAL_MODEL
from bedplate.gateway.localmodel import LocalModel
from bedplate.gateway.observer import Observer, bench
from bedplate.gateway.price import Prices
from bedplate.gateway.recorder import JournalRecorder
from bedplate.gateway.session import Parts
from bedplate.gateway.snapshot import Follower
from bedplate.gateway.supply import Supply, open_supply
from bedplate.gateway.switchboard import Switchboard
from bedplate.gateway.telemetry import open_telemetry
from bedplate.gateway.upstream import Embedded, Remote, Upstream
from bedplate.gateway.usage import Usage
from bedplate.gateway.views import Calls
from bedplate.incidents.actions import carry_out_resume
from bedplate.installation import Installation
from bedplate.kernel.authority import OPERATOR
from bedplate.kernel.governor import Governor
from bedplate.kernel.identity import Identities
from bedplate.kernel.manifest import Catalogue, Manifest, catalogue
from bedplate.models.groundedness import assess
from bedplate.models.prompt import Shelf
from bedplate.paths.actions import carry_out_publish
from bedplate.paths.erasure import Eraser
from bedplate.paths.erasure import Parts as EraserParts
from bedplate.paths.feedback import Desk
from bedplate.paths.feedback import Parts as DeskParts
from bedplate.paths.snapshots import Snapshots
from bedplate.paths.thread import Offer, Workshop
from bedplate.paths.toolserver import NONE
from bedplate.people.actions import carry_out_apply
from bedplate.people.attempt import Attempts
from bedplate.portfolio.actions import settle
from bedplate.portfolio.book import carry_out_renew
from bedplate.portfolio.book import settle as settle_stop
from bedplate.portfolio.proving import RENEW, SETTLE
from bedplate.releases.actions import carry_out_live
from bedplate.shadow.stranger import Strangers
from bedplate.store.anchor import Anchor
from bedplate.store.engine import open_engine, refuse_unsafe
from bedplate.store.fsck import verify_ledger
from bedplate.store.journal import Journal
from bedplate.store.ledger import SqlLedger
from bedplate.store.migrate import migrate, migrate_apart
from bedplate.store.note import SigningKey, VerifierKey
from bedplate.store.projector import Projector
from bedplate.store.reads import read_approval
from bedplate.store.vault import Vault
from bedplate.store.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Engine

    from bedplate.config import Settings
    from bedplate.gateway.call import Trace
    from bedplate.gateway.metrics import Reading
    from bedplate.gateway.telemetry import Pump
    from bedplate.kernel.approval import Approval
    from bedplate.kernel.clock import Clock
    from bedplate.paths.toolserver import ToolServers
    from bedplate.store.tables import Projection

MANIFESTS: tuple[Manifest, ...] = (
    kernel_governance.MANIFEST,
    people_governance.MANIFEST,
    portfolio_governance.MANIFEST,
    data_governance.MANIFEST,
    models_governance.MANIFEST,
    releases_governance.MANIFEST,
    gateway_governance.MANIFEST,
    agents_governance.MANIFEST,
    incidents_governance.MANIFEST,
    evidence_governance.MANIFEST,
    paths_governance.MANIFEST,
    shadow_governance.MANIFEST,
    vendors_governance.MANIFEST,
)
PROJECTIONS: tuple[Projection, ...] = (
    people_tables.PROJECTION,
    flow_tables.PROJECTION,
    portfolio_tables.PROJECTION,
    data_tables.PROJECTION,
    models_tables.PROJECTION,
    releases_tables.PROJECTION,
    gateway_tables.PROJECTION,
    agents_tables.PROJECTION,
    incidents_tables.PROJECTION,
    evidence_tables.PROJECTION,
    paths_tables.PROJECTION,
    shadow_tables.PROJECTION,
    vendors_tables.PROJECTION,
)
BREAKER_STATES = ("closed", "half-open", "open")
MAX_SHARDS = 64  # serving processes that share one data folder


def wall_clock() -> int:
    """Return microseconds since the epoch."""
    return time.time_ns() // 1000


def open_engine_and_migrate(settings: Settings, *, apart: bool = False) -> Engine:
    """Open the database and bring its tables up to date, under a lock; `apart` keeps Alembic out of this process."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = open_engine(settings.database_url)
    refuse_unsafe(engine)
    (migrate_apart if apart else migrate)(engine)
    return engine


def open_ledger(engine: Engine, clock: Clock) -> tuple[SqlLedger, Catalogue, Identities]:
    """Build the ledger over a migrated database."""
    declared = catalogue(MANIFESTS)
    identities = Identities(clock)
    ledger = SqlLedger(engine, Projector(declared, PROJECTIONS), clock, identities)
    ledger.create()
    return ledger, declared, identities


def open_governor(ledger: SqlLedger, declared: Catalogue, clock: Clock, identities: Identities) -> Governor:
    """Build the one door over a ledger."""
    governor = Governor(ledger, declared, clock, identities)
    governor.performs(
        {
            people_governance.APPLY_MODEL.name: carry_out_apply,
            portfolio_governance.ACCEPT.name: settle,
            SETTLE.name: settle_stop,
            RENEW.name: carry_out_renew,
            releases_governance.GO_LIVE.name: carry_out_live,
            incidents_governance.RESUME.name: carry_out_resume,
            paths_governance.PUBLISH.name: carry_out_publish,
            agents_governance.LIFT.name: carry_out_lift,
            agents_governance.LIFT_ALL.name: carry_out_lift,
            agents_governance.OPEN_WINDOW.name: carry_out_window,
        }
    )
    return governor


def open_installation(settings: Settings, clock: Clock = wall_clock, *, apart: bool = False) -> Installation:
    """Put everything together and check it. A fault found in the records makes it read-only, and says so."""
    engine = open_engine_and_migrate(settings, apart=apart)
    ledger, declared, identities = open_ledger(engine, clock)
    flow_tables.fill(engine)
    governor = open_governor(ledger, declared, clock, identities)
    key = signing_key(settings.data)
    witness, witness_key = _witness(settings, key)
    anchor = Anchor(engine, key, clock, witness)
    vault = Vault(settings.data / "vault.db", settings.data / "keys" / "kek")
    journal = open_shard(settings.data / "journal", vault)
    calls = Calls(settings.data / "journal", vault.open)
    faults = list(audit(engine, anchor.check, calls.shards()).faults)
    ledger.refuses = "; ".join(faults)
    supply, upstreams = _upstreams(settings, clock)
    prices, usage = Prices(), Usage(engine, calls.shards)
    shelf = Shelf()
    follower = Follower(ledger.size, Snapshots(engine, ledger.model_of, prices, shelf, clock).load, settings.follow_ms)
    indexes = settings.data / "indexes"
    urls = {u.name: address for address, u in upstreams.items()}
    pump, metrics = open_telemetry(
        journal.shard,
        settings.data / "metrics",
        lambda: _gauges(journal, follower, supply),
        lambda name: urls.get(name, ""),
        content=settings.export_content,
    )
    runs = RunStore(settings.data / "agents", journal.shard, clock)
    strangers = Strangers(clock)
    agents = _agents(settings, engine, governor, declared, follower, runs, journal, vault, calls, strangers, identities)
    recorder = JournalRecorder(journal, vault, clock, _Told(pump, agents).finished)
    budgets = Budgets(settings.data / "budget", journal.shard, lambda shard: usage.counted(shard, clock()))
    agreeing = _Agreeing(governor, follower, calls)
    door = Door(
        Parts(
            follower=follower,
            recorder=recorder,
            switchboard=Switchboard(upstreams, supply),
            retrieve=_Retriever(indexes).search,
            assess=assess,
            budgets=budgets,
            price=prices.of,
            controls=tuple(declared.controls.values()),
            clock=clock,
            identify=identities.next,
            onward=pump.onward,
            agree=agreeing.agree,
            give=agreeing.give,
            kept=agreeing.kept,
            render=shelf.render,
            verify=shelf.verify,
            noticed=strangers.note,
        )
    )
    observer = Observer(bench(door, lambda: follower.snapshot.recipes, prices.of, calls, recorder, clock))
    return Installation(
        settings=settings,
        engine=engine,
        clock=clock,
        identities=identities,
        catalogue=declared,
        ledger=ledger,
        governor=governor,
        anchor=anchor,
        key=key,
        journal=journal,
        vault=vault,
        calls=calls,
        follower=follower,
        door=door,
        agents=agents,
        runs=runs,
        toolservers=_toolservers(settings) if settings.tools else NONE,
        workshop=Workshop(governor, engine, door, indexes, _offers(supply, upstreams)),
        upstreams=upstreams,
        supply=supply,
        prices=prices,
        budgets=budgets,
        usage=usage,
        pump=pump,
        metrics=metrics,
        observer=observer,
        desk=Desk(DeskParts(engine, governor, follower, calls, journal, vault, clock, identities)),
        attempts=Attempts(engine, governor),
        strangers=strangers,
        eraser=Eraser(EraserParts(engine, governor, follower, calls, vault, clock)),
        witness_key=witness_key,
        faults=faults,
    )


def _agents(
    settings: Settings,
    engine: Engine,
    governor: Governor,
    declared: Catalogue,
    follower: Follower,
    runs: RunStore,
    journal: Journal,
    vault: Vault,
    calls: Calls,
    strangers: Strangers,
    identities: Identities,
) -> AgentDoor:
    """Build the door of agents."""
    clock = governor.clock
    recorder = ActRecorder(journal, vault, clock)

    def approval(name: str) -> Approval:
        with engine.connect() as connection:
            found = read_approval(connection, name)
        if found is None:
            raise NotFound(f"there is no {name}", hint="list them: bedplate approvals")
        return found

    def content(name: str) -> dict[str, Any] | None:
        try:
            return calls.content(name)
        except NotFound:
            return None

    mint = Mint(settings.data / "keys" / "agents")
    return AgentDoor(
        AgentParts(
            sight=follower,
            store=runs,
            recorder=recorder,
            people=People(engine, governor, recorder, approval, content, clock),
            watch=Watch(runs, governor, follower),
            windows=Windows(runs),
            mint=mint,
            controls=tuple(declared.controls.values()),
            clock=clock,
            identify=identities.next,
            content=content,
            salt=mint.salt,
            noticed=strangers.note,
        )
    )


class _Told:
    """Hands finished calls on: to telemetry, and to the run of the agent that made them."""

    def __init__(self, pump: Pump, agents: AgentDoor) -> None:
        self._pump = pump
        self._agents = agents

    def finished(self, trace: Trace, kind: str, content: Mapping[str, Any] | None = None) -> None:
        self._pump.finished(trace, kind, content)
        if trace.run and kind != "call.intent":
            self._agents.called(
                trace.subject,
                trace.agent,
                trace.run,
                call=trace.id,
                model=trace.model,
                cost_nano=trace.cost_nano,
                latency_us=trace.latency_us,
                failed=trace.status == "failed",
            )


def _toolservers(settings: Settings) -> ToolServers:
    from bedplate.paths.toolfile import read_servers  # noqa: PLC0415  most installations have none

    return read_servers(Path(settings.tools), os.environ)


def signing_key(data: Path) -> SigningKey:
    """Load the ledger's key, or make one. Its name is the log's origin, unique for ever."""
    path = data / "keys" / "ledger"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        SigningKey.generate(f"bedplate.local/{secrets.token_hex(8)}").save(path)
    return SigningKey.load(path)


def continue_ledger(settings: Settings, reason: str, clock: Clock = wall_clock) -> str:
    """Go on from a restored copy that is older than what was signed or witnessed; returns the new origin.

    A restored ledger forks the one that was lost, so it begins a new epoch: on record, with a new key and origin. The
    old key is put away beside it. Raises Tampered if the copy is not sound in itself.
    """
    engine = open_engine_and_migrate(settings)
    try:
        ledger, declared, identities = open_ledger(engine, clock)
        verify_ledger(engine)
        path = settings.data / "keys" / "ledger"
        epoch = 2 + len(events(engine, kind="kernel.ledger.continued", limit=1000))
        governor = open_governor(ledger, declared, clock, identities)
        with governor.act(OPERATOR, kernel_governance.CONTINUE, "ledger", facts={"reason": reason}) as act:
            act.record("kernel.ledger.continued", {"epoch": epoch, "reason": reason})
        if path.exists():
            path.rename(path.with_name(f"ledger.epoch-{epoch - 1}"))
        return signing_key(settings.data).name
    finally:
        engine.dispose()


def open_shard(folder: Path, vault: Vault) -> Journal:
    """Open the first shard that no other process writes, so that a restart goes on where it stopped."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in range(MAX_SHARDS):
        name = f"shard-{number}"
        try:
            return Journal.open(folder / f"{name}.db", shard=name, beside=vault)
        except Tampered:
            raise
        except Conflict:
            continue  # another process writes it
    raise Conflict(f"{MAX_SHARDS} processes write to {folder} already")


def _gauges(journal: Journal, follower: Follower, supply: Supply) -> Iterator[Reading]:
    """Read what is true of this process now."""
    yield "bedplate_journal_queue_depth", "", float(journal.depth)
    yield "bedplate_standing_age_seconds", "", follower.age / 1e6
    for seen in supply.view(time.monotonic_ns() // 1000):
        yield "bedplate_breaker_state", seen.name, float(BREAKER_STATES.index(seen.breaker.state))


class _Agreeing:
    """Asks people, through the slow door, about what a guardrail holds, and finds what was kept of it."""

    def __init__(self, governor: Governor, follower: Follower, calls: Calls) -> None:
        self._governor = governor
        self._follower = follower
        self._calls = calls

    async def agree(self, key: str, subject: str, facts: dict[str, Any]) -> None:
        await asyncio.to_thread(pass_held, self._governor, key, subject, facts)

    async def give(self, key: str, subject: str, facts: dict[str, Any], to: str) -> None:
        try:
            await asyncio.to_thread(give_held, self._governor, key, subject, facts, to)
        except NeedsApproval:
            with suppress(BedplateError, SQLAlchemyError):  # then it is seen with the next look
                await asyncio.to_thread(self._follower.look)  # the same request may come again at once
            raise

    async def kept(self, call: str) -> Kept:
        return await asyncio.to_thread(self._kept, call)

    def _kept(self, call: str) -> Kept:
        return Kept.opened(self._calls.get(call).entry, self._calls.content(call))


class _Retriever:
    """Searches indexes by version, each opened and checked once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, Index] = {}

    async def search(self, version: str, question: str, top: int) -> Sequence[Numbered]:
        return await asyncio.to_thread(self._search, version, question, top)

    def _search(self, version: str, question: str, top: int) -> Sequence[Numbered]:
        if version not in self._open:
            self._open[version] = Index.open(self._folder, version)
        found = self._open[version].search(question, top)
        return [Numbered(n, p.ref, f"{p.title} › {p.heading}", p.text) for n, p in enumerate(found, 1)]


def _witness(settings: Settings, key: SigningKey) -> tuple[Witness | None, VerifierKey | None]:
    if not settings.witness:
        return None, None
    folder = Path(settings.witness)
    path = folder / "witness-key"
    if not path.exists():
        raise InvalidInput(f"there is no witness key at {path}", hint="make one: bedplate doctor --new-witness FOLDER")
    own = SigningKey.load(path)
    return Witness(folder, own, {key.name: key.verifier}), own.cosigner


def _upstreams(settings: Settings, clock: Clock) -> tuple[Supply, dict[str, Upstream]]:
    """Return the upstreams as they are configured, and by address whoever answers there."""
    local = LocalModel() if settings.local_llm else None
    supply = open_supply(settings, local_url=local.url if local else "", local_model=LOCAL_MODEL)
    upstreams: dict[str, Upstream] = {}
    for supplier in supply:
        if supplier.shape == "embedded":
            upstreams[supplier.address] = Embedded(clock)
        elif supplier.address == "local":
            upstreams[supplier.address] = Remote(supplier, f"local model {LOCAL_MODEL}", local)
        else:
            upstreams[supplier.address] = Remote(supplier, supplier.name if settings.upstreams else supplier.url)
    return supply, upstreams


def _offers(supply: Supply, upstreams: Mapping[str, Upstream]) -> dict[str, Offer]:
    """Return what use cases may name."""
    return {
        name: Offer(s.address, s.model, upstreams[s.address].name, frozenset(s.protocols))
        for name, s in supply.offered().items()
    }
