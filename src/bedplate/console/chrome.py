"""What is around every page: whose it is, who looks, and what must not be overlooked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bedplate
from bedplate.people.views import accounts

if TYPE_CHECKING:
    from .visit import Visit

PLACES = (
    ("/", "Home"),
    ("/use-cases", "Use cases"),
    ("/approvals", "Approvals"),
    ("/incidents", "Incidents"),
    ("/calls", "Calls"),
    ("/guardrails", "Guardrails"),
    ("/upstreams", "Upstreams"),
    ("/cost", "Cost"),
    ("/prompts", "Prompts"),
    ("/evals", "Evals"),
    ("/ledger", "Ledger"),
)


def of(visit: Visit) -> dict[str, Any]:
    """Return the values that the base template needs. To a stranger it tells no more than the product's name."""
    at, path = visit.at, visit.request.url.path
    theme = visit.request.cookies.get("bedplate_theme", "")
    shown: dict[str, Any] = {
        "me": visit.me,
        "theme": theme if theme in {"light", "dark"} else "",
        "version": bedplate.__version__,
        "places": [(href, name, _within(path, href)) for href, name in PLACES] if visit.me is not None else [],
        "now": at.clock(),
        "organisation": "",
        "posture": "",
        "people": {},
        "domains": {},
        "banners": [],
        "upstreams": [],
    }
    if visit.me is None:
        return shown
    model = at.model()
    banners = [f"The records do not hold together, and nothing can be changed: {fault}" for fault in at.faults]
    if model is None:
        banners.append(
            "No operating model is in force yet: every call is refused. Run: bedplate apply operating-model.yaml"
        )
    elif model.authority.posture == "solo":
        banners.append("Posture solo: one person may hold every part, so accountability is not separated here.")
    now = at.clock()
    for subject, standing in at.follower.snapshot.standings.items():
        if now < standing.glass_until:
            banners.append(f"Break-glass is open for {subject}: its changes pass without approval for now.")
    people = {a["person"]: a["name"] for a in accounts(at.engine)}
    if model is not None:
        people |= {p.id: p.name for p in model.authority.people.values()}
    return {
        **shown,
        "organisation": model.organisation if model is not None else "",
        "posture": model.authority.posture if model is not None else "none",
        "people": people,
        "domains": model.domains if model is not None else {},
        "banners": banners,
        "upstreams": [upstream.name for upstream in at.upstreams.values()],
    }


def _within(path: str, href: str) -> bool:
    return path == href or (href != "/" and path.startswith(f"{href}/"))
