"""A tool call: what an agent wants done, what was ruled about it, and what became of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

Told = tuple[str, str, str]  # control or policy, why, fix
Ruled = Literal["allow", "deny", "ask"]
# An effect: intended (on record, not known to have happened), then ok or error, or unknown where nobody can say.
State = Literal["denied", "parked", "intended", "ok", "error", "unknown", "settled", "dry-run"]
READ, WRITE, IRREVERSIBLE = CLASSES = ("read", "write", "irreversible")

_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of one tool, as the agent asks for it. `key` is the step's own name, if its runner has one.

    The same key again is the same step: it gets what became of it, and is never carried out twice.
    """

    run: str
    tool: str  # "server/tool"; "local/tool" for a function of the agent's own
    arguments: dict[str, Any]
    key: str = ""
    dry_run: bool = False
    digest: str = field(init=False)  # of tool and arguments, SHA-256, hex

    def __post_init__(self) -> None:
        """Digest what is asked, keys in order."""
        content = _encode([self.tool, self.arguments])
        object.__setattr__(self, "digest", hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, slots=True)
class Tainted:
    """An argument whose value an outsider may have chosen: where it was read, and by which step."""

    argument: str  # "recipient", "items.0.iban"
    step: int  # whose result held it; 0: nothing that was read in this run
    source: str  # the tool that read it, or "nowhere"


@dataclass(slots=True)
class Ruling:
    """What was ruled about a tool call. `arguments` are those to use: an approver may have changed them."""

    verdict: Ruled
    action: str  # the action's id; what is passed on as idempotency key
    run: str
    step: int
    tool: str
    arguments: dict[str, Any]
    state: State
    tier: int = 0
    rung: str = ""
    reasons: list[Told] = field(default_factory=list)
    approval: str = ""
    edited: bool = False
    tainted: list[Tainted] = field(default_factory=list)
    replayed: bool = False  # the step was done before: `result` is what it came to, and nothing is done again
    result: Any = None  # of a step that was done before, or a person's answer in its place
    dry_run: bool = False
    wait_s: int = 0  # when to ask again, while it is parked


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call that was let through."""

    status: Literal["ok", "error", "unknown"]
    result: Any = None  # JSON: what the tool returned
    message: str = ""
    transport: bool = False  # the tool could not be reached or did not answer: what breakers count
    latency_us: int = 0
