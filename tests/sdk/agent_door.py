"""A server of `/agents/v1` with rules simple enough to see through: for tests of what speaks to one.

It keeps to the contract of the real one: intent before the effect, one effect a step, what was agreed to spent once. A
payment of more than 100 waits for people, one to `BAD` is refused.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

Json = dict[str, Any]
KEY = "bpk_the-agents-own"


@dataclass
class Approval:
    id: str
    action: str
    digest: str
    arguments: Json
    state: str = "asked"  # granted, refused, answer, spent
    said: str = ""


@dataclass
class Effect:
    action: str
    digest: str
    at: float
    state: str = "intended"
    result: Any = None


@dataclass
class Run:
    task: str = ""
    state: str = "running"
    texts: list[Json] = field(default_factory=list)
    steps: list[Json] = field(default_factory=list)
    effects: dict[str, Effect] = field(default_factory=dict)  # by step key, or action


class AgentDoor:
    """Serves on a port of its own while the context lasts. `lease_s`: when an outcome not heard of is unknown."""

    def __init__(self, *, tier: int = 4, idempotent: bool = False, lease_s: float = 0.3) -> None:
        self.tier, self.idempotent, self.lease_s = tier, idempotent, lease_s
        self.runs: dict[str, Run] = {}
        self.approvals: dict[str, Approval] = {}
        self.outcomes: list[Json] = []
        self.asked: list[Json] = []
        self.away = 0  # so many outcomes are answered with 503
        self._numbers, self._lock = count(1), threading.RLock()
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def log_message(self, *_: object) -> None:
                pass

            def _answer(self, body: Json) -> None:
                status, told = door.answer(self.command, self.path, self.headers["authorization"] or "", body)
                content = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    # What people do

    @property
    def waiting(self) -> list[Approval]:
        with self._lock:
            return [a for a in self.approvals.values() if a.state == "asked"]

    def say(self, state: str, said: str = "", **arguments: Any) -> None:
        """Have people decide the one question that waits; with other arguments, if any are given."""
        with self._lock:
            [one] = self.waiting
            one.state, one.said, one.arguments = state, said, {**one.arguments, **arguments}

    def conclude(self, state: str, result: Any = None) -> None:
        """Have a person say what became of the one effect that nobody knows of."""
        with self._lock:
            [one] = [e for r in self.runs.values() for e in r.effects.values() if self._state(e) == "unknown"]
            one.state, one.result = state, result

    def effects(self, state: str = "") -> list[Effect]:
        with self._lock:
            return [e for r in self.runs.values() for e in r.effects.values() if state in {"", self._state(e)}]

    # What agents ask

    def answer(self, method: str, path: str, bearer: str, body: Json) -> tuple[int, Json]:
        if bearer != f"Bearer {KEY}":
            return 401, {"error": {"code": "unauthenticated", "message": "no such key", "hint": "have one issued"}}
        with self._lock:
            match (method, *path.removeprefix("/agents/v1/").split("/")):
                case ("POST", "token"):
                    return 200, {"token": "bpa_short", "expires": body["seconds"]}
                case ("POST", "runs"):
                    name = body["run"] or f"run-{next(self._numbers)}"
                    run = self.runs.setdefault(name, Run(body["task"]))
                    return 200, {"run": name, "state": run.state}
                case ("POST", "runs", name, "texts"):
                    self.runs[name].texts.append(body)
                    return 200, {}
                case ("POST", "runs", name, "end"):
                    self.runs[name].state = body["state"]
                    return 200, {}
                case ("GET", "runs", name):
                    return 200, {"run": name, "state": self.runs[name].state, "steps": self.runs[name].steps}
                case ("POST", "actions"):
                    return self._propose(body)
                case ("GET", "actions", action):
                    return 200, next(s for r in self.runs.values() for s in r.steps if s["action"] == action)
                case ("POST", "actions", action, "outcome"):
                    return self._settle(action, body)
        return 404, {"error": {"code": "not-found", "message": path, "hint": ""}}

    def _propose(self, body: Json) -> tuple[int, Json]:
        self.asked.append(body)
        if body["run"] not in self.runs:
            return 404, {"error": {"code": "not-found", "message": f"no run {body['run']}", "hint": "begin one"}}
        run = self.runs[body["run"]]
        digest = sha256(json.dumps([body["tool"], body["arguments"]], sort_keys=True).encode()).hexdigest()
        known = run.effects.get(body["key"]) if body["key"] else None
        ruling = self._again(body, known, digest) if known else None
        if ruling is None:
            ruling = self._judged(body, run, digest)
        run.steps.append(ruling)
        return 200, ruling

    def _judged(self, body: Json, run: Run, digest: str) -> Json:
        amount, to = body["arguments"].get("amount", 0), body["arguments"].get("to", "")
        if run.state != "running":
            return self._ruling(body, "deny", "denied", ("run-open", "the run has ended", "begin another run"))
        if to == "BAD":
            return self._ruling(body, "deny", "denied", ("payees", "BAD is no known payee", "have it added"))
        if amount <= 100 or body["dry_run"]:
            return self._let(body, run, digest, f"act-{next(self._numbers)}", body["arguments"])
        about = [a for a in self.approvals.values() if a.digest == digest and a.state != "spent"]
        if not about:
            name = f"approval/{next(self._numbers)}"
            about = [Approval(name, f"act-{next(self._numbers)}", digest, body["arguments"])]
            self.approvals[name] = about[0]
        one = about[-1]
        if one.state == "asked":
            told = self._ruling(body, "ask", "parked", ("amount", f"{amount} is more than 100", "wait for the person"))
            return {**told, "approval": one.id, "action": one.action, "wait_s": 1}
        if one.state == "refused":
            return self._ruling(body, "deny", "denied", ("refused", f"mara refused it: {one.said}", "do not repeat it"))
        if one.state == "answer":
            return {**self._ruling(body, "allow", "settled"), "replayed": True, "result": one.said}
        one.state = "spent"
        told = self._let(body, run, digest, one.action, one.arguments)
        return {**told, "approval": one.id, "edited": one.arguments != body["arguments"]}

    def _let(self, body: Json, run: Run, digest: str, action: str, arguments: Json) -> Json:
        if not body["dry_run"]:
            run.effects[body["key"] or action] = Effect(action, digest, time.monotonic())
        return {**self._ruling(body, "allow", "intended"), "action": action, "arguments": arguments}

    def _again(self, body: Json, known: Effect, digest: str) -> Json | None:
        state = self._state(known)
        if digest != known.digest:
            told = ("step-once", "the step was used for something else", "give each step its own key")
            return self._ruling(body, "deny", "denied", told)
        if state == "intended":
            told = ("step-once", "this step is being carried out", "wait for its outcome")
            return {**self._ruling(body, "ask", "intended", told), "action": known.action, "wait_s": 1}
        if state == "unknown" and self.idempotent and self.tier < 3:
            known.state, known.at = "intended", time.monotonic()
            return {**self._ruling(body, "allow", "intended"), "action": known.action}
        if state == "unknown":
            fix = f"a person says what happened: bedplate actions conclude {known.action} ok|error"
            told = ("outcome-known", f"nobody knows what became of it ({known.action})", fix)
            return {**self._ruling(body, "deny", "unknown", told), "action": known.action}
        told_ = self._ruling(body, "allow", state)
        return {**told_, "action": known.action, "replayed": True, "result": known.result}

    def _state(self, effect: Effect) -> str:
        if effect.state == "intended" and time.monotonic() - effect.at > self.lease_s:
            effect.state = "unknown"
        return effect.state

    def _ruling(self, body: Json, verdict: str, state: str, told: tuple[str, str, str] | None = None) -> Json:
        return {
            "verdict": verdict, "action": f"act-{next(self._numbers)}", "run": body["run"], "tool": body["tool"],
            "arguments": body["arguments"], "state": state, "step": next(self._numbers), "tier": self.tier,
            "reasons": [{"control": told[0], "why": told[1], "fix": told[2]}] if told else [], "approval": "",
            "edited": False, "tainted": [], "replayed": False, "result": None, "dry_run": body["dry_run"], "wait_s": 0,
            "rung": "act",
            "something-newer": 1,
        }  # fmt: skip

    def _settle(self, action: str, body: Json) -> tuple[int, Json]:
        if self.away:
            self.away -= 1
            return 503, {"error": {"code": "unavailable", "message": "no journal", "hint": "see /readyz"}}
        self.outcomes.append({"action": action, **body})
        for run in self.runs.values():
            for effect in run.effects.values():
                if effect.action == action and self._state(effect) in {"intended", "unknown"}:
                    effect.state, effect.result = body["status"], body["result"]
        return 200, {}
