"""Who may do what, and who may agree to it. Typed rules of the operating model, plus invariants it cannot change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .approval import Approval, Stage

Posture = Literal["standard", "solo"]
OPERATOR = "operator"  # whoever has the host: may invite people and found, never approves
FOR = " for "  # between a seat and the person in whose place it was voted from
SYSTEM = "system"  # the worker: may measure, lower rungs and open incidents, never raises or approves


@dataclass(frozen=True, slots=True)
class Seat:
    """A place in a structure: body, role in it, and for a domain which one."""

    body: str
    role: str
    domain: str = ""

    def __str__(self) -> str:
        return f"{self.body}.{self.role}" + (f"@{self.domain}" if self.domain else "")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account and the seats the operating model gives."""

    id: str
    name: str
    seats: tuple[Seat, ...] = ()


@dataclass(frozen=True, slots=True)
class StandIn:
    """Somebody who votes in an absent person's place from one moment until another, in microseconds."""

    id: str
    absent: str
    person: str
    since: int
    until: int

    def active(self, now: int) -> bool:
        """Tell whether it counts now."""
        return self.since <= now < self.until


@dataclass(frozen=True, slots=True)
class Interest:
    """Why a person must not decide about a domain, a use case or a vendor: a conflict of interest that was declared."""

    person: str
    about: str  # domain/ID, usecase/ID or vendor/ID
    why: str


@dataclass(frozen=True, slots=True)
class Authority:
    """People and permissions in force. `rules` maps a permission to seat patterns ("coe.*", "domain.owner")."""

    people: Mapping[str, Person]
    rules: Mapping[str, tuple[str, ...]]
    posture: Posture = "standard"
    stand_ins: tuple[StandIn, ...] = ()
    interests: tuple[Interest, ...] = ()

    def allowed(self, actor: str, permission: str, domain: str) -> bool:
        """Tell whether the actor holds a seat that a rule names; a domain seat counts in its own domain only."""
        patterns = self.rules.get(permission, ())
        if actor in {OPERATOR, SYSTEM}:
            return actor in patterns
        person = self.people.get(actor)
        if person is None:
            return False
        return any(fits(pattern, seat, domain) for pattern in patterns for seat in person.seats)

    def who(self, permission: str, domain: str) -> tuple[str, ...]:
        """List the people that `allowed` would let through, for the fix of a refusal."""
        return tuple(sorted(p for p in self.people if self.allowed(p, permission, domain)))

    def seat_for(self, person: str, stage: Stage, domain: str) -> Seat | None:
        """Return the seat with which the person may vote in this stage, if any."""
        for seat in self.people[person].seats if person in self.people else ():
            if seat.body == stage.body and seat.role in {"chair", "member", "approver"}:
                if stage.body != "domain":
                    return seat
                if seat.role == "approver" and seat.domain == domain:
                    return seat
        return None

    def voters(self, stage: Stage, domain: str) -> tuple[str, ...]:
        """List the people who hold a voting seat for this stage."""
        return tuple(sorted(p for p in self.people if self.seat_for(p, stage, domain)))

    def absent_for(self, person: str, now: int) -> tuple[str, ...]:
        """List the people in whose place somebody may vote now."""
        return tuple(s.absent for s in self.stand_ins if s.person == person and s.active(now))


@dataclass(frozen=True, slots=True)
class Ballot:
    """A vote that may be cast: in which stage, from which seat, and whether solo posture waived a rule."""

    stage: int
    seat: Seat
    solo: bool
    absent: str = ""  # in whose place

    @property
    def place(self) -> str:
        """The seat as it is recorded with the vote."""
        return f"{self.seat}{FOR}{self.absent}" if self.absent else str(self.seat)


@dataclass(frozen=True, slots=True)
class Barred:
    """A vote that may not be cast: why, and who could."""

    reason: str
    fix: str


def ballot(
    authority: Authority,
    approval: Approval,
    person: str,
    *,
    owner: str = "",
    now: int = 0,
    about: frozenset[str] = frozenset(),
) -> Ballot | Barred:
    """Find the stage this person may vote in. Requester ≠ approver, owner ≠ approver, one stage a person.

    Owners are who owned the subject when it was asked, who would own it once granted, and `owner`, who owns it now.
    `about` is what else is decided about, such as `vendor/ID`, in which somebody may have an interest.
    Whoever stands in for somebody absent is bound by what binds either of them, and a seat is voted from once.
    """
    bound = {owner, approval.owner, str(approval.facts.get("owner", ""))} - {""}
    matters = about | {approval.subject, f"domain/{approval.domain}"}
    conflict = _conflict(authority, approval, person, bound, matters)
    if conflict and authority.posture != "solo":
        return Barred(conflict, "ask somebody else of the body: " + _names(authority, approval))
    if _represented(approval, person):
        return Barred(f"somebody voted in {person}'s place already", _names(authority, approval))
    waived = bool(conflict)
    if any(v.person == person for v in approval.votes):
        if authority.posture != "solo":
            return Barred(f"{person} has voted already; stages need distinct people", _names(authority, approval))
        waived = True
    for index, stage, _ in approval.missing():
        if any(v.person == person and v.stage == index for v in approval.votes):
            continue
        seat = authority.seat_for(person, stage, approval.domain)
        if seat is not None:
            return Ballot(index, seat, waived)
        for absent in authority.absent_for(person, now):
            seat = authority.seat_for(absent, stage, approval.domain)
            if seat is not None and not _bound(authority, approval, absent, bound, matters):
                return Ballot(index, seat, waived, absent)
    lacking = ", ".join(f"{s.body} ({s.decides})" for _, s, _ in approval.missing())
    return Barred(f"{person} holds no seat that may decide this; it waits for {lacking}", _names(authority, approval))


def _conflict(authority: Authority, approval: Approval, person: str, owners: set[str], matters: frozenset[str]) -> str:
    if person == approval.requester:
        return f"{person} asked for this; nobody approves their own request"
    if person == approval.facts.get("editor"):
        return f"{person} changed what is asked; nobody approves their own request"
    if person in owners:
        return f"{person} owns {approval.subject}; an owner never approves their own asset"
    declared = next((i for i in authority.interests if i.person == person and i.about in matters), None)
    if declared is not None:
        return f"{person} has declared a conflict of interest about {declared.about}: {declared.why}"
    return ""


def _bound(authority: Authority, approval: Approval, absent: str, owners: set[str], matters: frozenset[str]) -> bool:
    """Tell whether nobody may vote in this person's place: they voted, were voted for, or might not vote themselves."""
    voted = any(v.person == absent for v in approval.votes) or _represented(approval, absent)
    return voted or bool(_conflict(authority, approval, absent, owners, matters))


def _represented(approval: Approval, person: str) -> bool:
    """Tell whether somebody voted in this person's place."""
    return any(v.seat.endswith(f"{FOR}{person}") for v in approval.votes)


def _names(authority: Authority, approval: Approval) -> str:
    barred = {approval.requester, approval.owner, approval.facts.get("owner"), *(v.person for v in approval.votes)}
    names = sorted(
        {p for _, stage, _ in approval.missing() for p in authority.voters(stage, approval.domain) if p not in barred}
    )
    return "who can: " + (", ".join(names) if names else "nobody yet; give somebody a seat in the operating model")


def fits(pattern: str, seat: Seat, domain: str) -> bool:
    """Tell whether a pattern such as "coe.*" means this seat. A domain's seat counts in that domain only."""
    body, _, role = pattern.partition(".")
    if seat.body != body or role not in {"*", seat.role}:
        return False
    return seat.body != "domain" or domain in (seat.domain, "*")
