"""Guardrails: what they find of what is there, what they take for it, and what they cost.

Labelled sentences are made here, seeded: values with right check digits in sentences people write, the same with a
wrong check digit, and figures that mean nothing. Clean text is this repository's own: documentation and examples.
Times are processor time, beside the same patterns one by one on Python's `re`.

    python bench/guardrails.py
"""

from __future__ import annotations

import base64
import json
import random
import re
import string
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.gateway import checkdigit
from bedplate.gateway.guardrail import Guard
from bedplate.gateway.personal import CARD_LENGTHS, IBAN_LENGTHS, PERSONAL_DATA
from bedplate.gateway.secret import KEYS, SECRETS

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
EACH = 200  # sentences a label
DIGITS, LETTERS, WORDY = string.digits, string.ascii_uppercase, string.ascii_letters + string.digits
PROSE = (
    "The employee asked how many days of annual leave remain this year and the assistant answered that twenty-six days"
    " are granted, of which 12 were taken by 3 May. "
)
FRAMES = ["{}", "Hello, {} thanks.", "We noted: {}.", "({})", "Please check {} again, and tell me.", "- {}\n- next"]


class Maker:
    """Makes values that are right."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def some(self, alphabet: str, length: int) -> str:
        """Return random characters."""
        return "".join(self.random.choices(alphabet, k=length))

    def right(self, check: Callable[[str], bool], make: Callable[[], str]) -> str:
        """Make values until one passes its check."""
        while not check(value := make()):
            pass
        return value

    def one(self, *values: str) -> str:
        """Choose one."""
        return self.random.choice(values)

    def grouped(self, value: str, sizes: list[int], *separators: str) -> str:
        """Write a value in groups."""
        separator, parts, place = self.one(*separators), [], 0
        for size in sizes:
            parts.append(value[place : place + size])
            place += size
        return separator.join([*parts, *([value[place:]] if value[place:] else [])])

    def card(self) -> str:
        """Make a payment card's number."""
        prefix = self.random.choice(sorted(CARD_LENGTHS)).decode()
        length = self.random.choice(CARD_LENGTHS[prefix.encode()])
        value = self.right(checkdigit.luhn, lambda: prefix + self.some(DIGITS, length - 2))
        return self.grouped(value, [4, 6] if length == 15 else [4] * ((length - 1) // 4), "", " ", "-")

    def iban(self) -> str:
        """Make an IBAN."""
        country = self.random.choice(sorted(IBAN_LENGTHS))
        body = self.some(DIGITS, int(IBAN_LENGTHS[country]) - 4)
        value = self.right(checkdigit.iban, lambda: f"{country}{self.random.randrange(2, 99):02}{body}")
        return self.grouped(value, [4] * (len(value) // 4), "", " ")

    def email(self) -> str:
        """Make an address of mail."""
        name = self.some(string.ascii_lowercase, 5) + self.one("", ".", "+hr", "_x") + self.some(DIGITS, 2)
        return f"{name}@{self.some(string.ascii_lowercase, 6)}.{self.one('example', 'co.example', 'de', 'com')}"

    def phone(self) -> str:
        """Make a number with a country's code."""
        code, sizes = self.random.choice(
            [("44 20", (4, 4)), ("1 415", (3, 4)), ("49 30", (3, 4)), ("33 1", (2, 2, 2, 2)), ("41 44", (3, 2, 2))]
        )
        rest = [self.one(*"23456789") + self.some(DIGITS, size - 1) for size in sizes]
        separator = self.one(" ", "-", ".", "")
        return f"+{code.replace(' ', separator)}{separator}{separator.join(rest)}"

    def phone_at_home(self) -> str:
        """Make a number without one, behind a word that says what it is."""
        number = self.one(
            f"020 7{self.some(DIGITS, 3)} {self.some(DIGITS, 4)}",
            f"({self.one(*'23456789')}15) {self.one(*'23456789')}{self.some(DIGITS, 2)}-{self.some(DIGITS, 4)}",
            f"030 {self.one(*'123456789')}{self.some(DIGITS, 6)}",
            "0" + self.one("1", "6") + "".join(f" {self.some(DIGITS, 2)}" for _ in range(4)),
            f"06-{self.one(*'123456789')}{self.some(DIGITS, 7)}",
            f"079 {self.some(DIGITS, 3)} {self.some(DIGITS, 2)} {self.some(DIGITS, 2)}",
        )
        return f"{self.one('call me on', 'Tel.', 'phone:', 'my mobile is', 'Rufnummer', 'reach her at')} {number}"

    def steuer_id(self) -> str:
        """Make a German tax id."""

        def make() -> str:
            first = self.random.sample(DIGITS, 9)
            first.insert(self.random.randrange(10), self.random.choice(first))
            return "".join(first) + self.some(DIGITS, 1)

        value = self.right(lambda v: v[0] != "0" and checkdigit.steuer_id(v), make)
        return f"{self.one('Steuer-ID', 'IdNr.', 'tax id:')} {self.grouped(value, [2, 3, 3], '', ' ')}"

    def nir(self) -> str:
        """Make a French INSEE number."""
        body = f"{self.one('1', '2')}{self.some(DIGITS, 2)}{self.random.randrange(1, 13):02}{self.some(DIGITS, 8)}"
        value = f"{body}{97 - int(body) % 97:02}"
        return f"numéro de sécurité sociale {self.grouped(value, [1, 2, 2, 2, 3, 3], '', ' ')}"

    def dni(self) -> str:
        """Make a Spanish DNI or NIE."""
        number = self.one(*"0123456789XYZ") + self.some(DIGITS, 7)
        letter = checkdigit.CONTROL_LETTERS[int(number.translate(str.maketrans("XYZ", "012"))) % 23]
        return f"DNI {number}{self.one('', '-')}{letter}"

    def fiscal(self) -> str:
        """Make an Italian tax code."""

        def make() -> str:
            day = f"{self.random.choice([*range(1, 29), *range(41, 69)]):02}"
            start = self.some("BCDFGLMNPRSTV", 6) + self.some(DIGITS, 2) + self.one(*"ABCDEHLMPRST") + day
            return start + self.one(*"ABCDEFGHIL") + self.some(DIGITS, 3) + self.one(*LETTERS)

        return self.right(checkdigit.codice_fiscale, make)

    def numbered(self, words: tuple[str, ...], check: Callable[[str], bool], first: str, length: int) -> str:
        """Make a number of bare digits, behind a word that says what it is."""
        value = self.right(check, lambda: first + self.some(DIGITS, length - len(first)))
        return f"{self.one(*words)} {value}"


def makers(m: Maker) -> dict[str, Callable[[], str]]:
    """Say how a value of each label is made, with the words that people put before it."""
    token = json.dumps({"alg": "HS256"}).encode()
    return {
        "payment card": m.card,
        "IBAN": m.iban,
        "email address": m.email,
        "phone number": lambda: m.one(m.phone(), m.phone_at_home()),
        "IP address": lambda: m.one(
            ".".join(str(m.random.randrange(1, 255)) for _ in range(4)).replace("127.", "12.", 1),
            "2001:db8:" + ":".join(f"{m.random.randrange(1, 65536):x}" for _ in range(6)),
            f"fd00::{m.random.randrange(1, 65536):x}",
        ),
        "National Insurance number": lambda: m.grouped(
            m.one("AB", "JG", "PW") + m.some(DIGITS, 6) + m.one(*"ABCD"), [2, 2, 2, 2], "", " "
        ),
        "Social Security number": lambda: m.grouped(
            f"{m.random.randrange(1, 666):03}{m.random.randrange(1, 100):02}{m.random.randrange(1, 10000):04}",
            [3, 2],
            "-",
            " ",
        ),
        "tax id": m.steuer_id,
        "NIR": m.nir,
        "DNI": m.dni,
        "codice fiscale": m.fiscal,
        "BSN": lambda: m.numbered(("BSN", "burgerservicenummer"), checkdigit.bsn, "", 9),
        "AHV number": lambda: m.grouped(
            m.right(checkdigit.ean13, lambda: "756" + m.some(DIGITS, 10)), [3, 4, 4], ".", " "
        ),
        "Aadhaar number": lambda: m.numbered(("Aadhaar", "aadhaar no."), checkdigit.aadhaar, m.one(*"23456789"), 12),
        "CPF": lambda: m.numbered(("CPF", "cpf n.º"), checkdigit.cpf, "", 11),
        "private key": lambda: (
            f"-----BEGIN PRIVATE KEY-----\n{m.some(WORDY, 64)}\n{m.some(WORDY, 40)}\n-----END PRIVATE KEY-----"
        ),
        "AWS access key": lambda: "AKIA" + m.some(LETTERS + DIGITS, 16),
        "API key": lambda: m.one("sk-", "sk-ant-api03-", "sk_live_", "rk_test_") + m.some(WORDY, 32) + "7",
        "GitHub token": lambda: m.one("ghp_", "gho_") + m.some(WORDY, 36),
        "GitLab token": lambda: "glpat-" + m.some(WORDY, 20),
        "Slack token": lambda: f"xoxb-{m.some(DIGITS, 12)}-{m.some(WORDY, 24)}",
        "Google API key": lambda: "AIza" + m.some(WORDY, 35),
        "JSON web token": lambda: (
            f"{base64.urlsafe_b64encode(token).decode().rstrip('=')}.{m.some(WORDY, 20)}.{m.some(WORDY, 43)}"
        ),
        "password": lambda: m.one(
            f"password={m.some(WORDY, 9)}1",
            f'"api_key": "{m.some(WORDY, 24)}"',
            f"postgres://app:{m.some(WORDY, 12)}@db.internal/app",
            f"DB_PASSWORD: '{m.some(WORDY, 12)}'",
        ),
    }


def miss(m: Maker) -> str:
    """Make figures that mean nothing, or nothing any more."""
    return m.one(
        f"order {m.some(DIGITS, 9)} of {m.some(DIGITS, 4)}",
        f"invoice {m.some(DIGITS, 11)}",
        f"{m.random.randrange(1, 29):02}.{m.random.randrange(1, 13):02}.2026 {m.random.randrange(24):02}:30:15",
        f"2026-11-{m.random.randrange(1, 30):02}T{m.random.randrange(24):02}:15:00Z",
        f"version {m.some(DIGITS, 1)}.{m.some(DIGITS, 1)}.{m.some(DIGITS, 2)}.{m.some(DIGITS, 3)}",
        f"commit {m.some('0123456789abcdef', 40)}",
        " ".join(f"{m.random.uniform(0, 99):.1f}" for _ in range(12)),
        f"the password is forgotten, and the token for item {m.some(DIGITS, 5)} too",
        f"call the function {m.some(DIGITS, 2)} times, then read row {m.some(DIGITS, 6)}",
        f"EAN {m.some(DIGITS, 13)}, {m.some(DIGITS, 3)} pieces at {m.some(DIGITS, 2)}.90",
    )


def recall(guard: Guard) -> None:
    """Print what is found of what is there, and what is found where nothing is."""
    m = Maker(20261123)
    print(f"\n{EACH} sentences each                  found  whole   else")
    for label, make in makers(m).items():
        found = whole = other = 0
        for _ in range(EACH):
            value = make()
            text = m.random.choice(FRAMES).format(value)
            findings = guard.apply(text).findings
            own = [f for f in findings if f.label == label]
            found += bool(own)
            whole += any(value.endswith(text[f.start : f.end]) or text[f.start : f.end] in value for f in own)
            other += len({f.label for f in findings} - {label}) > 0
        print(f"  {label:32} {found / EACH:6.2f} {whole / EACH:6.2f} {other / EACH:6.2f}")
    wrong: Counter[str] = Counter()
    for _ in range(5_000):
        wrong.update(f.label for f in guard.apply(m.random.choice(FRAMES).format(miss(m))).findings)
    print(f"  of 5,000 sentences with nothing in them: {sum(wrong.values())} findings {dict(wrong)}")


def clean(guard: Guard) -> None:
    """Print what is found in this repository's own documents."""
    size, wrong = 0, []
    for path in sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md"), *ROOT.glob("examples/**/*.*")]):
        if path.suffix in {".md", ".yaml", ".py", ".toml"}:
            text = path.read_text(encoding="utf-8")
            size += len(text)
            wrong += [(f.label, text[f.start : f.end][:30], path.name) for f in guard.apply(text).findings]
    print(f"\nclean text: {len(wrong)} findings in {size:,} characters")
    for finding in wrong:
        print("  ", *finding)


def cost(call: Callable[[], object], times: int) -> float:
    """Return the microseconds of processor time that a call takes, the best of seven rounds."""
    call()
    best = float("inf")
    for _ in range(7):
        begun = time.process_time()
        for _ in range(times):
            call()
        best = min(best, (time.process_time() - begun) / times)
    return best * 1e6


def speed(guard: Guard) -> None:
    """Print what whole texts cost, beside the same patterns on `re`."""
    patterns = [
        re.compile(d.coarse.replace(r"\C", r"[\s\S]").replace(r"\pL\pM\pN", r"\w"))
        for d in (*PERSONAL_DATA, KEYS, *SECRETS)
    ]
    print("\nmicroseconds                          2 KB     100 KB")
    small, large = (PROSE * 14)[:2048], (PROSE * 700)[:100_000]

    def line(name: str, one: Callable[[str], object], small: str = small, large: str = large) -> None:
        print(f"  {name:30} {cost(lambda: one(small), 500):10.1f} {cost(lambda: one(large), 10):10.0f}")

    card = " Card 4111 1111 1111 1111. "
    line("clear, English", lambda text: guard.clear([text]))
    german = [text.replace("ee", "üß") for text in (small, large)]
    line("clear, German", lambda text: guard.clear([text]), *german)
    line("clear, with dashes", lambda text: guard.clear([text]), *(t.replace(" and", " — and") for t in (small, large)))
    russian = {ord(a): b for a, b in zip("aeopcxnilt", "\u0430\u0435\u043e\u0440\u0441\u0445нилт", strict=True)}
    line("clear, Cyrillic", lambda text: guard.clear([text]), *(t.translate(russian) for t in (small, large)))
    line("apply, nothing found", guard.apply)
    line("apply, one card", guard.apply, small + card, large + card)
    line("apply, a card every 160", guard.apply, *(t.replace("3 May. ", f"3 May.{card}") for t in (small, large)))
    print(f"  {'re, one by one':30} {cost(lambda: [p.search(small) for p in patterns], 20):10.1f}", end=" ")
    print(f"{cost(lambda: [p.search(large) for p in patterns], 1):10.0f}")


def streams(guard: Guard) -> None:
    """Print what a piece of four characters costs on a stream, and how much is held back."""
    print("\nstreams of 20,000 characters        µs a piece of 4   most held back")
    rows = {
        "English": PROSE,
        "German": PROSE.replace("ee", "üß"),
        "Chinese": "年次有給休暇は二十六日です。",
        "figures": "12 3.4 17 56.7 8 ",
        "JSON": '{"days":26,"taken":"twelve of them"},',
        "cards": PROSE + "Card 4111 1111 1111 1111. ",
        "base64": base64.b64encode(PROSE.encode()).decode().rstrip("="),
    }
    for name, unit in rows.items():
        text = (unit * 20_000)[:20_000]

        def run(text: str = text) -> int:
            window, most = guard.window(), 0
            for place in range(0, len(text), 4):
                most = max(most, place + 4 - window.feed(text[place : place + 4]))
            window.end()
            return most

        print(f"  {name:34} {cost(run, 1) / 5_000:14.1f} {run():16}")


if __name__ == "__main__":
    both = Guard({"personal-data": "redact", "secrets": "redact"})
    recall(both)
    clean(both)
    speed(both)
    streams(both)
