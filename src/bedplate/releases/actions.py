"""What is done about releases: build, attach evidence, go live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bedplate.errors import InvalidInput, NeedsApproval
from bedplate.kernel.clock import DAY
from bedplate.kernel.origin import made_from
from bedplate.kernel.standing import Rung

from .gate import Line, evaluate
from .governance import ATTACH, BUILD, GO_LIVE, PROVE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bedplate.kernel.approval import Approval
    from bedplate.kernel.decision import Case
    from bedplate.kernel.event import Data, Value
    from bedplate.kernel.governor import Act, Governor

    from .bundle import Bundle


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found about a release, to be attached as evidence for a control."""

    control: str
    outcome: Literal["proven", "contradicted"]
    summary: str
    content: bytes = b""


def build(governor: Governor, by: str, bundle: Bundle, number: int, kept: Sequence[bytes]) -> str:
    """Record a bundle with the contents it names; returns its digest."""
    digest = bundle.digest
    with governor.act(by, BUILD, bundle.use_case, facts={"release": digest}) as act:
        for content in (*kept, bundle.content()):
            act.keep(content)
        act.record("releases.release.built", {"release": digest, "number": number})
    return digest


def prove(governor: Governor, by: str, subject: str, digest: str, finding: Finding) -> None:
    """Record what making or evaluating a release has shown. Only the steel thread calls it, with what it saw."""
    with governor.act(by, PROVE, subject, facts={"release": digest, "control": finding.control}) as act:
        _attach(governor, act, digest, finding)


def attach(governor: Governor, by: str, subject: str, digest: str, finding: Finding, *, drill: str = "") -> None:
    """Attach what somebody found out about a release; `InvalidInput` if no such control is declared.

    `drill`: the scope of the drill that showed it, which nobody else can show.
    """
    if finding.control not in governor.catalogue.controls:
        known = ", ".join(sorted(governor.catalogue.controls))
        raise InvalidInput(f"there is no control {finding.control}", hint=f"known: {known}")
    facts: dict[str, Value] = {"release": digest, "control": finding.control, **({"drill": drill} if drill else {})}
    with governor.act(by, ATTACH, subject, facts=facts) as act:
        _attach(governor, act, digest, finding)


def gate(governor: Governor, by: str, subject: str, digest: str) -> list[Line]:
    """Evaluate the gate for a release, without recording anything."""
    case, _ = governor.judge(by, GO_LIVE, subject, {"release": digest})
    return evaluate(governor.controls(case), case)


def go_live(governor: Governor, by: str, subject: str, digest: str, number: int, origin: Data | None = None) -> None:
    """Take a release live. `Denied` at the gate; `NeedsApproval` until the bodies owed agree to this digest."""
    facts: dict[str, Value] = {"release": digest, "number": number, **(origin or {})}
    summary = f"release {number} ({digest[:12]}) of {subject} goes live{made_from(facts)}"
    with governor.act(by, GO_LIVE, subject, facts=facts, summary=summary) as act:
        standing = act.case.standing
        previous = standing.release if standing is not None else ""
        act.record("releases.release.live", {"release": digest, "number": number, "previous": previous})


def ask_to_go_live(
    governor: Governor, by: str, subject: str, digest: str, number: int, origin: Data | None = None
) -> str:
    """Go live or ask for it; returns the approval's id, or "" once it is live. `origin`: how it stands to its path.

    What is live already is asked for again only to climb back, or in the last tenth of its review interval.
    """
    case, _ = governor.judge(by, GO_LIVE, subject, {"release": digest, "number": number})
    if _current(case, digest):
        return ""
    try:
        go_live(governor, by, subject, digest, number, origin)
    except NeedsApproval as asked:
        return asked.approval
    return ""


def carry_out_live(governor: Governor, approval: Approval) -> None:
    """Take live what was approved."""
    if approval.state == "granted":
        facts = dict(approval.facts)
        release, number = str(facts.pop("release")), int(str(facts.pop("number")))
        go_live(governor, approval.requester, approval.subject, release, number, facts)


def _current(case: Case, digest: str) -> bool:
    standing, plan = case.standing, case.plan
    if standing is None or plan is None or standing.release != digest or standing.suspended or standing.breaches:
        return False
    live_at = int(str(standing.facts["releases.live_at"]))
    return standing.rung is Rung.ACT and case.now < live_at + plan.review_days * DAY * 9 // 10


def _attach(governor: Governor, act: Act, digest: str, finding: Finding) -> None:
    model = act.case.model
    days = model.evidence_days if model is not None else 1
    act.record(
        "kernel.evidence.attached",
        {
            "control": finding.control,
            "digest": digest,
            "outcome": finding.outcome,
            "summary": finding.summary,
            "expires": governor.clock() + days * DAY,
            "blob": act.keep(finding.content) if finding.content else "",
        },
    )
