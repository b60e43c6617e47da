"""How ideas are weighed against each other, and what the portfolio is to look like."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bedplate.people.part import Part, Percent


class WeightsPart(Part):
    """What counts how much when ideas are ranked; whole percents that sum to 100."""

    value: Percent
    feasibility: Percent
    data: Percent
    control: Percent  # what the tier costs in approvals, evidence and monitoring: more for a higher tier

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = self.value + self.feasibility + self.data + self.control
        if total != 100:  # noqa: PLR2004  percent
            raise ValueError(f"the weights sum to {total}, not to 100")
        return self


class CapacityPart(Part):
    """What there is to build with in a year."""

    person_days: Annotated[int, Field(ge=0)]
    cents: Annotated[int, Field(ge=0)]


class PortfolioPart(Part):
    """Weights, the three buckets' targets in percent of the effort, and capacity, in all and by domain."""

    weights: WeightsPart
    buckets: dict[Literal["efficiency", "augmentation", "transformation"], Percent]
    capacity: CapacityPart
    domains: dict[str, CapacityPart] | None = None
    tiers: dict[Literal["1", "2", "3", "4"], Annotated[int, Field(ge=0)]] | None = None  # how many of a tier at most
    buckets_are: Literal["targets", "limits"] | None = None  # targets unless said: being off costs, and is allowed
    within_percent: Annotated[int, Field(ge=0, le=100)] | None = None  # how far a share may be off: 5 unless said

    @model_validator(mode="after")
    def _targets(self) -> Self:
        if len(self.buckets) != 3 or sum(self.buckets.values()) != 100:  # noqa: PLR2004  three, percent
            raise ValueError(f"the three buckets' targets sum to {sum(self.buckets.values())}, not to 100")
        return self
