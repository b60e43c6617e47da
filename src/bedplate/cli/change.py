"""`bedplate plan` and `bedplate apply`: what a file would change, and changing it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from cyclopts import Parameter

from bedplate.errors import InvalidInput, NeedsApproval

from .approvals import waiting
from .ideas import planned, proposed
from .output import fields, line, note
from .server import THERE, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.document import Document
    from bedplate.sdk import Client
    from bedplate.sdk.client import FileKind

HAS_CHANGES = 4
KINDS = ("operating-model", "use-case", "idea", "prices", "data-contract", "vendor")
ODCS = "DataContract"  # as files of the Open Data Contract Standard say it


def plan(
    file: Path,
    *,
    days: Annotated[int, Parameter(help="Of calls that an operating model is replayed over; 0: none.")] = 30,
    server: Server = THERE,
) -> int:
    """Say what FILE would change, and who must agree.

    Changes nothing. FILE is an operating model, a use case, an idea, prices, a data contract or a vendor; its `kind:`
    says which. An operating model is held against everything on record: tiers, approvals, people, live releases, and
    the calls of the last days.
    Exit code 4 if there are changes, 0 if there are none.
    """
    found = _read(file)
    client = server.client()
    told = client.plan(found.kind, found.name, found.text)
    if found.kind == "operating-model":
        blast = _blast(client, found, days) if told["changes"] else None
        server.show({**told, "blast": blast}, lambda: _model_plan(told, file, blast))
        return HAS_CHANGES if told["changes"] else 0
    if found.kind == "prices":
        server.show(told, lambda: _prices_plan(told, file))
        return HAS_CHANGES if told["changes"] else 0
    if found.kind == "idea":
        server.show(told, lambda: planned(told, file))
        return HAS_CHANGES if told["changed"] else 0
    if found.kind in {"data-contract", "vendor"}:
        server.show(told, lambda: _entry_plan(told, file))
        return HAS_CHANGES if told["changed"] else 0
    changes = told["new"] or _differs(client, found.document)
    server.show({**told, "changed": changes}, lambda: _use_case_plan(told, file, changes=changes))
    return HAS_CHANGES if changes else 0


def apply(file: Path, *, server: Server = THERE) -> int:
    """Put FILE in force, once those who must agree did.

    FILE is an operating model, a use case, an idea, prices, a data contract or a vendor; its `kind:` says which.
    """
    found = _read(file)
    client = server.client()
    try:
        told = client.apply(found.kind, found.name, found.text)
    except NeedsApproval as asked:
        return waiting(server, client, asked, _proposed(found))
    except InvalidInput as same:
        if same.code != "no-change":
            raise
        server.show({"state": "unchanged"}, lambda: line(f"{file} is in force already"))
        return 0
    if found.kind == "idea":
        server.show({"state": "proposed", "idea": told}, lambda: proposed(told))
        return 0
    server.show({"state": "applied", **told}, lambda: line(f"{file} is in force"))
    return 0


@dataclass(frozen=True)
class _File:
    kind: FileKind
    name: str
    text: str
    document: Document


def _read(path: Path) -> _File:
    from bedplate.document import InvalidDocument, parse

    from .folder import read_text

    text = read_text(path)
    document = parse(text, str(path))
    kind = document.root.get("kind")
    kind = "data-contract" if kind == ODCS else kind
    if kind not in KINDS:
        raise InvalidDocument([document.complain(["kind"], f"expected one of: {', '.join(KINDS)}; found {kind!r}")])
    return _File(cast("Any", kind), str(path)[-200:], text, document)


def _differs(client: Client, document: Document) -> bool:
    """Compare a use case's file with the one on record, by the digest under which the server keeps it."""
    from hashlib import sha256

    from bedplate.kernel.event import canonical
    from bedplate.portfolio.usecase import UseCaseFile

    file = document.read(UseCaseFile)
    return bool(client.use_case(file.id)["spec"] != sha256(canonical(file.plain())).hexdigest())


def _proposed(found: _File) -> Mapping[str, Any] | None:
    """Return the operating model that was proposed: before the founding it alone says who may agree."""
    if found.kind != "operating-model":
        return None
    from bedplate.people.structure import OperatingModelFile

    return found.document.read(OperatingModelFile).plain()


def _blast(client: Client, found: _File, days: int) -> dict[str, Any] | None:
    """Ask what else it would change; None while no operating model is in force."""
    if client.get("/api/model")["model"] is None:
        return None
    return client.post("/api/model/blast", {"name": found.name, "text": found.text, "days": days})


def _model_plan(told: Mapping[str, Any], file: Path, blast: Mapping[str, Any] | None) -> None:
    from .blast import radius

    bodies = {"policy": "board", "technical": "coe"}
    lines: dict[tuple[str, str, str], list[str]] = {}
    for change in told["changes"]:
        lines.setdefault((change["path"], change["before"], change["after"]), []).append(bodies[change["needs"]])
    for (path, before, after), needs in lines.items():
        if not before:
            line(f"+ {path}: {after}   ({' and '.join(needs)})", style="green")
        elif not after:
            line(f"- {path}: {before}   ({' and '.join(needs)})", style="red")
        else:
            line(f"~ {path}: {before} → {after}   ({' and '.join(needs)})", style="yellow")
    if told["changes"]:
        line(f"{len(lines)} {'change' if len(lines) == 1 else 'changes'}; must agree: {' and '.join(told['needs'])}")
        if blast is not None:
            radius(blast)
        note(f"Nothing was changed. Go on with: bedplate apply {file}")
    else:
        line("no changes")


def _prices_plan(told: Mapping[str, Any], file: Path) -> None:
    from bedplate.gateway.price import dollars

    for change in told["changes"]:
        sign, style = ("+", "green") if change["change"] == "begins" else ("-", "red")
        money = f"${dollars(change['input'], 4)} in, ${dollars(change['output'], 4)} out"
        until = f" to {change['until']}" if change["until"] else ""
        line(f"{sign} {change['model']} at {change['upstream']} from {change['since']}{until}: {money}", style=style)
    for why in told["refused"]:
        line(f"  refused: {why}", style="red")
    if not told["changes"]:
        line("no changes")
    elif not told["refused"]:
        note(f"Nothing was changed. Go on with: bedplate apply {file}")


def _entry_plan(told: Mapping[str, Any], file: Path) -> None:
    """Say what becomes of a data contract, or of a vendor on the register."""
    other = ("~", "changed", "yellow") if told["changed"] else (" ", "unchanged", "")
    word = ("+", "new", "green") if told["new"] else other
    line(f"{word[0]} {told['kind']} {told['id']}: {word[1]}", style=word[2])
    if told["kind"] == "data-contract":
        fields({"checks": ", ".join(c["name"] for c in told["checks"]), "named by": ", ".join(told["affected"])})
    if told["changed"]:
        note(f"Nothing was changed. Go on with: bedplate apply {file}")


def _use_case_plan(told: Mapping[str, Any], file: Path, *, changes: bool) -> None:
    found = told["assessment"]
    word = ("+", "new", "green") if told["new"] else ("~", "changed", "yellow") if changes else (" ", "unchanged", "")
    line(f"{word[0]} {told['id']}: {word[1]}", style=word[2])
    fields(
        {
            "tier": f"{found['tier']} ({found['impact']} × {found['autonomy']})",
            "because": "\n".join(found["reasons"]),
            "worth": f"{found['worth']} of 25: value {found['value']} × feasibility {found['feasibility']}",
            "a year": f"{found['yearly_cents'] // 100:,} in your currency, as the file promises",
            "must agree": "; ".join(f"{s['quorum']} of {s['body']} ({s['decides']})" for s in told["needs"])
            or "nobody",
        }
    )
    if changes:
        note(f"Nothing was changed. Go on with: bedplate apply {file}")
