"""How people and their rules are governed."""

from __future__ import annotations

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.approval import Stage
from bedplate.kernel.authority import OPERATOR, SYSTEM
from bedplate.kernel.canary import model_for_canaries
from bedplate.kernel.control import Control, Fail, Finding, Pass
from bedplate.kernel.decision import Case
from bedplate.kernel.manifest import Kind, Manifest

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


MANIFEST = Manifest(
    plane="people",
    actions=(PROPOSE_MODEL, APPLY_MODEL, INVITE, SIGN_IN, LIMIT),
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
        Kind("people.password.changed", {"person": "text"}, "Somebody set a password; it is kept elsewhere, hashed."),
    ),
)
