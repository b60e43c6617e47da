"""The ledger: its events, its checkpoint, one event with its proof, and a full check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import BedplateError, NotFound
from bedplate.evidence import views
from bedplate.evidence.audit import audit
from bedplate.store.anchor import reader
from bedplate.store.merkle import inclusion_proof, leaf_hash, verify_inclusion
from bedplate.store.note import Checkpoint, open_note

from .home import said
from .visit import PAGE, Page, Visit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from bedplate.installation import Installation
    from bedplate.kernel.event import Event


@dataclass(frozen=True, slots=True)
class Checked:
    """How a full check came out: what was counted, and what is wrong."""

    at: int
    by: str
    counts: Mapping[str, int]
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inclusion:
    """How one event is proved to be in the ledger that was signed."""

    size: int
    origin: str
    root: str
    path: tuple[str, ...]
    fault: str = ""


def ledger(visit: Visit) -> Response:
    """List events, newest first."""
    return _ledger(visit, visit.console.checked)


def verify(visit: Visit) -> Response:
    """Recompute the ledger, its read tables and every shard, now."""
    visit.console.checked = checked = full_check(visit.at, visit.by)
    return visit.show("_verified.html", checked=checked) if visit.fragment else _ledger(visit, checked)


def event(visit: Visit) -> Response:
    """Show one event, and check that it is in the ledger that was signed."""
    text = visit.part("seq")
    if not (text.isascii() and text.isdigit() and len(text) < 16):  # noqa: PLR2004  below 2^53
        raise NotFound(f"there is no event {text}", hint="events are numbered from 0")
    found = views.event(visit.at.engine, int(text))
    last = views.size(visit.at.engine) - 1
    doc, inclusion = said(visit, found.kind), included(visit.at, found)
    return visit.show("event.html", event=found, doc=doc, last=last, inclusion=inclusion)


def full_check(at: Installation, by: str) -> Checked:
    """Check everything, and say what is wrong instead of stopping at the first fault."""
    found = audit(at.engine, at.anchor.check, at.calls.shards(), at.ledger.projector)
    counts = {f"calls of {name}" if name in at.calls.shards() else name: n for name, n in found.counts.items()}
    return Checked(at.clock(), by, counts, found.faults)


def included(at: Installation, found: Event) -> Inclusion:
    """Prove an event against the newest checkpoint that covers it, signing one only if none does yet."""
    note = at.anchor.latest()
    signed = _signed(at, note) if note else None
    if signed is None or signed.size <= found.seq:
        try:
            signed = _signed(at, at.anchor.checkpoint())
        except BedplateError as broken:
            return Inclusion(0, at.anchor.origin, "", (), broken.message)
    try:
        with at.engine.connect() as connection:
            path = inclusion_proof(found.seq, signed.size, reader(connection))
        verify_inclusion(leaf_hash(found.entry), found.seq, signed.size, path, signed.root)
    except BedplateError as broken:
        return Inclusion(signed.size, signed.origin, signed.root.hex(), (), broken.message)
    return Inclusion(signed.size, signed.origin, signed.root.hex(), tuple(h.hex() for h in path))


def _signed(at: Installation, note: str) -> Checkpoint:
    return Checkpoint.parse(open_note(note, at.key.verifier).text)


def _ledger(visit: Visit, checked: Checked | None) -> Response:
    at = visit.at
    stream, kind, before = visit.query("stream"), visit.query("kind"), visit.number("before")
    found = views.events(at.engine, stream=stream, kind=kind, before=before, limit=PAGE + 1)
    shown = found[:PAGE]
    return visit.show(
        "ledger.html",
        events=[(e, said(visit, e.kind)) for e in shown],
        older=shown[-1].seq if len(found) > PAGE else 0,
        given={"stream": stream, "kind": kind, "before": before},
        kinds=sorted(at.catalogue.kinds),
        size=views.size(at.engine),
        note=at.anchor.latest(),
        keys=[str(at.key.verifier)] + ([str(at.witness_key)] if at.witness_key is not None else []),
        checked=checked,
        since=visit.console.opened,
    )


PAGES = (
    Page("/ledger", ledger),
    Page("/ledger/verify", verify, "POST"),
    Page("/ledger/{seq}", event),
)
