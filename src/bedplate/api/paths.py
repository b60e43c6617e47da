"""Golden paths: publish one, start from one."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from bedplate.errors import Denied
from bedplate.paths import actions, views
from bedplate.paths.path import render
from bedplate.paths.thread import package
from bedplate.wire import Published, Sibling

from .portfolio import Id
from .session import At, Me

router = APIRouter(tags=["paths"])


@router.post("/paths")
def publish(at: At, me: Me, body: Published) -> dict[str, Any]:
    """Publish the live release of a use case as a path."""
    subject = f"usecase/{body.use_case}"
    live = at.standing(subject).release
    if not live:
        raise Denied(f"{subject} has no live release", hint="take it live first: bedplate release")
    version = views.next_version(at.engine, body.use_case)
    name = actions.publish(at.governor, me.person, subject, live, package(at.engine, live), version)
    return {"path": name, "version": version, "release": live}


@router.get("/paths")
def paths(at: At, me: Me) -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """List the paths."""
    return {"paths": views.paths(at.engine)}


@router.post("/paths/{name}/siblings")
def sibling(at: At, me: Me, name: Id, body: Sibling) -> dict[str, Any]:  # noqa: ARG001  as above
    """Return the files of a new use case made from a path, to be put into its team's folder."""
    found = views.path(at.engine, name)
    return {"path": name, "version": found.version, "files": render(found, {"id": body.id, "title": body.title})}
