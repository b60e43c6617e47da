"""What a use case's file means by its models, and that it goes into the release."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.served import EXAMPLE

from bedplate.document import InvalidDocument, parse
from bedplate.errors import InvalidInput
from bedplate.gateway.supplier import SPOKEN
from bedplate.paths.target import targets
from bedplate.paths.thread import Offer
from bedplate.portfolio.actions import check_use_case
from bedplate.portfolio.usecase import ModelPart, UseCaseFile
from bedplate.releases.bundle import Bundle, read
from bedplate.testing import small_model

EMBEDDED = Offer("embedded", "extractive", "embedded", SPOKEN["embedded"])
OFFERS = {
    "embedded": EMBEDDED,
    "main": Offer("https://main.example/v1", "m-1", "main", SPOKEN["azure"]),
    "second": Offer("https://second.example/v1", "", "second"),
}
OFFERS["default"] = OFFERS["main"]


def part(**keys: Any) -> ModelPart:
    return ModelPart.model_validate({"name": "default", **keys})


def test_the_address_and_the_model_go_into_the_release_in_the_order_of_the_file() -> None:
    fallbacks = [{"upstream": "second", "name": "s-1"}, {"upstream": "main", "name": "m-2"}]
    chosen = targets(part(fallbacks=fallbacks, embedding={"name": "e-1"}), OFFERS)
    assert chosen == (
        {"upstream": "https://main.example/v1", "model": "m-1"},
        (
            {"upstream": "https://second.example/v1", "model": "s-1"},
            {"upstream": "https://main.example/v1", "model": "m-2"},
        ),
        {"upstream": "https://main.example/v1", "model": "e-1"},
    )


def test_without_a_configured_one_default_is_the_embedded_answerer() -> None:
    assert targets(part(), {"embedded": EMBEDDED})[0] == {"upstream": "embedded", "model": "extractive"}


def test_two_names_for_the_same_are_asked_once() -> None:
    assert targets(part(fallbacks=[{"upstream": "main", "name": "m-1"}]), OFFERS)[1] == ()


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"upstream": "third"}, r"model.upstream: no upstream 'third' here.*default, embedded, main, second"),
        ({"fallbacks": [{"upstream": "third", "name": "x"}]}, r"model.fallbacks.0.upstream: no upstream 'third'"),
        ({"embedding": {"upstream": "third", "name": "x"}}, r"model.embedding.upstream: no upstream 'third'"),
        ({"embedding": {"upstream": "embedded", "name": "x"}}, r"'embedded' speaks only chat"),
        ({"upstream": "second"}, r"model.name: 'second' has no default model"),
    ],
)
def test_what_is_not_here_is_refused_before_anything_is_made(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        targets(part(**keys), OFFERS)


def spec(model: str) -> UseCaseFile:
    text = (EXAMPLE / "hr-policy-assistant" / "use-case.yaml").read_text()
    before, _, after = text.partition("model:")
    rest = after.partition("\n")[2].splitlines(keepends=True)
    while rest and rest[0].startswith(" "):
        rest.pop(0)
    document = parse(f"{before}model: {model}\n{''.join(rest)}", "use-case.yaml")
    return check_use_case(document, small_model())


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("{name: m, fallbacks: [{name: m}]}", "asked already"),
        ("{name: m, fallbacks: [{name: n}, {name: n, upstream: default}]}", "asked already"),
        ("{name: m, upstream: Not-An-Id}", "small letters"),
        ("{name: m, fallbacks: [" + ", ".join(f"{{name: n{i}}}" for i in range(6)) + "]}", "at most 5"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_with_its_place(model: str, says: str) -> None:
    with pytest.raises(InvalidDocument, match=says):
        spec(model)


def test_a_file_without_fallbacks_is_kept_as_before() -> None:
    kept = ModelPart(name="m").model_dump(exclude_none=True)
    assert kept == {"upstream": "default", "name": "m"}


def test_each_fallback_and_what_embeds_is_under_the_digest_and_read_back() -> None:
    plain = Bundle("usecase/a", "u", "m", "p", "no", "", 0, {}, "s", 90, "r", {}, 1, 1, {})
    one, other = {"upstream": "https://a.example", "model": "x"}, {"upstream": "https://b.example", "model": "x"}
    made = [
        plain,
        replace(plain, fallbacks=(one,)),
        replace(plain, fallbacks=(other,)),
        replace(plain, fallbacks=(one, other)),
        replace(plain, fallbacks=(other, one)),
        replace(plain, embedding=one),
    ]
    assert len({bundle.digest for bundle in made}) == len(made)
    assert [read(bundle.content()) for bundle in made] == made
