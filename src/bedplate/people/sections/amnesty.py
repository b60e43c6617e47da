"""A time in which teams may say what they use, without anybody being told on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bedplate.people.part import Part

from .bodies import Day


class AmnestyPart(Part):
    """Until when, this day included, and why: what a team declares itself meanwhile goes to nobody above."""

    until: Day
    why: Annotated[str, Field(min_length=10, max_length=500)]
