"""A small client of the governance API. Every refusal is one of `bedplate.errors`, with its reasons and fix."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

import urllib3

from bedplate.document import Complaint, InvalidDocument
from bedplate.errors import (
    BedplateError,
    Conflict,
    Denied,
    InvalidInput,
    NeedsApproval,
    NotFound,
    Tampered,
    Unauthenticated,
    Unavailable,
    Unreachable,
)

from .prompt import Prompt

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_STATUS: Mapping[int, type[BedplateError]] = {
    400: InvalidInput,
    401: Unauthenticated,
    404: NotFound,
    409: Conflict,
    413: InvalidInput,
    422: InvalidInput,
    429: Unavailable,
    500: BedplateError,
    502: Unreachable,
    503: Unavailable,
}
Json = dict[str, Any]
FileKind = Literal["operating-model", "use-case", "idea", "prices", "data-contract", "vendor"]


class Client:
    """Speaks to one server as one person. Thread-safe; `token` comes from `login`."""

    def __init__(self, url: str, token: str = "", *, timeout_s: float = 120, connections: int = 1) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self._http = urllib3.PoolManager(
            maxsize=connections,  # that are kept open, for as many threads at once
            timeout=urllib3.Timeout(connect=5, read=timeout_s),
            retries=urllib3.Retry(connect=2, read=0, redirect=0, backoff_factor=0.1),
        )

    def login(self, *, code: str = "", person: str = "", password: str = "") -> Json:
        """Sign in with an invitation's code or a password, and keep the token."""
        told = self.post("/api/login", {"code": code, "person": person, "password": password})
        self.token = str(told["token"])
        return told

    def me(self) -> Json:
        """Say who is signed in."""
        return self.get("/api/me")

    def plan(self, kind: FileKind, name: str, text: str) -> Json:
        """Say what a file would change, and who must agree."""
        return self.post(f"{_FILES[kind]}/plan", {"name": name, "text": text})

    def apply(self, kind: FileKind, name: str, text: str) -> Json:
        """Apply a file; `NeedsApproval` until the bodies it needs agree."""
        path = "/api/model/apply" if kind == "operating-model" else _FILES[kind]
        return self.post(path, {"name": name, "text": text})

    def use_cases(self) -> list[Json]:
        """List the portfolio."""
        return list(self.get("/api/use-cases")["use_cases"])

    def use_case(self, name: str) -> Json:
        """Return one use case with its standing."""
        return self.get(f"/api/use-cases/{quote(name)}")

    def release(self, name: str, files: Mapping[str, str]) -> Json:
        """Build, evaluate and gate a release; its `state` is live, waiting or denied."""
        return self._call(
            "POST", f"/api/use-cases/{quote(name)}/releases", {"files": dict(files)}, answers=(200, 202, 403)
        )

    def gate(self, name: str, release: str = "") -> Json:
        """Evaluate the gate of a release, the newest unless named."""
        return self.get(f"/api/use-cases/{quote(name)}/gate", release=release)

    def approvals(self, state: str = "asked", subject: str = "") -> list[Json]:
        """List approvals in a state, or `any`."""
        return list(self.get("/api/approvals", state=state, subject=subject)["approvals"])

    def approval(self, approval: str) -> Json:
        """Return one approval."""
        return self.get(f"/api/approvals/{quote(approval.removeprefix('approval/'))}")

    def vote(self, approval: str, answer: Literal["yes", "no"], reason: str = "") -> Json:
        """Answer an approval."""
        path = f"/api/approvals/{quote(approval.removeprefix('approval/'))}/votes"
        return self.post(path, {"answer": answer, "reason": reason})

    def suspend(self, name: str, reason: str) -> Json:
        """Stop a use case at once."""
        return self.post(f"/api/use-cases/{quote(name)}/suspend", {"reason": reason})

    def resume(self, name: str, reason: str) -> Json:
        """Let it act again; `NeedsApproval` until the bodies owed agree."""
        return self.post(f"/api/use-cases/{quote(name)}/resume", {"reason": reason})

    def issue_key(self, name: str, label: str, days: int = 90, agent: str = "") -> Json:
        """Issue a key for a use case, or for one of its agents; its text is in the answer and nowhere else."""
        body = {"label": label, "days": days, **({"agent": agent} if agent else {})}
        return self.post(f"/api/use-cases/{quote(name)}/keys", body)

    def calls(self, **filters: str | int) -> list[Json]:
        """Search calls, newest first: use_case, verdict, text, limit."""
        return list(self.get("/api/calls", **filters)["calls"])

    def call(self, call_id: str) -> Json:
        """Return one call."""
        return self.get(f"/api/calls/{quote(call_id)}")

    def prove(self, call_id: str) -> str:
        """Return the proof file of a call."""
        return self._text("GET", f"/api/calls/{quote(call_id)}/proof")

    def prompt(self, name: str, prompt: str, version: str = "live") -> Prompt:
        """Return a template of a use case, to be filled in here. With the use case's key as `token`, the live one."""
        return Prompt.of(self.get(f"/api/use-cases/{quote(name)}/prompts/{quote(prompt)}", version=version))

    def prompts(self, name: str) -> list[Json]:
        """List every version of every prompt of a use case, newest first."""
        return list(self.get(f"/api/use-cases/{quote(name)}/prompts")["prompts"])

    def alias(self, name: str, prompt: str, alias: str, version: str) -> Json:
        """Point an alias at a version of a prompt; at none with ""."""
        path = f"/api/use-cases/{quote(name)}/prompts/{quote(prompt)}/aliases"
        return self.post(path, {"alias": alias, "version": version})

    def feedback(
        self,
        call_id: str,
        kind: Literal["thumb", "label", "correction", "harm"],
        value: str = "",
        *,
        comment: str = "",
        by: str = "",
        request: str = "",
    ) -> Json:
        """Say how good a call's answer was, as a person or with the use case's key; harm opens an incident.

        `request` is a UUIDv7 of yours: sent again, it changes nothing twice.
        """
        told = {"call": call_id, "kind": kind, "value": value, "comment": comment, "by": by, "request": request}
        return self.post("/api/feedback", told)

    def to_evals(self, feedback: str, *, contains: str = "", unanswered: bool = False) -> Json:
        """Make an eval case of feedback; it waits to be put into the team's own file."""
        told = {"contains": contains, "unanswered": unanswered}
        return self.post(f"/api/feedback/{quote(feedback)}/to-evals", told)

    def incidents(self, *, only_open: bool = False) -> list[Json]:
        """List incidents, newest first."""
        return list(self.get("/api/incidents", only_open=str(only_open).lower())["incidents"])

    def close_incident(self, incident: str, resolution: str) -> Json:
        """Close an incident."""
        return self.post(f"/api/incidents/{quote(incident.removeprefix('incident/'))}/close", {"reason": resolution})

    def publish_path(self, name: str, declaration: str = "") -> Json:
        """Make a golden path of a proven use case; `NeedsApproval` until the bodies of its envelope agree."""
        return self.post("/api/paths", {"use_case": name, "declaration": declaration})

    def start_from(self, path: str, name: str, title: str, answers: Mapping[str, str] | None = None) -> Json:
        """Return the files of a new use case made from a path, by answers to what it asks."""
        told = {"id": name, "title": title, "answers": dict(answers or {})}
        return self.post(f"/api/paths/{quote(path)}/siblings", told)

    def owed(self, name: str) -> Json:
        """Say what a use case that was made from a path owes, and why."""
        return self.get(f"/api/use-cases/{quote(name)}/owed")

    def public_keys(self) -> str:
        """Return the keys with which proofs are checked, one a line."""
        return self._text("GET", "/api/ledger/key")

    def get(self, path: str, **query: str | int) -> Json:
        """GET a path of the API."""
        given = urlencode({k: v for k, v in query.items() if v != ""})
        return self._call("GET", f"{path}?{given}" if given else path, None)

    def text(self, path: str, **query: str | int) -> str:
        """GET a path of the API that answers with text."""
        given = urlencode({k: v for k, v in query.items() if v != ""})
        return self._text("GET", f"{path}?{given}" if given else path)

    def file(self, path: str, **query: str | int) -> bytes:
        """GET a path of the API that answers with a file."""
        given = urlencode({k: v for k, v in query.items() if v != ""})
        status, content = self._send("GET", f"{path}?{given}" if given else path, None)
        if status != 200:  # noqa: PLR2004  the one status that carries an answer
            raise _error(status, _parsed(content))
        return content

    def post(self, path: str, body: Json) -> Json:
        """POST a body to a path of the API."""
        return self._call("POST", path, body)

    def _call(self, method: str, path: str, body: Json | None, answers: tuple[int, ...] = (200,)) -> Json:
        status, content = self._send(method, path, body)
        told = _parsed(content)
        if status not in answers or isinstance(told.get("error"), dict):
            raise _error(status, told)
        return told

    def _text(self, method: str, path: str) -> str:
        status, content = self._send(method, path, None)
        if status != 200:  # noqa: PLR2004  the one status that carries an answer
            raise _error(status, _parsed(content))
        return content.decode()

    def _send(self, method: str, path: str, body: Json | None) -> tuple[int, bytes]:
        headers = {"accept": "application/json", "user-agent": "bedplate"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["content-type"] = "application/json"
        try:
            response = self._http.request(method, self.url + path, body=content, headers=headers)
        except (urllib3.exceptions.HTTPError, ValueError) as broken:
            raise Unreachable(
                f"{self.url} does not answer: {type(broken).__name__}", hint="is it up? bedplate up"
            ) from None
        return response.status, response.data


_FILES = {
    "operating-model": "/api/model",
    "use-case": "/api/use-cases",
    "idea": "/api/ideas",
    "prices": "/api/prices",
    "data-contract": "/api/contracts",
    "vendor": "/api/vendors",
}


def _parsed(content: bytes) -> Json:
    try:
        told = json.loads(content)
    except ValueError:
        raise Unreachable("the answer is not Bedplate's", hint="check the URL") from None
    return told if isinstance(told, dict) else {"value": told}


def _error(status: int, told: Json) -> BedplateError:
    error = told.get("error", {}) if isinstance(told.get("error"), dict) else {}
    message, hint, code = (
        str(error.get("message", f"status {status}")),
        str(error.get("hint", "")),
        str(error.get("code", "")),
    )
    if status == 202 or code == "needs-approval":  # noqa: PLR2004  accepted, and waiting
        return NeedsApproval(message, approval=str(error.get("approval", "")), hint=hint)
    if status == 403:  # noqa: PLR2004  forbidden
        reasons = tuple((r["control"], r["reason"], r["fix"]) for r in error.get("reasons", ()))
        return Denied(message, hint=hint, reasons=reasons)
    if code == Tampered.code:
        return Tampered(message, hint=hint)
    if error.get("complaints"):
        return InvalidDocument([Complaint(**c) for c in error["complaints"]])
    return _BY_STATUS.get(status, BedplateError)(message, hint=hint, code=code or None)
