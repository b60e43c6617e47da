"""Presidio itself, from the extra `presidio`, as a guardrail of a live release."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests import served
from tests.served import HR, RecordingUpstream, ask, files_of, go_live, harbour, says, use_case

from bedplate.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.extras.conftest import Installed
    from tests.served import Harbour

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
WALLET = "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ"  # checked by its digits, and none of our own detectors' business
PAY = f"Please pay 20 pounds to {WALLET} by 2026-12-01."
PERSON = "Mara Quinn"
# A pipeline of spaCy as one that is trained and packaged: found by its name, loaded, and asked. It knows one person.
MODEL = f"""
import pathlib, spacy
made = pathlib.Path("en_core_web_sm")
made.mkdir()
nlp = spacy.blank("en", meta={{"name": "core_web_sm", "version": "3.8.0"}})
nlp.add_pipe("entity_ruler").add_patterns([{{"label": "PERSON", "pattern": {PERSON!r}}}])
nlp.to_disk(made / "en_core_web_sm-3.8.0")
(made / "__init__.py").write_text('''
from spacy.util import load_model_from_init_py


def load(**overrides):
    return load_model_from_init_py(__file__, **overrides)
''')
(made / "meta.json").write_text((made / "en_core_web_sm-3.8.0" / "meta.json").read_text())
known = pathlib.Path("en_core_web_sm-3.8.0.dist-info")
known.mkdir()
(known / "METADATA").write_text("Metadata-Version: 2.1\\nName: en_core_web_sm\\nVersion: 3.8.0\\n")
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[RecordingUpstream]:
    served.template("remote")  # which needs the upstream's port to itself while it is made
    with RecordingUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def at(installed: Installed, upstream: RecordingUpstream) -> Iterator[Harbour]:
    """Harbour Mutual on a server with Presidio and no language model."""
    server = installed.server(served.fresh("remote"))
    server._environment["BEDPLATE_UPSTREAM_URL"] = upstream.url
    with server:
        yield harbour(server)


def released(at: Harbour, upstream: RecordingUpstream, policy: str, kind: str = "x:presidio-patterns") -> None:
    """Have the HR assistant go live with this guardrail, in modes as `input: MODE, output: MODE`."""
    upstream.behave = says(served.UNANSWERED)
    ways = [way.split(": ") for way in policy.split(", ")]
    written = ", ".join(f"{way}: {{{kind!r}: {mode}}}" for way, mode in ways)
    go_live(at, files_of(use_case() + f"\nguardrails: {{{written}}}\n"), "hanna")
    upstream.seen.clear()


def sent(upstream: RecordingUpstream) -> str:
    (seen,) = upstream.seen
    return str(seen.body["messages"][-1]["content"])


def recorded(at: Harbour, **about: str) -> dict[str, Any]:
    """Return the newest live call on record."""
    calls = at.person("victor").calls(use_case=HR, limit=50)
    return next(c for c in calls if c["route"] == "live" and all(c[k] == v for k, v in about.items()))


def test_what_is_observed_goes_on_and_is_on_record(at: Harbour, upstream: RecordingUpstream) -> None:
    released(at, upstream, "input: observe, output: observe")
    upstream.behave = says(f"Paid to {WALLET}.")
    status, answer = at.call(ask(PAY))
    assert (status, answer["choices"][0]["message"]["content"]) == (200, f"Paid to {WALLET}.")
    assert PAY in sent(upstream)
    assert recorded(at)["findings"] == ["input: crypto", "output: crypto"]


def test_what_is_redacted_reaches_neither_the_upstream_nor_the_caller(at: Harbour, upstream: RecordingUpstream) -> None:
    released(at, upstream, "input: redact, output: redact")
    upstream.behave = says(f"Paid to {WALLET} on 2026-12-01.")
    status, answer = at.call(ask(PAY))
    said = answer["choices"][0]["message"]["content"]
    assert (status, said) == (200, "Paid to [redacted: crypto] on 2026-12-01.")
    assert answer["model"] == "gpt-4o-mini-2024-07-18"  # whose date is nobody's
    assert "Please pay 20 pounds to [redacted: crypto] by 2026-12-01." in sent(upstream)
    assert WALLET.encode() not in upstream.seen[0].raw
    assert recorded(at)["findings"] == ["input: crypto", "output: crypto"]


def test_one_word_is_a_text_as_well(at: Harbour, upstream: RecordingUpstream) -> None:
    released(at, upstream, "input: redact")
    assert at.call(ask(WALLET))[0] == 200
    assert WALLET.encode() not in upstream.seen[0].raw


def test_a_stream_is_redacted_however_it_is_cut(at: Harbour, upstream: RecordingUpstream) -> None:
    released(at, upstream, "output: redact")
    half = len(WALLET) // 2
    pieces = ["Paid to ", WALLET[:half], WALLET[half:], " today."]
    upstream.behave = served.sends(served.head(kind="text/event-stream"), *served.events(pieces), pause=0.02)
    with at.openai().chat.completions.create(
        model="default", messages=[{"role": "user", "content": "Where to?"}], stream=True
    ) as stream:
        said = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert said == "Paid to [redacted: crypto] today."


def test_what_is_blocked_is_not_sent_and_not_answered(at: Harbour, upstream: RecordingUpstream) -> None:
    released(at, upstream, "input: block, output: block")
    status, refused = at.call(ask(PAY))
    assert status == 403
    assert "the prompt holds crypto" in refused["error"]["message"]
    assert not upstream.seen
    assert recorded(at, verdict="deny")["findings"] == ["input: crypto"]
    upstream.behave = says(f"Pay {WALLET}.")
    status, answer = at.call(ask("Whom do I pay?"))
    assert (status, answer["choices"][0]["message"]["content"]) == (
        200,
        "This answer was withheld: it held crypto.",
    )


def test_what_is_nobodys_passes_where_presidio_blocks(at: Harbour, upstream: RecordingUpstream) -> None:
    """By itself it takes any nine digits for a licence, and calls every date and address of a page a finding."""
    released(at, upstream, "output: block")
    harmless = (
        "Order 912803456 of 2026-12-01 is at https://firm.example/orders and case 550e8400-e29b-41d4-a716-446655440000."
    )
    upstream.behave = says(harmless)
    status, answer = at.call(ask("Where is my order?"))
    assert (status, answer["choices"][0]["message"]["content"]) == (200, harmless)


def test_without_a_language_model_names_are_not_promised(at: Harbour) -> None:
    spec = use_case() + "\nguardrails: {input: {'x:presidio': block}}\n"
    with pytest.raises(InvalidInput, match="no language model for English is installed") as refused:
        at.person("leo").release(HR, files_of(spec))
    assert "x:presidio-patterns" in refused.value.hint


def test_with_one_that_is_installed_names_are_found(
    installed: Installed, upstream: RecordingUpstream, tmp_path: Path
) -> None:
    made = installed.run("-c", MODEL, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    server = installed.server(served.fresh("remote"), also=tmp_path)
    server._environment["BEDPLATE_UPSTREAM_URL"] = upstream.url
    with server:
        at = harbour(server)
        released(at, upstream, "input: redact", kind="x:presidio")
        assert at.call(ask(f"Does {PERSON} approve my leave, or jo@firm.com?"))[0] == 200
    assert "Does [redacted: person] approve my leave, or [redacted: email address]?" in sent(upstream)


def test_nothing_is_fetched_when_it_is_loaded_and_when_it_looks(installed: Installed, tmp_path: Path) -> None:
    """By itself Presidio asks for the list of public suffixes with the first email address it sees."""
    asked = """
import socket, sys, json
told = []
def refuse(host, *rest, **more):
    told.append(host)
    raise OSError("no network")
socket.getaddrinfo = refuse
from bedplate.gateway.guardrail import Guard
found = Guard({"x:presidio-patterns": "redact"}).apply("Write to jo@firm.com today.").text
print(json.dumps([found, told]))
"""
    done = installed.run(
        "-c", asked, cwd=tmp_path, env={"HOME": str(tmp_path), "TLDEXTRACT_CACHE": str(tmp_path / "c")}
    )
    assert json.loads(done.stdout) == ["Write to [redacted: email address] today.", []], done.stderr
