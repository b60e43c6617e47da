"""Reads: the register of vendors, with what is due."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, select

from bedplate.errors import NotFound
from bedplate.kernel.clock import DAY
from bedplate.store.tables import blob, standing

from .governance import ENDED
from .tables import vendor, vendor_review, vendor_use
from .vendor import Supply, VendorFile

if TYPE_CHECKING:
    from sqlalchemy import Row

    from bedplate.kernel.event import Value

SOON = 30 * DAY  # a review that is due within it is shown as such


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor on the register. Times in microseconds; `state`: registered, kept or ended.

    `review`: overdue, soon, planned, or ended; `terms`: ended, soon or running.
    """

    id: str
    name: str
    state: str
    review: str
    terms: str
    reviewer: str
    reviewed_by: str
    notes: str
    reviewed_at: int
    review_due: int
    terms_until: int
    entry: dict[str, Any]  # as it was registered; None where nothing was said

    @property
    def supply(self) -> Supply:
        """What it supplies."""
        return Supply(self.id, tuple(self.entry.get("models", ())), tuple(self.entry.get("upstreams", ())))

    def known(self) -> list[Value]:
        """Return what a release that relies on it is judged by."""
        return [self.state, self.review_due, self.terms_until]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return asdict(self)


def vendors(engine: Engine, now: int) -> list[Vendor]:
    """List the register, by name."""
    query = select(vendor, blob.c.content, standing.c.body).join(blob, blob.c.digest == vendor.c.spec)
    query = query.join(standing, standing.c.subject == "vendor/" + vendor.c.id)
    with engine.connect() as connection:
        return [_shown(row, now) for row in connection.execute(query.order_by(vendor.c.name, vendor.c.id))]


def vendor_named(engine: Engine, vendor_id: str, now: int) -> Vendor:
    """Return one vendor; `NotFound` if it is not on the register."""
    found = next((v for v in vendors(engine, now) if v.id == vendor_id), None)
    if found is None:
        raise NotFound(f"there is no vendor {vendor_id}", hint="list them: bedplate vendor list")
    return found


def reviews(engine: Engine, vendor_id: str) -> list[dict[str, Any]]:
    """List what was found at each review, newest first."""
    query = select(vendor_review).where(vendor_review.c.vendor == vendor_id).order_by(vendor_review.c.seq.desc())
    with engine.connect() as connection:
        return [dict(r._mapping) for r in connection.execute(query)]  # noqa: SLF001  public by documentation


def relying(engine: Engine, vendor_id: str) -> list[str]:
    """List the use cases of which a release relies on a vendor."""
    query = select(vendor_use.c.subject).where(vendor_use.c.vendor == vendor_id).distinct()
    with engine.connect() as connection:
        return list(connection.execute(query.order_by(vendor_use.c.subject)).scalars())


def _shown(row: Row[Any], now: int) -> Vendor:
    state = str(json.loads(row.body)["facts"]["vendors.state"][0])
    ended = state == ENDED
    return Vendor(
        id=row.id,
        name=row.name,
        state=state,
        review=ENDED if ended else _when(row.review_due, now, "overdue", "planned"),
        terms=_when(row.terms_until, now, "ended", "running"),
        reviewer=row.reviewer,
        reviewed_by=row.reviewed_by,
        notes=row.notes,
        reviewed_at=row.reviewed_at,
        review_due=row.review_due,
        terms_until=row.terms_until,
        entry=VendorFile.model_validate(json.loads(row.content)).model_dump(),
    )


def _when(until: int, now: int, past: str, ahead: str) -> str:
    if now >= until:
        return past
    return "soon" if now >= until - SOON else ahead
