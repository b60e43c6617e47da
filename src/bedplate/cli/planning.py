"""The portfolio as a whole: ranked, the best set within what there is, and whether it is balanced."""

# No `from __future__ import annotations`: the command line reads these types when the group is built.
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from .ideas import place, span
from .output import fields, line, note, table
from .server import THERE, Server

portfolio_app = App(name="portfolio", help="What to build and what not: ranking, selection, balance.")


@portfolio_app.command
def rank(*, server: Server = THERE) -> int:
    """Rank ideas and use cases that are not live yet: value × feasibility × data readiness × cost of control."""
    told = server.client().get("/api/portfolio/rank")

    def text() -> None:
        if not told["ranked"]:
            note("There is nothing to rank. Propose an idea: bedplate idea propose FILE")
            return
        rows = [
            (
                place(r),
                r["proposal"]["id"],
                r["proposal"]["stage"],
                r["score"]["mid"],
                *(span(p["measure"]) for p in r["parts"]),
            )
            for r in told["ranked"]
        ]
        table(("place", "what", "stage", "score", *(f"{p} {w} %" for p, w in told["weights"].items())), rows, wraps=1)
        line()
        if told["holds"]:
            line("The order of the first places holds when any one weight moves by 20 %.")
        for moved in (m for m in told["sensitivity"] if m["swaps"]):
            pairs = "; ".join(f"{after} before {before}" for before, after in moved["pairs"][:5])
            line(f"{moved['part']} {moved['by_percent']:+d} %: {_count(moved['swaps'], 'pair')} would swap: {pairs}")

    server.show(told, text)
    return 0


@portfolio_app.command
def select(
    *,
    days: Annotated[int | None, Parameter(help="Person-days there are. Otherwise the operating model's.")] = None,
    budget: Annotated[
        int | None, Parameter(help="Money there is, in whole units. Otherwise the operating model's.")
    ] = None,
    must: Annotated[list[str] | None, Parameter(help="An idea that must be in; may be given again.")] = None,
    without: Annotated[list[str] | None, Parameter(help="An idea that must be out; may be given again.")] = None,
    buckets: Annotated[Literal["", "targets", "limits"], Parameter(help="What the buckets' shares are.")] = "",
    aim: Annotated[Literal["value", "score"], Parameter(help="Yearly value, or the ranking's points.")] = "value",
    against_days: Annotated[int | None, Parameter(help="Also choose with so many days, and compare.")] = None,
    server: Server = THERE,
) -> int:
    """Choose the open ideas that are worth most within people, money and appetite. Decides nothing.

    What was taken up already keeps its part of what there is.
    """
    asked: dict[str, Any] = {"buckets": buckets, "aim": aim, "must": must or [], "without": without or []}
    asked |= {"days": days} if days is not None else {}
    asked |= {"cents": budget * 100} if budget is not None else {}
    client = server.client()
    if against_days is None:
        told = client.post("/api/portfolio/select", asked)
        server.show(told, lambda: _selected(told))
        return 0
    both = client.post("/api/portfolio/what-if", {"before": asked, "after": {**asked, "days": against_days}})

    def text() -> None:
        _selected(both["before"])
        line()
        line(f"with {against_days} days instead:")
        difference = both["difference"]
        fields(
            {
                "comes in": ", ".join(c["id"] for c in difference["comes"]) or "nothing",
                "falls out": ", ".join(c["id"] for c in difference["falls"]) or "nothing",
                "difference": _amount(difference["value"], aim),
            }
        )

    server.show(both, text)
    return 0


@portfolio_app.command
def balance(
    *,
    ideas: Annotated[bool, Parameter(help="Count open ideas too, as if they were taken up.")] = False,
    server: Server = THERE,
) -> int:
    """Set the three buckets beside their targets, and warn when generative AI is built on data in disorder."""
    told = server.client().get("/api/portfolio/balance", ideas="yes" if ideas else "no")

    def text() -> None:
        rows = [
            (b["name"], b["count"], b["days"], _share(b["effort"]), _share(b["worth"]), _share(b["target"]))
            for b in told["buckets"]
        ]
        table(("bucket", "how many", "days", "of the effort", "of the value", "target"), rows, wraps=0)
        line()
        _trap(told["trap"])

    server.show(told, text)
    return 0


def _selected(told: Mapping[str, Any]) -> None:
    aim = told["setting"]["aim"]
    rows = [(c["id"], c["bucket"], c["tier"], c["days"], _amount(c["value"], aim), "in") for c in told["chosen"]]
    rows += [(c["id"], c["bucket"], c["tier"], c["days"], _amount(c["value"], aim), c["why"]) for c in told["left"]]
    if not rows:
        note("No idea is open. Propose one: bedplate idea propose FILE")
        return
    table(("idea", "bucket", "tier", "days", "value", "in, or why not"), rows)
    line()
    proof = "proven: no other set is worth more" if told["optimal"] else "not proven"
    line(f"{_amount(told['value'], aim)} together; {proof} (gap {told['gap_permille'] / 10:g} %)")
    for used in told["used"]:
        line(f"  {used['used']:,} of {used['most']:,} {used['limit']}")
    if told["committed"]:
        line(f"  taken up before, and counted first: {', '.join(told['committed'])}")


def _trap(trap: Mapping[str, Any]) -> None:
    lean = f"{_share(trap['generative_permille'])} of the effort is generative AI"
    needs = _count(trap["needed"], "data contract")
    line(f"{lean} ({trap['generative_days']:,} of {trap['days']:,} days); it needs {needs}")
    if trap["sprung"]:
        names = ", ".join(f"{c['id']} ({c['state']})" for c in trap["broken"])
        value = f"{trap['standing_cents'] // 100:,} a year"
        line("warning:", f"{trap['standing_days']:,} of these days, and {value}, stand on data in disorder: {names}")
    for work in trap["work"]:
        value, day = f"{work['share_cents'] // 100:,} a year", f"{work['cents_a_day'] // 100:,} a day of work"
        line(f"  {work['contract']['id']}: {work['days']} days of work unlock {value} ({day})")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("s" if number != 1 else "")


def _amount(value: int, aim: str) -> str:
    return f"{value // 100:,} a year" if aim == "value" else f"{value} points"


def _share(permille: int) -> str:
    return f"{permille / 10:g} %" if permille >= 0 else "none"
