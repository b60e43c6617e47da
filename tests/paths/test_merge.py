"""Merging by lines, by properties: nothing of either side is lost, and what nobody disputes needs nobody."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bedplate.paths.merge import Region, merge_lines

LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "d\n", "e\n"]), max_size=12)


def taken(regions: list[Region]) -> list[str]:
    return [line for region in regions for line in region.lines]


@given(LINES, LINES)
def test_what_one_side_left_alone_is_the_others(base: list[str], changed: list[str]) -> None:
    for own, other in ((base, changed), (changed, base), (changed, changed)):
        regions = list(merge_lines(base, own, other))
        assert not any(r.conflict for r in regions)
        assert taken(regions) == changed


@given(LINES, LINES, LINES)
def test_either_choice_in_every_conflict_is_made_of_that_side_and_of_what_it_did_not_touch(
    base: list[str], own: list[str], other: list[str]
) -> None:
    regions = list(merge_lines(base, own, other))
    mirrored = list(merge_lines(base, other, own))
    assert [(r.lines, r.own, r.other) for r in regions] == [(r.lines, r.other, r.own) for r in mirrored]
    whole = [line for r in regions for line in (*r.lines, *r.own, *r.other)]
    for side in (own, other):
        for line in set(side) - set(base):
            assert line in whole, "what a side added is there, or disputed"


@given(LINES, LINES, LINES)
def test_changes_apart_from_each_other_are_both_taken(before: list[str], mine: list[str], theirs: list[str]) -> None:
    fence = [f"fence {n}\n" for n in range(3)]
    base = [*before, *fence, *before]
    regions = list(merge_lines(base, [*mine, *fence, *before], [*before, *fence, *theirs]))
    assert not any(r.conflict for r in regions)
    assert taken(regions) == [*mine, *fence, *theirs]


def test_the_same_place_changed_in_two_ways_is_a_conflict() -> None:
    regions = list(merge_lines(["a\n", "x\n", "b\n"], ["a\n", "y\n", "b\n"], ["a\n", "z\n", "b\n"]))
    assert regions == [Region(("a\n",)), Region(own=("y\n",), other=("z\n",), conflict=True), Region(("b\n",))]
