"""How people and their rules are governed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.kernel.action import Action
from bedplate.kernel.approval import Stage
from bedplate.kernel.manifest import Kind, Manifest

if TYPE_CHECKING:
    from bedplate.kernel.decision import Case

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
    "people.propose", "people:model:propose", "Propose an operating model.", registered=False, founding=True
)
APPLY_MODEL = Action(
    "people.apply", "people:model:apply", "Put an operating model in force.", registered=False, stages=_touched
)
INVITE = Action(
    "people.invite", "people:account:invite", "Invite somebody to sign in.", registered=False, founding=True
)
SIGN_IN = Action("people.signin", "people:account:use", "Sign in, or sign out.", registered=False, own=True)

MANIFEST = Manifest(
    plane="people",
    actions=(PROPOSE_MODEL, APPLY_MODEL, INVITE, SIGN_IN),
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
        Kind("people.password.changed", {"person": "text"}, "Somebody set a password; it is kept elsewhere, hashed."),
    ),
)
