"""What each detector finds and what it leaves alone, in whatever disguise; and that no text takes long."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.errors import InvalidInput
from bedplate.gateway import checkdigit
from bedplate.gateway.guardrail import Guard, find
from bedplate.gateway.normal import read

if TYPE_CHECKING:
    from collections.abc import Callable

BOTH = ("personal-data", "secrets")
FOUND = [
    ("Social Security number", "SSN 219099999", "219099999"),
    ("tax id", "Steuer-ID: 86 095 742 719", "86 095 742 719"),
    ("tax id", "Meine Identifikationsnummer ist 47036892816", "47036892816"),
    ("NIR", "n° de sécurité sociale 255081416802538", "255081416802538"),
    ("NIR", "2 55 08 14 168 025 38", "2 55 08 14 168 025 38"),
    ("DNI", "mi DNI es 12345678Z", "12345678Z"),
    ("DNI", "NIE X-1234567-L", "X-1234567-L"),
    ("codice fiscale", "RSSMRA85T10A562S", "RSSMRA85T10A562S"),
    ("BSN", "BSN 123456782", "123456782"),
    ("AHV number", "756.9217.0769.85", "756.9217.0769.85"),
    ("AHV number", "AHV-Nr. 7569217076985", "7569217076985"),
    ("Aadhaar number", "Aadhaar: 9999 4105 7058", "9999 4105 7058"),
    ("CPF", "529.982.247-25", "529.982.247-25"),
    ("CPF", "CPF 52998224725", "52998224725"),
    ("phone number", "call 020 7946 0958", "020 7946 0958"),
    ("phone number", "phone (415) 555-2671", "(415) 555-2671"),
    ("phone number", "Tel. 030 901820", "030 901820"),
    ("phone number", "appelez le 01 23 45 67 89", "01 23 45 67 89"),
    ("phone number", "bel 06-12345678", "06-12345678"),
    ("phone number", "Natel 079 123 45 67", "079 123 45 67"),
    ("IP address", "2001:db8::8a2e:370:7334", "2001:db8::8a2e:370:7334"),
    ("IP address", "host fe80::1ff:fe23:4567:890a.", "fe80::1ff:fe23:4567:890a"),
    ("GitLab token", "glpat-a1B2c3D4e5F6g7H8i9J0", "glpat-a1B2c3D4e5F6g7H8i9J0"),
    ("Slack token", "xoxb-123456789012-abcdefABCDEF", "xoxb-123456789012-abcdefABCDEF"),
    ("Google API key", "AIza" + "SyA1b2" * 5 + "abcde", "AIza" + "SyA1b2" * 5 + "abcde"),
    ("API key", "sk-ant-api03-4f9aK2m8Qw7ZxY1bT6cR", "sk-ant-api03-4f9aK2m8Qw7ZxY1bT6cR"),
    ("API key", "rk_live_4f9aK2m8Qw7ZxY1bT6cR", "rk_live_4f9aK2m8Qw7ZxY1bT6cR"),
    ("password", "postgres://me:s3cr3t,pw@db.example/x", "s3cr3t,pw"),
    ("password", "Passwort = 'geheim 99'", "geheim 99"),
    ("payment card", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
]
LEFT = [
    "219099999",
    "our order 47036892816",
    "Steuer-ID 86 095 742 718",
    "DNI 12345678A",
    "RSSMRA85T10A562T",
    "BSN 123456783",
    "BSN 000000000",
    "order 123456782",
    "7569217076985",
    "756.9217.0769.84",
    "Aadhaar 9999 4105 7059",
    "Aadhaar 9999 4105 7058 1234",
    "111.111.111-11",
    "529.982.247-26",
    "room 020 7946 0958",
    "call on 01.02.2024",
    "version 1.2.3.4",
    "127.0.0.1",
    "std::vector",
    "10:15:30",
    "a::b",
    "http://localhost:8080/a@b",
    "postgres://me:${PASSWORD}@db",
    "12 3.4 17 " * 30,
    "d41d8cd98f00b204e9800998ecf8427e d41d8cd98f00b204e9800998ecf8427e",
]
DISGUISES: dict[str, Callable[[str], str]] = {
    "zero-width": "\u200b".join,
    "soft hyphens": "\u00ad".join,
    "full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "other digits": lambda text: text.translate({48 + n: 0x0660 + n for n in range(10)}),
    "mathematical digits": lambda text: text.translate({48 + n: 0x1D7CE + n for n in range(10)}),
    "no-break blanks": lambda text: text.replace(" ", "\u00a0"),
    "lookalikes": lambda text: text.translate(str.maketrans("aeopcxAKBEI", "аеорсхАКВЕІ")),  # noqa: RUF001  the point
    "base64": lambda text: base64.b64encode(f"it is {text}, you know".encode()).decode(),
    "base64 for addresses": lambda text: base64.urlsafe_b64encode(f"it is {text}, you know".encode()).decode(),
    "base64 behind a path": lambda text: "/v1/" + base64.b64encode(f"it is {text}, really so".encode()).decode(),
    "percent": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "percent of one character": lambda text: text.replace("@", "%40").replace(" ", "%20"),
}
DISGUISED = ["4111 1111 1111 1111", "GB82WEST12345698765432", "jo@harbour.example", "AKIAIOSFODNN7EXAMPLE"]


@pytest.mark.parametrize(("label", "text", "part"), FOUND)
@pytest.mark.parametrize("frame", ["{}", "see {}.", "({})", "é {}, and"])
def test_what_should_be_found_is_found_where_it_stands(label: str, text: str, part: str, frame: str) -> None:
    whole = frame.format(text)
    assert part in [whole[f.start : f.end] for f in find(whole, BOTH) if f.label == label]


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert find(f"see {text} there", BOTH) == []


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("text", DISGUISED)
def test_no_disguise_hides_anything(disguise: str, text: str) -> None:
    guard = Guard(dict.fromkeys(BOTH, "redact"))
    worn = DISGUISES[disguise](text)
    whole = f"Well, {worn} it is."
    assert not guard.clear([whole])
    assert worn not in guard.apply(whole).text
    assert guard.apply(whole).text.startswith("Well, [redacted: ")
    assert guard.apply(whole).text.endswith("] it is.")


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_disguise_of_nothing_is_nothing(disguise: str) -> None:
    text = f"Well, {DISGUISES[disguise]('four days of leave in May')} it is."
    assert Guard(dict.fromkeys(BOTH, "redact")).apply(text).text == text


@given(st.text())
def test_a_plain_reading_leads_back_to_the_text(text: str) -> None:
    plain = read(text)
    places = [plain.place(n) for n in range(len(plain.text))]
    assert places == sorted(set(places))
    assert [read(text[place]).text for place in places] == list(plain.text)


@given(st.text(), st.text())
def test_a_plain_reading_is_the_same_in_pieces(one: str, other: str) -> None:
    assert read(one).text + read(other).text == read(one + other).text


@pytest.mark.parametrize(
    ("check", "number"),
    [
        (checkdigit.bsn, "123456782"),
        (checkdigit.steuer_id, "86095742719"),
        (checkdigit.ean13, "7569217076985"),
        (checkdigit.aadhaar, "999941057058"),
        (checkdigit.cpf, "52998224725"),
        (checkdigit.luhn, "4111111111111111"),
        (checkdigit.nir, "255081416802538"),
    ],
)
def test_a_check_digit_notices_every_single_wrong_digit(check: Callable[[str], bool], number: str) -> None:
    assert check(number)
    for place in range(1, len(number)):
        for digit in set("0123456789") - {number[place]}:
            assert not check(number[:place] + digit + number[place + 1 :]), (place, digit)


@pytest.mark.parametrize(
    ("terms", "text", "found"),
    [
        (["Project Falcon"], "the PROJECT  falcon is", "PROJECT  falcon"),
        (["project falcon"], "a project-falcon!", "project-falcon"),
        (["falcon"], "falcons, falconry, afalcon", None),
        (["new", "new york"], "in new yorkshire", "new"),
        (["new", "new york"], "in New York", "New York"),
        (["c++"], "we use C++ here", "C++"),
        (["über"], "ÜBER alles", "ÜBER"),
        (["Кот"], "это кот.", "кот"),
        (["秘密"], "これは、秘密、です", "秘密"),
        (["merger"], "the mеrgеr of", "mеrgеr"),  # noqa: RUF001  the point
        (["merger"], "mer\u200bger", "mer\u200bger"),
        (["alpha"], "é alpha", "alpha"),
    ],
)
def test_a_term_is_found_as_a_whole_word(terms: list[str], text: str, found: str | None) -> None:
    findings = Guard({"terms": "redact"}, {"terms": terms}).apply(text).findings
    assert [text[f.start : f.end] for f in findings] == ([found] if found else [])


def test_terms_that_follow_each_other_are_all_found() -> None:
    guard = Guard({"terms": "redact"}, {"terms": ["alpha", "beta"]})
    assert guard.apply("alpha beta alpha").text == " ".join(["[redacted: blocked term]"] * 3)


def test_a_thousand_terms_are_one_pass() -> None:
    guard = Guard({"terms": "block"}, {"terms": [f"project number {n} of the house" for n in range(1000)]})
    assert guard.clear(["project number 1000 of the house"])
    assert guard.apply("see Project number 77 of the house").blocked
    window = guard.window()
    window.feed("see Project number 77 of ")
    window.feed("the house.")
    window.end()
    assert window.blocked


@pytest.mark.parametrize("terms", [[], [""], [" \u200b"], ["x" * 101], ["x"] * 1001])
def test_terms_must_be_terms(terms: list[str]) -> None:
    with pytest.raises(InvalidInput, match="terms"):
        Guard({"terms": "block"}, {"terms": terms})


@pytest.mark.parametrize(
    "unit", ["a", "4", "@", "a@", "eyJ", "GB82", "%41", "QUJD", "x\u200b", "-----BEGIN ", "://a:b@"]
)
def test_four_megabytes_of_beginnings_come_to_an_end(unit: str) -> None:
    text = (unit * (4 << 20))[: 4 << 20]
    guard = Guard(dict.fromkeys(BOTH, "redact"))
    assert all(f.end <= len(text) for f in guard.apply(text).findings)
