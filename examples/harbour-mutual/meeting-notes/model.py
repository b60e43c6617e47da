"""Stands in for the test endpoint of a vendor of meeting notes: sentences that decide or ask for something. `PORT`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from endpoint import serve

KEPT = re.compile(r"(?i)\b(decided|agreed|action|will)\b")


def answer(messages: list[dict[str, Any]], _tools: list[dict[str, Any]]) -> dict[str, Any]:
    """Keep the sentences that a reader of minutes looks for."""
    said = re.split(r"(?<=[.!?])\s+", str(messages[-1]["content"]))
    notes = [sentence for sentence in said if KEPT.search(sentence)]
    return {"content": "\n".join(f"- {n}" for n in notes) or "There is nothing to note."}


if __name__ == "__main__":
    serve(int(sys.argv[1]), "notes-1", answer)
