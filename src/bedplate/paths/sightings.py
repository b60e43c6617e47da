"""Sightings of AI beside what the planes know of it: agreed suppliers, domains, the way into the portfolio."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bedplate.errors import Conflict, NotFound
from bedplate.gateway.governance import READ_COST
from bedplate.shadow import actions, views
from bedplate.shadow.governance import SETTLE, amnesty_of, in_amnesty
from bedplate.shadow.score import SPENT, Point, Score
from bedplate.shadow.sighting import fingerprint
from bedplate.shadow.signature import signatures
from bedplate.vendors.views import vendors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Engine

    from bedplate.gateway.supplier import Supplier
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.model import OperatingModel
    from bedplate.shadow.actions import Declared
    from bedplate.shadow.views import Seen

WEEKS = 12
MOST_ALONG = 200
FILE = Template("""\
# Taken up from sighting $seen: $what at $where.
# Complete it, see what it means with `bedplate plan use-case.yaml`, and propose it with `bedplate apply use-case.yaml`.
# Unanswered questions count as the higher risk: the tier falls as you answer them.
kind: use-case
id: $id
title: $title
domain: $domain
owner: $owner
sponsor: $sponsor
purpose: Brings $what at $where onto the record, with an owner and a release. Say what it is for.
bucket: efficiency

value:
  hypothesis: Say what becomes better for whom, and by how much.
  unit: minutes per case
  baseline: 10
  target: 5
  per_month: $times # how often it was seen
  cents_per_unit: 70

feasibility: # 1 (not at all) to 5 (today); it runs already
  data: 3
  technology: 5
  people: 3
  change: 4

answers: {} # $questions

data: []

model:
  upstream: default
  name: $model

prompts:
  system: prompts/system.md

unanswered: I cannot answer this.

evals:
  file: evals.yaml
  pass_percent: 75

budget:
  calls_per_day: 1000
  tokens_per_day: 1000000

runbook: runbook.md
""")


@dataclass(frozen=True)
class Sights:
    """What was sighted, as of one moment; `supply` are the upstreams that are configured."""

    engine: Engine
    governor: Governor
    supply: Iterable[Supplier]
    model: OperatingModel | None
    now: int

    @cached_property
    def known(self) -> frozenset[str]:
        """Names of the suppliers that are agreed: on the register of vendors, or configured as upstreams."""
        hosts = [urlsplit(s.url).hostname or "" for s in self.supply]
        named = {p.name for p in map(signatures().of_host, hosts) if p is not None}
        on_register = [v.name.lower() for v in vendors(self.engine, self.now) if v.state != "ended"]
        every = [p.name for p in signatures().providers if p.name]
        return frozenset(named | {name for name in every if any(name.lower() in v for v in on_register)})

    @property
    def amnesty(self) -> dict[str, str]:
        """The amnesty while it lasts: until when, and why; empty otherwise."""
        return {k: str(v) for k, v in amnesty_of(self.model).items()} if in_amnesty(self.model, self.now) else {}

    @cached_property
    def every(self) -> list[Seen]:
        """All sightings: those declared under the amnesty first, then by score."""
        return views.sightings(self.engine, self.now, self.known, amnesty=bool(self.amnesty))

    def one(self, seen: str) -> Seen:
        """Return one sighting by its id or how it begins."""
        return views.sighting_by_id(self.engine, seen, self.now, self.known, amnesty=bool(self.amnesty))

    def summary(self) -> dict[str, Any]:
        """Return what is told beside the list: per week, per team, per state, and the amnesty."""
        since = self.now - WEEKS * views.WEEK
        return {
            "weeks": views.sightings_per_week(self.engine, since, self.now),
            "teams": views.per_team(self.every, views.headcounts(self.engine)),
            "states": dict(Counter(one.state for one in self.every)),
            "escalated": sum(bool(one.escalated) for one in self.every),
            "amnesty": self.amnesty,
        }

    def settles(self, person: str, seen: Seen) -> bool:
        """Tell whether somebody may settle a sighting."""
        return self.model is not None and self.model.authority.allowed(person, SETTLE, seen.team)

    def shown(self, person: str, seen: Seen) -> Seen:
        """Return a sighting as somebody may see it: what it costs only to those who may read costs."""
        if self.model is not None and self.model.authority.allowed(person, READ_COST.needs, seen.team):
            return seen
        points = tuple(Point(p.points, "what it costs") if p.why.endswith(SPENT) else p for p in seen.score.points)
        return replace(seen, cents=0, currency="", score=Score(points))

    def declare(self, by: str, said: Declared) -> str:
        """Record what a team says that it uses; `Conflict` if it is on record as another team's."""
        try:
            known = self.one(fingerprint(said.kind, said.what.strip(), said.where.strip()))
        except NotFound:
            return actions.declare(self.governor, by, said)
        if known.team and known.team != said.team:
            raise Conflict(f"{known.what} at {known.place} is on record as {known.team}'s", hint="ask them, or the CoE")
        return actions.declare(self.governor, by, said)

    def adopt(self, by: str, seen: str, into: str = "", reason: str = "") -> tuple[Seen, str]:
        """Take a sighting up; returns it, and the use case's file, filled in as far as it is known.

        One in a repository takes the rest of that repository along.
        """
        found = self.one(seen)
        along = [one.id for one in self.along(found)]
        actions.adopt(self.governor, by, found.id, found.team, into or self.name(found), reason, along)
        after = self.one(found.id)
        return after, self.file(after)

    def along(self, seen: Seen) -> list[Seen]:
        """List what is taken up with a sighting in a repository: the rest of it, but no key, which is to be revoked."""
        if "code" not in seen.sources:
            return []
        rest = [one for one in views.chosen(self.every, state="new", source="code") if one.place == seen.place]
        return [one for one in rest if one.id != seen.id and one.team == seen.team and one.kind != "key"][:MOST_ALONG]

    def name(self, seen: Seen) -> str:
        """Return an id for the use case that a sighting becomes."""
        words = re.sub(r"[^a-z0-9]+", "-", f"{seen.place} {seen.what}".lower()).strip("-")
        return (words if words[:1].isalpha() else f"use-{words}")[:48].strip("-")

    def file(self, seen: Seen) -> str:
        """Return `use-case.yaml` for a sighting: what is known filled in, the rest to be completed."""
        seats = [(p.id, s) for p in (self.model.authority.people.values() if self.model else ()) for s in p.seats]
        domains = sorted(self.model.domains) if self.model is not None else []
        domain = seen.team if seen.team in domains else domains[0] if domains else "DOMAIN"
        owners = [p for p, s in seats if (s.body, s.role, s.domain) == ("domain", "owner", domain)]
        sponsors = [p for p, s in seats if (s.body, s.role, s.domain) == ("domain", "sponsor", domain)]
        models = [h.removeprefix("model ") for h in seen.hints if h.startswith("model ")]
        asked = ", ".join(q.id for q in self.model.questions) if self.model is not None else ""
        return FILE.substitute(
            seen=seen.id,
            what=_plain(seen.what),
            where=_plain(seen.place),
            id=seen.into or self.name(seen),
            title=_plain(f"{seen.what} at {seen.place}")[:120],
            domain=domain,
            owner=owners[0] if owners else "OWNER",
            sponsor=(sponsors or owners or ["SPONSOR"])[0],
            times=max(1, seen.times),
            questions=asked,
            model=models[0] if models and re.fullmatch(r"[\w.-]+", models[0]) else "default",
        )


def _plain(text: str) -> str:
    """Return text as it may stand in a file without quotes."""
    return re.sub(r"\s+", " ", re.sub(r"[^\w ./-]", " ", text)).strip() or "AI"
