"""A charter: what agents may do with which tools, compiled from `agents.yaml`, and what is weighed for each call."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bedplate.errors import InvalidInput

from .facts import EVERY, Facts, Unreadable, plain
from .policy import Rule, Shelf, rule
from .run import Claim, over
from .toolcall import READ

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bedplate.document import Document

    from .agentfile import AgentsFile
    from .run import Run
    from .taint import Provenance
    from .toolcall import Tainted, Told

VERSION = 1
MICRO = 1_000_000
_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class Limits:
    """What an agent may do at most; 0: as much as it likes. Amounts in micro-units."""

    steps_per_run: int = 0
    actions_per_run: int = 0
    actions_per_day: int = 0
    amount_per_action: int = 0
    amount_per_run: int = 0
    amount_per_day: int = 0
    cents_per_run: int = 0
    cents_per_day: int = 0
    seconds_per_run: int = 0


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent, as its release has it. `unit`: of what its limits of amounts are."""

    id: str
    title: str
    owner: str
    tools: frozenset[str]
    autonomy: Literal["act", "propose", "read"]
    may_call: frozenset[str] = frozenset()
    limits: Limits = Limits()
    asks_above: int = 0  # micro-units
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool, as its release has it."""

    name: str
    kind: Literal["read", "write", "irreversible"]
    output: Literal["trusted", "untrusted"] = "untrusted"
    digest: str = ""  # the pin; "" for a function of the agent's own, and where none was given
    amount: str = ""  # the path of what it moves
    unit: str = ""
    counterparty: str = ""
    sensitive: tuple[str, ...] = EVERY
    idempotent: bool = False
    idempotency: str = ""  # the argument that takes the action's id
    dry_run: str = ""
    compensation: str = ""
    unit_argument: str = ""
    minor: int = 1  # how many of what is written make one unit
    amount_optional: bool = False
    trusted: tuple[str, ...] = ()  # of an untrusted result, paths whose values nobody outside chose
    labels: tuple[str, ...] = ()
    links: tuple[str, ...] = ()  # texts of which only addresses are sensitive
    asked_by: tuple[str, ...] = ()  # words with which people ask for what it does
    arguments: dict[str, str] | None = None  # None: not declared


@dataclass(frozen=True, slots=True)
class Server:
    """Which of a server's resources and prompts agents may read, and what it may ask of their clients."""

    name: str
    resources: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()


@dataclass(slots=True)
class Weighing:
    """What the charter says about one call: every rule that applied, by name. Deny outweighs ask, and ask allow."""

    denies: list[Told] = field(default_factory=list)
    asks: list[Told] = field(default_factory=list)
    arguments: dict[str, Any] | None = None  # as policies edited them; None: as they were
    amount: int = 0  # micro-units
    unit: str = ""
    counterparty: str = ""
    tainted: list[Tainted] = field(default_factory=list)
    edits: list[Told] = field(default_factory=list)
    allows: list[Told] = field(default_factory=list)  # they lifted asks of the defaults, where there were any


class Charter:
    """The whole: read from the bytes that a release keeps, and compared by their digest."""

    def __init__(self, content: bytes) -> None:
        """Read a charter; `InvalidInput` if these bytes are none."""
        try:
            whole = msgspec.json.decode(content)
            version = whole["version"]
            if version != VERSION:
                raise InvalidInput(f"a charter of version {version}", hint=f"this Bedplate reads {VERSION}: upgrade it")
            self._build(whole)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError) as wrong:
            raise InvalidInput(f"this is no charter: {wrong}", hint="compile it again: bedplate release") from wrong
        self._content = content
        self.digest = hashlib.sha256(content).hexdigest()

    def _build(self, whole: dict[str, Any]) -> None:
        self.tools: Mapping[str, Tool] = {t["name"]: msgspec.convert(t, Tool) for t in whole["tools"]}
        self.agents: Mapping[str, Agent] = {a["id"]: msgspec.convert(a, Agent) for a in whole["agents"]}
        self.servers: Mapping[str, Server] = {s["name"]: msgspec.convert(s, Server) for s in whole["servers"]}
        lists = {name: frozenset(map(plain, known)) for name, known in whole["lists"].items()}
        self._parts: list[tuple[dict[str, Any], Rule]] = [
            (part, rule(part, where, lists)) for where in ("policy", "default") for part in whole[where]
        ]
        self._untrusted = frozenset(name for name, tool in self.tools.items() if tool.output != "trusted")
        labels = {label for tool in self.tools.values() for label in tool.labels}
        self._labelled = {of: frozenset(n for n, t in self.tools.items() if of in t.labels) for of in labels}
        self._shelves: dict[tuple[str, str, int], Shelf] = {}

    @classmethod
    def read(cls, content: bytes) -> Charter:
        """Read the charter that a release keeps; `InvalidInput` if these bytes are none."""
        return cls(content)

    @classmethod
    def compile(cls, document: Document) -> Charter:
        """Compile `agents.yaml`; `InvalidDocument` lists everything that is wrong with it."""
        from .agentfile import read  # noqa: PLC0415  costs 100 ms, and serving needs none of it

        return cls(_written(read(document)))

    def content(self) -> bytes:
        """Return the charter as it is kept: canonical JSON, names in order."""
        return self._content

    @property
    def unpinned(self) -> tuple[str, ...]:
        """Name the tools of servers whose descriptions may change without anybody noticing."""
        return tuple(sorted(n for n, t in self.tools.items() if not t.digest and not n.startswith("local/")))

    def weigh(
        self, agent: Agent, tool: Tool, arguments: dict[str, Any], seen: Provenance, run: Run, tier: int, now: int
    ) -> Weighing:
        """Weigh one call. Nothing is decided and nothing changed here; what cannot be read is a reason to deny."""
        found = Weighing()
        if tool.name not in self.tools:
            found.denies.append(_unknown(tool.name))
            return found
        shelf = self._shelf(agent, tool, tier)
        facts = Facts(agent, tool, arguments, seen, run, tier, now, self._untrusted, self._labelled)
        found.denies += _mistyped(tool, arguments)
        self._measure(facts, found)
        edited = self._consider(shelf, facts, found)
        if edited is not None and not found.denies:
            # What comes of an edit is judged as if it had been asked.
            found.arguments = edited
            facts = Facts(agent, tool, edited, seen, run, tier, now, self._untrusted, self._labelled)
            found.denies += _mistyped(tool, edited)
            self._measure(facts, found)
            self._consider(shelf, facts, found)
        if tool.kind != READ:
            found.tainted = facts.tainted()
        if found.arguments is not None:  # what was judged twice is told once
            found.denies, found.asks, found.allows, found.edits = map(
                _once, (found.denies, found.asks, found.allows, found.edits)
            )
        return found

    def _measure(self, facts: Facts, found: Weighing) -> None:
        """Note what the call moves and whom it concerns, and hold it against the agent's limits."""
        agent, tool = facts.agent, facts.tool
        try:
            found.amount, found.unit = facts.moved()
            found.counterparty = facts.counterparty()
        except Unreadable as wrong:
            told = ("arguments", str(wrong), "have the agent say it as the tool's description asks")
            found.denies.append(told)
            return
        if agent.unit and found.amount and found.unit != agent.unit:
            why = f"{agent.id} has limits in {agent.unit}, and this moves {found.unit}"
            found.denies.append(("limits.unit", why, f"say it in {agent.unit}"))
        passed = over(facts.run, Claim(agent.limits, found.amount, tool.kind), facts.now)
        if passed is not None and passed[0].startswith("limits."):
            found.denies.append(passed)

    def _consider(self, shelf: Shelf, facts: Facts, found: Weighing) -> dict[str, Any] | None:
        """Add what the rules say about these arguments; return them edited if a rule edits them."""
        said = {"deny": found.denies, "ask": found.asks, "edit": found.edits, "allow": found.allows}
        defaults: list[Told] = []
        changes: dict[str, tuple[Any, str]] = {}
        for group in shelf.candidates(facts):
            try:
                if not group.test.holds(facts):
                    continue
                facts.origins()
            except Exception as wrong:  # noqa: BLE001  a policy that cannot be worked out refuses: it is never skipped
                why = (
                    str(wrong) if isinstance(wrong, Unreadable) else f"it cannot be worked out ({type(wrong).__name__})"
                )
                found.denies += [
                    (one.name, why, "say what is missing, or have the policy mended") for one in group.rules
                ]
                continue
            for one in group.rules:
                loose = one.then == "ask" and one.name.startswith("default/") and not one.firm
                (defaults if loose else said[one.then]).append(one.told(facts))
                found.denies += _merge(changes, one)
        if not found.allows:
            found.asks += defaults
        if not changes:
            return None
        edited = {**facts.arguments, **{name: value for name, (value, _) in changes.items()}}
        return edited if edited != facts.arguments else None

    def _shelf(self, agent: Agent, tool: Tool, tier: int) -> Shelf:
        key = (agent.id, tool.name, tier)
        known = self._shelves.get(key)
        if known is None:
            known = self._shelves[key] = Shelf(one for part, one in self._parts if _for(part, agent, tool, tier))
        return known


def _for(part: Mapping[str, Any], agent: Agent, tool: Tool, tier: int) -> bool:
    tools, classes, agents, tiers = (part.get(name) for name in ("tools", "classes", "agents", "tiers"))
    return (
        (tools is None or any(_covers(pattern, tool.name) for pattern in tools))
        and (classes is None or tool.kind in classes)
        and (agents is None or agent.id in agents)
        and (tiers is None or tier in tiers)
    )


def _covers(pattern: str, name: str) -> bool:
    server, _, bare = pattern.partition("/")
    its, _, own = name.partition("/")
    return server in {"*", its} and bare in {"*", own}


def _unknown(name: str) -> Told:
    return ("tool-known", f"the live release knows no tool {name}", "put it into agents.yaml and release")


_KINDS: Mapping[str, tuple[type, ...]] = {
    "text": (str,),
    "number": (int, float),
    "flag": (bool,),
    "list": (list,),
    "object": (dict,),
}


def _mistyped(tool: Tool, arguments: Mapping[str, Any]) -> list[Told]:
    """List arguments that the tool does not declare, or that are not what it declares."""
    declared = tool.arguments
    if declared is None:
        return []
    wrong = []
    for name, value in arguments.items():
        kind = declared.get(name)
        if kind is None and name not in {tool.idempotency, tool.dry_run}:
            wrong.append(f"{name} is no argument of it; known: {', '.join(declared) or 'none'}")
        elif kind is not None and kind != "any" and value is not None:
            fits = isinstance(value, _KINDS[kind]) and (kind == "flag" or not isinstance(value, bool))
            wrong += [] if fits else [f"{name} is not {kind}, as agents.yaml declares it"]
    return [("arguments", why, "have the agent say it as the tool's description asks") for why in wrong]


def _merge(changes: dict[str, tuple[Any, str]], one: Rule) -> list[Told]:
    """Add a rule's edits; two rules that want different values of one argument refuse the call."""
    wrong: list[Told] = []
    for name, value in one.set.items():
        known, whose = changes.setdefault(name, (value, one.name))
        if known != value or isinstance(known, bool) != isinstance(value, bool):
            why = f"{whose} and {one.name} set {name} differently"
            wrong.append((one.name, why, "have one of the two policies changed, which is a new release"))
    return wrong


def _once(told: Sequence[Told]) -> list[Told]:
    """Name each rule once, with what it said last: of arguments as they are by then."""
    return list({(name, why if name in _PLAIN else ""): (name, why, fix) for name, why, fix in told}.values())


_PLAIN = frozenset({"arguments"})  # not a rule: each is a complaint of its own


def _written(file: AgentsFile) -> bytes:
    """Write a charter down: what the file says, and the defaults of this day."""
    tools = [_tool(part) for part in file.tools]
    whole = {
        "version": VERSION,
        "servers": [_server(name, part) for name, part in sorted(file.servers.items())],
        "tools": sorted(tools, key=_name),
        "agents": sorted([_agent(part) for part in file.agents], key=lambda one: str(one["id"])),
        "lists": {name: sorted(set(known)) for name, known in file.lists.items()},
        "policy": [part.model_dump(exclude_unset=True) for part in file.policies],
        "default": default_policies(),
    }
    return _encode(whole)


def _name(part: Mapping[str, Any]) -> str:
    return str(part["name"])


@cache
def default_policies() -> list[dict[str, Any]]:
    """Read what holds without any policy."""
    from bedplate.document import parse  # noqa: PLC0415  as in Charter.compile

    from .agentfile import defaults  # noqa: PLC0415  as above

    text = resources.files(__package__).joinpath("defaults.yaml").read_bytes()
    return [part.model_dump(exclude_unset=True) for part in defaults(parse(text, "defaults.yaml"))]


def _server(name: str, part: Any) -> dict[str, Any]:  # noqa: ANN401  ServerPart, or nothing said
    told = part.model_dump() if part is not None else {}
    return {"name": name, **{key: value for key, value in told.items() if value or key != "asks"}}


def _tool(part: Any) -> dict[str, Any]:  # noqa: ANN401  ToolPart, which costs 100 ms to import
    from .agentfile import ToolPart  # noqa: PLC0415  as in Charter.compile

    assert isinstance(part, ToolPart)  # noqa: S101  for the type checker
    amount = part.amount
    said: dict[str, Any] = {
        "name": part.name,
        "kind": part.class_,
        "output": part.output,
        "digest": (part.digest or "").removeprefix("sha256:"),
        "counterparty": part.counterparty or "",
        "sensitive": list(EVERY if part.sensitive is None else part.sensitive),
        "idempotent": part.idempotent == "yes",
        "idempotency": part.idempotency or "",
        "dry_run": part.dry_run or "",
        "compensation": part.compensation or "",
        "trusted": part.trusted or [],
        "labels": part.labels or [],
        "links": part.links or [],
        "asked_by": part.asked_by or [],
        "arguments": part.arguments,
    }
    if amount is not None:
        said |= {"amount": amount.argument, "unit": amount.unit or "", "unit_argument": amount.unit_argument or ""}
        said |= {"minor": amount.minor, "amount_optional": amount.optional == "yes"}
    return said


def _agent(part: Any) -> dict[str, Any]:  # noqa: ANN401  AgentPart, as above
    from .agentfile import AgentPart, micro  # noqa: PLC0415  as in Charter.compile

    assert isinstance(part, AgentPart)  # noqa: S101  for the type checker
    limits = part.limits.model_dump(exclude_none=True)
    asks = micro(limits.pop("asks_above", None))
    said = [value.split()[1] for value in part.limits.model_dump(exclude_none=True).values() if isinstance(value, str)]
    return {
        "id": part.id,
        "title": part.title,
        "owner": part.owner or "",
        "tools": sorted(set(part.tools)),
        "autonomy": part.autonomy,
        "may_call": sorted(set(part.may_call)),
        "limits": {name: micro(value) if isinstance(value, str) else value for name, value in limits.items()},
        "asks_above": asks,
        "unit": said[0] if said else "",
    }
