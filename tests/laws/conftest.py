"""What the laws are tested with: the sources, the templates, and a door over fakes."""

from __future__ import annotations

import ast
import asyncio
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bedplate.bootstrap import MANIFESTS
from bedplate.gateway.budget import Budgets
from bedplate.gateway.door import Door
from bedplate.gateway.price import Prices
from bedplate.gateway.recipe import Recipe
from bedplate.gateway.session import Answer, Parts
from bedplate.gateway.snapshot import Follower, Key, Snapshot
from bedplate.kernel.clock import DAY
from bedplate.kernel.identity import Identities
from bedplate.kernel.manifest import catalogue
from bedplate.kernel.standing import Rung, Standing
from bedplate.models.groundedness import assess
from bedplate.people.account import digest
from bedplate.testing import MemoryRecorder, ScriptedUpstream, SettableClock, small_model, switchboard

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bedplate.gateway.grounding import Numbered
    from bedplate.kernel.control import Control
    from bedplate.kernel.model import OperatingModel

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "bedplate"


@dataclass(frozen=True, slots=True)
class Sources:
    """The package's own Python files, parsed."""

    trees: dict[str, ast.Module]

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        """Yield every call, with the file it is in."""
        for name, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    yield name, node

    def calling(self, function: str) -> set[str]:
        """Name the files that call a function or class by this name."""
        return {file for file, call in self.calls() if _name(call.func) == function}


@pytest.fixture(scope="session")
def sources() -> Sources:
    files = [p for p in SOURCE.rglob("*.py") if "templates" not in p.relative_to(SOURCE).parts]
    return Sources({p.relative_to(SOURCE).as_posix(): ast.parse(p.read_text()) for p in files})


SECRET = "bpk_0123456789ab_" + "x" * 43


@dataclass(slots=True)
class FastDoor:
    """A gateway door over fakes, with one live use case and one key."""

    door: Door
    recorder: MemoryRecorder
    upstream: ScriptedUpstream
    follower: Follower
    snapshot: Snapshot

    def ask(self, question: str = "How much leave?", *, stream: bool = False) -> Answer:
        """Make one call with the key."""
        body = {"model": "default", "stream": stream, "messages": [{"role": "user", "content": question}]}
        return asyncio.run(self.door.complete(SECRET, json.dumps(body).encode()))

    def events(self, question: str = "How much leave?") -> list[bytes]:
        """Make one streamed call and return what left, piece by piece."""

        async def collected() -> list[bytes]:
            body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": question}]}
            answer = await self.door.complete(SECRET, json.dumps(body).encode())
            assert answer.events is not None
            return [piece async for piece in answer.events]

        return asyncio.run(collected())

    def now(self, **changes: Any) -> None:
        """Change the standing of the use case, as the follower would after an event."""
        standing = replace(self.snapshot.standings["usecase/one"], **changes)
        self.snapshot = replace(self.snapshot, size=self.snapshot.size + 1, standings={"usecase/one": standing})
        self.follower.look()


def fast_door(
    tier: int = 1,
    *,
    upstream: ScriptedUpstream | None = None,
    recorder: MemoryRecorder | None = None,
    more: tuple[Control, ...] = (),
    model: OperatingModel | None = None,
) -> FastDoor:
    """Build a door whose use case is live in this tier."""
    clock, asked = SettableClock(), upstream or ScriptedUpstream()
    taking = recorder or MemoryRecorder()
    facts: dict[str, Any] = {"releases.live_at": clock(), "models.evaluated": {"r" * 64: clock()}}
    standing = Standing(
        "usecase/one", 1, "One", "hr-owner", "people", "low", "assistive", tier, "live", "r" * 64, Rung.ACT, facts=facts
    )
    guardrails = {"input": {"secrets": "block"}, "output": {"secrets": "observe"}}
    recipe = Recipe("r" * 64, "scripted", "m", "Be brief.", "p", "I do not know.", "", 0, guardrails, 99, 99_999)
    key = Key("0123456789ab", "usecase/one", digest(SECRET), clock() + DAY, revoked=False)
    holds = small_model() if model is None else model
    snapshot = Snapshot(1, holds, {key.digest: key}, {"usecase/one": standing}, {"usecase/one": recipe})

    async def nothing(_index: str, _question: str, _top: int) -> Sequence[Numbered]:
        return ()

    made: FastDoor
    follower = Follower(lambda: made.snapshot.size, lambda: made.snapshot, 100)
    door = Door(
        Parts(
            follower=follower,
            recorder=taking,
            switchboard=switchboard({"scripted": asked}),
            retrieve=nothing,
            assess=assess,
            budgets=Budgets(Path(tempfile.mkdtemp()), "shard-0", lambda _shard: {}),
            price=Prices().of,
            controls=(*catalogue(MANIFESTS).controls.values(), *more),
            clock=clock,
            identify=Identities(clock).next,
        )
    )
    made = FastDoor(door, taking, asked, follower, snapshot)
    follower.look()
    return made


@pytest.fixture
def quick() -> FastDoor:
    return fast_door()


def _name(function: ast.expr) -> str:
    match function:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name):
            return name
        case _:
            return ""
