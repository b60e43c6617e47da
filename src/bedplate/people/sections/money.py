"""What money the organisation counts in."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bedplate.people.part import Part


class MoneyPart(Part):
    """The currency of every amount, and how much of it a US dollar is: tokens are priced in dollars."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    per_usd_permille: Annotated[int, Field(ge=1, le=100_000_000)]  # 920: a dollar is 0.920 of it
