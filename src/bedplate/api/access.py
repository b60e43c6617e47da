"""`/access/v1`: the verdict of a call for enforcement points that make the call themselves.

OpenID AuthZEN Authorization API 1.0 (openid.net/specs/authorization-api-1_0.html), and what Envoy's `ext_authz` asks.
What a call through the gateway would get is answered: by the same decision, the same standing, the same guardrails and
budget. A refusal is on record; what is allowed is not, for the call itself is not made here.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bedplate.errors import BedplateError, Denied, InvalidInput, NotFound, Unauthenticated
from bedplate.gateway import call
from bedplate.gateway.call import MAX_BODY, MAX_NAME, Trace, sha256
from bedplate.gateway.dialect import json_bytes
from bedplate.gateway.dialects import CHAT, DIALECTS, SERVED
from bedplate.gateway.session import DRAFT
from bedplate.kernel.standing import Rung

from .chat import NO_KEY, secret_of
from .problem import body_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

    from bedplate.gateway.dialect import Body, Dialect
    from bedplate.gateway.door import Door

ROOT = "/access/v1"
EVALUATION, EVALUATIONS, EXT_AUTHZ = f"{ROOT}/evaluation", f"{ROOT}/evaluations", f"{ROOT}/ext_authz"
METADATA = "/.well-known/authzen-configuration"
USE_CASES = frozenset({"usecase", "use-case", "use_case"})
FULFILS = frozenset({"draft", "request"})
SEMANTICS = {"execute_all": None, "deny_on_first_deny": False, "permit_on_first_permit": True}
MOST = 64  # evaluations in one request
ENTITIES = ("subject", "action", "resource")
Told = tuple[str, str, str]  # control, why, fix

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One question of AuthZEN. `subject` is its type and id; none where the key alone says whose call it is."""

    subject: tuple[str, str] | None
    action: str
    resource: tuple[str, str]
    context: Body = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a call that is made elsewhere: `owing` is what its enforcement point must do for it."""

    trace: Trace
    allowed: bool
    owing: Mapping[str, Any]

    @property
    def decision(self) -> Body:
        """The answer as AuthZEN has it."""
        trace = self.trace
        if self.allowed:
            told: Body = {"tier": trace.tier, "rung": trace.rung, "release": trace.release}
            return {"decision": True, "context": {**told, **({"obligations": self.owing} if self.owing else {})}}
        reasons = [{"control": control, "reason": why, "fix": fix} for control, why, fix in trace.reasons]
        said = "; ".join(why for _, why, _ in trace.reasons)
        return {"decision": False, "context": {"id": trace.id, "reason": said, "reasons": reasons}}


class Access:
    """Serves `/access/v1` and its metadata for the keys of use cases."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what came as X-Request-ID goes back with it."""
        request = Request(scope, receive)
        try:
            response = await self._answered(request)
        except ClientDisconnect:
            return
        if (asked := request.headers.get("x-request-id")) is not None:
            response.headers["x-request-id"] = asked
        await response(scope, receive, send)

    async def _answered(self, request: Request) -> Response:
        path = request.url.path
        if path == METADATA:
            return _json(_metadata(request)) if request.method == "GET" else _wrong_method("GET")
        outside = path.startswith(f"{EXT_AUTHZ}/")
        dialect = SERVED.get(path.removeprefix(EXT_AUTHZ), CHAT) if outside else None
        if not outside and path not in {EVALUATION, EVALUATIONS}:
            return _error(404, NotFound(f"{path} is not served here", hint=f"see {METADATA}"))
        if request.method != "POST" and not outside:
            return _wrong_method("POST")
        try:
            subject, actor = self._door.identified(_key(request))
            body = await _body(request)
            if outside:
                return await self._outside(request, subject, actor, body)
            asked = call.decoded(body)
            if path == EVALUATIONS and asked.get("evaluations"):
                return _json(await self._several(subject, actor, asked))
            return _json((await self._judged(subject, actor, _evaluation(asked))).decision)
        except Unauthenticated as error:
            response = _error(401, error, dialect)
            response.headers["www-authenticate"] = "Bearer"
            return response
        except InvalidInput as error:
            return _error(413 if error.code == "request-too-large" else 400, error, dialect)
        except BedplateError as error:
            return _error(503, error, dialect)

    async def _several(self, subject: str, actor: str, asked: Body) -> Body:
        """Answer each of several evaluations in order; with a semantic that ends early, only up to there."""
        options, items = asked.get("options") or {}, asked["evaluations"]
        semantic = options.get("evaluations_semantic", "execute_all") if isinstance(options, dict) else ""
        if not isinstance(items, list) or len(items) > MOST:
            raise InvalidInput(f"`evaluations` must be a list of at most {MOST}")
        if semantic not in SEMANTICS:
            raise InvalidInput("no such `evaluations_semantic`", hint=f"one of {', '.join(SEMANTICS)}")
        defaults = {name: asked[name] for name in (*ENTITIES, "context") if name in asked}
        if SEMANTICS[semantic] is None:
            told = await asyncio.gather(*(self._one(subject, actor, defaults, item) for item in items))
            return {"evaluations": told}
        done: list[Body] = []
        for item in items:
            done.append(await self._one(subject, actor, defaults, item))
            if done[-1]["decision"] is SEMANTICS[semantic]:
                break
        return {"evaluations": done}

    async def _one(self, subject: str, actor: str, defaults: Body, item: Any) -> Body:  # noqa: ANN401  JSON
        """Answer one of several; what is wrong with it is its own answer, and no."""
        try:
            if not isinstance(item, dict):
                raise InvalidInput("an evaluation must be an object")
            return (await self._judged(subject, actor, _evaluation({**defaults, **item}))).decision
        except BedplateError as error:
            status = 400 if isinstance(error, InvalidInput) else 503
            return {"decision": False, "context": {"error": {"status": status, "message": str(error)}}}

    async def _judged(self, subject: str, actor: str, asked: Evaluation) -> Judged:
        """Judge one call by its model and, where it came along, by its request."""
        context, model = asked.context, asked.resource[1]
        dialect = DIALECTS.get(str(context.get("dialect", CHAT.name)))
        body, fulfils = context.get("request"), context.get("fulfils", [])
        if dialect is None:
            raise InvalidInput("no such `context.dialect`", hint=f"one of {', '.join(DIALECTS)}")
        if not (body is None or isinstance(body, dict)) or not isinstance(fulfils, list):
            raise InvalidInput("`context.request` must be an object, and `context.fulfils` a list")
        content = json_bytes(body) if body is not None else b""
        trace = self._trace(subject, actor, content, "authzen")
        if (reason := _other(subject, asked, body)) is not None:
            return await self._refused(trace, reason)
        return await self._weighed(trace, dialect, model, content, frozenset(map(str, fulfils)))

    async def _outside(self, request: Request, subject: str, actor: str, body: bytes) -> Response:
        """Answer Envoy: 200 lets the call go on, anything else is what its client gets."""
        dialect = SERVED.get(request.url.path.removeprefix(EXT_AUTHZ))
        if dialect is None or request.method != "POST":
            only = Denied("only calls of models are let through", hint=f"POST to {', '.join(SERVED)}")
            return _error(403, only, CHAT)
        if request.headers.get("x-envoy-auth-partial-body") == "true":
            hint = "raise max_request_bytes, and leave allow_partial_message out"
            raise InvalidInput("only a part of the body came", hint=hint, code="request-too-large")
        if not body:
            raise InvalidInput("no body came, so the model is not known", hint="set with_request_body for ext_authz")
        trace = self._trace(subject, actor, body, "ext_authz")
        judged = await self._weighed(trace, dialect, "", body, as_it_is=True)
        told = {"verdict": "allow", "tier": str(trace.tier), "release": trace.release, "rung": trace.rung}
        if judged.allowed:
            return Response(status_code=200, headers={f"x-bedplate-{name}": value for name, value in told.items()})
        message = "; ".join(why for _, why, _ in trace.reasons)
        content = json_bytes(dialect.error(403, message, "denied", trace.reasons, trace.id))
        headers = {f"x-bedplate-{name}": value for name, value in {**told, "verdict": trace.verdict}.items()}
        return Response(content, 403, {**headers, "x-bedplate-call-id": trace.id}, media_type="application/json")

    async def _weighed(
        self,
        trace: Trace,
        dialect: Dialect,
        model: str,
        content: bytes,
        fulfils: frozenset[str] = frozenset(),
        *,
        as_it_is: bool = False,
    ) -> Judged:
        """Judge a call by its body, or by its model alone. `as_it_is`: these very bytes go on."""
        try:
            request = call.read(dialect, content) if content else _named(dialect, model)
        except InvalidInput as error:
            return await self._refused(trace, ("request", error.message, error.hint or "send what the protocol takes"))
        if as_it_is and _twice(content):  # not before it is known to be of a size that can be read
            return await self._refused(trace, TWICE)
        if not await self._door.weighed(trace, request):
            return Judged(trace, allowed=False, owing={})
        owing: Body = {}
        if content and json_bytes(request.body) != json_bytes(_decode(content)):
            owing["request"] = request.body
        if trace.rung == Rung.PROPOSE.name.lower():
            owing["draft"] = DRAFT
        if undone := sorted(owing.keys() - fulfils):
            return await self._refused(trace, *(OWED[name] for name in undone))
        return Judged(trace, allowed=True, owing=owing)

    def _trace(self, subject: str, actor: str, content: bytes, dialect: str) -> Trace:
        parts = self._door.parts
        return Trace(parts.identify(), subject, actor, "live", parts.clock(), sha256(content), dialect=dialect)

    async def _refused(self, trace: Trace, *reasons: Told) -> Judged:
        trace.reasons = [*reasons]
        await self._door.refused(trace)
        return Judged(trace, allowed=False, owing={})


TWICE: Told = ("request", "an object of the body has a key twice", "send each key once")
OWED: Mapping[str, Told] = {
    "draft": (
        "rung-open",
        "its rung is propose: an answer must be marked as a draft, which this enforcement point does not say it does",
        "list `draft` in context.fulfils and put the text before the answer, or send the call through the gateway",
    ),
    "request": (
        "guardrail-input",
        "something must be taken out of the prompt, which this enforcement point does not say it does",
        "list `request` in context.fulfils and send what comes back, or send the call through the gateway",
    ),
}


def _other(subject: str, asked: Evaluation, body: Body | None) -> Told | None:
    """Say what about a question is not for this key to ask; None if it is a call of its own use case."""
    name = subject.partition("/")[2]
    if asked.subject is not None and asked.subject[0] in USE_CASES and asked.subject[1] not in {subject, name}:
        return "authority", f"this key is {name}'s, not {asked.subject[1][:MAX_NAME]}'s", "ask with the key of that one"
    if asked.action != "call" or asked.resource[0] != "model":
        return "request", "only the action `call` on a resource of type `model` is decided here", "ask for that"
    if body is not None and body.get("model") != asked.resource[1]:
        return "request", "the request names another model than the resource", "name the same model in both"
    return None


def _evaluation(asked: Body) -> Evaluation:
    """Read one question; `InvalidInput` says what is missing."""
    subject = _entity(asked, "subject") if asked.get("subject") is not None else None
    action, context = asked.get("action"), asked.get("context", {})
    if not isinstance(action, dict) or not isinstance(action.get("name"), str):
        raise InvalidInput("`action` must be an object with a `name`")
    if not isinstance(context, dict):
        raise InvalidInput("`context` must be an object")
    resource = _entity(asked, "resource")
    if not 0 < len(resource[1]) <= MAX_NAME:
        raise InvalidInput(f"`resource.id` must be the name of a model, of 1 to {MAX_NAME} characters")
    return Evaluation(subject, action["name"], resource, context)


def _entity(asked: Body, name: str) -> tuple[str, str]:
    found = asked.get(name)
    if not isinstance(found, dict) or not all(isinstance(found.get(key), str) for key in ("type", "id")):
        raise InvalidInput(f"`{name}` must be an object with a `type` and an `id`")
    return found["type"], found["id"]


def _twice(body: bytes) -> bool:
    """Tell whether an object has a key twice: these very bytes go on, and another reader may take the other one."""

    def once(pairs: list[tuple[str, Any]]) -> None:
        if len({key for key, _ in pairs}) != len(pairs):
            raise KeyError

    try:
        json.loads(body, object_pairs_hook=once)
    except KeyError:
        return True
    except (ValueError, RecursionError):
        return False  # it is refused for that
    return False


def _named(dialect: Dialect, model: str) -> call.Request:
    """Return a request of which only the model is known."""
    return call.Request(dialect, {}, model, stream=False, texts=[], size=0)


def _metadata(request: Request) -> Body:
    """Say what is served, under the address that was asked."""
    base = f"{request.url.scheme}://{request.url.netloc}"
    return {
        "policy_decision_point": base,
        "access_evaluation_endpoint": base + EVALUATION,
        "access_evaluations_endpoint": base + EVALUATIONS,
    }


def _key(request: Request) -> str:
    secret = secret_of(request.scope["headers"])
    if not secret:
        raise Unauthenticated("no key came with the request", hint=NO_KEY)
    return secret


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise InvalidInput(f"the body is larger than {MAX_BODY} bytes", code="request-too-large")
    return bytes(body)


def _json(content: Body, status: int = 200) -> Response:
    return Response(json_bytes(content), status, {"cache-control": "no-store"}, media_type="application/json")


def _wrong_method(right: str) -> Response:
    response = _error(405, InvalidInput(f"use {right}", code="method-not-allowed"))
    response.headers["allow"] = right
    return response


def _error(status: int, error: BedplateError, dialect: Dialect | None = None) -> Response:
    """Return an error: in the words of a call's protocol where its client will read it."""
    if dialect is not None:
        return _json(dialect.error(status, str(error), error.code, (), ""), status)
    return _json(body_of(error), status)
