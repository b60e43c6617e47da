"""Guardrails of others in a release: where they look in each mode, and packages that cannot be loaded."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from bedplate.errors import InvalidInput
from bedplate.gateway import custom
from bedplate.gateway.guardrail import Guard
from bedplate.gateway.recipe import Recipe
from bedplate.kernel.control import untried

if TYPE_CHECKING:
    from collections.abc import Callable

    from bedplate.gateway.detect import Found


def badges(text: str) -> list[Found]:
    return [("badge number", place, place + 5) for place in range(len(text)) if text.startswith("B-", place)]


class Offered(EntryPoint):
    def load(self) -> Callable[[str], list[Found]]:
        if self.name == "gone":
            raise ModuleNotFoundError("No module named 'acme'")
        return badges


@pytest.fixture(autouse=True)
def offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages that offer guardrails, as if they were installed."""
    entries = [Offered(name, "acme:find", custom.GROUP) for name in ("badges", "gone")]
    monkeypatch.setattr(custom, "entry_points", lambda group: [e for e in entries if e.group == group])


def recipe(mode: str) -> Recipe:
    policy = {"x:badges": mode}
    return Recipe("r", "default", "m", "", "", "", "", 0, {"input": policy, "output": policy}, 1, 1)


def test_what_is_redacted_is_taken_out_of_the_text_it_stands_in() -> None:
    made = recipe("redact")
    for guard in (made.guard_in, made.guard_out):
        assert guard.apply("my badge is B-123").text == "my badge is [redacted: badge number]"
    assert made.guard_asked.idle
    assert made.guard_answer.idle


@pytest.mark.parametrize("mode", ["observe", "ask", "block"])
def test_in_any_other_mode_all_that_is_said_is_judged_at_once(mode: str) -> None:
    made = recipe(mode)
    assert made.guard_in.idle
    assert made.guard_out.idle
    assert [f.label for f in made.guard_asked.apply("B-123 and\nB-456").findings] == ["badge number"] * 2


def test_a_package_that_cannot_be_loaded_is_the_fault_of_the_release_that_names_it() -> None:
    """Anything else than our own error would keep the gateway from reading every other release too."""
    with pytest.raises(InvalidInput, match="x:gone: it cannot be loaded: ModuleNotFoundError No module named 'acme'"):
        Guard({"x:gone": "block"})


@pytest.mark.skipif(find_spec("presidio_analyzer") is not None, reason="Presidio is installed")
@pytest.mark.parametrize("kind", ["x:presidio", "x:presidio-patterns"])
def test_presidio_says_what_to_install(kind: str) -> None:
    with pytest.raises(InvalidInput, match=f"{kind}: Presidio is not installed") as refused:
        Guard({kind: "observe"})
    assert "bedplate[presidio]" in refused.value.hint


def test_presidio_needs_no_text_of_a_teams_to_be_tried_with() -> None:
    assert untried(["x:presidio", "x:presidio-patterns", "x:badges", "secrets"], []) == ["badges"]
