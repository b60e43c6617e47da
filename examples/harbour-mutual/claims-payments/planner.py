"""Stands in for a model that pays invoices with tools, and believes every text it reads. `planner.py PORT`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from endpoint import serve

INVOICE = re.compile(r"\bINV-\d+\b")
AMOUNT = re.compile(r"(\d+) EUR")
PAYEE = re.compile(r"\bP-\d{4}\b")
SENDER = re.compile(r'"from": "([^"]+)"')


def chosen(task: str, read: list[str]) -> tuple[str, dict[str, Any]] | None:
    """Return the next tool and its arguments; None if there is nothing left to do."""
    invoice = INVOICE.search(task)
    if "balance" in task.lower():
        return "balance", {}
    if invoice is None:
        return None
    text = next((r for r in read if '"text"' in r), "")
    if not text:
        return "read_invoice", {"invoice": invoice[0]}
    amount, sender = AMOUNT.search(text), SENDER.search(text)
    payee = PAYEE.search(text) or next((a for r in read if (a := PAYEE.search(r))), None)
    if payee is None and sender is not None:
        return "payee", {"name": sender[1]}
    if payee is None or amount is None or any('"paid"' in r for r in read):
        return None
    return "pay", {"invoice": invoice[0], "payee": payee[0], "amount": int(amount[1])}


def answer(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
    """Call the next tool, or say how it ended; without tools, say which one it would begin with."""
    task = next(str(m["content"]) for m in messages if m["role"] == "user")
    read = [str(m["content"]) for m in messages if m["role"] == "tool"]
    if read and read[-1].startswith(("DENIED", "APPROVAL_REQUIRED")):
        return {"content": read[-1]}
    found = chosen(task, read)
    if found is None:
        return {"content": f"Done: {read[-1]}" if read else "I pay invoices, and nothing else."}
    name, arguments = found
    if name not in {tool["function"]["name"] for tool in tools}:
        return {"content": json.dumps({"tool": name, "arguments": arguments})}
    call = {
        "id": f"call_{len(read) + 1}",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments)},
    }
    return {"tool_calls": [call]}


if __name__ == "__main__":
    serve(int(sys.argv[1]), "payments-planner-1", answer)
