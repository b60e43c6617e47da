"""The live tail: calls as they are recorded, by whichever process, over server-sent events."""

from __future__ import annotations

import asyncio
import signal
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from bedplate.errors import InvalidInput
from bedplate.gateway.search import VERDICTS, Wanted
from bedplate.gateway.views import recorded
from bedplate.kernel.clock import SECOND
from bedplate.portfolio import views as portfolio

from .calls import rows
from .visit import Page, Visit, signed_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.requests import Request

    from bedplate.gateway.views import Call, Calls

    from .visit import Console

FIRST = 50  # calls on the page when it is opened
MOST_VIEWERS = 20
MOST_AT_ONCE = 100  # calls of a shard in one look: beyond, the newest are shown, and how many were not
LOOK_S = 0.5
BEAT_S = 10.0  # what is said to a viewer while nothing happens, so that one who has left is noticed
LASTS_S = 300.0  # then the browser comes again by itself, and whose session has ended does not
AGAIN_MS = 1_000
LEAST = b'"kind":"call.'
INTENT = b'"kind":"call.intent"'
STOPPING = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is new: calls, oldest first, how many more there were, and where every shard was read up to."""

    calls: list[Call]
    passed: int
    places: Mapping[str, int]


@dataclass(slots=True)
class Viewers:
    """How many watch at once, in this process; `stop` ends them all."""

    count: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """End every stream within a moment."""
        self.stopped.set()

    @property
    def ending(self) -> bool:
        """Tell whether the server stops: it waits for open answers, and would wait for these as long as it may."""
        servers = (getattr(signal.getsignal(number), "__self__", None) for number in STOPPING)
        return self.stopped.is_set() or any(getattr(server, "should_exit", False) for server in servers)


def tail(visit: Visit) -> Response:
    """Show the newest calls; with scripts, the page goes on by itself from there."""
    at, use_case, verdict = visit.at, visit.query("use_case"), visit.query("verdict")
    wanted = wanted_of(use_case, verdict)
    begun = places(at.calls)  # before the calls are read: what comes in between is shown twice rather than never
    found = at.calls.page(wanted, limit=FIRST).calls
    return visit.show(
        "tail.html",
        rows=rows(visit, found),
        reached=text_of(begun),
        use_case=use_case,
        verdict=verdict,
        verdicts=VERDICTS,
        cases=[(c.id, c.title) for c in portfolio.use_cases(at.engine)],
        looked=at.clock(),
    )


def wanted_of(use_case: str, verdict: str) -> Wanted:
    """Return what to watch for."""
    if verdict and verdict not in VERDICTS:
        raise InvalidInput(f"There is no verdict {verdict[:40]!r}.", hint=f"Choose one of {', '.join(VERDICTS)}.")
    return Wanted(subject=f"usecase/{use_case}" if use_case else "", verdict=verdict)


def places(calls: Calls) -> dict[str, int]:
    """Return how many records every shard has now."""
    return {name: shard.head().size for name, shard in calls.shards().items()}


def text_of(found: Mapping[str, int]) -> str:
    """Write places as one word, for an event's id."""
    return ",".join(f"{name}:{size}" for name, size in sorted(found.items()))


def places_of(text: str) -> dict[str, int]:
    """Read places; what cannot be read is left out, and then it goes on from now."""
    told = (part.rpartition(":") for part in text.split(",")[:256])
    return {name: int(n) for name, _, n in told if name and n.isascii() and n.isdigit() and len(n) < 16}  # noqa: PLR2004  below 2^53


def look(calls: Calls, since: Mapping[str, int], wanted: Wanted) -> Seen:
    """Read what is new in every shard since these places; of a shard that was not there, everything is new."""
    new, passed, reached = [], 0, {}
    for name, shard in calls.shards().items():
        size = shard.head().size
        begin = min(since.get(name, 0), size)
        first = max(begin, size - MOST_AT_ONCE)
        passed += first - begin
        entries = shard.entries(first, size - first) if size > first else []
        reached[name] = first + len(entries)
        new += [recorded(name, seq, entry) for seq, entry in entries if _matches(entry, wanted)]
    return Seen(sorted(new, key=_moment), passed, reached)


async def events(console: Console, request: Request) -> AsyncIterator[str]:
    """Yield new calls as events, each with a place to go on from, until the viewer or the server leaves."""
    viewers, query = console.viewers, request.query_params
    wanted = wanted_of(query.get("use_case", ""), query.get("verdict", ""))
    given = request.headers.get("last-event-id", "") or query.get("from", "")
    since: Mapping[str, int] = places_of(given) or await run_in_threadpool(places, console.at.calls)
    yield f"retry: {AGAIN_MS}\n\n"
    loop = asyncio.get_running_loop()
    began = beaten = loop.time()
    while not viewers.ending and loop.time() - began < LASTS_S:
        seen, text = await run_in_threadpool(_told, console, request, since, wanted)
        since = seen.places
        if text:
            yield text
            beaten = loop.time()
        elif loop.time() - beaten >= BEAT_S:
            if await run_in_threadpool(signed_in, console.at, request) is None:
                return
            yield f"event: beat\nid: {text_of(since)}\ndata: {console.at.clock() // SECOND}\n\n"
            beaten = loop.time()
        await asyncio.sleep(LOOK_S)


@dataclass(frozen=True, slots=True)
class Stream:
    """A path that goes on answering. Unlike a page it holds no thread while nothing happens."""

    path: str

    def route(self, console: Console) -> Route:
        """Make the route."""

        async def endpoint(request: Request) -> Response:
            if await run_in_threadpool(signed_in, console.at, request) is None:
                return PlainTextResponse("sign in first", 401)
            try:
                wanted_of(request.query_params.get("use_case", ""), request.query_params.get("verdict", ""))
            except InvalidInput as wrong:
                return PlainTextResponse(wrong.message, 422)
            if console.viewers.count >= MOST_VIEWERS:
                return PlainTextResponse(f"{MOST_VIEWERS} are watching already", 503)
            return StreamingResponse(_counted(console, request), media_type="text/event-stream")

        return Route(self.path, endpoint, methods=["GET"])


async def _counted(console: Console, request: Request) -> AsyncIterator[str]:
    console.viewers.count += 1
    try:
        async for event in events(console, request):
            yield event
    finally:
        console.viewers.count -= 1


def _told(console: Console, request: Request, since: Mapping[str, int], wanted: Wanted) -> tuple[Seen, str]:
    """Look, and write what is new as one event: rows as they stand on the page, and how many are not among them."""
    seen = look(console.at.calls, since, wanted)
    if not seen.calls and not seen.passed:
        return seen, ""
    visit = Visit(console, request, signed_in(console.at, request))
    if visit.me is None:
        return seen, ""
    template = console.environment.get_template("_tail_rows.html")
    html = template.render(rows=rows(visit, seen.calls[::-1]), passed=seen.passed)
    lines = "".join(f"data: {line}\n" for line in html.splitlines() if line)
    return seen, f"event: calls\nid: {text_of(seen.places)}\n{lines}\n"


def _matches(entry: bytes, wanted: Wanted) -> bool:
    sought = wanted.sought()
    mine = not sought.use_case or b'"use_case":"%b"' % sought.use_case.encode() in entry
    has = all(any(needle in entry for needle in group) for group in sought.has)
    return mine and has and LEAST in entry and INTENT not in entry


def _moment(call: Call) -> tuple[int, int]:
    return call.at, call.seq


PAGES = (Page("/calls/tail", tail),)
STREAMS = (Stream("/calls/tail/events"),)
