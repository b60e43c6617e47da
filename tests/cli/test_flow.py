"""`bedplate flow`: queues, delivery and simulation at the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bedplate.cli import flow

if TYPE_CHECKING:
    import pytest
    from tests.cli.conftest import Live


def test_flow_and_delivery_are_told_as_text_and_json(live: Live) -> None:
    shown = live.house.run("victor.lam", "flow")
    assert shown.code == 0, shown.err
    assert shown.out.splitlines()[0].split()[:3] == ["whose", "step", "waiting"]
    told = live.house.json("victor.lam", "flow", "--weeks", "8")
    assert told["weeks"] == 8
    delivery = live.house.run("victor.lam", "flow", "dora")
    assert delivery.out.splitlines()[1].startswith("all ")
    assert "too few" in delivery.out


def test_what_cannot_be_simulated_is_refused_with_the_fix(live: Live) -> None:
    wrong = live.house.run("victor.lam", "flow", "simulate", "--delegate", "2:everything")
    assert (wrong.code, "write TIER:WHAT" in wrong.err) == (3, True)
    assert live.house.run("victor.lam", "flow", "--weeks", "900").code == 3


def test_options_are_told_side_by_side_with_what_to_apply(capsys: pytest.CaptureFixture[str]) -> None:
    def option(name: str, days: float, **more: Any) -> dict[str, Any]:
        pair = [{"middle": days, "low": days - 1, "high": days + 1}] * 2
        plain = {"name": name, "overall": pair, "tiers": {"2": pair}, "exposure": 0.0, "missed": 0.0}
        return {**plain, "proposed": False, "snippet": "", **more}

    told = {
        "options": [
            option("as is", 9.0),
            option("2:release:coe", 3.0, proposed=True, snippet="delegations:\n", exposure=78.0, missed=None),
        ],
        "assumed": ["domain/claims decided fewer than 5"],
        "ahead_weeks": 13,
        "weeks": 26,
    }
    flow._simulated(told)
    shown = capsys.readouterr()
    assert "2:release:coe (proposed)" in shown.out
    assert "3.0 (2.0-4.0)" in shown.out
    assert "too few" in shown.out
    assert shown.out.rstrip().endswith("delegations:")
    assert "domain/claims" in shown.err
