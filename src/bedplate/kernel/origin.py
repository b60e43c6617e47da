"""What a use case was made from: a golden path, whose publication its approvers agreed to beforehand for its siblings.

The pre-approval stands for a vote only while it holds, only inside its envelope, only for bodies that agreed to it, and
only as far as those who agreed could have voted on the sibling itself: never more rights than they had.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from .approval import Body, Decides, Stage
from .standing import Rung

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .decision import Case
    from .event import Value
    from .standing import Standing

VERSIONS, SOURCE = "paths.versions", "paths.source"  # facts of the standing of `path/NAME`


@dataclass(frozen=True, slots=True)
class PreApproval:
    """What was agreed to when one version of a path was published. `expires` in microseconds."""

    digest: str  # of everything the version is
    tier: int  # siblings up to this one
    domain: str  # whose approvers agreed, where a domain had to
    agreed: tuple[tuple[Stage, frozenset[str]], ...]  # each body's part, and who voted for it
    approval: str  # "": nobody was asked, and so it stands for nothing
    solo: bool
    expires: int
    withdrawn: str  # the reason


def subject_of(path: str) -> str:
    """Name the path in records."""
    return f"path/{path}"


def pre_approval(standing: Standing | None, version: int) -> PreApproval | None:
    """Read what was agreed for a version of a path; None if there is no such version."""
    versions = standing.facts.get(VERSIONS) if standing is not None else None
    body = versions.get(str(version)) if isinstance(versions, dict) else None
    if not isinstance(body, dict):
        return None
    known = cast("Mapping[str, Any]", body)
    return PreApproval(
        digest=str(known["digest"]),
        tier=int(known["tier"]),
        domain=str(known["domain"]),
        agreed=tuple(
            (Stage(cast("Body", a["body"]), cast("Decides", a["decides"]), int(a["quorum"])), frozenset(a["by"]))
            for a in known["agreed"]
        ),
        approval=str(known["approval"]),
        solo=known["solo"] == "yes",
        expires=int(known["expires"]),
        withdrawn=str(known["withdrawn"]),
    )


def claimed(facts: Mapping[str, Value]) -> tuple[str, int] | None:
    """Return the path and the version that an attempt says its subject was made from; None if it says none."""
    name, version = facts.get("path"), facts.get("path_version")
    return (name, version) if isinstance(name, str) and name and isinstance(version, int) else None


def made_from(facts: Mapping[str, Value]) -> str:
    """Say to approvers what the subject was made from, and how it deviates; "" where it was made from no path."""
    claim, deviations = claimed(facts), facts.get("deviations")
    if claim is None:
        return ""
    told = f"; made from the path {claim[0]}, version {claim[1]}"
    return (
        f"{told}; deviates: {'; '.join(map(str, deviations))}" if isinstance(deviations, list) and deviations else told
    )


def ended(origin: Standing | None, source: Standing | None, version: int, now: int) -> str:
    """Say why the pre-approval of a path's version holds no more, or never did; "" while it holds."""
    given = pre_approval(origin, version)
    if origin is None or given is None:
        return f"no pre-approval of version {version} of its path is on record here"
    name = origin.subject.partition("/")[2]
    if given.withdrawn:
        return f"version {version} of the path {name} was withdrawn: {given.withdrawn}"
    if not given.approval:
        return f"version {version} of the path {name} was published without approval"
    if now >= given.expires:
        return f"the pre-approval of version {version} of the path {name} has expired"
    if source is None or source.stage != "live":
        stage = source.stage if source is not None else "unknown"
        return f"{origin.facts[SOURCE]}, from which the path {name} was taken, is {stage}"
    if source.suspended:
        return f"{source.subject}, from which the path {name} was taken, is suspended: {source.suspended}"
    if source.breaches or source.rung is not Rung.ACT:
        return f"{source.subject}, from which the path {name} was taken, has an open breach or a lower rung"
    return ""


def unmet(case: Case) -> str:
    """Say why the pre-approval of the path does not cover this attempt; "" if it does, or if none is claimed."""
    facts = case.attempt.facts
    claim = claimed(facts)
    if claim is None:
        return ""
    over = ended(case.origin, case.source, claim[1], case.now)
    given = pre_approval(case.origin, claim[1])
    if over or given is None:
        return over
    if facts.get("path_digest") != given.digest:
        return "the version of the path is not the one that was agreed to"
    deviations = facts.get("deviations")
    if not isinstance(deviations, list):
        return "it was not compared with the path's envelope"
    if deviations:
        return "it leaves the path's envelope: " + "; ".join(map(str, deviations))
    rated = case.standing.tier if case.standing is not None else 0
    tier = max(rated, int(str(facts.get("tier", 0))))
    if not 0 < tier <= given.tier:
        return f"it is of tier {tier}, and the path's envelope ends at {given.tier}"
    if given.solo and (case.model is None or case.model.authority.posture != "solo"):
        return "the pre-approval was given in the posture solo"
    return ""


def still_owed(case: Case, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Return the stages that the path's pre-approval does not stand for: all of them where it does not hold."""
    claim = claimed(case.attempt.facts)
    if claim is None or unmet(case):
        return stages
    given = pre_approval(case.origin, claim[1])
    return stages if given is None else tuple(s for s in stages if not _covers(given, s, case))


def _covers(given: PreApproval, stage: Stage, case: Case) -> bool:
    """Tell whether enough people of the body agreed who may vote on this sibling: not its owner, not its requester."""
    facts, owner = case.attempt.facts, case.standing.owner if case.standing is not None else ""
    domains = {case.domain, str(facts.get("domain", case.domain))}
    if stage.body == "domain" and domains != {given.domain}:
        return False
    solo = case.model is not None and case.model.authority.posture == "solo"
    barred = set() if solo else {case.attempt.actor, owner, str(facts.get("owner", ""))}
    return any(
        (agreed.body, agreed.decides) == (stage.body, stage.decides) and len(by - barred) >= stage.quorum
        for agreed, by in given.agreed
    )
