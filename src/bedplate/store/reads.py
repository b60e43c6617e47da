"""What the kernel's tables say now: content, standings, approvals and evidence, each read one way only."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from bedplate.errors import NotFound, Tampered
from bedplate.kernel.approval import Approval, fold
from bedplate.kernel.event import unseal
from bedplate.kernel.evidence import Evidence
from bedplate.kernel.standing import Standing, from_plain

from . import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence


def read_blob(connection: Connection, digest: str) -> bytes:
    """Return kept content; `NotFound` if there is none, `Tampered` if it does not match its digest."""
    content = connection.execute(select(t.blob.c.content).where(t.blob.c.digest == digest)).scalar_one_or_none()
    if content is None:
        raise NotFound(f"no content is kept under {digest}")
    if hashlib.sha256(content).hexdigest() != digest:
        raise Tampered(f"the content kept under {digest} was changed")
    return bytes(content)


def read_evidence(connection: Connection, subject: str, digest: str) -> dict[str, Evidence]:
    """Return the newest evidence about this content, by control."""
    rows = connection.execute(select(t.evidence).where(t.evidence.c.subject == subject, t.evidence.c.digest == digest))
    return {r.control: Evidence(r.control, r.digest, r.outcome, r.summary, r.at, r.expires, r.blob) for r in rows}


def read_standing(connection: Connection, subject: str) -> Standing | None:
    """Return the standing of one subject, or None."""
    body = connection.execute(select(t.standing.c.body).where(t.standing.c.subject == subject)).scalar_one_or_none()
    return None if body is None else from_plain(json.loads(body))


def read_approval(connection: Connection, approval_id: str) -> Approval | None:
    """Fold one approval from its events, so that its votes are always those on record."""
    rows = connection.execute(
        select(t.event.c.entry).where(t.event.c.stream == approval_id).order_by(t.event.c.version)
    )
    approval: Approval | None = None
    for (entry,) in rows:
        approval = fold(approval, unseal(entry))
    return approval


def read_approvals(connection: Connection, ids: Sequence[str]) -> list[Approval]:
    """Fold several approvals from their events, read at once; in the order of their ids here."""
    rows = connection.execute(
        select(t.event.c.stream, t.event.c.entry)
        .where(t.event.c.stream.in_(ids))
        .order_by(t.event.c.stream, t.event.c.version)
    )
    found: dict[str, Approval | None] = {}
    for stream, entry in rows:
        found[stream] = fold(found.get(stream), unseal(entry))
    return [a for a in (found.get(name) for name in ids) if a is not None]


def founding_model(connection: Connection) -> str:
    """Return the digest of the newest proposed operating model; "" if there is none."""
    newest = (
        select(t.event.c.entry).where(t.event.c.kind == "kernel.model.proposed").order_by(t.event.c.seq.desc()).limit(1)
    )
    entry = connection.execute(newest).scalar_one_or_none()
    return "" if entry is None else str(unseal(entry).data["digest"])
