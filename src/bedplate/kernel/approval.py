"""An approval: asked → granted / refused / expired / voided → spent. A fold over its events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .event import Event, Value

State = Literal["asked", "granted", "refused", "expired", "voided", "spent"]
Body = Literal["board", "coe", "domain"]
Decides = Literal["policy", "business-risk", "technical", "ownership"]

MAY_DECIDE: Mapping[str, frozenset[Decides]] = {
    "board": frozenset({"policy", "business-risk"}),
    "coe": frozenset({"technical"}),
    "domain": frozenset({"ownership"}),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One body's part of an approval: how many distinct people of it must agree."""

    body: Body
    decides: Decides
    quorum: int = 1


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's answer, with the seat held when it was given: later role changes do not touch it."""

    person: str
    stage: int  # index into the approval's stages
    seat: str
    yes: bool
    reason: str
    at: int


@dataclass(frozen=True, slots=True)
class Approval:
    """The state of one request. `facts` is what is bound by `digest`."""

    id: str
    subject: str
    action: str
    digest: str
    requester: str
    owner: str
    domain: str
    stages: tuple[Stage, ...]
    asked_at: int
    expires: int
    facts: Mapping[str, Value]
    summary: str = ""
    state: State = "asked"
    votes: tuple[Vote, ...] = ()
    solo: bool = False  # a rule of separation was waived by the solo posture

    def open(self, now: int) -> bool:
        """Tell whether it can still be voted on."""
        return self.state == "asked" and now < self.expires

    def usable(self, digest: str, now: int) -> bool:
        """Tell whether it is granted, for exactly this content, and not yet expired or spent."""
        return self.state == "granted" and self.digest == digest and now < self.expires

    def missing(self) -> tuple[tuple[int, Stage, int], ...]:
        """List the stages that lack votes: index, stage, how many more."""
        lacking = []
        for index, stage in enumerate(self.stages):
            have = len({v.person for v in self.votes if v.stage == index and v.yes})
            if have < stage.quorum:
                lacking.append((index, stage, stage.quorum - have))
        return tuple(lacking)


def fold(approval: Approval | None, event: Event) -> Approval | None:
    """Apply one event to the approval it belongs to. Votes are counted as they were cast."""
    data = event.data
    if event.kind == "kernel.approval.asked":
        return Approval(
            id=event.stream,
            subject=str(data["subject"]),
            action=str(data["action"]),
            digest=str(data["digest"]),
            requester=event.actor,
            owner=str(data["owner"]),
            domain=str(data["domain"]),
            stages=tuple(
                Stage(cast("Body", s["body"]), cast("Decides", s["decides"]), int(str(s["quorum"])))
                for s in cast("list[dict[str, Value]]", data["stages"])
            ),
            asked_at=event.at,
            expires=int(str(data["expires"])),
            facts=cast("Mapping[str, Value]", data["facts"]),
            summary=str(data["summary"]),
        )
    if approval is None:
        return None
    match event.kind:
        case "kernel.approval.voted":
            vote = Vote(
                event.actor,
                int(str(data["stage"])),
                str(data["seat"]),
                data["answer"] == "yes",
                str(data["reason"]),
                event.at,
            )
            return replace(approval, votes=(*approval.votes, vote), solo=approval.solo or data["solo"] == "yes")
        case "kernel.approval.granted":
            return replace(approval, state="granted")
        case "kernel.approval.refused":
            return replace(approval, state="refused")
        case "kernel.approval.expired":
            return replace(approval, state="expired")
        case "kernel.approval.voided":
            return replace(approval, state="voided")
        case "kernel.approval.spent":
            return replace(approval, state="spent")
        case _:
            return approval
