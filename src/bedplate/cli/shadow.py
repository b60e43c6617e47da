"""Shadow AI: looking for it, reporting it, and the way in."""

# No `from __future__ import annotations`: the command line reads these types when the group is built.
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

from cyclopts import App, Parameter

from bedplate.errors import InvalidInput

from .output import fields, line, moment, note, table
from .server import THERE, Server

if TYPE_CHECKING:
    from bedplate.shadow.discover import Discovery
    from bedplate.shadow.sighting import Sighting

shadow_app = App(name="shadow", help="AI in use that is not on record: list it, report it, take it up.")
SIGHTINGS = "/api/shadow/sightings"
State = Literal["", "new", "adopted", "explained", "dismissed"]
Source = Literal["", "gateway", "traces", "code", "egress", "bill", "declared"]
Team = Annotated[str, Parameter(help="The domain whose it is, as the operating model names it.")]


def discover(
    paths: Annotated[list[Path], Parameter(help="Folders with sources; each repository is told apart.")],
    *,
    team: Team = "",
    report: Annotated[bool, Parameter(help="Send what is found to the server.")] = False,
    max_kb: Annotated[int, Parameter(help="Files above this are left out.")] = 1024,
    server: Server = THERE,
) -> int:
    """Look through folders for AI in use.

    Imports, dependencies, endpoints, models, keys, agents, MCP servers. Nothing leaves this computer without --report.
    """
    import time

    from bedplate.shadow.discover import discover as look

    if max_kb < 1:
        raise InvalidInput(
            f"--max-kb {max_kb} leaves every file out", hint="say how large a file may be: --max-kb 1024"
        )
    found = look(paths, time.time_ns() // 1000, team=team, max_file=max_kb << 10)
    told: dict[str, Any] = {}
    if report and found.sightings:
        name = ", ".join(path.resolve().name for path in paths)[:200]
        told = _send(server, "code", name, "", found.sightings)
    server.show(_discovered(found) | told, lambda: _tell(found, told))
    return 0


@shadow_app.default
def sightings(
    *,
    state: Annotated[State, Parameter(help="Only those that are so.")] = "",
    source: Annotated[Source, Parameter(help="Only those seen there.")] = "",
    team: Team = "",
    text: Annotated[str, Parameter(help="Words in what, where or by whom.")] = "",
    limit: Annotated[int, Parameter(help="At most so many.")] = 50,
    server: Server = THERE,
) -> int:
    """List what was sighted, the heaviest first."""
    given: dict[str, str | int] = {"state": state, "source": source, "team": team, "text": text, "limit": limit}
    found = server.client().get(SIGHTINGS, **given)

    def text_of() -> None:
        if found["amnesty"]:
            line(f"Amnesty until {found['amnesty']['until']}: {found['amnesty']['why']}")
        if not found["sightings"]:
            note("Nothing is sighted. Look for it: bedplate discover PATH --report")
            return
        rows = [
            (
                s["id"][:8],
                s["score"],
                s["state"],
                s["kind"],
                s["what"],
                s["place"],
                s["team"],
                s["times"],
                s["escalated"] and f"to the {s['escalated']}",
            )
            for s in found["sightings"]
        ]
        table(("id", "score", "state", "kind", "what", "where", "team", "times", "went up"), rows, wraps=5)
        more = found["total"] - len(rows)
        if more > 0:
            note(f"{more} more: --limit, --state, --text")
        counts = ", ".join(map(str, found["weeks"]))
        line(f"first seen, by week: {counts}")

    server.show(found, text_of)
    return 0


@shadow_app.command
def show(sighting: str, *, server: Server = THERE) -> int:
    """Show one sighting, and what its score is made of."""
    found = server.client().get(_path(sighting))
    server.show({"sighting": found}, lambda: _one(found))
    return 0


@shadow_app.command
def adopt(
    sighting: str,
    *,
    into: Annotated[str, Parameter(name="--as", help="The use case's id. Otherwise made of what it is.")] = "",
    reason: Annotated[str, Parameter(help="Why, if it needs saying.")] = "",
    file: Annotated[Path, Parameter(help="Where the use case's file is written.")] = Path("use-case.yaml"),
    server: Server = THERE,
) -> int:
    """Take a sighting up as a use case: its file is written here, filled in as far as it is known."""
    if file.exists():
        raise InvalidInput(f"{file} is there already", hint="name another: --file claims-mail/use-case.yaml")
    found = server.client().post(f"{_path(sighting)}/adopt", {"into": into, "reason": reason})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(found["file"], encoding="utf-8")

    def text() -> None:
        line(f"{found['what']} at {found['place']} becomes {found['into']}")
        line(f"complete {file}, then: bedplate plan {file}")

    server.show({"sighting": found, "written": str(file)}, text)
    return 0


@shadow_app.command
def explain(
    sighting: str,
    *,
    reason: Annotated[str, Parameter(help="Why it is allowed.")],
    until: Annotated[str, Parameter(help="The last day, such as 2027-01-31; within a year.")],
    server: Server = THERE,
) -> int:
    """Allow a sighting until a day; then it is new again."""
    found = server.client().post(f"{_path(sighting)}/explain", {"reason": reason, "until": until})
    server.show({"sighting": found}, lambda: line(f"explained until {until}: {found['what']} at {found['place']}"))
    return 0


@shadow_app.command
def dismiss(
    sighting: str,
    *,
    reason: Annotated[str, Parameter(help="Why it is nothing.")],
    server: Server = THERE,
) -> int:
    """Say that a sighting is nothing that needs an owner."""
    found = server.client().post(f"{_path(sighting)}/dismiss", {"reason": reason})
    server.show({"sighting": found}, lambda: line(f"dismissed {found['what']} at {found['place']}"))
    return 0


@shadow_app.command
def declare(
    what: Annotated[str, Parameter(help="What is used, as 'ChatGPT Team'.")],
    *,
    where: Annotated[str, Parameter(help="Where, as 'claims desk'.")],
    team: Team,
    why: Annotated[str, Parameter(help="What it is used for.")],
    kind: Annotated[
        Literal["tool", "sdk", "model", "endpoint", "manifest", "mcp"], Parameter(help="What it is.")
    ] = "tool",
    server: Server = THERE,
) -> int:
    """Declare what your team uses. While an amnesty lasts, nobody above is told of it."""
    body = {"what": what, "where": where, "team": team, "why": why, "kind": kind}
    found = server.client().post("/api/shadow/declarations", body)
    spared = ", under the amnesty" if found["amnesty"] else ""

    def text() -> None:
        line(f"declared {found['what']} at {found['place']}{spared}")
        line(f"make it a use case: bedplate shadow adopt {found['id'][:8]}")

    server.show({"sighting": found}, text)
    return 0


@shadow_app.command(name="import")
def import_(
    kind: Annotated[Literal["log", "bill"], Parameter(help="A proxy's or DNS log, or a cloud's bill as CSV.")],
    file: Path,
    *,
    team: Team = "",
    year: Annotated[int, Parameter(help="Of a log whose times have none. Otherwise this year.")] = 0,
    server: Server = THERE,
) -> int:
    """Report what a log or a bill shows, all or nothing.

    Logs: Squid, common log format, JSON lines, dnsmasq, BIND, or plain lines of time, client and host. Bills: AWS,
    Azure, Google Cloud, FOCUS, or columns service, amount, currency, account and date.
    """
    import time

    from bedplate.shadow.bill import read_bill
    from bedplate.shadow.logs import read_log
    from bedplate.shadow.rows import reading

    with reading(file) as reader:
        if kind == "log":
            found = read_log(reader, time.time_ns() // 1000, team=team, year=year)
        else:
            found = read_bill(reader, team=team)
    told: dict[str, Any] = {"recorded": 0, "ids": []}
    if found:
        told = _send(server, "egress" if kind == "log" else "bill", file.name, reader.digest, found)
    many = told["recorded"]

    def text() -> None:
        line(f"{many} sighting{'' if many == 1 else 's'} in {file.name}" if many else f"no AI is in {file.name}")

    server.show(told, text)
    return 0


@shadow_app.command
def headcount(file: Path, *, server: Server = THERE) -> int:
    """Record how many people work in each team, from a CSV with the columns team and headcount."""
    from bedplate.shadow.feed import read_headcount
    from bedplate.shadow.rows import reading

    with reading(file) as reader:
        teams = read_headcount(reader)
    if not teams:
        raise InvalidInput(f"{file} names no team", hint="columns team and headcount, a row a team")
    told = server.client().post("/api/shadow/headcount", {"teams": teams})
    server.show(told, lambda: line(f"{sum(teams.values()):,} people in {len(teams)} teams"))
    return 0


def _path(sighting: str) -> str:
    return f"{SIGHTINGS}/{quote(sighting)}"


def _send(server: Server, source: str, name: str, digest: str, found: "Sequence[Sighting]") -> dict[str, Any]:
    told = [dict(one.data()) for one in found]
    return server.client().post(SIGHTINGS, {"source": source, "name": name, "digest": digest, "sightings": told})


def _discovered(found: "Discovery") -> dict[str, Any]:
    counts = {name: getattr(found, name) for name in ("files", "read", "too_large", "binary", "unreadable")}
    return {**counts, "sightings": [{**one.data(), "id": one.fingerprint} for one in found.sightings]}


def _tell(found: "Discovery", told: Mapping[str, Any]) -> None:
    rows = [
        (one.kind, one.what, one.where, one.times, "; ".join(sorted(one.hints, key=_place_first)[:3]))
        for one in sorted(found.sightings, key=lambda s: (s.where, s.kind, -s.times))
    ]
    if rows:
        table(("kind", "what", "where", "times", "seen"), rows, wraps=4)
    left = (("too large", found.too_large), ("no text", found.binary), ("unreadable", found.unreadable))
    rest = "".join(f", {count} {why}" for why, count in left if count)
    line(f"{len(rows)} sightings in {found.read:,} of {found.files:,} files{rest}")
    if told:
        line(f"{told['recorded']} reported: bedplate shadow")
    elif rows:
        note("Nothing was sent. Report it: --report")


def _place_first(hint: str) -> bool:
    return not hint.startswith("at ")


def _one(found: Mapping[str, Any]) -> None:
    fields(
        {
            "sighting": found["id"],
            "what": f"{found['what']} ({found['kind']})",
            "where": found["place"],
            "supplier": found["provider"],
            "team": found["team"],
            "state": found["state"],
            "taken up as": found["into"],
            "allowed until": moment(found["until"]),
            "reason": found["reason"],
            "seen": f"{found['times']:,} times, {moment(found['first_at'])} to {moment(found['last_at'])}",
            "by": ", ".join(found["sources"]),
            "spent": f"{found['cents'] / 100:,.2f} {found['currency']}" if found["cents"] else "",
            "declared": found["declared_by"] and f"{found['declared_by']}: {found['declared_why']}",
            "went up to": found["escalated"],
            "score": found["score"],
        }
    )
    for point in found["points"]:
        line(f"  {point['points']:3}", point["why"])
    for hint in found["hints"]:
        line("     ", hint)
