"""The examples run as they stand: they wait, go on once people have agreed, and pay once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sdk.agent_door import KEY, AgentDoor

from bedplate.agents.charter import Charter
from bedplate.document import parse

FOLDER = Path(__file__).parents[2] / "examples" / "agents"
NEEDS = {
    "plain": "bedplate",
    "in_langgraph": "langgraph.checkpoint.sqlite",
    "in_pydanticai": "pydantic_ai",
    "in_openai_agents": "agents",
}


@pytest.mark.parametrize("example", sorted(NEEDS))
def test_it_waits_and_goes_on(example: str, tmp_path: Path) -> None:
    pytest.importorskip(NEEDS[example])
    given = {"plain": "invoice-17", "in_langgraph": str(tmp_path)}.get(example, str(tmp_path / "invoice-17"))

    def run(door: AgentDoor) -> tuple[int, str]:
        environment = {**os.environ, "BEDPLATE_URL": door.url, "BEDPLATE_KEY": KEY}
        program = [sys.executable, str(FOLDER / f"{example}.py"), given]
        done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    with AgentDoor() as door:
        status, said = run(door)
        assert door.waiting, said
        assert (status, said) == (1, f"waits for {door.waiting[0].id}: start it again once people have agreed\n")
        door.say("granted")
        status, said = run(door)
        assert status == 0, said
        assert said.splitlines()[0].startswith("the bank: 250 EUR to LU280019400644750000, reference act-")
        assert said.splitlines()[1].endswith("paid 250 EUR")
        assert "the bank" not in run(door)[1]
        assert len(door.effects("ok")) == 1


def test_the_file_of_agents_compiles() -> None:
    charter = Charter.compile(parse((FOLDER / "agents.yaml").read_text(), "agents.yaml"))
    assert charter.agents["payer"].tools == {"local/pay"}
