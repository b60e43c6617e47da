"""LiteLLM's proxy asks Bedplate before each call, and does what Bedplate says.

Beside this file, in the proxy's configuration:

    litellm_settings:
      callbacks: litellm_hook.bedplate

Environment: BEDPLATE_URL (http://127.0.0.1:8400), and the key of the use case that a call is made for: BEDPLATE_KEY,
or, for LiteLLM's key with the alias `claims-bot`, BEDPLATE_KEY_CLAIMS_BOT. What cannot be asked is not called.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import aiohttp
from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIMEOUT = aiohttp.ClientTimeout(total=5)
DIALECTS = {
    "completion": "chat",
    "acompletion": "chat",
    "responses": "responses",
    "aresponses": "responses",
    "embedding": "embeddings",
    "aembedding": "embeddings",
    "embeddings": "embeddings",
    "anthropic_messages": "messages",
}
# What LiteLLM adds to a request for itself.
OWN = frozenset({"metadata", "litellm_metadata", "proxy_server_request", "secret_fields", "litellm_logging_obj"})
DRAFT = "bedplate_draft"


class Bedplate(CustomLogger):
    """Judges each call before it is made; marks answers as drafts where that is owed."""

    async def async_pre_call_hook(
        self,
        user_api_key_dict: Any,  # noqa: ANN401  LiteLLM's own types: its signatures are followed
        cache: Any,  # noqa: ANN401, ARG002
        data: dict[str, Any],
        call_type: str,
    ) -> Any:  # noqa: ANN401
        """Return the request as it may go on; raises HTTPException with Bedplate's reasons where it may not."""
        dialect = DIALECTS.get(str(call_type))
        if dialect is None:
            raise _refused(403, f"{call_type} is not judged by Bedplate, and so not made", [])
        sent = {name: value for name, value in data.items() if name not in OWN and not name.startswith("litellm_")}
        context = {
            "dialect": dialect,
            "request": json.loads(json.dumps(sent, default=str)),
            "fulfils": ["request", "draft"] if dialect == "chat" else ["request"],
        }
        asked: dict[str, Any] = {
            "action": {"name": "call"},
            "resource": {"type": "model", "id": str(data.get("model", ""))},
            "context": context,
        }
        if user := data.get("user") or getattr(user_api_key_dict, "user_id", None):
            asked["subject"] = {"type": "user", "id": str(user)}
        told = await _ask(asked, _key(user_api_key_dict))
        if told.get("decision") is not True:
            why = told.get("context", {})
            raise _refused(403, why.get("reason", "denied"), why.get("reasons", []))
        owed = told.get("context", {}).get("obligations", {})
        if changed := owed.get("request"):
            data.update({name: value for name, value in changed.items() if value != context["request"].get(name)})
        if "draft" in owed:
            data.setdefault("metadata", {})[DRAFT] = owed["draft"]
        return data

    async def async_post_call_success_hook(self, data: dict[str, Any], user_api_key_dict: Any, response: Any) -> Any:  # noqa: ANN401, ARG002
        """Put the mark of a draft before a whole answer."""
        if draft := _draft(data):
            for choice in response.choices:
                choice.message.content = draft + (choice.message.content or "")
        return response

    async def async_post_call_streaming_iterator_hook(
        self,
        user_api_key_dict: Any,  # noqa: ANN401, ARG002
        response: Any,  # noqa: ANN401
        request_data: dict[str, Any],
    ) -> AsyncIterator[Any]:
        """Put it before the first piece of each choice of a stream."""
        draft, marked = _draft(request_data), set()
        async for piece in response:
            for choice in getattr(piece, "choices", ()) if draft else ():
                if choice.index not in marked and choice.delta.content:
                    choice.delta.content = draft + choice.delta.content
                    marked.add(choice.index)
            yield piece


async def _ask(asked: dict[str, Any], key: str) -> dict[str, Any]:
    url = os.environ.get("BEDPLATE_URL", "http://127.0.0.1:8400") + "/access/v1/evaluation"
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as session,
            session.post(url, json=asked, headers={"authorization": f"Bearer {key}"}) as answer,
        ):
            told = await answer.json()
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, ValueError) as away:
        raise _refused(503, f"Bedplate cannot be asked: {type(away).__name__}", []) from away
    if status != 200:  # noqa: PLR2004  the one status that carries a decision
        raise _refused(status, str(told.get("error", {}).get("message", "Bedplate gave no decision")), [])
    return dict(told)


def _key(user_api_key_dict: Any) -> str:  # noqa: ANN401
    alias = re.sub(r"[^A-Z0-9]", "_", str(getattr(user_api_key_dict, "key_alias", None) or "").upper())
    return os.environ.get(f"BEDPLATE_KEY_{alias}") or os.environ.get("BEDPLATE_KEY", "")


def _draft(data: dict[str, Any]) -> str:
    return str((data.get("metadata") or {}).get(DRAFT, ""))


def _refused(status: int, message: str, reasons: list[Any]) -> HTTPException:
    return HTTPException(status, {"error": {"message": message, "code": "denied", "reasons": reasons}})


bedplate = Bedplate()
