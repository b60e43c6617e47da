"""What is wrong in the sections about bodies: names that point nowhere, circles, and decisions nobody could take."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .sections.bodies import DelegationPart, StandInPart
    from .structure import OperatingModelFile

Complaint = tuple[list[str | int], str]
VOTING: dict[str, tuple[str, ...]] = {
    "board": ("board.chair", "board.member"),
    "coe": ("coe.chair", "coe.member"),
    "domain": ("domain.approver",),
}


def astray(file: OperatingModelFile) -> list[Complaint]:
    """List what these sections get wrong, as (path, message)."""
    return [
        *_empty(file),
        *_delegations(file),
        *_stand_ins(file),
        *_interests(file),
        *twice("competences", [c.id for c in file.competences or ()]),
    ]


def voters(file: OperatingModelFile, body: str) -> int:
    """Return how many people may vote in a body; of the domains, in the one that has the fewest."""
    places = [f"@{d.id}" for d in file.domains] if body == "domain" else [""]
    return min(sum(any(f"{seat}{at}" in p.seats for seat in VOTING[body]) for p in file.people) for at in places)


def _empty(file: OperatingModelFile) -> Iterator[Complaint]:
    for body, what in (("board", "policy"), ("coe", "technical standards")):
        if not voters(file, body):
            seats = " or ".join(VOTING[body])
            yield ["people"], f"nobody sits in the {body}, and so nobody could agree to {what}; give somebody {seats}"


def _delegations(file: OperatingModelFile) -> Iterator[Complaint]:
    given = file.delegations or []
    yield from twice("delegations", [d.id for d in given])
    for index, one in enumerate(given):
        onward = next((d for d in given if d is not one and _shares(one, d) and d.from_body == one.to_body), None)
        if onward is not None:
            ends = "comes back" if onward.to_body == one.from_body else f"goes on to the {onward.to_body}"
            message = f"circular: what it hands to the {one.to_body}, {onward.id!r} hands on, and it {ends}; keep one"
            yield ["delegations", index], message
        tier = next((t for t in file.tiers if t.tier == one.tier), None)
        for what in one.what:
            stages = [s for s in (tier.approvals.get(what, []) if tier is not None else []) if s.body == one.from_body]
            if not stages:
                message = f"the {one.from_body} decides nothing about {what} in tier {one.tier}: nothing to hand over"
                yield ["delegations", index, "what"], message
            for stage in stages:
                if (have := voters(file, one.to_body)) < stage.quorum:
                    message = f"quorum {stage.quorum} cannot be reached: {have} people may vote in the {one.to_body}"
                    yield ["delegations", index, "to_body"], message


def _shares(one: DelegationPart, other: DelegationPart) -> bool:
    return one.tier == other.tier and bool(set(one.what) & set(other.what))


def _stand_ins(file: OperatingModelFile) -> Iterator[Complaint]:
    standing = file.stand_ins or []
    known = {p.id: p for p in file.people}
    yield from twice("stand_ins", [s.id for s in standing])
    every = {seat for seats in VOTING.values() for seat in seats}
    for index, one in enumerate(standing):
        for role in ("absent", "person"):
            if getattr(one, role) not in known:
                yield ["stand_ins", index, role], f"{getattr(one, role)!r} is nobody of `people`"
        absent = known.get(one.absent)
        if absent is not None and not any(s.partition("@")[0] in every for s in absent.seats):
            yield ["stand_ins", index, "absent"], f"{one.absent} has no vote: nobody needs to stand in"
        if circle := _circle(one, standing):
            message = f"circular: {' for '.join(circle)}; each of them would be absent, and stand in"
            yield ["stand_ins", index], message


def _circle(first: StandInPart, every: Sequence[StandInPart]) -> list[str]:
    """Follow who stands in for whom at one time; the way round if it comes back, else nothing."""
    way, last = [first.person, first.absent], first
    seen = {first.id}
    while True:
        onward = next((s for s in every if s.person == last.absent and _meet(s, first) and s.id not in seen), None)
        if onward is None:
            return []
        way.append(onward.absent)
        if onward.absent == first.person:
            return way
        seen.add(onward.id)
        last = onward


def _meet(one: StandInPart, other: StandInPart) -> bool:
    return one.since <= other.until and other.since <= one.until


def _interests(file: OperatingModelFile) -> Iterator[Complaint]:
    people, domains = {p.id for p in file.people}, {d.id for d in file.domains}
    for index, one in enumerate(file.conflicts or ()):
        if one.person not in people:
            yield ["conflicts", index, "person"], f"{one.person!r} is nobody of `people`"
        of, _, name = one.about.partition("/")
        if of == "domain" and name not in domains:
            yield ["conflicts", index, "about"], f"no domain {name!r}; known: {', '.join(sorted(domains))}"


def twice(where: str, names: list[str]) -> list[Complaint]:
    """List the names that an earlier part of the same list has already."""
    return [([where, i], f"{name!r} is there twice") for i, name in enumerate(names) if name in names[:i]]
