"""The one door. Every change in every plane goes through `Governor.act`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING

from bedplate.errors import Conflict, Denied, InvalidInput, NeedsApproval, NotFound, TooMany

from .action import Action, Attempt
from .approval import Approval, Stage, fold
from .authority import SYSTEM, Ballot
from .clock import DAY, SECOND, Clock
from .control import Control, owed
from .decision import Allow, Ask, Case, Deny, Reason, Verdict, decide
from .event import Data, Draft, Event, Value
from .governance import BREAK_GLASS, EXPIRE, VOTE, cast_by
from .origin import SOURCE, claimed, pre_approval, subject_of, unmet

if TYPE_CHECKING:
    from .identity import Identities
    from .ledger import Ledger, Transaction
    from .manifest import Catalogue
    from .standing import Standing

MAX_GLASS = 24 * 3600 * SECOND
Performer = Callable[["Governor", Approval], None]


class _AlreadyDone(Conflict):
    """Somebody else carried the approval out meanwhile."""


_carrying: ContextVar[Approval | None] = ContextVar("carrying", default=None)  # the approval being carried out


class Act:
    """An allowed attempt in progress. What it records is committed, together, when it ends well."""

    def __init__(self, attempt: Attempt, case: Case, tx: Transaction) -> None:
        self.attempt = attempt
        self.case = case
        self.tx = tx
        self.drafts: list[Draft] = []

    def record(self, kind: str, data: Data, *, on: str = "") -> None:
        """Note a fact about the subject, or about another stream named by `on`."""
        self.drafts.append(Draft(kind, on or self.attempt.subject, data))

    def keep(self, content: bytes) -> str:
        """Keep content beside the ledger; returns its SHA-256 digest, hex."""
        return self.tx.keep(content)


class Governor:
    """Decides each attempt and records it. Built only by the composition root."""

    def __init__(self, ledger: Ledger, catalogue: Catalogue, clock: Clock, identities: Identities) -> None:
        self.catalogue = catalogue
        self.clock = clock
        self.identities = identities
        self._ledger = ledger
        self._performers: dict[str, Performer] = {}

    def performs(self, performers: Mapping[str, Performer]) -> None:
        """Name, per action, what carries it out once its approval is granted."""
        self._performers.update(performers)

    @contextmanager
    def act(
        self, by: str, action: Action, on: str, *, facts: Data | None = None, summary: str = "", request: str = ""
    ) -> Iterator[Act]:
        """Attempt `action`: decide, then commit what the body records, in one transaction.

        `request` is a client-supplied UUIDv7: repeating it raises `Conflict` and changes nothing.
        Raises `Denied` with reasons, or `NeedsApproval`; both are on record before they are raised.
        """
        attempt = Attempt(action, by, on, facts or {})
        asked = ""
        with self._ledger.transaction() as tx:
            self._not_done_before(tx, request, attempt)
            self._still_to_do(tx, attempt)
            case = self.case(tx, attempt)
            verdict = decide(case, self.controls(case))
            authz: dict[str, Value] = {"action": action.name, "digest": attempt.digest}
            if isinstance(verdict, Allow):
                yield from self._allowed(Act(attempt, case, tx), verdict, authz, request)
            else:
                asked = self._refuse(tx, case, verdict, summary, authz)
        if isinstance(verdict, Deny):
            raise denied(verdict)
        if isinstance(verdict, Ask):
            raise NeedsApproval(
                f"{_who(verdict.stages)} must agree to this first" + _because(verdict),
                approval=asked,
                hint=f"bedplate approvals {asked}",
            )

    def judge(self, by: str, action: Action, on: str, facts: Data | None = None) -> tuple[Case, Verdict]:
        """Decide without acting or recording: what would happen now."""
        with self._ledger.transaction() as tx:
            case = self.case(tx, Attempt(action, by, on, facts or {}))
            return case, decide(case, self.controls(case))

    def vote(self, by: str, approval_id: str, *, yes: bool, reason: str, request: str = "") -> Approval:
        """Answer an approval. A `no` refuses it; the last `yes` that was missing grants it."""
        if not yes and not reason.strip():
            raise InvalidInput("a refusal needs a reason", hint="say what must change: --reason '...'")
        with self._ledger.transaction() as tx:
            approval = self._votable(tx, approval_id)
            attempt = Attempt(VOTE, by, approval_id, {"approval": approval.digest, "domain": approval.domain})
            self._not_done_before(tx, request, attempt)
            case = replace(
                self.case(tx, attempt),
                question=approval,
                standing=tx.standing(approval.subject),
                voter=tx.standing(f"person/{by}"),
            )
            verdict = decide(case, self.controls(case))
            authz: dict[str, Value] = {"action": VOTE.name, "digest": attempt.digest}
            if isinstance(verdict, Allow):
                drafts = self._count(approval, cast_by(case), yes=yes, reason=reason)
                for event in tx.append(by, drafts, authz=authz, first_id=request):
                    approval = fold(approval, event) or approval
            else:
                self._refuse(tx, case, verdict, "", authz)
        if isinstance(verdict, Deny):
            raise denied(verdict)
        return approval

    def carry_out(self, approval: Approval) -> bool:
        """Do what a granted approval was asked for, as its requester, or note that it was refused.

        True if something was done: not if somebody else did it meanwhile. The performer looks at `approval.state`.
        """
        performer = self._performers.get(approval.action)
        if approval.state not in {"granted", "refused"} or performer is None:
            return False
        token = _carrying.set(approval)
        try:
            performer(self, approval)
        except _AlreadyDone:
            return False
        finally:
            _carrying.reset(token)
        return True

    def _still_to_do(self, tx: Transaction, attempt: Attempt) -> None:
        """Two may carry out one approval, whoever voted last and the worker: the second must not ask for it anew."""
        carrying = _carrying.get()
        if carrying is None or (carrying.action, carrying.subject) != (attempt.action.name, attempt.subject):
            return
        now = tx.approval(carrying.id)
        if now is not None and now.state == "spent":
            raise _AlreadyDone(f"{carrying.id} was carried out")

    def expire(self) -> int:
        """Close every approval that is past its time; returns how many."""
        with self._ledger.transaction() as tx:
            late = [a.id for a in tx.overdue(self.clock())]
        if late:
            with self.act(SYSTEM, EXPIRE, "approvals") as act:
                for approval in late:
                    act.record("kernel.approval.expired", {}, on=approval)
        return len(late)

    def break_glass(self, by: str, on: str, *, hours: int, reason: str) -> None:
        """Let changes of one use case pass without approval for at most 24 hours. Shown everywhere while open."""
        if not 0 < hours * 3600 * SECOND <= MAX_GLASS or not reason.strip():
            raise InvalidInput("break-glass needs a reason and 1 to 24 hours")
        with self.act(by, BREAK_GLASS, on, facts={"hours": hours, "reason": reason}) as act:
            act.record("kernel.glass.broken", {"until": self.clock() + hours * 3600 * SECOND, "reason": reason})

    def case(self, tx: Transaction, attempt: Attempt) -> Case:
        """Read everything the decision may look at, in this transaction."""
        fitting = tx.approvals(attempt.subject, attempt.action.name, attempt.digest)
        granted = next((a for a in fitting if a.usable(attempt.digest, self.clock())), None)
        founded = tx.in_force()
        origin, source = self._origin(tx, attempt)
        digest = str(attempt.facts.get("release", ""))  # evidence is about the content that the attempt names
        return Case(
            attempt=attempt,
            now=self.clock(),
            model=tx.model() if founded or attempt.action.founds else None,
            standing=tx.standing(attempt.subject),
            approval=granted,
            founding=not founded,
            evidence=tx.evidence(attempt.subject, digest) if digest else {},
            origin=origin,
            source=source,
            live=tx.live(attempt.subject) if attempt.action.phase == "release" else None,
        )

    def _origin(self, tx: Transaction, attempt: Attempt) -> tuple[Standing | None, Standing | None]:
        claim = claimed(attempt.facts)
        origin = tx.standing(subject_of(claim[0])) if claim is not None else None
        return origin, tx.standing(str(origin.facts.get(SOURCE, ""))) if origin is not None else None

    def controls(self, case: Case) -> tuple[Control, ...]:
        """Return the controls owed in this case."""
        named = case.plan.controls if case.plan is not None else frozenset[str]()
        return owed(self.catalogue.controls.values(), case.attempt.action.phase, case.attempt.action.name, named)

    def _allowed(self, act: Act, verdict: Allow, authz: dict[str, Value], request: str) -> Iterator[Act]:
        if verdict.uses:
            authz["approval"] = verdict.uses
            act.record("kernel.approval.spent", {"action": act.attempt.action.name}, on=verdict.uses)
        if verdict.glass:
            authz["glass"] = "yes"
        authz |= _relied_on(act.case)
        yield act
        for draft in act.drafts:
            self.catalogue.check(draft)
        act.tx.append(act.attempt.actor, act.drafts, authz=authz, first_id=request)

    def _refuse(self, tx: Transaction, case: Case, verdict: Deny | Ask, summary: str, authz: Data) -> str:
        attempt = case.attempt
        if isinstance(verdict, Ask):
            return self._ask(tx, case, verdict, summary, authz)
        reasons: list[Value] = [[r.control, r.why, r.fix] for r in verdict.reasons]
        data: Data = {"action": attempt.action.name, "digest": attempt.digest, "reasons": reasons}
        tx.append(attempt.actor, [Draft("kernel.action.denied", attempt.subject, data)], authz=authz)
        return ""

    def _ask(self, tx: Transaction, case: Case, ask: Ask, summary: str, authz: Data) -> str:
        attempt, now = case.attempt, case.now
        for approval in tx.approvals(attempt.subject, attempt.action.name, attempt.digest):
            if approval.open(now) and approval.stages == ask.stages:
                return approval.id  # the same content was asked before: one question, not two
        drafts = self._giving_way(tx, attempt)
        new = f"approval/{self.identities.next()}"
        owner = case.standing.owner if case.standing is not None else str(attempt.facts.get("owner", ""))
        days = case.model.approval_days if case.model is not None else 1
        stages: list[Value] = [{"body": s.body, "decides": s.decides, "quorum": s.quorum} for s in ask.stages]
        data: dict[str, Value] = {
            "subject": attempt.subject,
            "action": attempt.action.name,
            "digest": attempt.digest,
            "owner": owner,
            "domain": case.domain,
            "stages": stages,
            "expires": now + (days * DAY if attempt.action.lasts is None else attempt.action.lasts(case)),
            "facts": dict(attempt.facts),
            "summary": summary or attempt.action.doc,
        }
        drafts.append(Draft("kernel.approval.asked", new, data))
        tx.append(attempt.actor, drafts, authz=authz)
        return new

    def _giving_way(self, tx: Transaction, attempt: Attempt) -> list[Draft]:
        """Void what a new question leaves no room for; `TooMany` where what waits is kept."""
        action = attempt.action
        if action.keeps:
            if tx.waiting(attempt.subject, action.name) >= action.most:
                raise TooMany(
                    f"{action.most} questions about {attempt.subject} wait for people already",
                    hint="have them answered: bedplate approvals",
                    wait_s=60,
                )
            return []
        waiting = tx.approvals(attempt.subject, action.name)
        left = waiting[action.most - 1 :] if action.several else waiting
        return [Draft("kernel.approval.voided", a.id, {"by": attempt.digest}) for a in left]

    def _votable(self, tx: Transaction, approval_id: str) -> Approval:
        approval = tx.approval(approval_id)
        if approval is None:
            raise NotFound(f"there is no approval {approval_id}", hint="list them: bedplate approvals")
        if not approval.open(self.clock()):
            state = "expired" if approval.state == "asked" else approval.state
            raise Conflict(
                f"{approval_id} is {state}, there is nothing to vote on", hint="ask again if it is still wanted"
            )
        return approval

    def _count(self, approval: Approval, found: Ballot, *, yes: bool, reason: str) -> list[Draft]:
        data: Data = {
            "stage": found.stage,
            "seat": found.place,
            "answer": "yes" if yes else "no",
            "reason": reason,
            "solo": "yes" if found.solo else "no",
        }
        drafts = [Draft("kernel.approval.voted", approval.id, data)]
        if not yes:
            return [*drafts, Draft("kernel.approval.refused", approval.id, {"reason": reason})]
        lacking = {index: more for index, _, more in approval.missing()}
        lacking[found.stage] -= 1
        if not any(lacking.values()):
            drafts.append(Draft("kernel.approval.granted", approval.id, {}))
        return drafts

    def _not_done_before(self, tx: Transaction, request: str, attempt: Attempt) -> None:
        before: Event | None = tx.event(request) if request else None
        if before is None:
            return
        same = before.authz.get("digest") == attempt.digest and before.actor == attempt.actor
        what = "was done already" if same else "was used for something else"
        raise Conflict(f"request {request} {what}", code="already-done" if same else "conflict")


def denied(verdict: Deny) -> Denied:
    """Turn a denial into the error a caller sees."""
    first: Reason = verdict.reasons[0]
    return Denied(first.why, hint=first.fix, reasons=tuple((r.control, r.why, r.fix) for r in verdict.reasons))


def _relied_on(case: Case) -> dict[str, Value]:
    """Name the pre-approval that stood for votes."""
    claim = claimed(case.attempt.facts)
    given = pre_approval(case.origin, claim[1]) if claim is not None and not unmet(case) else None
    if claim is None or given is None:
        return {}
    return {"path": f"{claim[0]}@{claim[1]}", "preapproval": given.approval}


def _because(verdict: Ask) -> str:
    """Say why a pre-approval that was claimed does not stand for the votes."""
    why = [r.why for r in verdict.reasons if r.control == "pre-approval"]
    return f": {why[0]}" if why else ""


def _who(stages: tuple[Stage, ...]) -> str:
    return " and ".join(s.body for s in stages)
