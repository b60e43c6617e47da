"""A use case that was made from a path: how it stands to it, what it inherits, and what it owes again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from bedplate.errors import NotFound
from bedplate.kernel.origin import still_owed
from bedplate.kernel.risk import rate
from bedplate.portfolio.governance import ACCEPT
from bedplate.releases import views as releases
from bedplate.store.reads import read_evidence

from . import views
from .actions import Followed, inherit, note
from .envelope import deviations
from .path import answers_of, hand_written, lines_of, render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

    from bedplate.kernel.approval import Stage
    from bedplate.kernel.event import Data, Value
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.model import OperatingModel, TierPlan
    from bedplate.portfolio.usecase import UseCaseFile
    from bedplate.releases.bundle import Bundle

    from .thread import Workshop

INHERITED = ("red-teamed", "fairness-assessed")  # what people show about parts that a sibling may leave as they are
SAME = ("upstream", "model", "fallbacks", "prompt", "prompts", "unanswered", "guardrails", "options")


@dataclass(frozen=True, slots=True)
class Owed:
    """What a sibling owes, and why. `stages`: who must still agree to its acceptance and to its release."""

    path: str
    version: int
    newest: int
    ended: str  # why the pre-approval does not hold; "" while it does
    deviations: tuple[str, ...]
    accept: tuple[Stage, ...]
    release: tuple[Stage, ...]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {**asdict(self), "votes": bool(self.accept or self.release)}


def origin_of(
    engine: Engine, file: UseCaseFile, model: OperatingModel, files: Mapping[str, str] | None = None
) -> Data | None:
    """Return the facts by which an attempt names its path and its deviations from it; None without a path.

    `files` are the whole folder, where the attempt is about all of it.
    """
    if file.path is None:
        return None
    rating = rate(model.questions, file.answers, model.matrix)
    facts: dict[str, Value] = {"path": file.path.name, "path_version": file.path.version, "path_digest": ""}
    try:
        path = views.path(engine, file.path.name, file.path.version)
    except NotFound as missing:
        return {**facts, "deviations": [missing.message]}
    return {**facts, "path_digest": path.digest, "deviations": list(deviations(path, file, rating, files))}


def owed(
    governor: Governor, engine: Engine, by: str, file: UseCaseFile, model: OperatingModel, files: Mapping[str, str]
) -> Owed:
    """Say what use case files owe that were made from a path, without recording anything."""
    if file.path is None:
        raise NotFound(f"{file.id} was made from no path", hint="start from one: bedplate new NAME --from PATH")
    origin = origin_of(engine, file, model, files) or {}
    rating = rate(model.questions, file.answers, model.matrix)
    name, version = file.path.name, file.path.version
    facts: dict[str, Value] = {"owner": file.owner, "domain": file.domain, "tier": int(rating.tier), **origin}
    case, _ = governor.judge(by, ACCEPT, file.subject, facts)
    tier = max(int(rating.tier), case.standing.tier if case.standing is not None else 0)
    stages = [still_owed(case, case.owed(what, tier)) for what in ("accept", "release")]
    return Owed(
        path=name,
        version=version,
        newest=views.next_version(engine, name) - 1,
        ended=views.path_ended(engine, name, version, governor.clock()),
        deviations=tuple(str(d) for d in cast("list[Value]", origin["deviations"])),
        accept=stages[0],
        release=stages[1],
    )


def follow(shop: Workshop, by: str, file: UseCaseFile, bundle: Bundle, files: Mapping[str, str], origin: Data) -> None:
    """Record how a release stands to its path, and how much of it was written by hand."""
    if file.path is None or not origin["path_digest"]:
        return
    path = views.path(shop.engine, file.path.name, file.path.version)
    inherited = render(path, {q.id: "" for q in path.asks} | answers_of(path, file.plain()))
    sources = tuple(f"{d.path.rstrip('/')}/" for d in file.data)
    own = {name: text for name, text in files.items() if not name.startswith(sources)} if sources else dict(files)
    said = [str(d) for d in cast("list[Value]", origin["deviations"])]
    found = Followed(path.name, path.version, said, lines_of(own), hand_written(own, inherited))
    note(shop.governor, by, file.subject, bundle.digest, found)


def take_over(shop: Workshop, by: str, bundle: Bundle, origin: Data, plan: TierPlan) -> list[str]:
    """Attach to a sibling's release what its path's source has shown about parts that are the same; returns what.

    Only what is owed and not shown for the release itself; it expires when the original does.
    """
    governor, engine = shop.governor, shop.engine
    name, version, now = str(origin["path"]), int(str(origin["path_version"])), governor.clock()
    if not origin["path_digest"] or views.path_ended(engine, name, version, now):
        return []
    path = views.path(engine, name, version)
    first = releases.bundle(engine, path.release)
    if differing(first, bundle):
        return []
    with engine.connect() as connection:
        known = read_evidence(connection, path.source, path.release)
        own = read_evidence(connection, bundle.use_case, bundle.digest)
    taken = []
    for control in INHERITED:
        evidence, mine = known.get(control), own.get(control)
        if control not in plan.controls or evidence is None or evidence.state(now) != "proven":
            continue
        if mine is not None and mine.state(now) != "stale":
            continue
        told = {"control": control, "release": bundle.digest, "source": path.source, "original": path.release}
        told |= {"summary": evidence.summary, "blob": evidence.blob}
        inherit(governor, by, bundle.use_case, origin, {**told, "expires": evidence.expires})
        taken.append(control)
    return taken


def differing(first: Bundle, sibling: Bundle) -> list[str]:
    """List the parts by which two releases answer differently, their own sources aside."""
    return [part for part in SAME if getattr(first, part) != getattr(sibling, part)]
