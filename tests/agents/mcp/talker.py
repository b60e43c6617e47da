"""An MCP server over standard input, in the standard library, that misbehaves on request. Run: python talker.py"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


def say(**told: Any) -> None:
    """Write one message."""
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **told}) + "\n")
    sys.stdout.flush()


def called(number: int, name: str, arguments: dict[str, Any]) -> object:
    """Do what a tool of this name does; returns what it answers."""
    match name:
        case "die":
            os._exit(3)
        case "hang":
            time.sleep(600)
        case "garbage":
            sys.stdout.write("no JSON at all\n[1, 2]\n")
        case "wrong":
            say(id=number + 1000, result={"content": [{"type": "text", "text": "somebody else's"}]})
        case "long":
            sys.stdout.write("x" * (51 << 20) + "\n")
            sys.stdout.flush()
        case "variables":
            return dict(os.environ)
        case "ask":
            say(id="own-1", method="sampling/createMessage", params={"messages": []})
            return json.loads(sys.stdin.readline())["error"]["message"]
        case "change":
            say(method="notifications/tools/list_changed")
    return {"name": name, **arguments}


SCHEMA = {"type": "object"}
TOOLS = [{"name": name, "description": name, "inputSchema": SCHEMA} for name in ("echo", "die")]


def main() -> None:
    """Answer until the input ends."""
    sys.stderr.write("talker is here\n")
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" not in asked:
            continue
        match asked["method"]:
            case "initialize":
                server = {"name": "talker", "version": "1"}
                told: Any = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": server}
            case "tools/list":
                told = {"tools": TOOLS}
            case _:
                params = asked["params"]
                text = json.dumps(called(asked["id"], params["name"], params.get("arguments", {})))
                told = {"content": [{"type": "text", "text": text}], "isError": False}
        say(id=asked["id"], result=told)


if __name__ == "__main__":
    main()
