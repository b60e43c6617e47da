"""What the door of agents sees of the records: a snapshot in memory that follows the ledger's head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.kernel.model import OperatingModel
    from bedplate.kernel.standing import Standing

    from .charter import Charter


class Key(Protocol):
    """A key of a use case; `agent` is whose it is, "" where it is for calls only."""

    @property
    def id(self) -> str: ...  # noqa: D102  named
    @property
    def subject(self) -> str: ...  # noqa: D102  named
    @property
    def agent(self) -> str: ...  # noqa: D102  named
    @property
    def revoked(self) -> bool: ...  # noqa: D102  named
    @property
    def expires(self) -> int: ...  # noqa: D102  microseconds


class Snapshot(Protocol):
    """One consistent reading of the records; standings and charters by subject."""

    @property
    def size(self) -> int: ...  # noqa: D102  of the ledger
    @property
    def model(self) -> OperatingModel | None: ...  # noqa: D102  in force
    @property
    def standings(self) -> Mapping[str, Standing]: ...  # noqa: D102  by subject
    @property
    def charters(self) -> Mapping[str, Charter]: ...  # noqa: D102  of the live releases, by subject
    def known(self, secret: str, now: int) -> Key:
        """Return a key by its text; `Unauthenticated` if it is unknown or has ended."""
        ...

    def key_by_id(self, name: str) -> Key | None:
        """Return a key by its id."""
        ...


class Sight(Protocol):
    """The follower of the ledger: the newest snapshot, and how old it is."""

    @property
    def snapshot(self) -> Snapshot: ...  # noqa: D102  the newest
    @property
    def age(self) -> int: ...  # noqa: D102  microseconds
    def look(self) -> None:
        """Read anew if the ledger moved."""
        ...
