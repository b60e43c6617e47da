"""How releases are governed: building, attaching evidence, and going live through the gate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.canary import model_for_canaries
from bedplate.kernel.control import Control, Fail, Finding, Pass
from bedplate.kernel.decision import Case
from bedplate.kernel.manifest import Kind, Manifest
from bedplate.kernel.origin import still_owed
from bedplate.kernel.standing import Rung, Standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from bedplate.kernel.approval import Stage
    from bedplate.kernel.event import Event


def _owed(case: Case) -> tuple[Stage, ...]:
    return still_owed(case, case.owed("release"))


BUILD = Action("releases.build", "releases:release:build", "Build a release and evaluate it.")
PROVE = Action("releases.prove", "releases:release:build", "Record what making or evaluating a release has shown.")
ATTACH = Action("releases.attach", "releases:evidence:attach", "Attach what somebody found out about a release.")
GO_LIVE = Action("releases.golive", "releases:release:build", "Take a release live.", phase="release", stages=_owed)


def _accepted(case: Case) -> Finding:
    stage = case.standing.stage if case.standing is not None else "unknown"
    if stage in {"accepted", "live"}:
        return Pass()
    return Fail(
        f"the use case is {stage}, not accepted", "have it accepted: bedplate apply use-case.yaml", "not evidenced"
    )


def _not_suspended(case: Case) -> Finding:
    if case.standing is not None and case.standing.suspended:
        return Fail(
            f"the use case is suspended: {case.standing.suspended}", "have it resumed: bedplate resume", "contradicted"
        )
    return Pass() if case.standing is not None else Fail("no standing", "propose the use case", "not evidenced")


def _within_appetite(case: Case) -> Finding:
    if case.model is None or case.live is None or case.standing is None:
        raise ValueError("it is not known how many are live")
    most = int(str(case.model.appetites["live_use_cases"]))
    if case.standing.stage == "live" or case.live < most:  # what is live already is in the count
        return Pass()
    return Fail(
        f"{case.live} use cases are live, and the board's appetite is {most}",
        "ask the board to raise appetites.live_use_cases (bedplate apply operating-model.yaml), or retire one",
    )


def _crowd() -> Case:
    attempt = Attempt(GO_LIVE, "canary", "usecase/canary", {"release": "0" * 64})
    return Case(attempt, 0, model_for_canaries(), Standing("usecase/canary", stage="accepted", tier=1), live=1)


def _evidenced(name: str, fix: str) -> Callable[[Case], Finding]:
    def check(case: Case) -> Finding:
        found = case.evidence.get(name)
        if found is None:
            return Fail(f"nothing is on record for {name} of this release", fix, "not evidenced")
        state = found.state(case.now)
        return Pass() if state == "proven" else Fail(found.summary, fix, state)

    return check


def _bare() -> Case:
    """A release of a suspended, never accepted use case without any evidence: every gate control must refuse it."""
    standing = Standing("usecase/canary", stage="proposed", suspended="canary", tier=1)
    return Case(Attempt(GO_LIVE, "canary", "usecase/canary", {"release": "0" * 64}), 0, None, standing)


DRILLED = "stop-drilled"
MADE = frozenset(  # shown by machine alone
    {"prompt-pinned", "sources-versioned", "runbook-present", "evals-passed", "no-regression", DRILLED}
)


def _not_made(case: Case) -> Finding:
    name = str(case.attempt.facts["control"])
    if name == DRILLED:
        if case.attempt.facts.get("drill"):
            return Pass()
        return Fail(f"{name} is shown by a drill, not asserted", "make one: bedplate drill USE-CASE")
    if name in MADE:
        return Fail(
            f"{name} is shown by making and evaluating a release, not asserted", "release again: bedplate release"
        )
    return Pass()


def _asserted() -> Case:
    return Case(Attempt(ATTACH, "canary", "usecase/canary", {"control": "evals-passed"}), 0, None, None)


def _gate(name: str, doc: str, fix: str, *, always: bool = False) -> Control:
    return Control(name, "release", doc, _evidenced(name, fix), _bare, actions=(GO_LIVE.name,), always=always)


def _live(standing: Standing, event: Event) -> Standing:
    data = event.data
    raised = replace(standing, stage="live", release=str(data["release"]), rung=Rung.ACT, breaches=())
    return raised.with_facts(
        releases__bundle=data["release"], releases__live_at=event.at, releases__number=data["number"]
    )


MANIFEST = Manifest(
    plane="releases",
    actions=(BUILD, PROVE, ATTACH, GO_LIVE),
    controls=(
        Control(
            "evidence-attested",
            "change",
            "People attach attestations only; what a machine can show, nobody may assert.",
            _not_made,
            _asserted,
            actions=(ATTACH.name,),
            always=True,
        ),
        Control("accepted", "release", "The use case was accepted into the portfolio.", _accepted, _bare, always=True),
        Control(
            "not-suspended-release", "release", "The use case is not suspended.", _not_suspended, _bare, always=True
        ),
        Control(
            "within-appetite",
            "release",
            "No more use cases are live than the board's appetite allows.",
            _within_appetite,
            _crowd,
            actions=(GO_LIVE.name,),
            always=True,
        ),
        _gate(
            "prompt-pinned",
            "The prompt is in the release by digest.",
            "name a prompt file and release again",
            always=True,
        ),
        _gate(
            "evals-passed",
            "The share of eval cases that passes reaches what the use case asks for, with 95 % confidence.",
            "mend what failed, or add cases: a share of few cases shows little; then release again",
            always=True,
        ),
        _gate(
            "no-regression",
            "It is not significantly worse than the live release, and no case that must hold fails now.",
            "mend what fails newly: bedplate evals compare; keep the live release's cases, then release again",
        ),
        _gate(
            "sources-versioned",
            "The sources it answers from are in the release by version.",
            "name data and retrieval, and release again",
        ),
        _gate(
            "runbook-present",
            "There is a runbook for whoever is called at night.",
            "write the runbook named in use-case.yaml",
        ),
        _gate(
            "fairness-assessed",
            "Outcomes were compared between groups.",
            "attach the assessment: POST /api/use-cases/ID/evidence",
        ),
        _gate(
            "red-teamed",
            "It was attacked, by the red-team suite or by people, and what they found is on record.",
            "mend what got through and release again, or attach people's report: POST /api/use-cases/ID/evidence",
        ),
        _gate(
            DRILLED,
            "The stop was practised, on evidence not yet expired.",
            "run the drill and attach its record",
        ),
    ),
    kinds=(
        Kind("releases.release.built", {"release": "text", "number": "int"}, "An immutable bundle was made."),
        Kind(
            "releases.release.live",
            {"release": "text", "number": "int", "previous": "text"},
            "The release answers calls from here on, on the top rung.",
            _live,
        ),
    ),
)
