"""Stands in for a model that calls tools: it reads who and how many days, and picks the tool. `model.py PORT`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from endpoint import serve

EMPLOYEE = re.compile(r"\bE-\d{3,6}\b")
DAYS = re.compile(r"\b(\d{1,2}) days?\b")


def chosen(asked: str) -> tuple[str, dict[str, Any]] | None:
    """Return the tool and its arguments; None if it is not said for whom."""
    who, days = EMPLOYEE.search(asked), DAYS.search(asked)
    if who is None:
        return None
    if re.search(r"(?i)\bbook\b", asked) and days is not None:
        return "book_leave", {"employee": who[0], "days": int(days[1])}
    return "leave_balance", {"employee": who[0]}


def answer(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
    """Call a tool, tell what a tool returned, or say which tool it would call if none is offered."""
    newest = messages[-1]
    if newest["role"] == "tool":
        return {"content": f"The HR system says: {newest['content']}"}
    found = chosen(str(newest["content"]))
    if found is None:
        return {"content": "I cannot do that."}
    name, arguments = found
    if name not in {tool["function"]["name"] for tool in tools}:
        return {"content": json.dumps({"tool": name, "arguments": arguments})}
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    return {"tool_calls": [call]}


if __name__ == "__main__":
    serve(int(sys.argv[1]), "leave-agent-1", answer)
