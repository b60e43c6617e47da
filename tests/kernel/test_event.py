"""Events, canonical bytes and time: one reading only."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bedplate.errors import InvalidInput, Tampered
from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.clock import SECOND, parse_rfc3339, rfc3339
from bedplate.kernel.event import MAX_ENTRY, Draft, canonical, seal, unseal

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
PLAIN = st.recursive(
    TEXT | st.integers(-(1 << 80), 1 << 80),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT, PLAIN, max_size=4)
LAST = (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days
TIMES = st.integers(-1_000 * 365 * 86_400 * SECOND, LAST * 86_400 * SECOND)


@given(PLAIN)
def test_canonical_bytes_are_read_back_as_they_were(value: object) -> None:
    written = canonical(value)
    assert json.loads(written) == value
    assert canonical(json.loads(written)) == written


@given(OBJECTS)
def test_canonical_bytes_do_not_depend_on_order(body: dict[str, object]) -> None:
    assert canonical(dict(reversed(body.items()))) == canonical(body)


@given(PLAIN, st.sampled_from([1.5, True, False, None, b"x", {1}, float("nan"), "\ud800", {1: "x"}, {"\udfff": 1}]))
def test_canonical_refuses_what_can_be_read_in_two_ways(value: object, wrong: object) -> None:
    for nested in (wrong, [value, wrong], {"a": value, "b": wrong}, ({"a": [wrong]},)):
        with pytest.raises(InvalidInput):
            canonical(nested)


@given(TIMES)
@example(253_402_300_799_999_999)  # the last microsecond of 9999: a float of seconds would round it up
@example(-1)
def test_time_is_read_back_as_it_was_written(at: int) -> None:
    assert parse_rfc3339(rfc3339(at)) == at
    assert len(rfc3339(at)) == len("2026-01-01T00:00:00.000000Z")


@given(TIMES, TIMES)
def test_time_sorts_as_text(one: int, other: int) -> None:
    assert (rfc3339(one) < rfc3339(other)) == (one < other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "2026-01-01",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.5Z",
        "2026-1-1T00:00:00.000000Z",
        "2026-01-01T00:00:00.000000+00:00",
        "2026-02-30T00:00:00.000000Z",
        "2026-01-01t00:00:00.000000z",
    ],
)
def test_time_in_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_rfc3339(text)


@given(OBJECTS, OBJECTS, st.integers(0, 1 << 60), TIMES)
def test_an_event_is_read_back_from_its_entry(data: dict[str, str], authz: dict[str, str], seq: int, at: int) -> None:
    event = seal(Draft("a.b.c", "s", data), seq=seq, id="i", version=1, at=at, actor="ann", authz=authz)
    assert unseal(event.entry) == event
    assert (event.seq, event.at, event.data, event.authz) == (seq, at, data, authz)


def test_an_event_that_is_too_large_is_refused_with_a_way_out() -> None:
    most = MAX_ENTRY - len(_sealed(""))
    assert len(_sealed("x" * most)) == MAX_ENTRY
    with pytest.raises(InvalidInput, match="keep large content as a blob"):
        _sealed("x" * (most + 1))


def _sealed(text: str) -> bytes:
    draft = Draft("a.b.c", "s", {"text": text})
    return seal(draft, seq=0, id="i", version=1, at=0, actor="ann", authz={}).entry


@pytest.mark.parametrize("entry", [b"", b"[]", b"{}", b"1", b"\xff", b'{"seq":1}', _sealed("").replace(b"T0", b"t0")])
def test_an_entry_that_is_none_is_tampered_with(entry: bytes) -> None:
    with pytest.raises(Tampered, match="cannot be read"):
        unseal(entry)


ACTION = Action("test.do", "test:it:do", "Do it.")


@given(OBJECTS, OBJECTS)
def test_the_digest_changes_with_any_fact(one: dict[str, str], other: dict[str, str]) -> None:
    first, second = Attempt(ACTION, "ann", "x/y", one), Attempt(ACTION, "ann", "x/y", other)
    assert (first.digest == second.digest) == (one == other)


@given(OBJECTS, TEXT, TEXT)
def test_the_digest_binds_verb_and_subject_but_not_who_tries(facts: dict[str, str], one: str, other: str) -> None:
    digest = Attempt(ACTION, "ann", one, facts).digest
    assert (Attempt(ACTION, "ann", other, facts).digest == digest) == (one == other)
    assert Attempt(ACTION, "bob", one, facts).digest == digest
    assert Attempt(Action("test.undo", "test:it:do", "Undo it."), "ann", one, facts).digest != digest
