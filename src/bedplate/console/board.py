"""The board's pack: one page for the meeting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from bedplate.kernel.clock import SECOND
from bedplate.paths import board as packs
from bedplate.paths.pdf import pdf

from .cost import readable
from .visit import Page, Visit

if TYPE_CHECKING:
    from collections.abc import Mapping

MINUTE = 60 * SECOND
DAYS, MOST = 30, 366
SPANS = (7, 30, 90)


def board(visit: Visit) -> Response:
    """Show what is to be decided, what moved, appetite against reality, incidents, value, and rule changes."""
    days, told = _told(visit)
    return visit.show("board.html", days=days, spans=SPANS, told=told, ways=WAYS)


def pack(visit: Visit) -> Response:
    """Return the same as PDF, to print or to send."""
    _, told = _told(visit)
    headers = {"content-disposition": 'inline; filename="bedplate-board.pdf"'}
    return Response(pdf("board", told, visit.at.clock()), headers=headers, media_type="application/pdf")


def _told(visit: Visit) -> tuple[int, Mapping[str, Any]]:
    days = min(MOST, visit.number("days", 0) or DAYS)
    at, seen = visit.at, readable(visit)
    of = (at.ledger.size(), days, None if seen is None else tuple(sorted(seen)))
    told = visit.worked_out("board", of, MINUTE, lambda: packs.pack(at.engine, at.model(), at.clock(), days, seen))
    return days, told


WAYS = (
    ("proposed", "Proposed"),
    ("accepted", "Accepted"),
    ("live", "Went live"),
    ("declined", "Declined"),
    ("retired", "Retired"),
)
PAGES = (Page("/board", board), Page("/board.pdf", pack))
