"""Calls: searching them, one of them, and its proof."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from starlette.responses import PlainTextResponse

from bedplate.errors import InvalidInput, Tampered
from bedplate.evidence.views import prove, sealed_size
from bedplate.gateway.price import UNKNOWN_ID
from bedplate.gateway.search import ANY, Cursor, Wanted
from bedplate.kernel.clock import rfc3339
from bedplate.models.feedback import checked as opinion
from bedplate.models.governance import GIVE_FEEDBACK
from bedplate.paths.feedback import Giver
from bedplate.portfolio import views as portfolio
from bedplate.store.proof import Proof, verify

from .conversation import conversation
from .difference import FIELDS, changed, sides
from .filters import CHOICES, filters, sees_cost
from .findings import told, word_of
from .visit import PAGE, Page, Visit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from bedplate.gateway.views import Call

    from .conversation import Turn
    from .difference import Sides

NEIGHBOURS = 8
NEAR = 4_096  # records looked at for them
MOST_COMPARED = 200_000  # characters of turns that differ; those after them are not looked into
SHOWN = (
    "use_case",
    "route",
    "dialect",
    "key",
    "tier",
    "rung",
    "model",
    "upstream",
    "attempts",
    "index",
    "request_sha256",
    "answer_sha256",
    "answer_of",
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


@dataclass(frozen=True, slots=True)
class Mark:
    """A finding of a call, and what people said of it: None while nobody has. `word` is what feedback calls it."""

    way: str
    label: str
    times: str
    word: str
    right: bool | None


def calls(visit: Visit) -> Response:
    """Search calls, newest first."""
    at, asked = visit.at, filters(visit)
    found = at.calls.page(asked.wanted, before=visit.query("before"), limit=PAGE) if not asked.problem else None
    return visit.show(
        "calls.html",
        asked.problem.status if asked.problem else 200,
        filters=asked,
        found=found,
        rows=rows(visit, found.calls) if found else [],
        summary=summary(found.calls) if found else None,
        before=visit.query("before"),
        choices=CHOICES,
        cases=[(c.id, c.title) for c in portfolio.use_cases(at.engine)],
        models=sorted({model for recipe in at.follower.snapshot.recipes.values() for model in recipe.named}),
        labels=visit.console.findings.labels(),
        any=ANY,
    )


def call(visit: Visit) -> Response:
    """Show one call."""
    return _call(visit, None)


def compare(visit: Visit) -> Response:
    """Show a call beside another: the fields that differ, and word by word what was said."""
    at = visit.at
    after, other = at.calls.get(visit.part("id")), visit.query("with").strip()
    before = at.calls.get(other) if other else None
    texts, hidden = [], False
    if before is not None:
        said = [at.content(visit.by, one) for one in (before, after)]
        hidden = any(one is None for one in said)
        texts = [] if hidden else _texts(*(conversation(one or {}) for one in said))
    seen = all(sees_cost(visit, c.entry["use_case"]) for c in (before, after) if c is not None)
    return visit.show(
        "call_diff.html",
        after=after,
        before=before,
        fields=[n for n in FIELDS if n != "cost_nano" or seen],
        differ=changed(before.entry, after.entry) if before is not None else [],
        texts=texts,
        hidden=hidden,
        near=_neighbours(visit, after),
        id=after.id,
    )


def mark(visit: Visit) -> Response:
    """Say of a finding that it was right, or wrong; kept as feedback about the call."""
    at, label = visit.at, visit.said("label")
    found = at.calls.get(visit.part("id"))
    if label not in {known for _, known, _ in told(found.entry)}:
        raise InvalidInput("This was not found in this call.", hint="Choose one of its findings.")
    if visit.said("right") not in {"yes", "no"}:
        raise InvalidInput("Say whether the finding is right.", hint="Right, or wrong.")
    said = opinion("label", word_of(label, right=visit.said("right") == "yes"))
    visit.console.desk.give(Giver(f"person/{visit.by}"), found.id, said)
    return visit.go(f"/calls/{found.id}#findings")


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


@dataclass(frozen=True, slots=True)
class Shown:
    """A call as a row. `cost` is in nano-US-dollars, -1 for people who may not see it."""

    call: Call
    cost: int
    priced: bool
    findings: tuple[str, ...]
    why: str

    @property
    def exact(self) -> str:
        """When it was recorded, RFC 3339: calls of one minute are told apart."""
        return rfc3339(self.call.at)


@dataclass(frozen=True, slots=True)
class Summary:
    """The calls of a page, added up; `median_us` of those that were answered."""

    calls: int
    refused: int
    failed: int
    tokens: int
    nano: int
    median_us: int
    first: int
    last: int


def rows(visit: Visit, found: Sequence[Call]) -> list[Shown]:
    """Turn calls into rows."""
    sees = {subject: sees_cost(visit, subject) for subject in {c.entry["use_case"] for c in found}}
    return [shown(c, sees_it=sees[c.entry["use_case"]]) for c in found]


def shown(call: Call, *, sees_it: bool) -> Shown:
    """Turn one call into a row."""
    entry = call.entry
    found = dict.fromkeys(f"{label}{times}" for _, label, times in told(entry))
    why = "; ".join(str(reason[1]) for reason in entry["reasons"]) or entry["error"]
    nano = int(entry.get("cost_nano", 0)) if sees_it else -1
    return Shown(call, nano, entry.get("price", "") not in {"", UNKNOWN_ID}, tuple(found), why)


def summary(found: Sequence[Call]) -> Summary | None:
    """Add up the calls of a page; None of none."""
    if not found:
        return None
    entries = [c.entry for c in found]
    times = sorted(int(e.get("latency_us", 0)) for e in entries if e["verdict"] == "allow" and e["status"] == "ok")
    return Summary(
        calls=len(found),
        refused=sum(e["verdict"] != "allow" for e in entries),
        failed=sum(e["status"] in {"failed", "aborted"} for e in entries),
        tokens=sum(e["tokens_in"] + e["tokens_out"] for e in entries),
        nano=sum(int(e.get("cost_nano", 0)) for e in entries),
        median_us=times[len(times) // 2] if times else 0,
        first=found[-1].at,
        last=found[0].at,
    )


def _call(visit: Visit, checking: Checking | None) -> Response:
    at = visit.at
    found = at.calls.get(visit.part("id"))
    entry = found.entry
    content = at.content(visit.by, found)
    said = at.calls.feedback(found.id)
    model, standing = at.model(), at.follower.snapshot.standings.get(entry["use_case"])
    domain = standing.domain if standing is not None else ""
    return visit.show(
        "call.html",
        call=found,
        entry=entry,
        fields=[(name, entry[name]) for name in SHOWN if entry.get(name) not in {"", None, 0}],
        said=None if content is None else conversation(content, entry["passages"]),
        erased=at.eraser.why(found.id) if content is None else None,
        parameters=None if content is None else content.get("parameters"),
        marks=_marks(entry, said),
        feedback=[(one, visit.console.desk.content(visit.by, one)) for one in said],
        may_say=model is not None and model.authority.allowed(visit.by, GIVE_FEEDBACK.needs, domain),
        sees_cost=sees_cost(visit, entry["use_case"]),
        priced=entry.get("price", "") not in {"", UNKNOWN_ID},
        near=_neighbours(visit, found),
        checking=checking,
        id=found.id,
    )


def _marks(entry: dict[str, Any], said: Sequence[Call]) -> list[Mark]:
    judged = {one.entry["value"]: one.at for one in reversed(said) if one.entry["feedback"] == "label"}
    marks = []
    for way, label, times in told(entry):
        wrong, right = (judged.get(word_of(label, right=is_right), 0) for is_right in (False, True))
        marks.append(Mark(way, label, times, word_of(label), None if not (wrong or right) else right > wrong))
    return marks


def _neighbours(visit: Visit, call: Call) -> list[Call]:
    """Return calls of the same use case and route: those just before this one, and the newest."""
    wanted = Wanted(subject=call.entry["use_case"], route=call.entry["route"])
    here = Cursor(call.at, call.shard, call.seq).text()
    before = visit.at.calls.page(wanted, before=here, limit=NEIGHBOURS, most=NEAR).calls
    newest = visit.at.calls.page(wanted, limit=3, most=NEAR).calls
    known = {call.id, *(c.id for c in before)}
    return [*(c for c in newest if c.id not in known and c.at >= call.at), *before]


def _texts(before: Sequence[Turn], after: Sequence[Turn]) -> list[Sides]:
    """Put what was said side by side, turn by turn as far as the roles agree."""
    pairs: list[Sides] = []
    left_over = MOST_COMPARED
    for _, a, b, c, d in SequenceMatcher(None, [t.role for t in before], [t.role for t in after]).get_opcodes():
        for left, right in zip_longest(before[a:b], after[c:d]):
            role = " / ".join(dict.fromkeys(turn.role for turn in (left, right) if turn is not None))
            texts = left.text if left else "", right.text if right else ""
            pairs.append(sides(role, *texts, most=left_over))
            if not pairs[-1].same:
                left_over = max(0, left_over - max(map(len, texts)))
    return pairs


PAGES = (
    Page("/calls", calls),
    Page("/calls/{id}", call),
    Page("/calls/{id}/diff", compare),
    Page("/calls/{id}/findings", mark, "POST"),
    Page("/calls/{id}/check", check, "POST"),
    Page("/calls/{id}/proof", download),
)
