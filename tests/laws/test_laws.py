"""The laws of the house (docs/design). Each of these fails if its law is broken."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import pytest
from sqlalchemy import delete, insert, update
from tests.laws.conftest import ROOT, SOURCE, fast_door
from tests.laws.freeze import ENTRIES, fields, frozen

from bedplate.bootstrap import MANIFESTS, PROJECTIONS
from bedplate.document import InvalidDocument, parse
from bedplate.errors import Conflict, Denied, InvalidInput, NeedsApproval, Unavailable
from bedplate.incidents.actions import suspend
from bedplate.kernel.action import Action, Attempt, Phase
from bedplate.kernel.approval import MAY_DECIDE, Stage
from bedplate.kernel.authority import Authority, Person, Seat
from bedplate.kernel.clock import DAY
from bedplate.kernel.control import Control, Fail, Finding, Pass, fires
from bedplate.kernel.decision import Allow, Ask, Case, Deny, decide
from bedplate.kernel.event import canonical, unseal
from bedplate.kernel.evidence import Evidence
from bedplate.kernel.manifest import Catalogue, Manifest, catalogue
from bedplate.kernel.standing import Rung, Standing
from bedplate.people.blank import blank_model
from bedplate.people.stage import STAGES
from bedplate.people.structure import OperatingModelFile
from bedplate.portfolio.governance import PROPOSE
from bedplate.portfolio.usecase import UseCaseFile
from bedplate.releases.actions import gate, go_live
from bedplate.releases.gate import passes
from bedplate.releases.governance import GO_LIVE
from bedplate.store import tables as t
from bedplate.store.fsck import compare_read_tables
from bedplate.store.projector import Projector
from bedplate.testing import Answers, MemoryLedger, MemoryRecorder, ScriptedUpstream, SettableClock, found, small_model

if TYPE_CHECKING:
    from tests.conftest import House
    from tests.laws.conftest import FastDoor, Sources

    from bedplate.kernel.event import Value
    from bedplate.store.ledger import SqlLedger

PHASES: tuple[Phase, ...] = get_args(Phase)
CATALOGUE = catalogue(MANIFESTS)
TEMPLATES = [*STAGES]


def refusing(phase: Phase, *actions: str) -> Control:
    """Make a control that refuses everything of its phase."""
    return Control("no", phase, "refuses", lambda _: Fail("never", "nothing"), _case, actions, always=True)


def raising(case: Case) -> Finding:
    raise OSError(case.attempt.subject)


def _case(**changes: Any) -> Case:
    action = changes.pop("action", Action("test.do", "test:it:do", "Do it."))
    standing = Standing("usecase/one", 1, "One", "hr-owner", "people", "low", "assistive", 1, "live", "r", Rung.ACT)
    model = replace(small_model(), authority=Authority(ANN, {"test:it:do": ("domain.owner",)}))
    attempt = Attempt(action, changes.pop("actor", "ann"), "usecase/one", changes.pop("facts", {}))
    return replace(Case(attempt, 1_000, model, standing), **changes)


ANN = {"ann": Person("ann", "Ann", (Seat("domain", "owner", "people"),))}


# 1


def test_law_1_one_door_nothing_else_writes(sources: Sources) -> None:
    """Rows are written by the ledger, by the projector with every plane's handlers, and three kept tables beside it."""
    writers: dict[str, set[str]] = {}
    for file, call in sources.calls():
        match call.func:
            case ast.Name(id="insert" | "update" | "delete" | "upsert"):
                writers.setdefault(file, set()).add(ast.unparse(call.args[0 if call.func.id != "upsert" else 1]))
            case _:
                continue
    handlers = {file for file in writers if file.endswith("/tables.py")}
    assert writers.pop("store/ledger.py") == {"t.event", "t.node", "t.head", "t.blob"}
    assert writers.pop("store/projector.py") == {"table", "t.standing", "t.approval", "t.evidence", "t.model"}
    assert writers.pop("store/anchor.py") == {"t.checkpoint"}
    assert writers.pop("people/attempt.py") == {"attempt"}  # kept beside it; what is limited is on record
    assert writers.pop("gateway/usage.py") == {"usage", "usage_cursor"}  # a sum over the journal, made anew to compare
    shells = {file for file in writers if file.startswith(("api/", "console/", "cli/"))}
    assert {target for file in shells for target in writers[file]} <= {
        "passwords",
        "password",
    }  # hashes, kept beside it
    assert set(writers) == handlers | shells


def test_law_1_one_door_handlers_write_only_tables_that_can_be_rebuilt(sources: Sources) -> None:
    """A plane's handlers run only in the projector, and touch only tables that their projection declares."""
    declared = {table.name for p in PROJECTIONS for table in p.tables}
    for file, call in sources.calls():
        if file.endswith("/tables.py") and isinstance(call.func, ast.Name) and call.func.id in {"insert", "update"}:
            target = ast.unparse(call.args[0])
            assert target in declared | {"table"}, f"{file} writes {target}"
    assert sources.calling("rebuild") == {"store/fsck.py"}
    for file, tree in sources.trees.items():
        named = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        raw = [s for s in named if re.search(r"\b(INSERT INTO|UPDATE \w+ SET|DELETE FROM|REPLACE INTO)\b", s)]
        names = "|".join(table.name for table in t.metadata.tables.values())
        touched = [s for s in raw if re.search(rf"\b(INTO|UPDATE|FROM)\s+\"?({names})\b", s)]
        assert not touched or file in OWN_FILES, f"{file} writes governed tables in SQL of its own: {touched}"


OWN_FILES = {"store/group.py", "store/journal.py", "store/shard.py", "store/vault.py"}  # theirs is not this database


def test_law_1_one_door_only_the_governor_appends(sources: Sources) -> None:
    appending = {file for file, call in sources.calls() if any(keyword.arg == "authz" for keyword in call.keywords)} - {
        "kernel/event.py",
        "testing.py",
    }
    assert appending == {"kernel/governor.py", "store/ledger.py"}  # the ledger seals what the governor appends
    inside = [c for f, c in sources.calls() if f == "store/ledger.py" and any(k.arg == "authz" for k in c.keywords)]
    assert [ast.unparse(c.func) for c in inside] == ["seal"]
    assert sources.calling("transaction") <= {"kernel/governor.py", "testing.py"}


def test_law_1_one_door_no_event_no_change(house: House) -> None:
    """What fails in the middle leaves nothing: no event, no read table, no content, no checkpointed head."""
    before, size = _dump(house), house.ledger.size()

    def fails() -> None:
        with house.governor.act("leo.fischer", PROPOSE, "usecase/x", facts=PEOPLE) as act:
            act.keep(b"content that must not stay")
            act.record("portfolio.usecase.declined", {"reason": "x", "by": "x"})
            raise ZeroDivisionError

    def malformed() -> None:
        with house.governor.act("leo.fischer", PROPOSE, "usecase/x", facts=PEOPLE) as act:
            act.keep(b"neither this")
            act.record("portfolio.usecase.declined", {"reason": "x", "by": "x"})
            act.record("portfolio.usecase.declined", {"reason": 1, "by": "x"})

    with pytest.raises(ZeroDivisionError):
        fails()
    with pytest.raises(InvalidInput):
        malformed()
    assert (_dump(house), house.ledger.size()) == (before, size)
    house.live()
    house.sound()


PEOPLE: dict[str, Value] = {"domain": "people"}


def _dump(house: House) -> object:
    with house.engine.connect() as connection:
        blobs = connection.execute(t.blob.select()).all()
        return house.ledger.projector.dump(connection), connection.execute(t.head.select()).all(), blobs


# 2


def test_law_2_one_verdict_is_given_in_one_place(sources: Sources) -> None:
    # `supposed` decides what nobody attempts: what a proposed model would mean.
    assert sources.calling("decide") == {
        "kernel/governor.py",
        "kernel/supposed.py",
        "gateway/door.py",
        "agents/judge.py",
    }
    assert sources.calling("Allow") == {"kernel/decision.py"}
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for file in ("decision", "control", "authority", "approval", "risk", "standing", "evidence", "action")
        for node in ast.walk(sources.trees[f"kernel/{file}.py"])
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    allowed = {"__future__", "dataclasses", "enum", "typing", "collections.abc", "hashlib"}
    siblings = {p.stem for p in (SOURCE / "kernel").glob("*.py")}
    assert imported <= allowed | siblings, "the decision reads no clock, no file and no network"


@pytest.mark.parametrize("phase", PHASES)
def test_law_2_one_verdict_for_every_phase(phase: Phase) -> None:
    action = Action("test.do", "test:it:do", "Do it.", phase)
    controls = (refusing(phase),)
    verdict = decide(_case(action=action), controls)
    assert isinstance(verdict, Deny)
    assert verdict.reasons[0].control == "no"
    assert isinstance(decide(_case(action=action), ()), Allow)
    if phase == "call":
        assert fast_door(more=controls).ask().status == 403
        assert fast_door(more=(replace(controls[0], phase="change"),)).ask().status == 200
        return
    governor = found(MemoryLedger(_with(CATALOGUE, controls), SettableClock()), None)
    with pytest.raises(Denied) as denied, governor.act("hr-owner", replace(action, registered=False), "x/y"):
        pytest.fail("the door was open")
    assert "no" in denied.value.controls or "authority" in denied.value.controls
    case, answer = governor.judge("hr-owner", replace(action, registered=False, own=True), "person/hr-owner")
    assert governor.controls(case) == controls
    assert isinstance(answer, Deny)


def test_law_2_one_verdict_says_why_and_what_to_do() -> None:
    for control in CATALOGUE.controls.values():
        finding = control.check(control.canary())
        assert isinstance(finding, Fail), control.name
        assert finding.reason.strip(), control.name
        assert finding.fix.strip(), control.name
    asks = Action("test.do", "test:it:do", "Do it.", stages=lambda _: (Stage("board", "policy"),))
    for case in (_case(model=None), _case(actor="bob"), _case(standing=None), _case(action=asks)):
        verdict = decide(case, ())
        assert isinstance(verdict, Deny | Ask)
        assert all(r.control and r.why and r.fix for r in verdict.reasons)


def _with(declared: Catalogue, controls: tuple[Control, ...]) -> Catalogue:
    return replace(declared, controls={c.name: c for c in controls})


# 3


def test_law_3_fail_closed() -> None:
    breaks = Control("breaks", "change", "doc", raising, _case, always=True)
    silent = Control("silent", "change", "doc", lambda _: None, _case, always=True)  # type: ignore[arg-type,return-value]  # that is the point
    unreadable = Action("test.do", "test:it:do", "Do it.", stages=lambda case: case.attempt.facts["gone"])  # type: ignore[arg-type,return-value]  # as above
    for case, controls in (
        (_case(standing=None), ()),
        (_case(model=None), ()),
        (_case(actor="nobody"), ()),
        (_case(standing=Standing("usecase/one", domain="people")), ()),
        (_case(), (breaks,)),
        (_case(), (silent,)),
        (_case(action=unreadable), ()),
    ):
        assert isinstance(decide(case, controls), Deny)


def test_law_3_fail_closed_at_the_gateway() -> None:
    stale, unknown, broken, away = fast_door(), fast_door(), fast_door(), fast_door()
    stale.follower._proved -= 3_600
    assert stale.ask().status == 403
    unknown.snapshot = replace(unknown.snapshot, size=2, standings={})
    unknown.follower.look()
    assert unknown.ask().status == 403
    broken.now(facts={})  # review-current cannot read when it went live
    assert broken.ask().status == 403
    away.recorder.healthy = False
    assert away.ask().status == 503
    assert [d.upstream.seen for d in (stale, unknown, broken, away)] == [[], [], [], []]


def test_law_3_fail_closed_when_the_ledger_is_away() -> None:
    ledger = MemoryLedger(CATALOGUE, SettableClock())
    governor = found(ledger)
    ledger.away = Unavailable("gone")
    with pytest.raises(Unavailable), governor.act("coe-lead", PROPOSE, "usecase/x", facts=PEOPLE):
        pytest.fail("nothing may happen that is not recorded")


# 4


def test_law_4_separated_accountability(house: House) -> None:
    assert {"business-risk", "policy"}.isdisjoint(MAY_DECIDE["coe"])
    assert {"technical"}.isdisjoint(MAY_DECIDE["board"])
    subject = house.accepted(house.tier(4))
    digest, number = house.built(subject)
    approval = house.asked(lambda: go_live(house.governor, "mara.quinn", subject, digest, number))
    for barred in ("mara.quinn", "leo.fischer", "gwen.parry", "hanna.osei", "victor.lam", "operator", "system", "no"):
        with pytest.raises(Denied):
            house.vote(barred, approval)
    assert house.vote("priya.raman", approval).votes[-1].stage == 0
    with pytest.raises(Denied):  # neither twice in her stage nor in the board's
        house.vote("priya.raman", approval)
    for person in ("jonas.weber", "ruth.adeyemi"):
        assert house.vote(person, approval).state == "asked"
    assert house.standing(subject).stage == "accepted"
    assert house.vote("tomas.lindgren", approval).state == "granted"
    assert house.standing(subject).stage == "live"


def test_law_4_separated_accountability_of_whoever_becomes_or_became_the_owner(house: House) -> None:
    """The owner is whoever owns it when the vote is cast, and whoever would own it by what is voted on."""
    seats = "seats: [domain.approver@people, domain.owner@people]"
    house.apply(house.model_file(lambda text: text.replace("seats: [domain.approver@people]", seats)))
    hanna = house.propose(house.use_case(owner="hanna.osei"))
    with pytest.raises(Denied, match="owner"):
        house.vote("hanna.osei", hanna)


def test_law_4_separated_accountability_outlives_a_role_change(house: House) -> None:
    subject = house.accepted(house.tier(3))
    digest, number = house.built(subject)
    approval = house.asked(lambda: go_live(house.governor, "leo.fischer", subject, digest, number))
    house.vote("priya.raman", approval)
    new = "seats: [coe.member]\n  - id: new.person\n    name: New\n    seats: [coe.chair]"
    text = ("name: Priya Raman\n    seats: [coe.chair]", "name: Priya Raman\n    seats: [audit.reader]")
    house.apply(house.model_file(lambda m: m.replace(*text).replace("seats: [coe.member]", new)), by="jonas.weber")
    assert house.approval(approval).votes[0].seat == "coe.chair"
    assert house.vote("ruth.adeyemi", approval).state == "granted"


def test_law_4_separated_accountability_waived_only_in_sight() -> None:
    """Solo is a posture of the model; each vote that needed it says so, and so does the approval."""
    text = blank_model("One Ltd", SOLO).replace("posture: standard", "posture: solo")
    text = text.replace(", quorum: 2", "").replace("audit", "audit")
    ledger = MemoryLedger(CATALOGUE, SettableClock())
    model = parse(text, "m.yaml").read(OperatingModelFile)
    governor = found(ledger, model)
    asks = Action("test.do", "portfolio:usecase:propose", "Do.", registered=False, stages=lambda _: BOTH)
    with pytest.raises(NeedsApproval) as asked, governor.act("me", asks, "x/y", facts={"domain": "people"}):
        pytest.fail("nobody agreed")
    assert governor.vote("me", asked.value.approval, yes=True, reason="").solo
    assert governor.vote("me", asked.value.approval, yes=True, reason="").state == "granted"
    assert [e.data["solo"] for e in ledger.of("kernel.approval.voted")] == ["yes", "yes"]
    assert ledger.of("kernel.model.applied")[0].data["posture"] == "solo"


BOTH = (Stage("coe", "technical"), Stage("board", "business-risk"))
SOLO = (
    "domains:\n  - {id: people, name: People}\npeople:\n  - id: me\n    name: Me\n"
    "    seats: [board.chair, coe.chair, domain.owner@people, domain.approver@people]\n"
)


# 5


def test_law_5_approvals_bind_content(house: House) -> None:
    subject = house.accepted()
    first, number = house.built(subject)
    approval = house.asked(lambda: go_live(house.governor, "leo.fischer", subject, first, number))
    second, next_number = house.built(subject, prompt="another")
    newer = house.asked(lambda: go_live(house.governor, "leo.fischer", subject, second, next_number))
    assert (house.approval(approval).state, house.approval(newer).state) == ("voided", "asked")
    with pytest.raises(Conflict, match="voided"):
        house.vote("hanna.osei", approval)
    house.clock.advance(14 * DAY)
    with pytest.raises(Conflict, match="expired"):
        house.vote("hanna.osei", newer)
    assert house.standing(subject).stage == "accepted"


def test_law_5_approvals_are_spent_before_the_effect_once(house: House) -> None:
    subject = house.accepted()
    digest, number = house.built(subject)
    approval = house.asked(lambda: go_live(house.governor, "leo.fischer", subject, digest, number))
    house.governor.vote("hanna.osei", approval, yes=True, reason="")
    with pytest.raises(ZeroDivisionError), house.governor.act("leo.fischer", GO_LIVE, subject, facts=_live(digest)):
        raise ZeroDivisionError
    assert house.approval(approval).state == "granted"  # what fails has spent nothing
    go_live(house.governor, "leo.fischer", subject, digest, number)
    assert house.approval(approval).state == "spent"
    spent, effect = house.events("kernel.approval.spent")[-1], house.events("releases.release.live")[-1]
    assert spent.seq + 1 == effect.seq
    assert effect.authz["approval"] == approval
    with pytest.raises((Conflict, NeedsApproval)):
        go_live(house.governor, "leo.fischer", subject, digest, number)
    suspend(house.governor, "mara.quinn", subject, "look")
    with pytest.raises(Denied):
        go_live(house.governor, "leo.fischer", subject, digest, number)
    assert len(house.events("releases.release.live")) == 1


def _live(digest: str) -> dict[str, Value]:
    return {"release": digest, "number": 1}


# 6


@pytest.mark.parametrize("tier", [1, 2, 3, 4])
def test_law_6_durable_before_answered(tier: int) -> None:
    made = fast_door(tier)
    made.recorder.fails = Unavailable("the journal is gone")
    answer = made.ask("hello there")
    assert answer.status == 503
    assert "choices" not in (answer.body or {})
    assert made.recorder.records == []
    made.recorder.fails = None
    answer = made.ask("hello there")
    assert answer.status == 200
    assert made.recorder.kinds[-1] == "call.completed"


def test_law_6_durable_before_the_last_byte() -> None:
    """A stream ends only after its record; one whose record fails says so and never ends well."""
    upstream = ScriptedUpstream(Answers("one two three"))
    made = fast_door(upstream=upstream)
    pieces = made.events()
    assert pieces[-1].endswith(b"data: [DONE]\n\n")
    assert made.recorder.kinds == ["call.completed"]
    broken = fast_door(recorder=MemoryRecorder())
    broken.recorder.fails = Unavailable("the journal is gone")
    pieces = broken.events()
    assert b"[DONE]" not in b"".join(pieces)
    assert b"unavailable" in pieces[-1]


@pytest.mark.parametrize(("tier", "before"), [(1, []), (2, []), (3, ["call.intent"]), (4, ["call.intent"])])
def test_law_6_intent_is_durable_before_the_upstream_is_called(tier: int, before: list[str]) -> None:
    recorder, seen = MemoryRecorder(), []
    upstream = ScriptedUpstream(Answers("yes"), arrived=lambda _: seen.append(recorder.kinds))
    assert fast_door(tier, upstream=upstream, recorder=recorder).ask().status == 200
    assert seen == [before]
    recorder.fails = Unavailable("the journal is gone")
    assert fast_door(tier, upstream=upstream, recorder=recorder).ask().status == 503
    assert len(upstream.seen) == (1 if before else 2), "an assured call whose intent is not on record is not made"


# 7


def test_law_7_evidence_by_construction() -> None:
    """The word is printed nowhere: what is shown is which control is proven, stale, contradicted or not evidenced."""
    word = re.compile(r"\bcompliant\b", re.IGNORECASE)
    shipped = [p for folder in (SOURCE, ROOT / "examples") for p in folder.rglob("*") if p.is_file()]
    ours = [p for p in shipped if "vendor" not in p.parts and p.suffix not in {".pyc", ".woff2", ".png", ".ico"}]
    assert len(ours) > 100
    assert [str(p) for p in ours if word.search(p.read_text(errors="replace"))] == []


def test_law_7_nothing_is_complete_with_a_hole_in_it(house: House) -> None:
    subject = house.accepted(house.tier(4))
    whole, _ = house.built(subject, prompt="whole")
    assert passes(gate(house.governor, "leo.fischer", subject, whole))
    for name in house.model.tiers[4].controls & CATALOGUE.controls.keys():
        if CATALOGUE.controls[name].phase != "release":
            continue
        digest, number = house.built(subject, without=name, prompt=name)
        lines = gate(house.governor, "leo.fischer", subject, digest)
        assert [(line.control, line.state) for line in lines if line.state != "proven"] == [(name, "not evidenced")]
        assert not passes(lines)
        with pytest.raises(Denied) as denied:
            go_live(house.governor, "leo.fischer", subject, digest, number)
        assert denied.value.controls == (name,)


# 8


@pytest.mark.parametrize("stage", TEMPLATES)
def test_law_8_declared_means_enforced(stage: str) -> None:
    file = parse(blank_model("Example", stage=stage), stage).read(OperatingModelFile)
    named = {name for tier in file.tiers for name in tier.controls}
    assert named <= CATALOGUE.controls.keys()
    always = {c.name for c in CATALOGUE.controls.values() if c.always}
    assert named | always == CATALOGUE.controls.keys(), "a control that no tier ever owes is not declared"
    for control in CATALOGUE.controls.values():
        assert fires(control), control.name
        assert not isinstance(control.check(control.canary()), Pass)
        assert set(control.actions) <= CATALOGUE.actions.keys(), control.name
    needed = {a.needs for a in CATALOGUE.actions.values()}
    assert set(file.permissions) == needed, "every permission of the template guards an action, and the reverse"


def test_law_8_declared_means_documented() -> None:
    page = (ROOT / "docs" / "design" / "controls.md").read_text()
    assert [name for name in CATALOGUE.controls if f"`{name}`" not in page] == []


def test_law_8_a_control_that_cannot_refuse_does_not_build() -> None:
    passing = Control("passes", "change", "doc", lambda _: Pass(), _case)
    undocumented = Control("undocumented", "change", "", lambda _: Fail("no", "no"), _case)
    for control in (passing, undocumented):
        with pytest.raises(InvalidInput, match=control.name):
            catalogue([Manifest("test", controls=(control,))])


@pytest.mark.parametrize("stage", [TEMPLATES[0], *(pytest.param(s, marks=pytest.mark.slow) for s in TEMPLATES[1:])])
def test_law_8_unknown_keys_are_errors(stage: str) -> None:
    examples = (ROOT / "examples").rglob("use-case.yaml")
    files: list[tuple[str, Any]] = [(blank_model("Example", stage=stage), OperatingModelFile)]
    files += [(path.read_text(), UseCaseFile) for path in examples]
    assert len(files) > 1
    for text, schema in files:
        body = schema.model_validate(parse(text, "f").read(schema).model_dump(exclude_none=True)).model_dump(
            exclude_none=True
        )
        for where in _objects(body):
            spoilt = json.loads(json.dumps(body))
            _at(spoilt, where)["surplus"] = "x"
            with pytest.raises(InvalidDocument, match=r"surplus|unknown|no such"):
                _read(spoilt, schema)


def _read(body: object, schema: Any) -> None:
    read = parse(json.dumps(body), "f").read(schema)
    if isinstance(read, OperatingModelFile):
        from bedplate.people.structure import dangling  # noqa: PLC0415  only where names are free

        if wrong := dangling(read, frozenset(CATALOGUE.controls), CATALOGUE.permissions):
            raise InvalidDocument([parse("a: b", "f").complain(path, message) for path, message in wrong])


def _objects(body: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(body, dict):
        return [where, *(found for key, inner in body.items() for found in _objects(inner, (*where, key)))]
    if isinstance(body, list):
        return [found for index, inner in enumerate(body[:1]) for found in _objects(inner, (*where, index))]
    return []


def _at(body: Any, where: tuple[Any, ...]) -> Any:
    for part in where:
        body = body[part]
    return body


# 9


def test_law_9_tiers_questions_and_permissions_are_data(sources: Sources) -> None:
    """No code asks which tier, question, seat or person it is."""
    template = parse(blank_model("Example"), "m").read(OperatingModelFile)
    data = {q.id for q in template.questions} | {t.name for t in template.tiers} | {p.id for p in template.people}
    for file, tree in sources.trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                tiers = any(isinstance(s, ast.Name | ast.Attribute) and _last(s) == "tier" for s in sides)
                whole = any(isinstance(s, ast.Constant) and isinstance(s.value, int) and s.value for s in sides)
                assert not (tiers and whole), f"{file}:{node.lineno} decides by a tier's number"
                assert "Tier." not in ast.unparse(node), f"{file}:{node.lineno} decides by a tier's name"
                texts = {s.value for s in ast.walk(node) if isinstance(s, ast.Constant) and isinstance(s.value, str)}
                assert data.isdisjoint(texts), f"{file}:{node.lineno} decides by {data & texts}"


def test_law_9_a_change_of_the_file_is_a_change_of_the_rules(house: House) -> None:
    cell = "{impact: low, autonomy: assistive, tier: 1}"
    retired = "portfolio:usecase:propose: [domain.owner, domain.engineer]"
    assert house.approval(house.propose()).stages == (Stage("domain", "ownership"),)
    house.apply(house.model_file(lambda text: text.replace(cell, cell.replace("tier: 1", "tier: 3"))))
    assert house.approval(house.propose()).stages == (Stage("coe", "technical"), Stage("board", "business-risk"))
    house.apply(house.model_file(lambda text: text.replace(retired, "portfolio:usecase:propose: [domain.owner]")))
    with pytest.raises(Denied, match="portfolio:usecase:propose"):
        house.propose()


def _last(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


# 10


def test_law_10_history_is_forward_only() -> None:
    """Kinds keep their fields in order; new ones go last. `python -m tests.laws.freeze` adds, and never changes."""
    known = frozen()
    for name, was in known.items():
        assert name in CATALOGUE.kinds, f"{name} was written once and must be read for ever"
        assert fields(CATALOGUE.kinds[name])[: len(was)] == was, name
    assert {n: fields(k) for n, k in CATALOGUE.kinds.items()} == known, "run: python -m tests.laws.freeze"


def test_law_10_every_event_ever_written_is_read(ledger: SqlLedger) -> None:
    lines = ENTRIES.read_bytes().splitlines()
    assert {unseal(line).kind for line in lines} == frozen().keys()
    with ledger.engine.connect() as connection, connection.begin() as transaction:
        for line in lines:
            event = unseal(line)
            assert canonical(json.loads(line)) == line
            assert event.data == json.loads(line)["data"]
            CATALOGUE.move(None, event)
            CATALOGUE.move(Standing(event.stream), event)
            Projector(CATALOGUE, PROJECTIONS).apply(connection, event)
        transaction.rollback()


def test_law_10_read_tables_are_rebuilt_and_compared(house: House) -> None:
    subject = house.live()
    house.sound()
    with house.engine.connect() as connection, connection.begin():
        connection.execute(update(t.standing).where(t.standing.c.subject == subject).values(tier=1, owner="someone"))
        connection.execute(delete(t.evidence))
        connection.execute(insert(t.model).values(id=2, digest="x", last_seq=0))
    assert compare_read_tables(house.engine, house.ledger.projector) == ["standing", "evidence", "model"]


def test_law_10_evidence_is_read_as_it_was_written(quick: FastDoor) -> None:
    """A contradiction stays one however old it is; proof does not outlive its date."""
    assert quick.ask().status == 200
    old = Evidence("c", "d", "contradicted", "s", 0, 10)
    assert old.state(1 << 62) == "contradicted"
    assert replace(old, outcome="proven").state(10) == "stale"
