"""Guardrails of others: a function of an installed package, Presidio, or a safety model behind an OpenAI endpoint.

They are named `x:NAME` in a policy. One that cannot be asked, or raises, has found what its kind is there to find.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from bedplate.errors import InvalidInput

from .judge import Judge
from .presidio import NAMES, presidio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .detect import Found

GROUP = "bedplate.guardrails"
UNCHECKED = "could not be checked"
NEEDED = frozenset({"url", "model"})
KNOWN = NEEDED | {"key_env", "timeout_ms"}
TIMEOUT_MS = 5_000
MOST_BYTES = 64 << 10


def plugged(kind: str) -> Judge:
    """Return a guardrail that an installed package offers as an entry point of the group `bedplate.guardrails`.

    It is a callable from a text to (label, start, end). Presidio's are `presidio` and `presidio-patterns`.
    """
    name = kind.partition(":")[2]
    if name in NAMES:
        return Judge(kind, _guarded(kind, _loaded(kind, lambda: presidio(name))), places=True)
    offered = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in offered:
        raise InvalidInput(
            f"guardrail {kind}: no installed package offers it",
            hint=f"install the package with the entry point {name!r} of {GROUP}, or define it under guardrails.http",
        )
    return Judge(kind, _guarded(kind, _loaded(kind, offered[name].load)), places=True)


def _loaded(kind: str, load: Callable[[], Callable[[str], Iterable[Found]]]) -> Callable[[str], Iterable[Found]]:
    """Load what finds; whatever is wrong with a package of others is the fault of the release that names it."""
    try:
        return load()
    except InvalidInput:
        raise
    except Exception as broken:
        raise InvalidInput(
            f"guardrail {kind}: it cannot be loaded: {type(broken).__name__} {broken}",
            hint="mend the installed package, or leave it out",
        ) from broken


def _guarded(kind: str, ask: Callable[[str], Iterable[Found]]) -> Callable[[str], list[Found]]:
    def find(text: str) -> list[Found]:
        try:
            found = [(str(label), int(start), int(end)) for label, start, end in ask(text)]
        except Exception:  # noqa: BLE001  whatever it raises, nobody has checked the text
            return [(f"{kind} {UNCHECKED}", 0, len(text))]
        if any(not 0 <= start <= end <= len(text) for _, start, end in found):
            return [(f"{kind} {UNCHECKED}", 0, len(text))]
        return found

    return find


@dataclass(frozen=True, slots=True)
class SafetyModel:
    """A model that answers "safe", or "unsafe" and the codes of what is wrong, as Llama Guard does.

    It is asked by `POST {url}/chat/completions` with the text as what a user says. `key_env` names the variable of the
    environment that holds its key; the key itself is never written down.
    """

    kind: str
    url: str
    model: str
    key_env: str = ""
    timeout_ms: int = TIMEOUT_MS

    async def find(self, text: str) -> list[Found]:
        """Ask about a text; whatever goes wrong is a finding of its own."""
        try:
            label = await asyncio.wait_for(asyncio.to_thread(self._ask, text), 2 * self.timeout_ms / 1000)
        except Exception:  # noqa: BLE001  whatever went wrong, nobody has checked the text
            label = f"{self.kind} {UNCHECKED}"
        return [(label, 0, len(text))] if label else []

    def _ask(self, text: str) -> str:
        headers = {"content-type": "application/json"}
        if self.key_env:
            headers["authorization"] = f"Bearer {os.environ[self.key_env]}"
        asked = {"model": self.model, "messages": [{"role": "user", "content": text}], "temperature": 0}
        answer = _pool().request(
            "POST",
            self.url.rstrip("/") + "/chat/completions",
            body=json.dumps(asked).encode(),
            headers=headers,
            timeout=self.timeout_ms / 1000,
            preload_content=False,
        )
        content = answer.read(MOST_BYTES)
        if answer.length_remaining == 0:
            answer.release_conn()
        else:
            answer.close()
        if answer.status != 200:  # noqa: PLR2004  the one with an answer
            raise OSError(f"{self.url} answered {answer.status}")
        said = json.loads(content)
        first, *codes = said["choices"][0]["message"]["content"].replace(",", " ").split()
        if first.lower() not in {"safe", "unsafe"}:
            raise ValueError(first)
        return "" if first.lower() == "safe" else " ".join(["unsafe", *codes[:5]])[:80]


@cache
def _pool() -> Any:  # noqa: ANN401  urllib3's pool, imported where it is used
    return import_module("urllib3").PoolManager(retries=False, maxsize=16)


def asked(kind: str, defined: Mapping[str, Any]) -> SafetyModel:
    """Return the guardrail that the operating model defines for a kind; `InvalidInput` if it is not well defined."""
    wrong = sorted(set(defined) ^ KNOWN) if not NEEDED <= set(defined) <= KNOWN else []
    if wrong or not str(defined["url"]).startswith(("https://", "http://")):
        raise InvalidInput(
            f"guardrail {kind}: it needs a url (http or https) and a model",
            hint=f"known: {', '.join(sorted(KNOWN))}",
        )
    return SafetyModel(
        kind,
        str(defined["url"]),
        str(defined["model"]),
        str(defined.get("key_env", "")),
        int(defined.get("timeout_ms", TIMEOUT_MS)),
    )
