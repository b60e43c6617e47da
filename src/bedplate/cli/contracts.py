"""Data contracts: how they stand, one with its checks, declaring one, and reporting what its checks found."""

# No `from __future__ import annotations`: the command line reads the types of its options.
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from cyclopts import App, Parameter

from .approvals import bare
from .change import apply as apply_file
from .output import fields, line, moment, note, short, table
from .server import THERE, Server

contract_app = App(name="contract", help="Data contracts: how they stand, and results of their checks.")


@contract_app.command(name="list")
def list_contracts(*, server: Server = THERE) -> int:
    """List data contracts with how they stand by the last results of their checks."""
    found = server.client().get("/api/contracts")["contracts"]

    def text() -> None:
        if not found:
            note("No data contract is declared yet. Declare one: bedplate apply contract.yaml")
            return
        columns = ("contract", "state", "passed", "checked", "owner", "domain", "named by", "days to mend")
        rows = [
            (
                c["id"],
                c["state"],
                f"{c['passed_permille'] // 10} %",
                moment(c["checked_at"]) or "never",
                c["owner"],
                c["domain"],
                c["affected"] or "",
                c["mend_days"] or "",
            )
            for c in found
        ]
        table(columns, rows, wraps=0)

    server.show({"contracts": found}, text)
    return 0


@contract_app.command
def show(contract: str, *, server: Server = THERE) -> int:
    """Show one data contract: its checks with their last results, and the use cases that name it."""
    found = server.client().get(f"/api/contracts/{quote(bare(contract))}")
    server.show({"contract": found}, lambda: _one(found))
    return 0


@contract_app.command
def apply(file: Path, *, server: Server = THERE) -> int:
    """Declare a data contract, or change it: FILE is ours, or one of the Open Data Contract Standard 3.

    The same as `bedplate apply FILE`.
    """
    return apply_file(file, server=server)


@contract_app.command
def check(
    contract: str,
    file: Path,
    *,
    run: Annotated[
        str, Parameter(help="Name of the run, where the file has none. Sent again, it changes nothing.")
    ] = "",
    at: Annotated[str, Parameter(help="When it was checked, 2026-11-23T06:00:00Z, where the file does not say.")] = "",
    server: Server = THERE,
) -> int:
    """Report what a contract's checks found: FILE is YAML, JSON, or CSV with check, passed, value and rows."""
    from bedplate.data.results import parse_results

    from .folder import read_text

    results = parse_results(read_text(file), str(file)[-200:], run=run, at=at)
    client = server.client()
    body = results.model_dump(exclude_none=True)
    told = client.post(f"/api/contracts/{quote(bare(contract))}/results", body)

    def text() -> None:
        again = "" if told["recorded"] else " (reported before; nothing was changed)"
        line(bare(contract), told["state"], f"after run {told['run']}{again}")
        for incident in told["opened"]:
            line("incident", f"{bare(incident)} opened: bedplate incident show {bare(incident)}")

    server.show(told, text)
    return 0


def _one(found: Mapping[str, Any]) -> None:
    fields(
        {
            "contract": f"{found['id']}: {found['title']}",
            "state": found["state"],
            "owner": f"{found['owner']} ({found['domain']})",
            "about": found["description"],
            "source": found["source"],
            "file": short(found["file"]),
            "failing since": moment(found["failing_since"]),
            "days to mend": found["mend_days"] or "",
            "named by": ", ".join(f"{u['id']} ({u['stage']})" for u in found["affected"]),
        }
    )
    line()
    columns = ("check", "dimension", "state", "value", "rows", "checked", "good until")
    rows = [
        (c["name"], c["dimension"], c["state"], c["value"], c["rows"] or "", moment(c["at"]), moment(c["due"]))
        for c in found["checks"]
    ]
    table(columns, rows, wraps=0)
    if found["runs"]:
        line()
        runs = [(r["run"], moment(r["at"]), r["passed"], r["failed"], r["reported_by"]) for r in found["runs"]]
        table(("run", "at", "passed", "failed", "reported by"), runs, wraps=0)
