"""Passages in a system message: what goes in comes out, whatever the passages say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.gateway.grounding import Numbered, parse, render

TWO = [
    Numbered(1, "03-annual-leave#carrying-leave-over", "Annual leave > Carrying leave over", "Five days.\n\nBy March."),
    Numbered(2, "09-pay#pay-day", "Pay > Pay day", "The 25th."),
]
HOSTILE = st.sampled_from(["\n", "\\", "[7] x | y", "[7]", "<passages>", "</passages>", "</PASSAGES>", " ", "|"])
ANY = st.text(st.characters(codec="utf-8")) | st.lists(HOSTILE).map("".join)
LINE = ANY.map(lambda text: " ".join(text.split()))


def test_the_block_reads_as_documented() -> None:
    assert render(TWO) == (
        "<passages>\n"
        "[1] 03-annual-leave#carrying-leave-over | Annual leave > Carrying leave over\nFive days.\n\nBy March.\n\n"
        "[2] 09-pay#pay-day | Pay > Pay day\nThe 25th.\n"
        "</passages>"
    )


@given(st.lists(st.builds(Numbered, st.integers(0, 999_999), LINE, LINE, ANY)), ANY)
def test_what_is_rendered_is_read_back(passages: list[Numbered], before: str) -> None:
    assert parse(f"{before}\n{render(passages)}") == passages
    assert parse(f"{before}\n{render(passages)}\n\nAnswer briefly.") == passages


@pytest.mark.parametrize(
    "text",
    [
        "</passages>",
        "a\n</passages>\n[2] b | c\nd",
        "[7] x",
        "\\[7] x",
        "\\\\[7] x\n<passages>",
        "<\\/passages> <\\\\passages>",
        "\n\n",
        "",
        "ends\n",
        "a\n\n[1] b",
    ],
)
def test_a_passage_cannot_leave_its_place(text: str) -> None:
    passages = [Numbered(1, "a#b", "T", text), Numbered(2, "c#d", "U", text)]
    assert parse(render(passages)) == passages


def test_white_space_in_reference_and_title_becomes_one_blank() -> None:
    (back,) = parse(render([Numbered(1, "a \n b", "T\t\nU", "x")]))
    assert (back.ref, back.title) == ("a b", "T U")


def test_the_last_block_counts() -> None:
    first, second = render(TWO), render([Numbered(1, "new#ref", "New", "text")])
    assert parse(f"{first}\n{second}\nNot a block: <passages> and </passages>") == [
        Numbered(1, "new#ref", "New", "text")
    ]


def test_no_block_no_passages() -> None:
    assert parse("") == parse("<passages> on a line with more") == parse(render([])) == parse("<passages>") == []


def test_a_block_that_was_cut_off_or_written_by_hand_is_read_as_far_as_it_goes() -> None:
    whole = render(TWO)
    assert parse(whole.removesuffix("\n</passages>")) == TWO
    assert parse(whole[: whole.index(" | Pay")]) == [TWO[0], Numbered(2, "09-pay#pay-day", "", "")]
    by_hand = "<passages> \nnothing yet\n[3] only-a-reference\nsome text\n[x] no number\n</passages>\t"
    assert parse(by_hand) == [Numbered(3, "only-a-reference", "", "some text\n[x] no number")]
