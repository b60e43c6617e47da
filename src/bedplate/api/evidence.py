"""The ledger: its events, checkpoints, public key, and a full check."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse

from bedplate.evidence import views
from bedplate.evidence.audit import audit
from bedplate.kernel.clock import rfc3339
from bedplate.kernel.event import Event

from .session import At, Me

router = APIRouter(tags=["evidence"])


def told(event: Event) -> dict[str, Any]:
    """Return an event as JSON-ready values."""
    return {
        "seq": event.seq,
        "id": event.id,
        "kind": event.kind,
        "stream": event.stream,
        "at": rfc3339(event.at),
        "actor": event.actor,
        "data": dict(event.data),
        "authz": dict(event.authz),
    }


@router.get("/ledger/events")
def events(
    at: At,
    me: Me,  # noqa: ARG001  signed in, nothing more
    stream: str = "",
    kind: str = "",
    before: Annotated[int, Query(ge=0, le=2**62)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """List events, newest first."""
    found = views.events(at.engine, stream=stream, kind=kind, before=before, limit=limit)
    return {"size": views.size(at.engine), "events": [told(e) for e in found]}


@router.get("/ledger/checkpoint", response_class=PlainTextResponse)
def checkpoint(at: At, me: Me) -> str:  # noqa: ARG001  as above
    """Return the signed checkpoint of the ledger as it is now (C2SP tlog-checkpoint)."""
    return at.anchor.checkpoint()


@router.get("/ledger/key", response_class=PlainTextResponse)
def key(at: At) -> str:
    """Return the public keys that proofs are checked with, one a line: the ledger's, then its witness's, if any."""
    keys = [str(at.key.verifier)] + ([str(at.witness_key)] if at.witness_key is not None else [])
    return "\n".join(keys) + "\n"


@router.post("/ledger/verify")
def verify(at: At, me: Me) -> dict[str, Any]:  # noqa: ARG001  as above
    """Recompute the ledger, its read tables and every journal shard; lists what is wrong."""
    found = audit(at.engine, at.anchor.check, at.calls.shards(), at.ledger.projector)
    return {"faults": list(found.faults), "checked": dict(found.counts)}
