"""An OpenAI-shaped endpoint in the standard library, for examples that bring a model of their own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[list[dict[str, Any]], list[dict[str, Any]]], dict[str, Any]]


def serve(port: int, model: str, answer: Answer) -> None:
    """Serve until the process ends. `answer` makes the assistant's message of messages and tools."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            message = {"role": "assistant", "content": None, **answer(body["messages"], body.get("tools", []))}
            ending = "tool_calls" if message.get("tool_calls") else "stop"
            choice = {"index": 0, "message": message, "finish_reason": ending}
            words = len(json.dumps(body).split())
            usage = {"prompt_tokens": words, "completion_tokens": 1, "total_tokens": words + 1}
            head = {"id": "x", "object": "chat.completion", "created": int(time.time()), "model": model}
            content = json.dumps({**head, "choices": [choice], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
