"""Vendors: the register, one of it, reviewing one, and what stops if one stops."""

# No `from __future__ import annotations`: the command line reads the types of its options.
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote

from cyclopts import App, Parameter

from .approvals import bare
from .output import fields, line, moment, note, table
from .server import THERE, Server

vendor_app = App(name="vendor", help="Vendors of models and of products with AI: terms, reviews, what depends on them.")
CENTS, NANO = 100, 10**9


@vendor_app.command(name="list")
def list_vendors(
    *,
    due: Annotated[bool, Parameter(help="Only those whose review or terms are over, or will be in 30 days.")] = False,
    server: Server = THERE,
) -> int:
    """List the register, with what is due."""
    found = server.client().get("/api/vendors")["vendors"]
    if due:
        found = [v for v in found if v["review"] in {"overdue", "soon"} or v["terms"] in {"ended", "soon"}]

    def text() -> None:
        if not found:
            note("Nothing is due." if due else "No vendor is registered yet. Register one: bedplate apply vendor.yaml")
            return
        rows = [
            (v["id"], v["name"], v["state"], v["review"], _day(v["review_due"]), v["terms"], _day(v["terms_until"]))
            for v in found
        ]
        table(("vendor", "name", "state", "review", "due", "terms", "until"), rows, wraps=1)

    server.show({"vendors": found}, text)
    return 0


@vendor_app.command
def show(vendor: str, *, server: Server = THERE) -> int:
    """Show one vendor: what it supplies, its terms, its use of our data, the exit plan, and its reviews."""
    found = server.client().get(f"/api/vendors/{quote(bare(vendor))}")
    server.show({"vendor": found}, lambda: _one(found))
    return 0


@vendor_app.command
def review(
    vendor: str,
    *,
    notes: Annotated[str, Parameter(help="What was looked at, and what was found.")],
    next: Annotated[str, Parameter(help="By which day it is looked at again, 2027-01-31.")],  # noqa: A002  the option's name
    outcome: Annotated[Literal["kept", "ended"], Parameter(help="Whether we go on with it.")] = "kept",
    server: Server = THERE,
) -> int:
    """Review a vendor: on record, with what was found; it is looked at again by the day you name."""
    body = {"outcome": outcome, "notes": notes, "next": next}
    found = server.client().post(f"/api/vendors/{quote(bare(vendor))}/reviews", body)
    said = f"reviewed, {outcome}; looked at again by {_day(found['review_due'])}"
    server.show({"vendor": found}, lambda: line(found["id"], said))
    return 0


@vendor_app.command
def concentration(
    *,
    days: Annotated[int, Parameter(help="Of calls and spend that are added up.")] = 30,
    server: Server = THERE,
) -> int:
    """Say what stops if a vendor stops, and what share of calls, spend and value goes through each."""
    told = server.client().get("/api/vendors/concentration", days=days)

    def text() -> None:
        if not told["shares"]:
            note("No vendor is registered, and nothing that is live asks one.")
            return
        columns = ("vendor", "stops", "degrades", "calls", "spend", "value that stops")
        table(columns, [_share(s) for s in told["shares"]], wraps=0)
        line()
        for share in told["shares"]:
            for hit in share["hits"]:
                line(share["id"], "→", hit["id"], hit["effect"], f"({hit['why']})")
        index = {"of calls": told["herfindahl_calls"], "of spend": told["herfindahl_cost"]}
        known = [f"{value:,} {name}" for name, value in index.items() if value is not None and value >= 0]
        if known:
            line(f"Herfindahl index, 0 to 10,000: {' and '.join(known)}, over {told['days']} days")

    server.show(told, text)
    return 0


def _share(share: Mapping[str, Any]) -> tuple[object, ...]:
    effects = [hit["effect"] for hit in share["hits"]]
    spend = share["cost_permille"]
    return (
        share["id"],
        effects.count("stops"),
        effects.count("degrades"),
        f"{share['calls']:,} ({share['calls_permille'] / 10:.1f} %)",
        "" if spend is None else f"${share['cost_nano'] / NANO:,.2f} ({spend / 10:.1f} %)",
        f"{share['yearly_cents'] // CENTS:,} a year ({share['yearly_permille'] / 10:.1f} %)",
    )


def _one(found: Mapping[str, Any]) -> None:
    entry = found["entry"]
    use, leave = entry["data_use"], entry["exit_plan"]
    ways = [leave["vendor"], leave["upstream"]]
    fields(
        {
            "vendor": f"{found['id']}: {found['name']}",
            "state": found["state"],
            "models": ", ".join(entry["models"]),
            "upstreams": ", ".join(entry["upstreams"]),
            "products": "; ".join(
                f"{p['name']} ({', '.join(p['use_cases']) or 'no use case'})" for p in entry["products"]
            ),
            "terms": f"{entry['terms']['summary']} ({found['terms']}, to {_day(found['terms_until'])})",
            "terms at": entry["terms"]["url"],
            "trains on our data": use["trains_on_our_data"],
            "processed in": ", ".join(use["processed_in"]),
            "kept there": f"{use['retention_days']} days",
            "sub-processors": ", ".join(use["sub_processors"]),
            "exit plan": leave["summary"],
            "would go to": ", ".join(filter(None, ways)),
            "exit tested": leave["tested_on"] or "never",
            "contacts": "; ".join(f"{c['name']}, {c['role']} {c['email'] or ''}".strip() for c in entry["contacts"]),
            "review": f"{found['review']}: due {_day(found['review_due'])}, by {found['reviewer']}",
        }
    )
    if found["reviews"]:
        line()
        rows = [(moment(r["at"]), r["reviewed_by"], r["outcome"], r["notes"]) for r in found["reviews"]]
        table(("reviewed", "by", "outcome", "notes"), rows)


def _day(until: int) -> str:
    """Write the last day before a moment."""
    return moment(until - 1)[:10] if until else ""
