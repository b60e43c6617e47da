"""How golden paths are governed: what becomes one, who agrees to its envelope, and what its siblings inherit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.approval import Stage
from bedplate.kernel.control import Control, Fail, Finding, Pass
from bedplate.kernel.decision import Case
from bedplate.kernel.manifest import Kind, Manifest
from bedplate.kernel.origin import SOURCE, VERSIONS, claimed, ended
from bedplate.kernel.standing import Rung, Standing

if TYPE_CHECKING:
    from bedplate.kernel.event import Event, Value

ASSURED = 3  # from this tier on, the board answers for the business risk


def _owed(case: Case) -> tuple[Stage, ...]:
    """Return whoever would agree to a use case of the envelope's tier and its release, and always the CoE."""
    tier = int(str(case.attempt.facts["tier"]))
    asked = [Stage("coe", "technical"), *case.owed("accept", tier), *case.owed("release", tier)]
    if tier >= ASSURED:
        asked.append(Stage("board", "business-risk"))
    merged: dict[tuple[str, str], Stage] = {}
    for stage in asked:
        known = merged.get((stage.body, stage.decides))
        merged[stage.body, stage.decides] = stage if known is None or stage.quorum > known.quorum else known
    return tuple(merged.values())


PUBLISH = Action(
    "paths.publish",
    "paths:path:publish",
    "Make a golden path of a proven use case, and agree to its siblings beforehand.",
    stages=_owed,
)
WITHDRAW = Action(
    "paths.withdraw", "paths:path:withdraw", "End what was agreed for a path's siblings.", registered=False
)
NOTE = Action("paths.note", "releases:release:build", "Record how a sibling's release stands to its path.")
INHERIT = Action("paths.inherit", "releases:release:build", "Take over evidence about what a sibling has not changed.")


def _proven(case: Case) -> Finding:
    standing = case.standing
    if standing is None or standing.stage != "live" or standing.suspended:
        return Fail("only a live use case can become a path", "take it live first: bedplate release")
    if standing.rung is not Rung.ACT or standing.breaches:
        return Fail("it is not on its top rung, or has open breaches", "mend it and release again; then it is proven")
    return Pass()


def _unproven() -> Case:
    return Case(Attempt(PUBLISH, "canary", "usecase/canary"), 0, None, Standing("usecase/canary", stage="accepted"))


def _holds(case: Case) -> Finding:
    claim = claimed(case.attempt.facts)
    why = "no path is named" if claim is None else ended(case.origin, case.source, claim[1], case.now)
    return Fail(why, "have it shown for this release: bedplate gate") if why else Pass()


def _orphan() -> Case:
    """Somebody takes over evidence by a path that nobody published."""
    facts: dict[str, Value] = {"path": "canary", "path_version": 1}
    return Case(Attempt(INHERIT, "canary", "usecase/canary", facts), 0, None, Standing("usecase/canary"))


def _agreed(standing: Standing, event: Event) -> Standing:
    data = event.data
    kept = ("digest", "tier", "domain", "agreed", "approval", "solo", "expires")
    versions = {**_versions(standing), str(data["version"]): {**{k: data[k] for k in kept}, "withdrawn": ""}}
    named = replace(
        standing,
        title=str(data["title"]),
        owner=str(data["owner"]),
        domain=str(data["domain"]),
        stage="published",
    )
    return replace(named, facts={**standing.facts, VERSIONS: versions, SOURCE: data["source"]})


def _withdrawn(standing: Standing, event: Event) -> Standing:
    only, reason = int(str(event.data["version"])), event.data["reason"]
    versions = {
        number: {**body, "withdrawn": reason} if only in {0, int(number)} else body
        for number, body in _versions(standing).items()
    }
    return replace(standing, facts={**standing.facts, VERSIONS: versions})


def _versions(standing: Standing) -> dict[str, dict[str, Value]]:
    known = standing.facts.get(VERSIONS)
    return dict(known) if isinstance(known, dict) else {}


MANIFEST = Manifest(
    plane="paths",
    actions=(PUBLISH, WITHDRAW, NOTE, INHERIT),
    controls=(
        Control(
            "path-proven",
            "change",
            "A path is taken only from a use case that is live, on its top rung, without open breaches.",
            _proven,
            _unproven,
            actions=(PUBLISH.name,),
            always=True,
        ),
        Control(
            "path-holds",
            "change",
            "Evidence is taken over only while the path's pre-approval holds and its source is live and sound.",
            _holds,
            _orphan,
            actions=(INHERIT.name,),
            always=True,
        ),
    ),
    kinds=(
        Kind(
            "paths.path.published",
            {"path": "text", "version": "int", "release": "text", "files": "object"},
            "A proven use case became a template; files by name, as digests.",
        ),
        Kind(
            "paths.envelope.agreed",
            {
                "version": "int",
                "source": "text",
                "title": "text",
                "owner": "text",
                "domain": "text",
                "tier": "int",
                "declaration": "text",
                "digest": "text",
                "agreed": "list",
                "approval": "text",
                "solo": "text",
                "expires": "int",
            },
            "What was agreed beforehand for siblings: by whom, how far, until when.",
            _agreed,
        ),
        Kind(
            "paths.path.withdrawn",
            {"version": "int", "reason": "text"},
            "A version, or with 0 every version, stands for no vote any more.",
            _withdrawn,
        ),
        Kind(
            "paths.sibling.made",
            {
                "path": "text",
                "version": "int",
                "release": "text",
                "deviations": "list",
                "lines": "int",
                "written": "int",
            },
            "A release was made from a path: how it deviates, its lines, and those written by hand.",
        ),
        Kind(
            "paths.evidence.inherited",
            {"control": "text", "release": "text", "source": "text", "original": "text", "expires": "int"},
            "Evidence about unchanged parts was taken over from the path's source.",
        ),
    ),
)
