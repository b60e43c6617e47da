"""Agents: who they are, their runs, the actions that wait for people, stops, drills, breakers and windows."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from cyclopts import App, Parameter

from bedplate.agents.charter import Charter
from bedplate.document import parse
from bedplate.errors import InvalidInput

from .approvals import bare
from .output import fields, line, moment, note, short, table
from .server import THERE, Server

agents_app = App(name="agents", help="The agents of live releases, and the pins of their tools.")
actions_app = App(name="actions", help="Actions of agents that wait for people.")
breakers_app = App(name="breakers", help="Circuit breakers that opened.")
window_app = App(name="window", help="What an agent may do without asking each time, within bounds.")
Reason = Annotated[str, Parameter(help="Kept on record.")]
MICRO = 1_000_000


@agents_app.default
def agents(use_case: str = "", *, server: Server = THERE) -> int:
    """List the agents of live releases: what they may do, and what stops them now."""
    told = server.client().get("/api/agents", use_case=use_case)

    def text() -> None:
        if told["stopped"]:
            note(f"Everything is stopped: {told['stopped']}", style="bold red")
        if not told["agents"]:
            note("No live release has agents. They stand in agents.yaml, named in use-case.yaml.")
            return
        rows = [
            (a["use_case"], a["agent"], a["title"], a["owner"], a["tier"], a["rung"], len(a["tools"]), _halted(a))
            for a in told["agents"]
        ]
        table(("use case", "agent", "what", "owner", "tier", "rung", "tools", "stopped by"), rows, wraps=2)

    server.show(told, text)
    return 0


@agents_app.command
def pin(
    folder: Annotated[Path, Parameter(help="The use case's folder, with agents.yaml.")] = Path(),
    *,
    tools: Annotated[Path, Parameter(help="Where the MCP servers are: tools.yaml.")] = Path("tools.yaml"),
    check: Annotated[bool, Parameter(help="Change nothing; 4 if a pin differs.")] = False,
) -> int:
    """Read what the MCP servers list now, and write the digests of the tools into agents.yaml.

    A description that changed makes another tool: look at what changed before you release it.
    """
    from bedplate.paths.pinning import pinned, written
    from bedplate.paths.toolfile import read_servers

    path = folder / "agents.yaml"
    try:
        text = path.read_text()
    except OSError as wrong:
        raise InvalidInput(f"{path} cannot be read: {wrong.strerror}", hint="name the use case's folder") from None
    charter = Charter.compile(parse(text.encode(), path.name))
    names = {name.partition("/")[0] for name in charter.tools} - {"local"}
    found = asyncio.run(pinned(read_servers(tools, os.environ), names))
    new, changed = written(text, found)
    if changed and not check:
        path.write_text(new)
    rows = [(name, short(before) or "none", short(now)) for name, before, now in changed]
    if rows:
        table(("tool", "pin before", "pin now"), rows)
        note("Nothing was written." if check else f"Written to {path}. Look at the tools, then release.")
    else:
        note("Every pin is as its server lists the tool.")
    return 4 if changed and check else 0


def runs(run: str = "", *, use_case: str = "", agent: str = "", state: str = "", server: Server = THERE) -> int:
    """List runs, those begun last first, or show one with its timeline."""
    client = server.client()
    if run:
        found = client.get(f"/api/runs/{quote(run, safe='')}")
        server.show({"run": found}, lambda: _timeline(found))
        return 0
    listed = client.get("/api/runs", use_case=use_case, agent=agent, state=state)["runs"]

    def text() -> None:
        if not listed:
            note("No run is on record here.")
            return
        rows = [
            (
                r["run"],
                bare(r["subject"]),
                r["agent"],
                r["state"],
                r["steps"],
                r["actions"],
                r["denied"],
                moment(r["started"]),
            )
            for r in listed
        ]
        table(("run", "use case", "agent", "state", "steps", "actions", "denied", "began"), rows)

    server.show({"runs": listed}, text)
    return 0


@actions_app.default
def actions(
    approval: str = "",
    *,
    state: Annotated[
        str, Parameter(help="asked, granted, refused, expired, voided, spent, answer, take-over, any.")
    ] = "asked",
    use_case: str = "",
    server: Server = THERE,
) -> int:
    """List actions that wait for people, or show one with its arguments. Agree or refuse: bedplate approve, refuse."""
    client = server.client()
    if approval:
        found = client.get(f"/api/actions/{_id(approval)}")
        server.show({"action": found}, lambda: _one(found))
        return 0
    told = client.get("/api/actions", state=state, use_case=use_case)

    def text() -> None:
        if not told["actions"]:
            said = {"asked": "No action waits.", "any": "No action has waited yet."}
            note(said.get(state, f"No action is {state}."))
            return
        rows = [
            (
                bare(a["approval"]),
                a["state"],
                a["agent"],
                a["tool"],
                _amount(a),
                bare(a["subject"]),
                moment(a["expires"]),
            )
            for a in told["actions"]
        ]
        table(("approval", "state", "agent", "tool", "amount", "use case", "expires"), rows)
        if told["total"] > len(rows):
            note(f"{told['total'] - len(rows)} more.")

    server.show(told, text)
    return 0


@actions_app.command
def edit(
    approval: str,
    *,
    arguments: Annotated[str, Parameter(help="JSON, or @FILE.")],
    reason: Reason,
    server: Server = THERE,
) -> int:
    """Change the arguments of an action that waits; it is judged and asked anew, and you cannot agree to it."""
    body = {"arguments": _json(arguments), "reason": reason}
    told = server.client().post(f"/api/actions/{_id(approval)}/edit", body)
    server.show(told, lambda: line(f"asked anew: bedplate approve {bare(told['approval'])}"))
    return 0


@actions_app.command
def answer(approval: str, text: str, *, reason: Reason = "", server: Server = THERE) -> int:
    """Answer the agent in the tool's place."""
    told = server.client().post(f"/api/actions/{_id(approval)}/answer", {"answer": text, "reason": reason})
    server.show(told, lambda: line("the agent gets your answer when it asks again"))
    return 0


@actions_app.command(name="take-over")
def take_over(
    approval: str,
    *,
    reason: Annotated[str, Parameter(help="What you do about it: the agent is told.")],
    server: Server = THERE,
) -> int:
    """Do it yourself: the agent is told so, and the action is closed."""
    told = server.client().post(f"/api/actions/{_id(approval)}/take-over", {"reason": reason})
    server.show(told, lambda: line("it is yours: the agent is told when it asks again"))
    return 0


@actions_app.command
def conclude(
    action: str, state: str, *, reason: Annotated[str, Parameter(help="How you know.")], server: Server = THERE
) -> int:
    """Say what became of an action of which nobody knows it: ok or error."""
    told = server.client().post(f"/api/acts/{quote(action, safe='')}/conclude", {"state": state, "reason": reason})
    server.show(told, lambda: line(f"{action}: {state}"))
    return 0


def stop(
    what: Annotated[str, Parameter(help="A use case, or ALL.")],
    *,
    agent: Annotated[str, Parameter(help="Only this agent of it.")] = "",
    reason: Reason,
    lift: Annotated[bool, Parameter(help="Let what was stopped go on.")] = False,
    server: Server = THERE,
) -> int:
    """Stop an agent, all agents and calls of a use case, or everything. In force everywhere within a second."""
    everything = what == "ALL"
    if everything and agent:
        raise InvalidInput("name the use case of the agent", hint=f"bedplate stop USE-CASE --agent {agent}")
    verb = "lift" if lift else "stop"
    path = f"/api/{verb}" if everything else f"/api/use-cases/{quote(what)}/{verb}"
    body = {"reason": reason} if everything else {"reason": reason, "agent": agent}
    told = server.client().post(path, body)
    name = "everything" if everything else f"{agent} of {what}" if agent else what
    server.show(told, lambda: line(f"{name} {'goes on' if lift else 'is stopped'}"))
    return 0


@breakers_app.default
def breakers(use_case: str = "", *, server: Server = THERE) -> int:
    """List breakers that opened, newest first."""
    listed = server.client().get("/api/stops", use_case=use_case)["breakers"]

    def text() -> None:
        if not listed:
            note("No breaker opened yet.")
            return
        rows = [
            (
                b["scope"],
                "closed" if b["closed_at"] else "open",
                bare(b["subject"]),
                b["signal"],
                b["why"],
                moment(b["at"]),
            )
            for b in listed
        ]
        table(("breaker", "state", "use case", "signal", "why", "opened"), rows, wraps=4)

    server.show({"breakers": listed}, text)
    return 0


@breakers_app.command
def close(use_case: str, scope: str, *, reason: Reason, server: Server = THERE) -> int:
    """Close a breaker that only a person may close."""
    told = server.client().post(f"/api/use-cases/{quote(use_case)}/breakers/close", {"scope": scope, "reason": reason})
    server.show(told, lambda: line(f"{scope} is closed"))
    return 0


@window_app.command(name="open")
def open_window(
    use_case: str,
    agent: str,
    tool: str,
    *,
    until: Annotated[str, Parameter(help="The last day, such as 2026-12-31.")],
    each: Annotated[str, Parameter(help="Of one action, such as '200 EUR'.")] = "",
    total: Annotated[str, Parameter(help="Of all of them, such as '1000 EUR'.")] = "",
    count: Annotated[int, Parameter(help="How many; 0: any number.")] = 0,
    counterparty: Annotated[list[str] | None, Parameter(help="Only these.")] = None,
    server: Server = THERE,
) -> int:
    """Ask that an agent may use a tool without asking each time; people agree as to an action."""
    (amount, unit), (most, other) = _money(each), _money(total)
    body = {"agent": agent, "tool": tool, "amount_micro": amount, "total_micro": most, "unit": unit or other}
    body |= {"count": count, "counterparties": counterparty or [], "until": until}
    told = server.client().post(f"/api/use-cases/{quote(use_case)}/windows", body)
    server.show(told, lambda: line(f"window {told['window']} is open until {until}"))
    return 0


@window_app.command
def shut(use_case: str, window: str, *, reason: Reason, server: Server = THERE) -> int:
    """End what was agreed beforehand."""
    path = f"/api/use-cases/{quote(use_case)}/windows/{quote(window)}/shut"
    told = server.client().post(path, {"reason": reason})
    server.show(told, lambda: line(f"window {window} is shut"))
    return 0


def _halted(agent: dict[str, Any]) -> str:
    said = [agent["stopped"], agent["suspended"], *(b["why"] for b in agent["breakers"])]
    return "; ".join(s for s in said if s)


def _timeline(run: dict[str, Any]) -> None:
    fields(
        {
            "run": run["run"],
            "use case": bare(run["subject"]),
            "agent": run["agent"],
            "called by": " > ".join(run["chain"]),
            "state": run["state"],
            "began": moment(run["started"]),
            "release": short(run["release"]),
            "cost": f"{run['cost_nano'] / 1e9:.4f} USD",
        }
    )
    rows = [
        (
            s["number"],
            s["kind"],
            s["tool"],
            s["verdict"],
            s["state"],
            "; ".join(r["why"] for r in s["reasons"]),
            s["action"] or s["call"],
        )
        for s in run["steps"]
    ]
    table(("", "kind", "what", "verdict", "became", "why", "id"), rows, wraps=5)


def _one(found: dict[str, Any]) -> None:
    facts = found["facts"]
    fields(
        {
            "approval": bare(found["approval"]),
            "state": found["state"],
            "agent": found["agent"],
            "tool": found["tool"],
            "amount": _amount(found),
            "why people are asked": "; ".join(why for _, why in facts.get("why", [])),
            "run": found["run"],
            "asked": moment(found["asked_at"]),
            "expires": moment(found["expires"]),
            "said by": found["by"],
            "reason": found["reason"],
        }
    )
    if facts.get("tainted"):
        rows = [
            (name, f"step {step}" if step else "nowhere in this run", source) for name, step, source in facts["tainted"]
        ]
        table(("argument", "read in", "from"), rows)
    line(json.dumps(found["arguments"], ensure_ascii=False, indent=2))


def _amount(row: dict[str, Any]) -> str:
    return f"{row['amount_micro'] / MICRO:,.2f} {row['unit']}".strip() if row["amount_micro"] else ""


def _money(text: str) -> tuple[int, str]:
    if not text:
        return 0, ""
    amount, _, unit = text.partition(" ")
    try:
        return round(float(amount) * MICRO), unit
    except ValueError:
        raise InvalidInput(f"{text!r} is no amount", hint="write it as '200 EUR'") from None


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except (OSError, ValueError) as wrong:
        raise InvalidInput(
            f"the arguments cannot be read: {wrong}", hint="--arguments '{...}' or --arguments @FILE"
        ) from None
    if not isinstance(found, dict):
        raise InvalidInput("arguments are a JSON object", hint="--arguments '{...}'")
    return found


def _id(approval: str) -> str:
    return quote(approval if approval.startswith("approval/") else f"approval/{approval}")
