"""Likeness: duplicates and siblings are found, with the words that say why."""

from __future__ import annotations

from bedplate.portfolio.likeness import Text, alike

TEXTS = [
    Text(
        "usecase/hr",
        "HR policy assistant",
        "Answers employees' questions about the employee handbook, with a citation.",
    ),
    Text(
        "idea/claims",
        "Claims triage",
        "Sorts incoming motor claims by urgency, so that handlers begin with the right ones.",
    ),
    Text("idea/route", "Claims routing", "Sends each incoming claim to the desk that handles it."),
    Text("idea/prices", "Prices at renewal", "Suggests a price when a policy is renewed."),
    Text(
        "path/assistant",
        "assistant over documents",
        "Answers questions about documents with a citation for every sentence.",
    ),
]


def test_the_same_in_other_words_is_a_duplicate_and_says_why() -> None:
    twin = Text(
        "idea/new",
        "Triage of claims",
        "Sort motor claims that come in by urgency, so handlers start with the right one.",
    )
    first = alike(twin, TEXTS)[0]
    assert (first.subject, first.verdict) == ("idea/claims", "duplicate")
    assert {"claims", "motor", "urgency"} <= set(first.shared)


def test_what_shares_a_part_is_a_sibling_of_the_use_case_or_the_golden_path() -> None:
    other = Text(
        "idea/new", "Pension questions", "Answers employees' questions about the pension handbook, with a citation."
    )
    found = {a.subject: a.verdict for a in alike(other, TEXTS)}
    assert found["usecase/hr"] in {"sibling", "duplicate"}
    assert found["path/assistant"] == "sibling"
    assert "idea/prices" not in found


def test_endings_and_spelling_are_forgiven_but_empty_words_are_not_likeness() -> None:
    assert (
        alike(Text("idea/new", "Renewal pricing", "Suggest prices on renewing policies."), TEXTS)[0].subject
        == "idea/prices"
    )
    assert alike(Text("idea/new", "Tram", "It is what we use for each of the."), TEXTS) == []


def test_an_idea_is_not_like_itself() -> None:
    assert "idea/claims" not in {a.subject for a in alike(TEXTS[1], TEXTS)}
    assert alike(Text("idea/x", "", ""), []) == []
