"""How people and their rules are governed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.approval import Approval, Stage
from bedplate.kernel.authority import OPERATOR, SYSTEM, Authority, Ballot, Person, Seat
from bedplate.kernel.canary import model_for_canaries
from bedplate.kernel.control import Control, Fail, Finding, Pass
from bedplate.kernel.decision import Case
from bedplate.kernel.governance import VOTE, vote_of
from bedplate.kernel.manifest import Kind, Manifest

from .competence import HIGHEST, TRAINING, competences, lacking, shown

if TYPE_CHECKING:
    from bedplate.kernel.event import Event, Value
    from bedplate.kernel.standing import Standing

ORGANISATION = "organisation"


def _touched(case: Case) -> tuple[Stage, ...]:
    """Policy is the board's, technical standards are the CoE's; a change of both needs both."""
    touched = case.attempt.facts["touches"]
    stages: list[Stage] = []
    if not isinstance(touched, list | tuple) or not touched:
        raise ValueError("an operating model that changes nothing is not applied")
    if "policy" in touched:
        stages.append(Stage("board", "policy"))
    if "technical" in touched:
        stages.append(Stage("coe", "technical"))
    return tuple(stages)


PROPOSE_MODEL = Action(
    "people.propose", "people:model:propose", "Propose an operating model.", registered=False, founding=("*",)
)
APPLY_MODEL = Action(
    "people.apply",
    "people:model:apply",
    "Put an operating model in force.",
    registered=False,
    founds=True,
    stages=_touched,
)
INVITE = Action(
    "people.invite", "people:account:invite", "Invite somebody to sign in.", registered=False, founding=(OPERATOR,)
)
LIMIT = Action(
    "people.limit",
    "people:account:limit",
    "Make an account or an address wait, after too many attempts to sign in.",
    registered=False,
    founding=(SYSTEM,),
)
TRAIN = Action(
    "people.train",
    "people:training:record",
    "Record that somebody showed a competence.",
    registered=False,
)
SIGNAL = Action(
    "people.signal",
    "people:bottleneck:signal",
    "Tell board and CoE that decisions pile up while AI is used past them.",
    registered=False,
)
SIGN_IN = Action("people.signin", "people:account:use", "Sign in, or sign out.", registered=False, own=True)


def _base_current(case: Case) -> Finding:
    if case.model is None:
        raise ValueError("no operating model")
    base = "" if case.founding else case.model.digest
    if case.attempt.facts["base"] == base:
        return Pass()
    return Fail("the operating model in force is not the one this was compared with", "apply the file again")


def _other_base() -> Case:
    attempt = Attempt(APPLY_MODEL, "canary", ORGANISATION, {"base": "another"})
    return Case(attempt, 0, model_for_canaries(), None)


def _account_new(case: Case) -> Finding:
    if case.attempt.facts["known"] == "no" or case.attempt.actor == OPERATOR:
        return Pass()
    return Fail(
        f"{case.attempt.facts['person']} has an account", "the host's operator can: bedplate invite --data FOLDER"
    )


def _known_account() -> Case:
    attempt = Attempt(INVITE, "canary", "person/canary", {"person": "canary", "known": "yes"})
    return Case(attempt, 0, model_for_canaries(), None)


def _competent(case: Case) -> Finding:
    """Look only at votes that separation of duties lets pass: the rest is refused by that."""
    found = vote_of(case)
    if case.question is None or case.model is None:
        raise ValueError("a vote answers an approval, under an operating model")
    if not isinstance(found, Ballot) or case.founding:
        return Pass()
    rated = case.standing.tier if case.standing is not None else 0
    tier = max(rated, int(str(case.question.facts.get("tier", 0)))) or HIGHEST
    needed = [c for c in competences(case.model) if c.needed(found.seat, tier)]
    for one, why in lacking(needed, shown(case.voter), case.now):
        who = case.attempt.actor
        return Fail(
            f"{who} may not decide about tier {tier} as {found.seat}: {why}",
            f"have it recorded: bedplate people train {who} {one.id}",
        )
    return Pass()


def _untrained() -> Case:
    """Somebody votes from a seat that asks for a competence, which nothing shows."""
    board = (Stage("board", "policy"),)
    question = Approval("approval/canary", "usecase/canary", "canary", "0", "other", "", "", board, 0, 1, {})
    people = {"canary": Person("canary", "Canary", (Seat("board", "member"),))}
    asked: dict[str, Value] = {
        "id": "canary",
        "name": "Canary",
        "valid_days": 1,
        "needed_by": ["board.*"],
        "tiers": [HIGHEST],
    }
    model = replace(model_for_canaries(), authority=Authority(people, {}), sections={"competences": [asked]})
    return Case(Attempt(VOTE, "canary", question.id), 0, model, None, question=question)


def _training_of_another(case: Case) -> Finding:
    facts, model = case.attempt.facts, case.model
    if model is None:
        raise ValueError("no operating model")
    if facts["person"] == case.attempt.actor and model.authority.posture != "solo":
        return Fail("nobody records their own training", "ask somebody else who may: " + _recorders(case))
    if facts["person"] not in model.authority.people:
        return Fail(f"{facts['person']} is nobody in the operating model", "give them a seat first: bedplate apply")
    if facts["competence"] not in {c.id for c in competences(model)}:
        known = ", ".join(c.id for c in competences(model)) or "none"
        return Fail(f"no competence {facts['competence']} is declared", f"declare it in `competences`; known: {known}")
    if int(str(facts["at"])) > case.now:
        return Fail("it was shown on a day that has not come", "give the day it was shown on")
    return Pass()


def _recorders(case: Case) -> str:
    names = case.model.authority.who(TRAIN.needs, "") if case.model is not None else ()
    return ", ".join(n for n in names if n != case.attempt.actor) or "nobody yet"


def _own_training() -> Case:
    facts: dict[str, Value] = {"person": "canary", "competence": "canary", "at": 0}
    return Case(Attempt(TRAIN, "canary", "person/canary", facts), 0, model_for_canaries(), None)


def _trained(standing: Standing, event: Event) -> Standing:
    known = dict(shown(standing))
    known[str(event.data["competence"])] = int(str(event.data["at"]))
    return replace(standing, facts={**standing.facts, TRAINING: dict(known)})


MANIFEST = Manifest(
    plane="people",
    actions=(PROPOSE_MODEL, APPLY_MODEL, INVITE, SIGN_IN, LIMIT, TRAIN, SIGNAL),
    controls=(
        Control(
            "base-current",
            "change",
            "An operating model is applied to the one it was compared with, so that the bodies it touches were asked.",
            _base_current,
            _other_base,
            actions=(APPLY_MODEL.name,),
            always=True,
        ),
        Control(
            "competent",
            "change",
            "A vote counts only from somebody who has shown, not too long ago, what the seat asks for in that tier.",
            _competent,
            _untrained,
            actions=(VOTE.name,),
            always=True,
        ),
        Control(
            "training-witnessed",
            "change",
            "Training is recorded by somebody else, for a known person and a declared competence, once it was shown.",
            _training_of_another,
            _own_training,
            actions=(TRAIN.name,),
            always=True,
        ),
        Control(
            "account-new",
            "change",
            "Only the host's operator invites somebody who has an account: an invitation signs in as that person.",
            _account_new,
            _known_account,
            actions=(INVITE.name,),
            always=True,
        ),
    ),
    kinds=(
        Kind(
            "people.account.invited",
            {"person": "text", "name": "text", "token": "text", "digest": "text", "expires": "int"},
            "Somebody may open an account with a one-time code.",
        ),
        Kind(
            "people.token.issued",
            {"person": "text", "token": "text", "digest": "text", "purpose": "text", "expires": "int"},
            "Somebody signed in; the secret itself is not recorded.",
        ),
        Kind("people.token.revoked", {"token": "text"}, "A token or session ended."),
        Kind(
            "people.signin.limited",
            {"of": "text", "name": "text", "failures": "int", "until": "int"},
            "Too many attempts to sign in failed: this account or this address (its digest) has to wait.",
        ),
        Kind(
            "people.training.recorded",
            {"competence": "text", "at": "int", "evidence": "text"},
            "Somebody showed a competence at that moment; `evidence` says how, or where it is kept.",
            _trained,
        ),
        Kind("people.password.changed", {"person": "text"}, "Somebody set a password; it is kept elsewhere, hashed."),
        Kind(
            "people.bottleneck.signalled",
            {
                "body": "text",
                "waiting": "int",
                "grown": "int",
                "weeks": "int",
                "chance_permille": "int",
                "sightings": "int",
                "before": "int",
            },
            "Decisions pile up at a body while unregistered AI is seen: it grew by so many in these weeks.",
        ),
    ),
)
