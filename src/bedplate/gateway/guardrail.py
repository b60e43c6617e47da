"""What an organisation looks for in texts on their way to a model and back, and what happens to what is found.

A policy says for each kind what to do: note it (`observe`), put a name in its place (`redact`), hold the text until a
person agrees (`ask`), or stop it (`block`). `Guard` is a policy compiled: it reads a text that is clear in one pass.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bedplate.errors import InvalidInput

from .custom import UNCHECKED, SafetyModel, asked, plugged
from .detect import Reading, Scanner
from .encoded import looking_inside
from .finding import Finding, Guarded, ordered, redact
from .hold import Hold
from .judge import WHOLE, Judge
from .personal import PERSONAL_DATA
from .secret import KEY_BEGIN, KEY_END, KEYS, PRIVATE_KEY, SECRETS
from .term import detector
from .window import Window

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from .normal import Plain

__all__ = ["KINDS", "MODES", "Finding", "Guard", "Guarded", "apply", "find", "guards", "redact"]

MODES = ("observe", "redact", "ask", "block")  # each stricter than the one before
DETECTED = ("personal-data", "secrets", "terms")
KINDS = (*DETECTED, "length", *WHOLE)
CUSTOM = "x:"


class Guard:
    """A policy, compiled: once for a release and direction. Stateless, so that any number of threads may use it.

    `policy` maps a kind of `KINDS`, or `x:NAME`, to a mode of `MODES`. `options` say more: `terms` (list of str),
    `max_chars` (int), `schema` (dict, or JSON), `passages` (int), `unanswered` (str), `injection_permille` (int),
    `http` (name → url, model, key_env, timeout_ms). `InvalidInput` on what is unknown or missing.
    """

    def __init__(self, policy: Mapping[str, str], options: Mapping[str, Any] | None = None) -> None:
        options = options or {}
        _check(policy, options)
        self.policy = dict(policy)
        self.idle = not policy
        self.holds = any(mode != "observe" for mode in policy.values())
        self.limit = int(options.get("max_chars", 0)) if "length" in policy else 0
        self._judges: list[Judge] = []
        self.models: list[SafetyModel] = []
        self._add_judges(options)
        # What is judged as a whole and may be stopped or changed cannot go out before its end is known.
        judging = [judge.kind for judge in self._judges] + [model.kind for model in self.models]
        self.waits = any(policy[kind] != "observe" for kind in judging)
        self.judges = bool(self._judges or self.models)
        kinds = tuple(kind for kind in DETECTED if kind in policy)
        terms = tuple(options.get("terms", ())) if "terms" in policy else ()
        self.scanner: Scanner | None = None
        self.hold: Hold | None = None
        self.keys = -1
        if kinds:
            self.scanner, self.hold, self.keys = _scanning(kinds, terms)

    @property
    def slow(self) -> bool:
        """Whether a model must be asked, so that `apply_slow` is to be awaited in the place of `apply`."""
        return bool(self.models)

    def clear(self, texts: Sequence[str]) -> bool:
        """Tell in one quick pass whether certainly nothing is to be found in any of these texts."""
        return self.suspects(texts) is None

    def suspects(self, texts: Sequence[str]) -> list[int] | None:
        """Name in one quick pass over all these texts the detectors that may find something in any of them.

        None if there certainly is nothing. `apply` takes the list, and then need not make that pass again.
        """
        hits: list[int] = []
        if self.scanner is not None:
            hits = self.scanner.hints(texts[0] if len(texts) == 1 else "\n".join(texts))
        limit = self.limit
        if hits or self.judges or (limit and any(len(text) > limit for text in texts)):
            return hits
        return None

    def apply(self, text: str, among: list[int] | None = None) -> Guarded:
        """Find everything and do what the policy says. A text that is stopped is redacted as well.

        Where a model must be asked, it was not: that is a finding of its own. `among`: from `suspects`.
        """
        return self.guarded(text, [*self.found(text, among), *self._unasked(text)])

    async def apply_slow(self, texts: Sequence[str]) -> list[Guarded]:
        """As `apply`, for several texts at once, with the models asked about each of them."""
        told = await asyncio.gather(*map(self.told, texts))
        return [self.guarded(text, [*self.found(text), *more]) for text, more in zip(texts, told, strict=True)]

    async def told(self, text: str) -> list[Finding]:
        """Find what models say of a text."""
        answers = await asyncio.gather(*(model.find(text) for model in self.models))
        return [Finding(m.kind, *found) for m, answer in zip(self.models, answers, strict=True) for found in answer]

    def window(self) -> Window:
        """Begin a stream of text."""
        return Window(self)

    def found(self, text: str, among: list[int] | None = None) -> list[Finding]:
        """Find everything that needs no model to be asked."""
        found = self._scanned(text, among) if self.scanner is not None else []
        if self.limit and len(text) > self.limit:
            found.append(self.too_long(len(text)))
        return [*found, *self.judged(text)]

    def judged(self, text: str) -> list[Finding]:
        """Find what is judged of the whole text."""
        return [Finding(judge.kind, *found) for judge in self._judges for found in judge.find(text)]

    def whole(self, text: str) -> list[Finding]:
        """Find what is found at the end only."""
        return [*self.judged(text), *self._unasked(text)]

    def _unasked(self, text: str) -> list[Finding]:
        return [Finding(model.kind, f"{model.kind} {UNCHECKED}", 0, len(text)) for model in self.models]

    def too_long(self, end: int) -> Finding:
        """Make the finding of what stands behind the limit."""
        return Finding("length", f"text beyond {self.limit} characters", self.limit, end)

    def guarded(self, text: str, findings: Collection[Finding]) -> Guarded:
        """Do with what was found what the policy says."""
        if not findings:
            return Guarded(text, (), blocked=False)
        modes = {self.policy[finding.kind] for finding in findings}
        hidden = [finding for finding in findings if self.policy[finding.kind] != "observe"]
        changed = redact(text, hidden) if hidden else text
        return Guarded(changed, tuple(ordered(findings)), "block" in modes, "ask" in modes)

    def _add_judges(self, options: Mapping[str, Any]) -> None:
        http = options.get("http", {})
        for kind, mode in self.policy.items():
            part: Judge | SafetyModel | None = None
            if kind in WHOLE:
                part = WHOLE[kind](options)
            elif kind.startswith(CUSTOM):
                name = kind.removeprefix(CUSTOM)
                part = asked(kind, http[name]) if name in http else plugged(kind)
            if part is None:
                continue
            if mode == "redact" and not (isinstance(part, Judge) and part.places):
                raise InvalidInput(
                    f"guardrail {kind}: it judges a text as a whole, there is nothing to redact",
                    hint="choose observe, ask or block",
                )
            if isinstance(part, Judge):
                self._judges.append(part)
            else:
                self.models.append(part)

    def _scanned(self, text: str, among: list[int] | None) -> list[Finding]:
        assert self.scanner is not None  # noqa: S101  the caller looked
        plain, hits = self.scanner.plainly(text) if among is None else self.scanner.taken(text, among)
        if not hits:
            return []
        if self.keys not in hits:
            return list(self._placed(plain, 0, self.scanner.spans(Reading(plain.text), hits)))
        return list(self._around_keys(text, plain, [hit for hit in hits if hit != self.keys]))

    def _around_keys(self, text: str, plain: Plain, hits: list[int]) -> Iterator[Finding]:
        """Find private keys first: what stands within one is part of it, and the text begins anew behind it."""
        assert self.scanner is not None  # noqa: S101  the caller looked
        line = Reading(plain.text).line
        place = 0
        while begin := KEY_BEGIN.search(line, place):
            part = Reading(plain.text[place : begin.end()])
            before = (s for s in self.scanner.spans(part, hits) if place + s[0] < begin.start())
            yield from self._placed(plain, place, before)
            end = KEY_END.search(line, begin.end())
            start = plain.place(begin.start())
            if end is None:
                yield Finding(KEYS.kind, PRIVATE_KEY, start, len(text))
                return
            place = end.end()
            yield Finding(KEYS.kind, PRIVATE_KEY, start, plain.place(place - 1) + 1)
        yield from self._placed(plain, place, self.scanner.spans(Reading(plain.text[place:]), hits))

    def _placed(self, plain: Plain, first: int, spans: Iterable[tuple[int, int, str, str]]) -> Iterator[Finding]:
        seen = set(spans)
        return (Finding(kind, label, *plain.span(first + s, first + e)) for s, e, kind, label in seen if label)


def guards(guardrails: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> tuple[Guard, Guard]:
    """Compile both directions of a release: the guard of what comes in, and of what goes out.

    `guardrails` is the release's: `input` and `output` (kind → mode), `max_prompt_chars`. Of `options`, the limit of
    the way out is `max_answer_chars`; the rest are those of `Guard`.
    """
    options = options or {}
    most = {"input": guardrails.get("max_prompt_chars", 0), "output": options.get("max_answer_chars", 0)}
    into, out = (Guard(guardrails[way], {**options, "max_chars": most[way]}) for way in ("input", "output"))
    return into, out


def find(text: str, kinds: Collection[str]) -> list[Finding]:
    """Find what belongs to the kinds named ("personal-data", "secrets"), in the order of the text.

    Positions are those of the text as given. Findings may overlap. `InvalidInput` on an unknown kind.
    """
    return list(apply(text, dict.fromkeys(kinds, "observe")).findings)


def apply(text: str, policy: Mapping[str, str]) -> Guarded:
    """Do what `policy` (kind → mode) says; a kind it does not name is not looked for.

    `InvalidInput` on an unknown kind or mode.
    """
    return _guard(tuple(sorted(policy.items()))).apply(text)


@lru_cache(maxsize=256)
def _scanning(kinds: tuple[str, ...], terms: tuple[str, ...]) -> tuple[Scanner, Hold, int]:
    """Compile what finds these kinds, with the number of the detector of private keys (-1: none).

    Most releases look for the same: compiled patterns take milliseconds and megabytes, and are shared.
    """
    of = {"personal-data": [*PERSONAL_DATA], "secrets": [KEYS, *SECRETS]}
    if "terms" in kinds:
        of["terms"] = [detector(terms)]
    plain = [part for kind in kinds for part in of[kind]]
    return Scanner(plain, looking_inside(Scanner(plain))), Hold(plain), plain.index(KEYS) if KEYS in plain else -1


@lru_cache(maxsize=64)
def _guard(policy: tuple[tuple[str, str], ...]) -> Guard:
    return Guard(dict(policy))


def _check(policy: Mapping[str, str], options: Mapping[str, Any]) -> None:
    if unknown := sorted(kind for kind in policy if kind not in KINDS and not kind.startswith(CUSTOM)):
        raise InvalidInput(
            f"guardrail: no such kind: {', '.join(unknown)}", hint=f"known: {', '.join(sorted(KINDS))}, x:NAME"
        )
    if wrong := sorted(set(policy.values()) - set(MODES)):
        raise InvalidInput(f"guardrail: no such mode: {', '.join(wrong)}", hint=f"known: {', '.join(MODES)}")
    if "length" in policy and int(options.get("max_chars", 0)) < 1:
        raise InvalidInput("guardrail length: no limit is set", hint="set guardrails.max_answer_chars")
