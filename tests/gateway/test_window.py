"""Streams: what goes out is what the whole text would have come to, however the pieces fall, and it goes out soon."""

from __future__ import annotations

import base64
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.gateway.guardrail import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bedplate.gateway.window import Window

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"
TERMS = ["project falcon", "Проект заря", "秘密計画", "the fox"]
WHOLE = [
    "4111 1111 1111 1111",
    "5555-5555-5555-4444",
    "GB82 WEST 1234 5698 7654 32",
    "jo.o'neil+hr@harbour-mutual.example",
    "müller@firma.de",
    "jg 10 37 59 a",
    "219 09 9999",
    "+44 (0)20 7946 0958",
    "203.0.113.7",
    "2001:db8::8a2e:370:7334",
    "AKIAIOSFODNN7EXAMPLE",
    "sk-proj-4f9aK2m8Qw7ZxY1bT6cR",
    "password=hunter22",
    "passwd: 'two words'",
    'password = "a b c d"',
    "pwd: 'correct horse battery staple, and then some more of it that goes on'",
    "postgres://me:s3cr3t,pw@db.example/x",
    "BSN 123456782",
    "Steuer-ID: 86 095 742 719",
    "NIR 2 55 08 14 168 025 38",
    "RSSMRA85T10A562S",
    "756.9217.0769.85",
    "call 020 7946 0958",
    "phone (415) 555-2671",
    "project falcon",
    "проект  Заря",
    "秘密計画",
    PEM,
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQOYBF",
    "-----END RSA PRIVATE KEY-----",
]
BITS = [
    " ",
    "  ",
    "\n",
    ", ",
    ". ",
    "(",
    ")",
    "-",
    "_",
    "|",
    "/",
    "=",
    ":",
    "@",
    "%4",
    "é",
    "—",
    "\u200b",
    "\u00ad",
    "{",
]
BITS += ["漢字", "слово ", "the ", "quick brown fox ", "12", "123 ", "4 ", "pass", "-----BEGIN ", "://", "AB", "GB82 "]
BITS += ["\U0001f600\ufe0f", "'", '"', "x@", "@y.example", "+44 ", "call ", "sk-", "eyJ", "proj\u0435ct ", "falcon"]
BITS += ["password=", "\u00a0"]
TRICKS: list[Callable[[str], str]] = [
    str,
    lambda text: base64.b64encode(text.encode()).decode(),
    lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "\u200b".join,
    lambda text: text.replace("a", "\u0430").replace("o", "\u03bf"),
]
whole = st.builds(lambda trick, text: trick(text), st.sampled_from(TRICKS), st.sampled_from(WHOLE))
broken = st.builds(lambda text, at: text[at:] if at > 0 else text[:at], whole, st.integers(-60, 60).filter(bool))
loose = st.text("0123456789 .-+()ab@:/'=\"\u0660\u200d", max_size=40)
texts = st.lists(whole | broken | st.sampled_from(BITS) | loose, max_size=9).map("".join)
sizes = st.lists(st.integers(1, 60), min_size=1, max_size=8)

REDACT = {"personal-data": "redact", "secrets": "redact", "terms": "redact"}
OPTIONS = {"terms": TERMS, "max_chars": 90}
PASSING = [
    Guard(REDACT, OPTIONS),
    Guard({**REDACT, "secrets": "observe"}, OPTIONS),
    Guard({"personal-data": "observe", "secrets": "redact"}),
    Guard({**REDACT, "length": "redact"}, OPTIONS),
    Guard(dict.fromkeys([*REDACT, "length"], "observe"), OPTIONS),
]
STOPPING = [
    Guard({"secrets": "block", "personal-data": "redact", "terms": "ask"}, OPTIONS),
    Guard({"secrets": "observe", "personal-data": "ask", "length": "block"}, OPTIONS),
]


def pieces(text: str, sizes: list[int]) -> Iterable[str]:
    place = turn = 0
    while place < len(text):
        size = sizes[turn % len(sizes)]
        yield text[place : place + size]
        place, turn = place + size, turn + 1


def sent(window: Window, text: str, sizes: list[int]) -> str:
    """What went out, each part as soon as the window let it."""
    out, place = [], 0
    for piece in [*pieces(text, sizes), None]:
        upto = window.feed(piece) if piece is not None else window.end()
        assert upto >= place
        for start, end, instead in window.changes:
            if place <= start < upto:
                assert end <= upto, "half a change"
                out += [text[place:start], instead]
            if place < end:
                place = max(place, min(end, upto))
        out.append(text[place:upto])
        place = upto
    return "".join(out)


@given(texts, sizes, st.sampled_from(PASSING))
def test_a_stream_comes_out_as_the_whole_text_would(text: str, sizes: list[int], guard: Guard) -> None:
    window, guarded = guard.window(), guard.apply(text)
    assert sent(window, text, sizes) == guarded.text
    assert sorted(map(str, window.findings)) == sorted(map(str, guarded.findings))
    assert not window.blocked
    assert not window.asks


@given(texts, sizes, st.sampled_from(STOPPING))
def test_nothing_goes_out_from_the_first_finding_on_that_stops(text: str, sizes: list[int], guard: Guard) -> None:
    window, guarded = guard.window(), guard.apply(text)
    out = sent(window, text, sizes)
    stops = [f.start for f in guarded.findings if guard.policy[f.kind] in {"ask", "block"}]
    assert (window.blocked or window.asks) == bool(stops)
    assert guarded.text.startswith(out)
    assert window.feed("more") <= min(stops, default=len(text) + 4)


@pytest.mark.parametrize("text", WHOLE)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_each_finding_is_held_whole_though_it_comes_a_character_at_a_time(text: str, size: int) -> None:
    whole = f"{'Before it comes much that is no matter, and has left. ' * 8}and {text} and then; more"
    window = PASSING[0].window()
    assert sent(window, whole, [size]) == PASSING[0].apply(whole).text


def test_a_word_counts_for_the_number_behind_it_though_it_has_left_already() -> None:
    for before in range(200, 500, 7):
        whole = "no matter " * (before // 10) + "x" * (before % 10) + " call me if you like on 020 7946 0958, thanks"
        assert sent(PASSING[0].window(), whole, [3]).endswith("you like on [redacted: phone number], thanks")


@given(texts)
def test_what_is_clear_has_nothing_in_it(text: str) -> None:
    for guard in PASSING:
        assert not (guard.clear([text]) and guard.apply(text).findings)


@given(texts, sizes)
def test_places_ascend_and_changes_do_not_overlap(text: str, sizes: list[int]) -> None:
    window = PASSING[0].window()
    places = [window.feed(piece) for piece in pieces(text, sizes)]
    places.append(window.end())
    assert places == sorted(places)
    assert places[-1] == len(text)
    assert all(end <= start for (_, end, _), (start, _, _) in pairwise(window.changes))


def test_prose_flows_with_no_more_than_a_word_held_back() -> None:
    prose = "Twenty-six days of leave are granted in every year, of which twelve were taken before the end of May. " * 9
    window, fed, most = PASSING[0].window(), 0, 0
    for piece in pieces(prose, [4]):
        fed += len(piece)
        most = max(most, fed - window.feed(piece))
    assert most <= len("Twenty-six ") + 4


@pytest.mark.parametrize("text", ["12 3.4 17 " * 200, "漢字かな交じり文" * 300, "x " * 999, '{"a":"b c","d":1},' * 99])
def test_other_text_flows_with_little_held_back(text: str) -> None:
    window, fed, most = PASSING[0].window(), 0, 0
    for piece in pieces(text, [4]):
        fed += len(piece)
        most = max(most, fed - window.feed(piece))
    assert most <= 128


def test_text_flows_again_after_a_long_token() -> None:
    window = PASSING[0].window()
    token = "x7" * 40_000
    for piece in pieces(token, [50]):
        assert window.feed(piece) == 0
    assert window.feed(" and then") >= len(token)


def test_a_private_key_is_swallowed_as_it_comes() -> None:
    window = Guard({"secrets": "redact"}).window()
    assert window.feed("see -----BEGIN PRIVATE KEY-----\n") == 32
    assert window.changes == [(4, 31, "[redacted: private key]"), (31, 32, "")]
    assert window.feed("MIIE" * 1000) == 4032
    assert window.feed("\n-----END PRIVATE KEY----- ok ") == 4062
    assert window.changes == [(4, 31, "[redacted: private key]"), (31, 4058, "")]
    assert window.end() == 4062
    (found,) = window.findings
    assert (found.label, found.start, found.end) == ("private key", 4, 4058)


def test_an_answer_that_is_too_long_ends_where_it_may() -> None:
    guard = Guard({"length": "redact"}, {"max_chars": 10})
    assert sent(guard.window(), "0123456789abcdef", [3]) == guard.apply("0123456789abcdef").text
    assert guard.apply("0123456789abcdef").text == "0123456789[redacted: text beyond 10 characters]"
    assert guard.apply("0123456789").findings == ()


def test_what_begins_where_an_answer_is_too_long_gives_its_name_however_it_comes() -> None:
    guard = Guard({"length": "redact", "personal-data": "redact"}, {"max_chars": 6})
    text = "write jo@firm.example, or do not write at all"
    assert guard.apply(text).text == "write [redacted: email address]"
    assert sent(guard.window(), text, [1]) == "write [redacted: email address]"


def test_what_is_judged_as_a_whole_lets_nothing_out_before_the_end() -> None:
    guard = Guard({"citations": "block"})
    window = guard.window()
    assert window.feed("Twenty-six days [1].") == 0
    assert window.end() == 20
    refused = guard.window()
    assert refused.feed("Twenty-six days.") == 0
    assert (refused.end(), refused.blocked) == (0, True)


def test_what_only_observes_the_whole_lets_everything_out_and_notes_it() -> None:
    window = Guard({"citations": "observe"}).window()
    assert window.feed("Twenty-six days.") == 16
    assert window.end() == 16
    assert [f.label for f in window.findings] == ["no citation"]


def test_a_policy_of_nothing_lets_everything_out() -> None:
    window = Guard({}).window()
    assert window.feed("4111 1111 1111 1111") == 19
    assert window.end() == 19


@pytest.mark.parametrize(
    "unit", ["4 ", "4", "x", "eyJ", "GB82 ", '"', "password=", "\u200b4", "漢", "-----BEGIN ", "://"]
)
def test_streams_of_beginnings_take_time_in_line_with_their_length(unit: str) -> None:
    text = (unit * 40_000)[:40_000]
    window = PASSING[0].window()
    for piece in pieces(text, [7]):
        window.feed(piece)
    assert window.end() == len(text)
