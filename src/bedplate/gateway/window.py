"""A stream of text, guarded as it passes: the result is what the whole text would have come to, however it was cut.

Only what could still become a finding is held back (`hold`); in plain prose that is the word that is being written.
Three things make the result independent of the cuts. A character's plain reading does not depend on its neighbours
(`normal`). A detector looks at little before a place, and behind it only at what is held (`detect`). And a cut that
would go through something, be it found or only read past, moves to where that begins.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from .detect import CONTEXT, Reading
from .finding import Finding, ordered, replaced
from .hold import INSIDE, OUTSIDE
from .normal import read
from .secret import KEY_BEGIN, KEY_END, KEYS, LONGEST_END, PRIVATE_KEY

if TYPE_CHECKING:
    from collections.abc import Collection

    from .detect import Span
    from .guardrail import Guard

SHORT = 512  # characters that are looked at again with every piece; of more, only when there are a quarter more
PATIENCE = 32  # characters that may wait where a quick look says that something could be there
STOPS = ("ask", "block")


class Window:
    """One stream of text, piece by piece. Places are offsets, in characters, into everything that was fed.

    What stands before the place that `feed` returns may go out, with `changes` applied: (start, end, what to put in its
    place), ascending and not overlapping; the last may still grow. Once `blocked` or `asks` is set, nothing from that
    place on may.

    What is judged as a whole (schema, citations, custom ones) lets nothing out before the end, unless it only observes.
    """

    def __init__(self, guard: Guard) -> None:
        self.changes: list[tuple[int, int, str]] = []
        self.findings: list[Finding] = []
        self.blocked = False
        self.asks = False
        self._guard = guard
        self._fed = 0
        self._out = 0
        self._done = 0  # where the last change ends
        self._pieces: list[str] = []  # everything, where the whole is judged
        # The plain text from a little before the cut on; `_base` is the place of its first character in all of it.
        self._plain = ""
        self._line = b""
        self._base = 0
        self._cut = 0  # in `_plain`
        self._at: list[int] = []  # as in `normal.Plain`, in all of it
        self._gone: list[int] = []
        self._lost = 0  # what was gone before these lists
        self._key = -1  # where a private key began that has not ended
        self._enough = 0  # look again when so much is held
        self._token = False  # what is held is one run of token characters

    def feed(self, text: str) -> int:
        """Take a piece of text; returns up to where everything is decided."""
        guard = self._guard
        self._fed += len(text)
        if guard.judges:
            self._pieces.append(text)
        if self._stopped or guard.waits:
            return self._out
        if guard.scanner is None:
            self._decide(self._fed, ())
        else:
            self._take(text)
            self._look(final=False)
        return self._out

    def end(self) -> int:
        """The text is complete: decide the rest."""
        guard = self._guard
        if self._stopped:
            return self._out
        if guard.waits:
            self._decide(self._fed, guard.apply("".join(self._pieces)).findings)
            return self._out
        if guard.scanner is not None:
            self._look(final=True)
        if not self._stopped:
            self._decide(self._fed, guard.whole("".join(self._pieces)) if guard.judges else ())
            if guard.limit and self._fed > guard.limit and not self._stopped:
                self.findings.append(guard.too_long(self._fed))
        return self._out

    async def end_slow(self) -> int:
        """As `end`, where the guard is slow: the models are asked about the whole text."""
        guard = self._guard
        if not guard.slow or self._stopped:
            return self.end()
        text = "".join(self._pieces)
        if guard.waits:
            (guarded,) = await guard.apply_slow([text])
            self._decide(self._fed, guarded.findings)
            return self._out
        unasked = {model.kind for model in guard.models}
        self.end()
        self.findings = [finding for finding in self.findings if finding.kind not in unasked]
        self.findings += await guard.told(text)
        return self._out

    @property
    def _stopped(self) -> bool:
        return self.blocked or self.asks

    def _take(self, text: str) -> None:
        if text.isascii():
            self._plain += text
            piece = text.encode()
        else:
            plain = read(text)
            first = self._base + len(self._plain)
            already = self._gone[-1] if self._gone else self._lost
            self._at += [first + at for at in plain.at]
            self._gone += [already + gone for gone in plain.gone]
            self._plain += plain.text
            piece = Reading(plain.text).line
        self._line += piece
        if self._token and OUTSIDE.search(piece):
            self._enough, self._token = 0, False

    def _look(self, *, final: bool) -> None:
        going = True
        while going and not self._stopped:
            going = self._advanced(final=final) if self._key < 0 else self._ended(final=final)

    def _advanced(self, *, final: bool) -> bool:
        """Move the cut as far as it may go; returns whether a private key began there."""
        guard, line = self._guard, self._line
        scanner, hold = guard.scanner, guard.hold
        held = len(line) - self._cut
        if scanner is None or hold is None or (held > SHORT and held < self._enough and not final):
            return False
        place = len(line) if final else hold.place(line, self._cut)
        if place > self._cut:
            hits = scanner.hits(self._plain)
            if hits and place - self._cut < PATIENCE and held < SHORT and not final:
                return False  # looking closely at a few characters at a time would cost more than all the rest
            key = None
            if guard.keys in hits:
                hits.remove(guard.keys)
                key = KEY_BEGIN.search(line, self._cut)
            if key is not None and place > key.start():
                self._key = self._place(key.start())
                found = [span for span in self._found(hits, key.end()) if span[0] < key.start()]
                begun = self._place(key.end() - 1) + 1
                self._decide(begun, self._findings(found), Finding(KEYS.kind, PRIVATE_KEY, self._key, begun))
                self._forget(key.end())
                return True
            self._cut_at(place, self._found(hits, key.end() if key is not None else len(line)))
        self._waited()
        return False

    def _waited(self) -> None:
        """Note when to look again: not with every piece where much is held, or the work would grow with its square."""
        held = len(self._line) - self._cut
        if held > SHORT:
            self._enough = held + held // 4
            inside = INSIDE.match(self._line, self._cut)
            self._token = inside is not None and inside.end() == len(self._line)

    def _found(self, hits: list[int], seen: int) -> list[Span]:
        scanner = self._guard.scanner
        if not hits or scanner is None:
            return []
        return [span for span in set(scanner.spans(Reading(self._plain[:seen]), hits)) if span[0] >= self._cut]

    def _findings(self, spans: Collection[Span]) -> list[Finding]:
        return [
            Finding(kind, label, self._place(start), self._place(end - 1) + 1)
            for start, end, kind, label in spans
            if label
        ]

    def _cut_at(self, place: int, found: Collection[Span]) -> None:
        """Decide everything before a place; where that would cut something, the place moves to its beginning."""
        place = _between(found, place) if found else place
        upto = self._fed if place == len(self._line) else self._place(place)
        self._cut = place
        if found or self._guard.limit:
            self._decide(upto, self._findings([span for span in found if span[0] < place]))
        else:
            self._out = upto
        if place > 4 * CONTEXT:
            self._forget(place - CONTEXT)

    def _ended(self, *, final: bool) -> bool:
        """Look for the end of a private key; until it comes, everything belongs to it. Returns whether it came."""
        end = KEY_END.search(self._line)
        if end is not None:
            whole = Finding(KEYS.kind, PRIVATE_KEY, self._key, self._place(end.end() - 1) + 1)
            self._decide(whole.end, [whole])
            self._key = -1
            self._forget(end.end())
            return True
        self._decide(self._fed, (), Finding(KEYS.kind, PRIVATE_KEY, self._key, self._fed))
        if final:
            self.findings.append(Finding(KEYS.kind, PRIVATE_KEY, self._key, self._fed))
        else:
            self._forget(max(0, len(self._line) - LONGEST_END))
        return False

    def _forget(self, drop: int) -> None:
        """Let go of text that is not needed any more."""
        self._plain, self._line = self._plain[drop:], self._line[drop:]
        self._base += drop
        self._cut = max(0, self._cut - drop)
        known = bisect_right(self._at, self._base)
        if known > 1:
            self._lost = self._gone[known - 1]
            del self._at[:known], self._gone[:known]

    def _place(self, index: int) -> int:
        index += self._base
        before = bisect_right(self._at, index)
        return index + (self._gone[before - 1] if before else self._lost)

    def _decide(self, upto: int, found: Collection[Finding], growing: Finding | None = None) -> None:
        """Take what was found before a place, and what goes on beyond it; the place may be the last to go out."""
        guard, policy = self._guard, self._guard.policy
        self.findings += ordered(found)
        beyond = [growing] if growing is not None else []
        if guard.limit and upto > guard.limit and policy["length"] != "observe":
            beyond.append(guard.too_long(upto))
        hidden = [f for f in (*found, *beyond) if policy[f.kind] != "observe"] if found or beyond else []
        out = upto
        if hidden:
            changes = list(replaced(hidden, self._done))
            stopped = [f for f in hidden if policy[f.kind] in STOPS]
            if stopped:
                self.blocked = any(policy[f.kind] == "block" for f in stopped)
                self.asks = any(policy[f.kind] == "ask" for f in stopped)
                self.findings += [f for f in beyond if f in stopped]
                first = min(f.start for f in stopped)
                out = min([first, *(start for start, end, _ in changes if start <= first < end)])
                changes = [change for change in changes if change[1] <= out]
            if changes and self.changes and changes[0][2] == "" == self.changes[-1][2]:
                start, end, _ = self.changes[-1]
                if end == changes[0][0]:  # what is swallowed grows
                    self.changes.pop()
                    changes[0] = start, *changes[0][1:]
            self.changes += changes
            self._done = max(self._done, *(end for _, end, _ in changes)) if changes else self._done
        self._out = max(self._out, min(out, upto))


def _between(spans: Collection[Span], place: int) -> int:
    """Move a place to the left until it is within no span."""
    for start, end, _, _ in sorted(spans, key=lambda span: -span[1]):
        if end <= place:
            break
        place = min(place, start)
    return place
