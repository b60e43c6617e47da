"""The operating model that `bedplate init` writes."""

from __future__ import annotations

from importlib import resources
from string import Template

from bedplate.errors import InvalidInput

STAGES = ("steel-thread",)


def blank_model(organisation: str, people: str = "", stage: str = "steel-thread") -> str:
    """Return the YAML of a new operating model. `people` is the text of its `domains:` and `people:` sections."""
    if stage not in STAGES:
        raise InvalidInput(f"no template for the maturity stage {stage!r}", hint=f"known: {', '.join(STAGES)}")
    if not organisation.strip() or any(c in organisation for c in "\n\r#:'\"{}[]"):
        raise InvalidInput("an organisation's name is one line without quotes, colons, brackets or #")
    templates = resources.files("bedplate.people").joinpath("templates")
    names = people or templates.joinpath("people.yaml").read_text()
    return Template(templates.joinpath(f"{stage}.yaml").read_text()).substitute(organisation=organisation, people=names)
