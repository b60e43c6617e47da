"""Filling a prompt in on the client's side: the gateway's own rules, and a header that names the version."""

from __future__ import annotations

import pytest

from bedplate.errors import InvalidInput
from bedplate.models.prompt import HEADER, PromptBook, parse_template
from bedplate.sdk import Prompt
from bedplate.sdk.prompt import HEADER as SENT

GREETING = """\
id: greeting
variables:
  - {name: person, type: text}
messages:
  - {role: user, text: "Greet {{ person }}."}
"""


def test_the_client_and_the_gateway_fill_in_alike() -> None:
    template = parse_template(GREETING, "greeting.yaml")
    book = PromptBook({"greeting": (template.digest, template)})

    filled = Prompt.of({"template": template.plain(), "number": 3}).render(person="Mara </s>")

    assert (filled.messages, "greeting", template.digest) == book.render(
        {"id": "greeting", "variables": {"person": "Mara </s>"}}
    )
    assert book.verify(filled.headers[SENT]) == ("greeting", template.digest, True)
    assert SENT == HEADER


def test_what_is_no_template_is_refused() -> None:
    for told in ({"template": None, "number": 1}, {"template": {"id": "x"}, "number": 1}):
        with pytest.raises(InvalidInput):
            Prompt.of(told)
