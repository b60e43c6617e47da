"""What the server says about a tool call, and what of a call and its result it is told."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from bedplate.errors import BedplateError, Denied, InvalidInput, NeedsApproval

Json = dict[str, Any]
UNKNOWN = "outcome-known"  # the control that says: nobody knows what became of this step
MAX_NAME = 200  # characters the server takes for a name
MAX_RESULT = 2 << 20  # bytes of a result that are kept to be returned again


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the server said about a tool call. `arguments` are those to use: an approver may have changed them."""

    verdict: Literal["allow", "deny", "ask"]
    action: str  # its id, and what to pass on as idempotency key
    run: str
    tool: str
    arguments: Json
    state: str
    step: int = 0
    tier: int = 0
    rung: str = ""
    reasons: tuple[tuple[str, str, str], ...] = ()  # control, why, fix
    approval: str = ""
    edited: bool = False
    tainted: tuple[Json, ...] = ()
    replayed: bool = False  # it was done before: `result` is what came of it, and nothing is to be done
    result: Any = None
    dry_run: bool = False
    wait_s: int = 0  # when to ask again, while it waits

    @classmethod
    def of(cls, told: Json) -> Ruling:
        """Read a ruling; fields of a newer server are left out."""
        known = {f.name: told[f.name] for f in dataclasses.fields(cls) if f.name in told}
        known["reasons"] = tuple((r["control"], r["why"], r["fix"]) for r in told.get("reasons", ()))
        known["tainted"] = tuple(told.get("tainted", ()))
        return cls(**known)

    @property
    def unknown(self) -> bool:
        """Whether it is refused because nobody knows if it was done already."""
        return self.verdict == "deny" and any(control == UNKNOWN for control, _, _ in self.reasons)

    @property
    def in_hand(self) -> bool:
        """Whether it waits for whoever is doing it, or died with it."""
        return self.verdict == "ask" and self.state == "intended"

    @property
    def why(self) -> str:
        """The reasons and what to do about them, in one line, for a model as for a person."""
        said = "; ".join(f"{why} ({control}). What to do: {fix}" for control, why, fix in self.reasons)
        return said or f"the verdict was {self.verdict}"

    @property
    def told(self) -> str:
        """What a model is told in place of a result."""
        if self.verdict == "deny":
            return f"Not done, because it was refused: {self.why}"
        if self.state == "error":
            return f"It failed: {self.result}" if self.result else "It failed, or was not done"
        if self.result is None:
            return "It was done"  # as a person said who looked, or by a tool that returns nothing
        return self.result if isinstance(self.result, str) else json.dumps(self.result)

    def parked(self) -> Json:
        """Describe what it waits for, in JSON, for whatever keeps the run meanwhile."""
        return {
            "approval": self.approval, "action": self.action, "run": self.run, "tool": self.tool,
            "arguments": self.arguments, "wait_s": self.wait_s, "why": self.why,
        }  # fmt: skip


class Refused(Denied):
    """The tool may not be called like this. `reasons` say why and what to do; `ruling` is all that was said."""

    def __init__(self, ruling: Ruling) -> None:
        hint = "; ".join(fix for _, _, fix in ruling.reasons)
        why = "; ".join(why for _, why, _ in ruling.reasons)
        super().__init__(f"{ruling.tool} was refused: {why}", hint=hint, reasons=ruling.reasons)
        self.ruling = ruling


class Parked(NeedsApproval):
    """It waits: for people (`approval`), or for whoever is doing it. Ask again, with the same key, after `wait_s`."""

    def __init__(self, ruling: Ruling) -> None:
        super().__init__(
            f"{ruling.tool} waits: {'; '.join(why for _, why, _ in ruling.reasons)}",
            approval=ruling.approval,
            hint=f"make the same call again in {ruling.wait_s} s or later",
        )
        self.wait_s = ruling.wait_s
        self.ruling = ruling


class Failed(BedplateError):
    """The step was carried out before, and failed; it is not carried out again. `ruling.result` says how."""

    code = "failed-before"

    def __init__(self, ruling: Ruling) -> None:
        super().__init__(f"{ruling.tool}: {ruling.told}", hint="a new try is a new step, with its own key")
        self.ruling = ruling


def name_of(*parts: str) -> str:
    """Join parts to the name of a run or a step; hashed where it would be too long, or not printable."""
    joined = "/".join(parts)
    if len(joined) <= MAX_NAME and joined.isprintable():
        return joined
    return f"{''.join(c for c in joined[:100] if c.isprintable())}~{sha256(joined.encode()).hexdigest()}"


def merged(given: Json, ruling: Ruling) -> Json:
    """Return what to call a tool with: what was given, as it was, but for what the ruling changed."""
    sent = plain(given)
    return {name: given[name] if name in sent and sent[name] == v else v for name, v in ruling.arguments.items()}


def plain(value: Any) -> Any:  # noqa: ANN401  JSON
    """Turn a value into JSON: what is none of its own becomes its fields, or its text."""
    try:
        return json.loads(json.dumps(value, default=_plainer, allow_nan=False))
    except (TypeError, ValueError) as wrong:
        raise InvalidInput(
            f"this cannot be sent as JSON: {wrong}", hint="use texts, finite numbers, lists, dicts"
        ) from None


def bounded(value: Any) -> Any:  # noqa: ANN401  JSON
    """Return a result, or what is kept of one that is too large."""
    text = json.dumps(value)
    if len(text) <= MAX_RESULT:
        return value
    return {
        "truncated": True,
        "bytes": len(text),
        "text": (value if isinstance(value, str) else text)[: MAX_RESULT // 2],
    }


def _plainer(value: Any) -> Any:  # noqa: ANN401  JSON, or nearer to it
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    return str(value)
