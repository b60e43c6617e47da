"""Agents as people see them: what stops one, what waits for people, what an action stands on, what a stop reaches."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from bedplate.agents import actions
from bedplate.agents.governance import READ_ACTIONS, WINDOWS
from bedplate.agents.run import day_of
from bedplate.agents.stop import ALL, stopped
from bedplate.agents.tables import glimpse, parked
from bedplate.agents.taint import TASK, Provenance
from bedplate.agents.views import OPEN, PAGE
from bedplate.errors import BedplateError, Conflict, Denied, NotFound

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import Engine, Select

    from bedplate.agents.charter import Agent
    from bedplate.agents.door import AgentDoor
    from bedplate.agents.run import Step
    from bedplate.kernel.approval import Approval
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.standing import Standing

KEPT = {"denied": "", "parked": "/parked", "intent": "/intent"}  # under which the journal keeps arguments, by state
BEFORE = 5  # calls of the same tool that were carried out before
LOOKED = 40  # runs looked through for them
MOST_LEAVES = 200  # values of one call that are compared
STATES = ("asked", "granted", "spent", "refused", "edit", "answer", "take-over", "expired", "voided")


def plain_agent(door: AgentDoor, standing: Standing, agent: Agent) -> dict[str, Any]:
    """Return an agent as JSON-ready values, with what stops it."""
    parts = door.parts
    windows: Mapping[str, Any] = standing.facts.get(WINDOWS, {})  # type: ignore[assignment]  # as they were recorded
    now = parts.clock()
    return {
        "use_case": standing.subject.partition("/")[2],
        "agent": agent.id,
        "title": agent.title,
        "owner": agent.owner or standing.owner,
        "tools": sorted(agent.tools),
        "autonomy": agent.autonomy,
        "may_call": sorted(agent.may_call),
        "limits": asdict(agent.limits),
        "tier": standing.tier,
        "rung": standing.rung.name.lower(),
        "stopped": stopped(parts.sight.snapshot.standings.get(ALL)) or stopped(standing, agent.id),
        "suspended": standing.suspended,
        "breakers": parts.watch.open_of(standing.subject, agent.id),
        "windows": [w for w in windows.values() if w["agent"] == agent.id and w["until"] > now],
    }


def may_read(door: AgentDoor, person: str, subject: str) -> bool:
    """Tell whether somebody may read what agents of a use case did."""
    snapshot = door.parts.sight.snapshot
    standing = snapshot.standings.get(subject)
    domain = standing.domain if standing is not None else ""
    return snapshot.model is not None and snapshot.model.authority.allowed(person, READ_ACTIONS.needs, domain)


def must_read(door: AgentDoor, person: str, subject: str) -> None:
    """Refuse somebody who may not read what agents of a use case did."""
    if not may_read(door, person, subject):
        why = f"{person} may not read what agents of {subject} did"
        raise Denied(why, hint=f"it needs {READ_ACTIONS.needs}", reasons=(("authority", why, READ_ACTIONS.needs),))


def readable(door: AgentDoor, person: str) -> Collection[str] | None:
    """Name the use cases whose agents somebody may read about; None: all of them."""
    cases = [s for s in door.parts.sight.snapshot.standings if s.startswith("usecase/")]
    found = frozenset(s for s in cases if may_read(door, person, s))
    return None if len(found) == len(cases) else found


def arguments_of(door: AgentDoor, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the arguments of an action that waits or waited; None where they were erased."""
    try:
        return door.parts.people.arguments(row)
    except NotFound:
        return None


def looked(governor: Governor, person: str, approval: Approval) -> bool:
    """Note, once, that somebody looks at an action that waits; False if that cannot be noted now."""
    try:
        with suppress(Conflict):  # it was noted when they first looked
            actions.look(governor, person, approval)
    except BedplateError:
        return False
    return True


# What waits


@dataclass(frozen=True, slots=True)
class Sought:
    """Actions that somebody looks for; "" and 0 are any, `subjects` None all use cases."""

    state: str = "asked"
    subject: str = ""
    agent: str = ""
    tool: str = ""
    tier: int = 0
    run: str = ""
    subjects: Collection[str] | None = None


def queue(engine: Engine, sought: Sought, now: int, *, page: int = 1, size: int = PAGE) -> list[dict[str, Any]]:
    """List one page of actions: while they wait those that expire first first, else those asked last first."""
    order = parked.c.expires.asc() if sought.state in OPEN else parked.c.asked_at.desc()
    query = _sought(select(parked), sought)
    query = _in_state(query, sought.state, now).order_by(order, parked.c.approval).limit(size).offset((page - 1) * size)
    with engine.connect() as connection:
        return [_timely(dict(row._mapping), now) for row in connection.execute(query)]  # noqa: SLF001  public by documentation


def counts(engine: Engine, sought: Sought, now: int) -> dict[str, int]:
    """Count what is sought by state; what nobody answered in time is expired, whoever has noted it."""
    query = _sought(select(parked.c.state, func.count().label("n")).group_by(parked.c.state), sought)
    late = _sought(select(func.count()), sought).where(parked.c.state.in_(OPEN), parked.c.expires <= now)
    with engine.connect() as connection:
        found = {str(state): int(n) for state, n in connection.execute(query)}
        over = int(connection.execute(late).scalar_one())
    if over:
        found["expired"] = found.get("expired", 0) + over
        found["asked"] = max(0, found.get("asked", 0) - over)
    return found


def named(engine: Engine, sought: Sought) -> dict[str, list[str]]:
    """Name the agents and tools about which people were asked, to choose from."""
    with engine.connect() as connection:
        rows = connection.execute(_sought(select(parked.c.agent, parked.c.tool).distinct(), sought)).all()
    return {"agent": sorted({str(r.agent) for r in rows}), "tool": sorted({str(r.tool) for r in rows})}


def _sought(query: Select[Any], sought: Sought) -> Select[Any]:
    for column, value in (
        (parked.c.subject, sought.subject),
        (parked.c.agent, sought.agent),
        (parked.c.tool, sought.tool),
        (parked.c.tier, sought.tier),
        (parked.c.run, sought.run),
    ):
        if value:
            query = query.where(column == value)
    return query if sought.subjects is None else query.where(parked.c.subject.in_(sorted(sought.subjects)))


def _in_state(query: Select[Any], state: str, now: int) -> Select[Any]:
    if state == "any":
        return query
    if state == "expired":
        return query.where((parked.c.state == "expired") | (parked.c.state.in_(OPEN) & (parked.c.expires <= now)))
    query = query.where(parked.c.state == state)
    return query.where(parked.c.expires > now) if state in OPEN else query


def _timely(row: dict[str, Any], now: int) -> dict[str, Any]:
    return {**row, "state": "expired"} if row["state"] in OPEN and row["expires"] <= now else row


# What an action stands on


@dataclass(frozen=True, slots=True)
class Done:
    """A call of the same tool that was carried out before."""

    action: str
    run: str
    at: int
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Value:
    """One value among the arguments: what it is, what it was in calls before, and where the run has it from.

    `origin`: task (in the words of whoever asked), trusted, read (an outsider may have chosen it), nowhere.
    """

    path: str
    text: str
    before: tuple[str, ...]  # in the calls before, newest first; "" where it was not there
    origin: str = ""
    step: int = 0
    source: str = ""
    was: str = ""  # before a person changed it
    changed: bool = False

    @property
    def seen(self) -> int:
        """Count the calls before that had this very value."""
        return sum(one == self.text for one in self.before)

    @property
    def others(self) -> tuple[str, ...]:
        """List the other values it had, each once, newest first."""
        return tuple(dict.fromkeys(one for one in self.before if one and one != self.text))


def before(door: AgentDoor, subject: str, agent: str, tool: str, *, but: str = "") -> list[Done]:
    """Find the newest calls of a tool that an agent carried out, with their arguments where these are kept."""
    found: list[Done] = []
    store = door.parts.store
    for run in store.runs(subject=subject, agent=agent, limit=LOOKED):
        for step in reversed(store.steps(run.id)):
            if (step.tool, step.state) != (tool, "ok") or step.verdict == "deny":
                continue  # what waited for people and was carried out then has the verdict `ask`
            arguments = None if step.action == but else arguments_at(door, step)
            if arguments is not None:
                found.append(Done(step.action, run.id, step.at, arguments))
            if len(found) == BEFORE:
                return found
    return found


def arguments_at(door: AgentDoor, step: Step) -> dict[str, Any] | None:
    """Return the arguments of a step as far as they were kept: those it was carried out with, else those asked for."""
    if not step.action:
        return None
    for tail in (KEPT["intent"], KEPT["parked"], KEPT["denied"]):
        kept = door.parts.content(step.action + tail)
        if kept is not None and isinstance(kept.get("arguments"), dict):
            return dict(kept["arguments"])
    return None


def outcome_at(door: AgentDoor, step: Step) -> dict[str, Any] | None:
    """Return what became of a step as far as it was kept: what the tool returned, and what it said."""
    effect = door.parts.store.effect(step.action) if step.action else None
    kept = door.parts.content(effect.message) if effect is not None and effect.message else None
    return kept if kept is not None and "result" in kept else None


def values(
    door: AgentDoor, run: str, arguments: Mapping[str, Any], done: Sequence[Done], was: Mapping[str, Any] | None = None
) -> list[Value]:
    """Take arguments apart and say of each value where it comes from and what it was before."""
    told = Origins(door, run)
    earlier = [dict(leaves("", one.arguments)) for one in done]
    old = dict(leaves("", was)) if was is not None else {}
    found = []
    for path, value in list(leaves("", arguments))[:MOST_LEAVES]:
        origin, step, source = told.of(value)
        text = written(value)
        past = tuple(written(one[path]) if path in one else "" for one in earlier)
        changed = was is not None and (path not in old or written(old[path]) != text)
        found.append(
            Value(path, text, past, origin, step, source, written(old[path]) if path in old else "", changed=changed)
        )
    return found


class Origins:
    """Where the values of one run come from: what was asked for, and what was read."""

    def __init__(self, door: AgentDoor, run: str) -> None:
        rows, _ = door.parts.store.provenance(run)
        self._asked, self._whole = Provenance(door.parts.salt), Provenance(door.parts.salt)
        for row in rows:
            self._whole.add(row.atoms, row.trusted, row.step, row.source)
            if row.trusted and row.source == TASK:
                self._asked.add(row.atoms, row.trusted, row.step, row.source)

    def of(self, value: object) -> tuple[str, int, str]:
        """Return the origin of one value, the step that read it and from what."""
        if value is None or isinstance(value, bool) or value == "":
            return "", 0, ""
        one = {"value": value}
        found = self._whole.tainted(one, ("value",))
        if found and found[0].step:
            return "read", found[0].step, found[0].source
        if found:
            return "nowhere", 0, ""
        return ("trusted", 0, "") if self._asked.tainted(one, ("value",)) else ("task", 0, "")


def leaves(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield every value within arguments with its path; an empty list or object is a value."""
    if isinstance(value, dict) and (value or not name):
        for key, inner in value.items():
            yield from leaves(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list | tuple) and value:
        for number, inner in enumerate(value):
            yield from leaves(f"{name}.{number}" if name else str(number), inner)
    else:
        yield name, value


def written(value: object) -> str:
    """Write a value of JSON as a person reads it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "nothing"
    return str(value) if value not in ("", [], {}) else "(empty)"


# What a stop reaches


@dataclass(frozen=True, slots=True)
class Reach:
    """What a stop would hold up, or holds up: agents, runs in progress, actions that wait and were agreed to."""

    agents: tuple[tuple[str, str], ...]  # use case, agent
    runs: int
    asked: int
    granted: int
    actions_today: int
    at_least: bool = False  # more runs than were counted


def reach(door: AgentDoor, engine: Engine, subject: str, agent: str = "", *, most: int = 1_000) -> Reach:
    """Count what a stop of an agent, a use case or (`agents/all`) everything would reach."""
    store, now = door.parts.store, door.parts.clock()
    everything = subject == ALL
    charters = door.parts.sight.snapshot.charters
    agents = tuple(
        (case.partition("/")[2], name)
        for case, charter in sorted(charters.items())
        if everything or case == subject
        for name in sorted(charter.agents)
        if agent in {"", name}
    )
    running = store.runs(subject="" if everything else subject, agent=agent, state="running", limit=most)
    waiting = counts(engine, Sought(subject="" if everything else subject, agent=agent), now)
    day = day_of(now)
    done = sum(store.day(f"usecase/{case}", name, day).actions for case, name in agents)
    return Reach(
        agents, len(running), waiting.get("asked", 0), waiting.get("granted", 0), done, at_least=len(running) == most
    )


def looks(engine: Engine, approval: str) -> list[dict[str, Any]]:
    """List who looked at or answered one action, in that order."""
    query = select(glimpse).where(glimpse.c.approval == approval).order_by(glimpse.c.seen_at, glimpse.c.person)
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(query)]  # noqa: SLF001  as above
