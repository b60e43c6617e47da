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
    """An MCP server: which of its resources and prompts agents may read. `*` at the end stands for any rest.

    `asks`: what it may ask of the agent's client by itself: its model, its user, its folders.
    """

    resources: Annotated[list[Annotated[str, Field(max_length=500)]], Field(max_length=1_000)] = []
    prompts: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=1_000)] = []
    asks: Annotated[list[Literal["sampling", "elicitation", "roots"]], Field(max_length=3)] = []


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
    contested: YesNo | None = None  # yes: an outsider names a sensitive value that the user did not
    echoes: Literal["sentences", "names"] | None = None  # six words in a row are an outsider's; a name is
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
    from .mistake import mistakes  # noqa: PLC0415  it looks at the parts that stand here

    wrong = mistakes(file)
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
