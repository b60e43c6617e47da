"""Golden paths: publish one, start from one, follow its next version, and see what is owed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from bedplate.document import parse
from bedplate.errors import Denied, InvalidInput, NotFound
from bedplate.installation import Installation
from bedplate.kernel.risk import rate
from bedplate.paths import actions, views
from bedplate.paths.declaration import DECLARATION, check_declaration, declared_by
from bedplate.paths.path import SPEC, answered, answers_of, render
from bedplate.paths.sibling import differing, owed
from bedplate.paths.thread import package
from bedplate.portfolio.usecase import UseCaseFile
from bedplate.releases import views as releases
from bedplate.releases.actions import gate
from bedplate.wire import FileBody, Files, Published, Sibling, Withdrawn

from .portfolio import Id, model_in_force
from .session import At, Me

router = APIRouter(tags=["paths"])
Version = Annotated[int, Query(ge=0, le=1_000_000, description="0: the newest.")]


@router.post("/paths")
def publish(at: At, me: Me, body: Published) -> dict[str, Any]:
    """Publish the live release of a use case as a path; 202 names the approval, which is its siblings' pre-approval."""
    subject = f"usecase/{body.use_case}"
    live = at.standing(subject).release
    if not live:
        raise Denied(f"{subject} has no live release", hint="take it live first: bedplate release")
    model, files = model_in_force(at), package(at.engine, live)
    source = parse(files.get(SPEC, ""), SPEC).read(UseCaseFile)
    rating = rate(model.questions, source.answers, model.matrix)
    text = body.declaration or files.get(DECLARATION, "")
    declared = check_declaration(parse(text, DECLARATION), source, rating) if text else declared_by(source, rating)
    version = views.next_version(at.engine, body.use_case)
    name = actions.publish(at.governor, me.person, subject, live, version, declared)
    return {"path": name, "version": version, "release": live}


@router.get("/paths")
def paths(at: At, me: Me) -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """List the paths."""
    return {"paths": views.paths(at.engine, at.clock())}


@router.post("/paths/owed")
def owed_by_files(at: At, me: Me, body: Files) -> dict[str, Any]:
    """Say what the files of a sibling would owe, before they are proposed or released."""
    return _owed(at, me.person, body.files)


@router.get("/paths/{name}")
def path(at: At, me: Me, name: Id, version: Version = 0) -> dict[str, Any]:  # noqa: ARG001  as above
    """Return a path: what it asks, its envelope, who agreed to it, its versions and its siblings."""
    found = views.path(at.engine, name, version)
    declared = found.declaration.plain() if found.declaration is not None else {}
    return {
        "path": name,
        "version": found.version,
        "source": found.source,
        "title": declared.get("title", name),
        "asks": [q.model_dump(exclude_none=True) for q in found.asks],
        "envelope": declared.get("envelope", {}),
        "agreed": views.agreed(at.engine, name, found.version),
        "files": sorted(found.files),
        "versions": views.versions(at.engine, name, at.clock()),
        "siblings": views.siblings(at.engine, name),
        "first": views.way(at.engine, found.source) if found.source else {},
    }


@router.post("/paths/{name}/withdraw")
def withdraw(at: At, me: Me, name: Id, body: Withdrawn) -> dict[str, Any]:
    """End what a path was agreed to beforehand: from now on its siblings owe every vote."""
    views.path(at.engine, name, body.version)
    actions.withdraw(at.governor, me.person, name, body.version, body.reason)
    return {"versions": views.versions(at.engine, name, at.clock())}


@router.post("/paths/{name}/siblings")
def sibling(at: At, me: Me, name: Id, body: Sibling) -> dict[str, Any]:  # noqa: ARG001  as above
    """Return the files of a new use case made from a path, to be put into its team's folder."""
    found = views.path(at.engine, name)
    retired = views.path_ended(at.engine, name, found.version, at.clock()) if found.digest else ""
    answers = answered(found, {**body.answers, "id": body.id, "title": body.title})
    return {"path": name, "version": found.version, "files": render(found, answers), "ended": retired}


@router.post("/paths/{name}/upgrade")
def upgrade(at: At, me: Me, name: Id, body: FileBody) -> dict[str, Any]:  # noqa: ARG001  as above
    """Return what a sibling's path rendered, and renders in its newest version, with the sibling's own answers."""
    spec = actions.spec_of(body.text, body.name)
    own = spec.get("path")
    if not isinstance(own, dict) or own.get("name") != name or not isinstance(own.get("version"), int):
        raise InvalidInput(f"{body.name} was not made from the path {name}", hint="it says so under the key path")
    old, new = views.path(at.engine, name, int(own["version"])), views.path(at.engine, name)
    before, after = answers_of(old, spec), answers_of(new, spec)
    return {
        "path": name,
        "from": old.version,
        "to": new.version,
        "old": render(old, answered(old, before)),
        "new": render(new, answered(new, after)),
        "ended": views.path_ended(at.engine, name, new.version, at.clock()),
    }


@router.get("/use-cases/{name}/owed")
def owed_by(at: At, me: Me, name: Id) -> dict[str, Any]:
    """Say what a sibling on record owes, and why: by its newest release, with how its evidence stands."""
    subject = f"usecase/{name}"
    newest = releases.newest(at.engine, subject)
    told = _owed(at, me.person, package(at.engine, newest["digest"]))
    lines = gate(at.governor, me.person, subject, newest["digest"])
    evidence = [
        {"control": x.control, "state": x.state, "summary": x.summary, "fix": x.fix}
        for x in lines
        if x.state != "proven" or x.summary.startswith("inherited from ")
    ]
    differs: list[str] = []
    if not told["ended"]:
        first = releases.bundle(at.engine, views.path(at.engine, told["path"], told["version"]).release)
        differs = differing(first, releases.bundle(at.engine, newest["digest"]))
    return {**told, "digest": newest["digest"], "differs": differs, "evidence": evidence}


def _owed(at: Installation, person: str, files: dict[str, str]) -> dict[str, Any]:
    if SPEC not in files:
        raise NotFound(f"the file {SPEC} is missing", hint="send the files of the use case's folder")
    file = parse(files[SPEC], SPEC).read(UseCaseFile)
    return {"id": file.id, **owed(at.governor, at.engine, person, file, model_in_force(at), files).plain()}
