"""Detectors: what they find, what they leave alone, where it stood, and that nothing remains after redaction."""

from __future__ import annotations

import base64
import json
import string
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.errors import InvalidInput
from bedplate.gateway.guardrail import Finding, apply, find, redact

BOTH = ("personal-data", "secrets")


def wide(text: str) -> str:
    return "".join(chr(ord(character) + 0xFEE0) for character in text)


def encoded(header: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")


PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"
TOKEN = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded({'sub': 'x'})}.c2lnbmF0dXJl"
FOUND = [
    ("payment card", "4111111111111111"),
    ("payment card", "4111 1111 1111 1111"),
    ("payment card", "5555-5555-5555-4444"),
    ("payment card", "3782 822463 10005"),
    ("payment card", "2223003122003222"),
    ("payment card", wide("6011111111111117")),
    ("payment card", "4111\u200b1111\u00ad1111\u20601111"),
    ("payment card", "4111\u00a01111\u20111111\u30001111"),
    ("IBAN", "GB82 WEST 1234 5698 7654 32"),
    ("IBAN", "DE89370400440532013000"),
    ("IBAN", "no93 8601 1117 947"),
    ("email address", "jo.o'neil+hr@harbour-mutual.example"),
    ("email address", "müller@firma.de"),
    ("email address", wide("JO@FIRM.EXAMPLE")),
    ("National Insurance number", "AB123456C"),
    ("National Insurance number", "jg 10 37 59 a"),
    ("Social Security number", "078-05-1120"),
    ("Social Security number", "219 09 9999"),
    ("phone number", "+44 (0)20 7946 0958"),
    ("phone number", "+1 (415) 555-2671"),
    ("phone number", "+49.30.901820"),
    ("IP address", "203.0.113.7"),
    ("private key", PEM),
    ("private key", "-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQOYBF"),
    ("AWS access key", "AKIAIOSFODNN7EXAMPLE"),
    ("API key", "sk-proj-4f9aK2m8Qw7ZxY1bT6cR"),
    ("API key", "sk_live_4f9aK2m8Qw7ZxY1bT6cR"),
    ("GitHub token", "ghp_" + "a1B2" * 9),
    ("GitHub token", "github_pat_" + "a1B2_" * 6),
    ("JSON web token", TOKEN),
    ("Bedplate token", "bpk_0123456789ab_" + "A-b_" * 10 + "abc"),
]
LEFT = [
    "4111111111111112",  # Luhn
    "1234567890123452",  # no issuer
    "41111111111111111",  # 17 digits
    "GB82 WEST 1234 5698 7654 33",  # modulo 97
    "GB82 WEST 1234 5698 7654",  # too short
    "GB82 WEST 1234 5698 7654 321",  # too long
    "ZZ82 WEST 1234 5698 7654 32",  # no country
    "someone@example",
    "a@b..c",
    "@handle.example",
    "x @ y.example",
    "jo@10.0.0",
    "jo@firm.x",
    "BG123456A",
    "DA123456A",
    "AO123456A",
    "AB123456E",
    "XAB123456C",
    "000-12-3456",
    "666-12-3456",
    "912-12-3456",
    "123-00-4567",
    "123-45-0000",
    "123-45 6789",
    "123456789",
    "1+1 415 555 2671",
    "+1 415 555 267",
    "+0 20 7946 0958",
    "+44 20",
    "256.1.1.1",
    "1.2.3",
    "1.2.3.4.5",
    "01.2.3.4",
    "-----BEGIN PUBLIC KEY-----",
    "AKIAIOSFODNN7EXAMPL",
    "sk-this-is-a-hyphenated-phrase",
    "task-4f9aK2m8Qw7ZxY1bT6cR",
    "ghp_short",
    f"{encoded({'typ': 'JWT'})}.{encoded({'sub': 'x'})}.c2ln",
    f"{encoded(['alg', 'none', 'x'])}.eyJhbGciOi.c2ln",
    "eyJ-_-_-_-_-.eyJhbGciOi.c2ln",
    "eyJhbGciOiJIUzI1NiJ.eyJh.x",
    "bpx_0123456789ab_" + "a" * 43,
    "password: forgotten",
    "Password: required.",
    "the password is long",
    "password=${DB_PASSWORD}",
    "password=<your password>",
    "password = None",
    "password=***",
    "pwd=abc",
    "cwpwd=abcdef",
]


@pytest.mark.parametrize(("label", "text"), FOUND)
@pytest.mark.parametrize("frame", ["{}", "see {}.", "({})", "é {}, and", "\n{}\n"])
def test_what_should_be_found_is_found_where_it_stands(label: str, text: str, frame: str) -> None:
    whole = frame.format(text)
    found = [f for f in find(whole, BOTH) if f.label == label]
    assert found
    if not text.endswith("lQOYBF"):  # a key that was cut off reaches to the end
        assert [whole[f.start : f.end] for f in found] == [text]
    assert text not in redact(whole, found)
    assert f"[redacted: {label}]" in redact(whole, found)


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert find(f"see {text} there", BOTH) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("password=hunter2&next", "hunter2"),
        ("DB_PASSWORD = correcthorse", "correcthorse"),
        ("passwd: 'two words'", "two words"),
        ('{"api_key": "abcdefgh"}', "abcdefgh"),
        ("pwd:s3cret", "s3cret"),
        ("client_secret='unclosed", "unclosed"),
        ("Passphrase = nonesuch9", "nonesuch9"),
        ("password=$ecret99", "$ecret99"),
    ],
)
def test_of_an_assignment_the_value_is_found(text: str, value: str) -> None:
    (found,) = find(text, ["secrets"])
    assert (found.label, text[found.start : found.end]) == ("password", value)
    assert find(redact(text, [found]), ["secrets"]) == []


def test_a_card_is_found_among_other_figures_and_two_are_two() -> None:
    text = "card 4111 1111 1111 1111 123 12 27 and 5555555555554444 4111111111111111"
    found = [text[f.start : f.end] for f in find(text, ["personal-data"])]
    assert found == ["4111 1111 1111 1111", "5555555555554444", "4111111111111111"]


def test_dots_after_an_address_are_no_part_of_it() -> None:
    text = "mail jo@firm.example... or bo@firm.example."
    assert [text[f.start : f.end] for f in find(text, BOTH)] == ["jo@firm.example", "bo@firm.example"]


def test_positions_are_those_of_the_text_as_given() -> None:
    text = f"\u200b\u200bcard {wide('4111')}\u200b\u200b {wide('1111')} 1111\u200b1111\u200b, x\u200b@\u200by.example"
    card, mail = find(text, BOTH)
    assert text[card.start : card.end] == f"{wide('4111')}\u200b\u200b {wide('1111')} 1111\u200b1111"
    assert text[mail.start : mail.end] == "x\u200b@\u200by.example"
    assert redact(text, [card, mail]).endswith("card [redacted: payment card]\u200b, [redacted: email address]")


def test_only_the_kinds_named_are_looked_for() -> None:
    text = "jo@firm.example AKIAIOSFODNN7EXAMPLE"
    assert [f.kind for f in find(text, BOTH)] == ["personal-data", "secrets"]
    assert [f.label for f in find(text, ["secrets"])] == ["AWS access key"]
    assert find(text, []) == []


def test_findings_that_overlap_are_redacted_once() -> None:
    findings = [Finding("k", "inner", 4, 6), Finding("k", "outer", 2, 8), Finding("k", "late", 7, 9)]
    assert redact("0123456789", findings) == "01[redacted: outer]9"
    assert redact("same", []) == "same"


@pytest.mark.parametrize(
    ("policy", "text", "blocked", "count"),
    [
        ({"personal-data": "observe", "secrets": "observe"}, "jo@firm.example password=hunter22", False, 2),
        ({"personal-data": "redact"}, "[redacted: email address] password=hunter22", False, 1),
        (
            {"personal-data": "redact", "secrets": "block"},
            "[redacted: email address] password=[redacted: password]",
            True,
            2,
        ),
        ({"personal-data": "observe", "secrets": "block"}, "jo@firm.example password=[redacted: password]", True, 2),
        ({}, "jo@firm.example password=hunter22", False, 0),
    ],
)
def test_policy_decides_what_happens(policy: dict[str, str], text: str, blocked: bool, count: int) -> None:  # noqa: FBT001  a column
    guarded = apply("jo@firm.example password=hunter22", policy)
    assert (guarded.text, guarded.blocked, len(guarded.findings)) == (text, blocked, count)


def test_nothing_found_blocks_nothing() -> None:
    guarded = apply("How many days of leave?", {"personal-data": "block", "secrets": "block"})
    assert (guarded.text, guarded.blocked, guarded.findings) == ("How many days of leave?", False, ())


@pytest.mark.parametrize("policy", [{"personal": "redact"}, {"secrets": "hide"}])
def test_a_policy_with_an_unknown_word_is_refused(policy: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="no such"):
        apply("text", policy)


@given(st.text(), st.sampled_from(["observe", "redact", "block"]))
def test_any_text_can_be_guarded(text: str, mode: str) -> None:
    guarded = apply(text, dict.fromkeys(BOTH, mode))
    assert all(0 <= f.start < f.end <= len(text) for f in guarded.findings)
    assert guarded.findings or (guarded.text == text and not guarded.blocked)


@given(st.text(string.digits, min_size=15, max_size=15), st.sampled_from(["", " ", "-"]))
def test_every_card_number_of_an_issuer_is_found(digits: str, between: str) -> None:
    number = f"4{digits[1:]}"
    total = sum(sum(divmod(2 * int(d), 10)) if n % 2 == 0 else int(d) for n, d in enumerate(number))
    number += str(-total % 10)
    text = between.join(number[n : n + 4] for n in range(0, 16, 4))
    found = [f for f in find(f"pay {text} now", BOTH) if f.label == "payment card"]
    assert [(f.start, f.end) for f in found] == [(4, 4 + len(text))]


@pytest.mark.parametrize("between", [" ", "\n", ", "])
def test_neighbours_do_not_hide_each_other(between: str) -> None:
    for pair in product([text for _, text in FOUND], repeat=2):
        guarded = apply(between.join(["", *pair, ""]), dict.fromkeys(BOTH, "redact")).text
        assert not any(text in guarded for text in pair), pair


@given(st.lists(st.sampled_from([text for _, text in FOUND]), min_size=1), st.text(" ,;\n", min_size=1))
def test_nothing_that_was_redacted_remains(texts: list[str], between: str) -> None:
    guarded = apply(between.join(["", *texts, ""]), dict.fromkeys(BOTH, "redact"))
    assert not any(text in guarded.text for text in texts)


@pytest.mark.parametrize(
    "unit", ["a", "4", "4 ", "@", "a@", "1.", "+44 ", "GB82 ", "eyJ", "sk-", 'password="', "\u200b4"]
)
def test_long_runs_of_beginnings_come_to_an_end(unit: str) -> None:
    text = (unit * 100_000)[:100_000]
    assert all(f.end <= len(text) for f in find(text, BOTH))
