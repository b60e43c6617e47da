"""What an answer has to be changed in before it goes out, and what it must not go out for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .finding import redact
from .texts import slots, unspelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .dialect import Body
    from .finding import Guarded
    from .guardrail import Guard

MAX_NAMED = 500  # characters of what is found, as an approval names it


class Change(NamedTuple):
    """What became of a whole answer: whether a text of it was changed, and the labels that it is stopped for."""

    changed: bool = False
    stopping: Sequence[str] = ()
    findings: Sequence[str] = ()


class Judged(NamedTuple):
    """What was found in an answer as a whole. `blocked`: nobody's agreement could let it out."""

    stopping: Sequence[str] = ()
    findings: Sequence[str] = ()
    blocked: bool = False


def change(guard: Guard, body: Body) -> Change:
    """Change every text that has to be, in its place."""
    if guard.idle:
        return Change()
    found = slots(body)
    among = guard.suspects([slot.text for slot in found])
    if among is None:
        return Change()
    changed = False
    stopping: list[str] = []
    findings: list[str] = []
    for slot in found:
        guarded = guard.apply(slot.text, among)
        labels = [f.label for f in guarded.findings]
        findings += labels
        # Arguments are for a machine: they go as they are, or not at all.
        if guarded.blocked or guarded.asks or (slot.machine and guarded.text != slot.text):
            stopping += labels
        elif guarded.text != slot.text:
            slot.holder[slot.key] = guarded.text
            changed = True
    if changed:
        unspelled(body)
    return Change(changed, stopping, findings)


async def judge(guard: Guard, text: str) -> Guarded:
    """Judge a text as a whole, asking models where the policy says so."""
    return (await guard.apply_slow([text]))[0] if guard.slow else guard.apply(text)


async def judged(guard: Guard, answer: str) -> Judged:
    """Judge an answer as a whole; what cannot be changed in it any more stops it."""
    if guard.idle:
        return Judged()
    guarded = await judge(guard, answer)
    labels = [f.label for f in guarded.findings]
    hidden = [f for f in guarded.findings if guard.policy[f.kind] == "redact"]
    blocked = guarded.blocked or (bool(hidden) and redact(answer, hidden) != answer)
    return Judged(labels if blocked or guarded.asks else (), labels, blocked)


def withheld(labels: Sequence[str]) -> str:
    """Return what is said instead of an answer."""
    return "This answer was withheld: it held " + ", ".join(sorted(set(labels))) + "."
