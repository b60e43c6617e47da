"""Prompts: their versions, what differs between two, and aliases."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from bedplate.errors import InvalidInput, NotFound
from bedplate.models import actions, views
from bedplate.models.prompt import LIVE, SYSTEM, Versions, diff
from bedplate.releases.views import bundle
from bedplate.wire import Alias

from .feedback import Asking
from .portfolio import Id
from .session import At, Me

router = APIRouter(tags=["prompts"])
PromptId = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
Version = Annotated[str, Query(max_length=64)]


@router.get("/use-cases/{name}/prompts")
def prompts(at: At, me: Me, name: Id) -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """List every version of every prompt, newest first, with its aliases; `live` is what the live release carries."""
    subject = f"usecase/{name}"
    versions, carried = views.prompt_versions(at.engine, subject), _carried(at, subject)
    found = views.prompts(at.engine, subject)
    return {
        "prompts": [
            {**row, "aliases": _names(versions[row["id"]], row["digest"], carried.get(row["id"], ""))} for row in found
        ]
    }


@router.get("/use-cases/{name}/prompts/{prompt_id}")
def prompt(at: At, asking: Asking, name: Id, prompt_id: PromptId, version: Version = LIVE) -> dict[str, Any]:
    """Return one version: as text, and as the template that the SDK fills in. A key reads its own live templates."""
    subject = f"usecase/{name}"
    if asking.subject and (asking.subject != subject or version != LIVE or prompt_id == SYSTEM):
        raise NotFound(f"{name} has no such prompt for this key", hint="a key reads its own live templates")
    versions, carried = _known(at, subject, prompt_id), _carried(at, subject)
    digest = versions.resolve(prompt_id, version, carried.get(prompt_id, ""))
    template = views.prompt_template(at.engine, digest).plain() if prompt_id != SYSTEM else None
    return {
        "use_case": name,
        "id": prompt_id,
        "digest": digest,
        "number": versions.number(digest),
        "aliases": _names(versions, digest, carried.get(prompt_id, "")),
        "text": views.prompt_text(at.engine, prompt_id, digest),
        "template": template,
    }


@router.get("/use-cases/{name}/prompts/{prompt_id}/diff")
def compare(at: At, me: Me, name: Id, prompt_id: PromptId, before: Version, after: Version = LIVE) -> dict[str, Any]:  # noqa: ARG001  as above
    """Compare two versions line by line, in the unified format."""
    subject = f"usecase/{name}"
    versions, live = _known(at, subject, prompt_id), _carried(at, subject).get(prompt_id, "")
    digests = [versions.resolve(prompt_id, asked, live) for asked in (before, after)]
    texts = [views.prompt_text(at.engine, prompt_id, digest) for digest in digests]
    first, second = (f"{prompt_id}@{versions.number(digest)} {digest[:12]}" for digest in digests)
    return {"before": digests[0], "after": digests[1], "diff": diff(texts[0], texts[1], (first, second))}


@router.post("/use-cases/{name}/prompts/{prompt_id}/aliases")
def alias(at: At, me: Me, name: Id, prompt_id: PromptId, body: Alias) -> dict[str, Any]:
    """Point an alias at a version that some release carries, or at none. What answers calls does not change by it."""
    subject = f"usecase/{name}"
    versions, live = _known(at, subject, prompt_id), _carried(at, subject).get(prompt_id, "")
    previous = versions.aliases.get(body.alias, "")
    if not body.version and not previous:
        raise InvalidInput(
            f"{prompt_id} has no alias {body.alias!r}", hint=", ".join(versions.aliases) or "it has none"
        )
    digest = versions.resolve(prompt_id, body.version, live) if body.version else ""
    actions.alias_prompt(at.governor, me.person, subject, prompt_id, body.alias, digest=digest, previous=previous)
    at.follower.look()
    return {"id": prompt_id, "alias": body.alias, "digest": digest, "number": versions.number(digest)}


def _known(at: At, subject: str, prompt_id: str) -> Versions:
    found = views.prompt_versions(at.engine, subject)
    if prompt_id not in found:
        known = ", ".join(sorted(found)) or "none"
        raise NotFound(f"{subject} has no prompt {prompt_id}", hint=f"prompts of its releases: {known}")
    return found[prompt_id]


def _carried(at: At, subject: str) -> dict[str, str]:
    """Return what the live release carries, by id; nothing while there is none."""
    release = at.standing(subject).release
    if not release:
        return {}
    made = bundle(at.engine, release)
    return {**made.prompts, SYSTEM: made.prompt}


def _names(versions: Versions, digest: str, live: str) -> list[str]:
    return [*([LIVE] if digest == live else []), *(n for n, to in versions.aliases.items() if to == digest)]
