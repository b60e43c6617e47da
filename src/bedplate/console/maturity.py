"""Maturity: five layers with their points, the records behind each, the stage, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.errors import Denied
from bedplate.kernel.clock import SECOND
from bedplate.paths.maturity import maturity as computed
from bedplate.people.stage import STAGES, stage_file

from .visit import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

MINUTE = 60 * SECOND
PLACES = {"usecase": "/use-cases/", "approval": "/approvals/", "incident": "/incidents/", "contract": "/contracts/"}
TAGS = {"reached": "good", "not reached": "warn", "too early": "mut"}


def maturity(visit: Visit) -> Response:
    """Show it, computed not longer than a minute ago: it says when."""
    at = visit.at
    model = at.model()
    if model is None:
        raise Denied("no operating model is in force", hint="bedplate apply operating-model.yaml")
    found = visit.worked_out("maturity", model.digest, MINUTE, lambda: computed(at.engine, at.calls, model, at.clock()))
    following = stage_file(found.stage.following) if found.stage.following else None
    return visit.show("maturity.html", found=found, stages=STAGES, following=following, tags=TAGS, place=_place)


def _place(link: str) -> str:
    """Return the page of what stands behind a point; "" where it has none."""
    kind, _, name = link.partition("/")
    return f"{PLACES[kind]}{name}" if kind in PLACES and kind != "contract" else ""


PAGES = (Page("/maturity", maturity),)
