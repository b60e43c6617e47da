r"""A prompt's template: messages with named places, filled in strictly and the same every time, without any logic.

`{{ name }}` is a place and nothing else is: no filters, no conditions, no loops. `\{{` writes the two braces. A value
is put in once and never read again, so it cannot name a variable, open a message, or open a block of passages.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, cast

from bedplate.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

Sort = Literal["text", "integer", "choice"]
Pieces = tuple[tuple[str, str], ...]  # (text as it stands, the variable after it or "")
MAX_CHARS = 100_000  # of one value
USUAL_CHARS = 2_000  # where a template says nothing
MAX_DIGITS = 15  # every such number is exact in every reader of JSON
_PLACE = re.compile(r"\\(\{[{%])|\{\{[ \t]*([a-z][a-z0-9_]{0,62})[ \t]*\}\}|(\{\{|\{%)")
_INTEGER = re.compile(rf"-?[0-9]{{1,{MAX_DIGITS}}}")
_CONTROLS = bytes([*range(9), 11, 12, *range(14, 32), 127])  # all but tab and the ends of lines
# What opens or ends a message, or a block of passages, in the formats that models are trained on and in our own.
_MARK = re.compile(
    r"<(?:/?passages>|\|[a-z0-9_ ]{1,40}\|>|\uff5c[a-z0-9_ \u2581]{1,40}\uff5c>|/?s>|</?sys>>|(?:start|end)_of_turn>)"
    r"|\[/?(?:inst|system_prompt|available_tools|tool_results|tool_calls)\]",
    re.IGNORECASE,
)
_REACH = 48  # characters: more than the longest mark


@dataclass(frozen=True, slots=True)
class Variable:
    """What a template asks for. `max_chars` bounds a text, `choices` are the only values of a choice."""

    name: str
    type: Sort
    required: bool = True
    max_chars: int = USUAL_CHARS
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """One message: who speaks, and the text with its places."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt as its team wrote it. Immutable: another content is another version."""

    id: str
    variables: tuple[Variable, ...]
    messages: tuple[Message, ...]

    def plain(self) -> dict[str, Any]:
        """Return it as text, whole numbers and lists; `read` takes it back."""
        variables = [
            {
                "name": v.name,
                "type": v.type,
                "required": "yes" if v.required else "no",
                "max_chars": v.max_chars,
                "choices": list(v.choices),
            }
            for v in self.variables
        ]
        messages = [{"role": m.role, "text": m.text} for m in self.messages]
        return {"id": self.id, "variables": variables, "messages": messages}

    def content(self) -> bytes:
        """Return the exact bytes that are kept and digested: compact JSON with sorted keys, as in every record."""
        return json.dumps(self.plain(), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def digest(self) -> str:
        """What a release and a call name: SHA-256 of the content, hex. Comments and layout of the file do not count."""
        return hashlib.sha256(self.content()).hexdigest()


def read(body: object) -> Template:
    """Take a template back from its plain form; `InvalidInput` if it is not one."""
    try:
        told = cast("dict[str, Any]", body)
        variables = tuple(_variable(v) for v in told["variables"])
        messages = tuple(Message(str(m["role"]), str(m["text"])) for m in told["messages"])
        return Template(str(told["id"]), variables, messages)
    except (KeyError, TypeError, ValueError) as wrong:
        raise InvalidInput(f"this is not a prompt template: {type(wrong).__name__} {wrong}") from None


def render(template: Template, variables: Mapping[str, str | int]) -> list[dict[str, str]]:
    """Fill a template in: messages of role and content. `InvalidInput` names the variable that is wrong, and how.

    Every declared variable that is required must be given, and none that is not declared. A mark that models read as
    the beginning of a message gets a backslash where it stands in a value.
    """
    given = _checked(template, variables)
    return [{"role": m.role, "content": _filled(template.id, m.text, given)} for m in template.messages]


@lru_cache(maxsize=1024)
def pieces(text: str) -> Pieces:
    """Split a text at its places; `InvalidInput` for braces that are none."""
    found: list[tuple[str, str]] = []
    here, before = 0, ""
    for match in _PLACE.finditer(text):
        before += text[here : match.start()]
        here = match.end()
        literal, name, wrong = match.groups()
        if wrong:
            said = text[match.start() : match.start() + 30].partition("\n")[0]
            raise InvalidInput(
                f"{said!r} is not a place for a variable",
                hint="write {{ name }} with a declared name; there is no logic, and \\{{ writes the braces",
            )
        if name:
            found.append((before, name))
            before = ""
        else:
            before += literal
    return (*found, (before + text[here:], ""))


def _variable(told: dict[str, Any]) -> Variable:
    required, choices = told["required"] == "yes", tuple(map(str, told["choices"]))
    return Variable(str(told["name"]), cast("Sort", told["type"]), required, int(told["max_chars"]), choices)


def _checked(template: Template, variables: Mapping[str, str | int]) -> dict[str, str]:
    declared = {v.name: v for v in template.variables}
    for name in variables:
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise InvalidInput(f"{template.id} declares no variable {str(name)[:80]!r}", hint=f"declared: {known}")
    given = {}
    for name, variable in declared.items():
        if name in variables:
            given[name] = _value(template.id, variable, variables[name])
        elif variable.required:
            raise InvalidInput(f"{template.id} needs the variable {name!r}, and it is missing", hint="send it")
        else:
            given[name] = ""
    return given


def _value(prompt: str, variable: Variable, value: object) -> str:
    if variable.type == "integer":
        if type(value) is int and abs(value) < 10**MAX_DIGITS:
            return str(value)
        if not isinstance(value, str) or not _INTEGER.fullmatch(value):
            raise _odd(prompt, variable, f"must be a whole number of at most {MAX_DIGITS} digits")
        return str(int(value))
    if not isinstance(value, str):
        raise _odd(prompt, variable, f"must be text, not {type(value).__name__}")
    if variable.type == "choice":
        if value not in variable.choices:
            raise _odd(prompt, variable, "must be one of its choices", f"choices: {', '.join(variable.choices)}")
        return value
    if len(value) > variable.max_chars:
        raise _odd(prompt, variable, f"has {len(value)} characters; {variable.max_chars} are allowed")
    try:
        written = value.encode()
    except UnicodeEncodeError:
        raise _odd(prompt, variable, "is not valid Unicode", "remove lone surrogates") from None
    if len(written.translate(None, _CONTROLS)) != len(written):
        raise _odd(prompt, variable, "holds a control character", "only tabs and ends of lines may stand in it")
    return _MARK.sub(_marked, value) if _may_hold_a_mark(value) else value


def _odd(prompt: str, variable: Variable, what: str, hint: str = "") -> InvalidInput:
    return InvalidInput(f"the variable {variable.name!r} of {prompt} {what}", hint=hint)


def _may_hold_a_mark(text: str) -> bool:
    return "<" in text or "[" in text


def _marked(found: re.Match[str]) -> str:
    return f"{found[0][0]}\\{found[0][1:]}"


def _filled(prompt: str, text: str, given: Mapping[str, str]) -> str:
    split = pieces(text)
    if len(split) == 1:
        return split[0][0]
    parts: list[str] = []
    seams: list[int] = []
    length = 0
    for literal, name in split:
        parts.append(literal)
        length += len(literal)
        if name:
            parts.append(given[name])
            seams += (length, length + len(given[name]))
            length = seams[-1]
    said = "".join(parts)
    # Halves of a mark, in a value and in the text beside it or in two values, are whole only now.
    for seam in seams if _may_hold_a_mark(said) else ():
        start = max(0, seam - _REACH)
        near = said[start : seam + _REACH]
        if any(m.start() < seam - start < m.end() for m in _MARK.finditer(near)):
            names = ", ".join(dict.fromkeys(name for _, name in split if name))
            raise InvalidInput(f"{prompt} filled in with {names} would open a message or passages of its own")
    return said
