"""Adds new event kinds to the frozen history; what is frozen stays. Run: python -m tests.laws.freeze."""

from __future__ import annotations

import json
from pathlib import Path

from bedplate.bootstrap import MANIFESTS
from bedplate.kernel.event import Draft, Value, seal
from bedplate.kernel.manifest import Kind, catalogue

KINDS = Path(__file__).with_name("kinds.json")
ENTRIES = Path(__file__).with_name("entries.jsonl")
AT = 1_750_000_000_000_000
STAGES: list[Value] = [{"body": "board", "decides": "policy", "quorum": 1}]
MEASURE: dict[str, Value] = {"metric": "benefit", "period": "2026-10", "milli": 1, "n": 1, "sd_milli": 0}
SIGHTING: dict[str, Value] = {"what": "x", "where": "x", "kind": "x", "provider": "x", "team": "x", "times": 1}
EXAMPLES: dict[str, Value] = {
    "stages": STAGES,
    "rung": "read",
    "outcome": "proven",
    "measures": [{**MEASURE, "unit": "x", "currency": "", "loss": ""}],
    "vendors": {"x": ["x", 1, 1]},
    "teams": {"x": 1},
    "items": [{**SIGHTING, "id": "x", "first": 1, "last": 1, "hints": ["x"], "cents": 1, "currency": ""}],
}
OF_TYPE: dict[str, Value] = {"text": "x", "int": 1, "list": ["x"], "object": {"x": "x"}}


def frozen() -> dict[str, list[list[str]]]:
    """Return kinds and their fields, in order, as they were frozen."""
    found: dict[str, list[list[str]]] = json.loads(KINDS.read_text()) if KINDS.exists() else {}
    return found


def fields(kind: Kind) -> list[list[str]]:
    """Return a kind's fields in order, as name and type."""
    return [[name, wanted] for name, wanted in kind.fields.items()]


def freeze() -> None:
    """Add what is new, at the end."""
    known = frozen()
    lines = ENTRIES.read_bytes().splitlines() if ENTRIES.exists() else []
    for kind in catalogue(MANIFESTS).kinds.values():
        if known.get(kind.name) == fields(kind):
            continue
        known[kind.name] = fields(kind)
        data = {name: EXAMPLES.get(name, OF_TYPE[wanted]) for name, wanted in kind.fields.items()}
        draft = Draft(kind.name, f"frozen/{kind.name}", data)
        seq = len(lines)
        event_id = f"01977420-dc00-7000-8000-{seq:012x}"
        event = seal(draft, seq=seq, id=event_id, version=1, at=AT + seq, actor="frozen", authz={"action": "frozen"})
        lines.append(event.entry)
    KINDS.write_text("{\n" + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in known.items()) + "\n}\n")
    ENTRIES.write_bytes(b"\n".join(lines) + b"\n")


if __name__ == "__main__":
    freeze()
