"""`/agents/v1`: what agents ask, for SDKs and other enforcement points. Every verdict is an answer, with status 200."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bedplate.agents.toolcall import Outcome, ToolCall
from bedplate.errors import BedplateError, InvalidInput, NotFound, Unauthenticated
from bedplate.status import status_of

from .chat import secret_of
from .problem import body_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from bedplate.agents.door import AgentDoor
    from bedplate.agents.run import Run, Step
    from bedplate.agents.token import Actor
    from bedplate.agents.toolcall import Ruling

ROOT = "/agents/v1"
MAX_BODY = 6 << 20
NO_KEY = "send the agent's key or token: Authorization: Bearer bpk_... or bpa_..."
Name = Annotated[str, msgspec.Meta(max_length=200)]
Body = TypeVar("Body", bound="_Sent")


class _Sent(msgspec.Struct, forbid_unknown_fields=True):
    """A body: unknown keys are errors."""


class TokenBody(_Sent):
    """Ask for a short-lived token, for this agent or for one that it may call."""

    agent: Name = ""
    seconds: Annotated[int, msgspec.Meta(ge=1, le=900)] = 300


class RunBody(_Sent):
    """Begin a run. `task`: what a person or program asked for, in its own words."""

    task: str = ""
    run: Name = ""
    parent: Name = ""
    principal: Name = ""


class ActionBody(_Sent):
    """Ask whether a tool may be called like this. `key`: the step's own name, if its runner has one."""

    run: Name
    tool: Name
    arguments: dict[str, Any] = {}
    key: Name = ""
    dry_run: bool = False


class OutcomeBody(_Sent):
    """Say what became of an action that was let through."""

    status: Literal["ok", "error", "unknown"]
    result: Any = None
    message: Annotated[str, msgspec.Meta(max_length=10_000)] = ""
    transport: bool = False
    latency_us: Annotated[int, msgspec.Meta(ge=0)] = 0


class TextBody(_Sent):
    """A text that came into the run otherwise."""

    text: str
    source: Name
    trusted: bool = False


class EndBody(_Sent):
    """End a run."""

    state: Literal["done", "failed", "stopped"] = "done"


class Agents:
    """Serves `/agents/v1` for the keys and tokens of agents."""

    def __init__(self, door: AgentDoor) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            response = await self._answered(request)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answered(self, request: Request) -> Response:
        try:
            secret = secret_of(scope_headers(request))
            if not secret:
                raise Unauthenticated(NO_KEY)
            actor = self._door.identified(secret)
            return _json(await self._done(request, actor))
        except BedplateError as error:
            response = _json(body_of(error), 413 if error.code == "request-too-large" else status_of(error))
            if isinstance(error, Unauthenticated):
                response.headers["www-authenticate"] = "Bearer"
            return response

    async def _done(self, request: Request, actor: Actor) -> Any:  # noqa: ANN401  JSON
        parts = request.url.path.removeprefix(ROOT).strip("/").split("/")
        match (request.method, *parts):
            case ("POST", "token"):
                body = await _body(request, TokenBody)
                token, expires = self._door.token(actor, body.agent, body.seconds)
                return {"token": token, "expires": expires}
            case ("POST", "runs"):
                begun = await _body(request, RunBody)
                run = await self._door.begin(
                    actor, run=begun.run, task=begun.task, parent=begun.parent, principal=begun.principal
                )
                return plain_run(run)
            case ("GET", "runs", name):
                return await self._run(actor, name)
            case ("POST", "runs", name, "texts"):
                text = await _body(request, TextBody)
                await self._door.heard(actor, name, text.text, trusted=text.trusted, source=text.source)
                return {}
            case ("POST", "runs", name, "end"):
                await self._door.end(actor, name, (await _body(request, EndBody)).state)
                return {}
            case ("POST", "actions"):
                asked = await _body(request, ActionBody)
                call = ToolCall(asked.run, asked.tool, asked.arguments, asked.key, asked.dry_run)
                return plain_ruling(await self._door.propose(actor, call))
            case ("GET", "actions", name):
                return plain_ruling(await self._door.state(actor, name))
            case ("POST", "actions", name, "outcome"):
                told = await _body(request, OutcomeBody)
                outcome = Outcome(told.status, told.result, told.message, told.transport, told.latency_us)
                await self._door.settle(actor, name, outcome)
                return {}
        raise NotFound(f"{request.method} {request.url.path} is not served here", hint="see docs/agents.md")

    async def _run(self, actor: Actor, name: str) -> dict[str, Any]:
        store = self._door.parts.store
        run = store.run(name)
        if run is None or (run.subject, run.agent) != (actor.subject, actor.agent):
            raise NotFound(f"{actor.agent} has no run {name!r} here", hint="begin one: POST /agents/v1/runs")
        return {**plain_run(run), "steps": [plain_step(step) for step in store.steps(name)]}


def scope_headers(request: Request) -> list[tuple[bytes, bytes]]:
    """Return a request's headers as they came."""
    return list(request.scope["headers"])


def plain_run(run: Run) -> dict[str, Any]:
    """Return a run as JSON-ready values; `run` is its id."""
    told = {name: getattr(run, name) for name in ("subject", "agent", "parent", "principal", "state", "release")}
    counts = {n: getattr(run, n) for n in ("started", "ended", "steps", "actions", "denied", "asked", "cost_nano")}
    return {"run": run.id, **told, **counts, "amount_micro": run.amount, "chain": list(run.chain), "key": run.key}


def plain_step(step: Step) -> dict[str, Any]:
    """Return a step as JSON-ready values."""
    told = asdict(step)
    told["class"] = told.pop("class_")
    told["reasons"] = [_reason(one) for one in step.reasons]
    return told


def plain_ruling(ruling: Ruling) -> dict[str, Any]:
    """Return a ruling as JSON-ready values."""
    told = {f: getattr(ruling, f) for f in ruling.__dataclass_fields__}
    told["reasons"] = [_reason(one) for one in ruling.reasons]
    told["tainted"] = [asdict(one) for one in ruling.tainted]
    return told


def _reason(told: tuple[str, str, str]) -> dict[str, str]:
    control, why, fix = told
    return {"control": control, "why": why, "fix": fix}


async def _body(request: Request, sort: type[Body]) -> Body:
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > MAX_BODY:
            raise InvalidInput(f"the body is larger than {MAX_BODY} bytes", code="request-too-large")
    try:
        return msgspec.json.decode(bytes(content) or b"{}", type=sort)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as wrong:
        raise InvalidInput(f"the body is not what is expected: {wrong}", hint="see docs/agents.md") from None


def _json(content: Any, status: int = 200) -> Response:  # noqa: ANN401  JSON
    return Response(msgspec.json.encode(content), status, media_type="application/json")
