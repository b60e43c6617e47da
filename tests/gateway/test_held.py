"""An answer that a guardrail holds: kept sealed, and handed out once, to whom it belongs, when people agreed to it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import apsw
import pytest
from tests import served

from bedplate.bootstrap import open_governor, open_installation, open_ledger, wall_clock
from bedplate.config import Settings
from bedplate.errors import Conflict, NeedsApproval, Unavailable
from bedplate.gateway.actions import give_held, issue_key
from bedplate.gateway.dialect import Said
from bedplate.gateway.dialects import CHAT, MESSAGES, RESPONSES
from bedplate.gateway.door import Door
from bedplate.gateway.held import MAX_KEPT, REMEMBERED
from bedplate.gateway.session import DRAFT
from bedplate.gateway.upstream import Asked, Flow, Reply, Spoken, UpstreamFailed
from bedplate.incidents.actions import suspend
from bedplate.kernel.clock import DAY
from bedplate.kernel.standing import Rung
from bedplate.people.actions import sign_in
from bedplate.releases.actions import go_live
from bedplate.testing import switchboard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.conftest import House
    from tests.served import Harbour

    from bedplate.gateway.dialect import Dialect
    from bedplate.gateway.session import Answer
    from bedplate.gateway.views import Call
    from bedplate.installation import Installation

MAIL = "jo@harbour.example"
TEXT = f"Write to {MAIL} about it, she knows."
KEY, OTHER = "bpk_0123456789ab_good", "bpk_ba9876543210_other"
SECRET = "sk-proj4f8Jd02mXq7PzLw91Tnb"
ASKS = {"input": {}, "output": {"personal-data": "ask", "secrets": "redact"}, "max_prompt_chars": 40_000}
SPOKEN = [CHAT, RESPONSES, MESSAGES]
NAMED = re.compile(r"approval/[0-9a-f-]{36}")


class Verbatim:
    """Implements `Upstream`: says one text in bytes that nobody would write so by chance. `seen`: what it was asked."""

    name = "verbatim"

    def __init__(self, text: str = TEXT) -> None:
        self.text = text
        self.cut = False
        self.seen: list[Asked] = []

    def whole(self, dialect: Dialect) -> bytes:
        body = dialect.whole(_said(self.text))
        usage = {"input_tokens": 5, "output_tokens": 7, "prompt_tokens": 5, "completion_tokens": 7}
        return json.dumps({**body, "usage": usage}, indent=1).encode()

    def events(self, dialect: Dialect) -> list[bytes]:
        *begun, last = re.findall(r"\S+\s*", self.text)
        if dialect is not CHAT:
            return dialect.stream(_said(self.text))
        said, ending, done = CHAT.stream(_said("{}"))
        words = [said.replace(b"{}", json.dumps(word)[1:-1].encode()) for word in [*begun, last]]
        return [b": a comment\n\n", *words, ending, done]

    async def ask(self, asked: Asked) -> Reply:
        self.seen.append(asked)
        return Reply(self.whole(asked.dialect))

    async def open(self, asked: Asked) -> Flow:
        self.seen.append(asked)
        events = self.events(asked.dialect)
        return Cut(events[:-2]) if self.cut else Spoken(events)

    async def close(self) -> None:
        pass


class Cut(Spoken):
    """A flow that breaks at its end."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in super().__aiter__():
            yield piece
        raise UpstreamFailed("the upstream stopped in the middle of its answer")


def _said(text: str) -> Said:
    return Said(text, "m", 1, "up")


@dataclass
class Site:
    """A real installation with one live use case whose guardrails ask, and an upstream that is scripted."""

    house: House
    data: Path
    subject: str = ""
    upstream: Verbatim = field(default_factory=Verbatim)

    def __post_init__(self) -> None:
        self.subject = self.house.accepted()
        self.go_live(ASKS)
        for text in (KEY, OTHER):
            named = {"key": text[4:16], "digest": hashlib.sha256(text.encode()).hexdigest(), "label": "tests"}
            issue_key(self.house.governor, "leo.fischer", self.subject, **named, days=300)
        self.begin()

    def go_live(self, guardrails: Mapping[str, Any], **changes: Any) -> None:
        prompt = hashlib.sha256(b"prompt").hexdigest()
        release = self.house.built(self.subject, guardrails=guardrails, prompt=prompt, **changes)
        house = self.house
        house.grant(house.asked(lambda: go_live(house.governor, "leo.fischer", self.subject, *release)))

    def begin(self) -> None:
        """Start the process, over what the one before it left."""
        self.at: Installation = open_installation(
            Settings(data=self.data, database=self.house.database.url), self.house.clock
        )
        upstreams = switchboard({"embedded": self.upstream})
        self.door = Door(replace(self.at.door.parts, switchboard=upstreams))

    def stands(self, **changes: Any) -> None:
        """Take the standing for another, until the ledger moves."""
        snapshot = self.at.follower.snapshot
        standing = replace(snapshot.standings[self.subject], **changes)
        self.at.follower.snapshot = replace(snapshot, standings={**snapshot.standings, self.subject: standing})

    def end(self) -> None:
        asyncio.run(self.at.close())

    async def call(self, dialect: Dialect = CHAT, key: str = KEY, text: str = "Who knows?", **more: Any) -> bytes:
        """Make a call; returns all bytes of its answer, which is in `self.answer` as well."""
        said = [{"role": "user", "content": text}]
        words: dict[str, dict[str, Any]] = {
            "messages": {"messages": said, "max_tokens": 99},
            "responses": {"input": text},
        }
        body = json.dumps({"model": "default", **words.get(dialect.name, {"messages": said}), **more}).encode()
        answer = await self.door.complete(key, body, dialect)
        self.answer: Answer = answer
        self.pieces: list[bytes] = []
        if answer.events is None:
            return answer.content or b""
        self.pieces = [piece async for piece in answer.events]
        return b"".join(self.pieces)

    def ask(self, dialect: Dialect = CHAT, key: str = KEY, text: str = "Who knows?", **more: Any) -> bytes:
        self.at.follower.look()
        return asyncio.run(self.call(dialect, key, text, **more))

    def held(self, dialect: Dialect = CHAT, **more: Any) -> str:
        """Have an answer held; returns the approval that it names."""
        (named,) = set(NAMED.findall(self.ask(dialect, **more).decode()))
        return str(named)

    def newest(self) -> Call:
        return self.at.calls.search(use_case=self.subject, limit=1)[0]

    @property
    def entry(self) -> dict[str, Any]:
        return self.newest().entry

    @property
    def counted(self) -> tuple[int, int]:
        spent = self.at.budgets.today(self.subject, self.house.clock())
        return spent.calls, spent.tokens


@pytest.fixture
def site(house: House, tmp_path: Path) -> Iterator[Site]:
    made = Site(house, tmp_path / "data")
    yield made
    made.end()


here = pytest.mark.parametrize("kind", ["sqlite"])  # what is looked at does not touch the database
ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
protocols = pytest.mark.parametrize("dialect", SPOKEN, ids=lambda d: d.name)


@protocols
@ways
def test_an_answer_is_held_and_handed_out_exactly_once_agreed(site: Site, dialect: Dialect, *, stream: bool) -> None:
    expected = b"".join(site.upstream.events(dialect)) if stream else site.upstream.whole(dialect)

    first = site.ask(dialect, stream=stream)

    (approval,) = set(NAMED.findall(first.decode()))
    assert MAIL not in first.decode()
    assert b"email address" in first
    assert site.answer.status == 200
    assert stream or dict(site.answer.headers)["x-bedplate-verdict"] == "ask"
    held = site.newest()
    told = held.entry
    assert (told["verdict"], told["status"], told["kind"]) == ("ask", "ok", "call.completed")
    assert approval in told["reasons"][0][2]
    found = site.at.approval(approval)
    assert dict(found.facts) == {
        "key": f"key/{KEY[4:16]}",
        "protocol": dialect.name,
        "request_sha256": told["request_sha256"],
        "call": held.id,
        "answer_sha256": hashlib.sha256(expected).hexdigest(),
        "findings": "email address",
    }
    plan = site.house.model.plan(1)
    assert plan is not None
    assert found.stages == plan.approvals["release"]
    _not_in_clear(site)

    again = site.ask(dialect, stream=stream)
    assert approval in again.decode()
    assert (site.entry["verdict"], site.entry["status"]) == ("ask", "refused")
    assert len(site.upstream.seen) == 1

    site.house.grant(approval)
    before = site.counted
    given = site.ask(dialect, stream=stream)

    assert given == expected
    assert dict(site.answer.headers)["x-bedplate-verdict"] == "allow"
    assert len(site.upstream.seen) == 1
    assert site.counted == before
    told, call = site.entry, site.newest()
    assert (told["answer_of"], told["verdict"], told["status"], told["attempts"]) == (held.id, "allow", "ok", 0)
    assert (told["tokens_in"], told["tokens_out"], told["cost_nano"]) == (0, 0, 0)
    assert told["answer_sha256"] == hashlib.sha256(TEXT.encode()).hexdigest()
    assert call.id == dict(site.answer.headers)["x-bedplate-call-id"] != held.id
    assert site.at.approval(approval).state == "spent"
    (event,) = site.house.events("gateway.answer.given")
    assert event.data == {**found.facts, "to": call.id}
    assert event.authz["approval"] == approval
    site.house.sound()
    _not_in_clear(site)


def _not_in_clear(site: Site) -> None:
    """Assert that no table, and no file of the journal, holds what was held."""
    site.at.vault.flush()
    with site.house.engine.connect() as connection:
        assert MAIL not in repr(site.house.ledger.projector.dump(connection))
    assert all(MAIL not in repr(event) for event in site.house.events())
    files = [path for path in site.data.rglob("*") if path.is_file()]
    clear = [MAIL.encode(), base64.b64encode(TEXT.encode())[:20]]
    assert files
    assert not [path for path in files for word in clear if word in path.read_bytes()]


@here
@ways
def test_what_is_redacted_anyway_is_redacted_in_what_is_kept(site: Site, *, stream: bool) -> None:
    site.upstream.text = f"Write to {MAIL} with {SECRET} today."
    site.house.grant(site.held(stream=stream))

    given = site.ask(stream=stream).decode()

    assert SECRET not in given
    spoken = given if not stream else "".join(_texts(site.pieces))
    assert MAIL in spoken
    assert "[redacted: API key]" in spoken


def _texts(pieces: Sequence[bytes]) -> Iterator[str]:
    for event in b"".join(pieces).split(b"\n\n"):
        if event.startswith(b"data: {"):
            for choice in json.loads(event[6:])["choices"]:
                yield choice["delta"].get("content") or ""


@here
@ways
@pytest.mark.parametrize("first", ["mail", "secret"])
def test_what_is_blocked_as_well_is_not_asked_about(site: Site, first: str, *, stream: bool) -> None:
    site.go_live({**ASKS, "output": {"personal-data": "ask", "secrets": "block"}})
    words = [f"Write to {MAIL}, the key is", f"{SECRET} and so it goes on."]
    site.upstream.text = " ".join(words if first == "mail" else reversed(words))

    said = site.ask(stream=stream).decode()

    assert "This answer was withheld" in said
    assert not NAMED.findall(said)
    assert MAIL not in said
    assert site.at.approvals("asked") == []
    assert site.entry["verdict"] == "allow"
    assert "held" not in (site.at.calls.content(site.newest().id) or {})


@here
def test_an_answer_judged_as_a_whole_is_held_too(site: Site) -> None:
    site.go_live({**ASKS, "output": {"length": "ask"}}, options={"max_answer_chars": 10})
    for stream in (False, True):
        site.house.grant(site.held(stream=stream))
        expected = b"".join(site.upstream.events(CHAT)) if stream else site.upstream.whole(CHAT)
        assert site.ask(stream=stream) == expected


@ways
def test_refused_stays_withheld_with_the_reason(site: Site, *, stream: bool) -> None:
    approval = site.held(stream=stream)
    site.house.vote("hanna.osei", approval, yes=False, reason="not hers to give")

    said = site.ask(stream=stream).decode()

    assert site.answer.status == 200
    assert "not hers to give" in said
    assert "send a request that differs" in said
    assert MAIL not in said
    assert (site.entry["verdict"], site.entry["status"]) == ("deny", "refused")
    assert len(site.upstream.seen) == 1


@here
@ways
@pytest.mark.parametrize("granted", [False, True])
def test_expired_stays_withheld_for_a_while(site: Site, *, stream: bool, granted: bool) -> None:
    approval = site.held(stream=stream)
    if granted:
        site.house.grant(approval)
    site.house.clock.now = site.at.approval(approval).expires
    for noted in (False, True):
        if noted:
            site.house.governor.expire()
        assert "has expired" in site.ask(stream=stream).decode()
        assert site.entry["verdict"] == "deny"
    assert len(site.upstream.seen) == 1

    site.house.clock.advance(REMEMBERED + DAY)
    assert site.held(stream=stream) != approval
    assert len(site.upstream.seen) == 2


def _erased(site: Site, call: str) -> None:
    assert site.at.vault.erase([call]) == 1


def _altered(site: Site, call: str) -> None:
    shard, row, _ = site.at.calls.find(call)
    other = bytes([*row.content[:-1], row.content[-1] ^ 1])
    with apsw.Connection(str(shard.path)) as db:
        db.execute("UPDATE rec SET content = ? WHERE id = ?", (other, call))


def _dropped(site: Site, call: str) -> None:
    shard, _, _ = site.at.calls.find(call)
    with apsw.Connection(str(shard.path)) as db:
        db.execute("UPDATE rec SET content = x'' WHERE id = ?", (call,))


def _gone(site: Site, _call: str) -> None:
    site.end()
    (site.data / "journal").rename(site.data / "elsewhere")
    site.begin()


@pytest.mark.parametrize("lose", [_erased, _altered, _dropped, _gone])
@ways
def test_what_was_kept_is_gone(site: Site, lose: Callable[[Site, str], None], *, stream: bool) -> None:
    approval = site.held(stream=stream)
    site.house.grant(approval)
    lose(site, site.newest().id)

    said = site.ask(stream=stream)

    assert site.answer.status == 403
    (reason,) = json.loads(said)["error"]["reasons"]
    assert reason["control"] == "guardrail-output"
    assert "cannot be handed out" in reason["reason"]
    assert "send a request that differs" in reason["fix"]
    assert MAIL not in said.decode()
    assert site.entry["verdict"] == "deny"
    assert site.at.approval(approval).state == "granted"
    assert len(site.upstream.seen) == 1


@here
def test_a_record_of_which_nothing_can_be_read_now_is_asked_for_again_later(site: Site) -> None:
    site.house.grant(site.held())

    async def away(_call: str) -> Any:
        raise Unavailable("the vault is in use")

    site.door = Door(replace(site.door.parts, kept=away))
    site.ask()
    assert site.answer.status == 503
    site.door = Door(replace(site.door.parts, kept=site.at.door.parts.kept))
    assert site.ask() == site.upstream.whole(CHAT)


def test_it_is_handed_out_once(site: Site) -> None:
    approval = site.held()
    site.house.grant(approval)
    assert site.ask() == site.upstream.whole(CHAT)

    assert site.held() not in {approval, ""}
    assert len(site.upstream.seen) == 2


OTHERS: dict[str, dict[str, Any]] = {
    "another key": {"key": OTHER},
    "another text": {"text": "Who knows ?"},
    "another option": {"temperature": 1},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_only_exactly_the_same_from_the_same_key_gets_it(site: Site, other: dict[str, Any]) -> None:
    approval = site.held()
    site.house.grant(approval)

    assert site.held(**other) != approval
    assert len(site.upstream.seen) == 2
    assert site.at.approval(approval).state == "granted"
    assert site.ask() == site.upstream.whole(CHAT)


@here
def test_another_protocol_is_another_request(site: Site) -> None:
    both = {"messages": [{"role": "user", "content": "Who?"}], "max_tokens": 9}
    approval = site.held(CHAT, **both)
    site.house.grant(approval)
    body = json.dumps({"model": "default", **both}).encode()

    answer = asyncio.run(site.door.complete(KEY, body, MESSAGES))

    assert answer.content is not None
    assert b"withheld" in answer.content
    assert approval.encode() not in answer.content


def test_of_two_at_once_one_gets_it(site: Site) -> None:
    approval = site.held()
    site.house.grant(approval)
    site.at.follower.look()

    async def both() -> list[bytes]:
        return [*await asyncio.gather(*(site.call() for _ in range(4)))]

    said = asyncio.run(both())

    assert said.count(site.upstream.whole(CHAT)) == 1
    assert all(b"withheld" in one for one in said if one != site.upstream.whole(CHAT))
    assert len(site.house.events("gateway.answer.given")) == 1
    assert len(site.upstream.seen) == 1 + 3
    site.house.sound()


@ways
@pytest.mark.parametrize("when", ["asked", "granted"])
def test_a_restart_in_between_changes_nothing(site: Site, when: str, *, stream: bool) -> None:
    expected = b"".join(site.upstream.events(CHAT)) if stream else site.upstream.whole(CHAT)
    approval = site.held(stream=stream)
    if when == "granted":
        site.house.grant(approval)
    before = site.counted
    site.end()
    site.begin()
    assert site.counted == before, "what is on record adds up to the same"
    if when == "asked":
        assert approval in site.ask(stream=stream).decode()
        site.house.grant(approval)

    assert site.ask(stream=stream) == expected
    assert len(site.upstream.seen) == 1
    assert site.counted == before
    site.end()
    site.begin()
    assert site.counted == before
    assert site.at.usage.differs() == []


@here
def test_a_spent_budget_does_not_hold_what_was_paid(site: Site) -> None:
    site.go_live(ASKS, calls_per_day=1)
    approval = site.held()
    assert site.ask(text="Something else?")
    assert site.answer.status == 403
    site.house.grant(approval)

    assert site.ask() == site.upstream.whole(CHAT)


def test_a_new_release_answers_itself(site: Site) -> None:
    approval = site.held()
    site.house.grant(approval)
    site.house.clock.advance(1)
    site.go_live({**ASKS, "output": {}})

    assert site.ask() == site.upstream.whole(CHAT)
    assert len(site.upstream.seen) == 2
    assert site.at.approval(approval).state == "granted"


def test_a_suspended_use_case_gets_nothing(site: Site) -> None:
    site.house.grant(site.held())
    suspend(site.house.governor, "mara.quinn", site.subject, "a drill")

    assert MAIL not in site.ask().decode()
    assert site.answer.status == 403
    assert site.entry["reasons"][0][0] == "not-suspended"


@here
@ways
def test_on_rung_propose_it_goes_out_as_a_draft_and_on_read_not_at_all(site: Site, *, stream: bool) -> None:
    site.house.grant(site.held(stream=stream))
    site.at.follower.look()
    site.stands(rung=Rung.READ)
    assert site.house.use_case().unanswered.encode() in site.ask(stream=stream) or MAIL.encode() not in site.ask()
    assert site.entry["answer_of"] == ""

    site.stands(rung=Rung.PROPOSE)
    said = site.ask(stream=stream)

    spoken = "".join(_texts(site.pieces)) if stream else json.loads(said)["choices"][0]["message"]["content"]
    assert spoken == DRAFT + TEXT
    assert len(site.upstream.seen) == 1


@here
@ways
def test_while_the_glass_is_broken_nobody_is_asked(site: Site, *, stream: bool) -> None:
    site.house.governor.break_glass("ruth.adeyemi", site.subject, hours=1, reason="a drill")

    assert site.ask(stream=stream) == (b"".join(site.upstream.events(CHAT)) if stream else site.upstream.whole(CHAT))
    assert (site.entry["verdict"], site.entry["answer_of"]) == ("allow", "")
    (event,) = site.house.events("gateway.answer.given")
    assert event.authz["glass"] == "yes"
    assert event.data["call"] == event.data["to"] == site.newest().id


@here
@ways
def test_without_anybody_to_ask_it_is_withheld(site: Site, *, stream: bool) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("the database is away")

    site.door = Door(replace(site.door.parts, give=away))

    assert "This answer was withheld" in site.ask(stream=stream).decode()
    assert site.entry["verdict"] == "allow"
    assert "the database is away" in site.entry["reasons"][0][1]
    assert "held" not in (site.at.calls.content(site.newest().id) or {})


@here
def test_a_stream_that_breaks_behind_what_was_found_is_withheld_for_good(site: Site) -> None:
    site.upstream.cut = True

    said = site.ask(stream=True).decode()

    assert "This answer was withheld" in said
    assert not NAMED.findall(said)
    assert site.at.approvals("asked") == []


@here
@ways
def test_of_what_is_too_large_to_keep_nobody_is_asked(site: Site, *, stream: bool) -> None:
    site.upstream.text = TEXT + " " + "x" * MAX_KEPT

    said = site.ask(stream=stream).decode()

    assert "This answer was withheld" in said
    assert not NAMED.findall(said)
    assert site.entry["status"] == "ok"
    assert site.at.approvals("asked") == []


@here
def test_canaries_and_evaluations_ask_nobody(site: Site) -> None:
    site.at.follower.look()
    body = json.dumps({"model": "default", "messages": [{"role": "user", "content": "Who knows?"}]}).encode()
    recipe = site.at.follower.snapshot.recipes[site.subject]

    said, _, evaluated = asyncio.run(site.door.evaluate("leo.fischer", site.subject, recipe, "Who knows?"))
    answer, tried = asyncio.run(site.door.canary(site.subject, body, site.door.parts.switchboard))

    assert said == "This answer was withheld: it held email address."
    assert answer.content is not None
    assert b"it held email address." in answer.content
    for call in (evaluated, tried.id):
        assert site.at.calls.get(call).entry["verdict"] == "allow"
        assert "held" not in (site.at.calls.content(call) or {})
    assert site.at.approvals("asked") == []


@here
def test_a_client_that_left_while_people_were_asked_finds_it_held(site: Site) -> None:
    give = site.door.parts.give

    async def run() -> None:
        asking = asyncio.Event()

        async def slowly(*facts: Any) -> None:
            try:
                await give(*facts)
            finally:
                asking.set()
                await asyncio.sleep(60)

        site.door = Door(replace(site.door.parts, give=slowly))
        call = asyncio.ensure_future(site.call(stream=True))
        await asking.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    site.at.follower.look()
    asyncio.run(run())
    site.door = Door(replace(site.door.parts, give=give))
    assert site.entry["status"] == "aborted"
    approval = site.held(stream=True)
    site.house.grant(approval)
    assert site.ask(stream=True) == b"".join(site.upstream.events(CHAT))
    assert len(site.upstream.seen) == 1


FACTS: dict[str, Any] = {
    "key": "key/0123456789ab",
    "protocol": "chat",
    "request_sha256": "a" * 64,
    "call": "call/1",
    "answer_sha256": "b" * 64,
    "findings": "email address",
}


def test_an_agreement_is_for_one_answer_and_for_once(house: House) -> None:
    subject = house.live()

    def give(**facts: Any) -> None:
        give_held(house.governor, "key/0123456789ab", subject, {**FACTS, **facts}, "call/2")

    approval = house.asked(give)
    assert house.asked(give) == approval, "asking again is the same question"
    house.grant(approval)
    for name in FACTS:
        with pytest.raises(NeedsApproval):
            give(**{name: "another"})
    give()
    with pytest.raises(Conflict) as used:
        give()
    assert used.value.code == "already-done"
    house.sound()


@pytest.fixture
def served_remote() -> Iterator[tuple[Harbour, served.RecordingUpstream, served.Server]]:
    """A server of one's own, whose release asks about personal data in answers."""
    data = served.fresh("remote")
    upstream = served.RecordingUpstream()
    told = {"tick_ms": "50", "canary_every_s": "3600", "upstream_url": upstream.url}
    with upstream, served.Server(data, **told) as server:
        harbour = served.harbour(server)
        spec = served.use_case() + "guardrails:\n  output: {personal-data: ask}\n"
        served.go_live(harbour, served.files_of(spec), "hanna")
        yield harbour, upstream, server


def _console(server: served.Server, path: str, person: str) -> str:
    """Return a page as this person sees it."""
    engine = served.engine_of(server.data)
    ledger, declared, identities = open_ledger(engine, wall_clock)
    session = sign_in(open_governor(ledger, declared, wall_clock, identities), person, "session").text
    engine.dispose()
    status, _, page = served.fetch(server.url, path, headers={"cookie": f"bedplate_session={session}"})
    assert status == 200
    return page.decode()


def test_the_official_client_gets_what_people_agreed_to(
    served_remote: tuple[Harbour, served.RecordingUpstream, served.Server],
) -> None:
    harbour, upstream, server = served_remote
    client, asked = harbour.openai(), served.ask("Who knows?")
    upstream.behave = served.says(TEXT)
    before = len(upstream.seen)

    raw = client.chat.completions.with_raw_response.create(**asked)
    told = str(raw.parse().choices[0].message.content)
    (approval,) = NAMED.findall(told)
    assert MAIL not in told
    assert raw.headers["x-bedplate-verdict"] == "ask"
    streamed = client.chat.completions.create(**asked, stream=True)
    (other,) = NAMED.findall("".join(c.choices[0].delta.content or "" for c in streamed))

    page = f"/approvals/{approval.removeprefix('approval/')}"
    assert TEXT in html.unescape(_console(server, page, "hanna.osei"))
    assert "Who knows?" in _console(server, page, "hanna.osei")
    outsider = _console(server, page, "sofia.brandt")
    assert MAIL not in outsider
    assert "Your seats may not read it" in outsider

    for name in (approval, other):
        assert harbour.agree(name, "hanna") == "granted"
    raw = client.chat.completions.with_raw_response.create(**asked)
    assert raw.parse().choices[0].message.content == TEXT
    streamed = client.chat.completions.create(**asked, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in streamed) == TEXT
    assert len(upstream.seen) == before + 2
    record = harbour.record(raw.headers["x-bedplate-call-id"])
    assert harbour.record(record["answer_of"])["verdict"] == "ask"
    assert record["said"]["answer"] == TEXT
