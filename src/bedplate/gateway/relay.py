"""The events of one stream on their way to the client: each leaves as it came, once all of its text is decided.

Text is decided when no guardrail could still find something in it with what comes later (`Window`). An event whose
text has to be changed is written anew; no other is. What says that the answer is whole waits until its record is
durable, and with it all that follows.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bedplate.errors import InvalidInput

from .dialect import Usage
from .events import Events, EventTooLarge, data_of, with_data
from .texts import slots, unspelled
from .upstream import UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .dialect import Body, Delta, Dialect
    from .guardrail import Guard
    from .window import Window

DONE = b"[DONE]"
ANSWERING = frozenset({"content", "text", "output_text"})  # channels whose text is the answer
MAX_HELD = 64 << 20  # bytes of events that wait, as of a whole answer
MAX_CLEAR, LONG = 64, 200  # texts beside what is said that are known to be clear; characters of one

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Span(NamedTuple):
    """Where a text lies in its channel; `delta` is None where the event is not read yet."""

    channel: str
    text: str
    machine: bool
    start: int
    end: int
    delta: Delta | None


class Item:
    """An event that waits."""

    __slots__ = ("changed", "ends", "event", "raw", "spans")

    def __init__(
        self, raw: bytes, event: Body | None, spans: Sequence[Span], *, ends: bool = False, changed: bool = False
    ) -> None:
        self.raw, self.event, self.spans, self.ends, self.changed = raw, event, spans, ends, changed


class Relay:
    """Takes an upstream's bytes and gives back what may leave. `prefix` goes before the answer, of each choice.

    With `whole` nothing leaves before `finish`: somebody judges the answer as a whole.
    """

    def __init__(self, dialect: Dialect, guard: Guard, prefix: str = "", *, whole: bool = False) -> None:
        self._dialect, self._guard, self._prefix, self._whole = dialect, guard, prefix, whole
        self._events = Events()
        self._queue: deque[Item] = deque()
        self._windows: dict[str, Window] = {}
        self._sizes: dict[str, int] = {}
        self._came: dict[str, list[str]] = {}  # texts that no window has taken yet: those of one chunk go together
        self._clear = {""}  # what every event says again, and nothing is found in
        self._decided: dict[str, int] = {}
        self._arguments: dict[str, list[str]] = {}
        self._sent: dict[str, list[str]] = {}
        self._drafted: set[str] = set()  # channels that the prefix went into
        self._first = ""  # the channel of the first text of the answer
        self._held = 0  # bytes that wait
        self._ending = self._closed = False
        self._odd: list[str] = []  # findings outside of what is said
        self._holds = guard.holds
        self.usage: Usage | None = None
        self.finish_reason = self.answered_by = ""  # why it ended and which model answered, as the upstream says
        self.failed: UpstreamFailed | None = None
        self.withheld: list[str] = []  # labels of what must not leave; then nothing more does

    @property
    def begun(self) -> list[str]:
        """The channels of which something has left, and the marks of events that have."""
        return list(self._sent)

    @property
    def said(self) -> str:
        """The answer as far as it has left."""
        return "\n".join(
            (self._prefix if name in self._drafted else "") + "".join(parts)
            for name, parts in self._sent.items()
            if _kind(name) in ANSWERING
        )

    @property
    def answer(self) -> str:
        """The same without the prefix."""
        return "\n".join("".join(parts) for name, parts in self._sent.items() if _kind(name) in ANSWERING)

    @property
    def findings(self) -> list[str]:
        """Labels of what was found in all that came."""
        return [f.label for window in self._windows.values() for f in window.findings] + self._odd

    def feed(self, chunk: bytes) -> bytes:
        """Take bytes; return those that may leave now. `failed` is set if it is not a stream of this protocol."""
        if self.withheld:
            return b""
        try:
            for raw, data in self._events.feed(chunk):
                self._take(raw, data)
                if self.withheld:
                    break
        except EventTooLarge as large:
            self.failed = UpstreamFailed(large.message)
        except UpstreamFailed as failed:
            self.failed = failed
        self._look()
        out = self._released()
        if self._held > MAX_HELD:
            self.failed = UpstreamFailed(f"the upstream sent more than {MAX_HELD} bytes that had to wait for its end")
        return out

    def finish(self) -> bytes:
        """Return what is left once the stream is over; send it after the record is durable.

        `UpstreamFailed` if the stream was cut off.
        """
        if self.withheld:
            return b""
        if not self._closed or self._events.rest.strip():
            raise UpstreamFailed(
                "the upstream stopped in the middle of its answer", hint="what came so far is on record"
            )
        for channel, window in self._windows.items():
            self._decided[channel] = window.end()
            self._stop_if(window)
        for channel, parts in self._arguments.items():
            guarded = self._guard.apply("".join(parts))
            self._odd += [f.label for f in guarded.findings]
            if guarded.blocked or guarded.asks or guarded.text != "".join(parts):
                self.withheld += [f.label for f in guarded.findings]
            self._decided[channel] = self._sizes[channel]
        out = b"" if self.withheld else b"".join([self._rendered(item) for item in self._queue])
        self._queue.clear()
        return out

    def _take(self, raw: bytes, data: bytes) -> None:
        if data == DONE or not data:
            self._closed = self._closed or data == DONE
            self._enqueue(Item(raw, None, (), ends=data == DONE))
            return
        if not self._prefix and (piece := self._dialect.piece(data)) is not None and self._known(piece.others):
            self.answered_by = self.answered_by or piece.model
            self._enqueue(Item(raw, None, (self._span(piece.channel, piece.text),)))
            return
        event = self._read(data)
        self._closed = self._closed or self._dialect.over(event)
        usage = self._dialect.usage(event)
        if usage is not None:
            known = self.usage
            # All count from the start. Anthropic tells what went in at the start, and what came out at the end.
            self.usage = usage if known is None else Usage(*map(max, known, usage))
        if not self.answered_by:
            self.answered_by = _model_of(event)
        ends = self._dialect.ends(event)
        if ends:
            self.finish_reason = finish_of(event) or self.finish_reason
        deltas = self._dialect.deltas(event)
        changed = self._holds and self._aside(event, deltas)
        if self.withheld:
            return  # the event itself holds it
        spans = [self._span(d.channel, d.holder[d.key], d) for d in deltas]
        if self._prefix:
            answering = (d.channel for d in deltas if not d.machine and _kind(d.channel) in ANSWERING)
            self._first = self._first or next(answering, "")
            changed = self._prefixed(self._dialect.again(event)) or changed
        self._enqueue(Item(raw, event, spans, ends=ends, changed=changed))

    def _enqueue(self, item: Item) -> None:
        self._queue.append(item)
        self._held += len(item.raw)

    def _prefixed(self, repeated: Sequence[Delta]) -> bool:
        """Put the prefix before what says again a text that it went, or will go, into."""
        found = [delta for delta in repeated if delta.channel == self._first]
        for delta in found:
            delta.holder[delta.key] = self._prefix + delta.holder[delta.key]
        return bool(found)

    def _read(self, data: bytes) -> Body:
        try:
            event = _decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise UpstreamFailed("the upstream did not answer JSON") from None
        if type(event) is not dict:
            raise UpstreamFailed("the upstream did not answer a JSON object")
        if event.get("error") or event.get("type") == "error":
            raise UpstreamFailed("the upstream answered an error in the middle")
        return event

    def _known(self, texts: Sequence[str]) -> bool:
        """Tell whether nothing can be found in what an event says beside its text."""
        return not self._holds or self._clear.issuperset(texts)

    def _span(self, channel: str, text: str, delta: Delta | None = None) -> Span:
        start = self._sizes.get(channel, 0)
        end = self._sizes[channel] = start + len(text)
        machine = delta is not None and delta.machine
        if machine and self._holds:  # for a machine: as it is, or not at all
            self._arguments.setdefault(channel, []).append(text)
            self._decided[channel] = -1
        elif not self._guard.idle:
            came = self._came.get(channel)
            if came is None:
                self._came[channel] = [text]
            else:
                came.append(text)
        else:
            self._decided[channel] = end
        return Span(channel, text, machine, start, end, delta)

    def _look(self) -> None:
        """Guard what came, each channel's texts together: how a text is cut makes no difference (`window`)."""
        if not self._came:
            return
        for channel, texts in self._came.items():
            window = self._windows.get(channel)
            if window is None:
                window = self._windows[channel] = self._guard.window()
            self._decided[channel] = window.feed("".join(texts))
            self._stop_if(window)
        self._came = {}

    def _aside(self, event: Body, deltas: Sequence[Delta]) -> bool:
        """Guard every other text of the event; return whether one was changed."""
        own = {(id(d.holder), d.key) for d in deltas}
        try:
            found = [s for s in slots(event) if (id(s.holder), s.key) not in own]
        except InvalidInput as deep:
            raise UpstreamFailed(f"the upstream's answer cannot be read: {deep.message}") from None
        texts = [s.text for s in found]
        if self._clear.issuperset(texts):
            return False
        among = self._guard.suspects(texts)
        if among is None:
            if len(self._clear) < MAX_CLEAR:
                self._clear.update([text for text in texts if len(text) <= LONG])
            return False
        changed = False
        seen = {(id(d.holder), d.key) for d in self._dialect.again(event) if d.channel in self._sizes}
        for slot in found:
            guarded = self._guard.apply(slot.text, among)
            if (id(slot.holder), slot.key) not in seen:  # or it was found before, in pieces
                self._odd += [f.label for f in guarded.findings]
            if guarded.blocked or guarded.asks or (slot.machine and guarded.text != slot.text):
                self.withheld += [f.label for f in guarded.findings]
            elif guarded.text != slot.text:
                slot.holder[slot.key] = guarded.text
                changed = True
        return changed

    def _stop_if(self, window: Window) -> None:
        if window.blocked or window.asks:
            self.withheld += [f.label for f in window.findings]

    def _released(self) -> bytes:
        out: list[bytes] = []
        while self._queue and not (self._whole or self._ending):
            item = self._queue[0]
            if item.ends:
                self._ending = True
                break
            if self._holds and not self._let(item):
                break
            out.append(self._rendered(item))
            self._held -= len(item.raw)
            self._queue.popleft()
        return out[0] if len(out) == 1 else b"".join(out)

    def _let(self, item: Item) -> bool:
        """Tell whether all the text of an event is decided."""
        for span in item.spans:  # noqa: SIM110  for each event there is: a generator costs more than all the rest
            if self._decided[span.channel] < span.end:
                return False
        return True

    def _rendered(self, item: Item) -> bytes:
        changed = item.changed
        for span in item.spans:
            channel, delta = span.channel, span.delta
            text = span.text if delta is None else delta.holder[delta.key]
            put = text
            if self._holds and not span.machine:
                changes = self._windows[channel].changes
                if changes:
                    text = put = rewritten(text, span.start, changes)
            if self._prefix and self._begins(channel):
                self._drafted.add(channel)
                put = self._prefix + text
                changed = True
            if put != span.text:
                delta = delta or self._delta(item)
                delta.holder[delta.key] = put
                changed = True
            sent = self._sent.get(channel)
            if sent is None:
                self._sent[channel] = [text]
            else:
                sent.append(text)
        if item.event is not None and (mark := self._dialect.mark(item.event)):
            self._sent.setdefault(mark, [])
        if not changed or item.event is None:
            return item.raw
        unspelled(item.event)
        return with_data(item.raw, _encode(item.event))

    def _delta(self, item: Item) -> Delta:
        """Read an event of which only its text was read."""
        item.event = self._read(data_of(item.raw))
        return self._dialect.deltas(item.event)[0]

    def _begins(self, channel: str) -> bool:
        """Tell whether the prefix belongs here: before the answer, and where there are several choices before each."""
        kind = _kind(channel)
        return kind in ANSWERING and channel not in self._drafted and (kind == "content" or not self._drafted)


def _kind(channel: str) -> str:
    return channel.partition("/")[0]


def rewritten(text: str, start: int, changes: Sequence[tuple[int, int, str]]) -> str:
    """Return a piece that begins at `start` of its channel, changed; what replaces goes where it begins."""
    end, at, out = start + len(text), start, []
    for first, last, instead in changes:
        if last <= start or first >= end:
            continue
        if first >= start:
            out += [text[at - start : first - start], instead]
        at = min(last, end)
    return "".join([*out, text[at - start :]])


def finish_of(body: Body) -> str:
    """Return why an answer ended, whichever protocol says it; "" where none does."""
    choices, delta, response = body.get("choices"), body.get("delta"), body.get("response")
    if isinstance(choices, list):
        reasons = [c.get("finish_reason") for c in choices if isinstance(c, dict)]
        return next((r for r in reasons if isinstance(r, str)), "")
    holder = delta if isinstance(delta, dict) else response if isinstance(response, dict) else body
    found = holder.get("stop_reason") or holder.get("status")
    return found if isinstance(found, str) else ""


def _model_of(event: Body) -> str:
    for holder in (event, event.get("message"), event.get("response")):
        if isinstance(holder, dict) and isinstance(holder.get("model"), str):
            return str(holder["model"])
    return ""
