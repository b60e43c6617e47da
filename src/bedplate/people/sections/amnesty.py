"""A time in which teams may say what they use, without anybody being told on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from bedplate.people.part import Part

from .bodies import day


class AmnestyPart(Part):
    """Until when, this day included, and why: what a team declares itself meanwhile goes to nobody above."""

    until: str
    why: Annotated[str, Field(min_length=10, max_length=500)]

    _day = field_validator("until")(day)
