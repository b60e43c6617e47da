"""Oversight: how well people look at what agents ask: how long they take, how often they overrule, how tests went."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bedplate.agents import views
from bedplate.agents.oversight import HASTY, MANY, reviewers
from bedplate.agents.reviewer import lowered
from bedplate.errors import NotFound
from bedplate.evidence import views as evidence
from bedplate.kernel.clock import DAY, SECOND
from bedplate.paths import agents as paths

from .visit import Page, Visit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.responses import Response

SPANS = (7, 30, 90)
BANDS = ((3, "under 3 s"), (10, "3 to 10 s"), (30, "10 to 30 s"), (120, "30 s to 2 min"), (600, "2 to 10 min"))


def oversight(visit: Visit) -> Response:
    """Show everybody who answered in a span."""
    at, now = visit.at, visit.at.clock()
    days = visit.number("days") if visit.number("days") in SPANS else 30
    seen = paths.readable(at.agents, visit.by)
    rows = [g for g in views.glimpses(at.engine, since=now - days * DAY) if seen is None or g["subject"] in seen]
    tests, bands = _tests(visit, now - days * DAY), banded(rows)
    return visit.show(
        "oversight.html",
        reviewers=reviewers(rows, tests, _lowered(visit, rows)),
        bands=bands,
        most=max((count for _, count in bands), default=0),
        answers=len(rows),
        planted=len(evidence.events(at.engine, kind="agents.test.planted", limit=1_000)),
        newest=rows[:20],
        days=days,
        spans=SPANS,
        hasty=HASTY,
        many=MANY,
    )


def banded(rows: Iterable[dict[str, Any]]) -> list[tuple[str, int]]:
    """Count answers by how long people looked."""
    counts = dict.fromkeys(["without looking", *(name for _, name in BANDS), "over 10 min"], 0)
    for row in rows:
        took = (row["answered_at"] - row["seen_at"]) / SECOND
        name = (
            next((name for most, name in BANDS if took < most), "over 10 min") if row["seen_at"] else "without looking"
        )
        counts[name] += 1
    return list(counts.items())


def _tests(visit: Visit, since: int) -> list[tuple[str, str]]:
    """Return who answered a planted action, and how."""
    judged = evidence.events(visit.at.engine, kind="agents.test.judged", limit=1_000)
    return [(str(e.data["person"]), str(e.data["answer"])) for e in judged if e.at >= since]


def _lowered(visit: Visit, rows: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return whose answers count no more for now, and why."""
    found = []
    for person in {row["person"] for row in rows}:
        with suppress(NotFound):
            found.append((person, lowered(visit.at.standing(f"person/{person}"))))
    return found


PAGES = (Page("/oversight", oversight),)
