"""Who knocks at the gateway without being known is counted in memory, bounded, and never by name of a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.people.blank import blank_model
from bedplate.shadow.actions import report_strangers
from bedplate.shadow.stranger import AT_ONCE, Strangers
from bedplate.testing import SettableClock

if TYPE_CHECKING:
    from tests.conftest import House

OPENAI = "sk-proj-" + "a1B2" * 8  # made up


def test_a_key_is_told_by_its_issuer_and_a_short_digest() -> None:
    clock = SettableClock()
    strangers = Strangers(clock)
    for secret in (OPENAI, OPENAI, "bpk_unknown", "anything at all"):
        strangers.note("key", secret, "", "live")
    first, second, third = strangers.take()
    assert (first.kind, first.provider, first.times, first.where, first.source) == (
        "key",
        "OpenAI",
        2,
        "gateway",
        "gateway",
    )
    assert first.what.startswith("OpenAI key #")
    assert first.hints == ("credential: OpenAI key, sent to the gateway",)
    assert [second.what.split(" #")[0], third.what.split(" #")[0]] == ["Bedplate key", "unknown key"]
    assert OPENAI not in repr((first, second, third))
    assert strangers.take() == []


def test_a_flood_of_keys_is_one_sighting_more() -> None:
    strangers = Strangers(SettableClock())
    for number in range(5_000):
        strangers.note("key", f"key {number}", "", "observed")
    found = strangers.take()
    assert len(found) == AT_ONCE + 1
    assert (found[-1].what, found[-1].times, found[-1].where) == ("other unknown keys", 5_000 - AT_ONCE, "traces")


def test_what_was_refused_is_reported_by_the_worker_as_far_as_the_model_lets_it(house: House) -> None:
    strangers = Strangers(house.clock)
    strangers.note("model", "gpt-4o", "usecase/hr-policy-assistant", "live")
    strangers.note("key", "x", "", "observed")
    report_strangers(house.governor, strangers, house.model)
    sources = [(e.actor, e.data["source"]) for e in house.events("shadow.sighting.reported")]
    assert sources == [("system", "gateway"), ("system", "traces")]
    strangers.note("key", "y", "", "live")
    house.apply(house.model_file(lambda text: text.replace("report: [system, ", "report: [")))
    report_strangers(house.governor, strangers, house.model)  # as it was before there were sightings
    assert len(house.events("shadow.sighting.reported")) == 2
    assert house.events("kernel.action.denied") == []
    assert strangers.take() == []


def test_the_template_lets_the_worker_report() -> None:
    assert "shadow:sighting:report: [system, " in blank_model("X", "people: []\n")
