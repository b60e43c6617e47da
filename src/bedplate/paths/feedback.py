"""The feedback desk: puts on record what is said of calls, opens an incident for harm, and makes eval cases."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedplate.errors import Conflict, InvalidInput, NotFound, Unauthenticated, Unavailable
from bedplate.gateway.governance import READ_CONTENT
from bedplate.gateway.views import filed
from bedplate.incidents.actions import Happening, open_incident
from bedplate.incidents.views import incidents
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import SECOND
from bedplate.kernel.decision import Allow, Deny
from bedplate.kernel.event import canonical
from bedplate.kernel.governor import denied
from bedplate.models.actions import propose_case
from bedplate.models.feedback import (
    GIVEN,
    About,
    Draft,
    Said,
    case_id,
    checked,
    entry,
    expects,
    question_of,
    repeats,
)
from bedplate.models.governance import GIVE_FEEDBACK, PROPOSE_CASE
from bedplate.models.views import proposed_cases
from bedplate.people.account import digest, matches
from bedplate.store.record import Record

from .pace import Pace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

    from bedplate.gateway.snapshot import Follower, Key
    from bedplate.gateway.views import Call, Calls
    from bedplate.kernel.action import Action
    from bedplate.kernel.clock import Clock
    from bedplate.kernel.event import Value
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.identity import Identities
    from bedplate.store.journal import Journal
    from bedplate.store.vault import Vault

log = logging.getLogger(__name__)
MAX_OF_CALL = 50  # records about one call
MAX_OPEN = 20  # incidents that reports of harm hold open at once: by then the use case is off
STALE = 30 * SECOND  # how old the standing may be when a key is looked up: the longest lease of the template


@dataclass(frozen=True, slots=True)
class Parts:
    """What the desk works with; the composition root hands it over."""

    engine: Engine
    governor: Governor
    follower: Follower
    calls: Calls
    journal: Journal
    vault: Vault
    clock: Clock
    identities: Identities


@dataclass(frozen=True, slots=True)
class Giver:
    """Who speaks: a person, who needs the permission, or a use case's key, which speaks of its own calls only."""

    name: str  # person/ID or key/ID
    subject: str = ""  # the only use case it may speak of; "" for a person

    @property
    def person(self) -> str:
        """The person's id, "" for a key."""
        sort, _, name = self.name.partition("/")
        return name if sort == "person" else ""


@dataclass(frozen=True, slots=True)
class Given:
    """What came of it. `incident` is that which a report of harm opened, or joined; "" otherwise."""

    id: str
    call: str
    incident: str
    again: bool  # it was on record already


class Desk:
    """Takes feedback. One for an installation; its methods wait for the disk, so call them from a thread."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._pace = Pace(parts.clock)
        self._opening = threading.Lock()  # two reports of one call at one moment are one incident

    def key(self, secret: str) -> Giver:
        """Return who a use case's key speaks for; `Unauthenticated` for one that is unknown or has ended."""
        if self._p.follower.age > STALE:
            raise Unavailable("keys cannot be checked now", hint="the database does not answer this process")
        found: Key | None = self._p.follower.snapshot.keys.get(digest(secret))
        if found is None or not matches(secret, found.digest):
            raise Unauthenticated("this key is not known here", hint="have one issued: bedplate key issue USE-CASE")
        if found.revoked or self._p.clock() >= found.expires:
            raise Unauthenticated("this key has ended", hint="have another issued: bedplate key issue USE-CASE")
        return Giver(f"key/{found.id}", found.subject)

    def give(self, giver: Giver, call_id: str, said: Said, request: str = "") -> Given:
        """Put feedback on record, durably; with `request`, a UUIDv7 of the client's, once however often it is sent."""
        about = self._about(giver, call_id)
        if giver.person:
            self._must(giver.person, GIVE_FEEDBACK, about.subject)
        self._pace.take(giver.name)
        before = self._before(request, about, said, giver) if request else None
        if before is not None:
            return Given(request, call_id, self._incident(before, about, said, giver), again=True)
        if len(self._p.calls.feedback(call_id)) >= MAX_OF_CALL:
            raise Conflict(f"call {call_id} has {MAX_OF_CALL} records of feedback already", code="enough-said")
        feedback_id = request or self._p.identities.next()
        again = False
        try:
            self._append(feedback_id, about, said, giver)
        except Conflict:
            if self._before(feedback_id, about, said, giver) is None:
                raise
            again = True  # the same request at the same moment came first
        record = self._p.calls.said(feedback_id)
        return Given(feedback_id, call_id, self._incident(record, about, said, giver), again=again)

    def content(self, person: str, record: Call) -> dict[str, Any] | None:
        """Return comment, correction and pseudonym to those who may read content; None to others, or if erased."""
        _, verdict = self._p.governor.judge(person, READ_CONTENT, record.entry["use_case"])
        return self._p.calls.content(record.id) if isinstance(verdict, Allow) else None

    def propose(self, person: str, feedback_id: str, contains: str = "", *, unanswered: bool = False) -> Draft:
        """Make an eval case of feedback and put it among those that wait; returns it.

        What the answer must hold is said by the correction, or here: then it is put on record as one, by this person.
        """
        if contains and unanswered:
            raise InvalidInput("either the answer must hold something, or there must be none", hint="name one of two")
        record = self._p.calls.said(feedback_id)
        subject, call = record.entry["use_case"], self._p.calls.get(record.entry["call"])
        for action in (READ_CONTENT, PROPOSE_CASE):
            self._must(person, action, subject)
        if contains:
            said, giver = checked("correction", contains), Giver(f"person/{person}")
            record = self._p.calls.said(self.give(giver, call.id, said, self._earlier(call.id, said, giver)).id)
        sort, value = record.entry["feedback"], record.entry["value"]
        expect = expects(sort, value, call.entry, unanswered=unanswered)
        row = {"case": case_id(record.id), "feedback": record.id, "call": call.id, "expect": expect}
        draft = self._draft(row)
        if all(known["case"] != draft.id for known in proposed_cases(self._p.engine, subject)):
            propose_case(self._p.governor, person, subject, **row)
        return draft

    def pending(self, person: str, subject: str) -> tuple[list[Draft], int]:
        """Return the cases that wait to be put into the team's file, and how many of them cannot be read any more.

        A case waits until the newest evaluation has one of its id.
        """
        self._must(person, READ_CONTENT, subject)
        drafts, lost = [], 0
        for row in proposed_cases(self._p.engine, subject):
            try:
                drafts.append(self._draft(row))
            except NotFound:
                lost += 1  # what was asked was erased, and the case with it
        return drafts, lost

    def _about(self, giver: Giver, call_id: str) -> About:
        missing = NotFound(f"no call {call_id} is on record", hint="the id is in the header x-bedplate-call-id")
        try:
            _, row, _ = self._p.calls.find(call_id)
        except NotFound:
            raise missing from None
        told = json.loads(row.entry)
        mine = giver.subject in {"", told["use_case"]}  # of another use case's call not even that there is one
        if not mine or not row.kind.startswith("call.") or row.kind == "call.intent":
            raise missing
        return About(call_id, told["use_case"], row.leaf.hex(), told["release"])

    def _must(self, person: str, action: Action, subject: str) -> None:
        _, verdict = self._p.governor.judge(person, action, subject)
        if isinstance(verdict, Deny):
            raise denied(verdict)

    def _before(self, request: str, about: About, said: Said, giver: Giver) -> Call | None:
        try:
            _, row, _ = self._p.calls.find(request)
        except NotFound:
            return None
        same = row.kind == GIVEN and repeats(json.loads(row.entry), about, said, giver.name)
        if not same or self._p.calls.content(request) not in (None, said.content):
            raise Conflict(f"request {request} was used for something else")
        return self._p.calls.said(request)

    def _append(self, feedback_id: str, about: About, said: Said, giver: Giver) -> None:
        now, vault = self._p.clock(), self._p.vault
        told: dict[str, Value] = {}
        ciphertext = b""
        if said.content:
            sealed = vault.seal(feedback_id, json.dumps(said.content, ensure_ascii=False).encode())
            told = {"ct": sealed.ct, "commitment": sealed.commitment, "kid": sealed.kid}
            ciphertext = sealed.ciphertext
        self._p.journal.append_sync(
            Record(
                id=feedback_id,
                entry=entry(feedback_id, about, said, giver.name, now, told),
                at=now,
                use_case=filed(about.subject),
                kind=GIVEN,
                verdict=said.sort,
                status=said.word or "given",
                content=ciphertext,
            )
        )

    def _incident(self, record: Call, about: About, said: Said, giver: Giver) -> str:
        """Open an incident for harm, by the system: whoever may speak of a call is heard, whatever their seats."""
        if said.sort != "harm":
            return ""
        with self._opening:
            return self._opened(record, about, said, giver)

    def _opened(self, record: Call, about: About, said: Said, giver: Giver) -> str:
        cause = f"call/{about.call}"
        known = incidents(self._p.engine, about.subject, limit=1_000)
        mine = [i for i in known if i["cause"] == cause and (not i["closed_at"] or i["opened_at"] >= record.at)]
        by_call = [i for i in known if i["cause"].startswith("call/") and not i["closed_at"]]
        if mine or len(by_call) >= MAX_OPEN:
            return str((mine or by_call)[0]["id"])
        frozen = {
            "feedback": {"id": record.id, "shard": record.shard, "seq": record.seq, "leaf": record.leaf},
            "call": {"id": about.call, "leaf": about.leaf},
            "release": about.release,
            "value": said.word,
            "giver": giver.name,
        }
        title = f"harm reported of a call{f': {said.word}' if said.word else ''}"
        what = Happening(about.subject, title, cause, "harm", canonical(frozen))
        opened = open_incident(self._p.governor, SYSTEM, what)
        self._p.follower.look()
        log.warning("feedback.harm", extra={"use_case": about.subject, "call": about.call, "incident": opened})
        return opened

    def _draft(self, row: Mapping[str, Any]) -> Draft:
        """Read a case from what is sealed about its call; `NotFound` once that is gone."""
        content = self._p.calls.content(row["call"])
        if content is None:
            raise NotFound(f"what was asked in call {row['call']} was not kept, or is erased")
        record = self._p.calls.said(row["feedback"])
        contains: tuple[str, ...] = ()
        if row["expect"] == "contains":
            said = self._p.calls.content(record.id)
            if said is None:
                raise NotFound(f"what was said in feedback {record.id} is erased")
            contains = (str(said["correction"]),)
        about = f"{record.entry['feedback']} {record.entry['value']}".strip()
        return Draft(row["case"], question_of(content), contains, f"{about} about call {row['call']}")

    def _earlier(self, call_id: str, said: Said, giver: Giver) -> str:
        """Return the id under which this giver said the same of this call before; "" if there is none."""
        for known in self._p.calls.feedback(call_id):
            same = known.entry["feedback"] == said.sort and known.entry["giver"] == giver.name
            if same and self._p.calls.content(known.id) == said.content:
                return known.id
        return ""
