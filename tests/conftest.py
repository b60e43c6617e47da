"""A fresh ledger on either database, and a house: an organisation with all planes and Harbour Mutual's people."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from sqlalchemy import Engine, select
from tests.postgres import NoPostgres, Postgres

from bedplate.bootstrap import MANIFESTS, PROJECTIONS, open_governor
from bedplate.document import parse
from bedplate.errors import NeedsApproval
from bedplate.kernel.event import Event, unseal
from bedplate.kernel.identity import Identities
from bedplate.kernel.manifest import Catalogue, catalogue
from bedplate.people.actions import apply_model, check_model
from bedplate.people.blank import blank_model
from bedplate.people.views import current_model
from bedplate.portfolio.actions import propose
from bedplate.portfolio.usecase import UseCaseFile
from bedplate.releases.actions import Finding, attach, build, go_live, prove
from bedplate.releases.bundle import Bundle
from bedplate.releases.governance import MADE
from bedplate.store import tables as t
from bedplate.store.engine import open_engine
from bedplate.store.fsck import compare_read_tables, verify_ledger
from bedplate.store.ledger import SqlLedger
from bedplate.store.migrate import migrate
from bedplate.store.projector import Projector
from bedplate.store.reads import read_approval, read_blob, read_standing
from bedplate.testing import SettableClock
from bedplate.vendors.actions import rely

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bedplate.kernel.approval import Approval
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.model import OperatingModel
    from bedplate.kernel.standing import Standing
    from bedplate.people.structure import OperatingModelFile

ROOT = Path(__file__).parents[1]
MUTUAL = ROOT / "examples" / "harbour-mutual"
GATE = (
    "prompt-pinned",
    "evals-passed",
    "no-regression",
    "sources-versioned",
    "runbook-present",
    "fairness-assessed",
    "red-teamed",
)
SERIAL = count(1)
Outcome = Literal["proven", "contradicted"]


@dataclass(frozen=True, slots=True)
class Database:
    """A migrated, empty database of a test's own."""

    kind: str  # sqlite or postgresql
    url: str
    path: Path  # of the SQLite file; the folder of the server otherwise


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests."""
    try:
        server = Postgres()
    except NoPostgres as missing:
        pytest.fail(str(missing), pytrace=False)
    yield server
    server.remove()


@dataclass(frozen=True, slots=True)
class Templates:
    """Databases that are made once and copied for each test: `empty` and `founded`."""

    folder: Path
    server: Callable[[], Postgres]
    made: dict[str, str]

    def fresh(self, kind: str, template: str, make: Callable[[str], None]) -> Database:
        """Return a copy of a template, which is made first if need be."""
        return self._sqlite(template, make) if kind == "sqlite" else self._postgresql(template, make)

    def _sqlite(self, template: str, make: Callable[[str], None]) -> Database:
        path = self.folder / f"{template}.db"
        if not path.exists():
            make(f"sqlite:///{path}")
        mine = self.folder / f"{next(SERIAL)}.db"
        shutil.copyfile(path, mine)
        return Database("sqlite", f"sqlite:///{mine}", mine)

    def _postgresql(self, template: str, make: Callable[[str], None]) -> Database:
        server = self.server()
        if template not in self.made:
            server.execute(f"CREATE DATABASE {template}")
            make(server.url(template))
            self.made[template] = template
        name = f"test_{next(SERIAL)}"
        server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return Database("postgresql", server.url(name), server.folder)


@pytest.fixture(scope="session")
def templates(request: pytest.FixtureRequest) -> Iterator[Templates]:
    shm = Path("/dev/shm")  # noqa: S108  memory: the tests of power cuts have their own disk
    folder = Path(tempfile.mkdtemp(prefix="bedplate-tests-", dir=shm if shm.is_dir() else None))
    yield Templates(folder, lambda: request.getfixturevalue("postgres"), {})
    shutil.rmtree(folder)


DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=DATABASES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def database(kind: str, templates: Templates) -> Database:
    return templates.fresh(kind, "empty", _make_empty)


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    with _open(database.url) as engine:
        yield engine


@pytest.fixture(scope="session")
def declared() -> Catalogue:
    return catalogue(MANIFESTS)


@pytest.fixture
def ledger(engine: Engine, clock: SettableClock, declared: Catalogue) -> SqlLedger:
    """An empty ledger with every plane's events."""
    return _ledger(engine, clock, declared)


@pytest.fixture
def house(kind: str, templates: Templates, clock: SettableClock, declared: Catalogue) -> Iterator[House]:
    """An organisation whose operating model is in force, and nothing else."""
    found = templates.fresh(kind, "founded", _make_founded)
    with _open(found.url) as engine:
        yield House.over(found, engine, clock, declared)


@contextmanager
def _open(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def _make_empty(url: str) -> None:
    with _open(url) as engine:
        migrate(engine)
        _ledger(engine, SettableClock(), catalogue(MANIFESTS))


def _make_founded(url: str) -> None:
    _make_empty(url)
    with _open(url) as engine:
        house = House.over(Database("", url, Path()), engine, SettableClock(), catalogue(MANIFESTS))
        house.apply(house.model_file())


def _ledger(engine: Engine, clock: SettableClock, declared: Catalogue) -> SqlLedger:
    ledger = SqlLedger(engine, Projector(declared, PROJECTIONS), clock, Identities(clock))
    ledger.create()
    return ledger


@dataclass(frozen=True, slots=True)
class House:
    """An organisation over a ledger, with what tests do in it again and again."""

    database: Database
    engine: Engine
    clock: SettableClock
    ledger: SqlLedger
    governor: Governor

    @classmethod
    def over(cls, database: Database, engine: Engine, clock: SettableClock, declared: Catalogue) -> House:
        ledger = _ledger(engine, clock, declared)
        return cls(database, engine, clock, ledger, open_governor(ledger, declared, clock, ledger.identities))

    @property
    def model(self) -> OperatingModel:
        with self.engine.connect() as connection:
            found = self.ledger.model_of(connection)
        assert found is not None
        return found

    def model_file(self, edit: Callable[[str], str] = str) -> OperatingModelFile:
        """Return Harbour Mutual's operating model, its text edited first."""
        text = blank_model("Harbour Mutual", (MUTUAL / "people.yaml").read_text())
        return check_model(self.governor, parse(edit(text), "operating-model.yaml"))

    def apply(self, file: OperatingModelFile, by: str = "priya.raman") -> None:
        """Apply an operating model, with every vote that it needs."""
        current = current_model(self.engine)
        try:
            apply_model(self.governor, by, file, current["model"] if current else None)
        except NeedsApproval as asked:
            self.grant(asked.approval)

    def use_case(self, **changes: Any) -> UseCaseFile:
        """Return Harbour Mutual's assistant, with fields changed; `answers` are merged."""
        file = parse((MUTUAL / "hr-policy-assistant" / "use-case.yaml").read_text(), "use-case.yaml").read(UseCaseFile)
        answers = {**file.answers, **changes.pop("answers", {})}
        return UseCaseFile.model_validate({**file.model_dump(), **changes, "answers": answers})

    def tier(self, tier: int, **changes: Any) -> UseCaseFile:
        """Return a use case whose answers lead to this tier."""
        raised = {"affects-rights": "yes" if tier > 2 else "no", "acts-alone": "yes" if tier in {2, 4} else "no"}
        return self.use_case(answers=raised, **changes)

    def asked(self, does: Callable[[], object]) -> str:
        """Do what needs an approval; returns its id."""
        with pytest.raises(NeedsApproval) as asked:
            does()
        return asked.value.approval

    def vote(self, by: str, approval: str, *, yes: bool = True, reason: str = "") -> Approval:
        """Vote, and carry out what the vote settled."""
        voted = self.governor.vote(by, approval, yes=yes, reason=reason)
        self.governor.carry_out(voted)
        return voted

    def grant(self, approval: str) -> Approval:
        """Have everybody vote yes who is needed, and carry it out."""
        found = self.approval(approval)
        for index, stage, lacking in found.missing():
            voters = self._may_vote(found, index, stage.body)
            for person in voters[:lacking]:
                found = self.vote(person, approval)
        assert found.state == "granted"
        return found

    def propose(self, file: UseCaseFile | None = None, by: str = "leo.fischer") -> str:
        """Propose a use case; returns the approval that it waits for."""
        what = file or self.use_case()
        return self.asked(lambda: propose(self.governor, by, what, self.model))

    def accepted(self, file: UseCaseFile | None = None) -> str:
        """Have a use case accepted; returns its subject."""
        what = file or self.use_case()
        self.grant(self.propose(what))
        return what.subject

    def built(self, subject: str, *, by: str = "leo.fischer", without: str = "", **changes: Any) -> tuple[str, int]:
        """Build a release with evidence for every gate control, but those named; returns digest and number."""
        number = sum(e.stream == subject for e in self.events("releases.release.built")) + 1
        made = replace(self.bundle(subject), **changes)
        digest = build(self.governor, by, made, number, [b"prompt"])
        if without != "vendor-current":
            rely(self.governor, by, subject, digest, [], {})  # it asks nobody's model
        for control in (*GATE, "stop-drilled"):
            if control != without:
                self.evidence(subject, digest, control, by=by)
        return digest, number

    def evidence(
        self, subject: str, digest: str, control: str, outcome: Outcome = "proven", by: str = "leo.fischer"
    ) -> None:
        """Put evidence on record."""
        finding = Finding(control, outcome, f"{control}: {outcome}", control.encode())
        if control in MADE:
            prove(self.governor, by, subject, digest, finding)
        else:
            attach(self.governor, "priya.raman", subject, digest, finding)

    def bundle(self, subject: str) -> Bundle:
        return Bundle(
            use_case=subject,
            upstream="embedded",
            model="bedplate-extractive-1",
            prompt="8f2b9a8c6c5d4f5fb0d1a6b1cf7d5df4d8a3d1f7c8b6b1d7cbd6f6b0a9f0c1e2",
            unanswered="The handbook does not cover this.",
            index="",
            top=0,
            datasets={},
            suite="suite",
            pass_percent=85,
            runbook="runbook",
            guardrails={"input": {"secrets": "block"}, "output": {"secrets": "observe"}, "max_prompt_chars": 40_000},
            calls_per_day=100,
            tokens_per_day=100_000,
            files={},
        )

    def live(self, file: UseCaseFile | None = None) -> str:
        """Have a use case accepted and released; returns its subject."""
        subject = self.accepted(file)
        digest, number = self.built(subject)
        self.grant(self.asked(lambda: go_live(self.governor, "leo.fischer", subject, digest, number)))
        assert self.standing(subject).stage == "live"
        return subject

    def standing(self, subject: str) -> Standing:
        with self.engine.connect() as connection:
            found = read_standing(connection, subject)
        assert found is not None, subject
        return found

    def approval(self, approval: str) -> Approval:
        with self.engine.connect() as connection:
            found = read_approval(connection, approval)
        assert found is not None, approval
        return found

    def events(self, kind: str = "") -> list[Event]:
        query = select(t.event.c.entry).order_by(t.event.c.seq)
        with self.engine.connect() as connection:
            every = [unseal(entry) for entry in connection.execute(query).scalars()]
        return [e for e in every if kind in {"", e.kind}]

    def kept(self, digest: str) -> Any:
        with self.engine.connect() as connection:
            return json.loads(read_blob(connection, digest))

    def sound(self) -> None:
        """Assert that the ledger verifies, and that its read tables are what it says."""
        assert verify_ledger(self.engine) == self.ledger.size()
        assert compare_read_tables(self.engine, self.ledger.projector) == []

    def _may_vote(self, approval: Approval, index: int, body: str) -> list[str]:
        stage = approval.stages[index]
        with self.engine.connect() as connection:
            model = self.ledger.model_of(connection)
        assert model is not None, body
        barred = {approval.requester, approval.owner}
        return [p for p in model.authority.voters(stage, approval.domain) if p not in barred]
