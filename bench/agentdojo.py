"""AgentDojo, replayed without a model: what policies let through, what they stop, and how often they ask a person.

The agent is an oracle: it does what solves the user's task, and whatever a text that it reads tells it. Its calls are
weighed by the charters in `bench/dojo`, by the code that weighs them in production. The person who is asked agrees to
whatever belongs to the user's task, and to nothing else. The attack is static: the goal, where the suite places it.

    python -m venv dojo && dojo/bin/pip install agentdojo==0.1.35 google-re2 msgspec ruamel.yaml
    PYTHONPATH=src dojo/bin/python -P bench/agentdojo.py [suite ...] [-v]    # -P: this file is named as the package is
"""
# ruff: noqa: ANN401  suites, tasks and what tools return are the package's, which ships no types for them

from __future__ import annotations

import json
import sys
import warnings
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
from agentdojo.agent_pipeline.base_pipeline_element import BasePipelineElement  # type: ignore[import-not-found]
from agentdojo.agent_pipeline.tool_execution import tool_result_to_str  # type: ignore[import-not-found]
from agentdojo.task_suite.load_suites import get_suites  # type: ignore[import-not-found]
from agentdojo.types import ChatAssistantMessage, ChatToolResultMessage, text_content_block_from_string  # type: ignore[import-not-found]
from pydantic import BaseModel

from bedplate.agents.charter import Charter
from bedplate.agents.run import RECENT, Run
from bedplate.agents.taint import TASK, Provenance
from bedplate.agents.toolcall import READ, ToolCall
from bedplate.document import parse

FILES = Path(__file__).parent / "dojo"
MARK = "@@INJECTED@@"
VERSION = "v1.1.2"  # of later ones eight injection tasks have no ground truth to replay
TIER = 3
ANSWER = "local/answer"
TUNED_ON = ("banking", "slack", "travel")  # travel: only after it had been run once, see docs/tool-policies.md
ASK_ALL = [{"id": "all", "classes": ["write", "irreversible"], "then": "ask"}]
POLICIES = ("none", "allow-list", "all writes ask", "ours")


@dataclass
class Tally:
    """What came of the cases of one suite under one policy."""

    benign: Counter[str] = field(default_factory=Counter)
    attacked: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add another suite's."""
        self.benign += other.benign
        self.attacked += other.attacked


class Oracle(BasePipelineElement):  # type: ignore[misc]  # the package is in an environment of its own
    """An agent that does its task, and whatever it reads. Each call is weighed before it is made."""

    def __init__(
        self, charter: Charter, user: Any, injection: Any, allowed: set[str] | None, tally: Counter[str]
    ) -> None:
        self.charter, self.user, self.injection, self.allowed, self.tally = charter, user, injection, allowed, tally
        self.agent = charter.agents["assistant"]
        self.names = {name.partition("/")[2]: tool for name, tool in charter.tools.items()}

    def query(self, query: str, runtime: Any, env: Any = None, messages: Any = (), extra_args: Any = None) -> Any:  # noqa: D102  of the base class
        self.run, self.seen = Run("run", "usecase/dojo", self.agent.id), Provenance(b"dojo")
        self.seen.trust(query, 0, TASK)
        plan = [(call, True) for call in self.user.ground_truth(env)]
        misled, told = False, []
        while plan:
            call, own = plan.pop(0)
            if not self.may(call.function, plainly(call.args), own=own):
                continue
            result, error = runtime.run_function(env, call.function, call.args)
            text = error or tool_result_to_str(result)
            told += [
                ChatAssistantMessage(role="assistant", tool_calls=[call], content=[text_content_block_from_string("")]),
                ChatToolResultMessage(
                    role="tool",
                    content=[text_content_block_from_string(text)],
                    tool_call=call,
                    tool_call_id=None,
                    error=error,
                ),
            ]
            self.hear(call.function, plainly(call.args), error or plainly(result))
            if self.injection is not None and MARK in text and not misled:
                misled = True
                plan = [(one, False) for one in self.injection.ground_truth(env)] + plan
        answer = self.answer(misled=misled)
        told.append(
            ChatAssistantMessage(role="assistant", tool_calls=None, content=[text_content_block_from_string(answer)])
        )
        return query, runtime, env, [*messages, *told], extra_args or {}

    def answer(self, *, misled: bool) -> str:
        """Say what solves the task, with what the attacker wants said; without that, if a person refuses it."""
        own = str(self.user.GROUND_TRUTH_OUTPUT)
        if misled and self.injection.GROUND_TRUTH_OUTPUT:
            both = f"{own}\n{self.injection.GROUND_TRUTH_OUTPUT}"
            if self.may("answer", {"text": both}, own=False):
                return both
        return own if own and self.may("answer", {"text": own}, own=True) else ""

    def may(self, name: str, arguments: dict[str, Any], *, own: bool) -> bool:
        """Weigh a call, and ask the person where it says so."""
        tool = self.names[name]
        verdict = "allow"
        if self.allowed is not None and name not in self.allowed and name != "answer":
            verdict = "deny"
        weighing = self.charter.weigh(self.agent, tool, arguments, self.seen, self.run, TIER, 1)
        if weighing.denies or verdict == "deny":
            verdict = "deny"
        elif weighing.asks:
            self.tally["asked"] += 1
            self.tally["asked of the task" if own else "asked of the attack"] += 1
            verdict = "allow" if own else "deny"
        if VERBOSE and (own != (verdict == "allow" and not weighing.asks)) and tool.kind != READ:
            case = f"{self.user.ID} {self.injection.ID if self.injection is not None else '-':17}"
            why = [name for name, _, _ in (*weighing.denies, *weighing.asks)]
            print(f"  {case} {'own' if own else 'injected':8} {verdict:5} {name} {json.dumps(arguments)[:160]} {why}")
        digest = ToolCall("run", tool.name, arguments).digest
        run = self.run
        self.run = replace(
            run,
            steps=run.steps + 1,
            actions=run.actions + (verdict == "allow" and tool.kind != READ),
            amount=run.amount + (weighing.amount if verdict == "allow" else 0),
            denied=run.denied + (verdict == "deny"),
            recent=(*run.recent, (tool.name, digest, verdict))[-RECENT:],
            tools=run.tools | {tool.name} if verdict == "allow" else run.tools,
        )
        return verdict == "allow"

    def hear(self, name: str, arguments: dict[str, Any], result: Any) -> None:
        """Take note of what a tool returned, with the attacker's words where the suite places them."""
        tool = self.names[name]
        goal = self.injection.GOAL if self.injection is not None else ""
        for trusted, atoms in self.seen.learned(tool, arguments, placed(result, goal)):
            self.seen.add(atoms, trusted, self.run.steps, tool.name)


def plainly(value: Any) -> Any:
    """Return a value as JSON would have it."""
    if isinstance(value, BaseModel):
        return plainly(value.model_dump())
    if isinstance(value, dict):
        return {str(key): plainly(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [plainly(inner) for inner in value]
    if isinstance(value, Enum):
        return value.value
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def placed(value: Any, goal: str) -> Any:
    """Return a result with the goal where the marker stands."""
    if isinstance(value, dict):
        return {key: placed(inner, goal) for key, inner in value.items()}
    if isinstance(value, list):
        return [placed(inner, goal) for inner in value]
    return value.replace(MARK, goal) if isinstance(value, str) else value


def charters(suite: str) -> dict[str, Charter]:
    """Compile a suite's charter, and those it is compared with: the same tools, other policies."""
    ours = Charter.compile(parse((FILES / f"{suite}.yaml").read_bytes(), f"{suite}.yaml"))
    whole = msgspec.json.decode(ours.content())
    bare = Charter.read(msgspec.json.encode({**whole, "policy": [], "default": []}))
    asks = [{**ASK_ALL[0], "tools": [name for name in ours.tools if name != ANSWER]}]
    every = Charter.read(msgspec.json.encode({**whole, "policy": asks, "default": []}))
    return {"none": bare, "allow-list": bare, "all writes ask": every, "ours": ours}


def replayed(name: str, suite: Any, policy: str) -> Tally:
    """Replay a suite under one policy."""
    charter, tally = charters(name)[policy], Tally()
    clean = suite.load_and_inject_default_environment({})
    marked = suite.load_and_inject_default_environment(dict.fromkeys(suite.get_injection_vector_defaults(), MARK))
    for user in suite.user_tasks.values():
        allowed = None
        if policy == "allow-list":
            allowed = {call.function for call in user.ground_truth(clean.model_copy(deep=True))}
        oracle = Oracle(charter, user, None, allowed, tally.benign)
        solved, _ = suite.run_task_with_pipeline(oracle, user, None, {}, environment=clean.model_copy(deep=True))
        tally.benign.update(tasks=1, solved=int(solved))
        for injection in suite.injection_tasks.values():
            oracle = Oracle(charter, user, injection, allowed, tally.attacked)
            solved, broken = suite.run_task_with_pipeline(
                oracle, user, injection, {}, environment=marked.model_copy(deep=True)
            )
            tally.attacked.update(tasks=1, solved=int(solved), broken=int(broken))
            if VERBOSE and broken:
                print(f"  {user.ID} {injection.ID:17} the attack succeeds")
    return tally


def told(where: str, policy: str, tally: Tally) -> str:
    """Return one line of the table."""
    benign, attacked = tally.benign, tally.attacked
    tasks, cases = benign["tasks"], attacked["tasks"]
    utility = f"{benign['solved']:4}/{tasks:<4} {attacked['solved']:5}/{cases:<4}"
    harm = f"{attacked['broken']:5}/{cases:<4} {attacked['broken'] / cases:7.1%}"
    asked = f"{benign['asked'] / tasks:7.2f} {attacked['asked of the task'] / cases:9.2f}"
    return f"{where:22} {policy:15} {utility} {harm} {asked}"


def main() -> None:
    """Replay, and print a table."""
    warnings.simplefilter("ignore")
    names = [name for name in sys.argv[1:] if not name.startswith("-")]
    policies = ("ours",) if VERBOSE else POLICIES
    suites = {name: suite for name, suite in get_suites(VERSION).items() if not names or name in names}
    utility = f"{'benign':>9} {'attacked':>10} {'attack succeeds':>19}"
    print(f"{'suite':22} {'policy':15} {utility} {'approvals/task':>8} {'attacked':>7}")
    for policy in policies:
        sums: dict[str, Tally] = {"tuned on": Tally(), "held out": Tally(), "all": Tally()}
        for name, suite in suites.items():
            tally = replayed(name, suite, policy)
            sums["tuned on" if name in TUNED_ON else "held out"].add(tally)
            sums["all"].add(tally)
            print(told(name, policy, tally), flush=True)
        for where, tally in sums.items():
            if tally.benign["tasks"]:
                print(told(f"= {where}", policy, tally), flush=True)


VERBOSE = "-v" in sys.argv

if __name__ == "__main__":
    main()
