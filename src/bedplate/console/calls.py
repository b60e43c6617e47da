"""Calls: searching them, one of them, and its proof."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import PlainTextResponse

from bedplate.errors import Tampered
from bedplate.evidence.views import prove, sealed_size
from bedplate.portfolio import views as portfolio
from bedplate.store.proof import Proof, verify

from .visit import PAGE, Page, Visit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

VERDICTS = ("allow", "deny", "ask")
MAX_PAGES = 20  # a search reads every page before the one that is shown
SHOWN = (
    "use_case",
    "route",
    "key",
    "started",
    "ended",
    "tier",
    "rung",
    "release",
    "model",
    "upstream",
    "prompt",
    "index",
    "tokens_in",
    "tokens_out",
    "request_sha256",
    "answer_sha256",
    "error",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of checking a proof: what it shows, and whether it held (None: not reached)."""

    what: str
    detail: str
    held: bool | None


@dataclass(frozen=True, slots=True)
class Checking:
    """How the check of a proof went."""

    steps: tuple[Step, ...]
    fault: str
    size: int


def calls(visit: Visit) -> Response:
    """Search calls, newest first."""
    at, page = visit.at, min(visit.number("page", 1), MAX_PAGES)
    use_case, verdict, text = visit.query("use_case"), visit.query("verdict"), visit.query("text")
    subject = f"usecase/{use_case}" if use_case else ""
    wanted = verdict if verdict in VERDICTS else ""
    found = at.calls.search(use_case=subject, verdict=wanted, text=text, limit=page * PAGE + 1)
    return visit.show(
        "calls.html",
        calls=found[(page - 1) * PAGE : page * PAGE],
        more=len(found) > page * PAGE and page < MAX_PAGES,
        page=page,
        given={"use_case": use_case, "verdict": verdict, "text": text},
        verdicts=VERDICTS,
        cases=[(c.id, c.title) for c in portfolio.use_cases(at.engine)],
    )


def call(visit: Visit) -> Response:
    """Show one call."""
    return _call(visit, None)


def check(visit: Visit) -> Response:
    """Make the proof of a call and verify it, step by step."""
    checking = checked(visit, make_proof(visit, visit.part("id")))
    if visit.fragment:
        return visit.show("_proof.html", checking=checking, id=visit.part("id"))
    return _call(visit, checking)


def download(visit: Visit) -> Response:
    """Return the proof file, to be checked offline with `bedplate verify`."""
    text = make_proof(visit, visit.part("id")).render()
    name = "".join(c for c in visit.part("id") if c.isalnum() or c == "-")
    return PlainTextResponse(text, headers={"content-disposition": f'attachment; filename="{name}.proof"'})


def make_proof(visit: Visit, call_id: str) -> Proof:
    """Make the proof of a call, anchoring it first if this process holds it and it is not anchored yet."""
    at = visit.at
    shard, row, name = at.calls.find(call_id)
    if name == at.journal.shard and row.seq >= sealed_size(at.engine, name):
        at.seal()
    return prove(at.engine, shard, name, row.seq, row.entry, at.anchor.prove)


def checked(visit: Visit, proof: Proof) -> Checking:
    """Verify a proof as anybody could, from its text and the public keys alone."""
    at = visit.at
    witnesses = [at.witness_key] if at.witness_key is not None else []
    fault, size, seen = "", 0, ""
    try:
        found = verify(Proof.parse(proof.render()), [at.key.verifier], witnesses)
        size, seen = found.tree_size, f", co-signed by {', '.join(found.witnesses)}" if found.witnesses else ""
    except Tampered as wrong:
        fault = wrong.message
    broken = next((n for n in range(1, 5) if fault.startswith(f"step {n}")), 1 if fault else 5)
    event = f"ledger event {proof.event_index:,}"
    told: Sequence[tuple[str, str]] = (
        ("The ledger's key signed the checkpoint", f"{at.key.verifier.name}{seen}"),
        (f"{event[0].upper()}{event[1:]} is in that ledger", f"{len(proof.event_path)} hashes up to the signed root"),
        (f"{event[0].upper()}{event[1:]} sealed the batch", f"{proof.segment_size:,} records under one root"),
        (
            f"This call is record {proof.call_index:,} of the batch",
            f"its {len(proof.call):,} bytes and {len(proof.call_path)} hashes give that root",
        ),
    )
    steps = tuple(Step(w, d, None if n > broken else n < broken) for n, (w, d) in enumerate(told, 1))
    return Checking(steps, fault, size)


def _call(visit: Visit, checking: Checking | None) -> Response:
    at = visit.at
    found = at.calls.get(visit.part("id"))
    content = at.content(visit.by, found)
    return visit.show(
        "call.html",
        call=found,
        entry=found.entry,
        fields=[(name, found.entry[name]) for name in SHOWN if found.entry.get(name) not in {"", None}],
        said=None if content is None else _said(content),
        checking=checking,
        id=found.id,
    )


def _said(content: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what was said as (role, text); content in parts is written as JSON."""
    said = []
    for message in content.get("messages", []):
        text = message.get("content", "")
        said.append(
            (str(message.get("role", "")), text if isinstance(text, str) else json.dumps(text, ensure_ascii=False))
        )
    return [*said, ("answer", str(content.get("answer", "")))]


PAGES = (
    Page("/calls", calls),
    Page("/calls/{id}", call),
    Page("/calls/{id}/check", check, "POST"),
    Page("/calls/{id}/proof", download),
)
