"""What calls cost, how budgets stand, and where the month leads."""

# No `from __future__ import annotations`: the command line reads the types of Sheet from this module.
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from .approvals import bare
from .output import line, note, short, table
from .server import THERE, Server

cost_app = App(name="cost", help="What calls cost, budgets, and the forecast.")
By = Literal["use-case", "team", "model", "day", "release", "key", "route", "dialect"]
UNITS = {"calls": "calls", "tokens": "tokens", "nano": "US dollars"}


@Parameter(name="*")
@dataclass(frozen=True)
class Sheet(Server):
    """A server's answer that can also be a table for a spreadsheet."""

    output: Annotated[
        Literal["text", "json", "csv"],
        Parameter(name=("--output", "-o"), help="text for people, json for programs, csv for spreadsheets."),
    ] = "text"  # type: ignore[assignment]  # one format more than the others have


SHEET = Sheet()


@cost_app.default
def cost(
    *,
    by: Annotated[By, Parameter(help="What to add up by.")] = "use-case",
    since: Annotated[str, Parameter(help="First UTC day, such as 2026-11-01. Otherwise this month's.")] = "",
    until: Annotated[str, Parameter(help="Last UTC day. Otherwise today.")] = "",
    use_case: Annotated[str, Parameter(help="Only calls of this use case.")] = "",
    server: Sheet = SHEET,
) -> int:
    """Show what calls cost, this month unless told. Calls without a price are counted, and not in the sum."""
    client = server.client()
    if server.output == "csv":
        sys.stdout.write(client.text("/api/cost.csv", by=by, since=since, until=until, use_case=bare(use_case)))
        return 0
    told = client.get("/api/cost", by=by, since=since, until=until, use_case=bare(use_case))
    server.show(told, lambda: _costs(told))
    return 0


@cost_app.command
def budgets(*, server: Server = THERE) -> int:
    """Show how every limit stands, and when it is expected to be used up."""
    told = server.client().get("/api/cost/budgets")
    server.show(told, lambda: _budgets(told["budgets"]))
    return 0


@cost_app.command
def forecast(*, server: Server = THERE) -> int:
    """Forecast each use case's cost to the end of the month."""
    told = server.client().get("/api/cost/forecast")

    def text() -> None:
        if not told["use_cases"]:
            note("Nothing was used yet.")
            return
        rows = [_forecast(bare(f["name"]), f) for f in told["use_cases"]]
        columns = ("use case", "so far", f"by {told['until']}", "80 % between")
        table(columns, [*rows, _forecast("total", told["total"])], wraps=0)

    server.show(told, text)
    return 0


@cost_app.command
def prices(*, server: Server = THERE) -> int:
    """Show which price applies to each live release, per million tokens, and what was agreed with providers."""
    told = server.client().get("/api/prices")

    def text() -> None:
        rows = []
        for live in told["live"]:
            rates = live["rates"][-1] if live["rates"] else None
            money = (
                (_dollars(rates["input"], 4), _dollars(rates["output"], 4)) if rates else ("not priced", "not priced")
            )
            rows.append((bare(live["use_case"]), live["model"], *money, live["price"]))
        table(("use case", "model", "in", "out", "price"), rows, wraps=4)
        for agreed in told["prices"]:
            until = f" to {agreed['until']}" if agreed["until"] else ""
            said = f"{_dollars(agreed['input'], 4)} in, {_dollars(agreed['output'], 4)} out"
            line(f"agreed: {agreed['model']} from {agreed['since']}{until}: {said} ({agreed['contract']})")

    server.show(told, text)
    return 0


def _costs(told: Mapping[str, Any]) -> None:
    if not told["costs"]:
        note(f"No calls from {told['since']} to {told['until']}.")
        return
    rows = [_cost(c, told["by"]) for c in told["costs"]]
    columns = (
        told["by"].replace("-", " "),
        "US dollars",
        "calls",
        "refused",
        "failed",
        "tokens in",
        "out",
        "not priced",
    )
    table(columns, [*rows, _cost(told["total"], "")], wraps=0)
    if told["total"]["unpriced"]:
        note("Calls that are not priced are not in the sum. Agree a price: bedplate apply prices.yaml", "yellow")


def _cost(c: Mapping[str, Any], by: str) -> Sequence[object]:
    name = short(c["name"]) if by == "release" else bare(c["name"]) if by == "use-case" else c["name"]
    alone = c["unpriced"] and c["unpriced"] == c["calls"]
    money = "not priced" if alone and not c["cost_nano"] else _dollars(c["cost_nano"])
    counts = (f"{c[n]:,}" for n in ("calls", "refused", "failed", "tokens_in", "tokens_out"))
    return (name or "(none)", money, *counts, f"{c['unpriced']:,}" if c["unpriced"] else "")


def _budgets(lines: Sequence[Mapping[str, Any]]) -> None:
    if not lines:
        note("No use case is live.")
        return
    rows = []
    for found in lines:
        unit, _, span = found["limit"].partition("_per_")
        amounts = (found["used"], found["reserved"], found["most"])
        used, reserved, most = (_dollars(n) if unit == "nano" else f"{n:,}" for n in amounts)
        led = found["forecast"]
        comes = "" if led is None or not led["judged"] else _amount(led["expected"], unit)
        what = f"{UNITS[unit]} a {span}"
        rows.append((bare(found["subject"]), what, used, reserved, most, comes, found["exhausted"], found["state"]))
    table(("use case", "limit", "used", "reserved", "most", "forecast", "used up", "state"), rows, wraps=0)


def _forecast(name: str, found: Mapping[str, Any]) -> Sequence[object]:
    if not found["judged"]:
        return (name, _dollars(found["so_far"]), "too early to say", "")
    return (
        name,
        *(_dollars(found[n]) for n in ("so_far", "expected")),
        f"{_dollars(found['low'])} and {_dollars(found['high'])}",
    )


def _amount(amount: int, unit: str) -> str:
    return _dollars(amount) if unit == "nano" else f"{amount:,}"


def _dollars(amount: int, places: int = 2) -> str:
    from bedplate.gateway.price import dollars

    return dollars(amount, places)
