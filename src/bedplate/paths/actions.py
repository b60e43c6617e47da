"""What is done about paths: publish one with its envelope, withdraw it, and note what siblings make of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from bedplate.document import parse
from bedplate.errors import Conflict
from bedplate.kernel.clock import DAY
from bedplate.kernel.event import canonical
from bedplate.kernel.origin import pre_approval, subject_of
from bedplate.releases.bundle import read

from .declaration import PathFile
from .governance import INHERIT, NOTE, PUBLISH, WITHDRAW
from .path import digest_of, template_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bedplate.kernel.approval import Approval
    from bedplate.kernel.event import Data, Value
    from bedplate.kernel.governor import Act, Governor


@dataclass(frozen=True, slots=True)
class Followed:
    """How a sibling's release stands to its path."""

    path: str
    version: int
    deviations: Sequence[str]
    lines: int  # in its own files
    written: int  # of them by hand


def publish(governor: Governor, by: str, subject: str, release: str, version: int, declaration: PathFile) -> str:
    """Publish the files of the live release as a path; returns its name, that of the use case.

    Raises `NeedsApproval` until the bodies of the envelope's tier agree: to the path, and so to its siblings.
    """
    envelope = declaration.envelope
    facts: dict[str, Value] = {
        "release": release,
        "version": version,
        "tier": envelope.tier if envelope is not None else 4,
        "declaration": cast("Value", declaration.plain()),
    }
    return _publish(governor, by, subject, facts)


def carry_out_publish(governor: Governor, approval: Approval) -> None:
    """Publish what was agreed to."""
    if approval.state == "granted":
        _publish(governor, approval.requester, approval.subject, approval.facts)


def withdraw(governor: Governor, by: str, path: str, version: int, reason: str) -> None:
    """End what a version of a path, or with 0 every version, was agreed to beforehand."""
    with governor.act(by, WITHDRAW, subject_of(path), facts={"version": version, "reason": reason}) as act:
        act.record("paths.path.withdrawn", {"version": version, "reason": reason})


def note(governor: Governor, by: str, subject: str, release: str, found: Followed) -> None:
    """Record how a sibling's release stands to its path."""
    with governor.act(by, NOTE, subject, facts={"release": release}) as act:
        told: dict[str, Value] = {"path": found.path, "version": found.version, "release": release}
        counted: dict[str, Value] = {"lines": found.lines, "written": found.written}
        act.record("paths.sibling.made", {**told, "deviations": list(found.deviations), **counted})


def inherit(governor: Governor, by: str, subject: str, origin: Data, evidence: Mapping[str, Any]) -> None:
    """Attach evidence about the source's release to a sibling's, as it is: with its own expiry and a reference."""
    facts: dict[str, Value] = {**origin, "release": evidence["release"], "control": evidence["control"]}
    with governor.act(by, INHERIT, subject, facts=facts) as act:
        source, original = str(evidence["source"]), str(evidence["original"])
        act.record(
            "kernel.evidence.attached",
            {
                "control": evidence["control"],
                "digest": evidence["release"],
                "outcome": "proven",
                "summary": f"inherited from release {original[:12]} of {source}: {evidence['summary']}",
                "expires": evidence["expires"],
                "blob": evidence["blob"],
            },
        )
        kept = ("control", "release", "source", "original", "expires")
        act.record("paths.evidence.inherited", {name: evidence[name] for name in kept})


def _publish(governor: Governor, by: str, subject: str, facts: Data) -> str:
    name, version = subject.partition("/")[2], int(str(facts["version"]))
    summary = f"publish version {version} of the path {name}: siblings up to tier {facts['tier']} need no new vote"
    with governor.act(by, PUBLISH, subject, facts=facts, summary=summary) as act:
        if pre_approval(act.tx.standing(subject_of(name)), version) is not None:
            raise Conflict(f"version {version} of the path {name} was published meanwhile", hint="publish again")
        release, declared = str(facts["release"]), facts["declaration"]
        bundle = read(act.tx.content(release))
        files = {file: act.tx.content(digest).decode() for file, digest in bundle.files.items()}
        declaration = PathFile.model_validate(declared)
        made = template_of(files, name, version, declaration.asks or ())
        kept: dict[str, Value] = {file: act.keep(text.encode()) for file, text in made.items()}
        act.record("paths.path.published", {"path": name, "version": version, "release": release, "files": kept})
        digest = digest_of(name, version, release, kept, declared)
        told: dict[str, Value] = {"version": version, "source": subject, "title": declaration.title, "digest": digest}
        told |= {"tier": facts["tier"], "declaration": act.keep(canonical(declared)), **_agreed(act)}
        act.record("paths.envelope.agreed", told, on=subject_of(name))
    return name


def _agreed(act: Act) -> dict[str, Value]:
    """Say who agreed and for how long; break-glass lets a path be published, and agrees to nothing."""
    given, standing, model = act.case.approval, act.case.standing, act.case.model
    parts: list[Value] = []
    for index, stage in enumerate(given.stages if given is not None else ()):
        voters = {v.person for v in given.votes if v.stage == index and v.yes} if given is not None else set[str]()
        part: dict[str, Value] = {"body": stage.body, "decides": stage.decides, "quorum": stage.quorum}
        parts.append({**part, "by": sorted(voters)})
    plan = act.case.plan
    days = min(model.evidence_days, plan.review_days) if model is not None and plan is not None else 0
    return {
        "owner": standing.owner if standing is not None else "",
        "domain": standing.domain if standing is not None else "",
        "agreed": parts,
        "approval": given.id if given is not None else "",
        "solo": "yes" if given is not None and given.solo else "no",
        "expires": act.case.now + days * DAY,
    }


def declaration_of(content: bytes) -> PathFile:
    """Read a declaration back from what was kept of it."""
    return PathFile.model_validate(json.loads(content))


def spec_of(text: str, name: str) -> Mapping[str, Any]:
    """Return a use case's file as plain keys and values, unchecked."""
    return cast("Mapping[str, Any]", parse(text, name).root)
