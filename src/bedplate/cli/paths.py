"""Golden paths: starting a use case from a proven one, making a path of one, and what siblings owe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from bedplate.errors import Conflict, InvalidInput, NeedsApproval, Tampered

from .approvals import bare, waiting
from .output import fields, line, moment, note, short, table
from .server import THERE, Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bedplate.sdk import Client

path_app = App(name="path", help="Golden paths: publish one, list them, follow their versions.")
WAITS = 6

BY_HAND = (  # what a path cannot know about the new use case
    ("use-case.yaml", "value, data: what this use case is worth, and what it stands on"),
    ("evals.yaml", "cases about its own subject; the inherited ones only ask what it must not answer"),
    ("prompts/", "read the prompt once: a change of it needs the votes that the path saves"),
)


def new(
    name: str,
    *,
    path: Annotated[str, Parameter(name="--from", help="The path to start from: bedplate path list.")],
    given: Annotated[
        list[str] | None, Parameter(name="--set", help="KEY=VALUE: an answer to what the path asks. May be repeated.")
    ] = None,
    title: Annotated[str, Parameter(help="What people call it. Otherwise made from NAME.")] = "",
    folder: Annotated[Path | None, Parameter(help="Where to write it. Otherwise ./NAME.")] = None,
    only_files: Annotated[bool, Parameter(help="Write the files, and propose nothing yet.")] = False,
    server: Server = THERE,
) -> int:
    """Start a use case from a golden path.

    Asks what the path asks, writes its files into a folder of its own, and proposes the use case. Inside the path's
    envelope it is accepted at once; outside, exit code 6 says who must agree, and why.
    """
    target = folder if folder is not None else Path(name)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise Conflict(f"{target} is there already and is not overwritten", hint="name another: --folder FOLDER")
    client = server.client()
    answers = _answers(client, path, given or [], talks=server.output == "text")
    called = answers.pop("title", "") or title or name.replace("-", " ").capitalize()
    answers.pop("id", None)
    made = client.start_from(path, name, called, answers)
    write_files(target, made["files"])
    state, approval, why = ("written", "", "") if only_files else _proposed(client, target)
    told = _told(made, target) | {"state": state, "approval": approval, "why": why}
    server.show(told, lambda: _show_new(told))
    return WAITS if approval else 0


@path_app.command
def publish(
    use_case: str,
    *,
    declaration: Annotated[
        Path | None, Parameter(help="path.yaml: what it asks, and its envelope. Otherwise the release's own.")
    ] = None,
    server: Server = THERE,
) -> int:
    """Make a golden path of a use case's live release.

    The bodies of its envelope's tier must agree. That is the pre-approval of the siblings that stay inside.
    """
    from .folder import read_text

    text = read_text(declaration) if declaration is not None else ""
    client = server.client()
    try:
        told = client.publish_path(use_case, text)
    except NeedsApproval as asked:
        return waiting(server, client, asked)
    server.show(
        told, lambda: line(f"published {told['path']}, version {told['version']}, from {short(told['release'])}")
    )
    if server.output == "text":
        note(f"Start from it with: bedplate new NAME --from {told['path']}")
    return 0


@path_app.command
def withdraw(
    path: str,
    *,
    reason: str,
    version: Annotated[int, Parameter(help="Only this version; otherwise all of them.")] = 0,
    server: Server = THERE,
) -> int:
    """End what a path was agreed to beforehand.

    Its siblings stay live. From now on they owe every vote for what they change.
    """
    told = server.client().post(f"/api/paths/{path}/withdraw", {"reason": reason, "version": version})
    which = f"version {version}" if version else "every version"
    server.show(told, lambda: line(f"withdrawn: {which} of {path} stands for no vote any more"))
    return 0


@path_app.command(name="list")
def list_paths(*, server: Server = THERE) -> int:
    """List the golden paths."""
    listed = server.client().get("/api/paths")["paths"]

    def text() -> None:
        if not listed:
            note("There is no path yet. Publish one: bedplate path publish USE-CASE")
            return
        rows = [
            (
                p["name"],
                p["version"],
                p["published_by"],
                moment(p["published_at"]),
                f"{p['behind']} of {p['siblings']}",
                p["ended"] or f"until {moment(p['expires'])}",
            )
            for p in listed
        ]
        table(("path", "version", "published by", "at", "siblings behind", "pre-approval"), rows)

    server.show({"paths": listed}, text)
    return 0


@path_app.command
def show(path: str, *, server: Server = THERE) -> int:
    """Show a path: what it asks, its envelope, who agreed, its versions and its siblings."""
    told = server.client().get(f"/api/paths/{path}")

    def text() -> None:
        line(f"{told['path']}, version {told['version']}: {told['title']}")
        for version in told["versions"]:
            state = version["ended"] or f"pre-approval until {moment(version['expires'])}"
            line(f"  version {version['version']} of {moment(version['published_at'])}: {state}")
        for part in told["agreed"]:
            line(f"  agreed: {part['body']} ({part['decides']}): {', '.join(part['by'])}")
        line("asks")
        fields({f"  {q['id']}": q["text"] + _default(q) for q in told["asks"]})
        line("envelope")
        fields({f"  {key}": _flat(value) for key, value in told["envelope"].items()})
        if told["siblings"]:
            rows = [
                (s["subject"].partition("/")[2], s["version"], s["stage"], lasted(s["took"]), s["steps"], s["written"])
                for s in told["siblings"]
            ]
            table(("sibling", "version", "stage", "time to live", "steps", "lines by hand"), rows, wraps=0)

    server.show(told, text)
    return 0


@path_app.command
def owed(
    use_case: Annotated[str, Parameter(help="A sibling on record; otherwise the files of --folder.")] = "",
    *,
    folder: Annotated[Path, Parameter(help="The folder of a sibling that is not released yet.")] = Path(),
    server: Server = THERE,
) -> int:
    """Say what a sibling owes, and why.

    What deviates from its path, who must still agree to that, and which evidence is inherited or owed again. Exit code
    0 if no vote is owed, 5 otherwise.
    """
    if use_case:
        told = server.client().get(f"/api/use-cases/{use_case}/owed")
    else:
        from .folder import read_folder

        told = server.client().post("/api/paths/owed", {"files": read_folder(folder, {})})
    server.show(told, lambda: show_owed(told))
    return 5 if told["votes"] else 0


def show_owed(told: Mapping[str, Any]) -> None:
    """Print what a sibling owes."""
    behind = f", the newest is {told['newest']}" if told["newest"] > told["version"] else ""
    line(f"{told['id']}: from the path {told['path']}, version {told['version']}{behind}")
    if told["ended"]:
        line(f"  the pre-approval does not hold: {told['ended']}", style="red")
    for deviation in told["deviations"]:
        line(f"  deviates: {deviation}", style="yellow")
    for what, stages in (("acceptance", told["accept"]), ("release", told["release"])):
        who = " and ".join(f"{s['quorum']} of {s['body']} ({s['decides']})" for s in stages)
        line(f"  {what}: {who} must agree" if who else f"  {what}: no vote, the path's pre-approval stands for it")
    if told.get("differs"):
        line(f"  answers otherwise than the path's source: {', '.join(told['differs'])}; no evidence is inherited")
    for x in told.get("evidence", ()):
        line(f"  evidence {x['control']}: {x['summary'] if x['state'] == 'proven' else 'owed again, ' + x['fix']}")


def lasted(micros: int) -> str:
    """Write a span for people; "" for 0."""
    seconds = micros / 1e6
    if not seconds:
        return ""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def write_files(target: Path, files: Mapping[str, str]) -> None:
    """Write files below a folder; `Tampered` if one of them would land elsewhere, and then none is written."""
    root = target.resolve()
    for file in files:
        if root not in (root / file).resolve().parents:  # a server must not write elsewhere on this computer
            raise Tampered(f"the path holds a file outside its folder: {file!r}", hint="do not use this server")
    drafts = {}
    for file, text in files.items():
        place = root / file
        place.parent.mkdir(parents=True, exist_ok=True)
        drafts[place] = place.with_name(f".{place.name}.new")
        drafts[place].write_text(text, encoding="utf-8")
    for place, draft in drafts.items():  # only when all of them are on the disk
        draft.replace(place)


def _answers(client: Client, path: str, given: Sequence[str], *, talks: bool) -> dict[str, str]:
    """Read `KEY=VALUE` arguments, and ask at a terminal for what has no answer."""
    found: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InvalidInput(f"{text!r} is no answer", hint="--set purpose='what it is for'")
        if key in found:
            raise InvalidInput(f"{key} is answered twice", hint="say it once")
        found[key] = value
    if talks and sys.stdin.isatty():
        for ask in client.get(f"/api/paths/{path}")["asks"]:
            if ask["id"] not in {"id", "title", *found} and "default" not in ask:
                found[ask["id"]] = input(f"{ask['text']}: ").strip()
    return found


def _proposed(client: Client, target: Path) -> tuple[str, str, str]:
    text = (target / "use-case.yaml").read_text(encoding="utf-8")
    try:
        client.apply("use-case", str(target / "use-case.yaml"), text)
    except NeedsApproval as asked:
        return "waiting", asked.approval, asked.message
    return "accepted", "", ""


def _told(made: Mapping[str, Any], target: Path) -> dict[str, Any]:
    files: Mapping[str, str] = made["files"]
    return {
        "path": made["path"],
        "version": made["version"],
        "folder": str(target),
        "ended": made["ended"],
        "inherited": {file: len([x for x in text.splitlines() if x.strip()]) for file, text in files.items()},
        "by_hand": [
            {"file": file, "what": what}
            for file, what in BY_HAND
            if any(f == file or f.startswith(file) for f in files)
        ],
    }


def _show_new(told: Mapping[str, Any]) -> None:
    target, lines = Path(told["folder"]), told["inherited"]
    line(f"{target}: from the path {told['path']}, version {told['version']}")
    line(f"inherited: {sum(lines.values())} lines")
    table(("  file", "lines"), [(f"  {file}", count) for file, count in sorted(lines.items())], wraps=0)
    line("left to write")
    fields({f"  {x['file']}": x["what"] for x in told["by_hand"]})
    if told["state"] == "accepted":
        line("accepted: inside the path's envelope no vote is owed")
        note(f"Then: bedplate release {target}")
    elif told["state"] == "waiting":
        line(f"waiting: {told['why']}", style="yellow")
        note(f"They answer with: bedplate approve {bare(told['approval'])}")
    else:
        note(f"Then: bedplate plan {target / 'use-case.yaml'}")


def _default(question: Mapping[str, Any]) -> str:
    return f" (default: {question['default']})" if "default" in question else ""


def _flat(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(inner)}" for key, inner in value.items())
    return ", ".join(map(_flat, value)) if isinstance(value, list) else str(value)
