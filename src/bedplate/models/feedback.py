"""Feedback: what somebody says of a call's answer, as a record of its own, and as an eval case."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from bedplate.errors import InvalidInput, NotFound
from bedplate.kernel.clock import rfc3339
from bedplate.kernel.event import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bedplate.kernel.event import Value

Sort = Literal["thumb", "label", "correction", "harm"]
SORTS: tuple[Sort, ...] = get_args(Sort)
THUMBS = ("up", "down")
GIVEN = "feedback.given"  # the kind of its records
MAX_COMMENT = 4_000  # characters
MAX_CORRECTION = 4_000  # what an eval case may expect
MAX_BY = 200
_WORD = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_UNPRINTED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says. `value` is a thumb, a word, or the right answer; `by` the end user's pseudonym.

    `comment`, `by` and a correction may hold what has to be erased one day: they are sealed, never in the entry.
    """

    sort: Sort
    value: str = ""
    comment: str = ""
    by: str = ""

    @property
    def word(self) -> str:
        """What of `value` may stand in a record for ever."""
        return "" if self.sort == "correction" else self.value

    @property
    def content(self) -> dict[str, str]:
        """What is sealed, without what was left out."""
        correction = self.value if self.sort == "correction" else ""
        told = {"correction": correction, "comment": self.comment, "by": self.by}
        return {name: text for name, text in told.items() if text}


@dataclass(frozen=True, slots=True)
class About:
    """The call that is spoken of, as it is on record. `leaf` is its hash in the journal, hex."""

    call: str
    subject: str
    leaf: str
    release: str


def checked(sort: str, value: str = "", comment: str = "", by: str = "") -> Said:
    """Take what was sent; `InvalidInput` says what it should have been."""
    if sort not in SORTS:
        raise InvalidInput(f"there is no feedback {sort[:40]!r}", hint=f"kinds: {', '.join(SORTS)}")
    for name, text, most in (("comment", comment, MAX_COMMENT), ("by", by, MAX_BY)):
        if len(text) > most:
            raise InvalidInput(f"`{name}` has {len(text)} characters; {most} are allowed")
    if sort == "thumb" and value not in THUMBS:
        raise InvalidInput("a thumb's `value` is up or down")
    if sort == "correction" and not (value.strip() and len(value) <= MAX_CORRECTION):
        raise InvalidInput(f"a correction's `value` is the right answer, of 1 to {MAX_CORRECTION} characters")
    if (sort == "label" or (sort == "harm" and value)) and not _WORD.fullmatch(value):
        raise InvalidInput(
            f"a {sort}'s `value` is one word of small letters, digits and hyphens",
            hint="it stays on record; what may have to be erased belongs into `comment`",
        )
    try:
        (value + comment + by).encode()
    except UnicodeEncodeError:
        raise InvalidInput("this is not valid Unicode", hint="remove lone surrogates") from None
    return Said(sort, value, comment, by)


def entry(feedback_id: str, about: About, said: Said, giver: str, now: int, sealed: Mapping[str, Value]) -> bytes:
    """Write the record of feedback as the exact bytes that are hashed. It names its call by id and by leaf."""
    return canonical(
        {
            "v": 1,
            "id": feedback_id,
            "kind": GIVEN,
            "use_case": about.subject,
            "call": about.call,
            "leaf": about.leaf,
            "release": about.release,
            "feedback": said.sort,
            "value": said.word,
            "giver": giver,
            "given": rfc3339(now),
            "content": dict(sealed),
        }
    )


def repeats(known: Mapping[str, Any], about: About, said: Said, giver: str) -> bool:
    """Tell whether a record that is there says the same, as far as its entry can tell."""
    wanted = {"kind": GIVEN, "call": about.call, "feedback": said.sort, "value": said.word, "giver": giver}
    return all(known.get(name) == value for name, value in wanted.items())


# As an eval case


@dataclass(frozen=True, slots=True)
class Draft:
    """An eval case made from feedback. Either `contains` is what an answer must say, or it must stay unanswered."""

    id: str
    question: str
    contains: tuple[str, ...]
    why: str

    def plain(self) -> dict[str, Any]:
        """Return it as a case of a suite."""
        expect = {"contains": list(self.contains)} if self.contains else {"unanswered": True}
        return {"id": self.id, "question": self.question, "expect": expect}


def case_id(feedback_id: str) -> str:
    """Return the id of the case that feedback leads to; it says where the case came from."""
    return f"feedback-{feedback_id}"


def expects(sort: str, value: str, call: Mapping[str, Any], *, unanswered: bool) -> Literal["contains", "unanswered"]:
    """Say what a case made from this feedback expects; `InvalidInput` where nobody has said it yet.

    A correction says what an answer must hold. A thumb down on an answer that its sources do not bear out says that
    there was nothing to answer; on any other it says only that the answer was wrong.
    """
    if sort == "correction" and not unanswered:
        return "contains"
    if sort not in {"correction", "thumb", "harm"} or value == "up":
        raise InvalidInput("only a correction, a thumb down or harm becomes an eval case")
    if unanswered or (not call.get("unanswered") and int(call.get("grounded_permille", 1000)) == 0):
        return "unanswered"
    raise InvalidInput(
        "nobody has said yet what the right answer is",
        hint="say what it must hold (--contains TEXT), or that it should have declined (--unanswered)",
    )


def question_of(content: Mapping[str, Any]) -> str:
    """Return the last thing the user said in a call; `NotFound` if that was no text."""
    told = content.get("messages", content.get("input", ""))
    if isinstance(told, str):
        found = [told]
    else:
        found = [_text(m.get("content")) for m in told if isinstance(m, dict) and m.get("role") == "user"]
    question = next((text for text in reversed(found) if text.strip()), "")
    if not question:
        raise NotFound("the call holds no question in words")
    return question


def yaml_of(drafts: Iterable[Draft]) -> str:
    """Write cases as YAML to be put under `cases:` of the team's own file; "" for none."""
    lines: list[str] = []
    for draft in drafts:
        expect = f"{{contains: {_quoted(draft.contains)}}}" if draft.contains else "{unanswered: true}"
        lines += [f"  # {' '.join(draft.why.split())}", f"  - id: {draft.id}"]
        lines += [f"    question: {_scalar(draft.question)}", f"    expect: {expect}"]
    return "\n".join(lines) + "\n" if lines else ""


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(p["text"] for p in parts if isinstance(p, dict) and isinstance(p.get("text"), str))


def _quoted(texts: Sequence[str]) -> str:
    return "[" + ", ".join(map(_scalar, texts)) + "]"


def _scalar(text: str) -> str:
    """Write text as a quoted scalar: JSON's form is YAML's, but for characters that YAML does not print."""
    written = json.dumps(text, ensure_ascii=False)
    return _UNPRINTED.sub(lambda m: f"\\u{ord(m[0]):04x}", written)
