"""The upstreams: how they are, and what is asked of them."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter

from bedplate.errors import Denied
from bedplate.gateway.governance import READ_UPSTREAMS
from bedplate.gateway.traffic import SupplierView
from bedplate.installation import Installation

from .session import At, Me

router = APIRouter(tags=["gateway"])


@router.get("/upstreams")
def upstreams(at: At, me: Me) -> dict[str, Any]:
    """List the upstreams as this process sees them; durations in milliseconds, and never a key."""
    readable(at, me.person)
    now = time.monotonic_ns() // 1000
    return {"upstreams": [plain(view, now) for view in at.supply.view(now)], "default": at.supply.default}


def readable(at: Installation, person: str) -> None:
    """Refuse whoever may not see them, with who may; a seat of any domain counts."""
    model = at.model()
    authority = model.authority if model is not None else None
    if authority is None or not authority.allowed(person, READ_UPSTREAMS.needs, "*"):
        who = ", ".join(authority.who(READ_UPSTREAMS.needs, "*")) if authority is not None else ""
        why, fix = f"{person} may not see the upstreams", f"ask one of: {who or 'nobody may'}"
        raise Denied(why, hint=fix, reasons=(("authority", why, fix),))


def plain(view: SupplierView, now: int) -> dict[str, Any]:
    """Return one as JSON-ready values: what was a moment of this process's clock is how long ago, or how soon."""
    breaker = view.breaker
    return {
        "name": view.name,
        "url": view.url,
        "shape": view.shape,
        "protocols": list(view.protocols),
        "description": view.description,
        "key": view.key,
        "trouble": view.trouble,
        "state": breaker.state,
        "since_ms": (now - breaker.since) // 1000 if breaker.since else -1,
        "failures": breaker.failures,
        "last_error": breaker.last_error,
        "next_probe_ms": max(0, breaker.next_probe - now) // 1000,
        "cooling_ms": max(0, breaker.cooling_until - now) // 1000,
        "in_flight": view.in_flight,
        "max_concurrent": view.max_concurrent,
        "waiting": view.waiting,
        "calls": view.calls,
        "failed": view.failed,
        "first_byte_p50_ms": view.first_byte_p50_ms,
        "first_byte_p95_ms": view.first_byte_p95_ms,
    }
