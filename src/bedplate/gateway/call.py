"""One call: what the client sent, read strictly, and what goes on record about it."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from bedplate.errors import InvalidInput
from bedplate.kernel.clock import rfc3339
from bedplate.kernel.event import Value, canonical

from .upstream import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_BODY = 4 << 20
MAX_MESSAGES = 2_000
MAX_NAME = 200  # characters of a model's name: it is quoted in reasons, and a record has its bounds
MAX_DEPTH = 128  # far from where some later step would run out of stack


@dataclass(frozen=True, slots=True)
class Request:
    """A chat completion as the client sent it. `question` is the last thing the user said."""

    body: dict[str, Any]
    model: str
    stream: bool
    question: str


@dataclass(slots=True)
class Trace:
    """What happened to a call so far; it becomes its record. Times in microseconds."""

    id: str
    subject: str
    key: str
    route: str  # live or evaluation
    started: int
    request_sha256: str
    tier: int = 0
    release: str = ""
    rung: str = ""
    model: str = ""
    upstream: str = ""
    prompt: str = ""
    index: str = ""
    verdict: str = "deny"
    status: str = "refused"  # ok, failed, aborted, refused
    reasons: list[tuple[str, str, str]] = field(default_factory=list)
    passages: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    answer: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    grounded: int = 1000
    unanswered: bool = False
    error: str = ""
    sampled: bool = False


def read(body: bytes) -> Request:
    """Read a chat completion; `InvalidInput` says what is wrong with it. Duplicate keys and NaN are refused."""
    parsed = _object(body)
    model, messages, stream = parsed.get("model"), parsed.get("messages"), parsed.get("stream")
    stream = False if stream is None else stream
    if not isinstance(model, str) or not 0 < len(model) <= MAX_NAME:
        raise InvalidInput(
            f"`model` must be text of 1 to {MAX_NAME} characters",
            hint="name the approved model, the use case, or `default`",
        )
    if not isinstance(stream, bool):
        raise InvalidInput("`stream` must be true or false")
    if not isinstance(messages, list) or not messages or len(messages) > MAX_MESSAGES:
        raise InvalidInput(f"`messages` must be a list of 1 to {MAX_MESSAGES} messages")
    if not all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in messages):
        raise InvalidInput("every message must be an object with a `role`")
    question = next((text_of(m) for m in reversed(messages) if m["role"] == "user"), "")
    return Request(parsed, model, stream, question)


def entry(trace: Trace, kind: str, ended: int, sealed: dict[str, Value]) -> bytes:
    """Write the record of a call as the exact bytes that are hashed. Content itself is not in it, only digests."""
    reasons: list[Value] = [[control, why, fix] for control, why, fix in trace.reasons]
    return canonical(
        {
            "v": 1,
            "id": trace.id,
            "kind": kind,
            "use_case": trace.subject,
            "key": trace.key,
            "route": trace.route,
            "started": rfc3339(trace.started),
            "ended": rfc3339(ended),
            "tier": trace.tier,
            "release": trace.release,
            "rung": trace.rung,
            "model": trace.model,
            "upstream": trace.upstream,
            "prompt": trace.prompt,
            "index": trace.index,
            "passages": list(trace.passages),
            "verdict": trace.verdict,
            "status": trace.status,
            "reasons": reasons,
            "findings": [f"{what} × {n}" if n > 1 else what for what, n in Counter(trace.findings).items()],
            "request_sha256": trace.request_sha256,
            "answer_sha256": sha256(trace.answer.encode()),
            "tokens_in": trace.tokens_in,
            "tokens_out": trace.tokens_out,
            "grounded_permille": trace.grounded,
            "unanswered": int(trace.unanswered),
            "sampled": int(trace.sampled),
            "error": trace.error,
            "content": sealed,
        }
    )


def sha256(data: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(data).hexdigest()


def error_body(
    message: str, code: str, reasons: Sequence[tuple[str, str, str]] = (), call_id: str = ""
) -> dict[str, Any]:
    """Return an error in OpenAI's shape; reasons and their fixes are added beside it."""
    kind = "invalid_request_error" if code in {"invalid-input", "request-too-large"} else "bedplate_error"
    error: dict[str, Any] = {"message": message, "type": kind, "param": None, "code": code}
    if reasons:
        error["reasons"] = [{"control": c, "reason": r, "fix": f} for c, r, f in reasons]
    if call_id:
        error["call_id"] = call_id
    return {"error": error}


def _object(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_BODY:
        raise InvalidInput(f"the body is larger than {MAX_BODY} bytes", code="request-too-large")
    try:
        parsed = json.loads(body, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        json.dumps(parsed, ensure_ascii=False).encode()  # a lone surrogate would break upstream
    except RecursionError:
        raise InvalidInput("the body is nested too deeply") from None
    except UnicodeEncodeError:
        raise InvalidInput("the body holds text that is not valid Unicode") from None
    except ValueError as wrong:
        raise InvalidInput(f"the body is not JSON: {wrong}") from None
    if not isinstance(parsed, dict):
        raise InvalidInput("the body must be a JSON object")
    if _too_deep(parsed):
        raise InvalidInput("the body is nested too deeply")
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is beyond what a JSON number can be")
    return value


def _too_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
