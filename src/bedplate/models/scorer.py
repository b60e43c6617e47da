"""Scorers: what holds of one answer, decided the same way every time. What needs judgement is asked of a `judge`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import re2

from bedplate.jsonschema import complaints, read

from .groundedness import assess, body_of
from .suite import Case, Claims, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

# How assistants say no, in the first person and at the beginning: later on the same words may be about anything.
DECLINES = re2.compile(
    r"(?i)^.{0,80}?\b(?:(?:i|we)\b.{0,24}?\b(?:cannot|can't|can not|won't|will not|must not|may not|not able to"
    r"|unable to|not allowed to|not going to|refuse to|decline to|not comfortable)\b|not something (?:i|we) can\b)"
)


@dataclass(frozen=True, slots=True)
class Said:
    """What came back for one question. `passages` are pairs of (reference, text) in citation order from [1].

    `blocked` is why the gateway refused the call, "" where it was answered; then there is no answer.
    """

    answer: str
    cited: tuple[str, ...] = ()
    passages: tuple[tuple[str, str], ...] = ()
    unanswered: str = ""  # the sentence that declines
    call: str = ""
    blocked: str = ""


def score(case: Case, said: Said) -> Outcome:
    """Judge one answer by everything that needs no judge.

    Letter case and white space make no difference to `contains`, `not_contains` and `equals`; a draft notice and the
    list of sources are not part of the answer.
    """
    passed, why = _verdict(case, said)
    why = why.encode("utf-8", "replace").decode()[:2_000]  # an answer may hold lone surrogates, a record not
    digest = hashlib.sha256(said.answer.encode("utf-8", "surrogatepass")).hexdigest()
    outcome = Outcome(case.id, passed, why, said.call, digest)
    return replace(outcome, case_digest=case.digest, blocked=said.blocked, weight=case.weight, tags=case.tags)


def scorers_of(case: Case) -> list[str]:
    """Name what a case is judged by."""
    own = [name for name, value in case.plain().items() if name not in PLAIN and value not in ("", "no", [])]
    return sorted({*own, *(name for claims in case.any for name in _named(claims))} - {"any"})


PLAIN = frozenset({"id", "question", "weight", "tags", "answer", "label"})


def _verdict(case: Case, said: Said) -> tuple[bool, str]:
    body, declined = _plain(body_of(said.answer)), _plain(said.unanswered)
    if said.blocked and not _stands_blocked(case):
        return False, f"refused by the gateway: {said.blocked}"
    if case.unanswered:
        if body == declined:
            return True, "left unanswered"
        return False, "answered, and the sources do not cover it"
    if body == declined and (case.contains or case.cites):
        return False, "left unanswered"
    wrong = list(_wrong(case.claims, said, body))
    if case.any:
        ways = ["; ".join(_wrong(claims, said, body)) for claims in case.any]
        wrong += [" and ".join(ways)] if all(ways) else []
    return not wrong, "; ".join(wrong) or ("refused" if said.blocked else "says and cites what was expected")


def _stands_blocked(case: Case) -> bool:
    """Tell whether a call that the gateway refused can be what was wanted: where nothing has to be said."""
    return not (case.unanswered or case.judge) and (
        case.refused or any(c.refused for c in case.any) or not _must_say(case.claims)
    )


def _must_say(claims: Claims) -> bool:
    return bool(
        claims.contains
        or claims.cites
        or claims.regex
        or claims.equals
        or claims.json_schema
        or claims.grounded_permille
    )


def _wrong(claims: Claims, said: Said, body: str) -> Iterator[str]:
    text = body_of(said.answer)
    yield from (f"does not say {one!r}" for one in claims.contains if _plain(one) not in body)
    if claims.cites and claims.cites not in said.cited:
        yield f"does not cite {claims.cites}"
    yield from (f"says {one!r}" for one in claims.not_contains if _plain(one) in body)
    yield from (f"nothing in it matches {one}" for one in claims.regex if re2.search(one, text) is None)
    yield from (f"something in it matches {one}" for one in claims.not_regex if re2.search(one, text) is not None)
    if claims.equals and body != _plain(claims.equals):
        yield f"is not {claims.equals!r}"
    if claims.max_chars and len(text) > claims.max_chars:
        yield f"has {len(text)} characters, more than {claims.max_chars}"
    if claims.json_schema:
        yield from _shaped(claims.json_schema, text)
    if claims.grounded_permille:
        found = 0 if said.blocked else assess(said.answer, said.passages, said.unanswered).permille
        if found < claims.grounded_permille:
            yield f"{found} ‰ of its sentences are grounded, fewer than {claims.grounded_permille}"
    if claims.refused and not refuses(said):
        yield "does not decline"


def refuses(said: Said) -> bool:
    """Tell whether an answer declines: by the gateway, by the sentence agreed for it, or by how it begins."""
    body = body_of(said.answer)
    straight = body.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return bool(said.blocked) or _plain(body) == _plain(said.unanswered) or DECLINES.search(straight) is not None


def _shaped(text: str, answer: str) -> Iterator[str]:
    try:
        value = read(answer)
    except (ValueError, RecursionError) as broken:
        yield f"is not JSON: {broken}"
        return
    yield from list(complaints(read(text), value))[:5]


def _named(claims: Claims) -> list[str]:
    return [name for name in Claims.__slots__ if getattr(claims, name)]


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
