"""The blast radius of a proposed operating model: everything on record that it would change, before it is adopted."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from bedplate.errors import InvalidInput
from bedplate.kernel.action import Attempt
from bedplate.kernel.decision import Allow, Ask, Case, Deny
from bedplate.kernel.event import canonical
from bedplate.kernel.model import load
from bedplate.kernel.risk import rate
from bedplate.kernel.standing import from_plain
from bedplate.kernel.supposed import owing, supposed
from bedplate.people.governance import APPLY_MODEL
from bedplate.people.reach import Reach, reach
from bedplate.releases.gate import evaluate
from bedplate.releases.governance import GO_LIVE
from bedplate.store import tables as t
from bedplate.store.reads import read_approvals, read_evidence

from .replay import AT_ONCE, RATED, Player, Replay, use_case_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Engine

    from bedplate.kernel.approval import Approval, Stage
    from bedplate.kernel.manifest import Catalogue
    from bedplate.kernel.model import OperatingModel
    from bedplate.kernel.standing import Standing
    from bedplate.store.shard import Shard

DAYS, MOST_DAYS = 30, 92  # of calls that are replayed


@dataclass(frozen=True, slots=True)
class Moved:
    """A use case whose tier the proposed questions or matrix change, from the moment its file is applied anew."""

    use_case: str
    title: str
    stage: str
    before: int
    after: int
    reasons: tuple[str, ...]

    @property
    def fix(self) -> str:
        """Say what has to be done for it to count."""
        again = "; it has to be released again" if self.after > self.before and self.stage == "live" else ""
        return f"it keeps its tier until its file is applied and accepted anew{again}"


@dataclass(frozen=True, slots=True)
class Unsettled:
    """An approval that is asked or granted and not spent, and what becomes of it. Bodies as `2 of coe`."""

    approval: str
    subject: str
    action: str
    summary: str
    state: str
    what: str  # voided, other bodies, would be denied, nobody left
    before: tuple[str, ...]
    after: tuple[str, ...]
    why: str
    fix: str


@dataclass(frozen=True, slots=True)
class Failing:
    """A control that a live release would not pass at the gate any more, and passes now."""

    use_case: str
    release: str
    when: str  # at once, or once it is rated anew
    control: str
    state: str
    why: str
    fix: str


@dataclass(frozen=True, slots=True)
class Blast:
    """Everything; `calls` is None where no call was replayed. What is at the gate hits with the next release."""

    digest: str
    tiers: tuple[Moved, ...]
    approvals: tuple[Unsettled, ...]
    people: tuple[Reach, ...]
    gates: tuple[Failing, ...]
    calls: Replay | None

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {**asdict(self), "tiers": [{**asdict(moved), "fix": moved.fix} for moved in self.tiers]}


@dataclass(frozen=True, slots=True)
class Ground:
    """What is looked at: the records, and the moment they are looked at."""

    engine: Engine
    catalogue: Catalogue
    shards: Mapping[str, Shard]
    now: int


def proposed(body: Mapping[str, Any]) -> OperatingModel:
    """Compile a proposed model from its plain form."""
    return load(body, hashlib.sha256(canonical(dict(body))).hexdigest())


def blast(ground: Ground, in_force: OperatingModel, after: OperatingModel, days: int = DAYS) -> Blast:
    """Compare the model in force with a proposed one on what is on record; `days` of calls, none for 0.

    `InvalidInput` for a span that may not be asked for.
    """
    if not 0 <= days <= MOST_DAYS:
        raise InvalidInput(f"{days} days of calls cannot be replayed", hint=f"ask for 0 to {MOST_DAYS}")
    with ground.engine.connect() as connection:
        standings = _standings(connection)
        moved = _moved(ground, standings, after)
        rated = {f"usecase/{m.use_case}": m.after for m in moved}
        approvals = [
            one for a in _open(connection) if (one := _unsettled(ground, connection, a, after, standings)) is not None
        ]
        gates = [
            line
            for standing in standings
            if standing.stage == "live" and standing.release
            for line in _failing(ground, connection, standing, (in_force, after), standings, rated)
        ]
    calls = None
    if days:
        calls = Player(ground.engine, ground.catalogue, ground.shards, ground.now, rated).play(in_force, after, days)
    return Blast(after.digest, tuple(moved), tuple(approvals), tuple(reach(in_force, after)), tuple(gates), calls)


def _standings(connection: Connection) -> list[Standing]:
    query = select(t.standing.c.body).where(t.standing.c.subject.startswith("usecase/")).order_by(t.standing.c.subject)
    return [from_plain(json.loads(body)) for body in connection.execute(query).scalars()]


def _open(connection: Connection) -> list[Approval]:
    query = select(t.approval.c.id).where(t.approval.c.state.in_(("asked", "granted"))).order_by(t.approval.c.asked_at)
    return read_approvals(connection, connection.execute(query).scalars().all())


def _moved(ground: Ground, standings: list[Standing], after: OperatingModel) -> list[Moved]:
    found = []
    for standing in standings:
        file = use_case_file(ground.engine, str(standing.facts.get("portfolio.spec", "")))
        if file is None or standing.stage in {"retired", "declined"}:
            continue
        rating = rate(after.questions, file.answers, after.matrix)
        if rating.tier != standing.tier:
            name = standing.subject.partition("/")[2]
            found.append(Moved(name, standing.title, standing.stage, standing.tier, int(rating.tier), rating.reasons))
    return found


def _unsettled(
    ground: Ground, connection: Connection, approval: Approval, after: OperatingModel, standings: list[Standing]
) -> Unsettled | None:
    """Decide what an approval was asked for under the proposed model; None if it would stand as it is."""
    action = ground.catalogue.actions.get(approval.action)
    if action is None or ground.now >= approval.expires or approval.facts.get("digest") == after.digest:
        return None
    standing = next((s for s in standings if s.subject == approval.subject), None)
    digest = str(approval.facts.get("release", ""))
    case = Case(
        Attempt(action, approval.requester, approval.subject, dict(approval.facts)),
        ground.now,
        after,
        standing,
        evidence=read_evidence(connection, approval.subject, digest) if digest else {},
        live=sum(s.stage == "live" and s.subject != approval.subject for s in standings),
    )
    verdict = supposed(ground.catalogue.controls.values(), case)
    before = _bodies(approval.stages)
    if isinstance(verdict, Deny):
        first = verdict.reasons[0]
        what = "voided" if approval.action == APPLY_MODEL.name else "would be denied"
        return _about(approval, what, before, (), first.why, first.fix)
    stages = verdict.stages if isinstance(verdict, Ask) else ()
    if isinstance(verdict, Allow) or stages != approval.stages:
        what = "voided" if approval.state == "granted" else "other bodies"
        why = "other bodies owe it then" if stages else "nobody has to agree to it any more"
        return _about(approval, what, before, _bodies(stages), why, "ask again, once the model is in force")
    missing = _unreachable(approval, after)
    if missing:
        return _about(approval, "nobody left", before, _bodies(stages), missing, "give somebody a seat, or ask again")
    return None


def _about(
    approval: Approval, what: str, before: tuple[str, ...], after: tuple[str, ...], why: str, fix: str
) -> Unsettled:
    return Unsettled(
        approval.id.removeprefix("approval/"),
        approval.subject,
        approval.action,
        approval.summary,
        approval.state,
        what,
        before,
        after,
        why,
        fix,
    )


def _unreachable(approval: Approval, after: OperatingModel) -> str:
    """Say which stage too few people would be left for; "" if all can be finished."""
    barred = {approval.requester, approval.owner, approval.facts.get("owner"), *(v.person for v in approval.votes)}
    if approval.state != "asked" or after.authority.posture == "solo":
        return ""
    for _, stage, lacking in approval.missing():
        left = [p for p in after.authority.voters(stage, approval.domain) if p not in barred]
        if len(left) < lacking:
            return f"{lacking} more of {stage.body} must vote, and {len(left)} would be left who may"
    return ""


def _bodies(stages: tuple[Stage, ...]) -> tuple[str, ...]:
    return tuple(f"{s.quorum} of {s.body} ({s.decides})" for s in stages)


def _failing(
    ground: Ground,
    connection: Connection,
    standing: Standing,
    models: tuple[OperatingModel, OperatingModel],
    standings: list[Standing],
    rated: Mapping[str, int],
) -> list[Failing]:
    """Put a live release before the gate of both models."""
    evidence = read_evidence(connection, standing.subject, standing.release)
    live = sum(s.stage == "live" and s.subject != standing.subject for s in standings)
    attempt = Attempt(GO_LIVE, standing.owner, standing.subject, {"release": standing.release})

    def lines(model: OperatingModel, tier: int) -> dict[str, tuple[str, str, str]]:
        case = Case(attempt, ground.now, model, replace(standing, tier=tier), evidence=evidence, live=live)
        found = evaluate(owing(ground.catalogue.controls.values(), case), case)
        return {line.control: (line.state, line.summary, line.fix) for line in found if line.state != "proven"}

    fails = lines(models[0], standing.tier)
    whens = [(AT_ONCE, standing.tier)]
    if standing.subject in rated:
        whens.append((RATED, rated[standing.subject]))
    found: list[Failing] = []
    for when, tier in whens:
        for control, told in lines(models[1], tier).items():
            if control not in fails:
                found.append(Failing(standing.subject.partition("/")[2], standing.release, when, control, *told))
                fails[control] = told
    return found
