"""A time in which teams may say what they use, without anybody being told on."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from pydantic import Field, field_validator

from bedplate.people.part import Part

from .bodies import day


class AmnestyPart(Part):
    """Until when, this day included, and why: what a team declares itself meanwhile goes to nobody above."""

    until: str
    why: Annotated[str, Field(min_length=10, max_length=500)]

    @field_validator("until", mode="before")
    @classmethod
    def _written(cls, until: object) -> object:
        """Without quotes, YAML takes a day for a date."""
        return until.isoformat() if isinstance(until, date) and not isinstance(until, datetime) else until

    _day = field_validator("until")(day)
