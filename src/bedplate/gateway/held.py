"""An answer that a guardrail held: what people are asked about it, and what is kept of it meanwhile.

The question is an approval on the ledger, and names digests only. The answer itself is sealed with the content of the
call that it was made for, so that erasing the call's key erases it.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedplate.errors import NotFound, Tampered
from bedplate.kernel.clock import DAY

from .call import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.kernel.approval import Approval
    from bedplate.kernel.event import Value

CONTROL = "guardrail-output"
REMEMBERED = 30 * DAY  # how long a request is not made anew after what it was answered with was refused, or expired
MAX_KEPT = 16 << 20  # bytes: with its text and what was asked it has to fit into one record
ANEW = "send a request that differs: it is answered anew"
Question = tuple[str, str, str]  # the key, the protocol, and the SHA-256 of the request


@dataclass(frozen=True, slots=True)
class Held:
    """A held answer, as the approval about it says. Times in microseconds."""

    approval: str
    subject: str
    state: str
    asked_at: int
    expires: int
    facts: dict[str, Value]
    refusal: str = ""  # why, in the words of whoever refused

    @classmethod
    def of(cls, approval: Approval) -> Held:
        """Read it from its approval."""
        said = "; ".join(vote.reason for vote in approval.votes if not vote.yes and vote.reason)
        facts, asked = dict(approval.facts), approval.asked_at
        return cls(approval.id, approval.subject, approval.state, asked, approval.expires, facts, said)

    @property
    def question(self) -> Question:
        """What has to come again, exactly, to be answered with it."""
        return str(self.facts["key"]), str(self.facts["protocol"]), str(self.facts["request_sha256"])

    @property
    def call(self) -> str:
        """The call whose answer it is."""
        return str(self.facts["call"])

    def over(self, now: int) -> bool:
        """Tell whether the same request is a new one again."""
        return self.state not in {"asked", "granted", "refused", "expired"} or now > self.expires + REMEMBERED

    def granted(self, now: int) -> bool:
        """Tell whether people agreed, and it was not used yet."""
        return self.state == "granted" and now < self.expires

    def reason(self, now: int) -> tuple[str, str, str]:
        """Say why it does not go out now, and what to do."""
        if self.state == "asked" and now < self.expires:
            return waiting(str(self.facts["findings"]), self.approval)
        if self.state == "refused":
            why = f"people were asked ({self.approval}), and refused" + (f": {self.refusal}" if self.refusal else "")
            return CONTROL, why, ANEW
        return CONTROL, f"nobody used what people were asked ({self.approval}) in time: it has expired", ANEW


def waiting(findings: str, approval: str) -> tuple[str, str, str]:
    """Say that people are asked."""
    fix = f"have it agreed to ({approval}), then send exactly this again with the same key"
    return CONTROL, f"the answer holds {findings}: people must agree to it", fix


def sentence(reason: tuple[str, str, str]) -> str:
    """Say a reason and its fix to whoever reads the answer."""
    _, why, fix = reason
    return f"{why[:1].upper()}{why[1:]}; {fix}."


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a held answer: the bytes that go out if people agree, and its text, for them to read.

    `content` is the whole answer's body or all events of the stream. The fields after `grounded` are the call's.
    """

    content: bytes
    answer: str
    stream: bool
    unanswered: bool = False
    grounded: int = 1000
    release: str = ""
    model: str = ""
    passages: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """The digest that people agree to, hex."""
        return sha256(self.content)

    def sealed(self) -> dict[str, Any]:
        """Return what is sealed of it."""
        told = {"answer": self.answer, "stream": self.stream, "content": b64encode(self.content).decode()}
        return {**told, "unanswered": self.unanswered, "grounded": self.grounded}

    @classmethod
    def opened(cls, entry: Mapping[str, Any], content: Mapping[str, Any] | None) -> Kept:
        """Read it from a call's record; `NotFound` if it was erased or never kept, `Tampered` if it cannot be read."""
        if content is None or "held" not in content:
            raise NotFound("what was kept of it is gone")
        try:
            told = content["held"]
            return cls(
                b64decode(told["content"], validate=True),
                str(told["answer"]),
                bool(told["stream"]),
                bool(told["unanswered"]),
                int(told["grounded"]),
                str(entry["release"]),
                str(entry["model"]),
                tuple(map(str, entry["passages"])),
            )
        except (KeyError, TypeError, ValueError) as wrong:
            raise Tampered(f"what was kept of it cannot be read: {wrong}") from wrong
