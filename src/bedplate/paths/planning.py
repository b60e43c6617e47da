"""Planning the portfolio: ideas and use cases weighed by the operating model and by how the data stands now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from bedplate.data.views import contract_states
from bedplate.errors import Conflict
from bedplate.kernel.clock import DAY, rfc3339
from bedplate.portfolio.balance import Bucket, Trap, buckets, trap
from bedplate.portfolio.ideas import ideas, newest, places_at
from bedplate.portfolio.likeness import Text, alike
from bedplate.portfolio.pool import Pool, choices, limits_of, of_idea, pool, targets_of
from bedplate.portfolio.rank import Contract, Moved, Ranked, Scale, rank, sensitivity, weights_of
from bedplate.portfolio.scaffold import scaffold
from bedplate.portfolio.select import Difference, Limits, Selected, compare, remaining, select
from bedplate.portfolio.views import use_cases

from . import views

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Engine

    from bedplate.kernel.model import OperatingModel
    from bedplate.portfolio.idea import Idea, IdeaFile
    from bedplate.portfolio.likeness import Alike
    from bedplate.portfolio.rank import Part, Proposal
    from bedplate.portfolio.views import UseCase

WINDOWS = (30, 90)  # days back
_latest: WeakKeyDictionary[Engine, tuple[object, Table]] = WeakKeyDictionary()  # pages with a thousand use cases


@dataclass(frozen=True)  # without slots: what is reckoned once is kept in it
class Table:
    """Everything that planning looks at, read once."""

    model: OperatingModel
    ideas: tuple[Idea, ...]
    cases: tuple[UseCase, ...]
    contracts: Mapping[str, Contract]
    pool: Pool
    scale: Scale
    weights: Mapping[Part, int]

    @cached_property
    def ranking(self) -> list[Ranked]:
        """Rank what is not live yet: open ideas, and what was taken up."""
        return rank(self.pool.open + self.pool.committed, self.scale, self.weights)

    @cached_property
    def sensitivity(self) -> list[Moved]:
        """Tell what becomes of that order when a weight moves."""
        return sensitivity(self.pool.open + self.pool.committed, self.scale, self.weights)

    def scope(self, *, open_too: bool) -> tuple[Proposal, ...]:
        """Return what was decided for, with the open ideas or without."""
        return self.pool.portfolio + (self.pool.open if open_too else ())

    def buckets(self, *, open_too: bool = False) -> list[Bucket]:
        """Set the three buckets beside their targets."""
        return buckets(self.scope(open_too=open_too), targets_of(self.model))

    def trap(self, *, open_too: bool = False) -> Trap:
        """Look for the trap."""
        return trap(self.scope(open_too=open_too), self.contracts)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a selection is asked with; what is left out is the operating model's. `aim`: value or score."""

    days: int | None = None
    cents: int | None = None
    hard: bool | None = None
    must: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    aim: str = "value"


@dataclass(frozen=True, slots=True)
class Plan:
    """A selection of open ideas, with the limits it was given and what was committed before."""

    setting: Setting
    limits: Limits
    committed: tuple[Proposal, ...]
    selected: Selected


@dataclass(frozen=True, slots=True)
class Move:
    """One use case's way over the 2×2 within a window: from where ("" for new) to where."""

    case: UseCase
    before: tuple[str, str]  # impact, autonomy; two "" when it was not there
    tier_before: int
    days: int


def table(engine: Engine, model: OperatingModel, now: int) -> Table:
    """Read everything that planning looks at; what was read last is kept while nothing of it changed."""
    contracts = contracts_now(engine, now)
    key = (newest(engine), model.digest, tuple(contracts.values()))
    before = _latest.get(engine)
    if before is not None and before[0] == key:
        return before[1]
    found, cases = ideas(engine), use_cases(engine)
    weighed = pool(found, cases, model)
    held = Table(model, tuple(found), tuple(cases), contracts, weighed, Scale(model, contracts), weights_of(model))
    _latest[engine] = (key, held)
    return held


def contracts_now(engine: Engine, now: int) -> dict[str, Contract]:
    """Return how every data contract stands, by id."""
    return {
        name: Contract(c.id, c.title, c.state, c.passed_permille, c.mend_days)
        for name, c in contract_states(engine, now).items()
    }


def choose(held: Table, setting: Setting) -> Plan:
    """Choose among the open ideas, within what is left by what was taken up already."""
    limits = limits_of(held.model, setting.days, setting.cents)
    if setting.hard is not None:
        limits = limits.made(hard=setting.hard)
    committed = held.pool.committed
    standing = {t: sum(p.tier == t for p in held.pool.running) for t in held.model.tiers}
    left = remaining(limits, choices(committed), standing)
    scores = {r.proposal.id: r for r in held.ranking} if setting.aim == "score" else None
    chosen = select(
        choices(held.pool.open, scores),
        left,
        must=setting.must,
        without=setting.without,
        done=[p.id for p in held.pool.portfolio],
    )
    return Plan(setting, left, committed, chosen)


def what_if(held: Table, before: Setting, after: Setting) -> tuple[Plan, Plan, Difference]:
    """Set two selections side by side."""
    one, other = choose(held, before), choose(held, after)
    return one, other, compare(one.selected, other.selected)


def weigh_one(held: Table, file: IdeaFile) -> Ranked:
    """Return an idea's score and the place that it has, or would take, among what is not live yet."""
    mine = of_idea(file, held.model)
    for known in held.ranking:
        if replace(known.proposal, stage=mine.stage) == mine:
            return known
    rest = [p for p in held.pool.open + held.pool.committed if p.id != file.id]
    ranked = rank([*rest, mine], held.scale, held.weights)
    return next(r for r in ranked if r.proposal.id == file.id)


def like(engine: Engine, held: Table, file: IdeaFile) -> list[Alike]:
    """List ideas, use cases and golden paths that are like an idea."""
    purposes = {c.subject: c for c in held.cases}
    texts = [_text(i.file) for i in held.ideas]
    texts += [Text(c.subject, c.title, c.purpose, c.domain) for c in held.cases if c.id != file.id]
    for path in views.paths(engine):
        proven = purposes.get(path["subject"])
        words = f"{proven.title} {proven.purpose}" if proven is not None else ""
        texts.append(Text(f"path/{path['name']}", path["name"].replace("-", " "), words))
    return alike(_text(file), texts)


def movement(engine: Engine, cases: Sequence[UseCase], now: int, days: int) -> list[Move]:
    """List what moved over the 2×2 within so many days, and what is new on it."""
    then, today = places_at(engine, now - days * DAY), places_at(engine, now)
    found = []
    for case in cases:
        place, before = today.get(case.subject), then.get(case.subject)
        if place is None or case.stage in {"retired", "declined"}:
            continue
        if before is None:
            found.append(Move(case, ("", ""), 0, days))
        elif (before.impact, before.autonomy) != (place.impact, place.autonomy):
            found.append(Move(case, (before.impact, before.autonomy), before.tier, days))
    return found


def draft(held: Table, idea: Idea) -> str:
    """Return the first draft of the use case's file; `Conflict` unless the idea was taken up."""
    if idea.state != "taken-up":
        raise Conflict(f"the idea {idea.id} is {idea.state}", hint=f"have it taken up: bedplate idea decide {idea.id}")
    people = held.model.authority.people.values()
    owners = [p.id for p in people if any((s.role, s.domain) == ("owner", idea.domain) for s in p.seats)]
    owner = next((p for p in owners if p in idea.proposers), owners[0] if owners else "NOBODY-YET")
    sponsors = [p.id for p in people if any((s.role, s.domain) == ("sponsor", idea.domain) for s in p.seats)]
    chairs = [p.id for p in people if any((s.body, s.role) == ("board", "chair") for s in p.seats)]
    sponsor = (sponsors + chairs + ["NOBODY-YET"])[0]
    ready, _ = held.scale.parts(of_idea(idea.file, held.model))["data"]
    day = rfc3339(idea.decided_at)[:10]
    return scaffold(idea, owner=owner, sponsor=sponsor, data_score=max(1, ready.mid // 200), day=day)


def _text(file: IdeaFile) -> Text:
    return Text(file.subject, file.title, f"{file.purpose} {file.value.hypothesis}", file.domain)
