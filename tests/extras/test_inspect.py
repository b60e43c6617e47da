"""Inspect itself, from the extra `evals`, against a running gateway; and what is on record of it afterwards."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests import served
from tests.served import LEAVE, RIGHTS, UNANSWERED, Server, harbour

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.extras.conftest import Installed
    from tests.served import Harbour

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CASES = {  # what is asked, what must be in the answer
    "days": (LEAVE, "26 days"),
    "moon": ("Who walked on the Moon?", UNANSWERED),
    "never": ("How many days of annual leave may I carry over?", "92 weeks"),
}
TASK = f"""
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes


@task
def leave():
    cases = {CASES!r}
    return Task(dataset=[Sample(id=i, input=q, target=t) for i, (q, t) in cases.items()], scorer=includes())
"""


@dataclass(frozen=True)
class Bench:
    """A gateway, and a program beside it that has Inspect."""

    at: Harbour
    installed: Installed
    folder: Path

    def inspect(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run Inspect as its own documentation says, with nothing of Bedplate but a base URL and a key."""
        env = {"GATEWAY_BASE_URL": f"{self.at.url}/v1", "GATEWAY_API_KEY": self.at.keys[RIGHTS]}
        return self.installed.run("-m", "inspect_ai", *arguments, cwd=self.folder, env=env)

    def bedplate(self, person: str, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
        env = {"BEDPLATE_URL": self.at.url, "BEDPLATE_TOKEN": self.at.token(person), "BEDPLATE_KEY": self.key}
        done = self.installed.run("-m", "bedplate", *arguments, "-o", "json", cwd=self.folder, env=env)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    @property
    def key(self) -> str:
        return self.at.keys[RIGHTS]

    def answered(self) -> dict[str, str]:
        """Return the live calls of the use case: the digest of the answer of each, by its id."""
        calls = self.at.person("victor").calls(use_case=RIGHTS, limit=500)
        return {c["id"]: c["answer_sha256"] for c in calls if (c["route"], c["kind"]) == ("live", "call.completed")}


@pytest.fixture(scope="module")
def bench(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("inspect")
    (folder / "tasks.py").write_text(TASK)
    with Server(served.fresh()) as server:
        yield Bench(harbour(server), installed, folder)


@pytest.fixture(scope="module")
def log(bench: Bench) -> Path:
    """The log of a run of Inspect, as it writes it."""
    done = bench.inspect(
        "eval", "tasks.py", "--model", "openai-api/gateway/default", "--log-dir", "logs", "--display", "none"
    )
    assert done.returncode == 0, done.stderr + done.stdout
    (written,) = (bench.folder / "logs").glob("*.eval")
    return written


def asked() -> str:
    """Return the digest of what is asked, as it is documented: sorted cases, each with its question and target."""
    rows = sorted([case, json.dumps([question, target])] for case, (question, target) in CASES.items())
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()


def test_a_log_is_on_record_with_its_interval_its_dataset_and_the_answer_of_each_call(bench: Bench, log: Path) -> None:
    calls = bench.answered()
    assert len(calls) == len(CASES)
    code, made = bench.bedplate("leo", "evals", "import", RIGHTS, log, "--pass-percent", "20")
    assert (code, made["passes"]) == (0, True)
    _, shown = bench.bedplate("victor", "evals", "show", RIGHTS, made["results"])
    # Wilson's interval of two of three, at 95 %: 0.2077 to 0.9385.
    assert (shown["passed"], shown["total"]) == (2, 3)
    assert (shown["lower_permille"], shown["upper_permille"]) == (207, 939)
    assert shown["purpose"] == "import"
    assert shown["suite"] == asked()
    assert {s["case"]: s["passed"] for s in shown["samples"]} == {"days": True, "moon": True, "never": False}
    assert sorted(s["answer"] for s in shown["samples"]) == sorted(calls.values())
    moon = next(s for s in shown["samples"] if s["case"] == "moon")
    assert moon["answer"] == hashlib.sha256(UNANSWERED.encode()).hexdigest()
    told = shown["config"]
    assert (told["source"], told["task"], told["model"]) == ("inspect", "leave", "openai-api/gateway/default")
    assert told["file"] == hashlib.sha256(log.read_bytes()).hexdigest()


def test_a_log_is_evidence_for_a_control_with_the_outcome_that_its_interval_gives(bench: Bench, log: Path) -> None:
    for percent, code, outcome in ((21, 5, "contradicted"), (20, 0, "proven")):
        needs = ("--control", "red-teamed", "--pass-percent", str(percent))
        ended, made = bench.bedplate("priya", "evals", "import", RIGHTS, log, *needs)
        assert (ended, made["outcome"]) == (code, outcome)
        (line,) = (x for x in bench.at.person("victor").gate(RIGHTS)["gate"] if x["control"] == "red-teamed")
        assert (line["state"], asked()[:12] in line["summary"]) == (outcome, True)


def test_tasks_are_run_and_judged_by_the_lower_bound_wherever_their_file_is(bench: Bench) -> None:
    before = bench.answered()
    tasks = bench.folder / "tasks.py"
    run = ("evals", "inspect", f"{tasks}@leave", "--limit", "2", "--use-case", RIGHTS, "--pass-percent", "50")
    code, made = bench.bedplate("leo", *run)
    assert (code, made["passed"], made["total"]) == (5, 2, 2)  # Inspect ended well; two of two show 34 %
    assert made["lower_permille"] == 342
    calls = {i: answer for i, answer in bench.answered().items() if i not in before}
    assert sorted(calls.values()) == sorted(s["answer"] for s in made["samples"])
    assert made["suite"] != asked()  # of fewer cases
