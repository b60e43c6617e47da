"""`agents.yaml` as a team writes it: servers, tools, agents, and the policies for what they may do."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bedplate.document import InvalidDocument

if TYPE_CHECKING:
    from bedplate.document import Document

Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
ServerId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
ToolName = Annotated[str, Field(max_length=200, pattern=r"^[a-z][a-z0-9-]{0,62}/[A-Za-z0-9_.-]{1,128}$")]
Tools = Annotated[str, Field(max_length=200, pattern=r"^([a-z][a-z0-9-]{0,62}|\*)/([A-Za-z0-9_.-]{1,128}|\*)$")]
Argument = Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9_-]+$")]
Path = Annotated[str, Field(max_length=200, pattern=r"^([A-Za-z0-9_-]+|\*)(\.([A-Za-z0-9_-]+|\*))*$")]
Money = Annotated[str, Field(max_length=40, pattern=r"^[0-9]{1,12}(\.[0-9]{1,6})? [A-Z]{3,10}$")]
Unit = Annotated[str, Field(pattern=r"^[A-Z]{3,10}$")]
Class = Literal["read", "write", "irreversible"]
YesNo = Literal["yes", "no"]
Kind = Literal["text", "number", "flag", "list", "object", "any"]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Text = Annotated[str, Field(min_length=3, max_length=500)]
Label = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
After = Annotated[
    str,
    Field(
        max_length=210, pattern=r"^(untrusted|label:[a-z][a-z0-9-]{1,62}|[a-z][a-z0-9-]{0,62}/[A-Za-z0-9_.-]{1,128})$"
    ),
]
Literals = str | int | float | bool | None


class Part(BaseModel):
    """A part of a file people write: unknown keys are errors, values are not coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True, frozen=True)


class ServerPart(Part):
    """An MCP server: which of its resources and prompts agents may read. `*` at the end stands for any rest."""

    resources: Annotated[list[Annotated[str, Field(max_length=500)]], Field(max_length=1_000)] = []
    prompts: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=1_000)] = []


class AmountPart(Part):
    """Where a call says how much it moves. `minor`: how many of what is written there make one unit (cents: 100)."""

    argument: Path
    unit: Unit | None = None
    unit_argument: Path | None = None
    minor: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    optional: YesNo = "no"  # yes: a call that names none moves nothing


class ToolPart(Part):
    """A tool: what it does to the world, and how far what it returns is to be trusted."""

    name: ToolName
    class_: Class = Field(alias="class")
    output: Literal["trusted", "untrusted"] = "untrusted"
    trusted: Annotated[list[Path] | None, Field(max_length=100)] = (
        None  # of an untrusted result, fields nobody outside chose
    )
    labels: Annotated[list[Label] | None, Field(max_length=20)] = None  # of the data it returns
    digest: Annotated[str, Field(pattern=r"^(sha256:)?[0-9a-f]{64}$")] | None = None
    arguments: dict[Argument, Kind] | None = None
    amount: AmountPart | None = None
    counterparty: Path | None = None
    sensitive: Annotated[list[Path] | None, Field(max_length=100)] = None  # left out: every other argument is
    links: Annotated[list[Path] | None, Field(max_length=100)] = None  # texts of which only addresses are sensitive
    asked_by: Annotated[list[Annotated[str, Field(min_length=2, max_length=60)]] | None, Field(max_length=50)] = None
    idempotent: YesNo = "no"
    idempotency: Argument | None = None
    dry_run: Argument | None = None
    compensation: ToolName | None = None


class LimitsPart(Part):
    """What an agent may do at most. What is left out is not limited."""

    steps_per_run: Count | None = None
    actions_per_run: Count | None = None
    actions_per_day: Count | None = None
    amount_per_action: Money | None = None
    amount_per_run: Money | None = None
    amount_per_day: Money | None = None
    asks_above: Money | None = None  # beyond it, one action asks where its tier says so
    cents_per_run: Count | None = None
    cents_per_day: Count | None = None
    seconds_per_run: Count | None = None


class AgentPart(Part):
    """An agent: its tools, how far it acts by itself, its limits, and which other agents it may call."""

    id: Id
    title: Annotated[str, Field(min_length=1, max_length=120)]
    owner: Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]{0,62}$")] | None = None
    tools: Annotated[list[ToolName], Field(max_length=1_000)]
    autonomy: Literal["act", "propose", "read"]
    may_call: Annotated[list[Id], Field(max_length=100)] = []
    limits: LimitsPart = LimitsPart()


class ArgumentPart(Part):
    """What is asked of one argument. All that is said here must hold."""

    equals: Literals = None
    one_of: Annotated[list[Literals] | None, Field(max_length=1_000)] = None
    not_one_of: Annotated[list[Literals] | None, Field(max_length=1_000)] = None
    matches: Annotated[str | None, Field(max_length=500)] = None  # RE2, the whole value
    not_matches: Annotated[str | None, Field(max_length=500)] = None
    above: int | float | None = None
    below: int | float | None = None
    present: YesNo | None = None
    optional: YesNo = "no"  # yes: where the argument is missing, the condition does not hold


class CountPart(Part):
    """How much was done before this call."""

    steps_in_run: Annotated[int, Field(ge=0)] | None = None
    actions_in_run: Annotated[int, Field(ge=0)] | None = None
    actions_today: Annotated[int, Field(ge=0)] | None = None
    denied_in_run: Annotated[int, Field(ge=0)] | None = None
    same_tool: Annotated[int, Field(ge=0, le=31)] | None = None  # among the last 32 calls of the run


class WhenPart(Part):
    """When a policy applies. All that is said here must hold."""

    arguments: dict[Path, ArgumentPart] | None = None
    amount_above: Money | Literal["asks_above"] | None = None
    run_amount_above: Money | None = None
    day_amount_above: Money | None = None
    counterparty_in: Id | None = None
    counterparty_not_in: Id | None = None
    after: After | Annotated[list[After], Field(min_length=1, max_length=100)] | None = None
    not_after: After | Annotated[list[After], Field(min_length=1, max_length=100)] | None = None
    count_above: CountPart | None = None
    tainted: Literal["sensitive", "any"] | None = None
    ungrounded: Literal["sensitive", "any"] | None = None
    not_asked: YesNo | None = None  # yes: the task says none of the tool's `asked_by`
    echoes: YesNo | None = None  # six words in a row are an outsider's
    cel: Annotated[str | None, Field(min_length=1, max_length=4_000)] = None


class PolicyPart(Part):
    """A policy: for which tools, when, and what then. Without `when` it always applies."""

    id: Id
    tools: Annotated[list[Tools] | None, Field(min_length=1, max_length=1_000)] = None
    classes: Annotated[list[Class] | None, Field(min_length=1)] = None
    agents: Annotated[list[Id] | None, Field(min_length=1, max_length=1_000)] = None
    tiers: Annotated[list[Annotated[int, Field(ge=1, le=4)]] | None, Field(min_length=1)] = None
    when: WhenPart | None = None
    then: Literal["allow", "edit", "ask", "deny"]
    set: Annotated[dict[Argument, Literals] | None, Field(min_length=1, max_length=100)] = None
    firm: YesNo = "no"  # of defaults: no policy that allows lifts it
    why: Text | None = None
    fix: Text | None = None


class DefaultsFile(Part):
    """What holds without any policy, by class and tier."""

    kind: Literal["agent-defaults"]
    policies: list[PolicyPart]


class AgentsFile(Part):
    """The whole file."""

    kind: Literal["agents"]
    servers: dict[ServerId, ServerPart | None] = {}
    lists: dict[Id, Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=100_000)]] = {}
    tools: Annotated[list[ToolPart], Field(min_length=1, max_length=5_000)]
    agents: Annotated[list[AgentPart], Field(min_length=1, max_length=1_000)]
    policies: Annotated[list[PolicyPart], Field(max_length=10_000)] = []


def read(document: Document) -> AgentsFile:
    """Check the file and the names in it; `InvalidDocument` lists everything that is wrong, with its place."""
    file = document.read(AgentsFile)
    wrong = list(_dangling(file))
    if wrong:
        raise InvalidDocument([document.complain(path, why) for path, why in wrong])
    return file.model_copy(update={"policies": _with_flags(file.policies, document.root.get("policies", []))})


def defaults(document: Document) -> list[PolicyPart]:
    """Check the file that comes with Bedplate."""
    return document.read(DefaultsFile).policies


def _with_flags(policies: list[PolicyPart], raw: list[Any]) -> list[PolicyPart]:
    """Give arguments their true and false back: everywhere else in files these are words, here they are values."""
    whole = []
    for policy, written in zip(policies, raw, strict=True):
        changed: dict[str, Any] = {}
        if policy.set is not None:
            changed["set"] = {name: _literal(written["set"][name]) for name in policy.set}
        if policy.when is not None and policy.when.arguments is not None:
            told = {
                path: part.model_copy(update=_values(written["when"]["arguments"][path]))
                for path, part in policy.when.arguments.items()
            }
            changed["when"] = policy.when.model_copy(update={"arguments": told})
        whole.append(policy.model_copy(update=changed) if changed else policy)
    return whole


def _values(written: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "equals" in written:
        found["equals"] = _literal(written["equals"])
    for name in ("one_of", "not_one_of"):
        if written.get(name) is not None:
            found[name] = [_literal(value) for value in written[name]]
    return found


def _literal(value: Any) -> Literals:  # noqa: ANN401  a node of the parser
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"{value!r} is no plain value")


Wrong = tuple[list[str | int], str]


def _dangling(file: AgentsFile) -> list[Wrong]:
    """List names that point nowhere and parts that contradict each other, as (path, message)."""
    tools, agents = {t.name: t for t in file.tools}, {a.id: a for a in file.agents}
    wrong: list[Wrong] = []
    for what, names in (
        ("tools", [t.name for t in file.tools]),
        ("agents", [a.id for a in file.agents]),
        ("policies", [p.id for p in file.policies]),
    ):
        wrong += (
            [([what, n], f"{name!r} is here twice") for n, name in enumerate(names) if name in names[:n]]
            if len(set(names)) < len(names)
            else []
        )
    for number, tool in enumerate(file.tools):
        wrong += [(["tools", number, *path], why) for path, why in _tool(tool, tools, file.servers)]
    for number, agent in enumerate(file.agents):
        wrong += [(["agents", number, *path], why) for path, why in _agent(agent, tools, agents)]
    for number, policy in enumerate(file.policies):
        wrong += [(["policies", number, *path], why) for path, why in _policy(policy, file, tools)]
    return wrong


def _tool(tool: ToolPart, tools: dict[str, ToolPart], servers: dict[str, Any]) -> list[Wrong]:
    wrong: list[Wrong] = []
    server = tool.name.partition("/")[0]
    if server not in servers and server != "local":
        wrong.append(
            (["name"], f"no server {server!r} in this file; known: {', '.join(sorted(servers)) or 'none'}, and local")
        )
    if tool.digest and server == "local":
        wrong.append((["digest"], "a function of the agent's own has no description to pin; leave the digest out"))
    if tool.compensation is not None and tool.compensation not in tools:
        wrong.append((["compensation"], f"no tool {tool.compensation!r} in this file"))
    if tool.amount is not None and (tool.amount.unit is None) == (tool.amount.unit_argument is None):
        wrong.append((["amount"], "say either unit: EUR, or unit_argument: the argument that names it"))
    if tool.class_ == "read" and (tool.compensation or tool.idempotency):
        wrong.append((["class"], "a tool that only reads has nothing to undo or to do once"))
    for name in ("idempotency", "dry_run"):
        given = getattr(tool, name)
        if given is not None and tool.arguments is not None and given not in tool.arguments:
            wrong.append(([name], _unknown(given, tool.arguments)))
    if tool.arguments is not None:
        named: list[Wrong] = [(["sensitive", n], path) for n, path in enumerate(tool.sensitive or [])]
        named += [(["counterparty"], tool.counterparty)] if tool.counterparty else []
        named += [(["amount", "argument"], tool.amount.argument)] if tool.amount else []
        for place, path in named:
            head = path.partition(".")[0]
            if head not in tool.arguments and head != "*":
                wrong.append((place, _unknown(head, tool.arguments)))
    if tool.trusted and tool.output == "trusted":
        wrong.append((["trusted"], "the whole output is trusted; leave this out, or say output: untrusted"))
    return wrong


def _unknown(name: str, known: dict[str, Kind]) -> str:
    return f"the tool has no argument {name!r}; known: {', '.join(known) or 'none'}"


def _agent(agent: AgentPart, tools: dict[str, ToolPart], agents: dict[str, AgentPart]) -> list[Wrong]:
    wrong: list[Wrong] = [
        (["tools", n], f"no tool {name!r} in this file; known: {', '.join(sorted(tools)[:20])}")
        for n, name in enumerate(agent.tools)
        if name not in tools
    ]
    wrong += [
        (["may_call", n], f"no other agent {name!r} in this file")
        for n, name in enumerate(agent.may_call)
        if name not in agents or name == agent.id
    ]
    said = {
        name: value.split()[1]
        for name, value in agent.limits.model_dump(exclude_none=True).items()
        if isinstance(value, str)
    }
    used = {
        t.amount.unit
        for name in agent.tools
        if (t := tools.get(name)) is not None and t.amount is not None and t.amount.unit
    }
    units = set(said.values()) | (used if said else set())
    if len(units) > 1:
        wrong.append(
            (["limits"], f"amounts in {', '.join(sorted(units))}: an agent with limits of amounts moves one unit only")
        )
    return wrong


def _policy(policy: PolicyPart, file: AgentsFile, tools: dict[str, ToolPart]) -> list[Wrong]:
    wrong: list[Wrong] = []
    known = {a.id for a in file.agents}
    for number, pattern in enumerate(policy.tools or []):
        if not any(covers(pattern, name) for name in tools):
            wrong.append((["tools", number], f"covers no tool of this file; known: {', '.join(sorted(tools)[:20])}"))
    wrong += [
        (["agents", n], f"no agent {name!r} in this file")
        for n, name in enumerate(policy.agents or [])
        if name not in known
    ]
    if (policy.then == "edit") != (policy.set is not None):
        wrong.append((["then"], "then: edit goes with set: {argument: value}, and nothing else does"))
    if policy.firm == "yes":
        wrong.append((["firm"], "only what comes with Bedplate may be firm; every policy of yours holds as it is"))
    mine = [t for t in file.tools if applies(policy, t)]
    if not mine and not wrong:
        wrong.append((["classes"], "no tool of this file is of this class: the policy would never apply"))
    if policy.when is not None:
        wrong += [(["when", *path], why) for path, why in _when(policy, policy.when, file, mine)]
    for name in policy.set or {}:
        wrong += [
            (["set", name], f"{t.name}: {_unknown(name, t.arguments)}")
            for t in mine
            if t.arguments is not None and name not in t.arguments
        ]
    return wrong


def _when(policy: PolicyPart, when: WhenPart, file: AgentsFile, mine: list[ToolPart]) -> list[Wrong]:
    wrong: list[Wrong] = []
    if not when.model_dump(exclude_none=True):
        wrong.append(([], "says nothing; leave it out where the policy always applies"))
    for name in ("amount_above", "run_amount_above", "day_amount_above"):
        said = getattr(when, name)
        if said is None or said == "asks_above":
            continue
        units = {t.amount.unit for t in mine if t.amount is not None and t.amount.unit is not None}
        without = [t.name for t in mine if t.amount is None]
        if without and policy.tools is not None:
            wrong.append(
                (
                    [name],
                    f"{', '.join(without)}: no amount is declared; say amount: {{argument: …, unit: …}} at the tool",
                )
            )
        if len(without) == len(mine) and policy.tools is None:
            wrong.append(([name], "none of the tools declares an amount"))
        wrong += [
            ([name], f"in {said.split()[1]}, and a tool moves {unit}") for unit in sorted(units - {said.split()[1]})
        ]
    for name in ("counterparty_in", "counterparty_not_in"):
        said = getattr(when, name)
        if said is not None and said not in file.lists:
            wrong.append(([name], f"no list {said!r} in this file; known: {', '.join(sorted(file.lists)) or 'none'}"))
        if said is not None:
            wrong += [([name], f"{t.name}: no counterparty is declared") for t in mine if t.counterparty is None]
    wrong += [(["not_asked"], f"{t.name}: no asked_by is declared") for t in mine if when.not_asked and not t.asked_by]
    labels = {label for t in file.tools for label in t.labels or []}
    for name in ("after", "not_after"):
        for said in listed(getattr(when, name)):
            if said.startswith("label:") and said[6:] not in labels:
                wrong.append(([name], f"no tool has the label {said[6:]!r}"))
            elif "/" in said and said not in {t.name for t in file.tools}:
                wrong.append(([name], f"no tool {said!r} in this file"))
    for path, part in (when.arguments or {}).items():
        head = path.partition(".")[0]
        for t in mine:
            if t.arguments is not None and head not in t.arguments and head != "*":
                wrong.append((["arguments", path], f"{t.name}: {_unknown(head, t.arguments)}"))
        wrong += [(["arguments", path, *at], why) for at, why in _argument(part)]
    return wrong + ([(["cel"], why) for why in _cel(when.cel, mine)] if when.cel is not None else [])


def _argument(part: ArgumentPart) -> list[Wrong]:
    import re2  # noqa: PLC0415  only files with policies need it

    wrong: list[Wrong] = []
    if not part.model_fields_set - {"optional"}:
        wrong.append(([], "says nothing about the argument"))
    for name in ("matches", "not_matches"):
        pattern = getattr(part, name)
        if pattern is None:
            continue
        try:
            re2.compile(pattern)
        except re2.error as bad:
            wrong.append(([name], f"is no RE2 expression: {bad.args[0] if bad.args else bad}"))
    return wrong


def _cel(source: str, mine: list[ToolPart]) -> list[str]:
    from .expression import complaints  # noqa: PLC0415  its library costs half a second, and most files have no CEL

    return complaints(source, [t.arguments for t in mine])


def listed(said: str | list[str] | None) -> list[str]:
    """Return what may be one or several as a list."""
    return [said] if isinstance(said, str) else list(said or [])


def covers(pattern: str, name: str) -> bool:
    """Tell whether a pattern of tools covers this one: `*` stands for any server, or for any tool of it."""
    server, _, tool = pattern.partition("/")
    its, _, bare = name.partition("/")
    return server in {"*", its} and tool in {"*", bare}


def applies(policy: PolicyPart, tool: ToolPart) -> bool:
    """Tell whether a policy may ever apply to this tool."""
    named = policy.tools is None or any(covers(pattern, tool.name) for pattern in policy.tools)
    return named and (policy.classes is None or tool.class_ in policy.classes)


def micro(money: str | None) -> int:
    """Return an amount such as "200 EUR" in micro-units; 0 for none."""
    return int(Decimal(money.split()[0]) * 1_000_000) if money else 0
