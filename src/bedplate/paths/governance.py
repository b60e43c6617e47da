"""How golden paths are governed: only what is proven in production becomes one."""

from __future__ import annotations

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.control import Control, Fail, Finding, Pass
from bedplate.kernel.decision import Case
from bedplate.kernel.manifest import Kind, Manifest
from bedplate.kernel.standing import Rung, Standing

PUBLISH = Action("paths.publish", "paths:path:publish", "Make a golden path of a proven use case.")


def _proven(case: Case) -> Finding:
    standing = case.standing
    if standing is None or standing.stage != "live" or standing.suspended:
        return Fail("only a live use case can become a path", "take it live first: bedplate release")
    if standing.rung is not Rung.ACT or standing.breaches:
        return Fail("it is not on its top rung, or has open breaches", "mend it and release again; then it is proven")
    return Pass()


def _unproven() -> Case:
    return Case(Attempt(PUBLISH, "canary", "usecase/canary"), 0, None, Standing("usecase/canary", stage="accepted"))


MANIFEST = Manifest(
    plane="paths",
    actions=(PUBLISH,),
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
    ),
    kinds=(
        Kind(
            "paths.path.published",
            {"path": "text", "version": "int", "release": "text", "files": "object"},
            "A proven use case became a template; files by name, as digests.",
        ),
    ),
)
