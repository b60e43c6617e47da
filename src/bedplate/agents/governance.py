"""How actions are governed: what every tool call is checked against, stops, windows, and what people answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.approval import Approval, Stage
from bedplate.kernel.canary import model_for_canaries
from bedplate.kernel.clock import SECOND
from bedplate.kernel.control import Control, Fail, Finding, Pass
from bedplate.kernel.decision import Case
from bedplate.kernel.governance import VOTE
from bedplate.kernel.manifest import Kind, Manifest
from bedplate.kernel.standing import Rung, Standing

from .reviewer import LOWERED, lowered, lowers, restores
from .stop import DRILL_SCOPE, DRILLED, epoch_of, lifted, raised, stopped, tried
from .toolcall import READ

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.kernel.event import Event, Value

MINUTE = 60 * SECOND
MOST_PARKED = 20_000  # actions of one use case that wait for people
UNPROVEN = "agents.unproven"  # the fact: decoys that were let through
TRIPS = "agents.trips"  # the fact: breakers that are open, and why
WINDOWS = "agents.windows"  # the fact: what people agreed to beforehand, within bounds


def _asking(case: Case) -> tuple[Stage, ...]:
    return case.owed("act") if case.attempt.facts["asks"] else ()


def _agreeing(case: Case) -> tuple[Stage, ...]:
    return case.owed("act")


def _resuming(case: Case) -> tuple[Stage, ...]:
    return case.owed("resume")


def _board(_case: Case) -> tuple[Stage, ...]:
    return (Stage("board", "policy"),)


def _until(case: Case) -> int:
    return _plan_minutes(case) * MINUTE


def _plan_minutes(case: Case) -> int:
    if case.plan is None:
        raise ValueError("no tier")
    return case.plan.act_minutes


MAKE = "agents:action:make"
ACT = Action("agents.act", MAKE, "Do something with a tool, as an agent.", phase="act", stages=_asking)
DECOY = Action("agents.decoy", MAKE, "Try a forbidden action, to see whether it is stopped.", phase="act")
PERFORM = Action(
    "agents.perform",
    MAKE,
    "Do what people agreed to: this tool, these arguments, this once.",
    phase="act",
    stages=_agreeing,
    several=True,
    most=MOST_PARKED,
    keeps=True,
    lasts=_until,
)
READ_ACTIONS = Action("agents.read", "agents:action:read", "Read what agents did, and with what.")
SETTLE = Action("agents.settle", "agents:action:settle", "Answer, edit or take over an action that waits.")
CONCLUDE = Action("agents.conclude", "agents:action:settle", "Say what became of an action of which nobody knows it.")
STOP = Action("agents.stop", "agents:stop:raise", "Stop an agent, or all agents and calls of a use case.")
STOP_ALL = Action("agents.stopall", "agents:stop:raise", "Stop every agent.", registered=False)
LIFT = Action("agents.lift", "agents:stop:lift", "Let what was stopped go on.", stages=_resuming)
LIFT_ALL = Action("agents.liftall", "agents:stop:lift", "Let all agents go on.", registered=False, stages=_board)
DRILL = Action("agents.drill", "agents:stop:raise", "Record that a stop was tried, and how soon it was in force.")
TRIP = Action("agents.trip", "models:measure:record", "Record that a breaker opened.")
CLOSE = Action("agents.close", "agents:breaker:close", "Close a breaker that only a person may close.")
OPEN_WINDOW = Action(
    "agents.window",
    "agents:window:ask",
    "Let an agent do some things without asking each time, within bounds and until a moment.",
    stages=_agreeing,
    several=True,
)
END_WINDOW = Action("agents.shut", "agents:action:settle", "End what was agreed to beforehand.")
PROVE = Action("agents.prove", "models:measure:record", "Record whether a decoy was stopped.")
LOOK = Action("agents.look", "agents:action:read", "Note that somebody looks at an action that waits.")
SWEEP = Action("agents.sweep", "models:measure:record", "Close questions that a stop or another release voided.")
PLANT = Action("agents.plant", "models:measure:record", "Note that a known-bad action was put among those that wait.")
JUDGE = Action("agents.judge", "models:measure:record", "Say how a known-bad action was answered, and close it.")
REMIND = Action("agents.remind", "models:measure:record", "Tell people of an action that waits for them.")
LOWER = Action(
    "agents.lower", "models:measure:record", "Have somebody's answers about actions count no more.", registered=False
)
RESTORE = Action(
    "agents.restore",
    "people:training:record",
    "Have somebody's answers about actions count again: they were trained.",
    registered=False,
)

FAST = (ACT.name, DECOY.name)
ANSWERED = (PERFORM.name, OPEN_WINDOW.name)  # what only those decide about whose answers count


def _standing(case: Case) -> Standing:
    if case.standing is None:
        raise ValueError("no standing")
    return case.standing


def _fresh(case: Case) -> Finding:
    if case.plan is None:
        raise ValueError("no tier")
    if case.age > case.plan.lease_ms * 1000:
        return Fail(
            f"the standing is {case.age // 1000} ms old; this tier allows {case.plan.lease_ms} ms",
            "the database does not answer this process: see /readyz",
        )
    return Pass()


def _running(case: Case) -> Finding:
    standing = _standing(case)
    if standing.suspended:
        return Fail(f"suspended: {standing.suspended}", f"ask {standing.owner} or see bedplate resume")
    return Pass()


def _not_stopped(case: Case) -> Finding:
    standing, agent = _standing(case), str(case.attempt.facts["agent"])
    why = str(case.attempt.facts.get("stopped", "")) or stopped(standing, agent)
    if why:
        return Fail(f"stopped: {why}", "it goes on once the stop is lifted: bedplate stop --lift")
    return Pass()


def _epoch_current(case: Case) -> Finding:
    facts = case.attempt.facts
    asked, now = str(facts["epoch"]).partition("/")[2], epoch_of(_standing(case), str(facts["agent"]))
    if asked != now:
        return Fail("it was asked before a stop, which voided it", "have the agent ask anew")
    return Pass()


def _released(case: Case) -> Finding:
    standing = _standing(case)
    if standing.stage != "live" or not standing.release:
        return Fail(f"{standing.subject} is {standing.stage} and has no live release", "release it: bedplate release")
    asked = str(case.attempt.facts["release"])
    if asked != standing.release:
        return Fail("another release is live by now", "have the agent ask anew, under the release that is live")
    return Pass()


def _rung(case: Case) -> Finding:
    facts, standing = case.attempt.facts, _standing(case)
    rung = min(standing.rung, Rung[str(facts["autonomy"]).upper()])
    if rung is Rung.OFF:
        return Fail("its rung is off", f"ask {standing.owner}; a new approved release or a resumption raises it")
    if rung is Rung.READ and facts["class"] != READ:
        return Fail("its rung is read: only tools that read", f"ask {standing.owner}, or have a person do it")
    return Pass()


def _permitted(case: Case) -> Finding:
    facts = case.attempt.facts
    if facts["agent"] and facts["permitted"] == "yes":
        return Pass()
    if not facts["agent"]:
        return Fail("the live release knows no such agent", "put it into agents.yaml and release")
    return Fail(
        f"{facts['agent']} may not use {facts['tool']}",
        "put it among the agent's tools in agents.yaml and release; what it may use: tools/list",
    )


def _policy(case: Case) -> Finding:
    denies = _told(case.attempt.facts["denies"])
    if not denies:
        return Pass()
    return Fail(
        "; ".join(f"{why} ({name})" for name, why, _ in denies), "; ".join(dict.fromkeys(f for *_, f in denies))
    )


def _unbroken(case: Case) -> Finding:
    why = str(case.attempt.facts["breaker"])
    return Fail(why, "see bedplate breakers; a named person closes it") if why else Pass()


def _decoys_fire(case: Case) -> Finding:
    names = unproven(_standing(case))
    if names:
        return Fail(
            f"{', '.join(names)}: a forbidden action was let through",
            f"ask {_standing(case).owner}; it is tried again, and actions go on once it is stopped",
        )
    return Pass()


def _counts(case: Case) -> Finding:
    """Look at votes about actions only: what else somebody decides about is not measured here."""
    if case.question is None:
        raise ValueError("a vote answers an approval")
    why = lowered(case.voter) if case.question.action in ANSWERED else ""
    if not why:
        return Pass()
    who = case.attempt.actor
    return Fail(
        f"{who}'s answers about actions do not count for now: {why}",
        f"have {who} trained anew: bedplate people train {who} ..., or bedplate oversight restore {who}",
    )


def _stamped() -> Case:
    """Somebody votes about an action who let a known-bad one pass."""
    board = (Stage("board", "policy"),)
    question = Approval("approval/canary", "usecase/canary", PERFORM.name, "0", "other", "", "", board, 0, 1, {})
    facts: Mapping[str, Value] = {LOWERED: {"why": "canary", "at": 0}}
    voter = Standing("person/canary", facts=facts)
    return Case(Attempt(VOTE, "canary", question.id), 0, model_for_canaries(), None, question=question, voter=voter)


def _settles(case: Case) -> Finding:
    """Look at who edits, answers or takes over: that decides about an action as a vote does."""
    why = str(case.attempt.facts.get("lowered", ""))
    if not why:
        return Pass()
    who = case.attempt.actor
    return Fail(
        f"{who}'s answers about actions do not count for now: {why}",
        f"have {who} trained anew: bedplate people train {who} ..., or bedplate oversight restore {who}",
    )


def _settled_by_one_who_stamps() -> Case:
    facts: dict[str, Value] = {"approval": "approval/canary", "how": "answer", "sha256": "", "lowered": "canary"}
    return Case(Attempt(SETTLE, "canary", "usecase/canary", facts), 0, model_for_canaries(), None)


def _by_another(case: Case) -> Finding:
    if case.attempt.facts["person"] != case.attempt.actor:
        return Pass()
    return Fail("nobody restores their own standing", "ask somebody else who may record training")


def _own_standing() -> Case:
    return Case(Attempt(RESTORE, "canary", "person/canary", {"person": "canary"}), 0, model_for_canaries(), None)


def _told(value: Value) -> list[tuple[str, str, str]]:
    if not isinstance(value, list | tuple):
        raise TypeError("reasons are a list")
    return [tuple(map(str, one)) for one in value]  # type: ignore[misc]  # three each: a shorter one raises where it is read


def unproven(standing: Standing) -> list[str]:
    """Name the decoys that were let through last time."""
    found = standing.facts.get(UNPROVEN, [])
    if not isinstance(found, list):
        raise TypeError("what is unproven must be a list")
    return [str(name) for name in found]


def _with(standing: Standing, fact: str, value: Value) -> Standing:
    return replace(standing, facts={**standing.facts, fact: value})


def _mapping(standing: Standing, fact: str) -> dict[str, Value]:
    found = standing.facts.get(fact, {})
    if not isinstance(found, dict):
        raise TypeError(f"{fact} is an object")
    return dict(found)


def _let_through(standing: Standing, event: Event) -> Standing:
    return _with(standing, UNPROVEN, sorted({*unproven(standing), str(event.data["decoy"])}))


def _held_back(standing: Standing, event: Event) -> Standing:
    return _with(standing, UNPROVEN, sorted({*unproven(standing)} - {str(event.data["decoy"])}))


def _tripped(standing: Standing, event: Event) -> Standing:
    data = event.data
    told: list[Value] = [str(data["signal"]), str(data["why"]), event.at]
    return _with(standing, TRIPS, {**_mapping(standing, TRIPS), str(data["scope"]): told})


def _closed(standing: Standing, event: Event) -> Standing:
    left = {scope: told for scope, told in _mapping(standing, TRIPS).items() if scope != event.data["scope"]}
    return _with(standing, TRIPS, left)


def _opened(standing: Standing, event: Event) -> Standing:
    return _with(standing, WINDOWS, {**_mapping(standing, WINDOWS), str(event.data["window"]): dict(event.data)})


def _shut(standing: Standing, event: Event) -> Standing:
    left = {name: told for name, told in _mapping(standing, WINDOWS).items() if name != event.data["window"]}
    return _with(standing, WINDOWS, left)


def _drilled(standing: Standing, event: Event) -> Standing:
    scope = str(event.data["scope"])
    name = scope if not scope.startswith(DRILL_SCOPE) else DRILL_SCOPE
    return _with(tried(standing, scope), DRILLED, {**_mapping(standing, DRILLED), name: event.at})


def _violation() -> Case:
    """An action with everything wrong at once: each control of the phase must refuse it."""
    facts: Mapping[str, Value] = {
        "agent": "",
        "tool": "canary/forbidden",
        "class": "irreversible",
        "permitted": "no",
        "autonomy": "act",
        "release": "other",
        "epoch": "0/-1",
        "stopped": "canary",
        "denies": [["canary", "canary", "canary"]],
        "asks": [],
        "breaker": "canary",
    }
    standing = Standing("usecase/canary", tier=1, stage="accepted", suspended="canary", rung=Rung.OFF)
    standing = replace(standing, facts={UNPROVEN: ["canary"]})
    return Case(Attempt(ACT, "key/canary", "usecase/canary", facts), 0, model_for_canaries(), standing, age=1 << 62)


def _slow_violation() -> Case:
    case = _violation()
    return replace(case, attempt=replace(case.attempt, action=PERFORM))


def _always(name: str, doc: str, check: object, actions: tuple[str, ...] = FAST) -> Control:
    canary = _violation if ACT.name in actions else _slow_violation
    return Control(name, "act", doc, check, canary, actions, always=True)  # type: ignore[arg-type]  # a check


MANIFEST = Manifest(
    plane="agents",
    actions=(
        ACT,
        DECOY,
        PERFORM,
        READ_ACTIONS,
        SETTLE,
        CONCLUDE,
        STOP,
        STOP_ALL,
        LIFT,
        LIFT_ALL,
        DRILL,
        TRIP,
        CLOSE,
        OPEN_WINDOW,
        END_WINDOW,
        PROVE,
        LOOK,
        SWEEP,
        PLANT,
        JUDGE,
        REMIND,
        LOWER,
        RESTORE,
    ),
    controls=(
        _always("act-fresh", "What an action is judged against is no older than the tier allows.", _fresh),
        _always("act-running", "The use case is not suspended.", _running, (*FAST, PERFORM.name)),
        _always(
            "act-not-stopped", "Neither the agent nor its use case is stopped.", _not_stopped, (*FAST, PERFORM.name)
        ),
        _always(
            "act-released", "The release under which it is asked is the live one.", _released, (*FAST, PERFORM.name)
        ),
        _always("act-rung", "The rung lets the agent use tools of this class.", _rung),
        _always("tool-permitted", "The live release gives the tool, as it was pinned, to this agent.", _permitted),
        _always("tool-policy", "No policy, and no limit of the agent, forbids the action.", _policy),
        _always("breaker-closed", "No circuit breaker stops the agent, the tool or the use case.", _unbroken),
        _always("epoch-current", "No stop came since people were asked.", _epoch_current, (PERFORM.name,)),
        Control(
            "decoys-fire",
            "act",
            "No forbidden action that was tried on a timer was let through.",
            _decoys_fire,
            _violation,
            (ACT.name,),  # not what tries them: it would never be proven again
            always=True,
        ),
        Control(
            "reviewer-counts",
            "change",
            "Answers about actions count only from those who did not let a known-bad one pass, or answer unread.",
            _counts,
            _stamped,
            (VOTE.name,),
            always=True,
        ),
        Control(
            "settler-counts",
            "change",
            "Actions that wait are edited, answered and taken over only by those whose answers count.",
            _settles,
            _settled_by_one_who_stamps,
            (SETTLE.name,),
            always=True,
        ),
        Control(
            "reviewer-restored-by-another",
            "change",
            "Somebody else says that a reviewer was trained anew.",
            _by_another,
            _own_standing,
            (RESTORE.name,),
            always=True,
        ),
    ),
    kinds=(
        Kind(
            "agents.action.performed",
            {"action": "text", "run": "text", "tool": "text", "arguments_sha256": "text"},
            "People agreed to an action; it was let through, this once.",
        ),
        Kind(
            "agents.action.settled",
            {"approval": "text", "action": "text", "how": "text", "sha256": "text", "reason": "text", "now": "text"},
            "A person answered an action that waited, changed its arguments, or took it over.",
        ),
        Kind(
            "agents.action.concluded",
            {"action": "text", "state": "text", "reason": "text"},
            "A person said what became of an action of which nobody knew it.",
        ),
        Kind("agents.action.seen", {"approval": "text", "person": "text"}, "Somebody looked at an action that waits."),
        Kind(
            "agents.stop.raised",
            {"scope": "text", "reason": "text"},
            "An agent or a whole use case was stopped; what had been agreed to before counts no more.",
            raised,
        ),
        Kind("agents.stop.lifted", {"scope": "text", "reason": "text"}, "What was stopped goes on.", lifted),
        Kind(
            "agents.stop.drilled",
            {"scope": "text", "ms": "int", "points": "int", "outcome": "text", "summary": "text"},
            "A stop was tried: how soon it was in force, on how many processes.",
            _drilled,
        ),
        Kind(
            "agents.breaker.tripped",
            {"scope": "text", "signal": "text", "why": "text"},
            "A circuit breaker opened.",
            _tripped,
        ),
        Kind(
            "agents.breaker.closed",
            {"scope": "text", "reason": "text"},
            "A circuit breaker was closed.",
            _closed,
        ),
        Kind(
            "agents.window.opened",
            {
                "window": "text",
                "agent": "text",
                "tool": "text",
                "amount_micro": "int",
                "total_micro": "int",
                "unit": "text",
                "counterparties": "list",
                "count": "int",
                "until": "int",
                "epoch": "text",
                "release": "text",
            },
            "People agreed beforehand to what an agent may do without asking, within these bounds.",
            _opened,
        ),
        Kind("agents.window.shut", {"window": "text", "reason": "text"}, "What was agreed beforehand ended.", _shut),
        Kind(
            "agents.decoy.passed",
            {"decoy": "text", "action": "text", "why": "text"},
            "A forbidden action that was tried was let through.",
            _let_through,
        ),
        Kind(
            "agents.decoy.stopped",
            {"decoy": "text", "action": "text", "why": "text"},
            "A decoy that was let through was stopped again.",
            _held_back,
        ),
        Kind(
            "agents.test.planted",
            {"commitment": "text"},
            "A known-bad action was put among those that wait; which one, only its commitment says.",
        ),
        Kind(
            "agents.test.judged",
            {
                "approval": "text",
                "action": "text",
                "person": "text",
                "answer": "text",
                "nonce": "text",
                "commitment": "text",
            },
            "A planted action was answered: `yes` means that whoever did so let a known-bad action pass.",
        ),
        Kind(
            "agents.action.reminded",
            {"step": "int", "body": "text", "people": "list", "due": "int"},
            "People were told of an action that waits: who must decide, the next persons, then the body above.",
        ),
        Kind(
            "agents.reviewer.lowered",
            {"person": "text", "why": "text", "until": "int"},
            "Somebody's answers about actions count no more until they are trained anew.",
            lowers,
        ),
        Kind(
            "agents.reviewer.restored",
            {"person": "text", "why": "text"},
            "Somebody's answers about actions count again.",
            restores,
        ),
    ),
)
