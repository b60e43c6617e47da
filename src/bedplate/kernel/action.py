"""A verb a plane offers, and one attempt to perform it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .event import Data, canonical

if TYPE_CHECKING:
    from collections.abc import Callable

    from .approval import Stage
    from .decision import Case

Phase = Literal["release", "call", "act", "change"]


@dataclass(frozen=True, slots=True)
class Action:
    """What may be attempted. `stages` says who must agree; none by default."""

    name: str  # "plane.verb"
    needs: str  # the permission: "plane:noun:verb"
    doc: str
    phase: Phase = "change"
    registered: bool = True  # the subject must have a standing
    founding: tuple[str, ...] = ()  # who may do it while no operating model is in force; "*" is everybody signed in
    founds: bool = False  # while none is in force, it is decided by the model that is proposed to found
    own: bool = False  # everybody may do it to their own `person/ID`, whatever their seats
    stages: Callable[[Case], tuple[Stage, ...]] | None = None
    several: bool = False  # questions about one subject may wait side by side; otherwise the newest voids the others
    most: int = 20  # of such questions; one more voids the oldest
    keeps: bool = False  # one more is refused instead: what waits is never voided by what comes
    lasts: Callable[[Case], int] | None = None  # microseconds until a question expires; else the model's approval_days


@dataclass(frozen=True, slots=True)
class Attempt:
    """One actor, one action, one subject, and the facts that an approval of it would bind."""

    action: Action
    actor: str
    subject: str
    facts: Data = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """What an approval is bound to: this verb, this subject, these facts (SHA-256, hex)."""
        return hashlib.sha256(canonical([self.action.name, self.subject, self.facts])).hexdigest()
