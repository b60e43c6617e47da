"""Prompts: read from a team's files, versioned by digest, and filled in from what the live release carries."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from bedplate import document
from bedplate.errors import InvalidInput
from bedplate.template import MAX_CHARS, USUAL_CHARS, Message, Template, Variable, pieces, read, render

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HEADER", "PromptBook", "Shelf", "Template", "Versions", "parse_template", "render"]

SYSTEM = "system"  # the id under which the prompt file itself is versioned; it is no template
HEADER = "x-bedplate-prompt"  # of a call whose client filled a template in: ID@DIGEST
LIVE = "live"  # the alias that nobody moves: what the live release carries
LEAST_DIGEST = 12  # characters of a digest that name a version
_NAMED = re.compile(r"([a-z][a-z0-9-]{1,62})@([0-9a-f]{64})")
_ALIAS = re.compile(r"[a-z][a-z0-9-]{1,39}")
_KEYS = ("id", "version", "variables")  # of the object that a client sends, as OpenAI's Responses API has it


_Choice = Annotated[str, StringConstraints(min_length=1, max_length=2_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


class _Variable(_Part):
    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    type: Literal["text", "integer", "choice"]
    required: Literal["yes", "no"] = "yes"  # document turns a YAML boolean into this text
    max_chars: Annotated[int, Field(ge=1, le=MAX_CHARS)] | None = None
    choices: Annotated[list[_Choice], Field(max_length=200)] | None = None

    @model_validator(mode="after")
    def _fitting(self) -> _Variable:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("a choice lists its `choices`, and nothing else does")
        if self.max_chars is not None and self.type != "text":
            raise ValueError(f"`max_chars` bounds a text, and this is {self.type}")
        return self


class _Message(_Part):
    role: Literal["system", "developer", "user", "assistant"]
    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_CHARS)]


class _File(_Part):
    id: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
    variables: Annotated[list[_Variable], Field(max_length=50)] = []
    messages: Annotated[list[_Message], Field(min_length=1, max_length=50)]


def parse_template(text: str, name: str, expected: str = "") -> Template:
    """Read a template from YAML; `InvalidDocument` gives file, line and column of everything that is wrong.

    `expected` is the id under which the use case's file names it.
    """
    source = document.parse(text, name)
    file = source.read(_File)
    complaints = _complaints(source, file, expected)
    if complaints:
        raise document.InvalidDocument(complaints)
    variables = tuple(
        Variable(v.name, v.type, v.required == "yes", v.max_chars or USUAL_CHARS, tuple(v.choices or ()))
        for v in file.variables
    )
    return Template(file.id, variables, tuple(Message(m.role, m.text) for m in file.messages))


def load_template(content: bytes) -> Template:
    """Take a template back from the bytes that were kept."""
    return read(json.loads(content))


def _complaints(source: document.Document, file: _File, expected: str) -> list[document.Complaint]:
    wrong: list[tuple[list[str | int], str]] = []
    if file.id == SYSTEM:
        wrong.append((["id"], f"{SYSTEM} names the prompt file itself; give the template another id"))
    elif expected and file.id != expected:
        wrong.append((["id"], f"use-case.yaml names it {expected!r}; the two must be the same"))
    declared = [v.name for v in file.variables]
    used: set[str] = set()
    for place, message in enumerate(file.messages):
        here: list[str | int] = ["messages", place, "text"]
        try:
            names = {name for _, name in pieces(message.text) if name}
        except InvalidInput as odd:
            wrong.append((here, str(odd)))
            continue
        used |= names
        known = ", ".join(declared) or "none"
        wrong += [(here, f"{name!r} is not declared; declared: {known}") for name in sorted(names - set(declared))]
    for place, name in enumerate(declared):
        if name in declared[:place]:
            wrong.append((["variables", place, "name"], f"{name!r} is declared twice"))
        elif name not in used:
            wrong.append((["variables", place, "name"], f"{name!r} is declared and stands in no message"))
    return [source.complain(path, message) for path, message in wrong]


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of one prompt: digests in order of first appearance, so that version 1 is the first; and aliases."""

    digests: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)  # digests by alias, without `live`

    def number(self, digest: str) -> int:
        """Return a version's number, from 1; 0 for a digest that is none."""
        return self.digests.index(digest) + 1 if digest in self.digests else 0

    def resolve(self, prompt: str, version: object, live: str) -> str:
        """Return the digest that a number, an alias, a digest or the beginning of one names; `InvalidInput` if none.

        `live` is the digest that the live release carries, "" if it carries none of this prompt.
        """
        said = version if isinstance(version, str) else str(version) if type(version) is int else ""
        if said == LIVE:
            if live:
                return live
            raise InvalidInput(f"no live release carries {prompt}", hint=f"versions: {self._known(live)}")
        if said in self.aliases:
            return self.aliases[said]
        if said.isascii() and said.isdigit() and len(said) < LEAST_DIGEST and 0 < int(said) <= len(self.digests):
            return self.digests[int(said) - 1]
        found = [d for d in self.digests if len(said) >= LEAST_DIGEST and d.startswith(said)]
        if len(found) == 1:
            return found[0]
        raise InvalidInput(f"{prompt} has no version {str(version)[:80]!r}", hint=f"versions: {self._known(live)}")

    def _known(self, live: str) -> str:
        names = [*([LIVE] if live else []), *sorted(self.aliases), *map(str, range(1, len(self.digests) + 1))]
        return ", ".join(names) or "none"


@dataclass(frozen=True, slots=True)
class PromptBook:
    """The templates of one live release, by id, and every version there is, to refuse the others by name."""

    templates: Mapping[str, tuple[str, Template]] = field(default_factory=dict)  # (digest, template)
    versions: Mapping[str, Versions] = field(default_factory=dict)

    def render(self, prompt: object) -> tuple[list[dict[str, str]], str, str]:
        """Fill in what a client asks for with `{"id", "version", "variables"}`: (messages, id, digest).

        `InvalidInput` for an id or a version that the live release does not carry, naming those it does, and for
        variables that are not what the template declares.
        """
        if not isinstance(prompt, dict):
            raise InvalidInput("`prompt` must be an object", hint="id, version and variables")
        surplus = [str(key)[:80] for key in prompt if key not in _KEYS]
        if surplus:
            raise InvalidInput(f"`prompt` has an unknown key {surplus[0]!r}", hint=f"known: {', '.join(_KEYS)}")
        name, variables = prompt.get("id"), prompt.get("variables")
        if not isinstance(name, str) or name not in self.templates:
            known = ", ".join(sorted(self.templates)) or "none"
            raise InvalidInput(
                f"the live release has no prompt {str(name)[:80]!r}", hint=f"prompts of the live release: {known}"
            )
        variables = {} if variables is None else variables
        if not isinstance(variables, dict):
            raise InvalidInput("`prompt.variables` must be an object", hint="values by name")
        live, template = self.templates[name]
        version = prompt.get("version")
        if version not in (None, LIVE, live):
            self._must_be_live(name, version, live)
        return render(template, variables), name, live

    def verify(self, header: str) -> tuple[str, str, bool]:
        """Read the header of a call whose client filled a template in: (id, digest, whether it is the live one).

        Two empty texts for what is not ID@DIGEST at all.
        """
        found = _NAMED.fullmatch(header)
        if found is None:
            return "", "", False
        name, digest = found.groups()
        return name, digest, name in self.templates and self.templates[name][0] == digest

    def number(self, name: str, digest: str) -> int:
        """Return a version's number, from 1; 0 if it is not known here."""
        return self.versions.get(name, Versions()).number(digest)

    def _must_be_live(self, name: str, version: object, live: str) -> None:
        versions = self.versions.get(name, Versions((live,)))
        if versions.resolve(name, version, live) != live:
            raise InvalidInput(
                f"the live release carries version {versions.number(live)} of {name}, and not {str(version)[:80]!r}",
                hint="leave `version` out, or have a release with that version approved",
            )


class Shelf:
    """The books of every live release, by the release's digest; replaced as a whole when the ledger moves on."""

    def __init__(self) -> None:
        self.books: Mapping[str, PromptBook] = {}

    def render(self, release: str, prompt: object) -> tuple[list[dict[str, str]], str, str]:
        """Do as `PromptBook.render`, for this release."""
        return self.books.get(release, EMPTY).render(prompt)

    def verify(self, release: str, header: str) -> tuple[str, str, bool]:
        """Do as `PromptBook.verify`, for this release."""
        return self.books.get(release, EMPTY).verify(header)


EMPTY = PromptBook()


def must_be_alias(name: str) -> None:
    """Refuse a name that cannot be an alias: `live`, or what could be taken for a number or a digest."""
    if name == LIVE:
        raise InvalidInput(f"{LIVE} is what the live release carries; only a release moves it", hint="bedplate release")
    if not _ALIAS.fullmatch(name) or (len(name) >= LEAST_DIGEST and re.fullmatch(r"[0-9a-f]+", name)):
        raise InvalidInput(f"{name[:80]!r} is not an alias", hint="2 to 40 small letters, digits and hyphens")


def text_of(template: Template) -> str:
    """Write a template for people, the same every time: what `diff` compares."""
    lines = [f"id: {template.id}"]
    for v in template.variables:
        what = {"text": f"text, at most {v.max_chars} characters", "integer": "whole number"}.get(
            v.type, f"one of {', '.join(v.choices)}"
        )
        lines.append(f"variable {v.name}: {what}, {'required' if v.required else 'optional'}")
    for m in template.messages:
        lines += ["", f"{m.role}:", *m.text.splitlines()]
    return "\n".join(lines) + "\n"


def diff(before: str, after: str, names: tuple[str, str]) -> str:
    """Compare two versions as text, line by line, in the unified format; "" if they are the same."""
    return "".join(
        f"{line}\n" for line in difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm="")
    )


def book_of(contents: Mapping[str, tuple[str, bytes]], versions: Mapping[str, Versions]) -> PromptBook:
    """Make the book of a release from (digest, kept bytes) by id."""
    return PromptBook({name: (digest, load_template(kept)) for name, (digest, kept) in contents.items()}, versions)


def known_digests(versions: Mapping[str, Versions]) -> set[tuple[str, str]]:
    """Return every version as (id, digest)."""
    return {(name, digest) for name, known in versions.items() for digest in known.digests}
