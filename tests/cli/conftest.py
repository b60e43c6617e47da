from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import urllib.request
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bedplate.cli.main import outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[2] / "examples" / "harbour-mutual"
PEOPLE = (
    "priya.raman",
    "jonas.weber",
    "ruth.adeyemi",
    "leo.fischer",
    "mara.quinn",
    "hanna.osei",
    "victor.lam",
)
FIRST = "hr-policy-assistant"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        found = json.loads(self.out)
        assert found["format_version"] == 1
        return dict(found)

    @property
    def error(self) -> dict[str, Any]:
        assert not self.out
        return dict(json.loads(self.err)["error"])


def run(*arguments: str | Path, **env: str) -> Result:
    """Run one command in this process, through the door that the program itself uses."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in [n for n in os.environ if n.startswith(("BEDPLATE_", "COLUMNS"))]:
            patch.delenv(name)
        for name, value in env.items():
            patch.setenv(name, value)
        code = outcome([str(a) for a in arguments])
    return Result(code, out.getvalue(), err.getvalue())


def program(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run one command as a program of its own."""
    return subprocess.run(
        [sys.executable, "-m", "bedplate", *map(str, arguments)],
        env=clean(env),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def clean(env: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("BEDPLATE_", "COLUMNS"))} | env


@dataclass(frozen=True)
class House:
    """A server of its own, with everybody signed in, each with a configuration folder of their own."""

    url: str
    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    def home(self, person: str) -> Path:
        return self.root / "homes" / person

    def run(self, person: str, *arguments: str | Path, **env: str) -> Result:
        return run(*arguments, **{"BEDPLATE_CONFIG_HOME": str(self.home(person)), "BEDPLATE_URL": self.url} | env)

    def json(self, person: str, *arguments: str | Path) -> dict[str, Any]:
        return self.run(person, *arguments, "-o", "json").data

    def newest_approval(self) -> str:
        return str(self.json("victor.lam", "approvals")["approvals"][0]["id"])

    def call(self, key: str, question: str) -> None:
        body = json.dumps({"model": "default", "messages": [{"role": "user", "content": question}]}).encode()
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/v1/chat/completions", body, headers)) as answer:  # noqa: S310  our own server
            answer.read()


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    yield from served(tmp_path_factory.mktemp("house"))


def served(root: Path) -> Iterator[House]:
    """Serve an installation of its own."""
    command = [sys.executable, "-m", "bedplate", "up", "--port", "0", "--data", str(root / "data"), "-o", "json"]
    with (root / "log").open("wb") as log:
        server = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, env=clean({"BEDPLATE_SEAL_EVERY_S": "1"})
        )
    assert server.stdout is not None
    lines = []
    for line in server.stdout:
        lines.append(line)
        if line == b"}\n":
            break
    assert lines, (root / "log").read_text()
    made = House(json.loads(b"".join(lines))["url"], root)
    try:
        for person in PEOPLE:
            told = made.json(person, "invite", person, "--name", person.title(), "--data", made.data)
            assert made.run(person, "login", "--code", told["code"]).code == 0
        yield made
    finally:
        server.terminate()
        server.wait(20)
        server.stdout.close()


@dataclass(frozen=True)
class Live:
    """The way of the first use case, command by command, as it was printed."""

    house: House
    steps: dict[str, Result]
    key: str
    call: str
    model: Path


@pytest.fixture(scope="session")
def live(house: House) -> Live:
    return first_live(house)


def first_live(house: House) -> Live:
    """Take the first use case live, command by command."""
    steps: dict[str, Result] = {}
    model = house.root / "om" / "operating-model.yaml"

    def step(name: str, person: str, *arguments: str | Path) -> Result:
        steps[name] = house.run(person, *arguments)
        return steps[name]

    people = EXAMPLE / "people.yaml"
    step("init", "priya.raman", "init", model.parent, "--organisation", "Harbour Mutual", "--people", people)
    step("empty status", "leo.fischer", "status")
    step("founding plan", "priya.raman", "plan", model)
    step("founding", "priya.raman", "apply", model)
    asked = house.newest_approval()
    step("own approval", "priya.raman", "approve", asked)
    step("approval", "jonas.weber", "approvals", asked)
    step("first vote", "jonas.weber", "approve", asked, "--reason", "read it")
    step("last vote", "ruth.adeyemi", "approve", asked)
    spec = EXAMPLE / FIRST / "use-case.yaml"
    step("plan", "leo.fischer", "plan", spec)
    step("apply", "leo.fischer", "apply", spec)
    step("accept", "hanna.osei", "approve", house.newest_approval())
    step("plan again", "leo.fischer", "plan", spec)
    step("gate before", "leo.fischer", "gate", FIRST)
    source = f"handbook={EXAMPLE / 'handbook'}"
    step("release", "leo.fischer", "release", EXAMPLE / FIRST, "--source", source)
    step("gate", "leo.fischer", "gate", FIRST)
    step("go live", "hanna.osei", "approve", house.newest_approval())
    key = house.json("leo.fischer", "key", "issue", FIRST, "--label", "tests")["key"]
    house.call(key, "How many days of annual leave do I get?")
    call = house.json("victor.lam", "calls", "--use-case", FIRST, "--limit", "1")["calls"][0]["id"]
    return Live(house, steps, key, call, model)
