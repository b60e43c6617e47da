"""Calls, the live tail, guardrails and upstreams without a browser: what they find, show, refuse and count."""

from __future__ import annotations

import html
import re
import socket
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.console import tail
from bedplate.console.calls import summary
from bedplate.console.conversation import conversation, pieces
from bedplate.console.difference import MOST_WORDS, changed, sides
from bedplate.console.findings import Findings, Line, told, word_of
from bedplate.console.guardrails import MOST_LAYERS, OTHERS, days, guarded
from bedplate.errors import InvalidInput
from bedplate.gateway.call import Trace, entry
from bedplate.gateway.guardrail import Guard
from bedplate.gateway.search import Cursor, Wanted
from bedplate.gateway.views import Calls
from bedplate.kernel.clock import DAY
from bedplate.models.feedback import checked
from bedplate.store.journal import Journal
from bedplate.store.record import Record
from bedplate.store.seek import LARGEST, Place, Sought, matching, stretch
from bedplate.store.shard import Shard

from .called import CARD, SHARD
from .conftest import NAME, http, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .called import Called
    from .conftest import House

AT = 1_795_000_000_000_000
IDS = re.compile(r'<a href="/calls/([^"]+)"><time')


@pytest.fixture
def house(called: Called) -> House:  # the one with days of calls behind it
    return called.house


def ids(page: str) -> list[str]:
    return IDS.findall(page)


# The journal's search


def trace(number: int, at: int, **more: Any) -> Trace:
    made = Trace(f"call-{number}", "usecase/a", "key/k", "live", at, "0" * 64)
    made.verdict, made.status = "allow", "ok"
    for name, value in more.items():
        setattr(made, name, value)
    return made


def put(journal: Journal, made: Trace, kind: str = "call.completed") -> None:
    told = entry(made, kind, made.started, {})
    journal.append_sync(Record(made.id, told, made.started, made.subject, kind, made.verdict, made.status))


@pytest.fixture
def open_calls(tmp_path: Path) -> Iterator[Callable[..., Calls]]:
    """Return a function that records traces, a list for each shard, and opens them."""
    opened: list[Calls] = []

    def record(*shards: list[Trace]) -> Calls:
        for number, traces in enumerate(shards):
            name = f"shard-{number}"
            journal = Journal.open(tmp_path / f"{name}.db", shard=name, on_fatal=lambda _error: None)
            for one in traces:
                put(journal, one)
            journal.close()
        opened.append(Calls(tmp_path, lambda _id, _content: b"{}"))
        return opened[-1]

    yield record
    for calls in opened:
        calls.close()


def every(calls: Calls, wanted: Wanted, limit: int, most: int = LARGEST) -> list[str]:
    """Turn page after page until there is none."""
    found: list[str] = []
    page = calls.page(wanted, limit=limit, most=most)
    while True:
        found += [c.id for c in page.calls]
        if not page.older:
            return found
        page = calls.page(wanted, before=page.older, limit=limit, most=most)


moments = st.lists(st.lists(st.integers(0, 6), max_size=12), min_size=1, max_size=3)


@settings(max_examples=25, deadline=None)
@given(moments=moments, limit=st.integers(1, 5), most=st.sampled_from([1, LARGEST]))
def test_turning_pages_shows_every_call_once_newest_first(
    tmp_path_factory: pytest.TempPathFactory, moments: list[list[int]], limit: int, most: int
) -> None:
    folder = tmp_path_factory.mktemp("pages")
    number, placed = 0, {}
    for shard, ats in enumerate(moments):
        journal = Journal.open(folder / f"shard-{shard}.db", shard=f"shard-{shard}", on_fatal=lambda _error: None)
        for seq, at in enumerate(ats):
            put(journal, trace(number, AT + at))
            placed[f"call-{number}"] = (at, f"shard-{shard}", seq)
            number += 1
        journal.close()
    with closing(Calls(folder, lambda _id, _content: b"{}")) as calls:
        assert every(calls, Wanted(), limit, most) == sorted(placed, key=lambda c: placed[c], reverse=True)


def test_a_call_that_comes_while_pages_are_turned_moves_none(open_calls: Any) -> None:
    calls = open_calls([trace(n, AT + n) for n in range(6)])
    first = calls.page(Wanted(), limit=3)
    open_calls([trace(9, AT + 9)])
    second = calls.page(Wanted(), before=first.older, limit=3)
    assert [c.id for c in (*first.calls, *second.calls)] == [f"call-{n}" for n in (5, 4, 3, 2, 1, 0)]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(verdict="deny"), [1]),
        (Wanted(status="failed"), [2]),
        (Wanted(route="canary"), [3]),
        (Wanted(dialect="messages"), [4]),
        (Wanted(model='mo"del'), [5]),
        (Wanted(model="mo"), []),
        (Wanted(key="k2"), [6]),
        (Wanted(key="key/k2"), [6]),
        (Wanted(finding="payment card"), [8, 7]),
        (Wanted(finding="payment card", way="output"), [8]),
        (Wanted(finding="payment"), []),
        (Wanted(finding="any"), [9, 8, 7]),
        (Wanted(finding="any", way="input"), [9, 7]),
        (Wanted(way="output"), [8]),
        (Wanted(cost_nano=1_000), [11, 10]),
        (Wanted(cost_nano=1_001), [11]),
        (Wanted(latency_us=50), [11]),
        (Wanted(since=AT + 10), [11, 10]),
        (Wanted(since=AT + 3, until=AT + 4), [4, 3]),
        (Wanted(text="CALL-11"), [11]),
        (Wanted(subject="usecase/b"), [11]),
        (Wanted(subject="usecase/b", verdict="deny"), []),
    ],
)
def test_a_filter_finds_what_the_entry_says_and_nothing_else(open_calls: Any, wanted: Wanted, found: list[int]) -> None:
    more: dict[int, dict[str, Any]] = {
        1: {"verdict": "deny", "reasons": [("budget", 'it said "verdict":"ask"', "wait")]},
        2: {"status": "failed"},
        3: {"route": "canary"},
        4: {"dialect": "messages"},
        5: {"model": 'mo"del'},
        6: {"key": "key/k2"},
        7: {"findings": ["input: payment card"]},
        8: {"findings": ["output: payment card", "output: payment card"]},
        9: {"findings": ["input: payment card number"]},
        10: {"cost_nano": 1_000},
        11: {"cost_nano": 2_000, "latency_us": 50, "subject": "usecase/b"},
    }
    calls = open_calls([trace(n, AT + n, **more.get(n, {})) for n in range(12)])
    assert every(calls, wanted, 5) == [f"call-{n}" for n in found]


def test_only_so_many_records_are_looked_at_for_one_page(open_calls: Any) -> None:
    calls = open_calls([trace(n, AT + n, model="rare" if n == 0 else "usual") for n in range(600)])
    page = calls.page(Wanted(model="rare"), most=512)
    assert (page.calls, page.short, page.looked) == ([], True, 512)
    rest = calls.page(Wanted(model="rare"), before=page.older, most=512)
    assert ([c.id for c in rest.calls], rest.short, rest.older) == (["call-0"], False, "")


def test_the_newest_are_found_by_index_without_sorting(open_calls: Any, tmp_path: Path) -> None:
    open_calls([trace(1, AT)])
    plans: list[str] = []

    class Watched:
        """Explains every query before it runs it."""

        def __init__(self, db: apsw.Connection) -> None:
            self._db = db

        def execute(self, query: str, bound: Any) -> Any:
            plans.extend(str(row[3]) for row in self._db.execute(f"EXPLAIN QUERY PLAN {query}", bound))
            return self._db.execute(query, bound)

    db: Any = Watched(apsw.Connection(str(tmp_path / "shard-0.db"), flags=apsw.SQLITE_OPEN_READONLY))
    for sought in (Sought(), Sought(use_case="usecase/a", since=1, has=((b"x",),), text="y", least={"cost_nano": 1})):
        stretch(db, sought, Place(AT, 5), 10)
        matching(db, sought, Place(AT, 5), Place(1, 1), 10)
    assert plans
    assert all("USING" in plan and "INDEX rec_by_" in plan for plan in plans), plans


def test_a_place_that_is_none_is_refused() -> None:
    for text in ("x", "1-2", "1-x-shard", "-1-2-shard", f"{'9' * 30}-1-shard", "1-2-"):
        with pytest.raises(InvalidInput):
            Cursor.parse(text)
    here = Cursor(5, "node-1/b", 7)
    assert Cursor.parse(here.text()) == here


def test_the_first_record_of_a_moment_is_found(open_calls: Any, tmp_path: Path) -> None:
    open_calls([trace(n, AT + n) for n in range(4)])
    with closing(Shard(tmp_path / "shard-0.db")) as shard:
        assert [shard.first_since(AT + n) for n in (-5, 2, 9)] == [0, 2, 4]


# The calls explorer


def test_the_filter_is_in_the_address_and_stays_in_the_form(house: House, called: Called) -> None:
    house.page("/guardrails")  # from then on, what was found is offered
    text = house.page(f"/calls?use_case={NAME}&finding=payment+card&way=input&min_latency=100&route=live")
    assert called.ids["tools"] in ids(text)
    assert called.ids["card"] not in ids(text)  # it took less
    for kept in ('value="payment card"', 'value="100"', "<details open>", "<option selected>live</option>"):
        assert kept in text
    assert 'value="payment card"></option>' in text  # it is offered


def test_older_pages_hold_other_calls_and_keep_the_filter(house: House) -> None:
    first = house.page("/calls?status=ok")
    (older,) = re.findall(r'rel="next" href="([^"]+)"', first)
    second = house.page("/calls" + html.unescape(older))
    assert len(ids(first)) == 100
    assert ids(second)
    assert not {*ids(first)} & {*ids(second)}
    assert 'href="/calls?status=ok">Newest' in second


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("from=yesterday", "from is no moment"),
        ("until=2026-13-01", "until is no moment"),
        ("verdict=perhaps", "There is no verdict"),
        ("min_cost=cheap", "min_cost is no amount"),
        ("min_latency=-1", "min_latency is no number"),
    ],
)
def test_a_filter_that_means_nothing_is_told_beside_the_form(house: House, query: str, why: str) -> None:
    answer = house.send("GET", f"/calls?model=kept&{query}")
    assert answer.status == 422
    assert why in answer.data.decode()
    assert 'value="kept"' in answer.data.decode()
    assert not ids(answer.data.decode())


def test_a_place_that_is_none_is_told(house: House) -> None:
    assert house.send("GET", "/calls?before=nowhere").status == 422


def test_cost_is_shown_to_those_who_may_see_it(house: House, called: Called) -> None:
    path = f"/calls/{called.ids['tools']}"
    assert "$0.01" in house.page(path, "victor.lam")
    assert "your seats do not see it" in house.page(path, "mallory")
    assert "$" not in re.sub(r"US\$", "", _table(house.page("/calls", "mallory")))
    answer = house.send("GET", "/calls?min_cost=0.001", "mallory")
    assert answer.status == 403
    assert called.ids["tools"] in ids(house.page("/calls?min_cost=$0.01", "victor.lam"))


def test_a_page_is_summed_up(open_calls: Any) -> None:
    calls = open_calls(
        [
            trace(1, AT, latency_us=10, tokens_in=5, cost_nano=7),
            trace(2, AT + 1, latency_us=30, tokens_out=2, cost_nano=1),
            trace(3, AT + 2, verdict="deny", status="refused"),
            trace(4, AT + 3, status="failed", latency_us=90),
        ]
    )
    made = summary(calls.page(Wanted()).calls)
    assert made is not None
    assert (made.calls, made.refused, made.failed, made.tokens, made.nano) == (4, 1, 1, 7, 8)
    assert (made.median_us, made.first, made.last) == (30, AT, AT + 3)
    assert summary([]) is None


# One call


def test_a_conversation_is_shown_with_its_parts(house: House, called: Called) -> None:
    text = house.page(f"/calls/{called.ids['tools']}")
    assert "My card is <mark>[redacted: payment card]</mark>." in text
    assert "<code>look_up</code>" in text
    assert "{&#34;page&#34;: 3}" in text
    assert "Receipts are kept for &lt;b&gt;ten&lt;/b&gt; years." in text
    assert "image_url, " in text
    assert "iVBORw0KGgo" not in text
    assert '<a href="#p1">[1]</a>' in text
    assert "[7]" in text
    assert 'href="#p7"' not in text


def test_a_call_tells_how_it_went(house: House, called: Called) -> None:
    text = house.page(f"/calls/{called.ids['tools']}")
    for expected in ("2 attempts", "+412 ms", "+1.8 s", "1,200 in, 300 of them cached", "list/gpt-5/2026"):
        assert expected in text
    assert f'href="/use-cases/{NAME}#h-r"' in text
    assert f'href="/prompts/{NAME}/greeting?version=' in house.page(f"/calls/{called.ids['before']}")
    assert "Observed, not enforced" in house.page(f"/calls/{called.ids['observed']}")


def test_content_is_hidden_from_those_who_may_not_read_it(house: House, called: Called) -> None:
    text = house.page(f"/calls/{called.ids['tools']}", "mallory")
    assert "your seats may not read it" in text
    assert "Receipts are kept" not in text
    compared = house.page(f"/calls/{called.ids['tools']}/diff?with={called.ids['before']}", "mallory")
    assert "your seats may not read it" in compared
    assert "receipt" not in compared


def test_the_shapes_of_other_protocols_are_read() -> None:
    content = {
        "messages": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hello"}, "plain"]},
            {"role": "assistant", "content": [{"type": "tool_use", "name": "find", "input": {"q": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "one"}]}]},
            {"role": "user", "content": [{"type": "unheard-of", "x": 1}]},
            "not a message",
        ],
        "answer": "done",
    }
    turns = conversation(content)
    kinds = [[part.kind for part in turn.parts] for turn in turns]
    assert kinds == [["text", "text"], ["tool"], ["result"], ["other"], ["other"], ["text"]]
    assert turns[1].text == 'find: {"q": 1}'
    assert turns[2].parts[0].text == "one"
    assert turns[-1].role == "answer"


@given(st.lists(st.sampled_from(["a ", "[redacted: API key]", "[1]", "[22]", "[", "]", "\n"])).map("".join))
def test_pieces_are_the_whole_text(text: str) -> None:
    found = list(pieces(text, cites=2))
    assert "".join(piece.text for piece in found) == text
    assert all(piece.number in {1, 2} for piece in found if piece.look == "cited")


texts = st.lists(st.sampled_from(["one ", "two ", "three\n", "four"]), max_size=30).map("".join)


@given(texts, texts)
def test_both_sides_of_a_comparison_are_the_whole_texts(before: str, after: str) -> None:
    found = sides("x", before, after)
    assert "".join(run.text for run in found.left) == before
    assert "".join(run.text for run in found.right) == after
    same = ["".join(run.text for run in side if not run.changed) for side in (found.left, found.right)]
    assert same[0] == same[1]
    assert found.same == (before == after)


def test_what_is_too_long_even_for_lines_is_not_looked_into() -> None:
    found = sides("x", "a\n" * 9_000, "a\n" * 9_001)
    assert [run.changed for run in (*found.left, *found.right)] == [True, True]
    assert sides("x", "a b", "a c", most=1).by == "lines"


def test_long_texts_are_compared_by_lines() -> None:
    found = sides("x", "a b\n" * (MOST_WORDS // 2), "a b\n" * (MOST_WORDS // 2) + "c\n")
    assert found.by == "lines"
    assert [run for run in found.right if run.changed] == [("c\n", True)]


def test_a_field_that_an_older_record_lacks_is_as_if_empty() -> None:
    assert changed({"model": "a", "tier": 1}, {"model": "b", "tier": 1, "price": "", "cost_nano": 0}) == ["model"]


def test_two_calls_are_compared(house: House, called: Called) -> None:
    text = house.page(f"/calls/{called.ids['tools']}/diff?with={called.ids['before']}")
    assert '<th scope="row">release</th>' in text
    assert '<th scope="row">cost</th>' in text
    assert '<th scope="row">tier</th>' not in text
    assert "<ins>[1], as" in text or "<ins>years [1], as" in text
    assert "<del>" in text
    assert house.send("GET", f"/calls/{called.ids['tools']}/diff?with=nothing").status == 404
    assert "Choose a call" in house.page(f"/calls/{called.ids['tools']}/diff")


def test_neighbours_are_of_the_same_use_case_and_route(house: House, called: Called) -> None:
    text = house.page(f"/calls/{called.ids['tools']}")
    near = re.findall(rf'/calls/{called.ids["tools"]}/diff\?with=([^"]+)"', text)
    assert called.ids["before"] in near
    found = [house.at.calls.get(c).entry for c in near]
    assert {(e["use_case"], e["route"]) for e in found} == {(f"usecase/{NAME}", "live")}


# What people say of findings


def test_a_finding_is_marked_wrong_and_counted(house: House, called: Called) -> None:
    path, label = f"/calls/{called.ids['card']}", "payment card"
    before = _judged(house, label)
    answer = house.send("POST", f"{path}/findings", form={"label": label, "right": "no"})
    assert answer.headers["location"] == f"{path}#findings"
    assert ">wrong</span>" in house.page(path)
    assert "label not-payment-card" in house.page(path)
    assert _judged(house, label) == (before[0] + 1, before[1] + 1)
    (said,) = [f for f in house.at.calls.feedback(called.ids["card"]) if f.entry["value"] == "not-payment-card"]
    assert (said.entry["feedback"], said.entry["giver"]) == ("label", "person/hanna.osei")
    house.send("POST", f"{path}/findings", form={"label": label, "right": "yes"})
    assert ">right</span>" in house.page(path)
    assert _judged(house, label) == (before[0] + 1, before[1])


@pytest.mark.parametrize(
    ("person", "form", "status"),
    [
        ("hanna.osei", {"label": "passport", "right": "no"}, 422),
        ("hanna.osei", {"label": "payment card", "right": "perhaps"}, 422),
        ("mallory", {"label": "payment card", "right": "no"}, 403),
    ],
)
def test_a_mark_that_cannot_count_is_refused(
    house: House, called: Called, person: str, form: dict[str, str], status: int
) -> None:
    assert house.send("POST", f"/calls/{called.ids['card']}/findings", person, form).status == status
    assert "Not a payment card" not in house.page(f"/calls/{called.ids['card']}", "mallory")


@given(st.text(max_size=60))
def test_every_label_makes_a_word_that_feedback_takes(label: str) -> None:
    for right in (True, False):
        checked("label", word_of(label, right=right))


def test_findings_are_read_with_how_often_they_were_made() -> None:
    found = told({"findings": ["input: payment card × 12", "output: x: custom", "odd"]})
    assert found == [("input", "payment card", " × 12"), ("output", "x: custom", ""), ("input", "odd", "")]


def test_counts_go_on_from_where_they_were(open_calls: Any) -> None:
    day = AT // DAY
    calls = open_calls([trace(1, AT, findings=["input: a", "input: a", "output: a"]), trace(2, AT)])
    counts = Findings(calls)
    counts.look(AT)
    assert counts.lines(day) == {Line(day, "usecase/a", way, "a"): 1 for way in ("input", "output")}
    open_calls([trace(3, AT + 1, findings=["input: b"]), trace(4, AT, route="canary", findings=["input: c"])])
    counts.look(AT)
    counts.look(AT)
    assert counts.labels() == ["a", "b"]
    assert sum(counts.lines(day, way="input").values()) == 2
    assert counts.lines(day + 1) == {}
    counts.look(AT + 365 * DAY)
    assert counts.labels() == []


def test_what_is_found_least_is_drawn_as_one_layer() -> None:
    lines = {Line(10, "usecase/a", "input", f"l{n}"): 20 - n for n in range(MOST_LAYERS + 2)}
    made = days(lines, 9, 3)
    assert made.labels == (*(f"l{n}" for n in range(MOST_LAYERS)), OTHERS)
    assert made.counts[-1] == (0, 13 + 12, 0)
    assert made.most == sum(lines.values())
    assert [day for day, _ in made.rows] == ["1970-01-11"]
    assert days({}, 9, 3).rows == []


def test_findings_are_shown_by_day_use_case_and_label(house: House) -> None:
    text = house.page(f"/guardrails?use_case={NAME}&days=90")
    for label in ("payment card", "email address", "phone number", "API key"):
        assert f'<th scope="row">{label}</th>' in text
    assert text.count('class="l0"') > 10
    assert f'href="/calls?use_case={NAME}&amp;finding=any&amp;way=input"' in text
    only = house.page("/guardrails?way=output&days=90")
    assert '<th scope="row">API key</th>' not in only
    assert house.send("GET", "/guardrails?way=sideways").status == 422
    assert "Nothing was found" in house.page("/guardrails?use_case=rota-helper")


# The try-it box


def pair(policy: dict[str, str], whole: dict[str, str] | None = None, **options: Any) -> tuple[Guard, Guard]:
    return Guard(policy, options), Guard(whole or {}, options)


@pytest.mark.parametrize(
    ("mode", "way", "outcome", "after"),
    [
        ("observe", "input", "unchanged", f"card {CARD}"),
        ("redact", "input", "changed", "card [redacted: payment card]"),
        ("ask", "input", "asked", f"card {CARD}"),
        ("ask", "output", "stopped", ""),
        ("block", "input", "stopped", ""),
    ],
)
def test_a_text_is_tried_as_the_gateway_would_do_it(mode: str, way: str, outcome: str, after: str) -> None:
    found = guarded(pair({"personal-data": mode}), f"card {CARD}", way)
    assert found.outcome == outcome
    assert "".join(piece.text for piece in found.after) == after
    assert [p.text for p in found.before if p.look == "redacted"] == [CARD]
    assert found.kinds == (("payment card", "personal-data", mode),)


def test_no_model_is_asked_in_the_box() -> None:
    http_model = {"safety": {"url": "http://127.0.0.1:1/v1", "model": "m"}}
    found = guarded(pair({}, {"x:safety": "block"}, http=http_model), "anything", "input")
    assert (found.outcome, found.kinds, found.unasked) == ("unchanged", (), ("x:safety",))


def test_trying_records_nothing(house: House) -> None:
    before = {name: shard.head().size for name, shard in house.at.calls.shards().items()}, house.at.ledger.size()
    form = {"use_case": NAME, "way": "input", "text": f"<b>card</b> {CARD}, sk-proj-{'a1B2c3D4' * 6}"}
    part = house.send("POST", "/guardrails/try", form=form, hx_request="true").data.decode()
    assert "is stopped" in part
    assert f"<mark>{CARD}</mark>" in part
    assert "&lt;b&gt;card" in part
    whole = house.send("POST", "/guardrails/try", form=form).data.decode()
    assert "is stopped" in whole
    assert "</html>" in whole
    assert before == ({n: s.head().size for n, s in house.at.calls.shards().items()}, house.at.ledger.size())


@pytest.mark.parametrize(
    "wrong", [{"text": " "}, {"text": "x" * 20_001}, {"way": "up"}, {"use_case": "rota-helper"}, {"use_case": ""}]
)
def test_what_cannot_be_tried_says_why(house: House, wrong: dict[str, str]) -> None:
    form = {"use_case": NAME, "way": "input", "text": "hello", **wrong}
    answer = house.send("POST", "/guardrails/try", form=form, hx_request="true")
    assert answer.status == 422
    assert 'role="alert"' in answer.data.decode()


# Upstreams


def test_upstreams_are_shown_as_they_are(house: House) -> None:
    text = html.unescape(house.page("/upstreams"))
    assert "left alone" in text
    assert "connection refused" in text
    assert re.search(r"next probe in [1-9][0-9]? min", text)
    assert "half within 120 ms, 95 % within 840 ms" in text
    assert "env OPENAI_API_KEY" in text
    assert "No such file or directory" in text
    assert "sk-not-shown" not in text
    assert "3 of 256" in text
    assert f'<a href="/use-cases/{NAME}">HR policy assistant</a> answers with' in text


def test_upstreams_are_for_those_who_may_see_them(house: House) -> None:
    answer = house.send("GET", "/upstreams", "mallory")
    assert answer.status == 403
    assert "gateway:upstream:read" in answer.data.decode()


# The live tail


def listen(house: House, query: str = "", person: str = "hanna.osei") -> socket.socket:
    """Open the stream as a browser would; answers come as they are sent."""
    at = urlsplit(house.url)
    opened = socket.create_connection((at.hostname or "", at.port or 0), timeout=10)
    cookie = f"cookie: bedplate_session={house.session(person)}\r\n"
    opened.sendall(f"GET /calls/tail/events{query} HTTP/1.1\r\nhost: {at.netloc}\r\n{cookie}\r\n".encode())
    return opened


def heard(stream: socket.socket, last: bytes) -> bytes:
    """Read until something is said."""
    got = b""
    while last not in got:
        more = stream.recv(65_536)
        assert more, got
        got += more
    return got


def test_a_new_call_is_told(house: House) -> None:
    with listen(house) as stream:
        head = heard(stream, b"retry:")
        assert b"text/event-stream" in head
        assert b"content-security-policy" in head
        made = house.ask("How many days of parental leave do I get?")
        event = heard(stream, f"/calls/{made}".encode())
    assert b"event: calls" in event
    assert b"id: shard-0:" in event


def test_a_viewer_goes_on_from_where_they_were(house: House) -> None:
    begun = tail.text_of(tail.places(house.at.calls))
    made = house.ask("How many days of study leave do I get?")
    with listen(house, f"?from={begun}") as stream:
        heard(stream, f"/calls/{made}".encode())


def test_only_so_many_may_watch_and_who_leaves_makes_room(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "MOST_VIEWERS", 1)
    with ExitStack() as kept:

        def watches() -> bool:
            return b" 200 " in heard(kept.enter_context(listen(house)), b"\r\n\r\n")

        until(watches)  # those of other tests have been noticed as gone
        assert status(house) == 503
    until(lambda: status(house) == 200)


def status(house: House) -> int:
    """Try to watch, and leave."""
    with listen(house) as stream:
        return int(heard(stream, b"\r\n\r\n").split()[1])


def test_who_may_not_watch_is_refused(house: House) -> None:
    refused = http.request("GET", f"{house.url}/calls/tail/events")
    assert refused.status == 401
    assert refused.headers["content-security-policy"]
    assert house.send("GET", "/calls/tail/events?verdict=perhaps").status == 422
    assert house.send("GET", "/calls/tail?verdict=perhaps").status == 422


def test_only_what_is_watched_for_is_told(open_calls: Any) -> None:
    calls = open_calls([trace(1, AT), trace(2, AT + 1, subject="usecase/b"), trace(3, AT + 2, verdict="deny")])
    for wanted, found in (
        (Wanted(), [1, 2, 3]),
        (Wanted(subject="usecase/b"), [2]),
        (Wanted(verdict="deny"), [3]),
        (Wanted(subject="usecase/b", verdict="deny"), []),
    ):
        seen = tail.look(calls, {}, wanted)
        assert [c.id for c in seen.calls] == [f"call-{n}" for n in found]
        assert (dict(seen.places), seen.passed) == ({"shard-0": 3}, 0)


def test_of_too_many_the_newest_are_told_and_how_many_were_passed(open_calls: Any) -> None:
    calls = open_calls([trace(n, AT + n) for n in range(tail.MOST_AT_ONCE + 7)], [trace(1_000, AT)])
    seen = tail.look(calls, {"shard-0": 3}, Wanted())
    assert (len(seen.calls), seen.passed) == (tail.MOST_AT_ONCE + 1, 4)
    assert seen.calls[-1].id == f"call-{tail.MOST_AT_ONCE + 6}"
    again = tail.look(calls, seen.places, Wanted())
    assert (again.calls, again.passed) == ([], 0)


@given(st.dictionaries(st.from_regex(r"[a-z0-9-]{1,12}", fullmatch=True), st.integers(0, 10**12), max_size=5))
def test_places_are_written_and_read(places: dict[str, int]) -> None:
    assert tail.places_of(tail.text_of(places)) == places


@given(st.text(max_size=80))
def test_places_from_elsewhere_do_no_harm(text: str) -> None:
    assert all(n >= 0 for n in tail.places_of(text).values())


def test_a_server_that_stops_ends_the_streams() -> None:
    viewers = tail.Viewers()
    assert not viewers.ending
    viewers.stop()
    assert viewers.ending


def test_calls_of_every_process_are_on_the_page(house: House, called: Called) -> None:
    assert SHARD in house.page("/calls/tail")
    assert called.ids["card"] in ids(house.page("/calls/tail?verdict=allow"))


def _judged(house: House, label: str) -> tuple[int, int]:
    text = house.page("/guardrails?days=7")
    row = next(r for r in text.split("<tr>") if f'<th scope="row">{label}</th>' in r)
    cells = re.findall(r'<td class="num">([^<]*)</td>', row)
    return int(cells[2]), int(cells[3])


def _table(page: str) -> str:
    return page.partition("<tbody>")[2].partition("</tbody>")[0]


def test_the_page_of_a_call_says_that_what_was_said_was_erased_and_why(house: House) -> None:
    call = house.ask("How much notice must I give, before it is erased?")
    until(lambda: "before it is erased" in house.page(f"/calls/{call}"))
    house.at.eraser.erase("priya.raman", call, "they asked for <b>it</b>")
    page = house.page(f"/calls/{call}")
    assert "before it is erased" not in page
    assert "they asked for &lt;b&gt;it&lt;/b&gt;" in page
    assert "Priya Raman" in page
    assert "its proof stay" in page
    assert house.send("POST", f"/calls/{call}/check").status == 200
