"""A released prompt, filled in by the app itself: by the gateway's rules, with a header that names the version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.template import read, render

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from bedplate.template import Template

HEADER = "x-bedplate-prompt"


@dataclass(frozen=True, slots=True)
class Rendered:
    """What to send: messages for the body, and headers by which the call's record names the version.

    `client.chat.completions.create(messages=filled.messages, extra_headers=filled.headers)` with OpenAI's client.
    """

    messages: list[dict[str, str]]
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One version of a template. Fetch it once: it never changes; the live version of tomorrow may be another."""

    id: str
    digest: str
    number: int
    template: Template

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Prompt:
        """Make one of the API's answer; `InvalidInput` if that holds no template."""
        template = read(told["template"])
        return cls(template.id, template.digest, int(told["number"]), template)

    def render(self, **variables: str | int) -> Rendered:
        """Fill it in; `InvalidInput` names the variable that is missing, not declared, or does not fit."""
        return Rendered(render(self.template, variables), {HEADER: f"{self.id}@{self.digest}"})
