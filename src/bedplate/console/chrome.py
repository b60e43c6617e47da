"""What is around every page: whose it is, who looks, and what must not be overlooked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bedplate
from bedplate.paths.bottleneck import signalled
from bedplate.people.views import accounts
from bedplate.shadow.governance import amnesty_of, in_amnesty

if TYPE_CHECKING:
    from bedplate.kernel.model import OperatingModel
    from bedplate.paths.bottleneck import Bottleneck

    from .visit import Visit

PLACES = (
    ("/", "Home"),
    ("/portfolio", "Portfolio"),
    ("/ideas", "Ideas"),
    ("/use-cases", "Use cases"),
    ("/approvals", "Approvals"),
    ("/people", "People"),
    ("/incidents", "Incidents"),
    ("/calls", "Calls"),
    ("/guardrails", "Guardrails"),
    ("/data", "Data"),
    ("/upstreams", "Upstreams"),
    ("/vendors", "Vendors"),
    ("/cost", "Cost"),
    ("/prompts", "Prompts"),
    ("/evals", "Evals"),
    ("/agents", "Agents"),
    ("/actions", "Actions"),
    ("/runs", "Runs"),
    ("/oversight", "Oversight"),
    ("/stops", "Stops"),
    ("/flow", "Flow"),
    ("/shadow", "Shadow AI"),
    ("/ledger", "Ledger"),
    ("/value", "Value"),
    ("/board", "Board pack"),
    ("/model", "Operating model"),
    ("/maturity", "Maturity"),
    ("/paths", "Paths"),
)
# In which order the places stand, and under which heading; what is in none stands last.
GROUPS = (
    ("", ("/", "/board")),
    ("Portfolio", ("/portfolio", "/ideas", "/use-cases", "/value", "/paths", "/vendors")),
    ("Decide", ("/approvals", "/people", "/flow", "/maturity", "/model", "/shadow")),
    ("Agents", ("/agents", "/actions", "/runs", "/oversight", "/stops")),
    ("Run", ("/incidents", "/calls", "/guardrails", "/prompts", "/evals", "/data", "/upstreams", "/cost")),
    ("Prove", ("/ledger",)),
)


def of(visit: Visit) -> dict[str, Any]:
    """Return the values that the base template needs. To a stranger it tells no more than the product's name."""
    at, path = visit.at, visit.request.url.path
    theme = visit.request.cookies.get("bedplate_theme", "")
    shown: dict[str, Any] = {
        "me": visit.me,
        "theme": theme if theme in {"light", "dark"} else "",
        "version": bedplate.__version__,
        "places": _grouped(path) if visit.me is not None else [],
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
    if in_amnesty(model, at.clock()):
        until = amnesty_of(model)["until"]
        banners.append(f"Amnesty until {until}: declare what your team uses under Shadow AI, and nobody above is told.")
    now = at.clock()
    for subject, standing in at.follower.snapshot.standings.items():
        if now < standing.glass_until:
            banners.append(f"Break-glass is open for {subject}: its changes pass without approval for now.")
    if model is not None and _steers(model, visit.me.person):
        banners += [_piled(found) for found in signalled(at.engine, now)]
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


def _grouped(path: str) -> list[tuple[str, list[tuple[str, str, bool]]]]:
    """Return the places by heading, each with its name and whether it is the one that is looked at."""
    names = dict(PLACES)
    listed = [(heading, [href for href in hrefs if href in names]) for heading, hrefs in GROUPS]
    known = {href for _, hrefs in listed for href in hrefs}
    listed.append(("More", [href for href in names if href not in known]))
    return [(head, [(href, names[href], _within(path, href)) for href in hrefs]) for head, hrefs in listed if hrefs]


def _steers(model: OperatingModel, person: str) -> bool:
    known = model.authority.people.get(person)
    return known is not None and any(seat.body in {"board", "coe"} for seat in known.seats)


def _piled(found: Bottleneck) -> str:
    """Tell board and CoE of a bottleneck."""
    name = {"board": "The board", "coe": "The CoE"}[found.body]
    backlog = f"{found.waiting} decisions wait, {found.grown} more than {found.weeks} weeks ago"
    seen = f"{found.sightings} sightings of unregistered AI came in four weeks"
    return f"{name} is the bottleneck: {backlog}, and {seen}. See Flow for what delegating would do."


def _within(path: str, href: str) -> bool:
    return path == href or (href != "/" and path.startswith(f"{href}/"))
