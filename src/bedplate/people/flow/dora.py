"""How fast change is delivered and how often it fails, by domain: the four keys of DORA, over releases of use cases.

Lead time is told twice: from a use case's proposal to its first release live, and from each release's making to its
going live. A change failed if, within some days of going live, an incident was opened about the release, it was rolled
back, or its use case was suspended. Time to restore is from an incident's opening to its closing. Fewer than five of
anything are counted, and no percentile or share is told.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bedplate.kernel.clock import DAY

from .queue import FEW, WEEK, Spread, Wait, spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FAILED_WITHIN = 14  # days
FIRST_ROUND = 0


class Way(NamedTuple):
    """One use case's way: the moment (microseconds) of its first proposal, acceptance, question and release live."""

    subject: str
    domain: str
    tier: int
    proposed: int
    accepted: int
    asked: int
    live: int
    ended: int


class Delivery(NamedTuple):
    """One release that went live, and the moment something first went wrong with it; 0: nothing did."""

    subject: str
    release: str
    round: int  # 0: for the first time
    domain: str
    built: int
    live: int
    failed: int
    why: str


@dataclass(frozen=True, slots=True)
class Dora:
    """A domain's delivery over the window; `domain` "" is all of them."""

    domain: str
    deployments: int
    per_week: float
    lead: Spread  # proposed to first live
    build: Spread  # built to live
    approval: Spread  # asked to decided by every body
    failed: int
    young: int  # deployments so new that they may yet fail
    failure_permille: int | None  # None: too few deployments
    restore: Mapping[str, Spread]  # by severity
    broken: int  # incidents open now


def dora(
    ways: Sequence[Way],
    deliveries: Sequence[Delivery],
    waits: Sequence[Wait],
    now: int,
    weeks: int,
    within_days: int = FAILED_WITHIN,
) -> list[Dora]:
    """Tell every domain that did anything in the window, all together first."""
    since = now - weeks * WEEK
    recent = [w for w in ways if w.live >= since and w.live]
    live = [d for d in deliveries if d.live >= since and d.live]
    domains = sorted({*(w.domain for w in recent), *(d.domain for d in live), *(w.domain for w in waits)} - {""})
    waited = [w for w in waits if w.step == "restore"]
    approved = _approvals([w for w in waits if w.step == "approval"])
    told = []
    for name in ("", *domains):
        found = _domain(
            name,
            [w for w in recent if not name or w.domain == name],
            [d for d in live if not name or d.domain == name],
            [w for w in waited if not name or w.domain == name],
            [took for domain, took in approved if not name or domain == name],
            (now, weeks, within_days * DAY),
        )
        told.append(found)
    return told


def _domain(
    name: str,
    ways: Sequence[Way],
    live: Sequence[Delivery],
    incidents: Sequence[Wait],
    approved: Sequence[int],
    span: tuple[int, int, int],
) -> Dora:
    now, weeks, within = span
    failed = sum(0 < d.failed <= d.live + within for d in live)
    restored: dict[str, list[int]] = defaultdict(list)
    for wait in incidents:
        if wait.ended:
            restored[wait.what].append(wait.ended - wait.began)
    return Dora(
        domain=name,
        deployments=len(live),
        per_week=len(live) / weeks,
        lead=spread([w.live - w.proposed for w in ways]),
        build=spread([d.live - d.built for d in live if d.round == FIRST_ROUND]),
        approval=spread(approved),
        failed=failed,
        young=sum(not d.failed and d.live > now - within for d in live),
        failure_permille=round(1000 * failed / len(live)) if len(live) >= FEW else None,
        restore={severity: spread(times) for severity, times in sorted(restored.items())},
        broken=sum(not w.ended for w in incidents),
    )


def _approvals(waits: Sequence[Wait]) -> list[tuple[str, int]]:
    """Return, with its domain, how long each release waited until the last body had decided."""
    spans: dict[str, tuple[str, int, int]] = {}
    undecided = set()
    for wait in waits:
        if not wait.ended or wait.outcome not in {"done", "refused"}:
            undecided.add(wait.stream)
        _, began, ended = spans.get(wait.stream, ("", wait.began, 0))
        spans[wait.stream] = wait.domain, began, max(ended, wait.ended)
    return [(domain, ended - began) for stream, (domain, began, ended) in spans.items() if stream not in undecided]
