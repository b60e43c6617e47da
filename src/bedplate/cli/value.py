"""What use cases are worth, and the board's pack."""

# No `from __future__ import annotations`: the command line reads the types of Paper from this module.
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from bedplate.errors import Conflict, InvalidInput, NeedsApproval

from .approvals import waiting
from .cost import SHEET, Sheet
from .output import fields, line, note, table
from .server import THERE, Server

if TYPE_CHECKING:
    from bedplate.sdk import Client

value_app = App(name="value", help="What use cases promised, what came of it, and what it cost.")
board_app = App(name="board", help="What the board needs for its meeting.")
Metric = Literal["level", "count", "benefit"]
Kind = Literal["people", "infrastructure", "licence"]
Period = Annotated[str, Parameter(help="A month such as 2026-10.")]
MOST_BYTES = 18 << 20  # what the API takes at once


@Parameter(name="*")
@dataclass(frozen=True)
class Paper(Server):
    """A server's answer that is written to a file."""

    output: Annotated[Path, Parameter(name=("--output", "-o"), help="The file to write.")] = Path()  # type: ignore[assignment]  # a file where others have a format


PAPER = Paper()


@value_app.default
def value(*, server: Sheet = SHEET) -> int:
    """Show what the portfolio was worth, months that are over."""
    client = server.client()
    if server.output == "csv":
        sys.stdout.write(client.text("/api/value.csv"))
        return 0
    told = client.get("/api/value")
    server.show(told, lambda: _all(told))
    return 0


@value_app.command
def show(use_case: str, *, server: Server = THERE) -> int:
    """Show what one use case was worth, month by month, and how its stop rule stands."""
    told = server.client().get(f"/api/use-cases/{use_case}/value")
    server.show(told, lambda: _one(told))
    return 0


@value_app.command
def record(
    use_case: str,
    *,
    period: Period,
    value: Annotated[str, Parameter(help="The number, such as 7.5.", allow_leading_hyphen=True)],
    metric: Annotated[
        Metric,
        Parameter(help="level: what a unit of the hypothesis is now; count: how many times; benefit: money."),
    ] = "level",
    n: Annotated[str, Parameter(help="How many were measured.")] = "",
    sd: Annotated[str, Parameter(help="Their standard deviation.")] = "",
    unit: Annotated[str, Parameter(help="The unit. It must be the hypothesis's.")] = "",
    currency: Annotated[str, Parameter(help="The currency. It must be the operating model's.")] = "",
    loss: Annotated[str, Parameter(help="Why, where the benefit is below zero.")] = "",
    server: Server = THERE,
) -> int:
    """Record what a use case was worth in a month."""
    given = {"metric": metric, "period": period, "value": value, "n": n, "sd": sd, "unit": unit}
    return _recorded(server, use_case, {**given, "currency": currency, "loss": loss})


@value_app.command
def cost(
    use_case: str,
    *,
    kind: Annotated[Kind, Parameter(help="What was paid for.")],
    period: Period,
    cents: Annotated[int, Parameter(help="How much, in cents.")],
    currency: Annotated[str, Parameter(help="The currency. It must be the operating model's.")] = "",
    server: Server = THERE,
) -> int:
    """Record what a use case cost in a month besides its calls, which are added up by themselves."""
    if cents < 0:
        raise InvalidInput(f"a cost is not below zero: {cents}", hint="what was given back lowers the month's amount")
    amount = f"{cents // 100}.{cents % 100:02d}"
    return _recorded(server, use_case, {"metric": kind, "period": period, "value": amount, "currency": currency})


@value_app.command(name="import")
def bring(file: Path, *, server: Server = THERE) -> int:
    """Record the measures of a CSV file, all or nothing.

    Columns: use_case, metric, period, value, n, sd, unit, currency; loss may be left out. The same file may be sent
    again: what is on record as it is stays as it is.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            raise InvalidInput(f"{file} is larger than {MOST_BYTES >> 20} MiB", hint="send it in parts, say by domain")
        with file.open(encoding="utf-8", newline="") as opened:
            text = opened.read()
    except OSError as wrong:
        raise InvalidInput(f"{file} cannot be read: {wrong.strerror}") from None
    except UnicodeDecodeError as wrong:
        where = f"byte {wrong.start}"
        raise InvalidInput(f"{file} is not UTF-8 at {where}", hint="save it as CSV in UTF-8") from None
    told = server.client().post("/api/value/import", {"name": file.name, "text": text})
    server.show(told, lambda: _booked(told))
    return 0


@value_app.command
def renew(use_case: str, *, reason: Annotated[str, Parameter(help="Why it goes on.")], server: Server = THERE) -> int:
    """Let a use case go on whose stop rule fired, once agreed."""
    client = server.client()
    try:
        told = client.post(f"/api/use-cases/{use_case}/renew", {"reason": reason})
    except NeedsApproval as asked:
        return waiting(server, client, asked)
    server.show({"state": "renewed", "use_case": told}, lambda: line(f"{use_case} goes on"))
    return 0


@value_app.command
def report(*, server: Paper = PAPER) -> int:
    """Write the portfolio's value on one page, as PDF, or as CSV where the file ends so."""
    csv = server.output.suffix == ".csv"
    return _written(server, "/api/value.csv" if csv else "/api/value.pdf")


@board_app.default
def board(
    *,
    days: Annotated[int, Parameter(help="How far back the movement goes.")] = 30,
    server: Server = THERE,
) -> int:
    """Show what the board needs for its meeting."""
    told = server.client().get("/api/board", days=days)
    server.show(told, lambda: _board(told))
    return 0


@board_app.command
def pack(
    *,
    days: Annotated[int, Parameter(help="How far back the movement goes.")] = 30,
    server: Paper = PAPER,
) -> int:
    """Write the board's pack on one page, as PDF."""
    return _written(server, "/api/board.pdf", days=days)


def _recorded(server: Server, use_case: str, row: dict[str, str]) -> int:
    told = server.client().post(f"/api/use-cases/{use_case}/value", row)
    server.show(told, lambda: _booked(told))
    return 0


def _written(server: Paper, path: str, **query: int) -> int:
    if not server.output.name:
        raise InvalidInput("no file is named", hint="-o FILE")
    client: Client = server.client()
    content = client.file(path, **query)
    try:
        with server.output.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise Conflict(
            f"{server.output} is there already and is not overwritten", hint="name another: -o FILE"
        ) from None
    except OSError as wrong:
        raise InvalidInput(f"{server.output} cannot be written: {wrong.strerror}") from None
    line("wrote", server.output)
    return 0


def _booked(told: Mapping[str, Any]) -> None:
    line(f"{told['new']} recorded, {told['changed']} changed, {told['same']} on record as they are")


def _all(told: Mapping[str, Any]) -> None:
    if not told["use_cases"]:
        note("No use case was taken into the portfolio yet, or none whose cost you may read.")
        return
    rows = [(u["id"], *_sums(u["sum"]), _stop(u["stop"])) for u in told["use_cases"]]
    together = ("together", *_sums(told["total"]), "")
    columns = ("use case", "forecast", "realised", "95 % between", "cost", "net", "stop rule")
    table(columns, [*rows, together], wraps=0)
    _unsure(told["total"], told["currency"])


def _one(told: Mapping[str, Any]) -> None:
    of, stop = told["hypothesis"], told["stop"]
    fields(
        {
            "use case": f"{told['id']}: {told['title']}",
            "promises": f"{of['baseline']} → {of['target']} {of['unit']}, {of['per_month']} a month",
            "a month": f"{_money(of['monthly_cents'])} {told['currency']}",
            "stop rule": _rule(stop) if stop is not None else "",
            "fired": stop["fired"] if stop is not None else "",
        }
    )
    line()
    rows = []
    for m in told["months"]:
        cost = sum(m["cost_cents"].values())
        rows.append(
            (
                m["period"] if m["over"] else f"{m['period']} (not over)",
                _money(m["forecast_cents"]),
                _money(m["benefit"]["cents"]),
                _between(m["benefit"]),
                m["basis"],
                _money(cost),
            )
        )
    if not rows:
        note("No month is over since it went live, and nothing was recorded yet.")
        return
    table(("month", "forecast", "benefit", "95 % between", "basis", "cost"), rows, wraps=0)
    found = told["sum"]
    percent = found["percent_of_forecast"]
    line(
        f"net {_money(found['net_cents'])} {told['currency']}",
        f"({percent} % of forecast)" if percent is not None else "",
    )
    _unsure(found, told["currency"])


def _sums(found: Mapping[str, Any]) -> tuple[str, ...]:
    realised = found["realised"]
    return (
        _money(found["forecast_cents"]),
        _money(realised["cents"]),
        _between(realised),
        _money(found["total_cost_cents"]),
        _money(found["net_cents"]),
    )


def _unsure(found: Mapping[str, Any], currency: str) -> None:
    if found["estimated_cents"]:
        note(f"{_money(found['estimated_cents'])} {currency} of it is estimated from calls, and was not measured.")
    if found["realised"]["without_interval_cents"]:
        note(f"{_money(found['realised']['without_interval_cents'])} {currency} of it has no interval.")


def _board(told: Mapping[str, Any]) -> None:
    for d in told["decisions"]:
        line("decide", f"{d['summary']}: {d['missing']}, due {d['due'][:10]}")
    if not told["decisions"]:
        line("nothing waits for the board")
    moved = told["movement"]
    line()
    fields({way: ", ".join(m["title"] for m in found) for way, found in moved.items()})
    appetite, incidents, found = told["appetite"], told["incidents"], told["value"]["total"]
    fields(
        {
            "live": f"{appetite['live']}, the appetite is {appetite['live_most']}",
            "below the worth": ", ".join(b["id"] for b in appetite["below"]),
            "incidents": f"{len(incidents['open'])} open, {incidents['overdue']} overdue",
            "net value": f"{_money(found['net_cents'])} {told['value']['currency']}",
            "rules changed": "; ".join(f"{r['at'][:10]} {', '.join(r['touched'])}" for r in told["rules"]),
        }
    )


def _stop(stop: Mapping[str, Any] | None) -> str:
    if stop is None:
        return "none"
    return "fired" if stop["fired"] else f"{stop['counted_months']} of {stop['after_months']} months"


def _rule(stop: Mapping[str, Any]) -> str:
    now = "" if stop["percent"] is None else f", {stop['percent']} % so far"
    return (
        f"{stop['then']} below {stop['below_percent']} % of the forecast after {stop['after_months']} months "
        f"({stop['counted_months']} counted{now})"
    )


def _between(amount: Mapping[str, Any]) -> str:
    return "" if amount["low"] is None else f"{_money(amount['low'])} … {_money(amount['high'])}"


def _money(cents: int) -> str:
    return f"{round(cents / 100):,}"
