"""Prompts: their versions, what differs between two, and aliases."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from cyclopts import App, Parameter

from .output import fields, line, moment, note, short, table
from .server import THERE, Server

prompts_app = App(name="prompts", help="Prompts of a use case: versions, differences, aliases.")


@prompts_app.command(name="list")
def list_prompts(use_case: str, *, server: Server = THERE) -> int:
    """List every version of every prompt, newest first."""
    listed = server.client().prompts(use_case)

    def text() -> None:
        if not listed:
            note(f"No release of {use_case} carries a prompt on record yet. Make one: bedplate release")
            return
        rows = [
            (p["id"], p["number"], short(p["digest"]), ", ".join(p["aliases"]), short(p["release"]), moment(p["at"]))
            for p in listed
        ]
        table(("prompt", "version", "digest", "also called", "first release", "since"), rows, wraps=3)

    server.show({"prompts": listed}, text)
    return 0


@prompts_app.command
def show(
    use_case: str,
    prompt: str,
    version: Annotated[str, Parameter(help="A number, a digest or an alias.")] = "live",
    *,
    server: Server = THERE,
) -> int:
    """Show one version as text. `system` is the prompt file itself."""
    found = server.client().get(f"/api/use-cases/{quote(use_case)}/prompts/{quote(prompt)}", version=version)

    def text() -> None:
        called = ", ".join(found["aliases"])
        fields({"prompt": found["id"], "version": found["number"], "digest": found["digest"], "also called": called})
        line()
        line(found["text"].rstrip("\n"))

    server.show({"prompt": found}, text)
    return 0


@prompts_app.command
def diff(
    use_case: str,
    prompt: str,
    before: Annotated[str, Parameter(help="A number, a digest or an alias.")],
    after: Annotated[str, Parameter(help="The same.")] = "live",
    *,
    server: Server = THERE,
) -> int:
    """Show what differs between two versions."""
    path = f"/api/use-cases/{quote(use_case)}/prompts/{quote(prompt)}/diff"
    found = server.client().get(path, before=before, after=after)

    def text() -> None:
        if not found["diff"]:
            note("The two are the same.")
        for said in found["diff"].splitlines():
            line(said, style={"+": "green", "-": "red"}.get(said[:1], ""))

    server.show(found, text)
    return 0


@prompts_app.command
def alias(
    use_case: str,
    prompt: str,
    name: str,
    version: Annotated[str, Parameter(help="A number, a digest or another alias.")] = "",
    *,
    remove: Annotated[bool, Parameter(help="Take the alias away.")] = False,
    server: Server = THERE,
) -> int:
    """Point an alias at a version that some release carries. What answers calls does not change by it."""
    from bedplate.errors import InvalidInput

    if bool(version) == remove:
        raise InvalidInput(
            "name a version, or take the alias away", hint="bedplate prompts alias ... VERSION | --remove"
        )
    moved = server.client().alias(use_case, prompt, name, version)

    def text() -> None:
        if moved["digest"]:
            line(f"{name} of {prompt} is version {moved['number']} ({short(moved['digest'])})")
        else:
            line(f"{name} of {prompt} is no more")

    server.show(moved, text)
    return 0
