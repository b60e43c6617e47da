"""What is done about agents on a timer: decoys, effects of which nobody knows what became, what a stop voided."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

from bedplate.agents import views
from bedplate.agents.actions import note_decoy, sweep
from bedplate.agents.decoy import Decoys, mended
from bedplate.agents.governance import unproven
from bedplate.evidence.views import events
from bedplate.incidents.actions import Happening, open_incident
from bedplate.incidents.ladder import UNPROVEN
from bedplate.incidents.views import incidents
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import DAY, SECOND
from bedplate.kernel.event import canonical

from .drill import part_of

if TYPE_CHECKING:
    from bedplate.agents.decoy import Tried
    from bedplate.agents.effect import Effect
    from bedplate.kernel.standing import Standing

    from .whole import Whole

log = logging.getLogger(__name__)
FIRST_DECOYS = 60 * SECOND  # at most, after the start
KEPT = 93 * DAY  # how long ended runs are kept: longer than any window or question lives
PRUNE_EVERY = 3_600 * SECOND
RECOVER_EVERY = 5 * SECOND
AT_ONCE = 500  # questions closed in one transaction
UNKNOWN = "action/unknown"  # the cause of an incident, with the action's id behind it


class AgentWatch:
    """The rounds of one process about agents. Every process takes its part in drills; the rest only one leads."""

    def __init__(self, at: Whole) -> None:
        self._at = at
        self._decoys = Decoys(at.agents)
        every = at.settings.canary_every_s * SECOND
        self._decoys_at = at.clock() - max(0, every - FIRST_DECOYS)
        self._recovered_at = self._pruned_at = 0
        self._concluded = -1  # the ledger's size up to which conclusions were followed
        self._told: set[str] = set()
        at.follower.moved.append(part_of(at).moved)

    def round(self, now: int) -> None:
        """Do one round; what fails in one step does not hold up the others."""
        for step in (self.recover, self.conclude, self.sweep, self.decoys, self.prune):
            try:
                step(now)
            except Exception as broken:
                log.exception("agents.step_failed", extra={"step": step.__name__, "error": type(broken).__name__})

    def recover(self, now: int) -> None:
        """Put on record, and in high tiers open an incident about, effects of which nobody knows what became."""
        if 0 <= now - self._recovered_at < RECOVER_EVERY:
            return
        self._recovered_at = now
        self._at.runs.recover()
        for effect in self._at.runs.unknown(limit=1_000):
            name = f"{effect.action}/{effect.tries}"
            if name not in self._told:
                asyncio.run(self._at.agents.lost(effect))
                self._alarm(effect)
                self._told.add(name)

    def _alarm(self, effect: Effect) -> None:
        """Open an incident about an outcome that nobody knows, where the tier records intents; once for each action."""
        at, run, model = self._at, self._at.runs.run(effect.run), self._at.model()
        standing = at.follower.snapshot.standings.get(run.subject) if run is not None else None
        plan = model.plan(effect.tier) if model is not None else None
        if run is None or standing is None or (plan is not None and not plan.intent):
            return
        cause = f"{UNKNOWN}/{effect.action}"
        if any(i["cause"] == cause for i in incidents(at.engine, run.subject)):
            return
        frozen = {
            "action": effect.action,
            "run": effect.run,
            "agent": run.agent,
            "tool": effect.tool,
            "arguments_sha256": effect.digest,
            "intended_at": effect.at,
        }
        title = f"nobody knows what became of {effect.tool} by {run.agent}: say it by bedplate actions conclude"
        open_incident(at.governor, SYSTEM, Happening(run.subject, title, cause, "breach", canonical(frozen)))
        at.follower.look()

    def conclude(self, _now: int) -> None:
        """Follow what people said of outcomes on other hosts, or while this one was away."""
        size = self._at.follower.snapshot.size
        if size == self._concluded:
            return
        for told in events(self._at.engine, kind="agents.action.concluded", limit=200):
            action, state = str(told.data["action"]), str(told.data["state"])
            effect = self._at.runs.effect(action)
            if effect is not None and effect.open:
                self._at.agents.concluded(action, state)
        watch = self._at.agents.parts.watch
        watch.follow([t for t in views.trips(self._at.engine, limit=200) if t["closed_at"]])
        self._concluded = size

    def sweep(self, _now: int) -> None:
        """Close the questions that a stop voided beyond those it closed itself."""
        while found := views.outdated(self._at.engine, AT_ONCE):
            for subject, approvals in found.items():
                sweep(self._at.governor, subject, approvals)

    def decoys(self, now: int) -> None:
        """Try forbidden actions, of some use cases in turn, when it is time; a clock that was put back is no delay."""
        if 0 <= now - self._decoys_at < self._at.settings.canary_every_s * SECOND:
            return
        self._decoys_at = now
        for subject in self._decoys.due():
            try:
                self.prove(subject)
            except Exception as broken:  # one use case's trouble is not the others'
                log.exception("decoys.failed", extra={"subject": subject, "error": type(broken).__name__})

    def prove(self, subject: str) -> None:
        """Try one use case; what was let through closes its door and opens an incident."""
        at, standing = self._at, self._at.follower.snapshot.standings[subject]
        known = unproven(standing)
        tried = mended(asyncio.run(self._decoys.tried(subject)), known, self._decoys.names(subject), subject)
        opened = {i["cause"] for i in incidents(at.engine, subject, only_open=True)}
        for one in tried:
            if one.held == (one.name in known):
                note_decoy(at.governor, SYSTEM, subject, decoy=one.name, action=one.action, why=one.why, held=one.held)
            if not one.held and f"decoy/{one.name}" not in opened:
                open_incident(at.governor, SYSTEM, _passed(standing, one))
        at.follower.look()

    def prune(self, now: int) -> None:
        """Drop runs that ended long ago; the journal and the ledger keep what they did."""
        if 0 <= now - self._pruned_at < PRUNE_EVERY:
            return
        self._pruned_at = now
        self._at.runs.prune(now - KEPT)
        if self._at.agents.parts.windows is not None:
            self._at.agents.parts.windows.prune(now - KEPT)


def _passed(standing: Standing, tried: Tried) -> Happening:
    frozen = {"decoy": tried.name, "why": tried.why, "action": tried.action, "release": standing.release}
    title = f"a forbidden action was let through: {tried.why}"
    content = canonical(json.loads(json.dumps(frozen)))
    return Happening(standing.subject, title, f"decoy/{tried.name}", UNPROVEN, content)
