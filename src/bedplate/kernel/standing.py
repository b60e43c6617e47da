"""The standing of a subject: what is true of it now, folded from its events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .event import Value


class Rung(IntEnum):
    """The autonomy ladder. Drift and incidents move down by plan; only an approval moves up."""

    OFF = 0
    READ = 1
    PROPOSE = 2
    ACT = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """What the next decision about `subject` is checked against.

    `facts` is how planes learn about each other: plane-prefixed names ("releases.models") to plain values.
    """

    subject: str
    version: int = 0
    title: str = ""
    owner: str = ""
    domain: str = ""
    impact: str = ""
    autonomy: str = ""
    tier: int = 0  # 0: not rated, and so refused
    stage: str = ""  # proposed, accepted, declined, live, retired
    release: str = ""  # digest of the live release
    rung: Rung = Rung.OFF
    suspended: str = ""  # the reason, while suspended
    breaches: tuple[str, ...] = ()  # open incidents
    glass_until: int = 0  # break-glass in force until then, microseconds
    facts: Mapping[str, Value] = field(default_factory=dict)

    def with_facts(self, **facts: Value) -> Standing:
        """Return the standing with these facts added; `plane__name` becomes `plane.name`."""
        named = {name.replace("__", "."): value for name, value in facts.items()}
        return replace(self, facts={**self.facts, **named})

    def lowered_to(self, rung: Rung) -> Standing:
        """Return the standing on this rung or a lower one, never a higher."""
        return replace(self, rung=min(self.rung, rung))


def plain(standing: Standing) -> dict[str, Value]:
    """Write a standing as text, whole numbers, lists and objects."""
    return {
        "subject": standing.subject,
        "version": standing.version,
        "title": standing.title,
        "owner": standing.owner,
        "domain": standing.domain,
        "impact": standing.impact,
        "autonomy": standing.autonomy,
        "tier": standing.tier,
        "stage": standing.stage,
        "release": standing.release,
        "rung": int(standing.rung),
        "suspended": standing.suspended,
        "breaches": list(standing.breaches),
        "glass_until": standing.glass_until,
        "facts": dict(standing.facts),
    }


def from_plain(body: Mapping[str, Value]) -> Standing:
    """Read back what `plain` wrote; `ValueError`, `TypeError` or `KeyError` if it is not that."""
    known: dict[str, object] = dict(body)
    known["rung"] = Rung(int(str(body["rung"])))
    breaches = body["breaches"]
    facts = body["facts"]
    if not isinstance(breaches, list) or not isinstance(facts, dict):
        raise TypeError("a standing holds a list of breaches and an object of facts")
    known["breaches"] = tuple(str(b) for b in breaches)
    known["facts"] = dict(facts)
    return Standing(**known)  # type: ignore[arg-type]  # names and types are those `plain` wrote; Standing refuses others
