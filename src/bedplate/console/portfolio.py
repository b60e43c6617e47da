"""Use cases: the table and the two charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.portfolio import views

from . import chart
from .visit import PAGE, Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response


def use_cases(visit: Visit) -> Response:
    """Show the portfolio, a hundred at a time."""
    text = visit.query("text").lower()
    every = views.use_cases(visit.at.engine)
    found = [c for c in every if text in f"{c.title} {c.id} {c.owner} {c.domain}".lower()] if text else every
    page = visit.number("page", 1)
    shown = found[(page - 1) * PAGE : page * PAGE]
    model = visit.at.model()
    tiers = {} if model is None else {cell: f"{int(t)} {model.tiers[t].name}" for cell, t in model.matrix.items()}
    dots = chart.matrix(shown)
    return visit.show(
        "use_cases.html",
        cases=[(dot.number, dot.case, dot.state) for dot in dots],
        dots=dots,
        bubbles=chart.bubbles(shown),
        tiers=tiers,
        total=len(found),
        page=page,
        last=max(1, -(-len(found) // PAGE)),
        text=visit.query("text"),
    )


PAGES = (Page("/use-cases", use_cases),)
