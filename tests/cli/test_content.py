from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cli.conftest import FIRST

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Live


def test_what_was_said_is_held_erased_and_gone_while_the_proof_holds(live: Live, tmp_path: Path) -> None:
    house = live.house
    key = house.json("leo.fischer", "key", "issue", FIRST, "--label", "erasing")["key"]
    house.call(key, "How many days of annual leave do I get in July?")
    call = house.json("victor.lam", "calls", "--use-case", FIRST, "--limit", "1")["calls"][0]["id"]
    before = tmp_path / "before.proof"
    assert house.run("victor.lam", "prove", call, "--out", before).code == 0

    assert house.run("victor.lam", "content", "hold", FIRST, "--reason", "a dispute").code == 0
    held = house.run("priya.raman", "content", "erase", call, "--reason", "they asked", "-o", "json")
    assert (held.code, held.error["reasons"][0]["control"]) == (5, "not-held")
    assert house.run("victor.lam", "content", "lift", FIRST, "--reason", "settled").code == 0

    refused = house.run("leo.fischer", "content", "erase", call, "--reason", "to hide it")
    assert refused.code == 5
    assert "priya.raman" in refused.err
    assert house.json("priya.raman", "call", call)["call"]["said"]
    assert house.json("priya.raman", "content", "erase", call, "--reason", "they asked")["erased"] == 1
    assert house.json("priya.raman", "content", "erase", call, "--reason", "they asked")["erased"] == 0
    told = house.json("priya.raman", "call", call)["call"]
    assert told["said"] is None
    assert (told["erased"]["by"], told["erased"]["reason"]) == ("priya.raman", "they asked")
    assert "erased by priya.raman" in house.run("priya.raman", "call", call).out

    after = tmp_path / "after.proof"
    assert house.run("victor.lam", "prove", call, "--out", after).code == 0
    for proof in (before, after):
        assert house.run("victor.lam", "verify", proof).code == 0
    assert house.json("priya.raman", "content", "rotate", "--reason", "monthly")["keys"] > 0
    assert house.json("priya.raman", "call", live.call)["call"]["said"], "everything else still opens"
