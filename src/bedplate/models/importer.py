"""Results of other tools, read as samples: Inspect logs, promptfoo's JSON, JUnit XML. Sizes are bounded, DTDs refused.

A tool's exit code is not a verdict (Inspect ends well at accuracy 0): what is read here goes through our own gate.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from bedplate.errors import InvalidInput
from bedplate.kernel.event import canonical

from .suite import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_FILE = 64 << 20  # bytes, of a file and of each part of one
MAX_ALL = 512 << 20  # bytes of all parts of a log
MAX_SAMPLES = 20_000
MAX_WHY = 500
MAX_NAME = 200
MAX_DEPTH = 64
ZSTANDARD = 93  # APPNOTE.TXT, 4.4.5; Inspect packs its logs so
LOCAL_HEADER = 30
PASSES = ("C", "c", "correct", "yes", "true")  # of Inspect; a part of a mark ("P") is no pass


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file says. `dataset` is the SHA-256 of what was asked, as far as the file holds it; `file` of the file."""

    source: str  # inspect, promptfoo, junit
    name: str
    file: str
    dataset: str
    outcomes: tuple[Outcome, ...]
    config: Mapping[str, str] = field(default_factory=dict)


def read(content: bytes, name: str, scorer: str = "") -> Imported:
    """Read a file by what it holds; `InvalidInput` says what is wrong with it. `scorer` chooses among several."""
    if len(content) > MAX_FILE:
        raise _wrong(name, f"it has {len(content)} bytes, more than {MAX_FILE}")
    if content.startswith(b"PK\x03\x04"):
        log = _unpacked(content, name)
    elif content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return _junit(content, name)
    else:
        log = _object(content, name)
    try:
        if "eval" in log and "samples" in log:
            return _inspect(log, content, name, scorer)
        if "results" in log:
            return _promptfoo(log, content, name)
    except (AttributeError, KeyError, TypeError, ValueError) as odd:
        raise _wrong(name, f"it is not laid out as it should be: {type(odd).__name__} {odd}") from None
    raise _wrong(name, "it is none of: an Inspect log, promptfoo's results, JUnit XML")


def _inspect(log: Mapping[str, Any], content: bytes, name: str, scorer: str) -> Imported:
    if log.get("status") != "success":
        raise _wrong(name, f"the run it is of ended with {log.get('status')!r}, not with success")
    samples = log["samples"] or []
    told = log["eval"]
    expected = (log.get("results") or {}).get("total_samples", len(samples))
    if len(samples) != expected:
        raise _wrong(name, f"it holds {len(samples)} of {expected} samples")
    outcomes, asked = [], []
    for sample in samples:
        once = sample.get("epoch", 1) == 1
        case = f"{sample['id']}" if once else f"{sample['id']}/{sample['epoch']}"
        passed, why = _scored(sample, name, scorer)
        outcomes.append(replace(_outcome(case, passed, why), answer=_answered(sample)))
        if once:
            asked.append((str(sample["id"]), sample.get("input"), sample.get("target")))
    config = {"task": told.get("task"), "model": told.get("model"), "dataset": (told.get("dataset") or {}).get("name")}
    scorers = sorted({found for sample in samples for found in sample.get("scores") or {}})
    config |= {"scorer": scorer or ", ".join(scorers), "inspect": (told.get("packages") or {}).get("inspect_ai")}
    return _imported("inspect", name, content, asked, outcomes, config)


def _answered(sample: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a sample's answer, by which the record of its call is found: `answer_sha256`."""
    said = (sample.get("output") or {}).get("completion")
    return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest() if isinstance(said, str) and said else ""


def _scored(sample: Mapping[str, Any], name: str, scorer: str) -> tuple[bool, str]:
    if sample.get("error"):
        return False, str((sample["error"] or {}).get("message", "the sample failed"))
    scores = sample.get("scores") or {}
    if not scores:
        return False, "nothing scored it"
    if not scorer and len(scores) > 1:
        raise _wrong(name, f"it has several scorers: {', '.join(sorted(scores))}", "choose one: --scorer NAME")
    found = scores.get(scorer) if scorer else next(iter(scores.values()))
    if not isinstance(found, dict):
        raise _wrong(name, f"nothing in it was scored by {scorer!r}: {', '.join(sorted(scores))}")
    value = found.get("value")
    if isinstance(value, dict | list):
        raise _wrong(name, "its scores are several values each, and not one verdict", "score with one metric")
    passed = value == 1 or str(value).lower() in {p.lower() for p in PASSES}
    explained = str(found.get("explanation") or "")
    if explained and explained != (sample.get("output") or {}).get("completion"):  # answers do not belong into a ledger
        return passed, explained
    return passed, f"scored {value}"


def _promptfoo(log: Mapping[str, Any], content: bytes, name: str) -> Imported:
    results = log["results"]
    rows = results.get("results") if isinstance(results, dict) else results
    if not isinstance(rows, list) or not all(isinstance(r, dict) and isinstance(r.get("success"), bool) for r in rows):
        raise _wrong(name, "it is not what promptfoo writes: results.results with `success` for each")
    many = len({(_provider(r), r.get("promptIdx", 0)) for r in rows}) > 1
    outcomes, asked = [], []
    for place, row in enumerate(rows):
        test = row.get("testCase") or {}
        case = str(test.get("description") or f"test {row.get('testIdx', place) + 1}")
        if many:
            case = f"{case} / {_provider(row)} / prompt {row.get('promptIdx', 0) + 1}"
        why = (row.get("gradingResult") or {}).get("reason") or row.get("error") or "no reason given"
        outcomes.append(_outcome(case, row["success"], str(why)))
        asked.append((case, test.get("vars", row.get("vars")), test.get("assert")))
    config = {"provider": ", ".join(sorted({_provider(r) for r in rows})), "promptfoo": log.get("evalId")}
    return _imported("promptfoo", name, content, asked, outcomes, config)


def _provider(row: Mapping[str, Any]) -> str:
    provider = row.get("provider")
    return str(provider.get("id", "")) if isinstance(provider, dict) else str(provider or "")


class _Cases:
    """Collects the test cases of JUnit XML as they pass by."""

    def __init__(self) -> None:
        self.found: list[tuple[str, bool, str]] = []
        self._depth = 0
        self._said: list[str] = []

    def start(self, tag: str, given: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        if tag == "testcase":
            name = ".".join(part for part in (given.get("classname", ""), given.get("name", "")) if part)
            self.found.append((name or f"test {len(self.found) + 1}", True, "passed"))
        elif tag in {"failure", "error", "skipped"} and self.found:
            self._said = []
            self.found[-1] = (self.found[-1][0], False, given.get("message") or tag)

    def said(self, text: str) -> None:
        if sum(map(len, self._said)) < MAX_WHY:
            self._said.append(text)

    def end(self, tag: str) -> None:
        self._depth -= 1
        if tag in {"failure", "error", "skipped"} and self.found and self.found[-1][2] == tag:
            self.found[-1] = (self.found[-1][0], False, "".join(self._said).strip() or tag)


def _junit(content: bytes, name: str) -> Imported:
    cases = _Cases()
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = cases.start, cases.end
    parser.CharacterDataHandler = cases.said
    parser.StartDoctypeDeclHandler = _refuse_dtd
    try:
        parser.Parse(content, True)  # noqa: FBT003  expat's own signature: this is all of it
    except (expat.ExpatError, ValueError) as broken:
        raise _wrong(name, str(broken)) from None
    outcomes = [_outcome(*found) for found in cases.found]
    return _imported("junit", name, content, [(o.case, None, None) for o in outcomes], outcomes, {})


def _refuse_dtd(*_: object) -> None:
    raise ValueError("it has a document type declaration, and entities are not read")


def _imported(
    source: str,
    name: str,
    content: bytes,
    asked: Iterable[tuple[str, object, object]],
    outcomes: list[Outcome],
    config: Mapping[str, object],
) -> Imported:
    if not outcomes:
        raise _wrong(name, "it holds no samples")
    if len(outcomes) > MAX_SAMPLES:
        raise _wrong(name, f"it holds {len(outcomes)} samples, more than {MAX_SAMPLES}")
    if len({o.case for o in outcomes}) < len(outcomes):
        raise _wrong(name, "two samples have one name", "give each its own")
    rows = sorted([case, json.dumps([given, wanted], sort_keys=True, default=str)] for case, given, wanted in asked)
    dataset = hashlib.sha256(canonical(rows)).hexdigest()
    told = {key: str(value)[:MAX_NAME] for key, value in config.items() if value}
    return Imported(source, name[:MAX_NAME], hashlib.sha256(content).hexdigest(), dataset, tuple(outcomes), told)


def _outcome(case: str, passed: bool, why: str) -> Outcome:  # noqa: FBT001  a row
    return Outcome(_clean(case)[:MAX_NAME], passed, " ".join(_clean(why).split())[:MAX_WHY])


def _clean(text: str) -> str:
    """Replace lone surrogates, which JSON can hold and records cannot."""
    return text.encode("utf-8", "replace").decode()


def _object(content: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as broken:
        raise _wrong(name, f"it is no JSON: {broken}") from None
    if not isinstance(found, dict):
        raise _wrong(name, "it is no JSON object")
    return found


def _unpacked(content: bytes, name: str) -> dict[str, Any]:
    """Read an `.eval` log, a zip of JSON files, without Inspect."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = {p.filename: p for p in archive.infolist()}
            if len(parts) > MAX_SAMPLES or sum(p.file_size for p in parts.values()) > MAX_ALL:
                raise _wrong(name, "what it holds is too large")
            if "header.json" not in parts:
                raise _wrong(name, "there is no header.json in it: the run has not ended, or it is no Inspect log")
            wanted = sorted(n for n in parts if n.startswith("samples/") and n.endswith(".json"))
            header = _object(_part(archive, content, parts["header.json"], name), name)
            samples = [_object(_part(archive, content, parts[n], name), name) for n in wanted]
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as broken:  # the last: a packing zipfile does not know
        raise _wrong(name, f"it cannot be unpacked: {broken}") from None
    return {**header, "samples": samples}


def _part(archive: zipfile.ZipFile, content: bytes, part: zipfile.ZipInfo, name: str) -> bytes:
    if part.file_size > MAX_FILE:
        raise _wrong(name, f"{part.filename} is too large")
    with suppress(NotImplementedError), archive.open(part) as stream:  # Python 3.14 knows Zstandard itself
        return stream.read(MAX_FILE)
    if part.compress_type != ZSTANDARD:
        raise _wrong(name, f"{part.filename} is packed in a way that is not known here")
    try:
        import zstandard  # noqa: PLC0415  only for this, and only before Python 3.14
    except ImportError:
        hint = "pip install 'bedplate[evals]', or write it as JSON: inspect log dump FILE > FILE.json"
        raise _wrong(name, "it is packed with Zstandard, which is not installed here", hint) from None
    lengths = content[part.header_offset + 26 : part.header_offset + LOCAL_HEADER]
    start = part.header_offset + LOCAL_HEADER + int.from_bytes(lengths[:2], "little")
    start += int.from_bytes(lengths[2:], "little")
    packed = content[start : start + part.compress_size]
    try:
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed), read_across_frames=True) as stream:
            return bytes(stream.read(part.file_size + 1))
    except zstandard.ZstdError as broken:
        raise _wrong(name, f"{part.filename} cannot be unpacked: {broken}") from None


def _wrong(name: str, what: str, hint: str = "") -> InvalidInput:
    return InvalidInput(f"{name} cannot be read: {what}", hint=hint)
