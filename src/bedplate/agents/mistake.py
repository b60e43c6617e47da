"""What is wrong with an agents file beyond its shape: names that point nowhere, parts that contradict each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .agentfile import applies, covers, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .agentfile import AgentPart, AgentsFile, ArgumentPart, PolicyPart, ToolPart, WhenPart

Wrong = tuple[list[str | int], str]
SHOWN = 20  # of the names that are known


def mistakes(file: AgentsFile) -> list[Wrong]:
    """List everything that is wrong, as (path, message)."""
    tools = {tool.name: tool for tool in file.tools}
    wrong = [*_twice("tools", [t.name for t in file.tools]), *_twice("agents", [a.id for a in file.agents])]
    wrong += _twice("policies", [p.id for p in file.policies])
    for number, tool in enumerate(file.tools):
        wrong += [(["tools", number, *path], why) for path, why in (*_tool(tool, tools, file), *_arguments(tool))]
    for number, agent in enumerate(file.agents):
        wrong += [(["agents", number, *path], why) for path, why in _agent(agent, tools, file)]
    for number, policy in enumerate(file.policies):
        wrong += [(["policies", number, *path], why) for path, why in _policy(policy, tools, file)]
    return wrong


def _twice(what: str, names: list[str]) -> list[Wrong]:
    seen: set[str] = set()
    return [([what, n], f"{name!r} is here twice") for n, name in enumerate(names) if name in seen or seen.add(name)]  # type: ignore[func-returns-value]  # add says nothing, and that is false


def _known(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:SHOWN]) or "none"


def _tool(tool: ToolPart, tools: Mapping[str, ToolPart], file: AgentsFile) -> Iterator[Wrong]:
    server = tool.name.partition("/")[0]
    if server not in file.servers and server != "local":
        yield ["name"], f"no server {server!r} in this file; known: {_known(file.servers)}, and local"
    if tool.digest and server == "local":
        yield ["digest"], "a function of the agent's own has no description to pin; leave the digest out"
    if tool.compensation is not None and tool.compensation not in tools:
        yield ["compensation"], f"no tool {tool.compensation!r} in this file"
    if tool.amount is not None and (tool.amount.unit is None) == (tool.amount.unit_argument is None):
        yield ["amount"], "say either unit: EUR, or unit_argument: the argument that names it"
    if tool.class_ == "read" and (tool.compensation or tool.idempotency):
        yield ["class"], "a tool that only reads has nothing to undo or to do once"
    if tool.trusted and tool.output == "trusted":
        yield ["trusted"], "the whole output is trusted; leave this out, or say output: untrusted"


def _arguments(tool: ToolPart) -> Iterator[Wrong]:
    """Yield what a tool says of arguments that it does not declare."""
    named: list[tuple[list[str | int], str | None]] = [(["idempotency"], tool.idempotency), (["dry_run"], tool.dry_run)]
    named += [
        (["counterparty"], tool.counterparty),
        (["amount", "argument"], tool.amount.argument if tool.amount is not None else None),
    ]
    named += [(["sensitive", n], path) for n, path in enumerate(tool.sensitive or ())]
    named += [(["links", n], path) for n, path in enumerate(tool.links or ())]
    for place, path in named:
        for why in _undeclared(tool, path) if path is not None else ():
            yield place, why


def _undeclared(tool: ToolPart, path: str) -> Iterator[str]:
    head = path.partition(".")[0]
    if tool.arguments is not None and head not in tool.arguments and head != "*":
        yield f"the tool has no argument {head!r}; known: {', '.join(tool.arguments) or 'none'}"


def _agent(agent: AgentPart, tools: Mapping[str, ToolPart], file: AgentsFile) -> Iterator[Wrong]:
    others = {other.id for other in file.agents} - {agent.id}
    for number, name in enumerate(agent.tools):
        if name not in tools:
            yield ["tools", number], f"no tool {name!r} in this file; known: {_known(tools)}"
    for number, name in enumerate(agent.may_call):
        if name not in others:
            yield ["may_call", number], f"no other agent {name!r} in this file; known: {_known(others)}"
    sums = [value for value in agent.limits.model_dump(exclude_none=True).values() if isinstance(value, str)]
    its = [tools[name].amount for name in agent.tools if name in tools]
    units = {one.split()[1] for one in sums} | {one.unit for one in its if sums and one is not None and one.unit}
    if len(units) > 1:
        yield ["limits"], f"amounts in {_known(units)}: an agent with limits of amounts moves one unit only"


def _policy(policy: PolicyPart, tools: Mapping[str, ToolPart], file: AgentsFile) -> list[Wrong]:
    agents, wrong = {agent.id for agent in file.agents}, list[Wrong]()
    for number, pattern in enumerate(policy.tools or ()):
        if not any(covers(pattern, name) for name in tools):
            wrong.append((["tools", number], f"covers no tool of this file; known: {_known(tools)}"))
    for number, name in enumerate(policy.agents or ()):
        if name not in agents:
            wrong.append((["agents", number], f"no agent {name!r} in this file; known: {_known(agents)}"))
    if (policy.then == "edit") != (policy.set is not None):
        wrong.append((["then"], "then: edit goes with set: {argument: value}, and nothing else does"))
    if policy.firm == "yes":
        wrong.append((["firm"], "only what comes with Bedplate may be firm; every policy of yours holds as it is"))
    mine = [tool for tool in file.tools if applies(policy, tool)]
    if not mine and not wrong:
        wrong.append((["classes"], "no tool of this file is of this class: the policy would never apply"))
    if policy.when is not None:
        wrong += [(["when", *path], why) for path, why in _when(policy, policy.when, mine, file)]
    wrong += [
        (["set", name], f"{t.name}: {why}") for name in policy.set or {} for t in mine for why in _undeclared(t, name)
    ]
    return wrong


def _when(policy: PolicyPart, when: WhenPart, mine: list[ToolPart], file: AgentsFile) -> Iterator[Wrong]:
    if not when.model_dump(exclude_none=True):
        yield [], "says nothing; leave it out where the policy always applies"
    for name in ("amount_above", "run_amount_above", "day_amount_above"):
        said = getattr(when, name)
        if said is not None and said != "asks_above":
            for why in _sum(said, mine, named=policy.tools is not None):
                yield [name], why
    if when.not_asked is not None:
        yield from _each(["not_asked"], "no asked_by is declared", [t for t in mine if not t.asked_by])
    yield from _counterparty(when, mine, file)
    yield from _history(when, file)
    yield from _content(when, mine)


def _counterparty(when: WhenPart, mine: list[ToolPart], file: AgentsFile) -> Iterator[Wrong]:
    for name, said in (("counterparty_in", when.counterparty_in), ("counterparty_not_in", when.counterparty_not_in)):
        if said is not None:
            yield from _each([name], "no counterparty is declared", [t for t in mine if t.counterparty is None])
        if said is not None and said not in file.lists:
            yield [name], f"no list {said!r} in this file; known: {_known(file.lists)}"


def _content(when: WhenPart, mine: list[ToolPart]) -> Iterator[Wrong]:
    for path, part in (when.arguments or {}).items():
        for tool in mine:
            for why in _undeclared(tool, path):
                yield ["arguments", path], f"{tool.name}: {why}"
        for at, why in _argument(part):
            yield ["arguments", path, *at], why
    if when.cel is not None:
        from .expression import complaints  # noqa: PLC0415  its library costs half a second; most files have no CEL

        for why in complaints(when.cel, [t.arguments for t in mine]):
            yield ["cel"], why


def _each(place: list[str | int], why: str, tools: list[ToolPart]) -> Iterator[Wrong]:
    for tool in tools:
        yield place, f"{tool.name}: {why}"


def _sum(said: str, mine: list[ToolPart], *, named: bool) -> Iterator[str]:
    unit, without = said.split()[1], [tool.name for tool in mine if tool.amount is None]
    if without and named:
        yield f"{', '.join(without)}: no amount is declared; say amount: {{argument: …, unit: …}} at the tool"
    elif len(without) == len(mine):
        yield "none of the tools declares an amount"
    units = {tool.amount.unit for tool in mine if tool.amount is not None and tool.amount.unit is not None}
    yield from (f"in {unit}, and a tool moves {other}" for other in sorted(units - {unit}))


def _history(when: WhenPart, file: AgentsFile) -> Iterator[Wrong]:
    labels = {label for tool in file.tools for label in tool.labels or ()}
    tools = {tool.name for tool in file.tools}
    for name, said in (("after", when.after), ("not_after", when.not_after)):
        for one in listed(said):
            if one.startswith("label:") and one[6:] not in labels:
                yield [name], f"no tool has the label {one[6:]!r}; known: {_known(labels)}"
            elif "/" in one and one not in tools:
                yield [name], f"no tool {one!r} in this file; known: {_known(tools)}"


def _argument(part: ArgumentPart) -> Iterator[Wrong]:
    import re2  # noqa: PLC0415  only files with policies need it

    if not part.model_fields_set - {"optional"}:
        yield [], "says nothing about the argument"
    for name, pattern in (("matches", part.matches), ("not_matches", part.not_matches)):
        try:
            re2.compile(pattern or "")
        except re2.error as bad:
            yield [name], f"is no RE2 expression: {bad.args[0] if bad.args else bad}"
