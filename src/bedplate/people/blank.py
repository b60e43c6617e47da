"""The operating model that `bedplate init` writes."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources
from string import Template

from bedplate.errors import InvalidInput

from .stage import STAGES, propose, stage_file

FIRST = '"steel thread": one use case done right, then the next'  # how the template's first line calls its stage


def blank_model(organisation: str, people: str = "", stage: str = "steel-thread") -> str:
    """Return the YAML of a new operating model. `people` is the text of its `domains:` and `people:` sections.

    There is one template: a later stage is the first one with what that stage recommends.
    """
    if stage not in STAGES:
        raise InvalidInput(f"no template for the maturity stage {stage!r}", hint=f"known: {', '.join(STAGES)}")
    if not organisation.strip() or any(c in organisation for c in "\n\r#:'\"{}[]"):
        raise InvalidInput("an organisation's name is one line without quotes, colons, brackets or #")
    templates = resources.files("bedplate.people").joinpath("templates")
    names = people or templates.joinpath("people.yaml").read_text()
    text = Template(templates.joinpath(f"{STAGES[0]}.yaml").read_text()).substitute(
        organisation=organisation, people=names
    )
    if stage == STAGES[0]:
        return text
    return propose(text.replace(FIRST, stage_file(stage).title), stage, datetime.now(UTC).date()).text
