"""The calls of the last days, decided under the model in force and under a proposed one: what differs, and examples."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from bedplate.errors import BedplateError, Unavailable
from bedplate.gateway.governance import CALL
from bedplate.gateway.history import History, read
from bedplate.gateway.limit import Limits
from bedplate.gateway.replay import decided, let_anew, refused_anew
from bedplate.gateway.stricter import OUTCOMES, Stricter, held, stricter
from bedplate.gateway.usage import used
from bedplate.kernel.action import Attempt
from bedplate.kernel.clock import DAY, EPOCH, MICROSECOND
from bedplate.kernel.decision import Allow, Case
from bedplate.kernel.supposed import owing, supposed
from bedplate.portfolio.usecase import UseCaseFile, strictest
from bedplate.releases import views as releases
from bedplate.store.reads import read_blob

from .timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Engine

    from bedplate.gateway.history import Alike, Past
    from bedplate.gateway.replay import Decided, Said, Used
    from bedplate.kernel.event import Value
    from bedplate.kernel.manifest import Catalogue
    from bedplate.kernel.model import OperatingModel, TierPlan
    from bedplate.releases.bundle import Bundle
    from bedplate.store.shard import Shard

EXAMPLES = 3
PATIENCE = 60.0  # seconds that a replay waits for another one to end
AT_ONCE, RATED, RELEASED = "at once", "once it is rated anew", "with its next release"
_PLAYING = threading.Lock()  # one at a time: calls are served beside it
ESTIMATE = "what a call reserves before it is made is not on record; these came too near the limit to tell"


@dataclass(slots=True)
class Effect:
    """What becomes of so many calls of a use case, by which control, and when."""

    when: str
    control: str
    outcome: str  # refused, held, redacted
    why: str
    fix: str
    calls: int = 0
    examples: list[str] = field(default_factory=list)  # ids of calls


class Unsaid(NamedTuple):
    """Calls of which it cannot be said what would become of them, and why not."""

    when: str
    control: str
    calls: int
    why: str


@dataclass(slots=True)
class Replayed:
    """What a change does to one use case's calls. `refused`: at once; `let`: those that would no longer be refused."""

    use_case: str
    calls: int
    refused_then: int = 0
    refused: int = 0
    let: int = 0
    effects: list[Effect] = field(default_factory=list)
    unsaid: list[Unsaid] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Replay:
    """The whole: since when, how many records were looked at, and how many of them are not decided, by why."""

    since: int
    days: int
    looked: int
    replayed: int
    left_out: Mapping[str, int]
    use_cases: tuple[Replayed, ...]


@dataclass(slots=True)
class Player:
    """Replays. `rated` is the tier by the proposed model, of the use cases whose tier it changes."""

    engine: Engine
    catalogue: Catalogue
    shards: Mapping[str, Shard]
    now: int
    rated: Mapping[str, int]
    timeline: Timeline = field(init=False)
    bundles: dict[str, Bundle | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with nothing known of the past."""
        self.timeline = Timeline(self.engine, self.catalogue)

    def play(self, in_force: OperatingModel, proposed: OperatingModel, days: int) -> Replay:
        """Replay the calls of the last `days`, whole days in UTC, today included; `Unavailable` while others do."""
        if not _PLAYING.acquire(timeout=PATIENCE):
            raise Unavailable("another replay runs in this process", hint="try again in a minute")
        try:
            return self._play(in_force, proposed, days)
        finally:
            _PLAYING.release()

    def _play(self, in_force: OperatingModel, proposed: OperatingModel, days: int) -> Replay:
        first = self.now // DAY - days + 1
        history = read(self.shards, first * DAY, lambda subject: self.timeline.of(subject).moments)
        month = EPOCH + first * DAY * MICROSECOND
        before = used(self.engine, first - month.day + 1, first - 1) if month.day > 1 else {}
        index = month.year * 12 + month.month - 1
        found = []
        for subject in sorted(history.cases):
            earlier = {index: before[subject]} if subject in before else {}
            found.append(self._one(history, subject, (in_force, proposed), earlier))
        found.sort(key=lambda r: (-r.refused, r.use_case))
        replayed = sum(len(past.moments) for past in history.cases.values())
        return Replay(first * DAY, days, history.looked, replayed, dict(history.left_out), tuple(found))

    def bundle(self, digest: str) -> Bundle | None:
        """Return what was live then; None if it cannot be read."""
        if digest not in self.bundles:
            try:
                self.bundles[digest] = releases.bundle(self.engine, digest)
            except (BedplateError, KeyError, TypeError, ValueError):
                self.bundles[digest] = None
        return self.bundles[digest]

    def _one(
        self,
        history: History,
        subject: str,
        models: tuple[OperatingModel, OperatingModel],
        earlier: Mapping[int, Used],
    ) -> Replayed:
        past, (in_force, proposed) = history.cases[subject], models
        found = Replayed(subject.partition("/")[2], len(past.moments), history.refused_then[subject])
        then = decided(past, _Rules(self, history.alike, in_force), earlier)
        now = decided(past, _Rules(self, history.alike, proposed), earlier)
        found.refused = self._differ(history, subject, (then, now), found, AT_ONCE)
        found.let = let_anew(then, now)
        if subject in self.rated:
            rules = _Rules(self, history.alike, proposed, self.rated[subject])
            self._differ(history, subject, (now, decided(past, rules, earlier)), found, RATED)
        tier = self.rated.get(subject)
        for when, other in ((AT_ONCE, None), *([(RATED, tier)] if tier is not None else [])):
            found.unsaid += self._untold(history, past, models, when, other)
        self._guardrails(history, subject, models, found)
        return found

    def _differ(
        self, history: History, subject: str, decisions: tuple[Decided, Decided], found: Replayed, when: str
    ) -> int:
        then, now = decisions
        effects: dict[str, Effect] = {}
        refused = 0
        for said, count, calls in refused_anew(then, now, EXAMPLES):
            refused += count
            for reason in said:
                effect = Effect(when, reason.control, "refused", reason.why, reason.fix)
                self._add(effects, history, subject, calls, effect, count)
        found.effects += sorted(effects.values(), key=lambda e: (-e.calls, e.control))
        edge = sum(1 for call in now.edge - then.edge if not then.codes[call])
        if edge:
            found.unsaid.append(Unsaid(when, "within-budget", edge, ESTIMATE))
        return refused

    def _add(
        self,
        effects: dict[str, Effect],
        history: History,
        subject: str,
        calls: Sequence[int],
        effect: Effect,
        count: int,
    ) -> None:
        """Add calls to the effect of this control and outcome; the first of them are its examples."""
        known = effects.setdefault(f"{effect.control}/{effect.outcome}", effect)
        known.calls += count
        for call in calls[: EXAMPLES - len(known.examples)]:
            shard, seq = history.place(subject, call)
            known.examples += [row.id for row in self.shards[shard].rows(seq, 1)]

    def _untold(
        self,
        history: History,
        past: Past,
        models: tuple[OperatingModel, OperatingModel],
        when: str,
        tier: int | None,
    ) -> list[Unsaid]:
        """Count the calls of which something was not recorded that the proposed model asks for."""
        old, new = models
        found: Counter[tuple[str, str]] = Counter()
        for group, calls in Counter(past.groups).items():
            alike = history.alike[group]
            standing = self.timeline.of(alike.subject).standings[alike.span] if alike.span >= 0 else None
            if standing is None:
                continue
            if when == AT_ONCE and (not alike.release or self.bundle(alike.release) is None):
                found["within-budget", "the release that answered cannot be read, so its own budget is not known"] += (
                    calls
                )
            before, after = old.plan(standing.tier), new.plan(tier or standing.tier)
            if before is None or after is None:
                continue
            if after.lease_ms < before.lease_ms:
                found["standing-fresh", "how old the standing was is not on record"] += calls
            most, was = _prompt(after), _prompt(before)
            if most < was:
                found["prompt-length", f"how long the prompt was is not on record ({most:,}, and not {was:,})"] += calls
        return [Unsaid(when, control, calls, why) for (control, why), calls in sorted(found.items())]

    def _guardrails(
        self,
        history: History,
        subject: str,
        models: tuple[OperatingModel, OperatingModel],
        found: Replayed,
    ) -> None:
        """Say what stricter guardrails would do, which come with the next release, by what was found then."""
        now = self.timeline.of(subject).at(self.now)
        file = self.spec(str(now.facts.get("portfolio.spec", ""))) if now is not None else None
        if now is None or file is None:
            return
        tiers = (now.tier, self.rated.get(subject, now.tier))
        policies = [_policy(file, model.plan(tier)) for model, tier in zip(models, tiers, strict=True)]
        if policies[0] is None or policies[1] is None or policies[0] == policies[1]:
            return
        past = history.cases[subject]
        groups = Counter(past.groups)
        hits: dict[int, list[Stricter]] = {}
        unsaid: Counter[str] = Counter()
        for group, count in groups.items():
            alike = history.alike[group]
            bundle = self.bundle(alike.release)
            for one in self._changes(alike, policies[0], policies[1]):
                hit = held(one, alike.findings, bundle.guardrails[one.way]) if one.was and bundle else None
                if hit is None:
                    unsaid[one.control] += count
                elif hit:
                    hits.setdefault(group, []).append(one)
        effects: dict[str, Effect] = {}
        for group, changes in hits.items():
            calls = [call for call, of in enumerate(past.groups) if of == group]
            for one in changes:
                why = f"its {one.way} held {one.kind}: then {one.was}, proposed {one.mode}"
                fix = "take it out of the prompt" if one.way == "input" else "have the use case answer without it"
                effect = Effect(RELEASED, one.control, OUTCOMES[one.mode], why, fix)
                self._add(effects, history, subject, calls, effect, len(calls))
        found.effects += sorted(effects.values(), key=lambda e: (-e.calls, e.control))
        why = "it was not looked for then, or the record does not tell what was found"
        found.unsaid += [Unsaid(RELEASED, control, n, why) for control, n in sorted(unsaid.items())]

    def _changes(self, alike: Alike, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Stricter]:
        """List what the proposed model makes stricter, but what the next release would make so anyhow."""
        bundle = self.bundle(alike.release)
        if bundle is None:
            return []
        anyhow = set(stricter(bundle.guardrails, then))
        return [one for one in stricter(bundle.guardrails, now) if one not in anyhow]

    def spec(self, digest: str) -> UseCaseFile | None:
        """Read the file that a use case was accepted with; None if there is none, or it cannot be read."""
        return use_case_file(self.engine, digest)


@dataclass(slots=True)
class _Rules:
    """One operating model over the past. `tier` is another than the use case had, where it is rated anew."""

    player: Player
    alike: Sequence[Alike]
    model: OperatingModel
    tier: int = 0
    _owed: dict[int, tuple[Any, ...]] = field(default_factory=dict)

    def judged(self, group: int, moment: int) -> Said:
        """Decide a call as the gateway does, with what is on record of it."""
        alike = self.alike[group]
        bundle = self.player.bundle(alike.release)
        standing = self.player.timeline.of(alike.subject).standings[alike.span] if alike.span >= 0 else None
        if standing is not None and self.tier:
            standing = replace(standing, tier=self.tier)
        name = bundle.model if bundle is not None else "recorded"
        facts: dict[str, Value] = {  # that it was named and served then is on record: it was let through
            "model": name,
            "approved": name,
            "served": "yes",
            "named": "yes",
            "calls_today": 0,  # budgets are counted call by call
            "tokens_today": 0,
            "calls_budget": 1,
            "tokens_budget": 1,
            "index": alike.version,
        }
        case = Case(Attempt(CALL, "key/replayed", alike.subject, facts), moment, self.model, standing)
        tier = case.plan.tier if case.plan is not None else 0
        if tier not in self._owed:
            self._owed[tier] = owing(self.player.catalogue.controls.values(), case)
        verdict = supposed(self._owed[tier], case)
        return () if isinstance(verdict, Allow) else verdict.reasons

    def limits(self, group: int) -> Limits:
        """Return the budgets of the tier then, and of the release."""
        alike = self.alike[group]
        standing = self.player.timeline.of(alike.subject).standings[alike.span] if alike.span >= 0 else None
        plan = self.model.plan(self.tier or (standing.tier if standing is not None else 0))
        return Limits.of(plan, self.player.bundle(alike.release)) if plan is not None else Limits()


def use_case_file(engine: Engine, digest: str) -> UseCaseFile | None:
    """Read the kept file of a use case; None if there is none, or it is not one any more."""
    if not digest:
        return None
    try:
        with engine.connect() as connection:
            return UseCaseFile.model_validate(json.loads(read_blob(connection, digest)))
    except (BedplateError, ValueError):
        return None


def _prompt(plan: TierPlan) -> int:
    return int(str(plan.guardrails["max_prompt_chars"]))


def _policy(file: UseCaseFile, plan: TierPlan | None) -> dict[str, Any] | None:
    return strictest(file, plan.guardrails) if plan is not None else None
