"""What the rounds about agents work with, of an installation that is put together above them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from bedplate.agents.door import AgentDoor
    from bedplate.agents.runstore import RunStore
    from bedplate.config import Settings
    from bedplate.gateway.door import Door
    from bedplate.gateway.snapshot import Follower
    from bedplate.kernel.approval import Approval
    from bedplate.kernel.clock import Clock
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.identity import Identities
    from bedplate.kernel.model import OperatingModel
    from bedplate.kernel.standing import Standing


class Whole(Protocol):
    """The parts of an installation, as `bedplate.installation` names them."""

    settings: Settings
    engine: Engine
    identities: Identities
    governor: Governor
    follower: Follower
    door: Door
    agents: AgentDoor
    runs: RunStore

    @property
    def clock(self) -> Clock:
        """What time it is, in microseconds."""
        ...

    def model(self) -> OperatingModel | None:
        """Return the operating model in force."""
        ...

    def standing(self, subject: str) -> Standing:
        """Return the standing of a subject; `NotFound` if it has none."""
        ...

    def approval(self, approval_id: str) -> Approval:
        """Return one approval; `NotFound` if there is none."""
        ...
