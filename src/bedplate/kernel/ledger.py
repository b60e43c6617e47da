"""The ledger port: one transaction in which a case is read, decided and recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from .approval import Approval
    from .event import Data, Draft, Event
    from .evidence import Evidence
    from .model import OperatingModel
    from .standing import Standing


class Transaction(Protocol):
    """The writer's view: nobody else writes until it ends. Everything in it is committed, or nothing."""

    def model(self) -> OperatingModel | None:
        """Return the operating model in force or, while none is, the newest one proposed to found the organisation."""
        ...

    def in_force(self) -> bool:
        """Tell whether an operating model has been applied."""
        ...

    def standing(self, subject: str) -> Standing | None:
        """Return what is true of the subject now."""
        ...

    def live(self, beside: str) -> int:
        """Return how many subjects are live beside this one."""
        ...

    def approval(self, approval: str) -> Approval | None:
        """Return one approval by id."""
        ...

    def approvals(self, subject: str, action: str, digest: str = "") -> Sequence[Approval]:
        """Return the approvals of this subject and action that are asked or granted, newest first; of one content."""
        ...

    def waiting(self, subject: str, action: str) -> int:
        """Count the approvals of this subject and action that are asked or granted."""
        ...

    def overdue(self, now: int) -> Sequence[Approval]:
        """Return the approvals that are asked or granted and past their expiry."""
        ...

    def evidence(self, subject: str, digest: str) -> Mapping[str, Evidence]:
        """Return the newest evidence about this content, by control."""
        ...

    def event(self, event_id: str) -> Event | None:
        """Return an event by its id."""
        ...

    def append(self, actor: str, drafts: Sequence[Draft], *, authz: Data, first_id: str = "") -> list[Event]:
        """Append events and bring the read tables up to them."""
        ...

    def keep(self, content: bytes) -> str:
        """Keep content under its SHA-256 digest (hex) and return that."""
        ...

    def content(self, digest: str) -> bytes:
        """Return kept content; `NotFound` if there is none, `Tampered` if it does not match its digest."""
        ...


class Ledger(Protocol):
    """Where events live. `bedplate.store.ledger` keeps it in a database."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction that holds the writer's lock."""
        ...
