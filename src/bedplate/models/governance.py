"""How models are governed: evaluations before, measures after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.kernel.action import Action
from bedplate.kernel.manifest import Kind, Manifest

if TYPE_CHECKING:
    from bedplate.kernel.event import Event
    from bedplate.kernel.standing import Standing

EVALUATE = Action("models.evaluate", "models:evaluation:record", "Record how a release did on its eval suite.")
MEASURE = Action("models.measure", "models:measure:record", "Record what a monitor saw.")
REGISTER_PROMPTS = Action("models.register", "releases:release:build", "Record the prompts that a release carries.")
ALIAS_PROMPT = Action("models.alias", "models:prompt:alias", "Point an alias at a version of a prompt.")
GIVE_FEEDBACK = Action("models.feedback", "models:feedback:give", "Say how good the answer of a call was.")
PROPOSE_CASE = Action("models.propose", "models:evaluation:record", "Propose an eval case made from feedback.")

REMEMBERED = 8  # releases: the live one, and those that were tried since


def _evaluated(standing: Standing, event: Event) -> Standing:
    """Note when a release was last put through its own suite; trials and attacks are something else."""
    if event.data.get("purpose", "evals") != "evals":
        return standing
    known = standing.facts.get("models.evaluated", {})
    if not isinstance(known, dict):
        raise TypeError("when releases were evaluated must be an object")
    kept = {**known, str(event.data["release"]): event.at}
    if len(kept) > REMEMBERED:
        others = [release for release in kept if release != standing.release]
        del kept[min(others, key=lambda release: int(str(kept[release])))]
    return standing.with_facts(models__evaluated=kept)


MANIFEST = Manifest(
    plane="models",
    actions=(EVALUATE, MEASURE, REGISTER_PROMPTS, ALIAS_PROMPT, GIVE_FEEDBACK, PROPOSE_CASE),
    kinds=(
        Kind(
            "models.evaluation.recorded",
            {
                "release": "text",
                "suite": "text",
                "passed": "int",
                "total": "int",
                "lower_permille": "int",
                "results": "text",
                "upper_permille": "int",
                "purpose": "text",
                "name": "text",
            },
            "A release was run through a suite; the results are kept, case by case.",
            _evaluated,
        ),
        Kind(
            "models.measure.recorded",
            {"release": "text", "monitor": "text", "permille": "int", "limit": "int", "calls": "int", "breach": "text"},
            "A monitor looked at recent calls. Values and limits are per mille.",
        ),
        Kind(
            "models.prompt.registered",
            {"prompt": "text", "digest": "text", "release": "text"},
            "A release was the first to carry this version of a prompt.",
        ),
        Kind(
            "models.prompt.aliased",
            {"prompt": "text", "alias": "text", "digest": "text", "previous": "text"},
            "An alias points at this version now; at none, where the digest is empty.",
        ),
        Kind(
            "models.case.proposed",
            {"case": "text", "feedback": "text", "call": "text", "expect": "text"},
            "Feedback about a call became an eval case that waits to be put into the team's file.",
        ),
    ),
)
