"""The protocols that are spoken here, by the path they are served on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .chat import Chat
from .embeddings import Embeddings
from .messages import Messages
from .responses import Responses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.gateway.dialect import Dialect

CHAT = Chat()
RESPONSES = Responses()
EMBEDDINGS = Embeddings()
MESSAGES = Messages()
DIALECTS: Mapping[str, Dialect] = {d.name: d for d in (CHAT, RESPONSES, EMBEDDINGS, MESSAGES)}
SERVED: Mapping[str, Dialect] = {f"/v1{d.path}": d for d in DIALECTS.values()}
